"""The resource readers of closed mode: what `importlib.resources` and `importlib_resources` ask."""

import sys
from importlib.resources.abc import TraversableResources
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.resources.abc import Traversable

    from .finder import ClosedFinder
    from .paths import FrozenPath


class FrozenReader(TraversableResources):
    """The resources of a module: what lies in its folder, as `importlib.resources.FileReader`."""

    def __init__(self, folder: "FrozenPath") -> None:
        self._folder = folder

    def files(self) -> "Traversable":
        return self._folder


class FrozenNamespaceReader(TraversableResources):
    """The resources of a namespace package: what lies in its portions, here or on disk."""

    def __init__(self, server: "ClosedFinder", path: "Iterable[str]") -> None:
        self._server = server
        self._path = path

    def files(self) -> "Traversable":
        """All portions merged; those on disk that are no directory are left out."""
        if sys.version_info >= (3, 13):
            # deferred: it imports zipfile
            from importlib.resources.readers import MultiplexedPath
        else:  # before 3.13
            # deferred: likewise; that of the standard library merges nothing but directories
            from importlib_resources.readers import MultiplexedPath
        merged: "Traversable" = MultiplexedPath(*self._portions())  # type: ignore[no-untyped-call]
        return merged

    def _portions(self) -> "Iterator[FrozenPath | Path]":
        for item in self._path:
            relative = self._server.relative(item)
            if relative is not None:
                yield self._server.find_path(relative)
            elif Path(item).is_dir():
                yield Path(item)
