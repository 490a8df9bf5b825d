"""The lowest layer: `sys.modules`, the operating system's calls, and CPython's private names.

`frozenfinder.modules` has all accessors of `sys.modules`; this module has those that a boot needs.

No other module uses a private name of CPython, except those that run where this package is missing;
`tests/test_system.py` lists them, and checks that each name exists in exactly the versions that its
docstring gives. A missing name is None: on versions that `LISTED` does not include, `install`
serves nothing, so nothing uses it.

Names that a boot needs are bound here. The others are only spelled here, because only the programs
that need them import their modules.
"""

import _frozen_importlib
import _frozen_importlib_external
import _imp
import sys
from _thread import allocate_lock

try:
    import posix as syscalls
except ImportError:  # Windows
    import nt as syscalls  # type: ignore[no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

__all__ = ["syscalls"]

LISTED = (3, 11), (3, 15)
"""The first and the last version of CPython that this release was tested with."""

FREE_THREADED = "free-threading build" in sys.version

SEPARATOR = "\\" if sys.platform == "win32" else "/"

STATE = "st_mtime_ns" if sys.platform == "win32" else "st_ctime_ns"
"""Of the status of a directory: a number that changes whenever anything is added to it.

The kernel sets the ctime, and no tool can set it back. On Windows, there is none.
"""


def is_listed() -> bool:
    """Whether this release may serve this interpreter: its version is listed, or
    FROZENFINDER_UNLISTED=1 is set.
    """
    first, last = LISTED
    return first <= sys.version_info[:2] <= last or environment("FROZENFINDER_UNLISTED") == "1"


def environment(name: str) -> "str | None":
    """The value of an environment variable, or None; always None with `-E` and `-I`."""
    if sys.flags.ignore_environment:
        return None
    loaded = get_module("os")
    if loaded is not None:
        value: "str | None" = loaded.environ.get(name)
        return value
    raw: "dict[Any, Any]" = syscalls.environ  # bytes, or strings on Windows
    found = raw.get(name if sys.platform == "win32" else name.encode())
    return found.decode(errors="surrogateescape") if isinstance(found, bytes) else found


def read_switches() -> "list[str]":
    """The optimisations that FROZENFINDER_WITHOUT switches off."""
    return (environment("FROZENFINDER_WITHOUT") or "").split(",")


def locate(registry: str) -> str:
    """The absolute path of an enabled registry: relative ones are relative to `sys.prefix`."""
    if is_absolute(registry):
        return registry
    return f"{sys.prefix}{SEPARATOR}{registry}"


def is_absolute(path: str) -> bool:
    return path.startswith(SEPARATOR) or path[1:2] == ":"


def make_absolute(path: str) -> str:
    """An absolute `path`, which stays valid after a `chdir`."""
    if sys.platform == "win32":
        return str(syscalls._getfullpathname(path))
    if path.startswith("/"):
        return path
    try:
        return f"{syscalls.getcwd().rstrip('/')}/{path}"
    except OSError:  # the current directory was removed
        return path


def raise_number(descriptor: int) -> int:
    """Move a descriptor to a free high number and return it; return it unchanged if that fails.

    `fcntl(F_DUPFD_CLOEXEC)` would find and take a number in one step, but on many builds `fcntl` is
    not built in. So a lock protects the threads of this interpreter, which all look for the same
    number, from each other. A thread of the program can take the number between `fstat` and `dup2`
    only if it asks for exactly that number, or if nearly all lower ones are open.
    """
    try:
        limit = syscalls.sysconf("SC_OPEN_MAX")
    except (AttributeError, OSError, ValueError):
        return descriptor
    if not 0 < limit < 1024:  # -1: no limit
        limit = 1024
    lock = numbering
    if not lock.acquire(True, NUMBERING_PATIENCE):
        return descriptor
    try:
        for number in range(limit - 1, max(descriptor, limit - 64), -1):
            try:
                syscalls.fstat(number)
            except OSError as error:
                if error.errno != _EBADF:
                    continue  # the file of another, on a failing disk
                try:
                    syscalls.dup2(descriptor, number, False)
                except OSError:
                    return descriptor
                close(descriptor)
                return number
        return descriptor
    finally:
        lock.release()


numbering = allocate_lock()
"""Held from the check of a number until it is taken; `hooks` renews it in a forked child."""

NUMBERING_PATIENCE = 0.1
"""Seconds to wait: a signal handler may open a registry while its own thread holds the lock."""

_EBADF = 9  # on every POSIX system; avoids an import of `errno`


def close(descriptor: int) -> None:
    """Close a file that was only read; errors do not matter, because it is closed in any case."""
    try:
        syscalls.close(descriptor)
    except OSError:
        pass


# -- `sys.modules`

_GONE = "unable to get sys.modules"


def get_modules(gone: str = _GONE) -> "MutableMapping[str, Any]":
    modules: MutableMapping[str, Any] | None = getattr(sys, "modules", None)
    if modules is None:
        raise RuntimeError(gone)
    return modules


def get_module(name: str, default: object = None) -> "Any":
    """`sys.modules[name]`, or `default` if the name is missing (the value itself may be None).

    Mirrors `import_get_module()` of `Python/import.c`. Unlike the C API's `PyImport_GetModule()`,
    it does not wait for a module that another thread is still executing, so a finder may call it
    while importlib holds `_imp`'s lock.
    """
    modules = get_modules()
    try:
        return modules[name]
    except KeyError:
        return default


def remove_module(name: str) -> None:
    """Remove `name` from `sys.modules`, if it is there.

    Mirrors `remove_module()` of `Python/import.c`.
    """
    modules = get_modules()
    if type(modules) is dict:
        modules.pop(name, None)
        return
    try:
        del modules[name]
    except KeyError:
        pass


# -- CPython's private names: bound if a boot needs them, else only spelled. Each docstring ends
#    with the versions that have the name.


"""Private modules that other modules of this package import, only for their public names:

_ctypes: `dlopen`, without the rest of `ctypes`. 3.11 on.
_frozen_importlib: `importlib._bootstrap`, which is loaded in any case. 3.11 on.
_frozen_importlib_external: `importlib._bootstrap_external`, in the same way. 3.11 on.
_hashlib: OpenSSL's SHA-256, without the rest of `hashlib`. 3.11 on.
_imp: `source_hash`, and the names that importlib uses. 3.11 on.
_interpreters: the number of this interpreter, and whether it is strict. 3.13 on.
_io: `FileIO`, without the rest of `io`. 3.11 on.
_sha2: CPython's own SHA-256. 3.12 on.
_sha256: the same. Before 3.12.
_signal: `signal`, without the enumerations of that module. 3.11 on.
_sre: makes a pattern from its code. 3.11 on.
_thread: locks, without the rest of `threading`. 3.11 on.
_xxsubinterpreters: the number of this interpreter. Before 3.13.
_weakref: `ref`, without the rest of `weakref`. 3.11 on.
re._compiler: its `compile`, to copy. 3.11 on.
re._parser: the same. 3.11 on.
"""


def _find(owner: object, name: str) -> "Any":
    return getattr(owner, name, None)


call_with_frames_removed = _find(_frozen_importlib, "_call_with_frames_removed")
"""Runs a module's body; tracebacks leave out the frames above it. 3.11 on."""

find_and_load = _find(_frozen_importlib, "_find_and_load_unlocked")
"""Imports a module: finds its spec, and loads it. 3.11 on."""

find_spec = _find(_frozen_importlib, "_find_spec")
"""Asks the finders on the meta path. 3.11 on."""

builtin_from_name = _find(_frozen_importlib, "_builtin_from_name")
"""Imports a built-in module without asking the finders on the meta path. 3.11 on."""

module_locks = _find(_frozen_importlib, "_module_locks")
"""A weak reference to the lock of each module that is being imported, by name. 3.11 on."""

blocking_on = _find(_frozen_importlib, "_blocking_on")
"""The module locks that each thread waits for: one before 3.12, a list after. 3.11 on."""

find_path_entry = _find(_frozen_importlib_external.PathFinder, "_path_importer_cache")
"""The path entry finder of an item of the path, made and cached as stock does it. 3.11 on."""

_extension, _source, _folder, _path = (
    _frozen_importlib_external.ExtensionFileLoader,
    _frozen_importlib_external.SourceFileLoader,
    _frozen_importlib_external.FileFinder,
    vars(_frozen_importlib_external.PathFinder),
)


def read_importlib() -> "list[object]":
    """What importlib does for a module that PathFinder finds: its functions, as they are now.

    Costs half a µs; a comparison of whole classes would cost twice that. 3.11 on.
    """
    return [
        _source.__init__,
        _source.create_module,
        _source.exec_module,
        _source.get_code,
        _source.get_data,
        _source.get_filename,
        _source.path_stats,
        _source.source_to_code,
        _extension.__init__,
        _extension.create_module,
        _extension.exec_module,
        _folder.__init__,
        _folder.find_spec,
        _folder._get_spec,  # type: ignore[attr-defined]
        _folder._fill_cache,  # type: ignore[attr-defined]
        _path["find_spec"],
        _path["_get_spec"],
        _path["_path_hooks"],
        _path["_path_importer_cache"],
        _source.__getattribute__,
        _source.__setattr__,
        _folder.__getattribute__,
    ]


namespace_path = _find(_frozen_importlib_external, "_NamespacePath")
"""The `__path__` of a namespace package; it is computed anew if its parent's changes. 3.11 on."""

fix_co_filename = _find(_imp, "_fix_co_filename")
"""Puts a file name into a code object and all nested ones. 3.11 on."""

get_frame = _find(sys, "_getframe")
"""The frame of the function that is running, or of one that called it. 3.11 on."""

check_multi_interp_extensions = _find(_imp, "_override_multi_interp_extensions_check")
"""Overrides whether this interpreter refuses single-phase modules. 3.12 on."""

IS_MAIN = "_is_main_interpreter"
"""Of `_thread`: whether this is the main interpreter; since 3.12.1. 3.12 on."""

INITIALIZING = "_initializing"
"""Of `ModuleSpec`: whether the module's body is still running. 3.11 on."""

LOADERS = "_loaders"
"""Of `FileFinder`: its pairs of a suffix and a loader, in the order of preference. 3.11 on."""

STDLIB_DIR = "_stdlib_dir"
"""Of `sys`: the directory of the standard library, or None. 3.11 on."""

RE_CACHE = "_cache"
"""Of `re`: its compiled patterns by type, text and flags. 3.11 on."""

SRE = "_sre"
"""Of `re._compiler`: the module that makes a pattern from its code. 3.11 on."""

RUN_AS_MAIN = "_run_module_as_main"
"""Of `runpy`: runs a module as `-m` does. 3.11 on."""

REGISTER_CODE = "_register_code"
"""Of `linecache`: keeps the source of the code that `-c` runs. 3.13 on."""

INTERACTIVE_CACHE = "_interactive_cache"
"""Of `linecache`: exists if `_register_code` takes code objects; since 3.13.1. 3.13 on."""

INTERPRETER_FLAGS = "_args_from_interpreter_flags"
"""Of `multiprocessing.util`: the options of the interpreters that it starts. 3.11 on."""

SYSCONFIG_DATA = "_get_sysconfigdata_name"
"""Of `sysconfig`: the name of the module with the build's settings. 3.11 on."""
