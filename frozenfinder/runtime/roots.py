"""Where a registry's roots are on this machine, and what on a path comes before them.

Overlay may serve a frozen module only if the stock search would end at the very file that was
frozen. `Roots.locate` decides that for the price of a comparison with the entries of the path:

- An entry of the path is a root if it is spelled as the root's directory, or is the same directory
  under another spelling. The spelling decides `__file__`, as it does for stock.
- What the entries before it could supply is the set of names in their listings, taken once and
  tested with one look-up. A name that is in it is left to the normal search.
- A listing holds for as long as the directory's mtime does, which is looked at once for every
  outermost import. Stock looks at every import.
- `sys.path_importer_cache` is filled as stock fills it: with the path entry finder of each item
  that the search reaches, up to the item at which it ends.
- The directory of the frozen file itself may have come to hold a package or an extension module of
  the same name, which stock would prefer. A directory not written since the registry was cannot
  have; of one that was, the listing tells.

All of that stands in for importlib's search and loading as CPython has them. The finder compares
them, for every module, with what they were (`STOCK`).
"""

import sys
from _frozen_importlib_external import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)

from .registry import Registry
from .system import LOADERS, SEPARATOR, STDLIB_DIR, find_path_entry, make_absolute, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .layout import FrozenEntry

_STOCK_LOADERS = (  # as `_get_supported_file_loaders` gives them, in lists of its own
    (ExtensionFileLoader, [*EXTENSION_SUFFIXES]),
    (SourceFileLoader, [*SOURCE_SUFFIXES]),
    (SourcelessFileLoader, [*BYTECODE_SUFFIXES]),
)
_LOADERS = [(suffix, loader) for loader, suffixes in _STOCK_LOADERS for suffix in suffixes]
_SUFFIXES = frozenset([suffix for suffix, _ in _LOADERS])
_RANKED = (*EXTENSION_SUFFIXES, ".py")  # the order in which stock prefers them


class Bypass(Exception):  # noqa: N818  # an answer, and not an error
    """A frozen module that may not be served; the argument says why."""


def read_stock() -> "list[object]":
    """The functions of importlib that overlay stands in for, as they are now. Half a µs."""
    source, extension = SourceFileLoader, ExtensionFileLoader
    return [
        vars(PathFinder).get("find_spec"),
        FileFinder.find_spec,
        source.create_module,
        source.exec_module,
        source.get_code,
        source.get_data,
        source.get_filename,
        source.path_stats,
        source.source_to_code,
        extension.create_module,
        extension.exec_module,
    ]


STOCK = read_stock()
for _each in STOCK:
    if getattr(_each, "__module__", None) != FileFinder.__module__:
        STOCK = []  # patched before this was imported: nothing compares equal


class _Directory:
    """A directory's listing, for as long as its mtime holds."""

    __slots__ = ("_epoch", "_folders", "_modified_ns", "_names", "_tops", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._epoch = 0
        self._modified_ns = -1
        self._names: "frozenset[str] | None" = None
        self._tops: "frozenset[str] | None" = None  # of files
        self._folders: "frozenset[str]" = frozenset()  # or files without a suffix

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

    def may_supply(self, name: str) -> bool:
        """Whether it has a folder of that name, or a file that is the module of that name."""
        tops = self._tops
        if tops is None:
            parts = [each.partition(".") for each in self.names()]
            self._folders = frozenset([stem for stem, dot, _ in parts if not dot])
            tops = frozenset([stem for stem, dot, rest in parts if dot + rest in _SUFFIXES])
            self._tops = tops
        return name in tops or (name in self._folders and _is_folder(self.path + SEPARATOR + name))


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
        self._details: "tuple[Any, ...] | None" = None
        self._reached: "tuple[str, tuple[Any, ...]] | None" = None

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
        self._reached = None
        self._read_path()
        suffix = ".py" if entry.kind == "source" else _find_suffix(entry)
        folder, _, file = entry.path.rpartition("/")
        home = folder.rpartition("/")[0] if entry.is_package else folder
        top = self._find_top(entry, home, sys.path if path is None else path, epoch)
        location = f"{top}{SEPARATOR}{entry.path.replace('/', SEPARATOR)}"
        self._check_rivals(location[: -len(file) - 1], file, suffix, entry.is_package, epoch)
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
            if not isinstance(item, str):
                continue
            finder = sys.path_importer_cache.get(item)
            whole = finder.path if type(finder) is FileFinder else make_absolute(item or cwd or ".")
            spelling = whole.rstrip(SEPARATOR)
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
            self._check_finder(item)
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
            supplies = self._directory(finder.path, epoch).may_supply(name.rpartition(".")[2])
        else:
            find_spec = getattr(finder, "find_spec", None)
            supplies = find_spec is not None and find_spec(name) is not None
        if supplies:
            raise Bypass(f"{item!r} comes before its root on the path and may supply it")

    def _check_finder(self, item: str) -> None:
        """Bypass unless stock would search `item` with its own finder and loaders."""
        cache = sys.path_importer_cache
        finder: "Any" = cache.get(item)
        if finder is None:
            if item and item not in cache and (details := self._find_details()) is not None:
                # as stock's hook makes it; `check_fresh` finds out whether there is a directory
                self._reached = item, details
                return
            finder = self._finder(item)
        if type(finder) is not FileFinder or getattr(finder, LOADERS)[: len(_LOADERS)] != _LOADERS:
            raise Bypass(f"{item!r} is searched by {finder!r}")

    def _find_details(self) -> "tuple[Any, ...] | None":
        """What stock's path hook makes a `FileFinder` of; None unless the hooks are stock's."""
        if sys.path_hooks != self._hooks:
            self._hooks = list(sys.path_hooks)
            self._details = _read_details(self._hooks)
        return self._details

    def settle(self) -> None:
        """Cache a finder of the directory that the last module was located in, as stock does."""
        if self._reached is not None:
            (item, details), self._reached = self._reached, None
            sys.path_importer_cache.setdefault(item, FileFinder(item, *details))

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


def _find_suffix(entry: "FrozenEntry") -> str:
    """The suffix of an extension module; Bypass if this interpreter loads no such files."""
    suffix = get_extension_suffix(entry)
    if suffix not in EXTENSION_SUFFIXES:
        raise Bypass(f"this interpreter loads no extension modules that end in {suffix!r}")
    return suffix


def get_extension_suffix(entry: "FrozenEntry") -> str:
    """What follows the module's name in its file's: `.cpython-313-x86_64-linux-gnu.so`."""
    file = entry.path.rpartition("/")[2]
    return file[len(file.partition(".")[0]) :]


def _read_details(hooks: "list[object]") -> "tuple[Any, ...] | None":
    """The loader details of stock's path hook; None if another hook may take a directory first."""
    for hook in hooks:
        owner = getattr(hook, "__self__", None)
        if getattr(hook, "__module__", None) == "zipimport":
            continue  # for files alone
        if getattr(owner, "mode", None) == "closed" and hasattr(owner, "registry"):
            continue  # that of a `ClosedFinder`, for its virtual directories alone
        cells = getattr(hook, "__closure__", None) or ()
        contents = [cell.cell_contents for cell in cells]
        for details in contents:
            if isinstance(details, tuple) and details[: len(_STOCK_LOADERS)] == _STOCK_LOADERS:
                return details if FileFinder in contents else None
        return None
    return None


def _is_folder(path: str) -> bool:
    try:
        return syscalls.stat(path).st_mode & 0o170000 == 0o040000
    except (OSError, ValueError):
        return False


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
