"""The loaders of closed mode, which load only from the registry."""

import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import (
    ExtensionFileLoader,
    NamespaceLoader,
    SourceLoader,
    decode_source,
)

from frozenfinder.runtime.loader import FrozenExtensionLoader, Locked, begin_body
from frozenfinder.runtime.registry import FrozenEntry, Registry
from frozenfinder.runtime.system import fix_co_filename

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import TraversableResources
    from types import CodeType, ModuleType
    from typing import Any

    from frozenfinder.runtime.loader import Call

    from .finder import ClosedFinder


class ClosedLoader(Locked, SourceLoader):
    """Closed mode's loader for an entry; `path` is the virtual path below the registry.

    Mirrors `zipimport.zipimporter`: `get_source` returns None if the source was not embedded, and
    `get_data` raises OSError if the registry does not have the file.
    """

    def __init__(
        self, fullname: str, path: str, server: "ClosedFinder", entry: FrozenEntry
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

    def begin(self, module: "ModuleType") -> "Call":
        """The frozen code; ImportError if the module has another name."""
        return begin_body(self.server, module, self.get_code(module.__name__))

    def get_code(self, fullname: str) -> "CodeType":
        """The entry's code, newly unmarshalled; RegistryError if it is damaged."""
        self._check_name(fullname)
        code = self.server.unmarshal(self._entry)
        fix_co_filename(code, self.path)
        self.server.note_served(fullname)
        if self._entry.text_size >= 0:
            self.server.announce_source(self)
        return code

    def get_source(self, fullname: str) -> "str | None":
        """The embedded source, decoded as PEP 263 says, or None.

        Up to 3.12 `linecache` requests the source of the module that `-m` runs as `__main__`.
        """
        if fullname != "__main__":
            self._check_name(fullname)
        text = self.server.registry.read_text(self._entry)
        return None if text is None else decode_source(bytes(text))

    def get_filename(self, fullname: "str | None" = None) -> str:
        self._check_name(fullname)
        return self.path

    def get_data(self, path: str) -> bytes:
        """The bytes of a file in the registry, by virtual path; other paths are read from disk."""
        return self.server.get_data(path)

    def is_package(self, fullname: str) -> bool:
        self._check_name(fullname)
        return self._entry.is_package

    def get_resource_reader(self, fullname: str) -> "TraversableResources":
        """The reader of the files in the module's folder; as `FileLoader.get_resource_reader`."""
        self._check_name(fullname)
        # deferred: only programs that read resources need it
        from .resources import FrozenReader

        return FrozenReader(self.server.find_path(self._entry.path.rpartition("/")[0]))


class ClosedNamespaceLoader(NamespaceLoader):
    """Closed mode's loader for a namespace package, with portions in the registry or on disk.

    `NamespaceLoader` cannot read the resources of a portion that is not a directory.
    """

    def __init__(self, path: "Iterable[str]", server: "ClosedFinder") -> None:
        self._path = path
        self.server = server

    def create_module(self, spec: ModuleSpec) -> "ModuleType":  # type: ignore[override]
        """A module whose `__file__` is None, as importlib's `_init_module_attrs` makes it."""
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


class ClosedExtensionLoader(FrozenExtensionLoader):
    """Closed mode's loader for an extension module; `path` is the file that is loaded.

    An embedded file is written there, and verified, when the module is created. If no directory can
    be used, `path` and the spec's origin become the path of a file in memory.
    """

    __slots__ = ("_entry", "server")

    server: "ClosedFinder"

    def __init__(self, name: str, path: str, server: "ClosedFinder", entry: FrozenEntry) -> None:
        super().__init__(name, path, server)
        self.server = server
        self._entry = entry

    def __reduce__(self) -> "tuple[Any, ...]":
        return _restore, (self.name, self.server.registry.path)

    def prepare(self, spec: ModuleSpec) -> "tuple[ClosedFinder, object, str | None]":
        """As that of overlay; ImportError if the file cannot be provided."""
        self.path, digest = self.server.extract(self._entry)
        spec.origin = self.path
        _, previous, _ = super().prepare(spec)
        return self.server, previous, digest

    def begin(self, module: "ModuleType") -> "Call":
        """As that of overlay, but it stays closed mode's loader."""
        self.server.note_served(self.name)
        return self.server, ExtensionFileLoader.exec_module, (self, module)

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
