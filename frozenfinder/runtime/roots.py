"""Where a registry's roots are on this machine, and which items on a path come before them.

Overlay may serve a frozen module only if the stock search would end at exactly the frozen file.
`Roots.locate` decides that at the cost of comparing it with the items of the path:

- An item of the path is a root if it is spelled as the root's directory, or is the same directory
  with another spelling. The spelling decides `__file__`, as it does for stock. Links may be
  switched, so other spellings are looked at again in every outermost import.
- The items before it may supply the names in their listings. A listing is read once, and tested
  with one look-up. A name in it is left to the normal search.
- A listing is valid as long as the directory's mtime does not change. The mtime is checked once for
  every outermost import, and once a second in a long one; stock checks it at every import.
- `sys.path_importer_cache` is filled as stock fills it: with the path entry finder of each item
  that the search reaches, up to the item at which it ends.
- The directory of the frozen file itself may now contain a package or an extension module of the
  same name, which stock would prefer. That is impossible if the directory's `STATE` is that of the
  freeze; otherwise the listing decides.

All of that replaces importlib's search and loading as CPython has them. The finder checks, for
every module, that they are unchanged (`is_stock`). What belongs to others is left to stock's
search, and not asked from here: it is asked once, in stock's order, and its tracebacks are stock's.
"""

import _frozen_importlib_external
import sys
from _frozen_importlib_external import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)

from .registry import Registry
from .system import (
    LOADERS,
    SEPARATOR,
    STATE,
    STDLIB_DIR,
    find_path_entry,
    is_absolute,
    namespace_path,
    read_importlib,
    syscalls,
)

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
_SUFFIXES = [*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES]
# modules whose path hooks and finders take no directories: asking them changes nothing
_FOREIGN = ("zipimport", "frozenfinder.closed.finder")
_PATHS = (list, tuple, namespace_path)  # reading one of these has no effect, however often
_ATTRIBUTES = 5  # of a `FileFinder`; one more is a method of its own
_RANKED = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES)  # the order in which stock prefers them


class Bypass(Exception):  # noqa: N818  # an answer, not an error
    """A frozen module may not be served; the argument says why."""


IMPORTLIB = vars(_frozen_importlib_external)


_INHERITED = object.__getattribute__, object.__setattr__
try:
    _STOCK = read_importlib()
except (AttributeError, KeyError):  # of a version that is not listed: nothing compares equal
    _STOCK = []
for _each in _STOCK:
    if _each not in _INHERITED and (
        getattr(getattr(_each, "__func__", _each), "__globals__", None) is not IMPORTLIB
    ):
        _STOCK = []  # patched before this was imported: nothing compares equal


def is_stock() -> bool:
    """Whether importlib's finders and loaders are what they were. Half a µs."""
    return read_importlib() == _STOCK


class _Directory:
    """A directory's listing, valid as long as its mtime does not change, as stock's is.

    `state` and `identity` are from `period`; None if there is no such directory.
    """

    __slots__ = ("_modified_ns", "_names", "_tops", "identity", "path", "period", "state")

    def __init__(self, path: str) -> None:
        self.path = path
        self.period = 0
        self.state: "int | None" = None
        self.identity: "tuple[int, int] | None" = None
        self._modified_ns = -1
        self._names: "frozenset[str] | None" = None
        self._tops: "frozenset[str] | None" = None  # what the names begin with, up to a dot

    def look(self, period: int) -> None:
        """Read its status; forget the listing if the mtime has changed."""
        try:
            status = syscalls.stat(self.path)
        except OSError:
            self.state = self.identity = None
            modified_ns = -1  # the listing is empty
        else:
            self.state = getattr(status, STATE)
            self.identity = status.st_ino, status.st_dev
            modified_ns = status.st_mtime_ns
        if modified_ns != self._modified_ns:
            self._names = self._tops = None
            self._modified_ns = modified_ns
        self.period = period

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
            tops = frozenset([each.partition(".")[0] for each in self.names()])
            self._tops = tops
        if name not in tops:
            return False
        names = self.names()
        for suffix in _SUFFIXES:
            if name + suffix in names:
                return True
        return name in names and _is_folder(self.path + SEPARATOR + name)


class Roots:
    """The roots of one registry, resolved on this machine.

    `directories` has a directory for each of the registry's roots, in its order, or None for one
    that is unknown (relative to the file of a registry that is only in memory).

    importlib's global lock protects all of it: `find_spec` runs with that lock held. A thread that
    calls a finder without it, or `invalidate`, at worst causes one more check of a directory.
    """

    def __init__(self, registry: Registry) -> None:
        self.directories = [resolve(anchor, path, registry) for anchor, path in registry.roots]
        self._directories: "dict[str, _Directory]" = {}
        self._looks = 0
        self._hooks: "list[object]" = []
        self._details: "tuple[Any, ...] | None" = None
        self._reached: "tuple[str, tuple[Any, ...]] | None" = None

    def invalidate(self) -> None:
        """Forget the listings of directories; costs the same for any number."""
        self._directories = {}

    def locate(
        self, entry: "FrozenEntry", path: "Iterable[str] | None", period: int
    ) -> "tuple[str, bool]":
        """The file of `entry`, as the stock search over `path` spells it.

        And whether its folder is the frozen one, unchanged: another has other files, which may have
        the same times.

        `path` is None for `sys.path`. Bypass if the search might end elsewhere. Costs one `stat` of
        each directory on the way that was not looked at in this `period` (0: one of this call
        alone), and a listing of those that have changed.
        """
        self._reached = None
        if not period:
            self._looks = period = self._looks - 1
        if entry.kind == "extension" and (suffix := get_extension_suffix(entry)) not in _RANKED:
            raise Bypass(f"this interpreter does not load extension modules ending in {suffix!r}")
        folder, _, file = entry.path.rpartition("/")
        home = folder.rpartition("/")[0] if entry.is_package else folder
        top = self._find_top(entry, home, sys.path if path is None else path, period)
        location = f"{top}{SEPARATOR}{entry.path.replace('/', SEPARATOR)}"
        directory = self._directory(location[: -len(file) - 1], period)
        if directory.state == entry.state != 0:
            return location, True
        self._check_rivals(directory, file, entry.is_package, period)
        return location, False

    def _find_top(  # noqa: C901, PLR0912  # the search as PathFinder has it, in one piece
        self,
        entry: "FrozenEntry",
        home: str,
        path: "Iterable[object]",
        period: int,
    ) -> str:
        """The root's directory, as the item of `path` at which the search would end spells it."""
        root = self.directories[entry.root] if entry.root < len(self.directories) else None
        ending = SEPARATOR + home.replace("/", SEPARATOR) if home else ""
        whole = f"{root}{ending}"
        cache = sys.path_importer_cache
        if type(cache) is not dict or type(path) not in _PATHS:
            raise Bypass("the path or sys.path_importer_cache is of a type that is not CPython's")
        for item in path:
            if not isinstance(item, str):
                continue
            key = item or _getcwd()
            if key is None:
                continue  # the current directory is gone
            finder: "Any" = cache.get(key, cache)  # which stands for none yet
            if finder is None:
                continue
            if finder is cache:
                details = self._find_details(item)
                top = self._match(key, whole, ending, root, period) if is_absolute(key) else None
                if top is not None:
                    # as stock's hook makes it; `check_fresh` finds out whether there is a directory
                    self._reached = key, details
                    return top
                finder = find_path_entry(item)
            if type(finder) is FileFinder:
                loaders = getattr(finder, LOADERS)
                plain = loaders == _LOADERS
                if (plain or loaders[: len(_LOADERS)] == _LOADERS) and len(
                    finder.__dict__
                ) == _ATTRIBUTES:
                    top = self._match(finder.path, whole, ending, root, period)
                    if top is not None:
                        return top
                    if plain:
                        directory = self._directory(finder.path, period)
                        if not directory.may_supply(entry.name.rpartition(".")[2]):
                            continue
                        raise Bypass(
                            f"{item!r} comes before its root on the path and may supply it"
                        )
            elif finder is None or (
                type(finder).__module__ in _FOREIGN and finder.find_spec(entry.name) is None
            ):
                continue
            raise Bypass(f"{item!r} is searched by {finder!r}")
        raise Bypass(f"its root {root!r} is not on the path")

    def _match(
        self, directory: str, whole: str, ending: str, root: "str | None", period: int
    ) -> "str | None":
        """The start of a directory if it is a spelling of the root, and `ending` is the rest."""
        if root is None:
            return None
        if directory == whole:
            return root
        top = directory.rstrip(SEPARATOR)
        if ending:
            if not top.endswith(ending):
                return None
            top = top.removesuffix(ending)
        if top == root:
            return top
        # compared with the root as it was last seen, which costs nothing if it is another
        home = self._directories.get(root)
        if home is None:
            home = self._directory(root, period)
        identity = self._directory(top, period).identity
        if identity != home.identity:
            return None
        home = self._directory(root, period)
        return top if identity == home.identity is not None else None

    def _find_details(self, item: str) -> "tuple[Any, ...]":
        """What stock's path hook makes a `FileFinder` of; Bypass unless the hooks are stock's."""
        if sys.path_hooks != self._hooks:
            hooks: "list[Any]" = list(sys.path_hooks)
            self._details = _read_details(hooks)
            self._hooks = hooks  # at last: another thread trusts the details then
        details = self._details
        # its lists of suffixes are importlib's own, and may have been added to
        if details is None or details[: len(_STOCK_LOADERS)] != _STOCK_LOADERS:
            raise Bypass(f"{item!r} may be searched by one of the other path hooks")
        return details

    def settle(self) -> None:
        """Cache a finder of the directory that the last module was located in, as stock does."""
        reached, self._reached = self._reached, None  # once: another thread may assign meanwhile
        if reached is not None:
            item, details = reached
            sys.path_importer_cache.setdefault(item, FileFinder(item, *details))

    def _check_rivals(
        self, directory: _Directory, file: str, is_package: bool, period: int
    ) -> None:
        """Bypass if the directory now contains something that importlib would prefer to `file`."""
        names = directory.names()
        for rival in find_rivals(file, is_package):
            if rival not in names:
                continue
            location = directory.path + SEPARATOR + rival
            if "." in rival or any(
                f"__init__{suffix}" in self._directory(location, period).names()
                for suffix in _SUFFIXES
            ):
                raise Bypass(f"{location!r} may be preferred to it")

    def _directory(self, path: str, period: int) -> _Directory:
        """The directory, looked at once in a period."""
        known = self._directories.get(path)
        if known is None:
            known = self._directories[path] = _Directory(path)
        if period != known.period:
            known.look(period)
        return known


def find_rivals(file: str, is_package: bool) -> "list[str]":
    """The names in a module's folder that stock may prefer to its `file`: files, and a folder.

    A folder that has no `__init__` is not preferred.
    """
    stem, dot, rest = file.partition(".")
    rank = _RANKED.index(dot + rest) if dot + rest in _RANKED else len(_RANKED)
    rivals = [stem + preferred for preferred in _RANKED[:rank]]
    return rivals if is_package else [*rivals, stem]


def get_extension_suffix(entry: "FrozenEntry") -> str:
    """The part of the file name after the module's name: `.cpython-313-x86_64-linux-gnu.so`."""
    file = entry.path.rpartition("/")[2]
    return file[len(file.partition(".")[0]) :]


def _read_details(hooks: "list[Any]") -> "tuple[Any, ...] | None":
    """The loader details of stock's path hook; None if another hook may take a directory first."""
    for hook in hooks:
        if getattr(hook, "__module__", None) in _FOREIGN:
            continue
        contents = [cell.cell_contents for cell in getattr(hook, "__closure__", None) or ()]
        is_stocks = FileFinder in contents and getattr(hook, "__globals__", None) is IMPORTLIB
        found = [each for each in contents if isinstance(each, tuple)] if is_stocks else []
        return found[0] if found else None
    return None


def _is_folder(path: str) -> bool:
    try:
        return syscalls.stat(path).st_mode & 0o170000 == 0o040000
    except (OSError, ValueError):
        return False


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


def _getcwd() -> "str | None":
    try:
        return syscalls.getcwd()
    except OSError:
        return None
