"""`NullFinder`: what `install` gives back where nothing is to be served.

It has all that programs may use of a finder of either mode, so that a program which is told by
FROZENFINDER=off to run without its registry, or which meets one of another interpreter, runs.
"""

import sys

from frozenfinder.errors import RegistryVersionError
from frozenfinder.runtime.system import LISTED, is_listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.native.fixups import FixupTable
    from frozenfinder.runtime.registry import Registry


class NullExtractor:
    """The extractor of a finder that extracts nothing."""

    __slots__ = ("in_memory",)

    def __init__(self) -> None:
        self.in_memory: "dict[str, str]" = {}


class NullFinder:
    """A finder that serves nothing and is on no meta path.

    `registry` is None where FROZENFINDER=off kept it from being opened.
    """

    served = 0
    collector = None

    def __init__(self, registry: "Registry | None", mode: str) -> None:
        self.registry = registry
        self.mode = mode
        self.bypassed: "dict[str, str]" = {}
        self.extractor = NullExtractor()

    @property
    def fixups(self) -> "FixupTable":
        """The extension modules that were created in this interpreter: none by this finder."""
        # deferred: only programs with extension modules ask
        from frozenfinder.native.fixups import table

        return table

    def lay_out(self, *packages: str) -> None:
        """Do nothing: packages that are found on disk have their data files there, too."""

    def invalidate_caches(self) -> None:
        """Do nothing: there are none."""

    def __repr__(self) -> str:
        return f"<NullFinder of {self.registry!r}>"


def refuse(registry: "Registry", mode: str) -> NullFinder:
    """A finder for a registry that this interpreter may not serve, after a warning.

    RegistryVersionError in closed mode, whose modules are nowhere else. The warning names the
    caller of `install`.
    """
    error = registry.version_error() if is_listed() else _make_unlisted_error(registry.path)
    if mode == "closed":
        raise error
    # deferred: only where the registry cannot serve
    import warnings

    warnings.warn(f"frozenfinder serves nothing: {error}", RuntimeWarning, stacklevel=5)
    return NullFinder(registry, mode)


def _make_unlisted_error(path: str) -> RegistryVersionError:
    (major, first), (_, last) = LISTED
    return RegistryVersionError(
        f"this release of frozenfinder supports CPython {major}.{first} to {major}.{last}, this "
        f"is {sys.version_info[0]}.{sys.version_info[1]}; install a newer release, or set "
        "FROZENFINDER_UNLISTED=1 to use this one anyway",
        path=path,
    )
