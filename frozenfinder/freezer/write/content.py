"""The content of a registry: the modules and files of a plan, read, compiled or reused."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.compile.compiler import (
    Compiled,
    Compiler,
    Task,
    has_hash,
    says_nothing,
    stamp,
)
from frozenfinder.freezer.plan import DataFile, Module, Omission, Plan
from frozenfinder.runtime.layout import (
    BARE_KINDS,
    CODE_KINDS,
    OVERLAY_KINDS,
    FrozenEntry,
    digest,
)

from .epoch import LATEST, read_epoch
from .output import Frozen
from .previous import Previous
from .states import States

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.freezer.defer.program import Outcome
    from frozenfinder.runtime.layout import Check

_CHANGED = "its source changed while it was being frozen"

Progress = Callable[[int, int, str], object]


class Content:
    """The frozen modules and files of a plan, what was left out, and where the code came from.

    `clamped` counts the modules whose files are newer than SOURCE_DATE_EPOCH, and `texts` the
    recorded texts that were compiled. Files will be written to the folders in `written`.
    """

    def __init__(self, plan: Plan, written: Sequence[str] = ()) -> None:
        """FreezeError unless it runs on CPython."""
        if sys.implementation.name != "cpython":
            raise FreezeError(
                "frozenfinder freezes only for CPython, this is "
                f"{sys.implementation.name!r}; run it with CPython"
            )
        self._plan = plan
        self._epoch = read_epoch()
        self._latest = LATEST if self._epoch is None else self._epoch
        self._states = States(written)
        self._numbers = {root: number for number, root in enumerate(plan.roots)}
        self._modules: dict[int, Frozen] = {}  # by their positions in the plan
        self.files: list[Frozen] = []
        self.omitted: list[Omission] = []
        self.warnings: list[tuple[str, str]] = []
        self.compiled = self.from_pyc = self.reused = self.clamped = self.texts = 0
        self.outcomes: dict[str, Outcome] = {}  # of the modules with source, if the plan is lazy

    @property
    def modules(self) -> list[Frozen]:
        """The modules in the order of the plan."""
        return [self._modules[place] for place in sorted(self._modules)]

    def add_modules(self, previous: Previous, jobs: int, progress: Progress | None) -> None:
        """Add all modules, aliases last. Unchanged ones are taken from `previous`.

        FreezeError if a module that was requested by name cannot be frozen.
        """
        modules = self._plan.modules
        tasks = {
            place: size
            for place, module in enumerate(modules)
            if (size := self._add_without_compiling(place, module, previous)) is not None
        }
        if tasks:
            self._compile(tasks, jobs, progress)
        self._add_patterns()
        self._add_texts()
        if self._plan.lazy:
            self._add_lazy(progress)
        self._add_aliases()
        self.omitted.sort(key=lambda omission: omission.name)
        self.warnings.sort()

    def add_files(self) -> None:
        """Add the data files; if extension modules are embedded, also libraries and parcels."""
        self.files += self._read_files(self._plan.files)
        if self._plan.embed:
            # deferred: hashlib is slow to import
            from .parcels import add_parcels

            libraries = list(self._read_files(self._plan.libraries))
            places = list(self._modules)
            beside = self._find_beside()
            data = [file for file in self.files if file.entry.path in set().union(*beside.values())]
            with_parcels = add_parcels(list(self._modules.values()), [*libraries, *data], beside)
            self._modules = dict(zip(places, with_parcels, strict=True))
            self.files += libraries
            self.files.sort(key=lambda file: file.entry.name)

    def _find_beside(self) -> dict[str, set[str]]:
        """The data files that extension modules need beside themselves, by the modules' paths.

        These are the files of packages to lay out, for the extension modules in these packages or
        from the same request.
        """
        plan = self._plan
        came = {module.why for module in plan.modules if module.name in plan.lay_out}
        data = {file.path for file in plan.files if file.path.partition("/")[0] in plan.lay_out}
        return {
            module.path: data
            for module in plan.modules
            if module.kind == "extension"
            and (module.why in came or module.path.partition("/")[0] in plan.lay_out)
        }

    def _read_files(self, files: Iterable[DataFile]) -> Iterator[Frozen]:
        for file in files:
            try:
                content, mtime, size = _read(file.location)
            except OSError as error:
                self._omit(file.path, file.location, f"cannot be read: {error.strerror}")
                continue
            yield Frozen(self._file_entry(file, mtime, size), content)

    def _add_without_compiling(self, place: int, module: Module, previous: Previous) -> int | None:
        """Add the module if it need not be compiled, and return None; else the size of its file."""
        if module.kind in BARE_KINDS:
            self._modules[place] = Frozen(self._entry(module))
        if module.kind in BARE_KINDS or module.kind == "alias":
            return None
        content = b""
        try:
            if module.kind in CODE_KINDS or self._plan.embed:
                content, mtime, size = _read(module.location)
            else:
                mtime, size = stamp(os.stat(module.location))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self._leave_out(module, f"cannot be read: {reason}")
            return None
        if module.kind not in CODE_KINDS:
            self._modules[place] = Frozen(self._entry(module, mtime, size), content)
            return None
        taken = previous.take(module, content)
        if taken is None or has_hash(module.location, self._plan.optimize):
            return size
        self._modules[place] = self._freeze(module, taken._replace(mtime=mtime, size=size))
        self.reused += 1
        return None

    def _compile(self, sizes: dict[int, int], jobs: int, progress: Progress | None) -> None:
        """Compile the modules at these positions in the plan; the values are their files' sizes."""
        # deferred: not needed if everything was reused
        from frozenfinder.freezer.compile.pool import compile_all

        modules = self._plan.modules
        done = len(modules) - len(sizes)
        places = list(sizes)
        tasks = [self._task(modules[place]) for place in places]
        compiler = Compiler(
            self._plan.optimize,
            strip_docstrings=self._plan.strip_docstrings,
            epoch=self._epoch,
        )
        for number, compiled in compile_all(compiler, tasks, list(sizes.values()), jobs):
            module = modules[places[number]]
            self._add_compiled(places[number], module, compiled)
            done += 1
            if progress is not None:
                progress(done, len(modules), module.name)

    def _task(self, module: Module) -> Task:
        sourceless = module.kind == "sourceless"
        with_source = self._plan.with_source and not sourceless
        return Task(module.location, module.path, sourceless, with_source)

    def _add_compiled(self, place: int, module: Module, compiled: Compiled) -> None:
        if compiled.code is None:
            self._leave_out(module, compiled.reason or "")
            return
        self._modules[place] = self._freeze(module, compiled)
        self.warnings += [(module.name, warning) for warning in compiled.warnings]
        if compiled.reused:
            self.from_pyc += 1
        else:
            self.compiled += 1

    def _freeze(self, module: Module, compiled: Compiled) -> Frozen:
        entry = self._entry(module, compiled.mtime, compiled.size)
        entry.text_digest = compiled.digest
        if compiled.check != "time":
            entry.check = compiled.check
        entry.extras_size = len(compiled.patterns)
        return Frozen(entry, (compiled.code or b"") + compiled.patterns, compiled.text)

    def _add_patterns(self) -> None:
        """Add the recorded patterns that no module has to `re`: its cache is for all modules.

        `re` has no patterns of its own; those in a previous registry belong to its recorded run.
        """
        place = next((at for at, each in self._modules.items() if each.entry.name == "re"), None)
        if place is None:
            return
        frozen = self._modules[place]
        if not self._plan.patterns and not frozen.entry.extras_size:
            return
        # deferred: `ast` and `re` are slow to import
        from frozenfinder.freezer.compile.expressions import pack_keys, parse_key, unpack_keys

        known: set[object] = set()
        for each in self._modules.values():
            size = each.entry.extras_size if each is not frozen else 0
            known.update(unpack_keys(each.blob[-size:] if size else b""))
        missing = sorted(set(map(parse_key, self._plan.patterns)) - known, key=repr)
        code = frozen.blob[: len(frozen.blob) - frozen.entry.extras_size]
        packed = pack_keys(missing)
        frozen.entry.extras_size = len(packed)
        self._modules[place] = frozen._replace(blob=code + packed)

    def _add_texts(self) -> None:
        """Add the recorded texts to the modules that compile them, if their sources are as then."""
        if not self._plan.texts:
            return
        # deferred: `ast` and `dis` are slow to import
        from frozenfinder.freezer.compile.texts import compile_texts, pack_extras, parse_text

        asked: dict[str, dict[int, list[str]]] = {}
        for module, line, text in map(parse_text, self._plan.texts):
            asked.setdefault(module, {}).setdefault(line, []).append(text)
        for place, frozen in self._modules.items():
            entry = frozen.entry
            if entry.name not in asked or entry.kind != "source":
                continue
            code = frozen.blob[: len(frozen.blob) - entry.extras_size]
            source = _read_frozen(self._plan.modules[place].location, entry)
            if source is None:
                continue
            sites = compile_texts(
                source, marshal.loads(code), asked[entry.name], self._plan.optimize
            )
            self.texts += sum(len(texts) for *_, texts in sites)
            packed = pack_extras(frozen.blob[len(code) :], sites)
            entry.extras_size = len(packed)
            self._modules[place] = frozen._replace(blob=code + packed)

    def _add_lazy(self, progress: Progress | None) -> None:
        """Add lazy code to the modules with source in which an import can wait."""
        # deferred: few freezes need them
        from frozenfinder.freezer.defer.program import LazyProgram
        from frozenfinder.freezer.discovery.search import Search
        from frozenfinder.lazy import join

        modules = self._plan.modules
        program = LazyProgram(self._plan, Search(sys.path).find)
        for number, (place, frozen) in enumerate(list(self._modules.items()), 1):
            if progress is not None:
                progress(number, len(self._modules), frozen.entry.name)
            if modules[place].kind != "source":
                continue
            outcome = program.make(modules[place])
            if outcome.code and _read_frozen(modules[place].location, frozen.entry) is None:
                outcome = replace(outcome, lazy=(), whole=_CHANGED, code=b"")
            self.outcomes[outcome.name] = outcome
            if not outcome.code:
                continue
            size = len(frozen.blob) - frozen.entry.extras_size
            extra = join(frozen.blob[size:], outcome.code)
            frozen.entry.extras_size = len(extra)
            self._modules[place] = frozen._replace(blob=frozen.blob[:size] + extra)

    def make_eager(self, reasons: Mapping[str, str]) -> None:
        """Take the lazy code off modules that were found to differ with it."""
        # deferred: few freezes need it
        from frozenfinder.lazy import split

        for place, frozen in self._modules.items():
            entry = frozen.entry
            reason = reasons.get(entry.origname)
            if reason is None or not entry.extras_size:
                continue
            size = len(frozen.blob) - entry.extras_size
            patterns, _ = split(memoryview(frozen.blob)[size:])
            entry.extras_size = len(patterns)
            self._modules[place] = frozen._replace(blob=frozen.blob[:size] + bytes(patterns))
            outcome = self.outcomes[entry.origname]
            self.outcomes[entry.origname] = replace(outcome, lazy=(), whole=reason, code=b"")

    def _add_aliases(self) -> None:
        """Give each alias the code of its target."""
        targets = {frozen.entry.name: frozen for frozen in self._modules.values()}
        for place, module in enumerate(self._plan.modules):
            if module.kind != "alias":
                continue
            target = targets.get(module.origname or "")
            if target is None:
                reason = f"is an alias of {module.origname!r}, which is not in the registry"
                self._leave_out(module, reason)
                continue
            entry = self._entry(module, target.entry.mtime, target.entry.source_size)
            entry.kind, entry.is_package = target.entry.kind, target.entry.is_package
            entry.text_digest, entry.check = target.entry.text_digest, target.entry.check
            entry.extras_size = target.entry.extras_size
            self._modules[place] = target._replace(entry=entry)

    def _leave_out(self, module: Module, reason: str) -> None:
        if module.name in self._plan.named:
            raise FreezeError(
                f"module {module.name!r}: {module.location!r} {reason}; "
                "it was requested by name, so it cannot be left out",
                module=module.name,
            )
        self._omit(module.name, module.location, reason)

    def _omit(self, name: str, location: str, reason: str) -> None:
        self.omitted.append(Omission(name, location, reason))

    def _entry(self, module: Module, mtime: int = 0, size: int = 0) -> FrozenEntry:
        self.clamped += mtime > self._latest
        mtime = min(mtime, self._latest)
        has_state = self._epoch is None and module.kind in OVERLAY_KINDS
        return FrozenEntry(
            module.name,
            origname=module.origname,
            table=module.table,  # type: ignore[arg-type]  # one of `TABLES`
            kind=module.kind,  # type: ignore[arg-type]  # or "alias", for a short time
            is_package=module.is_package,
            lay_out=module.name in self._plan.lay_out,
            root=self._numbers[module.root],
            path=module.path,
            mtime=mtime,
            source_size=size,
            check=self._find_check(module, mtime),
            state=self._states.read(module) if has_state else 0,
        )

    def _find_check(self, module: Module, mtime: int) -> Check:
        """What the time of a source shows; the kernel does not give times of whole seconds."""
        if module.kind != "source":
            return "time"
        if says_nothing(mtime, self._epoch):
            return "content"
        try:
            is_whole = os.stat(module.location).st_mtime_ns % 1_000_000_000 == 0
        except OSError:  # it has just been read
            is_whole = True
        return "place" if is_whole else "time"

    def _file_entry(self, file: DataFile, mtime: int, size: int) -> FrozenEntry:
        return FrozenEntry(
            file.path,
            kind="data",
            root=self._numbers[file.root],
            path=file.path,
            mtime=min(mtime, self._latest),
            source_size=size,
        )


def _read_frozen(location: str, entry: FrozenEntry) -> bytes | None:
    """The source of an entry, or None if it is not the one that the code was compiled from."""
    try:
        source, _, _ = _read(location)
    except OSError:
        return None
    return source if digest(source) == entry.text_digest and entry.check != "never" else None


def _read(location: str) -> tuple[bytes, int, int]:
    """The content of a file, and its stamp."""
    with open(location, "rb") as opened:
        return opened.read(), *stamp(os.fstat(opened.fileno()))
