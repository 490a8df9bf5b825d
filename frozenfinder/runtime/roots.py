"""Where a registry's roots are on this machine, and which items on a path come before them.

Overlay may serve a frozen module only if the stock search would end at exactly the frozen file.
`Roots.locate` decides that at the cost of comparing it with the items of the path:

- An item of the path is a root if it is spelled as the root's directory, or is the same directory
  with another spelling. The spelling decides `__file__`, as it does for stock.
- The items before it may supply the names in their listings. A listing is read once, and tested
  with one look-up. A name in it is left to the normal search.
- A listing is valid as long as the directory's mtime does not change. The mtime is checked once for
  every outermost import; stock checks it at every import.
- The directory of the frozen file itself may now contain a package or an extension module of the
  same name, which stock would prefer. That is impossible if the directory was not written since
  the registry was; otherwise the listing decides.
"""

import sys
from _frozen_importlib_external import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)

from .registry import Registry
from .system import LOADERS, SEPARATOR, STDLIB_DIR, find_path_entry, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .layout import FrozenEntry

_SOURCE = (".py", SourceFileLoader)  # an item of `FileFinder._loaders`
_STOCK_LOADERS = (  # the result of `_get_supported_file_loaders`
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
)
_RANKED = (*EXTENSION_SUFFIXES, ".py")  # stock prefers the earlier ones


class Bypass(Exception):  # noqa: N818  # an answer, not an error
    """A frozen module may not be served; the argument says why."""


class _Directory:
    """A directory's listing, valid as long as its mtime does not change."""

    __slots__ = ("_epoch", "_modified_ns", "_names", "_tops", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._epoch = 0
        self._modified_ns = -1
        self._names: "frozenset[str] | None" = None
        self._tops: "frozenset[str] | None" = None

    def revalidate(self, epoch: int) -> None:
        """Check the mtime once in an epoch; forget the listing if it has changed.

        In epoch 0, check every time.
        """
        if epoch and epoch == self._epoch:
            return
        try:
            modified_ns = syscalls.stat(self.path).st_mtime_ns
        except OSError:
            modified_ns = -1  # it does not exist now: the listing is empty
        if modified_ns != self._modified_ns:
            self._names = self._tops = None
            self._modified_ns = modified_ns
        self._epoch = epoch

    def written_since(self, moment_ns: int) -> bool:
        return self._modified_ns >= moment_ns

    def names(self) -> "frozenset[str]":
        """The names of the files and folders in it."""
        if self._names is None:
            try:
                self._names = frozenset(syscalls.listdir(self.path))
            except OSError:
                self._names = frozenset()
        return self._names

    def tops(self) -> "frozenset[str]":
        """The names that modules in it could have."""
        if self._tops is None:
            self._tops = frozenset([name.partition(".")[0] for name in self.names()])
        return self._tops


class Roots:
    """The roots of one registry, resolved on this machine.

    `directories` has a directory for each of the registry's roots, in its order, or None for one
    that is unknown (relative to the file of a registry that is only in memory).

    importlib's global lock protects all of it: `find_spec` runs with that lock held. A thread that
    calls a finder without it, or `invalidate`, at worst causes one more check of a directory: the
    path is assigned after the spellings that were found for it.
    """

    def __init__(self, registry: Registry) -> None:
        self._written_ns = registry.modified_ns
        self.directories = [resolve(anchor, path, registry) for anchor, path in registry.roots]
        self._directories: "dict[str, _Directory]" = {}
        self._spellings: "dict[str, int]" = {}
        self._path: "list[object]" = []
        self._cwd: "str | None" = None
        self._hooks: "list[object]" = []
        self._stock_hooks = False

    def invalidate(self) -> None:
        """Forget the path and the listings of its directories; costs the same for any number."""
        self._directories = {}
        self._path = []

    def locate(self, entry: "FrozenEntry", path: "Iterable[str] | None", epoch: int) -> str:
        """The file of `entry`, as the stock search over `path` spells it.

        `path` is None for `sys.path`. Bypass if the search might end elsewhere. Costs one `stat` of
        each directory on the way that was not checked in this `epoch` (in epoch 0, of each every
        time), and a listing of those that have changed.
        """
        self._read_path()
        found_by = _SOURCE if entry.kind == "source" else _find_extension_loader(entry)
        folder, _, file = entry.path.rpartition("/")
        home = folder.rpartition("/")[0] if entry.is_package else folder
        top = self._find_top(entry, home, sys.path if path is None else path, epoch, found_by)
        location = f"{top}{SEPARATOR}{entry.path.replace('/', SEPARATOR)}"
        self._check_rivals(location[: -len(file) - 1], file, found_by[0], entry.is_package, epoch)
        return location

    def _read_path(self) -> None:
        """Find the spellings of the roots again if `sys.path` has changed."""
        path = sys.path
        cwd = _getcwd() if "" in path else None
        if path == self._path and cwd == self._cwd:
            return
        items: "list[object]" = [*path]
        known = {directory: at for at, directory in enumerate(self.directories) if directory}
        identities = {_identity(directory): at for directory, at in known.items()}
        identities.pop(None, None)
        spellings = dict(known)
        for item in items:
            try:
                finder = self._finder(item) if isinstance(item, str) else None
            except ValueError:  # not a path: it has a NUL or a lone surrogate
                continue
            if type(finder) is FileFinder:
                spelling = finder.path.rstrip(SEPARATOR)
                if spelling not in spellings and (identity := _identity(spelling)) in identities:
                    spellings[spelling] = identities[identity]
        self._spellings = spellings
        self._cwd = cwd
        self._path = items

    def _finder(self, item: str) -> object:
        """The path entry finder of `item`, created and cached as stock does."""
        if item and (finder := sys.path_importer_cache.get(item)) is not None:
            return finder
        found: object = find_path_entry(item)
        return found

    def _find_top(
        self,
        entry: "FrozenEntry",
        home: str,
        path: "Iterable[object]",
        epoch: int,
        found_by: "tuple[str, type]",
    ) -> str:
        """The root's directory, as the item of `path` at which the search would end spells it."""
        ending = SEPARATOR + home.replace("/", SEPARATOR) if home else ""
        for item in path:
            if not isinstance(item, str):
                continue
            top = self._match(item, ending, entry.root)
            if top is None:
                finder = self._finder(item)
                if type(finder) is FileFinder:
                    top = self._match(finder.path.rstrip(SEPARATOR), ending, entry.root)
                if top is None:
                    self._pass_by(item, finder, entry.name, epoch)
                    continue
            self._check_finder(item, found_by)
            return top
        root = self.directories[entry.root] if entry.root < len(self.directories) else None
        raise Bypass(f"its root {root!r} is not on the path")

    def _match(self, directory: str, ending: str, root: int) -> "str | None":
        if not directory.endswith(ending):
            return None
        top = directory.removesuffix(ending)
        return top if self._spellings.get(top) == root else None

    def _pass_by(self, item: str, finder: object, name: str, epoch: int) -> None:
        """Bypass if an item of the path that comes before the root might supply `name`."""
        if type(finder) is FileFinder:
            supplies = name.rpartition(".")[2] in self._directory(finder.path, epoch).tops()
        else:
            find_spec = getattr(finder, "find_spec", None)
            supplies = find_spec is not None and find_spec(name) is not None
        if supplies:
            raise Bypass(f"{item!r} comes before its root on the path and may supply it")

    def _check_finder(self, item: str, found_by: "tuple[str, type]") -> None:
        """Bypass unless stock would search `item` with its own finder and loaders."""
        finder: "Any" = sys.path_importer_cache.get(item)
        if finder is None:
            if sys.path_hooks != self._hooks:
                self._hooks = list(sys.path_hooks)
                self._stock_hooks = all(map(_is_stock, self._hooks))
            if self._stock_hooks and item not in sys.path_importer_cache:
                return
            finder = self._finder(item)
        if type(finder) is not FileFinder or found_by not in getattr(finder, LOADERS):
            raise Bypass(f"{item!r} is searched by {finder!r}, expected an unchanged FileFinder")

    def _check_rivals(
        self, directory: str, file: str, suffix: str, is_package: bool, epoch: int
    ) -> None:
        """Bypass if `directory` now contains something that importlib would prefer to `file`."""
        state = self._directory(directory, epoch)
        if not state.written_since(self._written_ns):
            return
        names = state.names()
        stem = file.removesuffix(suffix)
        rivals = [stem + preferred for preferred in _RANKED[: _RANKED.index(suffix)]]
        if not is_package:
            rivals.append(stem)
        for rival in rivals:
            if rival in names:
                raise Bypass(f"{directory + SEPARATOR + rival!r} may be preferred to it")

    def _directory(self, path: str, epoch: int) -> _Directory:
        state = self._directories.get(path)
        if state is None:
            state = self._directories[path] = _Directory(path)
        state.revalidate(epoch)
        return state


def _find_extension_loader(entry: "FrozenEntry") -> "tuple[str, type]":
    """As `_SOURCE`, for an extension module; Bypass if this interpreter loads no such suffix."""
    suffix = get_extension_suffix(entry)
    if suffix not in EXTENSION_SUFFIXES:
        raise Bypass(f"this interpreter does not load extension modules ending in {suffix!r}")
    return suffix, ExtensionFileLoader


def get_extension_suffix(entry: "FrozenEntry") -> str:
    """The part of the file name after the module's name: `.cpython-313-x86_64-linux-gnu.so`."""
    file = entry.path.rpartition("/")[2]
    return file[len(file.partition(".")[0]) :]


def _is_stock(hook: object) -> bool:
    """Whether a path hook leaves directories to stock's own finder and loaders."""
    if getattr(hook, "__module__", None) == "zipimport":
        return True
    owner = getattr(hook, "__self__", None)
    if getattr(owner, "mode", None) == "closed" and hasattr(owner, "registry"):
        return True  # the hook of a `ClosedFinder`, which is only for its virtual directories
    cells = getattr(hook, "__closure__", None) or ()
    contents = [cell.cell_contents for cell in cells]
    return FileFinder in contents and any(
        isinstance(content, tuple) and content[: len(_STOCK_LOADERS)] == _STOCK_LOADERS
        for content in contents
    )


def resolve(anchor: str, path: str, registry: Registry) -> "str | None":
    """The directory of a root on this machine, or None if unknown; see `layout.ANCHORS`."""
    if anchor == "stdlib":
        base: "str | None" = getattr(sys, STDLIB_DIR, None)
    elif anchor == "prefix":
        base = sys.prefix
    elif anchor == "registry":
        base = registry.path.rpartition(SEPARATOR)[0] if SEPARATOR in registry.path else None
    else:
        return path
    if base is None or not path:
        return base
    return f"{base}{SEPARATOR}{path.replace('/', SEPARATOR)}"


def _identity(path: str) -> "tuple[int, int] | None":
    try:
        status = syscalls.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _getcwd() -> "str | None":
    try:
        return syscalls.getcwd()
    except OSError:
        return None
