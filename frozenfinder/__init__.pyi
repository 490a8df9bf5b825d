# The public interface, for type checkers; tests/typing compares it with the package.

from os import PathLike
from typing import Final, Literal, TypeAlias, overload

from .annotations import Finder as Finder
from .annotations import Mode as Mode
from .closed.finder import ClosedFinder as ClosedFinder
from .closed.loader import ClosedLoader as ClosedLoader
from .errors import FreezeError as FreezeError
from .errors import FrozenFinderError as FrozenFinderError
from .errors import RegistryError as RegistryError
from .errors import RegistryNotFoundError as RegistryNotFoundError
from .errors import RegistryTrustError as RegistryTrustError
from .errors import RegistryVersionError as RegistryVersionError
from .freezer import Plan as Plan
from .freezer import freeze as freeze
from .native.fixups import Fixup as Fixup
from .native.fixups import FixupTable as FixupTable
from .null_finder import NullFinder as NullFinder
from .runtime.finder import FrozenFinder as FrozenFinder
from .runtime.hooks import default_registry as default_registry
from .runtime.hooks import installed as installed
from .runtime.hooks import uninstall as uninstall
from .runtime.layout import FrozenEntry as FrozenEntry
from .runtime.loader import FrozenExtensionLoader as FrozenExtensionLoader
from .runtime.loader import FrozenLoader as FrozenLoader
from .runtime.lock import ImportLock as ImportLock
from .runtime.registry import Registry as Registry

__version__: Final[str]

_Source: TypeAlias = str | PathLike[str] | bytes | Registry | None

@overload
def install(
    registry: _Source = None,
    *,
    mode: Literal["overlay"] = "overlay",
    tests: bool = False,
    lazy: bool = True,
    trusted: bool = False,
    sha256: str | None = None,
    verify_key: str | None = None,
    fast_exit: bool = False,
) -> FrozenFinder | NullFinder: ...
@overload
def install(
    registry: _Source = None,
    *,
    mode: Literal["closed"],
    tests: bool = False,
    lazy: bool = True,
    trusted: bool = False,
    sha256: str | None = None,
    verify_key: str | None = None,
    fast_exit: bool = False,
) -> ClosedFinder | NullFinder: ...
@overload
def install(
    registry: _Source = None,
    *,
    mode: Mode,
    tests: bool = False,
    lazy: bool = True,
    trusted: bool = False,
    sha256: str | None = None,
    verify_key: str | None = None,
    fast_exit: bool = False,
) -> Finder: ...

__all__ = [
    "ClosedFinder",
    "ClosedLoader",
    "Finder",
    "Fixup",
    "FixupTable",
    "FreezeError",
    "FrozenEntry",
    "FrozenExtensionLoader",
    "FrozenFinder",
    "FrozenFinderError",
    "FrozenLoader",
    "ImportLock",
    "Mode",
    "NullFinder",
    "Plan",
    "Registry",
    "RegistryError",
    "RegistryNotFoundError",
    "RegistryTrustError",
    "RegistryVersionError",
    "default_registry",
    "freeze",
    "install",
    "installed",
    "uninstall",
]
