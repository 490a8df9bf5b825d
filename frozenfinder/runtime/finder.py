"""`FrozenFinder`, the finder of overlay mode: which names it serves, and with which spec.

It is on `sys.meta_path` directly before `PathFinder`. `find_spec` takes no lock: the data that it
reads is published by single assignments.
"""

import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader, PathFinder
from time import monotonic

from frozenfinder.errors import RegistryError

from .layout import OVERLAY_KINDS
from .loader import FrozenExtensionLoader, FrozenLoader
from .lock import is_importing
from .registry import FrozenEntry, Registry
from .roots import Bypass, Roots, is_stock
from .system import SEPARATOR, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import CodeType, ModuleType

    from frozenfinder.native.fixups import FixupTable
    from frozenfinder.patterns import Patterns

    from .collector import Collector
    from .lock import ImportLock


_GENERATIONS = 1 << 32  # of the lock, more than any second sees

# the part of a `.pyc`'s name after the module's; "" if modules have no `__cached__`
_CACHED_ENDING = ""
if sys.version_info < (3, 15) and sys.implementation.cache_tag is not None:
    _CACHED_ENDING = f".{sys.implementation.cache_tag}.pyc"
    if sys.flags.optimize:
        _CACHED_ENDING = f".{sys.implementation.cache_tag}.opt-{sys.flags.optimize}.pyc"


class ServingFinder:
    """The base of both modes' finders: the registry, the lock, and what was served and bypassed.

    Threads may share a finder. `lazy` says whether imports may wait in the modules of a lazy
    registry.
    """

    lazy = True

    def __init__(
        self,
        registry: Registry,
        lock: "ImportLock",
        report: "Callable[[str, str], None] | None" = None,
        tests: bool = False,
        collector: "Collector | None" = None,
        patterns: bool = True,
    ) -> None:
        self.registry = registry
        self.lock = lock
        self.collector = collector
        self.patterns: "Patterns | None" = None  # until a served module has some
        self.uses_patterns = patterns
        self._use_extra: "Callable[[ServingFinder, FrozenEntry, memoryview], memoryview] | None"
        self._use_extra = None
        self.tests = tests
        self._bypassed: "dict[str, str]" = {}
        self._served: "list[str]" = []  # append is atomic; `+=` of an integer is not
        self._report = report
        self._set_up()  # type: ignore[attr-defined]  # the part that depends on the mode

    @property
    def served(self) -> int:
        """How many modules were executed from the registry; each reload counts."""
        return len(self._served)

    @property
    def bypassed(self) -> "dict[str, str]":
        """The names that the registry contains but that were not served, with the reasons.

        It is a copy: a thread may read it while others import.
        """
        return self._bypassed.copy()

    @property
    def fixups(self) -> "FixupTable":
        """The extension modules that were created in this interpreter."""
        # deferred: only programs with extension modules need it
        from frozenfinder.native.fixups import table

        return table

    def unmarshal(self, entry: FrozenEntry) -> "CodeType":
        """The entry's code, newly unmarshalled; its patterns go to `re`. RegistryError."""
        registry = self.registry
        blob = registry.read_blob(entry)
        if entry.patterns_size:
            if self._use_extra is None:
                try:
                    # deferred: many programs import no module that compiles regular expressions
                    from frozenfinder.patterns import use_extra
                except ImportError:  # the program has hidden this package: `re` compiles itself
                    return registry.load_code(entry, blob)
                self._use_extra = use_extra
            blob = self._use_extra(self, entry, blob)
        return registry.load_code(entry, blob)

    def holds(self, name: str) -> bool:
        """Whether the registry has an entry of that name."""
        return self.registry.find_entry(name, self.tests) is not None

    def note_served(self, name: str) -> None:
        """Count a module that is executed from the registry."""
        self._served.append(name)

    def note_bypassed(self, name: str, reason: str) -> None:
        """Note why `name`, which the registry contains, is not served."""
        self._bypassed[name] = reason
        if self._report is not None:
            self._report(name, reason)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.registry!r}, {self.served} served>"


class FrozenFinder(ServingFinder):
    """Overlay: a name is served if the stock search would end at the file that was frozen.

    For every other name, `find_spec` returns None and the search goes on as if this finder did not
    exist; `bypassed` has the reason, for names that the registry contains.
    """

    mode = "overlay"

    def _set_up(self) -> None:
        self._roots = Roots(self.registry)
        self._damaged = False

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """The spec that `PathFinder.find_spec` would return, with another loader; or None.

        If nobody is importing the module and it is an extension module, the loader is stock's, too.
        Costs a `stat` of the source, and one of each directory on the way for every outermost
        import. After damage to the registry, one RuntimeWarning is given, and the result is always
        None.
        """
        if self._damaged:
            return None
        try:
            entry = self.registry.find_entry(fullname, self.tests)
            if entry is None or entry.kind == "namespace":  # only the path knows all its portions
                return None
            self._check_following(fullname)
            return self._find_spec(fullname, path, entry)
        except Bypass as reason:
            self.note_bypassed(fullname, str(reason))
        except RegistryError as error:
            self._give_up(fullname, error)
        except (AttributeError, TypeError) as error:  # `sys.path` is None, or a cache is
            self.note_bypassed(fullname, f"importlib's state in sys was changed: {error}")
        except ValueError as error:  # stock raises it for a NUL or a lone surrogate
            self.note_bypassed(
                fullname, f"an item before its root on the path is not a valid path: {error}"
            )
        return None

    def _check_following(self, fullname: str) -> None:
        """Bypass unless stock would ask PathFinder next.

        Finders that were put between them after `install` are left to be asked by importlib. Those
        of this package are not stock's: the others of overlay leave it to this one, and one of
        closed mode has precedence for what it holds.
        """
        found = False
        for finder in sys.meta_path:
            if finder is self:
                found = True
            elif not found or isinstance(finder, FrozenFinder):
                continue
            elif finder is PathFinder:
                return
            elif not isinstance(finder, ServingFinder) or finder.holds(fullname):
                raise Bypass(f"{finder!r} comes before PathFinder on sys.meta_path")
        if found:  # else a finder that wraps this one asks
            raise Bypass("PathFinder does not follow on sys.meta_path")

    def _find_spec(
        self, fullname: str, path: "Iterable[str] | None", entry: FrozenEntry
    ) -> ModuleSpec:
        if entry.kind not in OVERLAY_KINDS:
            raise Bypass(f"overlay mode does not serve entries of kind {entry.kind!r}")
        if not is_stock():
            raise Bypass("importlib's finders or loaders were patched")
        lock = self.lock
        # within an import that lasts, a directory is looked at again after a second
        period = lock.generation + int(monotonic()) * _GENERATIONS if lock.held() else 0
        location = self._roots.locate(entry, path, period)
        check_fresh(entry, location)
        self._roots.settle()
        loader: "FrozenLoader | ExtensionFileLoader"
        if entry.kind == "source":
            loader = FrozenLoader(fullname, location, self, entry)
        elif is_importing(fullname):
            loader = FrozenExtensionLoader(fullname, location, self)
        else:
            loader = ExtensionFileLoader(fullname, location)
        spec = ModuleSpec(fullname, loader, origin=location, is_package=entry.is_package)
        spec.has_location = True
        folder, _, file = location.rpartition(SEPARATOR)
        if entry.is_package:
            spec.submodule_search_locations = [folder]
        if _CACHED_ENDING and entry.kind == "source" and sys.pycache_prefix is None:  # before 3.15
            # the property would compute the same when the module is created
            spec.cached = f"{folder}{SEPARATOR}__pycache__{SEPARATOR}{file[:-3]}{_CACHED_ENDING}"
        return spec

    def load_code(self, entry: FrozenEntry) -> "CodeType | None":
        """The entry's code, newly unmarshalled, or None if the registry is damaged."""
        try:
            return self.unmarshal(entry)
        except RegistryError as error:
            self._give_up(entry.name, error)
            return None

    def _give_up(self, name: str, error: RegistryError) -> None:
        self._damaged = True
        self.note_bypassed(name, str(error))
        # deferred: needed only once, for a damaged registry
        import warnings

        warnings.warn(
            f"frozenfinder uses normal imports from now on: {error}", RuntimeWarning, stacklevel=2
        )

    def invalidate_caches(self) -> None:
        """Check every directory again; costs the same whatever was imported."""
        self._roots.invalidate()


def check_fresh(entry: FrozenEntry, location: str) -> None:
    """Bypass unless the source at `location` has the frozen mtime and size. Costs one `stat`."""
    try:
        status = syscalls.stat(location)
    except (OSError, ValueError) as error:
        raise Bypass(f"its source {location!r} cannot be found") from error
    mtime, size = int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF
    if mtime != entry.mtime or size != entry.source_size:
        raise Bypass(
            f"its source {location!r} has mtime {mtime} and size {size}, "
            f"but was frozen with {entry.mtime} and {entry.source_size}"
        )
