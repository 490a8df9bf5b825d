"""frozenfinder: CPython that boots from one frozen registry file.

    import frozenfinder

    finder = frozenfinder.install("app.frz")

`install` and `uninstall` are here at once; everything else is imported when it is first asked for.
"""

from .hooks import install, uninstall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .closed_finder import ClosedFinder as ClosedFinder
    from .closed_loader import ClosedLoader as ClosedLoader
    from .errors import FreezeError as FreezeError
    from .errors import FrozenFinderError as FrozenFinderError
    from .errors import RegistryError as RegistryError
    from .errors import RegistryNotFoundError as RegistryNotFoundError
    from .errors import RegistryTrustError as RegistryTrustError
    from .errors import RegistryVersionError as RegistryVersionError
    from .finder import FrozenFinder as FrozenFinder
    from .fixups import FixupTable as FixupTable
    from .freezer import Plan as Plan
    from .freezer import freeze as freeze
    from .hooks import default_registry as default_registry
    from .hooks import installed as installed
    from .loader import FrozenExtensionLoader as FrozenExtensionLoader
    from .loader import FrozenLoader as FrozenLoader
    from .lock import ImportLock as ImportLock
    from .registry import FrozenEntry as FrozenEntry
    from .registry import Registry as Registry

__version__ = "0.1.0"

_HOMES = {
    "ClosedFinder": "closed_finder",
    "ClosedLoader": "closed_loader",
    "FixupTable": "fixups",
    "FreezeError": "errors",
    "FrozenEntry": "registry",
    "FrozenExtensionLoader": "loader",
    "FrozenFinder": "finder",
    "FrozenFinderError": "errors",
    "FrozenLoader": "loader",
    "ImportLock": "lock",
    "Plan": "freezer",
    "Registry": "registry",
    "RegistryError": "errors",
    "RegistryNotFoundError": "errors",
    "RegistryTrustError": "errors",
    "RegistryVersionError": "errors",
    "default_registry": "hooks",
    "freeze": "freezer",
    "installed": "hooks",
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
