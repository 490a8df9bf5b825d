"""`FrozenFinder`, the finder of overlay mode: which names it serves, and with which spec.

It is on `sys.meta_path` directly before `PathFinder`. `find_spec` takes no lock: the data that it
reads is published by single assignments.
"""

import _imp
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import PathFinder
from time import perf_counter

from frozenfinder.errors import RegistryError
from frozenfinder.own import import_stock, load_own, set_cached

from .layout import OVERLAY_KINDS, digest
from .loader import FrozenExtensionLoader, FrozenLoader, Locked
from .lock import is_importing
from .registry import OPEN_FLAGS, FrozenEntry, Registry
from .roots import Bypass, Roots, is_stock
from .system import SEPARATOR, close, find_and_load, find_spec, get_frame, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import CodeType, ModuleType
    from typing import Any

    from frozenfinder.extras import Extras
    from frozenfinder.native.fixups import FixupTable

    from .collector import Collector
    from .lock import ImportLock


_GENERATIONS = 1 << 32  # of the lock, more than any second sees

# importlib's own imports
_FIND_SPEC = getattr(find_spec, "__code__", None)
_FIND_AND_LOAD = getattr(find_and_load, "__code__", None)


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
    ) -> None:
        self.registry = registry
        self.lock = lock
        self.collector = collector
        self.extras: "Extras | None" = None  # until a served module has some
        self.tests = tests
        self._bypassed: "dict[str, str]" = {}
        self._served: "list[str]" = []  # append is atomic; `+=` of an integer is not
        self._report = report
        self._set_up()  # type: ignore[attr-defined]  # the part that depends on the mode

    @property
    def served(self) -> int:
        """How many modules were executed from the registry."""
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
        table: "FixupTable" = load_own("native.fixups").table
        return table

    def unmarshal(self, entry: FrozenEntry) -> "CodeType":
        """The entry's code, newly unmarshalled; its extras are added. RegistryError."""
        registry = self.registry
        blob = registry.read_blob(entry)
        if entry.extras_size:
            if self.extras is None:
                # deferred: many programs import no module that has some
                self.extras = load_own("extras").shared
            blob = self.extras.use(entry, blob, self.lazy)
        return registry.load_code(entry, blob)

    def holds(self, name: str) -> bool:
        """Whether the registry has an entry of that name."""
        return self.registry.find_entry(name, self.tests) is not None

    def enter(self, mark: int) -> None:
        """Take the import lock for a body; `mark` is its depth before.

        While the depth is above zero, the collector is relaxed, new objects are promoted, and
        modules find the code of their texts.
        """
        self.lock.acquire()
        if not mark:
            if self.collector is not None:
                self.collector.relax()
            if self.extras:
                self.extras.enter()

    def leave(self, mark: int) -> None:
        """Undo `enter`, after any exception, too."""
        self.lock.rewind(mark)
        collector = self.collector
        if collector is not None:
            if mark:
                collector.promote()
            else:
                collector.restore()
        extras = self.extras
        if extras and (not mark or extras.pending or extras.begun):
            extras.leave(mark)

    def executes(self, name: str, loader: object) -> bool:
        """Whether this finder has served the module of that name and loader, or is about to."""
        return isinstance(loader, Locked) or name in self._served

    def note_served(self, name: str) -> None:
        """Count a module that is executed from the registry."""
        self._served.append(name)

    def note_bypassed(self, name: str, reason: str) -> None:
        """Note why `name`, which the registry contains, is not served."""
        self._bypassed[name] = reason
        if self._report is not None:
            self._report(name, reason)

    def __reduce__(self) -> "tuple[Any, ...]":
        """A copy is the finder itself, as of the classes that are stock's finders."""
        mode: str = self.mode  # type: ignore[attr-defined]  # as `_set_up`
        return find_listed, (self.registry.path, mode)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.registry!r}, {self.served} served>"


class FrozenFinder(ServingFinder):
    """Overlay: a name is served if the stock search would end at the file that was frozen.

    For every other name, `find_spec` returns None and the search goes on as if this finder did not
    exist; `bypassed` has the reason, for names that the registry contains.
    """

    mode = "overlay"
    woken_by: "CodeType | None" = None
    """The code of the `find_spec` that this object had before, as `startup.wait` has it."""
    _clock = staticmethod(perf_counter)
    """Tests stop the clock by replacing functions of `time` in every module, but not in classes."""

    def _set_up(self) -> None:
        self._roots = Roots(self.registry)
        self._damaged = False

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """For importlib's own imports, the spec that `PathFinder.find_spec` would return, with
        another loader; or None.

        Everyone else gets None: programs, hooks and `importlib.util.find_spec` see the specs and
        loaders of PathFinder alone. Costs what `search` does.
        """
        asking: "Any" = get_frame(1)
        if (asking.f_code is _FIND_SPEC and asking.f_back.f_code is _FIND_AND_LOAD) or (
            self._was_woken(asking)
        ):
            return self.search(fullname, path)
        if is_importing(fullname):
            return self.search(fullname, path, "a hook has asked for its spec, not importlib")
        return None

    def search(
        self, fullname: str, path: "Sequence[str] | None" = None, obstacle: "str | None" = None
    ) -> "ModuleSpec | None":
        """What `find_spec` tells importlib. An `obstacle` is why the module may not be served.

        Costs what `check_fresh` does, and a `stat` of each directory on the way for every outermost
        import. After damage to the registry, one RuntimeWarning is given, and the result is always
        None.
        """
        if self._damaged:
            return None
        try:
            entry = self.registry.find_entry(fullname, self.tests)
            if entry is None or entry.kind == "namespace":  # only the path knows all its portions
                return None
            if obstacle is not None:
                raise Bypass(obstacle)
            self._check_following(fullname)
            return self._find_spec(fullname, path, entry)
        except Bypass as reason:
            self.note_bypassed(fullname, str(reason))
        except RegistryError as error:
            self._give_up(fullname, error)
        except RecursionError:  # PathFinder, which calls fewer functions, may still have room
            self.note_bypassed(fullname, "the recursion limit is near")
        except (AttributeError, KeyError, TypeError) as error:  # `sys.path` is None, or a cache is
            self.note_bypassed(fullname, f"importlib or its state in sys was changed: {error}")
        except ValueError as error:  # stock raises it for a NUL or a lone surrogate
            self.note_bypassed(
                fullname, f"an item before its root on the path is not a valid path: {error}"
            )
        return None

    def _was_woken(self, asking: "Any") -> bool:
        """Whether it is importlib's own import that has made a waiting object this finder."""
        return (
            asking.f_code is self.woken_by
            and asking.f_back.f_code is _FIND_SPEC
            and asking.f_back.f_back.f_code is _FIND_AND_LOAD
        )

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
        period = lock.generation + int(self._clock()) * _GENERATIONS if lock.held() else 0
        location, in_place = self._roots.locate(entry, path, period)
        check_fresh(entry, location, in_place)
        self._roots.settle()
        loader: "FrozenLoader | FrozenExtensionLoader"
        if entry.kind == "source":
            loader = FrozenLoader(fullname, location, self, entry)
        else:
            loader = FrozenExtensionLoader(fullname, location, self)
        spec = ModuleSpec(fullname, loader, origin=location, is_package=entry.is_package)
        spec.has_location = True
        if entry.is_package:
            spec.submodule_search_locations = [location.rpartition(SEPARATOR)[0]]
        if entry.kind == "source":
            set_cached(spec, location)
        return spec

    def load_code(self, entry: FrozenEntry) -> "CodeType | None":
        """The entry's code, newly unmarshalled, or None if stock is to get it from the file."""
        try:
            return self.unmarshal(entry)
        except RegistryError as error:
            self._give_up(entry.name, error)
        except RecursionError:
            self.note_bypassed(entry.name, "the recursion limit is near")
        return None

    def _give_up(self, name: str, error: RegistryError) -> None:
        self._damaged = True
        self.note_bypassed(name, str(error))
        # deferred: needed only once, for a damaged registry
        import_stock("warnings").warn(
            f"frozenfinder uses normal imports from now on: {error}", RuntimeWarning, stacklevel=2
        )

    def invalidate_caches(self) -> None:
        """Check every directory again; costs the same whatever was imported."""
        self._roots.invalidate()


def find_listed(path: str, mode: str) -> "ServingFinder | None":
    """The finder on `sys.meta_path` in that mode, of the registry with that path, for pickles."""
    for finder in sys.meta_path:
        same: "Any" = finder
        if isinstance(finder, ServingFinder) and (same.registry.path, same.mode) == (path, mode):
            return finder
    return None


def check_fresh(entry: FrozenEntry, location: str, in_place: bool = True) -> None:
    """Bypass unless what is at `location` is the frozen source, or any extension module.

    Costs one `stat`. It shows that a source is unchanged if its size and mtime are the frozen ones,
    as they show it to stock for a `.pyc`. A time that a tool may have set shows it only `in_place`:
    in the frozen folder. If only the size is the same, or the time says nothing, the source is
    read, and hashed at more than a gigabyte in a second.
    """
    try:
        status = syscalls.stat(location)
    except (OSError, ValueError) as error:
        raise Bypass(f"its source {location!r} cannot be found") from error
    if entry.kind == "extension":  # stock loads this very file
        if status.st_mode & 0o170000 != 0o100000:
            raise Bypass(f"{location!r} is not a regular file")
        return
    size = status.st_size & 0xFFFFFFFF
    if size != entry.source_size:
        raise Bypass(
            f"its source {location!r} has {size} bytes, but was frozen with {entry.source_size}"
        )
    check = entry.check
    if (
        entry.mtime != int(status.st_mtime) & 0xFFFFFFFF
        or (check != "time" and (check != "place" or not in_place))
        or _imp.check_hash_based_pycs == "always"
    ):
        _check_content(entry, location, status.st_size)


def _check_content(entry: FrozenEntry, location: str, size: int) -> None:
    if entry.check == "never":
        raise Bypass(f"the .pyc file of its source {location!r} was made from another source")
    try:
        descriptor = syscalls.open(location, OPEN_FLAGS)
        try:
            content = syscalls.read(descriptor, size + 1)
        finally:
            close(descriptor)
    except OSError as error:
        raise Bypass(f"its source {location!r} cannot be read: {error.strerror}") from error
    if digest(content) != entry.text_digest:
        raise Bypass(f"its source {location!r} has other content than when it was frozen")
