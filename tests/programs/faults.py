"""Faults: every system call in turn fails, is cut short or is the last; and memory runs out.

As a program it prints what came of it, as JSON:

    python -m programs.faults                  # every call and every kind of fault
    python -m programs.faults --kills 1000     # and so many kills at random moments of a freeze
    python -m programs.faults --step 7         # every seventh call

`faults.c` counts the C library's calls and makes one of them fail. A scenario is run once for each
call that it makes. It may end well or with a documented error; then it is checked that nothing was
lost, left behind or left held, and that the same goes well without the fault. It needs Linux and
a C compiler.
"""

import argparse
import ctypes
import errno
import faulthandler
import gc
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from support.registries import Frozen, build_registry
from support.sources import write_tree

from frozenfinder.cli.verify import find_damage
from frozenfinder.closed.finder import ClosedFinder
from frozenfinder.errors import FreezeError
from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.native.data import COMPLETE
from frozenfinder.native.extraction import Extractor
from frozenfinder.runtime import hooks
from frozenfinder.runtime.registry import Registry

FAIL, SHORT, KILL = range(3)
KINDS = {
    "ENOSPC": (FAIL, errno.ENOSPC),
    "EIO": (FAIL, errno.EIO),
    "EINTR": (FAIL, errno.EINTR),
    "short": (SHORT, 0),
}
SOURCES = {
    "pkg/__init__.py": "NAME = __name__\n",
    "pkg/mod.py": "import pkg\nVALUE = pkg.NAME\n",
    "pkg/data.txt": "data\n",
    "single.py": "VALUE = 1\n" * 2000,
}


STARVED = (MemoryError, RuntimeError, SystemError, TypeError)
"""What CPython's own functions make of an allocation that fails: "can't allocate lock", for one.

Some versions crash, too. All that is asked of this package is that nothing stays half done.
"""


class BrokenError(Exception):
    """What a fault has done and should not have; the argument says what."""


def expect(condition: object, complaint: str) -> None:
    if not condition:
        raise BrokenError(complaint)


def list_content(registry: bytes) -> list[tuple[str, int, int]]:
    """What a registry has, without the states of folders: a look that fails leaves one out."""
    entries = Registry.from_bytes(registry).entries()
    return [(each.name, each.digest, each.text_digest) for each in entries]


class Scenario(ABC):
    """Something that makes system calls in a folder; `errors` are the documented ones."""

    errors: tuple[type[Exception], ...] = (ImportError,)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def prepare(self) -> None:
        """Make everything as it is before."""

    @abstractmethod
    def run(self) -> object: ...

    @abstractmethod
    def check(self, result: object) -> None:
        """BrokenError where it is not as it should be after `run`, with None if that raised."""

    def check_killed(self) -> None:
        """The same after the process was killed: by default, that it goes well the next time."""
        self.check(self.run())


class FreezeScenario(Scenario):
    """A freeze to where an older registry is."""

    errors = (FreezeError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source = write_tree(folder / "src", SOURCES)
        self.output = folder / "out" / "app.frz"
        self.output.parent.mkdir()
        self.run()
        self.new = self.output.read_bytes()
        self.older = write_tree(folder / "old", {"older.py": "VALUE = 0\n"})
        freeze(discover(Manifest(paths=(str(self.older),))), self.output)
        self.old = self.output.read_bytes()

    def prepare(self) -> None:
        shutil.rmtree(self.output.parent)
        self.output.parent.mkdir()
        self.output.write_bytes(self.old)
        self.output.chmod(0o644)

    def run(self) -> object:
        return freeze(discover(Manifest(paths=(str(self.source),))), self.output, jobs=1)

    def check(self, result: object) -> None:
        left = sorted(path.name for path in self.output.parent.iterdir())
        expect(left == [self.output.name], f"left behind are {left}")
        content = self.output.read_bytes()
        if result is None:
            expect(content == self.old, "the old registry is lost")
            return
        expect(not list(find_damage(content, str(self.output))), "the new registry is damaged")
        omitted = getattr(result, "omitted", ())
        same = list_content(content) == list_content(self.new)
        expect(same or omitted, "the new registry lacks what is not reported")

    def check_killed(self) -> None:
        content = self.output.read_bytes()
        expect(content in (self.old, self.new), "there is neither the old nor the new registry")
        self.run()
        expect(self.output.read_bytes() == self.new, "it cannot be frozen again")


class ExtractScenario(Scenario):
    """An embedded extension module is put into the cache."""

    content = b"\x7fELF" + b"?" * 5000

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cache = folder / "cache"
        os.environ["FROZENFINDER_CACHE"] = str(self.cache)
        line = f"module {hashlib.sha256(self.content).hexdigest()} {len(self.content)} fast.so\n"
        parcel = f"parcel {hashlib.sha256(line.encode()).hexdigest()}\n{line}".encode()
        fields = {"kind": "extension", "path": "fast.so"}
        data = build_registry(Frozen("fast", self.content, parcel, fields))
        self.registry = Registry.from_bytes(data)

    def prepare(self) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)

    def run(self) -> object:
        entry = self.registry.find_entry("fast")
        assert entry is not None
        self.extractor = Extractor(self.registry)
        return self.extractor.extract(entry)[0]

    def check(self, result: object) -> None:
        if isinstance(result, str):
            expect(Path(result).read_bytes() == self.content, f"{result} has other content")
        left = [path.name for path in self.cache.rglob("*.tmp")]
        expect(not left, f"left behind are {left}")
        for path in self.cache.rglob("fast.so"):
            expect(path.read_bytes() == self.content, f"{path} is not whole")


class LayOutScenario(Scenario):
    """The data of a package are put into the cache as files, or else into a temporary folder."""

    errors = (ImportError, OSError)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cache = folder / "cache"
        os.environ["FROZENFINDER_CACHE"] = str(self.cache)
        self.path = folder / "data.frz"
        source = write_tree(folder / "data", SOURCES)
        freeze(discover(Manifest(paths=(str(source),))), self.path)
        self.registry = Registry.from_bytes(self.path.read_bytes())

    def prepare(self) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)
        self.registry.close()  # its number is the next one's, which costs no more calls then

    def run(self) -> object:
        self.registry = Registry.open(self.path)
        finder = ClosedFinder(self.registry, hooks.import_lock)
        finder.lay_out("pkg")
        return finder.locate("pkg/data.txt")

    def check(self, result: object) -> None:
        if isinstance(result, str):
            expect(Path(result).read_text("utf-8") == "data\n", f"{result} has other content")
        for folder in self.cache.glob("data/*/*"):
            if folder.name == COMPLETE:
                continue
            expect(folder.name == "pkg", f"left behind is {folder}")
            found = [path.name for path in folder.iterdir()]
            expect(found == ["data.txt"], f"{folder} has {found}")

    def check_killed(self) -> None:
        """What has its name is complete; what has none is removed when more is laid out."""
        for folder in self.cache.glob("data/*/pkg"):
            expect((folder / "data.txt").read_text("utf-8") == "data\n", f"{folder} is not whole")
            shutil.rmtree(folder)
        self.check(self.run())


class ImportScenario(Scenario):
    """A registry is installed, and modules are imported from it."""

    mode = "closed"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / f"{self.mode}.frz"
        self.source = write_tree(folder / self.mode, SOURCES)
        freeze(discover(Manifest(paths=(str(self.source),))), self.path)

    def prepare(self) -> None:
        hooks.uninstall()
        for name in ("pkg", "pkg.mod", "single"):
            sys.modules.pop(name, None)

    def run(self) -> object:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            self.install()
            from pkg import mod  # type: ignore[import-not-found]

        return mod

    def install(self) -> None:
        hooks.install(self.path, mode=self.mode)  # type: ignore[arg-type]

    def check(self, result: object) -> None:
        expect(hooks.import_lock.depth == 0, f"the lock has depth {hooks.import_lock.depth}")
        if result is None:
            self.prepare()
            result = self.run()
        expect(getattr(result, "VALUE", None) == "pkg", "it cannot be imported")


class OverlayScenario(ImportScenario):
    """The same in overlay mode, where stock's own reading of the source may fail too."""

    errors = (ImportError, OSError)
    mode = "overlay"

    def run(self) -> object:
        sys.path.insert(0, str(self.source))
        try:
            return super().run()
        finally:
            sys.path.remove(str(self.source))


class StockScenario(OverlayScenario):
    """The same without a registry, to tell what the interpreter does by itself."""

    mode = "stock"

    def install(self) -> None:
        """Nothing."""


SCENARIOS: dict[str, Callable[[Path], Scenario]] = {
    "freeze": FreezeScenario,
    "extract": ExtractScenario,
    "lay out": LayOutScenario,
    "closed": ImportScenario,
    "overlay": OverlayScenario,
}


class Faults:
    """The library that makes calls fail, in this process."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._arm, self._disarm = library.arm, library.disarm
        self._arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int]
        self._disarm.restype = ctypes.c_long

    def strike(
        self, number: int, kind: "tuple[int, int]", function: "Callable[[], object]"
    ) -> object:
        """What the function gives when its call of that number fails; `calls` is how many."""
        self._arm(number, *kind)
        try:
            return function()
        finally:
            self.calls = int(self._disarm())


class Tally:
    """What came of the faults, by scenario and outcome, and what should not have."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.findings: list[str] = []

    def judge(
        self, name: str, fault: str, scenario: Scenario, function: "Callable[[], object]"
    ) -> None:
        """Run the scenario with a fault, and check it."""
        result: object = None
        try:
            try:
                result = function()
                self.outcomes[f"{name} well"] += 1
            except scenario.errors as error:
                self.outcomes[f"{name} {type(error).__name__}"] += 1
            scenario.check(result)
        except Exception:  # noqa: BLE001 - what is looked for
            self.find(name, fault)

    def find(self, name: str, fault: str) -> None:
        """Note the exception that is being handled."""
        self.findings.append(f"{name} {fault}: {traceback.format_exc(limit=-6)}")


def fail_every_call(folder: Path, step: int, tally: Tally) -> None:
    """Each system call of each scenario in turn, in each way."""
    faults = Faults()
    for name, make in SCENARIOS.items():
        scenario = make(folder)
        calls = measure(faults, scenario)
        tally.outcomes[f"{name} calls"] = calls
        for number in range(1, calls + 1, step):
            for kind, how in KINDS.items():
                scenario.prepare()
                strike = partial(faults.strike, number, how, scenario.run)
                tally.judge(name, f"call {number} {kind}", scenario, strike)
            scenario.prepare()
            kill_child(name, number, faults, scenario, tally)
        scenario.prepare()


def measure(faults: Faults, scenario: Scenario) -> int:
    """How many calls a run makes, when all that it imports for the first time is imported."""
    for _ in range(2):
        scenario.prepare()
        scenario.check(faults.strike(0, (FAIL, 0), scenario.run))
    return faults.calls


def kill_child(name: str, number: int, faults: Faults, scenario: Scenario, tally: Tally) -> None:
    """Run it in a forked process that dies at the call of that number, and look at what it left."""
    child = os.fork()
    if not child:
        faults.strike(number, (KILL, 0), scenario.run)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    tally.outcomes[f"{name} killed"] += os.WIFSIGNALED(status)
    try:
        scenario.check_killed()
    except Exception:  # noqa: BLE001 - what is looked for
        tally.find(name, f"call {number} kill")


def kill_at_random(folder: Path, kills: int, tally: Tally, seed: int = 0) -> None:
    """A process that freezes over and over is killed at a random moment, so many times."""
    rng = random.Random(seed)
    scenario = FreezeScenario(folder / "kills")
    sources = (scenario.source, scenario.older)
    plans = [discover(Manifest(paths=(str(source),))) for source in sources]
    begin = time.perf_counter()
    for plan in plans:
        freeze(plan, scenario.output, jobs=1)
    both = time.perf_counter() - begin
    for _ in range(kills):
        child = os.fork()
        if not child:
            while True:
                for plan in plans:
                    freeze(plan, scenario.output, jobs=1)
        time.sleep(rng.uniform(0, 2 * both))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        content = scenario.output.read_bytes()
        tally.outcomes[f"kills {'old' if content == scenario.old else 'new'}"] += 1
        if content not in (scenario.old, scenario.new):
            tally.findings.append("kill: there is neither the old nor the new registry")
        for path in scenario.output.parent.glob(".*.tmp"):
            path.unlink()


def run_out_of_memory(folder: Path, step: int, tally: Tally) -> None:
    """Each allocation of installing and importing fails, in a forked process.

    Interpreters crash now and then, stock's own imports too: that is told, and no finding.
    """
    try:
        from _testcapi import remove_mem_hooks, set_nomemory  # type: ignore[import-not-found]
    except ImportError:
        tally.outcomes["memory skipped"] += 1
        return
    for make in (ImportScenario, OverlayScenario, StockScenario):
        scenario = make(folder / "memory")
        scenario.errors = (*STARVED, *scenario.errors)
        scenario.prepare()
        scenario.run()
        own = tally if make is not StockScenario else Tally()
        for number in _allocations(step):
            if not _starve(scenario, number, set_nomemory, remove_mem_hooks, own):
                break
        tally.outcomes |= own.outcomes
        scenario.prepare()


def _allocations(step: int) -> "Iterator[int]":
    number = 1
    while True:
        yield number
        number += step


def _starve(
    scenario: ImportScenario,
    number: int,
    set_nomemory: "Callable[[int, int], None]",
    remove_hooks: "Callable[[], None]",
    tally: Tally,
) -> bool:
    """Let the allocation of that number fail; whether there was one."""
    name = f"memory {scenario.mode}"
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        faulthandler.enable(writer)
        own = Tally()
        gc.disable()

        def run() -> object:
            set_nomemory(number, number + 1)
            try:
                return scenario.run()
            finally:
                remove_hooks()

        scenario.prepare()
        own.judge(name, f"allocation {number}", scenario, run)
        os.write(writer, json.dumps([own.outcomes, own.findings]).encode()[:60000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        output = file.read()
    _, status = os.waitpid(child, 0)
    if status:
        frames = re.findall(rb'File "[^"]*?([^"/]+)", line (\d+) in (\S+)', output)
        where = " ".join(b":".join(frame).decode() for frame in frames[:1])
        tally.outcomes[f"{name} crash at {where}"] += 1
        return True
    outcomes, findings = json.loads(output)
    tally.outcomes.update(outcomes)
    tally.findings += findings
    return bool(findings) or f"{name} well" not in outcomes or number < 2000


def build(folder: Path) -> Path:
    """The library; OSError without a C compiler."""
    library = folder / "faults.so"
    source = Path(__file__).with_suffix(".c")
    flags = ("-O1", "-shared", "-fPIC", "-U_FORTIFY_SOURCE")
    subprocess.run(["cc", *flags, "-o", library, source, "-ldl"], check=True)
    return library


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", type=int, default=1, help="every so many calls")
    parser.add_argument("--kills", type=int, default=0, help="at random moments of a freeze")
    parser.add_argument("--memory-step", type=int, default=0, help="every so many allocations")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "faults.so" not in os.environ.get("LD_PRELOAD", ""):
            env = {**os.environ, "LD_PRELOAD": str(build(folder)), "PYTHONDONTWRITEBYTECODE": "1"}
            return subprocess.run(
                [sys.executable, *sys.orig_argv[1:]], env=env, check=False
            ).returncode
        tally = Tally()
        fail_every_call(folder, options.step, tally)
        folder.joinpath("kills").mkdir()
        kill_at_random(folder, options.kills, tally)
        folder.joinpath("memory").mkdir()
        if options.memory_step:
            run_out_of_memory(folder, options.memory_step, tally)
    findings = {"number": len(tally.findings), "first": tally.findings[:10]}
    print(
        json.dumps(
            {"outcomes": dict(sorted(tally.outcomes.items())), "findings": findings}, indent=1
        )
    )
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
