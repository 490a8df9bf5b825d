"""The loaders: they turn an entry's blob into a module, and run its body under the import lock.

`FrozenLoader` serves overlay. It is a `SourceFileLoader` of the source on disk whose first
`get_code` is answered from the registry, as the finder has found the source to be the one that was
frozen; everything after that, and everything else, is stock. `ClosedLoader` serves closed mode,
where the registry is all there is.
"""

import sys
from _frozen_importlib import ModuleSpec, _call_with_frames_removed  # type: ignore[attr-defined]
from _frozen_importlib_external import (
    ExtensionFileLoader,
    NamespaceLoader,
    SourceFileLoader,
    SourceLoader,
    decode_source,
)
from _imp import _fix_co_filename  # type: ignore[attr-defined]

from . import modules
from .registry import FrozenEntry, Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.resources.abc import TraversableResources
    from types import CodeType, ModuleType
    from typing import Any, Protocol, TypeVar

    from .collector import Collector
    from .fixups import FixupTable
    from .lock import ImportLock
    from .paths import FrozenPath

    _F = TypeVar("_F", bound=Callable[..., Any])
    _T = TypeVar("_T")

    class Server(Protocol):
        """What a loader needs of the finder that made it."""

        registry: Registry
        lock: ImportLock
        collector: Collector | None
        fixups: FixupTable

        def count(self, name: str) -> None: ...

    class OverlayServer(Server, Protocol):
        def load_code(self, entry: FrozenEntry) -> CodeType | None: ...

    class ClosedServer(Server, Protocol):
        def announce_source(self, loader: "ClosedLoader") -> None: ...
        def extract(self, entry: FrozenEntry) -> tuple[str, str | None]: ...
        def find_path(self, path: str) -> FrozenPath: ...
        def get_data(self, path: str) -> bytes: ...
        def relative(self, path: str) -> str | None: ...


def _importlib_frame(function: "_F") -> "_F":
    """Name importlib as the file of `function`'s frame.

    Tracebacks, `warnings.warn(stacklevel=…)` and debuggers leave out the frames between an import
    statement and the module's body by that name (`remove_importlib_frames` in Python/import.c).
    """
    function.__code__ = function.__code__.replace(
        co_filename="<frozen importlib._bootstrap_external>"
    )
    return function


@_importlib_frame
def _call_locked(server: "Server", function: "Callable[..., _T]", *arguments: object) -> "_T":
    """Call what runs a module's body, under the import lock.

    The depth is put back twice, because a KeyboardInterrupt can arrive inside the first time.
    For as long as the depth is over zero, the collector is relaxed.
    """
    lock = server.lock
    collector = server.collector
    mark = lock.mark()
    try:
        try:
            lock.acquire()
            if not mark and collector is not None:
                collector.relax()
            return function(*arguments)
        finally:
            lock.rewind(mark)
    finally:
        lock.rewind(mark)
        if not mark and collector is not None:
            collector.restore()


@_importlib_frame
def _exec_module(
    server: "Server", get_code: "Callable[[str], CodeType | None]", module: "ModuleType"
) -> None:
    """Run the module's body under the import lock; as `_LoaderBasics.exec_module`."""
    code = get_code(module.__name__)
    if code is None:
        raise ImportError(f"cannot load module {module.__name__!r} when get_code() returns None")
    _call_locked(server, _call_with_frames_removed, exec, code, module.__dict__)


class FrozenLoader(SourceFileLoader):
    """Overlay's loader of a source file that was found to be the one that was frozen.

    It compares, hashes and pickles as the `SourceFileLoader` of that name and path does; a pickled
    one comes back as a loader that reads the file.
    """

    __slots__ = ("_entry", "_server")

    _entry: "FrozenEntry | None"
    _server: "OverlayServer | None"

    def __init__(
        self,
        fullname: str,
        path: str,
        server: "OverlayServer | None" = None,
        entry: "FrozenEntry | None" = None,
    ) -> None:
        self.name = fullname
        self.path = path
        self._server = server
        self._entry = entry

    def __getstate__(self) -> "dict[str, object]":
        return self.__dict__.copy()

    def __setstate__(self, state: "dict[str, object]") -> None:
        self.__dict__.update(state)
        self._server = self._entry = None

    def get_code(self, fullname: str) -> "CodeType | None":
        """The frozen code the first time, `SourceFileLoader.get_code` after that.

        Code that was handed out may have been changed, and the source may have been since.
        """
        entry, server = self._entry, self._server
        if entry is None or server is None or fullname != self.name:
            return super().get_code(fullname)
        self._entry = None
        code = server.load_code(entry)
        if code is None:
            return super().get_code(fullname)
        _fix_co_filename(code, self.path)
        server.count(fullname)
        return code

    def create_module(self, spec: ModuleSpec) -> "ModuleType | None":
        """The default semantics, but in a forked child take up what another thread had begun."""
        server = self._server
        return None if server is None else server.lock.abandoned.pop(spec.name, None)

    @_importlib_frame
    def exec_module(self, module: "ModuleType") -> None:
        if self._server is None:
            super().exec_module(module)
        else:
            _exec_module(self._server, self.get_code, module)


class ClosedLoader(SourceLoader):
    """Closed mode's loader of an entry; `path` is the virtual path below the registry.

    Mirrors `zipimport.zipimporter`: `get_source` is None where the source was not embedded, and
    `get_data` raises OSError for what the registry lacks.
    """

    def __init__(
        self, fullname: str, path: str, server: "ClosedServer", entry: FrozenEntry
    ) -> None:
        self.name = fullname
        self.path = path
        self.server = server
        self._entry = entry

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClosedLoader) and (self.name, self.path) == (
            other.name,
            other.path,
        )

    def __hash__(self) -> int:
        return hash((self.name, self.path))

    def __reduce__(self) -> "tuple[Any, ...]":
        return _restore, (self.name, self.server.registry.path)

    def _check_name(self, fullname: "str | None") -> None:
        if fullname is not None and fullname != self.name:
            raise ImportError(f"loader for {self.name} cannot handle {fullname}", name=fullname)

    def create_module(self, spec: ModuleSpec) -> "ModuleType | None":
        """As `FrozenLoader.create_module`."""
        return self.server.lock.abandoned.pop(spec.name, None)

    @_importlib_frame
    def exec_module(self, module: "ModuleType") -> None:
        _exec_module(self.server, self.get_code, module)

    def get_code(self, fullname: str) -> "CodeType":
        """The entry's code, newly unmarshalled; RegistryError if it is damaged."""
        self._check_name(fullname)
        registry = self.server.registry
        code = registry.load_code(self._entry, registry.read_blob(self._entry))
        _fix_co_filename(code, self.path)
        self.server.count(fullname)
        if self._entry.text_size >= 0:
            self.server.announce_source(self)
        return code

    def get_source(self, fullname: str) -> "str | None":
        """The embedded source, decoded as PEP 263 says, or None.

        Up to 3.12 `linecache` asks for the source of what `-m` runs under the name `__main__`.
        """
        if fullname != "__main__":
            self._check_name(fullname)
        text = self.server.registry.read_text(self._entry)
        return None if text is None else decode_source(bytes(text))

    def get_filename(self, fullname: "str | None" = None) -> str:
        self._check_name(fullname)
        return self.path

    def get_data(self, path: str) -> bytes:
        """The bytes of a file in the registry, by virtual path; of one outside it, from disk."""
        return self.server.get_data(path)

    def is_package(self, fullname: str) -> bool:
        self._check_name(fullname)
        return self._entry.is_package

    def get_resource_reader(self, fullname: str) -> "TraversableResources":
        """The reader of what lies in the module's folder; as `FileLoader.get_resource_reader`."""
        self._check_name(fullname)
        # deferred: only programs that read resources need it
        from .resources import FrozenReader

        return FrozenReader(self.server.find_path(self._entry.path.rpartition("/")[0]))


class ClosedNamespaceLoader(NamespaceLoader):
    """Closed mode's loader of a namespace package: its portions lie in the registry or on disk.

    `NamespaceLoader` cannot read the resources of a portion that is not a directory.
    """

    def __init__(self, path: "Iterable[str]", server: "ClosedServer") -> None:
        self._path = path
        self.server = server

    def create_module(self, spec: ModuleSpec) -> "ModuleType":  # type: ignore[override]
        """A module whose `__file__` is None, as importlib's `_init_module_attrs` makes them."""
        module = type(sys)(spec.name)
        module.__file__ = None
        return module

    def get_resource_reader(  # type: ignore[override]
        self, module: str
    ) -> "TraversableResources":
        """The reader of all portions, merged."""
        # deferred: only programs that read resources need it
        from .resources import FrozenNamespaceReader

        return FrozenNamespaceReader(self.server, self._path)


class FrozenExtensionLoader(ExtensionFileLoader):
    """Overlay's loader of an extension module, from the file that was recorded.

    It compares, hashes and pickles as `FrozenLoader` does. CPython creates the module, and the
    finder's `FixupTable` hears of it.
    """

    __slots__ = ("_server",)

    _server: "Server | None"

    def __init__(self, name: str, path: str, server: "Server | None" = None) -> None:
        self.name = name
        self.path = path
        self._server = server

    def __getstate__(self) -> "dict[str, object]":
        return self.__dict__.copy()

    def __setstate__(self, state: "dict[str, object]") -> None:
        self.__dict__.update(state)
        self._server = None

    @_importlib_frame
    def create_module(self, spec: ModuleSpec) -> "ModuleType":
        """Create the module, under the import lock: a single-phase one runs its init function."""
        if self._server is None:
            return super().create_module(spec)
        return self._create(self._server, spec, None)

    @_importlib_frame
    def _create(self, server: "Server", spec: ModuleSpec, digest: "str | None") -> "ModuleType":
        name = spec.name
        # what another thread had begun before a fork: C code is not taken up half way
        server.lock.abandoned.pop(name, None)
        previous = modules.get_module(name)
        module = _call_locked(server, super().create_module, spec)
        server.fixups.fixup(spec.origin or self.path, name, module, previous, digest)
        return module

    @_importlib_frame
    def exec_module(self, module: "ModuleType") -> None:
        """Execute the module, if it is multi-phase, under the import lock."""
        server = self._server
        if server is None:
            super().exec_module(module)
        else:
            _call_locked(server, super().exec_module, module)
            server.count(self.name)


class ClosedExtensionLoader(FrozenExtensionLoader):
    """Closed mode's loader of an extension module; `path` is the file that is loaded.

    A file that the registry embeds is put there, and verified, when the module is created; where no
    directory will do for it, `path` and the spec's origin then become that of a file in memory.
    """

    __slots__ = ("_entry", "server")

    def __init__(self, name: str, path: str, server: "ClosedServer", entry: FrozenEntry) -> None:
        super().__init__(name, path, server)
        self.server = server
        self._entry = entry

    def __reduce__(self) -> "tuple[Any, ...]":
        return _restore, (self.name, self.server.registry.path)

    @_importlib_frame
    def create_module(self, spec: ModuleSpec) -> "ModuleType":
        """As `FrozenExtensionLoader.create_module`; ImportError where the file is not to be had."""
        self.path, digest = self.server.extract(self._entry)
        spec.origin = self.path
        return self._create(self.server, spec, digest)

    def get_data(self, path: str) -> bytes:
        """As `ClosedLoader.get_data`."""
        return self.server.get_data(path)


def _restore(name: str, registry_path: str) -> "ClosedLoader | ClosedExtensionLoader":
    """Unpickle a loader of closed mode, in a process that has the same registry installed."""
    for finder in sys.meta_path:
        registry = getattr(finder, "registry", None)
        if isinstance(registry, Registry) and registry.path == registry_path:
            spec = finder.find_spec(name, None)
            if spec is not None and isinstance(spec.loader, (ClosedLoader, ClosedExtensionLoader)):
                return spec.loader
    raise ImportError(
        f"no loader for {name!r}: registry {registry_path!r} is not installed in this process",
        name=name,
    )
