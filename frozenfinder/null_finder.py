"""`NullFinder`: the result of `install` if nothing is served.

It has the public interface of the finders of both modes. So a program still works if
FROZENFINDER=off is set, or if its registry is for another interpreter.
"""

import sys

from frozenfinder.errors import RegistryVersionError
from frozenfinder.own import import_stock, load_own
from frozenfinder.runtime.system import LISTED, is_listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.native.fixups import FixupTable
    from frozenfinder.runtime.registry import Registry


class NullExtractor:
    """The extractor of a finder that extracts no files."""

    __slots__ = ("in_memory",)

    def __init__(self) -> None:
        self.in_memory: "dict[str, str]" = {}


class NullFinder:
    """A finder that serves nothing and is not on `sys.meta_path`.

    `registry` is None if it was not opened, because FROZENFINDER=off is set.
    """

    served = 0
    lazy = True
    collector = None
    extras = None

    def __init__(self, registry: "Registry | None", mode: str) -> None:
        self.registry = registry
        self.mode = mode
        self.bypassed: "dict[str, str]" = {}
        self.extractor = NullExtractor()

    @property
    def fixups(self) -> "FixupTable":
        """The extension modules that were created in this interpreter: none by this finder."""
        # deferred: only programs with extension modules need it
        table: "FixupTable" = load_own("native.fixups").table
        return table

    def lay_out(self, *packages: str) -> None:
        """Do nothing: packages on disk have their data files on disk, too."""

    def invalidate_caches(self) -> None:
        """Do nothing: there are no caches."""

    def __repr__(self) -> str:
        return f"<NullFinder of {self.registry!r}>"


def refuse(registry: "Registry", mode: str) -> NullFinder:
    """Warn that this interpreter may not use the registry, and return a finder for it.

    RegistryVersionError in closed mode, because its modules are nowhere else. The RuntimeWarning
    names the caller of `install`.
    """
    error = make_version_error(registry)
    if mode == "closed":
        raise error
    # deferred: only needed if the registry cannot be used
    import_stock("warnings").warn(
        f"frozenfinder serves nothing: {error}", RuntimeWarning, stacklevel=5
    )
    return NullFinder(registry, mode)


def make_version_error(registry: "Registry") -> RegistryVersionError:
    """The error for a registry that this interpreter may not serve; it says what to do."""
    if is_listed():
        return registry.version_error()
    (major, first), (_, last) = LISTED
    return RegistryVersionError(
        f"this release of frozenfinder supports CPython {major}.{first} to {major}.{last}, this "
        f"is {sys.version_info[0]}.{sys.version_info[1]}; install a newer release, or set "
        "FROZENFINDER_UNLISTED=1 to use this one anyway",
        path=registry.path,
    )
