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
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader

try:
    from posix import stat as _stat
except ImportError:  # Windows
    from nt import stat as _stat  # type: ignore[attr-defined,no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SEPARATOR = "\\" if sys.platform == "win32" else "/"
_NAME = "frozenfinder"

import_stock = _frozen_importlib._gcd_import  # type: ignore[attr-defined]
"""Imports a module by its absolute name, as `importlib.import_module` does."""

_package: "Any" = sys.modules.get(_NAME)


def import_package(home: str, own: object) -> None:
    """Import the package from the folder `home`; `own` is this module.

    `sys.modules` gets its modules at the end, all at once.
    """
    global _package
    _package = _make(_NAME, home)
    _package.own = own
    _package.__spec__.loader.exec_module(_package)
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
            module = module.__dict__.get(part) or _load(f"{module.__name__}.{part}", part, module)
    return module


def _load(name: str, part: str, parent: "Any") -> "Any":
    module = _make(name, f"{parent.__path__[0]}{_SEPARATOR}{part}", parent.__path__)
    module.__spec__.loader.exec_module(module)
    module = parent.__dict__.setdefault(part, module)
    modules: "Any" = getattr(sys, "modules", None) or {}
    if getattr(modules.get(_NAME), "__dict__", None) is _package.__dict__:
        modules.setdefault(name, module)
    return module


def _make(name: str, path: str, places: "list[str] | None" = None) -> "Any":
    """A new module that has not run yet; `path` is its file without an ending, or its folder.

    Where it has no source file, the finders on the meta path look for it in `places`.
    """
    spec = _find(name, path)
    if spec is None:
        spec = _frozen_importlib._find_spec(name, places)  # type: ignore[attr-defined]
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module: "Any" = _frozen_importlib.module_from_spec(spec)
    module.__builtins__ = _builtins
    return module


def _find(name: str, path: str) -> "ModuleSpec | None":
    for file in (f"{path}.py", f"{path}{_SEPARATOR}__init__.py"):
        try:
            _stat(file)
        except (OSError, ValueError):
            continue
        is_package = len(file) > len(path) + 3
        spec = ModuleSpec(name, SourceFileLoader(name, file), origin=file, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [path]
        return spec
    return None


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


_builtins = {**sys.modules["builtins"].__dict__, "__import__": _import}
