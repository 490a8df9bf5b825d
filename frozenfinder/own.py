"""Loads the modules of this package, whatever the program has changed about imports.

A module's file is beside those of this package. Neither `sys.modules`, `sys.path`, `sys.meta_path`
nor `builtins.__import__` matters: the modules that are loaded here get an `__import__` of their own
in their `__builtins__`, which loads this package's modules in the same way and leaves every other
one to importlib.

The packages' attributes are the table of what is loaded: they keep the modules alive if a program
removes them from `sys.modules`. `startup.wait` runs this file before the package is imported, so it
imports nothing of the package.
"""

import _frozen_importlib
import _imp
import marshal
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader
from _thread import get_ident

try:
    from posix import stat as _stat
except ImportError:  # Windows
    from nt import stat as _stat  # type: ignore[attr-defined,no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SEPARATOR = "\\" if sys.platform == "win32" else "/"
_NAME = "frozenfinder"

# private names, which a version that this release does not know may lack
_fix_co_filename: "Any" = getattr(_imp, "_fix_co_filename", None)
_find_spec: "Any" = getattr(_frozen_importlib, "_find_spec", None)

import_stock = getattr(_frozen_importlib, "_gcd_import", __import__)
"""Imports a module by its absolute name, as `importlib.import_module` does."""

# the part of a `.pyc`'s name after the module's; "" if modules have no `__cached__`
CACHED_ENDING = ""
if sys.version_info < (3, 15) and sys.implementation.cache_tag is not None:
    CACHED_ENDING = f".{sys.implementation.cache_tag}.pyc"
    if sys.flags.optimize:
        CACHED_ENDING = f".{sys.implementation.cache_tag}.opt-{sys.flags.optimize}.pyc"

_package: "Any" = sys.modules.get(_NAME)


def import_package(home: str, own: object) -> None:
    """Import the package from the folder `home`; `own` is this module.

    `sys.modules` gets its modules at the end, all at once.
    """
    global _package
    _package = _make(_NAME, home, own=own)
    pending = [_package]
    while pending:
        module = pending.pop()
        sys.modules.setdefault(module.__name__, module)
        if hasattr(module, "__path__"):
            pending += [each for each in vars(module).values() if _is_below(each, module)]


def _is_below(found: "Any", package: "Any") -> bool:
    return type(found) is type(sys) and found.__name__.startswith(f"{package.__name__}.")


def load_own(name: str) -> "Any":
    """The module of this package with that name below it; it is loaded if it is not yet.

    ImportError. It waits for no lock: if two threads load a module, both get the first one.
    """
    module = _package
    for part in name.split("."):
        if part:
            found = module.__dict__.get(part)
            if found is None:
                path = f"{module.__name__}.{part}"
                found = _running.get((get_ident(), path)) or _load(path, part, module)
            module = found
    return module


def _load(name: str, part: str, parent: "Any") -> "Any":
    module = _make(name, f"{parent.__path__[0]}{_SEPARATOR}{part}", parent.__path__)
    module = parent.__dict__.setdefault(part, module)
    modules: "Any" = getattr(sys, "modules", None) or {}
    if getattr(modules.get(_NAME), "__dict__", None) is _package.__dict__:
        modules.setdefault(name, module)
    return module


def _make(name: str, path: str, places: "list[str] | None" = None, **given: object) -> "Any":
    """Run a new module; `path` is its file without an ending, or its folder.

    Where it has no source file, the finders on the meta path look for it in `places`. `given` are
    names that it has before it runs.
    """
    global _package
    spec, code = _find(name, path)
    if spec is None:
        spec = None if _find_spec is None else _find_spec(name, places)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module: "Any" = _frozen_importlib.module_from_spec(spec)
    module.__dict__.update(given, __builtins__=_builtins)
    if name == _NAME:
        _package = module
    key = get_ident(), name
    _running[key] = module
    try:
        if code is None:
            spec.loader.exec_module(module)
        else:
            if type(code) is bytes:
                code = marshal.loads(code)
            _fix_co_filename(code, spec.origin)
            exec(code, module.__dict__)
    finally:
        _running.pop(key, None)
    return module


def _find(name: str, path: str) -> "tuple[Any, Any]":
    """The spec of a module with a source file, and its code if `boot` has it; else None."""
    codes = _codes
    if not codes:
        codes.update(_read_codes())
    for file in (f"{path}.py", f"{path}{_SEPARATOR}__init__.py"):
        try:
            status = _stat(file)
        except (OSError, ValueError):
            continue
        is_package = len(file) > len(path) + 3
        spec = ModuleSpec(name, SourceFileLoader(name, file), origin=file, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [path]
        set_cached(spec, file)
        mtime, size, code = codes.pop(name, (0, 0, None))
        fresh = (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF) == (mtime, size)
        return spec, code if fresh and _fix_co_filename is not None else None
    return None, None


def set_cached(spec: ModuleSpec, file: str) -> None:
    """Tell a spec the name of the `.pyc` of its source `file`, up to 3.14.

    The property would compute the same when the module is created.
    """
    if CACHED_ENDING and sys.pycache_prefix is None:
        folder, _, stem = file[:-3].rpartition(_SEPARATOR)
        spec.cached = f"{folder}{_SEPARATOR}__pycache__{_SEPARATOR}{stem}{CACHED_ENDING}"


def _read_codes() -> "dict[str, Any]":
    """The table of `boot`, by the names of modules, and an item of no module."""
    found: "dict[str, Any]" = {}
    try:
        name = f"{_NAME}.boot"
        code = SourceFileLoader(name, f"{__file__[: -len('own.py')]}boot.py").get_code(name)
        exec(code, found)  # type: ignore[arg-type]  # a loader of sources always has code
    except (EOFError, ImportError, OSError, TypeError, ValueError):  # missing, or damaged
        return {"": None}
    return {each[0]: each[1:] for each in found["CODES"]} | {"": None}


def _import(
    name: str,
    globals: "Any" = None,  # noqa: A002  # the parameters of `__import__`
    locals: "Any" = None,  # noqa: A002
    fromlist: "Any" = (),
    level: int = 0,
) -> "Any":
    if level:
        base = globals["__package__"].split(".")
        name = ".".join([*base[: len(base) + 1 - level], *filter(None, [name])])
    top, _, rest = name.partition(".")
    if top != _NAME:
        return _frozen_importlib.__import__(name, globals, locals, fromlist)
    module = load_own(rest)
    for each in fromlist or ():
        if each not in module.__dict__ and hasattr(module, "__path__"):
            load_own(f"{rest}.{each}")
    return module if fromlist else _package


# The modules whose bodies run, by thread and name: a package imports its own submodules. Each
# thread changes only its own.
_running: "dict[tuple[int, str], Any]" = {}

# Code by module, as `boot` has it; each is used once, because a module's code may be changed. Two
# threads may both read it.
_codes: "dict[str, Any]" = {}

_builtins = {**sys.modules["builtins"].__dict__, "__import__": _import}
