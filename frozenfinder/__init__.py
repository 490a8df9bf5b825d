"""frozenfinder: CPython that boots from one frozen registry file.

    import frozenfinder

    finder = frozenfinder.install("app.frz")

`install` and `uninstall` are imported at once; `public` finds the other names when a program first
uses them. `__init__.pyi` has all of them for type checkers.
"""

import sys as _sys

from frozenfinder.own import load_own as _load_own

# deferred: nothing, but it shall not depend on what the program has changed
_hooks = _load_own("runtime.hooks")
install = _hooks.install
uninstall = _hooks.uninstall

__version__ = "0.1.0"

# one constant: every boot would pay for a table, and uses none of them
_NAMES = """
ClosedFinder ClosedLoader Finder Fixup FixupTable FreezeError FrozenEntry FrozenExtensionLoader
FrozenFinder FrozenFinderError FrozenLoader ImportLock Mode NullFinder Plan Registry
RegistryError RegistryNotFoundError RegistryTrustError RegistryVersionError default_registry
freeze install installed uninstall
"""
__all__ = _NAMES.split()  # noqa: PLE0605  # the stub has a list


def __getattr__(name: str) -> object:
    # Programs look up names in every module while they iterate over `sys.modules`: a name that is
    # not one of these imports nothing.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # deferred: as above
    value = globals()[name] = _load_own("public").find(name)
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})


for _each in _sys.meta_path:
    if (
        type(_each).__name__ == "Waiting"
    ):  # of an enabled registry: `installed` names it from now on
        _each.wake()  # type: ignore[attr-defined]
