"""The resource readers of closed mode, for `importlib.resources` and `importlib_resources`."""

from importlib.resources.abc import Traversable, TraversableResources
from pathlib import Path, PurePosixPath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import NoReturn

    from .finder import ClosedFinder
    from .paths import FrozenPath


class FrozenReader(TraversableResources):
    """The resources of a module: the files in its folder, as `importlib.resources.FileReader`."""

    def __init__(self, folder: "FrozenPath") -> None:
        self._folder = folder

    def files(self) -> "Traversable":
        return self._folder


class FrozenNamespaceReader(TraversableResources):
    """The resources of a namespace package: the files in its portions, frozen or on disk."""

    def __init__(self, server: "ClosedFinder", path: "Iterable[str]") -> None:
        self._server = server
        self._path = path

    def files(self) -> "Traversable":
        """All portions that are directories, merged; FileNotFoundError if none is."""
        portions = [portion for portion in self._portions() if portion.is_dir()]
        if not portions:
            raise FileNotFoundError(f"no portion of {[*self._path]} is a directory")
        return MergedPath(portions)

    def _portions(self) -> "Iterator[FrozenPath | Path]":
        for item in dict.fromkeys(self._path):
            relative = self._server.relative(item)
            yield Path(item) if relative is None else self._server.find_path(relative)


class MergedPath(Traversable):
    """One or more folders as one; of files with the same name, the first one counts.

    Mirrors `MultiplexedPath` of 3.13's Lib/importlib/resources/readers.py. Before 3.13, that only
    accepts directories on disk.
    """

    def __init__(self, folders: "Sequence[Traversable]") -> None:
        self._folders = folders

    def __repr__(self) -> str:
        return f"MergedPath({', '.join(repr(str(folder)) for folder in self._folders)})"

    @property
    def name(self) -> str:
        return self._folders[0].name

    def is_dir(self) -> bool:
        return True

    def is_file(self) -> bool:
        return False

    def open(self, *_: object, **_options: object) -> "NoReturn":
        raise FileNotFoundError(f"{self} is not a file")

    def read_bytes(self) -> "NoReturn":
        self.open()

    def read_text(self, *_: object, **_options: object) -> "NoReturn":
        self.open()

    def iterdir(self) -> "Iterator[Traversable]":
        children: dict[str, list[Traversable]] = {}
        for folder in self._folders:
            for child in folder.iterdir():
                children.setdefault(child.name, []).append(child)
        return (_merge(children[name]) for name in sorted(children))

    def joinpath(self, *descendants: str) -> "Traversable":  # type: ignore[override]
        """The item with that name in the merged folders; if none exists, that of the first one."""
        parts = PurePosixPath(*descendants).parts
        if not parts:
            return self
        for child in self.iterdir():
            if child.name == parts[0]:
                return child.joinpath(*parts[1:])
        return self._folders[0].joinpath(*parts)


def _merge(children: "Sequence[Traversable]") -> "Traversable":
    if len(children) > 1 and all(child.is_dir() for child in children):
        return MergedPath(children)
    return children[0]
