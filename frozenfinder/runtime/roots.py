"""Where a registry's roots are on this machine, and what on a path comes before them.

Overlay may serve a frozen module only if the stock search would end at the very file that was
frozen. `Roots.locate` decides that for the price of a comparison with the entries of the path:

- An entry of the path is a root if it is spelled as the root's directory, or is the same directory
  under another spelling. The spelling decides `__file__`, as it does for stock.
- What the entries before it could supply is the set of names in their listings, taken once and
  tested with one look-up. A name that is in it is left to the normal search.
- A listing holds for as long as the directory's mtime does, which is looked at once for every
  outermost import. Stock looks at every import.
- The directory of the frozen file itself may have come to hold a package or an extension module of
  the same name, which stock would prefer. A directory not written since the registry was cannot
  have; of one that was, the listing tells.
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

_SOURCE = (".py", SourceFileLoader)  # as `FileFinder._loaders` has it
_STOCK_LOADERS = (  # as `_get_supported_file_loaders` gives them
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
)
_RANKED = (*EXTENSION_SUFFIXES, ".py")  # the order in which stock prefers them


class Bypass(Exception):  # noqa: N818  # an answer, and not an error
    """A frozen module that may not be served; the argument says why."""


class _Directory:
    """A directory's listing, for as long as its mtime holds."""

    __slots__ = ("_epoch", "_modified_ns", "_names", "_tops", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._epoch = 0
        self._modified_ns = -1
        self._names: "frozenset[str] | None" = None
        self._tops: "frozenset[str] | None" = None

    def revalidate(self, epoch: int) -> None:
        """Look at the mtime, unless this epoch has; forget a listing that it does not bear out.

        Epoch 0 is nobody's: it looks every time.
        """
        if epoch and epoch == self._epoch:
            return
        try:
            modified_ns = syscalls.stat(self.path).st_mtime_ns
        except OSError:
            modified_ns = -1  # not there, for now: it lists as empty
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
        """The names that a module in it could have."""
        if self._tops is None:
            self._tops = frozenset([name.partition(".")[0] for name in self.names()])
        return self._tops


class Roots:
    """The roots of one registry, resolved on this machine.

    `directories` has a directory for each of the registry's roots, in its order, or None for one
    that cannot be told (relative to the file of a registry that is only in memory).

    importlib's global lock protects all of it: `find_spec` runs with that lock held. Whoever calls
    a finder without it, or `invalidate`, at worst has a directory looked at once more: the path is
    assigned after the spellings that were found for it.
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
        """Forget what was seen of the path and its directories; costs the same for any number."""
        self._directories = {}
        self._path = []

    def locate(self, entry: "FrozenEntry", path: "Iterable[str] | None", epoch: int) -> str:
        """The file of `entry`, as the stock search over `path` spells it.

        `path` is None for `sys.path`. Directories are looked at once for every `epoch`. Bypass
        where the search might end elsewhere. No system call but a `stat` for each directory that
        this epoch has not seen; epoch 0 looks at each every time.
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
        """Learn the spellings of the roots anew if `sys.path` is not what it was."""
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
            except ValueError:  # no path: it has a NUL, or a lone surrogate
                continue
            if type(finder) is FileFinder:
                spelling = finder.path.rstrip(SEPARATOR)
                if spelling not in spellings and (identity := _identity(spelling)) in identities:
                    spellings[spelling] = identities[identity]
        self._spellings = spellings
        self._cwd = cwd
        self._path = items

    def _finder(self, item: str) -> object:
        """The path entry finder of `item`; stock creates and caches it the same way."""
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
        """The root's directory as spelled by the item of `path` at which the search would end."""
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
            raise Bypass(f"{item!r} is searched by {finder!r}")

    def _check_rivals(
        self, directory: str, file: str, suffix: str, is_package: bool, epoch: int
    ) -> None:
        """Bypass if `directory` has come to hold what stock prefers to `file`."""
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
    """As `_SOURCE`, for an extension module; Bypass if this interpreter loads no such files."""
    suffix = get_extension_suffix(entry)
    if suffix not in EXTENSION_SUFFIXES:
        raise Bypass(f"this interpreter loads no extension modules that end in {suffix!r}")
    return suffix, ExtensionFileLoader


def get_extension_suffix(entry: "FrozenEntry") -> str:
    """What follows the module's name in its file's: `.cpython-313-x86_64-linux-gnu.so`."""
    file = entry.path.rpartition("/")[2]
    return file[len(file.partition(".")[0]) :]


def _is_stock(hook: object) -> bool:
    """Whether a path hook leaves directories to stock's own finder and loaders."""
    if getattr(hook, "__module__", None) == "zipimport":
        return True
    owner = getattr(hook, "__self__", None)
    if getattr(owner, "mode", None) == "closed" and hasattr(owner, "registry"):
        return True  # that of a `ClosedFinder`, for its virtual directories alone
    cells = getattr(hook, "__closure__", None) or ()
    contents = [cell.cell_contents for cell in cells]
    return FileFinder in contents and any(
        isinstance(content, tuple) and content[: len(_STOCK_LOADERS)] == _STOCK_LOADERS
        for content in contents
    )


def resolve(anchor: str, path: str, registry: Registry) -> "str | None":
    """The directory of a root on this machine; see `layout.ANCHORS`."""
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
