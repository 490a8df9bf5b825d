"""`install` and `uninstall`: the only editor of `sys.meta_path` and `sys.path_hooks`.

The global state is here too, one set for each interpreter: its import lock, and what is installed
in it.
"""

import sys
from _frozen_importlib_external import PathFinder

from frozenfinder.errors import RegistryNotFoundError

from .collector import Collector
from .finder import FrozenFinder, NullFinder
from .loader import Locked
from .lock import ImportLock
from .patterns import Patterns
from .registry import BLOB_WINDOW, Registry
from .system import SEPARATOR, environment, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any, TypeAlias

    from frozenfinder.closed.finder import ClosedFinder

    Finder: TypeAlias = "FrozenFinder | ClosedFinder | NullFinder"

import_lock = ImportLock()
_installed: "list[Finder]" = []
_prepared_fork = False


def install(
    registry: "str | PathLike[str] | bytes | Registry | None" = None,
    *,
    mode: str = "overlay",
    tests: bool = False,
    trusted: bool = False,
    sha256: "str | None" = None,
    verify_key: "str | None" = None,
) -> "Finder":
    """Serve modules from a registry, and give back the finder that does.

    `registry` is a path, the bytes of a registry, an open `Registry`, or None for the one that
    `default_registry` names. `mode` is "overlay" (the same results as without it, sooner) or
    "closed" (the registry is all there is of what it holds). The table `test` is consulted only
    with `tests`. Installing the same registry in the same mode again gives back the same finder.

    A file that others can write to, or that belongs to somebody else, is refused unless it is
    said to be `trusted`, or is pinned: by the SHA-256 that it has, or by the Ed25519 key that it is
    signed with, each in hexadecimal. A pinned registry is read into memory.

    RegistryNotFoundError, RegistryVersionError (closed mode only; overlay warns, and serves
    nothing), RegistryTrustError, RegistryError (malformed or unreadable), ValueError (the mode, or
    what is not hexadecimal). With the environment variable FROZENFINDER=off, nothing is opened and
    the finder serves nothing.
    """
    if mode not in ("overlay", "closed"):
        raise ValueError(f"mode is {mode!r}, expected 'overlay' or 'closed'")
    if environment("FROZENFINDER") == "off":
        return NullFinder(None, mode)
    opened = open_registry(registry)
    if sha256 is not None or verify_key is not None:
        opened = opened.pin(sha256=sha256, verify_key=verify_key)
    if opened.distrust is not None and not trusted:
        raise opened.trust_error()
    return serve(opened, mode, tests)


def serve(opened: Registry, mode: str, tests: bool = False) -> "Finder":
    """Install an open registry, whoever its file belongs to and whatever FROZENFINDER says.

    It is for a program whose modules are nowhere else. The caller's caller is the one to be warned.
    """
    for finder in _installed:
        if finder.mode == mode and finder.registry == opened:
            return finder
    if opened.mismatch is not None:
        return _refuse(opened, mode)
    sys.audit("frozenfinder.install", opened.path, mode)
    report = _print_bypass if environment("FROZENFINDER_DEBUG") not in (None, "", "0") else None
    finder_type = _get_finder_type(mode)
    without = (environment("FROZENFINDER_WITHOUT") or "").split(",")
    collector = None if "collector" in without else Collector()
    patterns = None if "patterns" in without else Patterns()
    if "windows" in without or "read-ahead" in without:
        opened.narrow(0 if "windows" in without else BLOB_WINDOW)
    finder = finder_type(opened, import_lock, report, tests, collector, patterns)
    _insert(finder)
    _prepare_fork()
    return finder


def uninstall(finder: "Finder | None" = None) -> None:
    """Take a finder out of `sys.meta_path`, or every one that was installed.

    Modules that were served stay, and so do their loaders. Nothing happens to a finder that is not
    installed.
    """
    for each in list(_installed) if finder is None else [finder]:
        if each in _installed:
            _installed.remove(each)
        if not isinstance(each, NullFinder):
            _take_out(each)


def installed() -> "list[Finder]":
    """The finders that are installed in this interpreter, in the order of installation."""
    return list(_installed)


def default_registry() -> str:
    """The path of the registry that `install()` without an argument opens.

    It is the environment variable FROZENFINDER_REGISTRY, or the registry of the environment: one
    below `sys.prefix` for every cache tag and optimisation level.
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
    """What `install` accepts, opened; an open registry of the same file is used again."""
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
                f"there is no default registry: {error}", path=error.path
            ) from None
    return Registry.open(registry)


def _get_finder_type(mode: str) -> "type[FrozenFinder | ClosedFinder]":
    if mode == "overlay":
        return FrozenFinder
    # deferred: overlay, of whose start every microsecond counts, does without it
    from frozenfinder.closed.finder import ClosedFinder

    return ClosedFinder


def _insert(finder: "FrozenFinder | ClosedFinder") -> None:
    """Put a finder directly before PathFinder, so that every other one keeps its precedence.

    A registry that was frozen as the whole world takes PathFinder's place: what it lacks is not
    looked for.
    """
    path = sys.meta_path
    at = path.index(PathFinder) if PathFinder in path else len(path)
    replaced = 0
    if not isinstance(finder, FrozenFinder):
        sys.path_hooks.insert(0, finder.path_hook)
        replaced = int(finder.registry.header.world)
    path[at : at + replaced] = [finder]
    _installed.append(finder)


def _take_out(finder: "FrozenFinder | ClosedFinder") -> None:
    """Undo `_insert`; the lists are None when the interpreter ends."""
    path: "list[Any]" = getattr(sys, "meta_path", None) or []
    if finder in path:
        at = path.index(finder)
        whole_world = not isinstance(finder, FrozenFinder) and finder.registry.header.world
        path[at : at + 1] = [PathFinder] if whole_world else []
    if not isinstance(finder, FrozenFinder):
        _forget_path_hook(finder)


def _forget_path_hook(finder: "ClosedFinder") -> None:
    hooks: "list[Any]" = getattr(sys, "path_hooks", None) or []
    if finder.path_hook in hooks:
        hooks.remove(finder.path_hook)
    cache: "dict[str, Any]" = getattr(sys, "path_importer_cache", None) or {}
    for path in list(cache):
        if finder.relative(path) is not None:
            del cache[path]


def _refuse(registry: Registry, mode: str) -> NullFinder:
    """What becomes of a registry that was frozen for another interpreter."""
    error = registry.version_error()
    if mode == "closed":
        raise error
    # deferred: only where the registry cannot serve
    import warnings

    warnings.warn(f"frozenfinder serves nothing: {error}", RuntimeWarning, stacklevel=4)
    finder = NullFinder(registry, mode)
    _installed.append(finder)
    return finder


def _prepare_fork() -> None:
    global _prepared_fork
    register = getattr(syscalls, "register_at_fork", None)
    if register is not None and not _prepared_fork:
        _prepared_fork = True
        register(after_in_child=_repair_child)


def _repair_child() -> None:
    """Undo, in a forked child, what threads that are not there any more were in the midst of."""
    import_lock.reinit(Locked)
    if import_lock.held():
        return  # the outermost import of the calling thread will restore it
    for finder in _installed:
        if finder.collector is not None:
            finder.collector.restore()


def _print_bypass(name: str, reason: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"frozenfinder: {name!r} is not served: {reason}\n")
