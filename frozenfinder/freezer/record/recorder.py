"""The recorder: notes what a traced process imports, opens and requests, as it happens.

`trace` puts a copy of this file, as `sitecustomize.py`, first on the path of the processes that it
traces. They may not have frozenfinder, so it only imports modules that `site` has imported anyway.

Rules
  1. A note is one line, written at once, with a descriptor that is opened for it. So it survives
     `os._exit` and a kill, and programs that close all descriptors do no harm.
  2. Each process has its own file; a forked child notices that it is one.
  3. The program behaves as it would without the recorder: nothing here raises, and the recorder's
     items in `sys.path` and `sys.modules` are removed before the program begins.
"""

import atexit
import os
import sys
import time
from importlib.machinery import BuiltinImporter, FrozenImporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

NAME = "sitecustomize"
_CODE = (".py", ".pyc")  # suffixes of modules, which are noted as modules
_BLIND = frozenset("IES")  # the interpreter's options with which a child is not traced
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")  # its options with a separate value


class Recorder:
    """Writes the notes of this process to `folder`."""

    def __init__(self, folder: str, home: str) -> None:
        self.home = home
        self._folder = folder
        self._pid = -1
        self._path = ""
        self._known: "set[tuple[object, ...]]" = set()
        self._found: "set[str]" = set()

    def note(self, *what: object) -> None:
        """Write a line, unless the same line was written before."""
        if what in self._known:
            return
        self._known.add(what)
        try:
            if self._pid != os.getpid():
                self._begin()
            self._write(what)
        except (OSError, ValueError):
            pass  # the file system is gone or full: the program goes on

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._path = os.path.join(self._folder, f"{time.time_ns():020}-{self._pid}.txt")
        about = (sys.implementation.cache_tag, sys.executable, *sys.orig_argv)
        self._write(("process", *about))

    def _write(self, what: "tuple[object, ...]") -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, ascii(what).encode() + b"\n")
        finally:
            os.close(descriptor)

    def note_spec(self, kind: str, name: str, spec: object) -> None:
        """Note a module that has a file, or a namespace package."""
        loader = getattr(spec, "loader", None)
        if loader is BuiltinImporter or loader is FrozenImporter:
            return
        self._found.add(name)
        origin = getattr(spec, "origin", None)
        if isinstance(origin, str) and os.path.dirname(origin) != self.home:
            self.note(kind, name, os.path.abspath(origin))
        elif getattr(spec, "submodule_search_locations", None) is not None:
            self.note(kind, name, None)

    def note_loaded(self, kind: str) -> None:
        """Note the loaded modules that were not noted yet."""
        for module in list(sys.modules.values()):
            spec = getattr(module, "__spec__", None)
            name = getattr(spec, "name", None)  # `__main__` may have another
            if isinstance(name, str) and name not in self._found:
                self.note_spec(kind, name, spec)

    def note_end(self) -> None:
        """At the end of the program, note the modules, and the patterns that `re` compiled."""
        self.note_loaded("loaded")
        cache = getattr(sys.modules.get("re"), "_cache", None)
        for kind, pattern, flags in list(cache) if type(cache) is dict else ():
            if kind in (str, bytes):
                self.note("pattern", pattern, int(flags))

    def audit(self, event: str, arguments: "tuple[Any, ...]") -> None:
        """The audit hook, which never raises; CPython's documentation has a table of the events."""
        try:
            if event == "open":
                self._note_open(*arguments)
            elif event == "compile":
                self._note_text(*arguments)
            elif event == "subprocess.Popen":
                executable, command, _, environment = arguments
                self._note_child(executable, command, environment)
            elif event in ("os.exec", "os.posix_spawn"):
                self._note_child(*arguments)
            elif event == "os.spawn":
                self._note_child(*arguments[1:])
        except Exception:  # noqa: BLE001
            pass  # a hook that raises would cancel the program's operation

    def _note_open(self, path: "Any", mode: object, flags: int) -> None:
        if isinstance(path, int):
            return  # a descriptor
        writes = flags & (os.O_WRONLY | os.O_RDWR) if mode is None else set("wax+") & set(str(mode))
        location = os.path.abspath(os.fsdecode(path))
        if not writes and not location.endswith(_CODE) and not location.startswith(self._folder):
            self.note("open", location)

    def _note_text(self, source: object, _: object) -> None:
        """Note a text that a module compiles while something is imported, and where it does."""
        frame = sys._getframe(2)  # below this method and the hook: built-in functions have none
        module = frame.f_globals.get("__name__")
        if isinstance(source, bytes) and isinstance(module, str) and module in sys.modules:
            importlib = sys.modules["_frozen_importlib"]
            if vars(importlib) is not frame.f_globals and getattr(importlib, "_module_locks", None):
                self.note("text", module, frame.f_lineno, source.decode())

    def _note_child(self, executable: "Any", command: "Any", environment: "Any") -> None:
        """Note a child that is an interpreter and will not be traced."""
        given = [command] if isinstance(command, (str, bytes)) else list(command)
        words = [os.fsdecode(word) for word in given]
        program = os.path.basename(os.fsdecode(executable) if executable else words[0])
        if "python" not in program.lower():
            return
        inherited: "Mapping[Any, Any]" = os.environ if environment is None else environment
        searched = inherited.get("PYTHONPATH") or inherited.get(b"PYTHONPATH") or ""
        if self.home not in os.fsdecode(searched).split(os.pathsep) or _is_blind(words[1:]):
            self.note("unseen", *words)


def _is_blind(words: "list[str]") -> bool:
    """Whether the options before the program, in a command line of `python`, include `_BLIND`."""
    options = iter(words)
    for option in options:
        if not option.startswith("-") or option[1:2] in ("c", "m", ""):
            return False
        if option in _WITH_VALUE:
            next(options, None)
        elif option[1] not in "-WX" and _BLIND & set(option):
            return True
    return False


class RecordingFinder:
    """The first finder: it asks the others in their order, and notes what they find."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def find_spec(
        self,
        name: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        finders = list(sys.meta_path)
        for finder in finders[finders.index(self) + 1 :] if self in finders else []:
            find_spec = getattr(finder, "find_spec", None)
            spec: "ModuleSpec | None" = find_spec(name, path, target) if find_spec else None
            if spec is not None:
                self._recorder.note_spec("import", name, spec)
                return spec
        return None

    def find_distributions(self, context: "Any" = None) -> "Iterator[Any]":
        """No distributions; the requested name is noted, or "" for all."""
        self._recorder.note("distribution", getattr(context, "name", None) or "")
        return iter(())

    def invalidate_caches(self) -> None:
        """Nothing to do."""


def start() -> None:
    """Start to record this process; `site` calls it."""
    home = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [item for item in sys.path if item != home]
    sys.path_importer_cache.pop(home, None)
    recorder = Recorder(os.path.dirname(home), home)
    recorder.note_loaded("before")
    sys.meta_path.insert(0, RecordingFinder(recorder))
    sys.addaudithook(recorder.audit)
    atexit.register(recorder.note_end)
    _import_own()


def _import_own() -> None:
    """Import the environment's own `sitecustomize`; without one, the recorder keeps that name.

    `site` ignores an ImportError with this name.
    """
    ours = sys.modules.pop(NAME)
    try:
        __import__(NAME)
    finally:
        sys.modules.setdefault(NAME, ours)


if __name__ == NAME:
    start()
