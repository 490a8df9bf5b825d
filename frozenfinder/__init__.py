"""frozenfinder: CPython that boots from one frozen registry file.

    import frozenfinder

    finder = frozenfinder.install("app.frz")

`install` and `uninstall` are imported at once; `public` finds the other names when a program first
uses them. `__init__.pyi` has all of them for type checkers.
"""

from frozenfinder.runtime.hooks import install as install
from frozenfinder.runtime.hooks import uninstall as uninstall
from frozenfinder.runtime.system import load_own as _load_own

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
