"""The `sys.modules` accessors, as `Python/import.c` has them.

`sys.modules` may be replaced by any mapping, and then every access goes through that mapping's own
`__getitem__`, `__setitem__` and `__delitem__`. Where it is gone (deleted, or None as the
interpreter leaves it when it shuts down), each of these raises RuntimeError in CPython's words.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import ModuleType
    from typing import Any
else:
    ModuleType = type(sys)

_GONE = "unable to get sys.modules"
_GONE_ON_ADD = _GONE if sys.version_info >= (3, 14) else "no import module dictionary"


def _get_modules(gone: str = _GONE) -> "MutableMapping[str, Any]":
    modules: MutableMapping[str, Any] | None = getattr(sys, "modules", None)
    if modules is None:
        raise RuntimeError(gone)
    return modules


def get_module(name: str, default: object = None) -> "Any":
    """`sys.modules[name]`, or `default`: None can also be what is there.

    Mirrors `import_get_module()` of `Python/import.c`. Unlike `PyImport_GetModule()`, which the C
    API builds on it, it does not wait for a module that another thread is still executing, so a
    finder may call it: importlib holds `_imp`'s lock there.
    """
    modules = _get_modules()
    try:
        return modules[name]
    except KeyError:
        return default


def set_module(name: str, module: object) -> None:
    """`sys.modules[name] = module`. Mirrors `_PyImport_SetModule()` of `Python/import.c`."""
    _get_modules()[name] = module


def add_module(name: str) -> ModuleType:
    """The module in `sys.modules[name]`, or a new empty one put in place of whatever is there.

    Neither loads anything nor sets import attributes. Mirrors `PyImport_AddModuleRef()` of
    `Python/import.c`.
    """
    modules = _get_modules(_GONE_ON_ADD)
    if type(modules) is dict:
        # one step: two threads that add the same name get the same module
        found = modules.setdefault(name, ModuleType(name))
    else:
        found = get_module(name)
    if isinstance(found, ModuleType):
        return found
    module = modules[name] = ModuleType(name)
    return module


def remove_module(name: str) -> None:
    """Take `name` out of `sys.modules` if it is there.

    Mirrors `remove_module()` of `Python/import.c`.
    """
    modules = _get_modules()
    if type(modules) is dict:
        modules.pop(name, None)
        return
    try:
        del modules[name]
    except KeyError:
        pass
