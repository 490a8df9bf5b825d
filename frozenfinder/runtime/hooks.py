"""`install` and `uninstall`: the only editor of `sys.meta_path` and `sys.path_hooks`.

It also has the global state, one set for each interpreter: the import lock, and the list of
installed finders.
"""

import sys
from _frozen_importlib_external import PathFinder
from _imp import acquire_lock, release_lock
from _thread import allocate_lock

from frozenfinder.errors import RegistryNotFoundError
from frozenfinder.own import load_own

from . import system
from .collector import Collector
from .finder import FrozenFinder, ServingFinder
from .lock import ImportLock
from .registry import BLOB_WINDOW, Registry
from .system import (
    FREE_THREADED,
    SEPARATOR,
    environment,
    is_listed,
    read_switches,
    syscalls,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

    from frozenfinder.annotations import Finder, Mode
    from frozenfinder.closed.finder import ClosedFinder
    from frozenfinder.null_finder import NullFinder

# importlib's global lock protects these two, and this package's edits of `sys.meta_path` and
# `sys.path_hooks`, which no other thread then searches. Nothing is imported while it is held. It is
# recursive: a finalizer that installs or uninstalls may run in any of these statements. CPython
# releases it in a forked child if another thread held it.
# The program may have imported this package before, and removed it from `sys.modules`: the finders
# of that copy are still there, and their bodies run under the same lock.
_earlier: "list[Any]" = [
    each for each in sys.meta_path if type(each).__name__ in ("FrozenFinder", "ClosedFinder")
]
_installed: "list[Finder]" = _earlier
_prepared_fork = False

import_lock: ImportLock = _earlier[0].lock if _earlier else ImportLock()


def install(
    registry: "str | PathLike[str] | bytes | Registry | None" = None,
    *,
    mode: "Mode" = "overlay",
    tests: bool = False,
    lazy: bool = True,
    trusted: bool = False,
    sha256: "str | None" = None,
    verify_key: "str | None" = None,
    fast_exit: bool = False,
) -> "Finder":
    """Serve modules from a registry; return the finder that does.

    `registry` is a path, the bytes of a registry, an open `Registry`, or None for the one that
    `default_registry` names. `mode` is "overlay" (the same results as without a registry, but
    faster) or "closed" (the registry is self-contained: its names come from nowhere else). The
    table `test` is searched only with `tests`. Installing the same registry in the same mode again
    returns the same finder. In a lazy registry, imports wait until their names are used, unless
    `lazy=False` is given. Any thread may call it.

    A file that others can write to, or that another user owns, is refused unless `trusted=True`
    is given or the registry is pinned: by its SHA-256 (`sha256`), or by the Ed25519 public key of
    its signature (`verify_key`), each in hexadecimal. All of it is checked then.

    With `fast_exit`, the process ends without the collections in which CPython destroys all
    objects, unless an object is alive then whose finalizer may do something.

    RegistryNotFoundError, RegistryVersionError (closed mode only; overlay warns, and serves
    nothing), RegistryTrustError, RegistryError (malformed or unreadable), ValueError (the mode, or
    a value that is not hexadecimal). With the environment variable FROZENFINDER=off, nothing is
    opened and the finder is a `NullFinder`.
    """
    if mode not in ("overlay", "closed"):
        raise ValueError(f"mode is {mode!r}, expected 'overlay' or 'closed'")
    if environment("FROZENFINDER") == "off":
        # deferred: needed only if nothing is served
        unused: "NullFinder" = load_own("null_finder").NullFinder(None, mode)
        return unused
    finder = serve(check_trust(open_registry(registry), trusted, sha256, verify_key), mode, tests)
    if not lazy:
        finder.lazy = False
    if fast_exit:
        end_fast()
    return finder


def end_fast() -> None:
    """Make the process end as `fast_exit` of `install` says."""
    # deferred: most programs end as with stock
    load_own("fast_exit").prepare(installed)


def check_trust(
    opened: Registry, trusted: bool, sha256: "str | None" = None, verify_key: "str | None" = None
) -> Registry:
    """The registry, pinned if it is to be. RegistryTrustError, RegistryError, ValueError."""
    if sha256 is not None or verify_key is not None:
        opened = opened.pin(sha256=sha256, verify_key=verify_key)
    if opened.distrust is not None and not trusted:
        raise opened.trust_error()
    return opened


def serve(
    opened: Registry, mode: "Mode", tests: bool = False, waiting: "Any | None" = None
) -> "Finder":
    """Install an open registry without looking at its owner or at FROZENFINDER.

    It is for a program whose modules are nowhere else. A warning names the caller's caller.
    `waiting`, an object that `startup.wait` has put on the meta path, becomes the finder.
    RegistryVersionError as from `install`.
    """
    found = _find_installed(opened, mode)
    if found is not None:
        return found
    if opened.mismatch is not None or not is_listed():
        return _install_null_finder(opened, mode)
    sys.audit("frozenfinder.install", opened.path, mode)
    report = _print_bypass if environment("FROZENFINDER_DEBUG") not in (None, "", "0") else None
    finder_type: "type[FrozenFinder | ClosedFinder]" = FrozenFinder
    if mode == "closed":
        # deferred: overlay, of whose start every microsecond counts, does without it
        finder_type = load_own("closed.finder").ClosedFinder
    without = read_switches()
    collector = None if FREE_THREADED or "collector" in without else Collector()
    if "windows" in without or "read-ahead" in without:
        opened.narrow(0 if "windows" in without else BLOB_WINDOW)
    finder = finder_type(opened, import_lock, report, tests, collector)
    acquire_lock()
    try:
        found = _find_installed(opened, mode)
        if found is not None:  # another thread was faster
            return found
        if waiting is None:
            _insert(finder)
        else:
            waiting.__dict__ = {**vars(finder), "woken_by": type(waiting).find_spec.__code__}
            waiting.__class__ = type(finder)
            finder = waiting
            _installed.append(finder)
        _prepare_fork()
    finally:
        release_lock()
    return finder


def _find_installed(registry: Registry, mode: str) -> "Finder | None":
    for finder in _installed:
        if finder.mode == mode and finder.registry == registry:
            return finder
    return None


def uninstall(finder: "Finder | None" = None) -> None:
    """Take a finder off `sys.meta_path`; without an argument, every finder that was installed.

    Modules that were served stay, with their loaders. A finder that is not installed is ignored.
    Any thread may call it.
    """
    acquire_lock()
    try:
        for each in list(_installed) if finder is None else [finder]:
            if each in _installed:
                _installed.remove(each)
            _take_out(each)
    finally:
        release_lock()


def installed() -> "list[Finder]":
    """The finders that are installed in this interpreter, in the order of installation."""
    return list(_installed)


def default_registry() -> str:
    """The path of the registry that `install()` without an argument opens.

    It is the value of the environment variable FROZENFINDER_REGISTRY, or else a path below
    `sys.prefix`, one for each cache tag and optimisation level. The file need not exist.
    """
    named = environment("FROZENFINDER_REGISTRY")
    if named:
        return named
    optimize = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
    file = f"{sys.implementation.cache_tag}{optimize}.frz"
    return SEPARATOR.join([sys.prefix, "share", "frozenfinder", file])


def open_registry(
    registry: "str | PathLike[str] | bytes | Registry | None",
) -> Registry:
    """An open registry for any argument that `install` accepts; an open one is returned as it is.

    Raises as `Registry.open` does.
    """
    if isinstance(registry, Registry):
        return registry
    if isinstance(registry, (bytes, bytearray, memoryview)):
        return Registry.from_bytes(bytes(registry))
    if registry is None:
        registry = default_registry()
        try:
            return Registry.open(registry)
        except RegistryNotFoundError as error:
            raise RegistryNotFoundError(
                f"there is no default registry {error.path!r}; make one with: "
                f"{sys.executable or 'python'} -m frozenfinder freeze --stdlib -o {error.path}",
                path=error.path,
            ) from None
    return Registry.open(registry)


def _insert(finder: "FrozenFinder | ClosedFinder") -> None:
    """Put a finder directly before PathFinder, so that every other one keeps its precedence.

    In closed mode, a world registry replaces PathFinder: names that it lacks are searched nowhere.
    """
    path = sys.meta_path
    at = path.index(PathFinder) if PathFinder in path else len(path)
    hook = getattr(finder, "path_hook", None)  # only in closed mode
    if hook is not None:
        sys.path_hooks.insert(0, hook)
    replaced = int(hook is not None and finder.registry.header.world)
    path[at : at + replaced] = [finder]
    _installed.append(finder)


def _take_out(finder: "Finder") -> None:
    """Undo `_insert`; at the end of the interpreter, the lists are None."""
    path: "list[Any]" = getattr(sys, "meta_path", None) or []
    hook = getattr(finder, "path_hook", None)
    if finder in path and finder.registry is not None:
        at = path.index(finder)
        whole_world = hook is not None and finder.registry.header.world
        path[at : at + 1] = [PathFinder] if whole_world else []
    if hook is not None:
        _forget_path_hook(finder)  # type: ignore[arg-type]  # it is a ClosedFinder


def _forget_path_hook(finder: "ClosedFinder") -> None:
    hooks: "list[Any]" = getattr(sys, "path_hooks", None) or []
    if finder.path_hook in hooks:
        hooks.remove(finder.path_hook)
    cache: "dict[str, Any]" = getattr(sys, "path_importer_cache", None) or {}
    for path in list(cache):
        if finder.relative(path) is not None:
            cache.pop(path, None)


def _install_null_finder(registry: Registry, mode: "Mode") -> "NullFinder":
    # deferred: needed only if nothing is served
    finder: "NullFinder" = load_own("null_finder").refuse(registry, mode)
    _installed.append(finder)
    return finder


def _prepare_fork() -> None:
    global _prepared_fork
    register = getattr(syscalls, "register_at_fork", None)
    if register is not None and not _prepared_fork:
        _prepared_fork = True
        register(after_in_child=_repair_child)


def _repair_child() -> None:
    """In a forked child, undo the half-done work of threads that do not exist there."""
    system.numbering = allocate_lock()
    import_lock.reinit(_executes)
    if import_lock.held():
        return  # the outermost import of the calling thread restores it later
    for finder in _installed:
        if finder.collector is not None:
            finder.collector.restore()
        if finder.extras:
            finder.extras.reinit()


def _executes(name: str, loader: object) -> bool:
    """Whether a finder has served that module, or is about to; a NullFinder has not."""
    return any(isinstance(it, ServingFinder) and it.executes(name, loader) for it in _installed)


def _print_bypass(name: str, reason: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"frozenfinder: {name!r} is not served: {reason}\n")
