"""The loaders: they turn an entry's blob into a module, and run its body under the import lock.

Overlay's loaders exist from the finder's answer to the start of the body, and importlib alone sees
them. Then each becomes stock's loader of its file: the body, and everyone after it, sees no other.
"""

import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader, SourceFileLoader

from .roots import IMPORTLIB
from .system import call_with_frames_removed, fix_co_filename, get_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, ModuleType
    from typing import Any, TypeAlias, TypeVar

    from .finder import FrozenFinder, ServingFinder
    from .layout import FrozenEntry

    _F = TypeVar("_F", bound=Callable[..., Any])
    Call: TypeAlias = tuple[ServingFinder, Callable[..., object], tuple[object, ...]]


# the line on which importlib runs a body; it may have been patched
_LINE = getattr(getattr(SourceFileLoader.exec_module, "__code__", None), "co_firstlineno", 0) + 6


def importlib_frame(function: "_F") -> "_F":
    """A copy of `function` whose frames are importlib's, by their file and their globals.

    Tracebacks, `warnings.warn(stacklevel=…)` and debuggers leave out the frames between an import
    statement and the module's body by the file (`remove_importlib_frames` in Python/import.c). The
    copy finds no name of the module that defines it. All of it is on one line.
    """
    code = function.__code__
    units = len(code.co_code) // 2
    code = code.replace(
        co_filename="<frozen importlib._bootstrap_external>",
        co_firstlineno=_LINE,
        # entries for eight units with no change of the line, and one for the rest
        co_linetable=b"\xef\0" * (units // 8) + bytes([0xE7 + units % 8, 0][: units % 8 * 2]),
    )
    make: "Any" = type(function)
    hidden: "_F" = make(code, IMPORTLIB, function.__name__, None, function.__closure__)
    return hidden


class Locked:
    """The base of every loader that runs bodies under the import lock of its server (finder)."""

    @importlib_frame
    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's body under the import lock, with as many frames as importlib has.

        The depth is restored twice, because a KeyboardInterrupt can arrive inside the first
        `rewind`.
        """
        server, function, arguments = self.begin(module)
        lock = server.lock
        mark = lock.mark()
        try:
            try:
                server.enter(mark)
                function(*arguments)
            finally:
                lock.rewind(mark)
        finally:
            server.leave(mark)

    if TYPE_CHECKING:

        def begin(self, module: ModuleType) -> Call:
            """The server, and the function that runs the body, with its arguments."""


def begin_body(server: "ServingFinder", module: "ModuleType", code: "CodeType") -> "Call":
    """What `Locked.begin` returns for a module whose code is in the registry."""
    sys.audit("frozenfinder.exec", module.__name__, server.registry.path)
    if server.extras and server.extras.added:
        server.extras.start(module, code, server.lock.mark())
    return server, call_with_frames_removed, (exec, code, module.__dict__)


class FrozenLoader(Locked, SourceFileLoader):  # type: ignore[misc]  # typeshed and its own bases
    """Overlay's loader for a source file that is unchanged since the freeze."""

    def __init__(
        self, fullname: str, path: str, server: "FrozenFinder", entry: "FrozenEntry"
    ) -> None:
        self.name = fullname
        self.path = path
        self.server = server
        self.entry = entry

    def create_module(self, spec: ModuleSpec) -> "ModuleType | None":
        """None, for a default module; in a forked child, the module that another thread began."""
        return self.server.lock.abandoned.pop(spec.name, None)

    def begin(self, module: "ModuleType") -> "Call":
        """Become stock's loader, and return the frozen code; of a damaged registry, let it load."""
        server, entry = self.server, self.entry
        code = server.load_code(entry)
        become(self, SourceFileLoader)
        if code is None:
            return server, SourceFileLoader.exec_module, (self, module)
        fix_co_filename(code, self.path)
        server.note_served(self.name)
        return begin_body(server, module, code)


class FrozenExtensionLoader(Locked, ExtensionFileLoader):
    """Overlay's loader for an extension module, from the file that was recorded.

    CPython creates the module, and the finder's `FixupTable` records it.
    """

    def __init__(self, name: str, path: str, server: "ServingFinder") -> None:
        self.name = name
        self.path = path
        self.server = server

    @importlib_frame
    def create_module(self, spec: ModuleSpec) -> "ModuleType":
        """Create the module, under the import lock: a single-phase one runs its init function."""
        server, previous, digest = self.prepare(spec)
        lock = server.lock
        mark = lock.mark()
        try:
            try:
                server.enter(mark)
                module = super().create_module(spec)
            finally:
                lock.rewind(mark)
        finally:
            server.leave(mark)
        server.fixups.fixup(spec.origin or self.path, spec.name, module, previous, digest)
        return module

    def prepare(self, spec: ModuleSpec) -> "tuple[ServingFinder, object, str | None]":
        """The server, the module of that name up to now, and the file's digest if it is known."""
        # another thread had begun it before a fork: C code cannot be resumed half way
        self.server.lock.abandoned.pop(spec.name, None)
        return self.server, get_module(spec.name), None

    def begin(self, module: "ModuleType") -> "Call":
        """Become stock's loader, which executes the module if it is multi-phase."""
        server = self.server
        server.note_served(self.name)
        become(self, ExtensionFileLoader)
        return server, ExtensionFileLoader.exec_module, (self, module)


def become(loader: "Any", stock: type) -> None:
    """Turn one of overlay's loaders into stock's of the same name and path."""
    loader.__dict__ = {"name": loader.name, "path": loader.path}
    loader.__class__ = stock
