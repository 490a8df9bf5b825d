"""`FrozenPath`: reads files in a registry, as a `pathlib.Path` reads files on disk.

It is a Traversable for `importlib.resources` and a SimplePath for `importlib.metadata`. It is not a
subclass of either, because each of them would import much that users of the other do not need.
"""

import io
import posixpath

from frozenfinder.runtime.layout import FrozenEntry
from frozenfinder.runtime.registry import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from typing import IO, Any

    from .finder import ClosedFinder

    Folder = dict[str, FrozenEntry | None]


METADATA_SUFFIXES = (".dist-info", ".egg-info")


class FileTree:
    """The folders of a registry; each is listed when it is first needed. Threads may share it."""

    def __init__(self, registry: Registry, tests: bool) -> None:
        self._registry = registry
        self._tests = tests
        # Each is published by one assignment, and never changes. Two threads may list the same one.
        self._folders: "dict[str, dict[str, Folder]]" = {}
        self._metadata: "list[str] | None" = None

    @property
    def metadata(self) -> "list[str]":
        """The folders with the metadata of distributions; the first call reads the whole index."""
        if self._metadata is None:
            tops = {name.partition("/")[0] for name in self._registry.file_names()}
            self._metadata = sorted([top for top in tops if top.endswith(METADATA_SUFFIXES)])
        return self._metadata

    def get_folder(self, path: str) -> "Folder | None":
        """The entry of each name in the folder at `path`, or None if there is no such folder.

        A subfolder has None for its entry. A module counts as its source file. The first call for a
        top-level name reads its shards of the indexes; the folder '' reads both indexes.
        """
        top = path.partition("/")[0]
        folders = self._folders.get(top)
        if folders is None:
            folders = self._folders[top] = self._list(top) if top else {"": self._list_tops()}
        return folders.get(path)

    def _list(self, top: str) -> "dict[str, Folder]":
        """`top` and every folder below it."""
        folders: "dict[str, Folder]" = {}
        for entry in self._entries(top):
            if entry.path.partition("/")[0] == top:
                is_folder = entry.kind == "namespace"
                _enter(folders, entry.path, None if is_folder else entry)
        return folders

    def _list_tops(self) -> "Folder":
        tops: "Folder" = {}
        for entry in self._entries(None):
            top, slash, _ = entry.path.partition("/")
            tops.setdefault(top, None if slash or entry.kind == "namespace" else entry)
        return tops

    def _entries(self, top: "str | None") -> "Iterator[FrozenEntry]":
        for entry in self._registry.entries(top):
            is_visible = self._tests or entry.table != "test"
            if is_visible and entry.kind != "excluded" and entry.origname == entry.name:
                yield entry
        yield from self._registry.files(top)


def _enter(folders: "dict[str, Folder]", path: str, entry: "FrozenEntry | None") -> None:
    """Add the entry at `path` (None for a folder), and the folders above it."""
    if entry is None:
        folders.setdefault(path, {})
    parent, slash, name = path.rpartition("/")
    if slash:
        if parent not in folders:
            _enter(folders, parent, None)
        folders[parent].setdefault(name, entry)


class FrozenPath:
    """A path in a registry in closed mode: a file, a folder, or nothing.

    Files are the data files, and the embedded sources. Reading a folder, or a file that does not
    exist, raises the same OSError as with `pathlib.Path`. It has no `__fspath__`; if you need a
    real file, `importlib.resources.as_file` makes one.
    """

    __slots__ = ("_finder", "_path")

    def __init__(self, finder: "ClosedFinder", path: str) -> None:
        self._finder = finder
        self._path = path  # below the root, normalised, with `/` between its parts

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self._path or self._finder.root)

    @property
    def parent(self) -> "FrozenPath":
        """The folder that contains it; the root for the root."""
        return FrozenPath(self._finder, posixpath.dirname(self._path))

    def joinpath(self, *descendants: "str | PathLike[str]") -> "FrozenPath":
        """The path at these descendants; each of them may have several parts and `..`."""
        path = posixpath.normpath(posixpath.join(self._path, *descendants))
        return FrozenPath(self._finder, "" if path == "." else path)

    def __truediv__(self, child: "str | PathLike[str]") -> "FrozenPath":
        return self.joinpath(child)

    def iterdir(self) -> "Iterator[FrozenPath]":
        """The readable files and the folders in this folder, by name; OSError if it is none."""
        folder = self._get_folder()
        if folder is None:
            missing = not self.is_file()
            error = FileNotFoundError if missing else NotADirectoryError
            raise error(2 if missing else 20, "not a folder of the registry", str(self))
        names = [name for name, entry in folder.items() if entry is None or _is_readable(entry)]
        return map(self.joinpath, sorted(names))

    def is_dir(self) -> bool:
        return self._get_folder() is not None

    def is_file(self) -> bool:
        registry = self._finder.registry
        if registry.find_file(self._path) is not None:
            return True
        entry = self._finder.find_source(self._path)
        return entry is not None and _is_readable(entry)

    def exists(self) -> bool:
        """Whether the registry has it in any form, even as a module without its source.

        `importlib.metadata` leaves out the files of a distribution that do not exist.
        """
        folder, name = posixpath.split(self._path)
        return not self._path or name in (self._finder.files.get_folder(folder) or ())

    def open(self, mode: str = "r", *args: "Any", **kwargs: "Any") -> "IO[Any]":
        """A stream of the content; `mode` is "r" or "rb", else ValueError. OSError.

        Other arguments are for `io.TextIOWrapper`.
        """
        if mode not in ("r", "rb"):
            raise ValueError(f"mode is {mode!r}, expected 'r' or 'rb'")
        stream = io.BytesIO(self.read_bytes())
        if mode == "rb":
            return stream
        encoding = io.text_encoding(args[0] if args else kwargs.pop("encoding", None))
        return io.TextIOWrapper(stream, encoding, *args[1:], **kwargs)

    def read_bytes(self) -> bytes:
        data = self._finder.read_file(self._path)
        if data is not None:
            return bytes(data)
        if self.is_dir():
            raise IsADirectoryError(21, "is a folder of the registry", str(self))
        raise FileNotFoundError(2, "not in the registry", str(self))

    def read_text(self, encoding: "str | None" = None, errors: "str | None" = None) -> str:
        with self.open("r", io.text_encoding(encoding), errors) as stream:
            text: str = stream.read()
            return text

    def _get_folder(self) -> "dict[str, FrozenEntry | None] | None":
        return self._finder.files.get_folder(self._path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return self._finder.locate(self._path)

    def __repr__(self) -> str:
        return f"FrozenPath({str(self)!r})"


def _is_readable(entry: FrozenEntry) -> bool:
    return entry.kind == "data" or (entry.kind == "source" and entry.text_size >= 0)
