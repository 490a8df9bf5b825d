"""`frozenfinder run`: a program with a registry installed, otherwise as `python` would run it.

This module does for the program what `Modules/main.c` and `Python/pythonrun.c` do in C. From then
on the process belongs to the program: its exception passes through every frame below, and CPython's
own main reports it, decides the exit status and dies of a KeyboardInterrupt. Only the frames that
stock would not have are removed from the traceback.

Every program that is started this way waits for this module, so it imports only modules that are
loaded anyway.
"""

import builtins
import os
import sys
from _frozen_importlib import BuiltinImporter
from _frozen_importlib_external import (
    MAGIC_NUMBER,
    SourceFileLoader,
    SourcelessFileLoader,
)
from io import open_code

from frozenfinder.errors import FrozenFinderError
from frozenfinder.runtime.hooks import install
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import (
    INTERACTIVE_CACHE,
    REGISTER_CODE,
    RUN_AS_MAIN,
    environment,
    find_path_entry,
    get_module,
    get_modules,
    is_listed,
)

from . import BAD_INPUT, DONE, UsageError, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, TracebackType
    from typing import Any

SUMMARY = "run a program from a registry, as `python` would"
USAGE = """\
usage: frozenfinder run [OPTION ...] FILE (SCRIPT | -m MODULE | -c CODE | -) [ARG ...]

Run a program from a registry, as `python` would.

positional arguments:
  FILE                  the registry
  SCRIPT                a Python file, or a directory or zip file with a
                        __main__.py
  -                     read the program from standard input
  ARG                   an argument for the program, in sys.argv

options:
  -h, --help            show this help message and exit
  --mode {overlay,closed}
                        the mode to install the registry in (default: overlay)
  --trusted             accept the registry even if others can write to it
  --sha256 HEX          accept it only if it has this SHA-256
  --verify-key HEX      accept it only if it is signed with this Ed25519 key
  --fast-exit[={on,hard,off}]
                        how the process ends: without the last garbage
                        collections, unless an object is alive that has a
                        finalizer to run (on, the default); at once, without
                        any finalizer (hard); or as with `python` (off)
  -m MODULE             run a module or package
  -c CODE               run this code
"""
HINT = "see 'frozenfinder run --help'"
_FLAGS: "dict[str, tuple[str, Any]]" = {
    "--trusted": ("trusted", True),
    "--fast-exit": ("fast_exit", "on"),
}
_VALUED = {
    "--mode": "mode",
    "--sha256": "sha256",
    "--verify-key": "verify_key",
    "--fast-exit": "fast_exit",
}
_CHOICES = {
    "--mode": (("overlay", "closed"), "'overlay' or 'closed'"),
    "--fast-exit": (("on", "hard", "off"), "'on', 'hard' or 'off'"),
}


class Request:
    """What `run` shall run. `target` is a module if `kind` is "-m", code if it is "-c", and a path
    or "-" if it is "script". `options` are keyword arguments of `install`. `fast_exit` is "on",
    "hard", "off", or None if the arguments do not say.
    """

    __slots__ = ("arguments", "fast_exit", "kind", "options", "registry", "target")

    def __init__(
        self,
        registry: str,
        options: "dict[str, Any]",
        kind: str,
        target: str,
        arguments: "list[str]",
    ) -> None:
        self.registry = registry
        self.fast_exit: "str | None" = options.pop("fast_exit", None)
        self.options = options
        self.kind = kind
        self.target = target
        self.arguments = arguments


def parse(arguments: "list[str]") -> "Request | None":
    """The request, or None for help; UsageError.

    All arguments after the program belong to the program, as with `python`.
    """
    registry = ""
    options: "dict[str, Any]" = {"mode": "overlay"}
    rest = list(arguments)
    while rest:
        item = rest.pop(0)
        if item in ("-h", "--help"):
            return None
        name, equals, value = item.partition("=")
        if item in _FLAGS:
            key, value = _FLAGS[item]
            options[key] = value
        elif name in _VALUED:
            value = value if equals else _take(rest, name)
            _check(name, value)
            options[_VALUED[name]] = value
        elif item[:2] in ("-m", "-c") and registry:
            target = item[2:] or _take(rest, item)
            return Request(registry, options, item[:2], target, rest)
        elif item.startswith("-") and item != "-":
            raise UsageError(f"unknown option {item!r} of run; {HINT}")
        elif registry:
            return Request(registry, options, "script", item, rest)
        else:
            registry = item
    missing = "SCRIPT, -m MODULE, -c CODE or -" if registry else "FILE"
    raise UsageError(f"run needs {missing}; {HINT}")


def _check(option: str, value: str) -> None:
    choices, words = _CHOICES.get(option, ((value,), ""))
    if value not in choices:
        raise UsageError(f"{option} is {value!r}, expected {words}; {HINT}")


def _take(rest: "list[str]", option: str) -> str:
    if not rest:
        raise UsageError(f"option {option} of run needs a value; {HINT}")
    return rest.pop(0)


def main(arguments: "list[str]", *, hand_on: bool = True) -> int:
    """Run a program with these arguments; the exit status, unless the program raises.

    With `hand_on`, the processes that the program starts get the registry, too, and the exit is
    fast unless the arguments say otherwise. Without, it is only if they ask for it.
    """
    try:
        request = parse(arguments)
        if request is None:
            print(USAGE, end="")
            return DONE
        if environment("FROZENFINDER") != "off":
            registry = Registry.open(request.registry)
            if registry.mismatch is not None or not is_listed():
                from frozenfinder.null_finder import make_version_error

                raise make_version_error(registry)
            if (request.fast_exit or ("on" if hand_on else "off")) != "off":
                request.options["fast_exit"] = True
            install(registry, **request.options)
            if hand_on:
                _hand_on(registry.path, request.options)
    except (UsageError, FrozenFinderError, OSError) as error:
        return report(error)
    except ValueError as error:
        return report(UsageError(f"{error}; {HINT}"))
    if request.fast_exit != "hard":
        return _run(request)
    from frozenfinder.fast_exit import call

    return call(lambda: _run(request))


def _run(request: Request) -> int:
    if request.kind == "-m":
        return run_module(request.target, request.arguments)
    if request.kind == "-c":
        return run_command(request.target, request.arguments)
    if request.target == "-":
        return run_stdin(request.arguments)
    return run_file(request.target, request.arguments)


def _hand_on(registry: str, options: "dict[str, Any]") -> None:
    """Make each Python that inherits the environment install the registry: see `startup`."""
    settings = [f"{name}={value}" for name, value in options.items()]
    fields = [str(sys.implementation.cache_tag), *settings]
    os.environ["FROZENFINDER_RUN"] = f"{','.join(fields)}:{registry}"
    folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "startup")
    inherited = os.environ.get("PYTHONPATH", "")
    if folder not in inherited.split(os.pathsep):
        os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{inherited}" if inherited else folder


def run_module(name: str, arguments: "list[str]") -> int:
    """Mirrors `pymain_run_module` for `-m`."""
    import runpy

    _replace_first_path(_getcwd())
    sys.argv = ["-m", *arguments]
    _make_main()
    _call_as_stock(getattr(runpy, RUN_AS_MAIN), name, True)
    return DONE


def run_command(source: str, arguments: "list[str]") -> int:
    """Mirrors `pymain_run_command`."""
    _replace_first_path("")
    sys.argv = ["-c", *arguments]
    namespace = _make_main()
    if sys.version_info >= (3, 14) and source[:1].isspace():
        import textwrap

        source = textwrap.dedent(source)
    source += "\n"
    code = _compile(source, "<string>")
    _register_source(code, source)
    _call_as_stock(exec, code, namespace)
    return DONE


def _register_source(code: "CodeType", source: str) -> None:
    """Let tracebacks show the lines of `-c`, as from 3.13 on; 3.13.0 keys them by file name."""
    if sys.version_info >= (3, 13):
        import linecache

        key = code if hasattr(linecache, INTERACTIVE_CACHE) else code.co_filename
        getattr(linecache, REGISTER_CODE)(key, source, code.co_filename)


def run_stdin(arguments: "list[str]") -> int:
    """Mirrors `pymain_run_stdin` without the interactive loop: a terminal is read to its end."""
    _replace_first_path("")
    sys.argv = ["-", *arguments]
    namespace = _make_main()
    _set_file(namespace, "<stdin>")
    code = _compile(sys.stdin.buffer.read(), "<stdin>")
    _execute_file(code, namespace)
    return DONE


def run_file(path: str, arguments: "list[str]") -> int:
    """Mirrors `pymain_run_file`; a directory or zip file is run as `pymain_run_python` does."""
    sys.argv = [path, *arguments]
    path = _absolute(path)
    namespace = _make_main()
    if find_path_entry(path) is not None:
        import runpy

        _replace_first_path(path, even_if_safe=True)
        _call_as_stock(getattr(runpy, RUN_AS_MAIN), "__main__", False)
        return DONE
    try:
        with open_code(path) as file:
            content = file.read()
    except OSError as error:
        sys.stderr.write(f"{sys.orig_argv[0]}: can't open file {path!r}: {error_text(error)}\n")
        return BAD_INPUT
    _replace_first_path(os.path.dirname(os.path.realpath(path)))
    is_pyc = content.startswith(MAGIC_NUMBER)
    loader = SourcelessFileLoader if is_pyc else SourceFileLoader
    namespace["__loader__"] = loader("__main__", path)
    _set_file(namespace, path)
    code = _load(content) if is_pyc else _compile(content, path)
    _execute_file(code, namespace)
    return DONE


def error_text(error: OSError) -> str:
    return f"[Errno {error.errno}] {error.strerror}"


def _load(content: bytes) -> "CodeType":
    import marshal

    code: "CodeType" = _call_as_stock(marshal.loads, memoryview(content)[16:])
    return code


def _compile(source: "str | bytes", filename: str) -> "CodeType":
    code: "CodeType" = _call_as_stock(compile, source, filename, "exec", 0, True)
    return code


def _make_main() -> "dict[str, Any]":
    """The namespace of a new module `__main__`, as `add_main_module` in Python/pylifecycle.c."""
    module = type(sys)("__main__")
    namespace = module.__dict__
    namespace["__loader__"] = BuiltinImporter
    if sys.version_info < (3, 14):
        namespace["__annotations__"] = {}
    namespace["__builtins__"] = builtins
    previous = get_module("__main__")
    get_modules()["__main__"] = module
    if get_module("__mp_main__") is previous:  # `multiprocessing` was imported before
        get_modules()["__mp_main__"] = module
    return namespace


def _set_file(namespace: "dict[str, Any]", path: str) -> None:
    namespace["__file__"] = path
    if sys.version_info < (3, 15):
        namespace["__cached__"] = None


def _execute_file(code: "CodeType", namespace: "dict[str, Any]") -> None:
    """Mirrors `_PyRun_SimpleFile` in Python/pythonrun.c: `__file__` is removed at the end.

    Up to 3.13, `sys.exit` leaves before that happens.
    """
    try:
        _call_as_stock(exec, code, namespace, namespace=namespace)
    except SystemExit:
        if sys.version_info >= (3, 14):
            _unset_file(namespace)
        raise
    _unset_file(namespace)


def _unset_file(namespace: "dict[str, Any]") -> None:
    namespace.pop("__file__", None)
    namespace.pop("__cached__", None)


def _replace_first_path(path: "str | None", even_if_safe: bool = False) -> None:
    """Replace the first item of `sys.path`, which exists unless the process runs with -P or -I."""
    if path is None:
        return
    if not sys.flags.safe_path:
        sys.path[:1] = [path]
    elif even_if_safe:
        sys.path.insert(0, path)


def _getcwd() -> "str | None":
    try:
        return os.getcwd()
    except OSError:
        return None


def _absolute(path: str) -> str:
    """Mirrors `_Py_abspath` in Python/fileutils.c, which normalises on Windows only."""
    cwd = _getcwd()
    if sys.platform == "win32" or cwd is None:
        return os.path.abspath(path) if cwd is not None else path
    return cwd if path in ("", ".") else os.path.join(cwd, path)


def _call_as_stock(
    function: "Callable[..., Any]",
    *arguments: object,
    namespace: "dict[str, Any] | None" = None,
) -> "Any":
    """Call it; an exception is reported with the traceback that starts in `function`.

    The traceback grows again on the way out of this process' frames, so it can only be cut when
    CPython's main calls `sys.excepthook`. `namespace` loses its `__file__` after that.
    """
    try:
        return function(*arguments)
    except SystemExit:
        raise
    except BaseException:
        hook = getattr(sys, "excepthook", sys.__excepthook__)
        sys.excepthook = _Report(hook, {} if namespace is None else namespace)
        raise


class _Report:
    """Replaces `sys.excepthook` for one call: cuts the traceback and passes it on."""

    def __init__(self, hook: "Callable[..., object]", namespace: "dict[str, Any]") -> None:
        self._hook = hook
        self._namespace = namespace

    def __call__(
        self,
        kind: "type[BaseException]",
        error: BaseException,
        traceback: "TracebackType | None",
    ) -> None:
        sys.excepthook = self._hook
        traceback = _cut(traceback)
        error.__traceback__ = sys.last_traceback = traceback
        try:
            self._hook(kind, error, traceback)
        except SystemExit:
            raise
        except BaseException as failure:  # noqa: BLE001 - any exception of the hook itself
            # as `_PyErr_PrintEx` in Python/pythonrun.c, without this frame
            sys.stderr.write("Error in sys.excepthook:\n")
            _display(failure, failure.__traceback__ and failure.__traceback__.tb_next)
            sys.stderr.write("\nOriginal exception was:\n")
            _display(error, traceback)
        _unset_file(self._namespace)


def _display(error: BaseException, traceback: "TracebackType | None") -> None:
    sys.__excepthook__(type(error), error.with_traceback(traceback), traceback)


def _cut(traceback: "TracebackType | None") -> "TracebackType | None":
    """The part of a traceback below the outermost `_call_as_stock`."""
    at = traceback
    while at is not None and at.tb_frame.f_code is not _call_as_stock.__code__:
        at = at.tb_next
    return traceback if at is None else at.tb_next
