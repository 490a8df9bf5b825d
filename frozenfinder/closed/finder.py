"""Closed mode's finders: `ClosedFinder`, and `PathEntry` for its virtual directories."""

import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import EXTENSION_SUFFIXES, PathFinder

from frozenfinder.own import set_cached
from frozenfinder.runtime.finder import ServingFinder
from frozenfinder.runtime.layout import BARE_KINDS, MODULE_KINDS
from frozenfinder.runtime.registry import FrozenEntry
from frozenfinder.runtime.roots import get_extension_suffix, resolve
from frozenfinder.runtime.system import SEPARATOR, get_module, namespace_path, syscalls

from .loader import ClosedExtensionLoader, ClosedLoader, ClosedNamespaceLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.metadata import Distribution, DistributionFinder
    from types import ModuleType
    from typing import Any

    from frozenfinder.native.extraction import Extractor

    from .paths import FileTree, FrozenPath

_OWN = "frozenfinder."  # its deferred imports must work with a world registry, too
_CHILDREN = "multiprocessing.util"  # it knows how processes are started: see `processes`


class ClosedFinder(ServingFinder):
    """Closed mode: the names in the registry are served only from it, whatever is on disk.

    `root` is the virtual directory of its modules: the path of the registry. Threads may share a
    finder.
    """

    mode = "closed"

    def _set_up(self) -> None:
        self.root = self.registry.path
        # Made at the first use. `setdefault` publishes the first one of each, and every thread gets
        # that one.
        self._extractors: "dict[str, Extractor]" = {}
        self._trees: "dict[str, FileTree]" = {}
        # The directory of each package that is laid out. `setdefault` publishes it when the files
        # are complete. Iterate over a copy.
        self._laid_out: "dict[str, str]" = {}
        # `append` and `pop` are atomic; another thread may pop first.
        self._unannounced: "list[ClosedLoader]" = []
        # Two threads may list the same packages; published items never change.
        self._packages: "dict[str, dict[str, dict[str, bool]]]" = {}
        util = get_module(_CHILDREN)
        if util is not None:
            # deferred: only for programs that start processes
            from .processes import hand_on

            hand_on(self, util)

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """The spec of the entry with that name, or None; reads no file except the registry.

        A submodule of a package of this registry is left to the search of `path`, if `path` does
        not begin with the package's own directory. RegistryError if the registry is damaged,
        ModuleNotFoundError for an excluded entry, ImportError for an extension module of another
        interpreter. A package that is marked to be laid out is written to the cache first.
        """
        if self._unannounced:
            self._announce()
        if fullname == _CHILDREN:
            # deferred: only for programs that start processes
            from .processes import watch

            return watch(self, self._search(fullname, path), path)
        return self._search(fullname, path)

    def _search(self, fullname: str, path: "Sequence[str] | None") -> "ModuleSpec | None":
        entry = self.registry.find_entry(fullname, self.tests)
        if entry is not None and (path is None or self._decides(entry, path)):
            return self._find_spec(entry, path)
        if path is not None and self.registry.header.world:
            own = fullname.startswith(_OWN)
            return PathFinder.find_spec(fullname, path if own else self._virtual(path))
        return None

    def _find_spec(self, entry: FrozenEntry, path: "Sequence[str] | None") -> "ModuleSpec | None":
        if entry.kind == "excluded":
            raise ModuleNotFoundError(
                f"No module named {entry.name!r}; it was excluded from {self.registry.where}",
                name=entry.name,
            )
        if entry.lay_out and entry.name not in self._laid_out:
            self._lay_out_marked(entry)
        if entry.kind == "namespace":
            return self._find_namespace(entry, path)
        return self.make_spec(entry.name, entry)

    def _lay_out_marked(self, entry: FrozenEntry) -> None:
        try:
            self.lay_out(entry.name)
        except ValueError as error:
            raise self.registry.error(
                f"entry {entry.name!r} is marked to be laid out, expected only top-level packages",
                entry.name,
            ) from error

    def _decides(self, entry: FrozenEntry, path: "Iterable[str]") -> bool:
        """Whether the registry serves a submodule: no other directory was put first in `path`.

        The order does not matter if the parent was not imported from this registry.
        """
        for first in path:
            if first == self.locate(home(entry)):
                return True
            break
        if entry.kind in BARE_KINDS or entry.origname != entry.name:
            return True
        parent = get_module(entry.name.rpartition(".")[0])
        loader = getattr(parent, "__loader__", None)
        is_ours = (
            isinstance(loader, (ClosedLoader, ClosedNamespaceLoader)) and loader.server is self
        )
        return not is_ours

    def _virtual(self, path: "Iterable[object]") -> "list[str]":
        """The virtual directories among the items of a path."""
        return [item for item in path if isinstance(item, str) and self.relative(item) is not None]

    def make_spec(self, fullname: str, entry: FrozenEntry) -> ModuleSpec:
        """The spec of an entry with code, under the requested name (which may be an alias)."""
        location = origin = self.locate(entry.path)
        loader: "Any"  # not a Loader to the type checker: it has no `load_module`
        if entry.kind == "extension":
            origin = self._locate_extension(entry)
            loader = ClosedExtensionLoader(fullname, origin, self, entry)
        else:
            loader = ClosedLoader(fullname, location, self, entry)
        spec = ModuleSpec(fullname, loader, origin=origin, is_package=entry.is_package)
        spec.has_location = True
        if entry.is_package:
            spec.submodule_search_locations = [location.rpartition(SEPARATOR)[0]]
        if entry.kind == "source":
            set_cached(spec, location)
        return spec

    def _locate_extension(self, entry: FrozenEntry) -> str:
        """The real file that an extension module is, or will be, loaded from.

        ImportError if it is for another interpreter: builds with the same cache tag may need
        different files.
        """
        suffix = get_extension_suffix(entry)
        if suffix not in EXTENSION_SUFFIXES:
            raise self._refuse_extension(
                entry,
                f"ends in {suffix!r}, this interpreter loads {', '.join(EXTENSION_SUFFIXES)}; "
                "freeze it again with this interpreter",
            )
        if entry.size:
            return self.extractor.locate(entry) or self.locate(entry.path)
        anchor, path = self.registry.find_root(entry)
        directory = resolve(anchor, path, self.registry)
        if directory is None:
            raise self._refuse_extension(
                entry,
                "is beside the registry, which is in memory; freeze it again with "
                "--extensions=embed",
            )
        return f"{directory}{SEPARATOR}{entry.path.replace('/', SEPARATOR)}"

    def _refuse_extension(self, entry: FrozenEntry, complaint: str) -> ImportError:
        return ImportError(
            f"{self.registry.where}: the file of extension module {entry.name!r} {complaint}",
            name=entry.name,
            path=self.registry.path,
        )

    def extract(self, entry: FrozenEntry) -> "tuple[str, str | None]":
        """The file of an extension module, and its SHA-256 in hexadecimal if it is embedded.

        ImportError if there is no file, or its size in bytes is not the frozen one.
        """
        if entry.size:
            return self.extractor.extract(entry)
        location = self._locate_extension(entry)
        try:
            size = syscalls.stat(location).st_size
        except (OSError, ValueError) as error:
            found = f"cannot be found: {getattr(error, 'strerror', None) or error}"
        else:
            if size & 0xFFFFFFFF == entry.source_size:
                return location, None
            found = f"has {size} bytes, expected {entry.source_size}"
        raise ImportError(
            f"{self.registry.where}: the file {location!r} of extension module {entry.name!r} "
            f"{found}; freeze it again",
            name=entry.name,
            path=location,
        )

    @property
    def extractor(self) -> "Extractor":
        """The object that writes embedded extension modules to files."""
        extractor = self._extractors.get("")
        if extractor is None:
            # deferred: only registries that embed extension modules need it
            from frozenfinder.native.extraction import Extractor

            extractor = self._extractors.setdefault("", Extractor(self.registry))
        return extractor

    def _find_namespace(
        self, entry: FrozenEntry, path: "Sequence[str] | None"
    ) -> "ModuleSpec | None":
        """A namespace package with the registry's portion and the portions on the path.

        A regular package on the path wins, as in stock.
        """
        own = self.locate(entry.path)

        def merge(name: str, search: "Sequence[str]") -> ModuleSpec:
            if self.registry.header.world:
                search = self._virtual(search)
            spec = PathFinder.find_spec(name, search)
            if spec is not None and spec.loader is not None and spec.origin is not None:
                return spec
            portions = [] if spec is None else list(spec.submodule_search_locations or ())
            merged = ModuleSpec(name, None, is_package=True)
            merged.submodule_search_locations = portions if own in portions else [own, *portions]
            return merged

        spec = merge(entry.name, sys.path if path is None else path)
        if spec.loader is None:
            portions = namespace_path(entry.name, spec.submodule_search_locations, merge)
            spec.submodule_search_locations = portions
            spec.loader = ClosedNamespaceLoader(portions, self)
        return spec

    def iter_modules(self, prefix: str = "", folder: str = "") -> "Iterator[tuple[str, bool]]":
        """The (name, whether a package) of every module in a folder, by name; for `pkgutil`.

        Like `FileFinder`, it leaves out namespace packages. The first call for a top-level name
        reads its shard of the index; the folder '' reads the whole index.
        """
        top = folder.partition("/")[0]
        packages = self._packages.get(top)
        if packages is None:
            packages = self._packages[top] = self._list_packages(top)
        for name, is_package in sorted(packages.get(folder.replace("/", "."), {}).items()):
            yield prefix + name, is_package

    def _list_packages(self, top: str) -> "dict[str, dict[str, bool]]":
        packages: "dict[str, dict[str, bool]]" = {}
        for entry in self.registry.entries(top or None):
            package, _, name = entry.name.rpartition(".")
            if (
                entry.kind in MODULE_KINDS
                and entry.origname == entry.name
                and (self.tests or entry.table != "test")
                and bool(package) == bool(top)
            ):
                packages.setdefault(package, {}).setdefault(name, entry.is_package)
        return packages

    def find_distributions(
        self, context: "DistributionFinder.Context | None" = None
    ) -> "Iterator[Distribution]":
        """The distributions whose metadata the registry contains, for `importlib.metadata`."""
        # deferred: only programs that read metadata need it
        from . import metadata

        return metadata.find_distributions(self, context)

    def lay_out(self, *packages: str) -> None:
        """Write the files of packages that open their data by path to real files.

        Call it before the packages are imported. From then on, `__file__` and `__path__` of the
        modules of these top-level packages are below a directory of the user's cache, which has all
        their readable files. The modules themselves still come from the registry. ValueError for a
        name that is not a top-level package of the registry, OSError if not even a temporary
        directory can be written.
        """
        # deferred: only for packages that need it
        from frozenfinder.native.data import DataCache

        cache = DataCache(self.registry.fingerprint)
        for package in packages:
            path = self.find_path(package)
            if not package or "/" in package or not path.is_dir():
                raise ValueError(
                    f"{self.registry.where} has no top-level package {package!r} to lay out"
                )
            self._laid_out.setdefault(package, cache.provide(path))

    def locate(self, path: str) -> str:
        """The virtual path for `path` below its root; the real path in a laid-out package."""
        if not path:
            return self.root
        root = self._laid_out.get(path.partition("/")[0], self.root)
        return f"{root}{SEPARATOR}{path.replace('/', SEPARATOR)}"

    def relative(self, path: str) -> "str | None":
        """The inverse of `locate`: None for a path outside the registry, '' for its root."""
        if path.startswith(self.root):
            below = path[len(self.root) :]
            if not below or below[0] == SEPARATOR:
                return below.replace(SEPARATOR, "/").strip("/")
        for package, root in self._laid_out.copy().items():
            top = f"{root}{SEPARATOR}{package}"
            if path == top or path.startswith(top + SEPARATOR):
                return path[len(root) + 1 :].replace(SEPARATOR, "/").strip("/")
        return None

    @property
    def files(self) -> "FileTree":
        """The files in the registry, with their folders."""
        tree = self._trees.get("")
        if tree is None:
            # deferred: only programs that read resources or metadata need it
            from .paths import FileTree

            tree = self._trees.setdefault("", FileTree(self.registry, self.tests))
        return tree

    def find_path(self, path: str) -> "FrozenPath":
        """The item at `path` below the root, to read like a `pathlib.Path`; it need not exist."""
        # deferred: only programs that read resources or metadata need it
        from .paths import FrozenPath

        return FrozenPath(self, path)

    def announce_source(self, loader: ClosedLoader) -> None:
        """Register the loader with `linecache` as the source of its virtual path.

        Most callers of `linecache` pass the module's globals, where it finds the loader; warnings
        and breakpoints do not. Before 3.13 `linecache` is slow to import. There the loaders are
        registered at the first import after the program itself has imported it.
        """
        self._unannounced.append(loader)
        if sys.version_info >= (3, 13):
            # deferred: only needed for embedded sources
            import linecache  # noqa: F401
        self._announce()

    def _announce(self) -> None:
        lazycache = getattr(get_module("linecache"), "lazycache", None)
        while lazycache is not None and self._unannounced:
            try:
                loader = self._unannounced.pop()
            except IndexError:
                return
            spec = ModuleSpec(loader.name, loader)  # type: ignore[arg-type]
            scope = {"__name__": loader.name, "__loader__": loader, "__spec__": spec}
            lazycache(loader.path, scope)

    def get_data(self, path: str) -> bytes:
        """The file at a virtual path: a data file, or the source of a module if it was embedded.

        OSError (ENOENT) if the registry does not have it. Paths outside it are read from disk.
        """
        relative = self.relative(path)
        if relative is None:
            # deferred: only for files outside the registry
            from _io import FileIO

            with FileIO(path) as file:
                return file.read()
        data = self.read_file(relative)
        if data is None:
            raise FileNotFoundError(2, "not in the registry", path)
        return bytes(data)

    def read_file(self, relative: str) -> "memoryview | None":
        """The content of the data file or embedded source at a path below the root, or None."""
        entry = self.registry.find_file(relative)
        if entry is not None:
            return self.registry.read_blob(entry)
        entry = self.find_source(relative)
        return None if entry is None else self.registry.read_text(entry)

    def find_source(self, relative: str) -> "FrozenEntry | None":
        """The entry of the module whose source was at a path below the root, or None."""
        name = relative.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        entry = self.registry.find_entry(name, self.tests)
        return None if entry is None or entry.path != relative else entry

    def path_hook(self, path: object) -> "PathEntry":
        """The path entry finder of a virtual directory; ImportError for any other path.

        With it in `sys.path_hooks`, a search of a frozen package's `__path__` does not use the file
        system.
        """
        relative = self.relative(path) if isinstance(path, str) else None
        if relative is None:
            raise ImportError(f"{path!r} is not below {self.registry.where}")
        return PathEntry(self, relative)

    def invalidate_caches(self) -> None:
        """Nothing to do: a registry does not change."""


def home(entry: FrozenEntry) -> str:
    """The folder in which a search finds the entry's module."""
    folder = entry.path.rpartition("/")[0]
    return folder.rpartition("/")[0] if entry.is_package and entry.kind in MODULE_KINDS else folder


class PathEntry:
    """The path entry finder of a virtual directory, as `FileFinder` is of a real one."""

    def __init__(self, finder: ClosedFinder, folder: str) -> None:
        self._finder = finder
        self._folder = folder

    def find_spec(self, fullname: str, target: "ModuleType | None" = None) -> "ModuleSpec | None":
        """The spec of the module of that name in this directory, or None.

        Only the last part of the name matters: the directory may be on the path of any package.
        """
        finder = self._finder
        path = f"{self._folder}/{fullname.rpartition('.')[2]}".lstrip("/")
        entry = finder.registry.find_entry(path.replace("/", "."), finder.tests)
        if entry is None or home(entry) != self._folder:
            return None
        if entry.kind == "namespace":
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [finder.locate(entry.path)]
            return spec
        return finder.make_spec(fullname, entry) if entry.kind in MODULE_KINDS else None

    def iter_modules(self, prefix: str = "") -> "Iterator[tuple[str, bool]]":
        """The modules that `pkgutil.iter_modules` and `walk_packages` list in this directory."""
        return self._finder.iter_modules(prefix, self._folder)

    def invalidate_caches(self) -> None:
        """Nothing to do: a registry does not change."""

    def __repr__(self) -> str:
        return f"<PathEntry {self._folder!r} of {self._finder.registry!r}>"
