"""Damaged registries by the thousand: whatever the bytes, nothing happens but documented errors.

As a program it makes mutants in worker processes, and prints what became of them as JSON:

    python -m programs.fuzz_registry --mutants 100000 --jobs 2
    python -m programs.fuzz_registry --only 4711     # one of them, in this process, with traceback
    python -m programs.fuzz_registry --truncations   # a registry of 64 KiB cut to every length

A worker notes the number of each mutant before it begins with it. So a crash, or a mutant that
takes longer than `PATIENCE`, is known by its number, and another worker goes on with the next one.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from support.mutants import BASES, NAMES, Mutant, make_mutant
from support.registries import (
    build_registry,
    frozen,
    reseal,
    section_entry,
    section_range,
    set_word,
)

from frozenfinder.cli.verify import find_damage
from frozenfinder.closed.finder import ClosedFinder
from frozenfinder.closed.loader import ClosedExtensionLoader, ClosedLoader
from frozenfinder.errors import RegistryError
from frozenfinder.native.parcel import unpack_parcel
from frozenfinder.runtime.finder import FrozenFinder
from frozenfinder.runtime.layout import FrozenEntry
from frozenfinder.runtime.lock import ImportLock
from frozenfinder.runtime.registry import Registry

WORKER: "list[str | Path]" = ["-m", "programs.fuzz_registry"]
"""The program that judges some of the mutants, from the folder of the tests."""

PATIENCE = 20.0
"""Seconds after which a mutant counts as hung."""

STARTUP = 120.0
"""Seconds that a worker may take to begin."""

MEMORY = 2 << 30
"""Bytes that a worker may have: a wild number that is allocated for is an error of its own."""

ABSENT = ("", "pkg.absent", "absent", "pkg.\ud800", "a\0b", "é" * 300)


class WrongError(Exception):
    """What a mutant did and should not have; the argument says what."""


def collect(registry: Registry) -> "tuple[set[bytes], set[bytes], set[bytes]]":
    """The code, the sources and the data files of a registry."""
    entries = list(registry.entries())
    code = {bytes(registry.read_blob(entry)) for entry in entries}
    texts = {bytes(registry.read_text(entry) or b"") for entry in entries}
    files = {bytes(registry.read_blob(entry)) for entry in registry.files()}
    return code, texts, files


_COLLECTED = [collect(Registry.from_bytes(base)) for base in set(BASES)]
CODE, TEXTS, FILES = (set[bytes]().union(*each, [b""]) for each in zip(*_COLLECTED, strict=True))
CONTENT = CODE | TEXTS | FILES


def judge(mutant: Mutant, *, thorough: bool) -> str:
    """What became of a mutant: "refused", "damaged" or "intact"; WrongError, or what else."""
    try:
        registry = Registry.from_bytes(mutant.data, path="/x/app.frz")
    except RegistryError:
        return "refused"
    damaged = 0
    for probe in _probes(registry, mutant, thorough):
        try:
            probe()
        except RegistryError:
            damaged += 1
    return "damaged" if damaged else "intact"


def _probes(registry: Registry, mutant: Mutant, thorough: bool) -> "Iterator[Callable[[], object]]":
    """Everything that a registry can be asked, each apart: damage in one is not in the others."""
    yield registry.info
    yield lambda: _read(registry, registry.entries(), mutant)
    yield lambda: _read(registry, registry.files(), mutant)
    yield lambda: list(registry.file_names())
    finder = ClosedFinder(registry, ImportLock())
    for name in (*NAMES, *ABSENT):
        yield lambda name=name: _find(registry, name)  # type: ignore[misc]
        yield lambda name=name: _run(finder, name, mutant)  # type: ignore[misc]
    yield lambda: list(finder.iter_modules("", "pkg"))
    yield lambda: _read_file(finder, "/x/app.frz/pkg/data.txt")
    if thorough:
        yield lambda: [str(error) for error in find_damage(mutant.data, registry.path)]
        yield lambda: [each.files for each in finder.find_distributions()]
        yield lambda: [path.is_dir() for path in finder.find_path("").iterdir()]
        yield lambda: _overlay(registry)


def _expect(found: bytes, among: "set[bytes]", what: str) -> None:
    if found not in among:
        raise WrongError(f"{what} was not frozen: {found[:60]!r}")


def _read(registry: Registry, entries: "Iterable[FrozenEntry]", mutant: Mutant) -> None:
    for entry in entries:
        content = bytes(registry.read_blob(entry))
        text = bytes(registry.read_text(entry) or b"")
        if not mutant.forged:
            _expect(content, CONTENT, f"content of {entry!r}")
            _expect(text, CONTENT, f"text of {entry!r}")
        if entry.kind == "extension" and text:
            unpack_parcel(text, registry.path, 0)


def _find(registry: Registry, name: str) -> None:
    """`_imp`'s functions: the words of CPython are ImportErrors that are not ours."""
    for function in (registry.is_frozen, registry.is_frozen_package, registry.get_frozen_object):
        try:
            function(name)
        except RegistryError:
            raise
        except ImportError:
            pass
    try:
        found = registry.find_frozen(name, withdata=True)
    except RegistryError:
        raise
    except ImportError:
        return
    if found is not None:
        _expect(bytes(found[0] or b""), CONTENT, f"data of {name!r}")


def _run(finder: ClosedFinder, name: str, mutant: Mutant) -> None:
    """What an import runs: code that was frozen, and where no digest was forged, by that name."""
    try:
        entry = finder.registry.find_entry(name)
        if entry is not None and entry.kind == "namespace" and "." in name:
            return  # importlib asks when the parent is imported, and not before
        spec = finder.find_spec(name)
        if spec is None or entry is None:
            return
        if isinstance(spec.loader, ClosedExtensionLoader) and not entry.size:
            finder.extract(entry)  # others would go to the user's cache
        if not isinstance(spec.loader, ClosedLoader):
            return
        code = spec.loader.get_code(name)
    except RegistryError:
        raise
    except ImportError:
        return
    namespace: dict[str, object] = {}
    exec(code, namespace)
    ran = namespace.get("RAN")
    if not isinstance(ran, str) or (ran != name and not mutant.resealed):
        raise WrongError(f"import of {name!r} ran the code of {ran!r}")


def _read_file(finder: ClosedFinder, path: str) -> None:
    with suppress(OSError):  # the registry lacks it
        _expect(finder.get_data(path), CONTENT, f"content of {path!r}")


def _overlay(registry: Registry) -> None:
    """Sources that are not there: overlay serves nothing, and warns of damage at most."""
    finder = FrozenFinder(registry, ImportLock())
    with warnings.catch_warnings(category=RuntimeWarning, action="ignore"):
        for name in NAMES:
            if finder.find_spec(name) is not None:
                raise WrongError(f"overlay serves {name!r}, whose source does not exist")


class Tally:
    """What became of a run of mutants."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.findings: list[dict[str, object]] = []

    def find(self, number: int, kind: str, message: str) -> None:
        self.outcomes[kind] += 1
        self.findings.append({"number": number, "kind": kind, "message": message})


def work(first: int, count: int, seed: int, progress: str) -> None:
    """The worker: judge mutants, and print the tally as JSON."""
    _limit_memory()
    os.environ["FROZENFINDER_CACHE"] = f"{progress}-cache"
    tally = Tally()
    descriptor = os.open(progress, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    for number in range(first, first + count):
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, number.to_bytes(8, "little"))
        try:
            outcome = judge(make_mutant(number, seed), thorough=number % 16 == 0)
        except WrongError as error:
            tally.find(number, "wrong code", str(error))
        except Exception as error:  # noqa: BLE001 - what is looked for
            tally.find(number, "wrong exception", f"{type(error).__name__}: {error}"[:300])
        else:
            tally.outcomes[outcome] += 1
    os.close(descriptor)
    print(json.dumps({"outcomes": tally.outcomes, "findings": tally.findings}))


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Worker:
    """A process that judges a range of mutants, and the processes that go on where one died."""

    def __init__(self, first: int, count: int, seed: int, folder: Path) -> None:
        self._next = first
        self._end = first + count
        self._seed = seed
        self._folder = folder
        self._progress = folder / f"progress-{first}"
        self._start()

    def _start(self) -> None:
        self._note: int | None = None
        self._progress.write_bytes(b"")
        argv = [self._next, self._end - self._next, self._seed, self._progress]
        self._since = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, *WORKER, "--worker", *map(str, argv)],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
        )

    def check(self, tally: Tally) -> bool:
        """Take in what has happened; whether all is done."""
        status = self._process.poll()
        number = self._read_progress()
        if number != self._note:
            self._note, self._since = number, time.monotonic()
        if status is None:
            patience = STARTUP if number is None else PATIENCE
            if time.monotonic() - self._since < patience:
                return False
            self._process.kill()
            kind = "hang"
        else:
            kind = "crash"
        output = self._process.communicate()[0]
        if status == 0:
            result = json.loads(output)
            tally.outcomes.update(result["outcomes"])
            tally.findings += result["findings"]
            return True
        number = self._next if number is None else number
        tally.find(number, kind, _name_status(self._process.returncode))
        # what the process had found before died with it: its mutants are judged again, apart
        if number > self._next:
            again = Worker(self._next, number - self._next, self._seed, self._folder)
            while not again.check(tally):
                time.sleep(0.01)
        self._next = number + 1
        if self._next >= self._end:
            return True
        self._start()
        return False

    def _read_progress(self) -> int | None:
        """The mutant that is being judged, None before the first."""
        written = self._progress.read_bytes()
        return int.from_bytes(written, "little") if written else None


def _name_status(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"exit status {status}"


def fuzz(mutants: int, *, seed: int = 0, jobs: int = 1, first: int = 0) -> Tally:
    """Judge so many mutants in so many processes at a time."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        share = -(-mutants // jobs)
        starts = range(first, first + mutants, share)
        workers = [
            Worker(start, min(share, first + mutants - start), seed, Path(folder))
            for start in starts
        ]
        while workers:
            workers = [worker for worker in workers if not worker.check(tally)]
            time.sleep(0.02)
    return tally


def make_large(size: int = 1 << 16) -> bytes:
    """A registry of at least that size."""
    source = "RAN = __name__\nTABLE = " + repr(list(range(200))) + "\n"
    count = 8
    while True:
        data = build_registry(
            *[frozen(f"pkg{at % 7}.mod{at}", source, text=source.encode()) for at in range(count)]
        )
        if len(data) >= size:
            return data
        count += 8


def cut(data: bytes, step: int = 1) -> Tally:
    """Cut a registry to every length: as it is, with a header that fits, and while it is open.

    Every way has to be refused, at the latest when the last that is left is read.
    """
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.frz"
        path.write_bytes(data)
        opened = Registry.open(path)
        entries = sorted(opened.entries(), key=lambda entry: entry.offset)
        for size in range(len(data) - 1, -1, -step):
            os.truncate(path, size)
            ways: dict[str, Callable[[], object]] = {
                "as it is": partial(Registry.from_bytes, data[:size]),
                "with a header that fits": partial(_read_all, _shorten(data, size)),
                "while it is open": partial(_read_cut, opened, entries, size),
            }
            for way, attempt in ways.items():
                try:
                    attempt()
                except RegistryError:
                    tally.outcomes["refused"] += 1
                except Exception as error:  # noqa: BLE001 - what is looked for
                    message = f"{way}: {type(error).__name__}: {error}"
                    tally.find(size, "wrong exception", message)
                else:
                    tally.find(size, "not refused", way)
        opened.close()
    return tally


def _shorten(data: bytes, size: int) -> bytes:
    """Cut, and the size of the registry and of its blobs made to fit, with their digests."""
    if size < 320:
        return data[:size]
    data = set_word(data[:size], 64, size)
    start, _ = section_range(data, "blobs")
    if start < size:
        data = set_word(data, section_entry("blobs") + 8, size - start)
    return reseal(data)


def _read_all(data: bytes) -> None:
    registry = Registry.from_bytes(data)
    for entry in registry.entries():
        registry.read_blob(entry)
        registry.read_text(entry)


def _read_cut(opened: Registry, entries: "list[FrozenEntry]", size: int) -> None:
    """Look up and read the module that the cut goes through, with nothing read before."""
    for window in (opened._index_window, opened._blob_window, opened._boot_window):
        window.forget()
    opened._modules._shards = []
    opened._modules._tops.clear()
    at = size - opened.header.sections["blobs"][0]
    for known in entries:
        if at < known.text_offset + known.text_size:
            entry = opened.find_entry(known.name)
            assert entry is not None
            opened.read_blob(entry)
            opened.read_text(entry)
            return


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="NUMBER")
    parser.add_argument("--truncations", action="store_true")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    options = make_parser().parse_args()
    if options.worker:
        first, count, seed, progress = options.worker
        work(int(first), int(count), int(seed), progress)
        return 0
    if options.only is not None:
        mutant = make_mutant(options.only, options.seed)
        print(mutant.story, mutant.resealed, judge(mutant, thorough=True))
        return 0
    begin = time.perf_counter()
    if options.truncations:
        tally = cut(make_large())
    else:
        tally = fuzz(options.mutants, seed=options.seed, jobs=options.jobs)
    result = {
        "python": sys.version.split()[0],
        "outcomes": dict(sorted(tally.outcomes.items())),
        "findings": tally.findings[:20],
        "seconds": round(time.perf_counter() - begin, 1),
    }
    print(json.dumps(result, indent=2))
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
