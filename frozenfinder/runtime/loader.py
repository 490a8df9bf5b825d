"""The loaders: they turn an entry's blob into a module, and run its body under the import lock.

`FrozenLoader` is for overlay. It is a `SourceFileLoader` of the source on disk, but its first
`get_code` takes the code from the registry, because the finder has checked that the source is
unchanged. Everything after that, and everything else, is stock. An executed module gets stock's own
loader, because programs test for its class.
"""

import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import (
    ExtensionFileLoader,
    SourceFileLoader,
)

from .roots import METHODS, read_methods
from .system import call_with_frames_removed, fix_co_filename, get_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, ModuleType
    from typing import Any, TypeVar

    from .finder import FrozenFinder, ServingFinder
    from .layout import FrozenEntry

    _F = TypeVar("_F", bound=Callable[..., Any])
    _T = TypeVar("_T")


def importlib_frame(function: "_F") -> "_F":
    """Name importlib as the file of `function`'s frame.

    Tracebacks, `warnings.warn(stacklevel=…)` and debuggers leave out the frames between an import
    statement and the module's body by that name (`removeimportlib_frames` in Python/import.c).
    """
    function.__code__ = function.__code__.replace(
        co_filename="<frozen importlib._bootstrap_external>"
    )
    return function


@importlib_frame
def call_locked(server: "ServingFinder", function: "Callable[..., _T]", *arguments: object) -> "_T":
    """Call a function that runs a module's body, under the import lock.

    The depth is restored twice, because a KeyboardInterrupt can arrive inside the first `rewind`.
    While the depth is above zero, the collector is relaxed, new objects are promoted, and modules
    find the code of their texts.
    """
    lock = server.lock
    collector = server.collector
    mark = lock.mark()
    try:
        try:
            lock.acquire()
            if not mark:
                if collector is not None:
                    collector.relax()
                if server.extras:
                    server.extras.begin()
            return function(*arguments)
        finally:
            lock.rewind(mark)
    finally:
        lock.rewind(mark)
        if collector is not None:
            if mark:
                collector.promote()
            else:
                collector.restore()
        if not mark and server.extras:
            server.extras.end()


@importlib_frame
def run_body(
    server: "ServingFinder", get_code: "Callable[[str], CodeType | None]", module: "ModuleType"
) -> None:
    """Run the module's body under the import lock; as `_LoaderBasics.exec_module`."""
    code = get_code(module.__name__)
    if code is None:
        raise ImportError(f"cannot load module {module.__name__!r} when get_code() returns None")
    sys.audit("frozenfinder.exec", module.__name__, server.registry.path)
    call_locked(server, call_with_frames_removed, exec, code, module.__dict__)
    extras = server.extras
    if extras and (extras.pending or extras.begun):
        extras.finish(module, code, server.lock.depth)


def hand_over(module: "ModuleType", loader: "SourceFileLoader | ExtensionFileLoader") -> None:
    """Replace overlay's loader of an executed module with stock's.

    Call it after the body has run: an import that a fork cuts short is recognised by its loader.
    """
    namespace = getattr(module, "__dict__", None)
    if not isinstance(namespace, dict):
        return  # C code may create any object
    if type(namespace.get("__loader__")) in _OVERLAY:
        namespace["__loader__"] = loader
    spec = namespace.get("__spec__")
    if type(getattr(spec, "loader", None)) in _OVERLAY:
        spec.loader = loader  # type: ignore[union-attr]


class Locked:
    """The base of every loader that runs bodies under the import lock of its server (finder).

    A pickled or copied loader of overlay has no server: it reads the file.
    """

    __slots__ = ("_server",)

    _server: "ServingFinder | None"

    def __getstate__(self) -> "dict[str, object]":
        return self.__dict__.copy()

    def __setstate__(self, state: "dict[str, object]") -> None:
        self.__dict__.update(state)
        self._server = None


class FrozenLoader(SourceFileLoader, Locked):  # type: ignore[misc]  # typeshed and its own bases
    """Overlay's loader for a source file that is unchanged since the freeze.

    It compares, hashes and pickles as the `SourceFileLoader` of that name and path does; an
    unpickled one reads the file. One thread uses it at a time: importlib holds the module's lock.
    """

    __slots__ = ("_entry",)

    _entry: "FrozenEntry | None"
    _server: "FrozenFinder | None"

    def __init__(
        self,
        fullname: str,
        path: str,
        server: "FrozenFinder | None" = None,
        entry: "FrozenEntry | None" = None,
    ) -> None:
        self.name = fullname
        self.path = path
        self._server = server
        self._entry = entry

    def get_code(self, fullname: str) -> "CodeType | None":
        """The frozen code at the first call, later `SourceFileLoader.get_code`.

        A caller may have changed the code object, and the source may have changed since.
        """
        return self._load(fullname) if self._stands_in() else super().get_code(fullname)

    def _stands_in(self) -> bool:
        """Whether stock's loader would do no more: it may be patched since the module was found.

        It has a name and a path. More attributes are a hook's, in the place of its methods.
        """
        return self._server is not None and len(self.__dict__) == 2 and read_methods() == METHODS

    def _load(self, fullname: str) -> "CodeType | None":
        server = self._server
        entry = None if server is None else self._entry
        if server is None or entry is None or fullname != self.name:
            return super().get_code(fullname)
        self._entry = None
        code = server.load_code(entry)
        if code is None:
            return super().get_code(fullname)
        fix_co_filename(code, self.path)
        server.note_served(fullname)
        return code

    def create_module(self, spec: ModuleSpec) -> "ModuleType | None":
        """None, for a default module; in a forked child, the module that another thread began."""
        server = self._server
        begun = None if server is None else server.lock.abandoned.pop(spec.name, None)
        return super().create_module(spec) if begun is None else begun

    @importlib_frame
    def exec_module(self, module: "ModuleType") -> None:
        server = self._server
        if server is None:
            super().exec_module(module)
            return
        loader = SourceFileLoader(self.name, self.path)
        if self._stands_in():
            run_body(server, self._load, module)
            hand_over(module, loader)
        else:
            vars(loader).update(vars(self))
            hand_over(module, loader)
            SourceFileLoader.exec_module(loader, module)


class FrozenExtensionLoader(ExtensionFileLoader, Locked):
    """Overlay's loader for an extension module, from the file that was recorded.

    It compares, hashes and pickles as `FrozenLoader` does. CPython creates the module, and the
    finder's `FixupTable` records it.
    """

    __slots__ = ()

    def __init__(self, name: str, path: str, server: "ServingFinder | None" = None) -> None:
        self.name = name
        self.path = path
        self._server = server

    @importlib_frame
    def create_module(self, spec: ModuleSpec) -> "ModuleType":
        """Create the module, under the import lock: a single-phase one runs its init function."""
        if self._server is None:
            return super().create_module(spec)
        return self.create(self._server, spec, None)

    @importlib_frame
    def create(
        self, server: "ServingFinder", spec: ModuleSpec, digest: "str | None"
    ) -> "ModuleType":
        name = spec.name
        # another thread had begun it before a fork: C code cannot be resumed half way
        server.lock.abandoned.pop(name, None)
        previous = get_module(name)
        module = call_locked(server, super().create_module, spec)
        server.fixups.fixup(spec.origin or self.path, name, module, previous, digest)
        return module

    @importlib_frame
    def exec_module(self, module: "ModuleType") -> None:
        """Execute the module, if it is multi-phase, under the import lock."""
        server = self._server
        if server is None:
            super().exec_module(module)
        else:
            call_locked(server, super().exec_module, module)
            server.note_served(self.name)
            hand_over(module, ExtensionFileLoader(self.name, self.path))


_OVERLAY = (FrozenLoader, FrozenExtensionLoader)
