"""The accessors of `sys.modules`, as in Python/import.c.

A program may replace `sys.modules` by any mapping; then every access uses that mapping's own
`__getitem__`, `__setitem__` and `__delitem__`. If it is missing (deleted, or None while the
interpreter shuts down), each function raises RuntimeError in CPython's words.
"""

import sys

from frozenfinder.runtime.system import get_module, get_modules, remove_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
else:
    ModuleType = type(sys)

__all__ = ["add_module", "get_module", "remove_module", "set_module"]

_GONE_ON_ADD = (
    "unable to get sys.modules" if sys.version_info >= (3, 14) else "no import module dictionary"
)


def set_module(name: str, module: object) -> None:
    """`sys.modules[name] = module`. Mirrors `_PyImport_SetModule()` of `Python/import.c`."""
    get_modules()[name] = module


def add_module(name: str) -> ModuleType:
    """The module in `sys.modules[name]`; if that is not a module, a new empty one replaces it.

    It neither loads anything nor sets import attributes. Mirrors `PyImport_AddModuleRef()` of
    `Python/import.c`.
    """
    modules = get_modules(_GONE_ON_ADD)
    if type(modules) is dict:
        # one step: two threads that add the same name get the same module
        found = modules.setdefault(name, ModuleType(name))
    else:
        found = get_module(name)
    if isinstance(found, ModuleType):
        return found
    module = modules[name] = ModuleType(name)
    return module
