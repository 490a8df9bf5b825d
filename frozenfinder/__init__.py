"""frozenfinder: CPython that boots from one frozen registry file.

    import frozenfinder

    finder = frozenfinder.install("app.frz")

`install` and `uninstall` are here at once; everything else is imported when it is first asked for.
"""

from frozenfinder.runtime.hooks import install, uninstall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.closed.finder import ClosedFinder as ClosedFinder
    from frozenfinder.closed.loader import ClosedLoader as ClosedLoader
    from frozenfinder.native.fixups import FixupTable as FixupTable
    from frozenfinder.runtime.finder import FrozenFinder as FrozenFinder
    from frozenfinder.runtime.hooks import default_registry as default_registry
    from frozenfinder.runtime.hooks import installed as installed
    from frozenfinder.runtime.loader import FrozenExtensionLoader as FrozenExtensionLoader
    from frozenfinder.runtime.loader import FrozenLoader as FrozenLoader
    from frozenfinder.runtime.lock import ImportLock as ImportLock
    from frozenfinder.runtime.registry import FrozenEntry as FrozenEntry
    from frozenfinder.runtime.registry import Registry as Registry

    from .errors import FreezeError as FreezeError
    from .errors import FrozenFinderError as FrozenFinderError
    from .errors import RegistryError as RegistryError
    from .errors import RegistryNotFoundError as RegistryNotFoundError
    from .errors import RegistryTrustError as RegistryTrustError
    from .errors import RegistryVersionError as RegistryVersionError
    from .freezer import Plan as Plan
    from .freezer import freeze as freeze

__version__ = "0.1.0"

_HOMES = {
    "ClosedFinder": "closed.finder",
    "ClosedLoader": "closed.loader",
    "FixupTable": "native.fixups",
    "FreezeError": "errors",
    "FrozenEntry": "runtime.registry",
    "FrozenExtensionLoader": "runtime.loader",
    "FrozenFinder": "runtime.finder",
    "FrozenFinderError": "errors",
    "FrozenLoader": "runtime.loader",
    "ImportLock": "runtime.lock",
    "Plan": "freezer",
    "Registry": "runtime.registry",
    "RegistryError": "errors",
    "RegistryNotFoundError": "errors",
    "RegistryTrustError": "errors",
    "RegistryVersionError": "errors",
    "default_registry": "runtime.hooks",
    "freeze": "freezer",
    "installed": "runtime.hooks",
}

__all__ = ["install", "uninstall", *_HOMES]  # noqa: PLE0604  # names, and the checker sees none


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
