"""Run CPython's own test-suites with the standard library and its tests served from a registry.

    python -m programs.cpython_suites [--fast-exit] [--jobs N] [--testdir DIR] [SUITE ...]

Makes two virtual environments of the interpreter that runs this: one as it comes, and one in which
a registry of the standard library and the `test` package is enabled, with `--fast-exit` if asked.
Runs the suites in both, and
compares what became of every test. Where that differs, the suite runs twice more in both: a test
that has had the same outcome on both sides in any of the runs is flaky.

Prints the counts and the time of each suite, and what differs. The exit status is 1 if something
differs that `cpython_suites.toml` does not list, or if a suite was not served from the registry.

Some releases install their `test` package without all of its suites (3.11.7 and 3.12.1, for two).
`--testdir` names the `test` folder of another release, to take from there what is lacking.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import frozenfinder

REGRTEST = Path(__file__).with_name("regrtest.py")
DOCUMENTED = Path(__file__).with_suffix(".toml")
SIDES = ("stock", "frozen")
ROUNDS = 3
TIMEOUT = 1800.0
"""Seconds for a suite; the longest takes a few minutes."""

SUITES = (
    "test_importlib",
    "test_import",
    "test_pkgutil",
    "test_runpy",
    "test_inspect",
    "test_linecache",
    "test_traceback",
    "test_warnings",
    "test_pickle",
    "test_dataclasses",
    "test_typing",
    "test_doctest",
    "test_pdb",
    "test_unittest",
    "test_logging",
    "test_json",
    "test_email",
    "test_zipimport",
    "test_modulefinder",
    "test_cmd_line",
    "test_site",
    "test_multiprocessing_spawn",
    "test_concurrent_futures",
)
"""The names of the suites; `test_threaded_import` is a part of `test_importlib`."""

SHORT = ("test_import", "test_pkgutil", "test_runpy", "test_linecache", "test_site")

EXIT = "exit status"
"""The cell of `python -m test` itself."""

NO_CACHES = shutil.ignore_patterns("__pycache__")

Outcomes = tuple[str, ...]
"""What became of a test: more than one for failed subtests, and for tests that share an id."""


@dataclass
class Run:
    """A suite that ran once: what became of its tests, and what was served meanwhile."""

    seconds: float
    exit: str
    cells: dict[str, Outcomes]
    served: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Difference:
    """A cell that had no outcome in common on the two sides."""

    suite: str
    test: str
    stock: Outcomes
    frozen: Outcomes
    reason: str | None

    def __str__(self) -> str:
        kind = {self.stock: "regression", self.frozen: "improvement"}.get(("passed",), "change")
        stock, frozen = ", ".join(self.stock), ", ".join(self.frozen)
        return f"{kind} in {self.suite}: {self.test}: {stock} -> {frozen}"


class Bench:
    """The two environments, and what ran in them, in a directory of their own.

    `borrowed` are suites from elsewhere, which lie in a directory that is on their path.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.borrowed: list[str] = []
        self.runs: dict[tuple[str, str], list[Run]] = defaultdict(list)

    def python(self, side: str) -> Path:
        folder, name = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
        return self.root / side / folder / name

    @property
    def shelf(self) -> Path:
        return self.root / "borrowed"

    def borrow(self, suite: str, testdir: Path) -> None:
        """Take a suite that the interpreter lacks from a `test` folder of another."""
        shutil.copytree(testdir / suite, self.shelf / suite, ignore=NO_CACHES)
        self.borrowed.append(suite)

    def prepare(self, packages: Iterable[str], *options: str) -> None:
        """Make the environments; in one, freeze these packages and the stdlib, and enable that."""
        for side in SIDES:
            self._call(sys.executable, "-m", "venv", "--without-pip", self.root / side)
        python = self.python("frozen")
        asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site_packages = Path(self._call(python, "-c", asked).strip())
        package = Path(frozenfinder.__file__).parent
        shutil.copytree(package, site_packages / package.name, ignore=NO_CACHES)
        registry = self.root / "suites.frz"
        wanted = ["--stdlib", *[f"--package={package}" for package in packages]]
        if self.borrowed:
            wanted.append(f"--path={self.shelf}")
        command = (python, "-m", "frozenfinder")
        self._call(*command, "freeze", "--quiet", *wanted, "-o", registry)
        self._call(*command, "enable", *options, registry)

    def arguments(self, suite: str) -> list[str]:
        """What asks `python -m test` for a suite; it splits only its own into their modules."""
        if suite not in self.borrowed:
            return [suite]
        modules = sorted(file.stem for file in (self.shelf / suite).glob("test_*.py"))
        return ["--testdir", str(self.shelf), *[f"{suite}.{module}" for module in modules]]

    def run(self, suite: str, side: str) -> Run:
        """Run a suite on one side, and keep what it wrote beside its record."""
        at = len(self.runs[suite, side])
        record = self.root / f"{suite}-{side}-{at}.json"
        log = record.with_suffix(".log")
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.root))
        begin = time.monotonic()
        with log.open("w", encoding="utf-8") as output:
            done = subprocess.Popen(
                [self.python(side), REGRTEST, record, "-v", *self.arguments(suite)],
                cwd=folder,
                env=environment(TMPDIR=str(folder)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = str(done.wait(TIMEOUT))
            except subprocess.TimeoutExpired:
                status = "hangs"
                kill(done)
        run = read_record(record, time.monotonic() - begin, status)
        shutil.rmtree(folder, ignore_errors=True)
        self.runs[suite, side].append(run)
        return run

    def run_all(self, suites: Iterable[str], jobs: int) -> None:
        """Run each suite on both sides."""
        with ThreadPoolExecutor(jobs) as pool:
            wanted = [(suite, side) for suite in suites for side in SIDES]
            for run, (suite, side) in zip(
                pool.map(lambda pair: self.run(*pair), wanted), wanted, strict=True
            ):
                say(f"{suite} {side}: {describe(run)}")

    def differing(self, suite: str) -> Iterator[tuple[str, Outcomes, Outcomes]]:
        """The cells that have had no outcome in common, with the last one of each side."""
        stock, frozen = ([run.cells for run in self.runs[suite, side]] for side in SIDES)
        for test in sorted({test for cells in (*stock, *frozen) for test in cells}):
            seen = [{cells.get(test, ("missing",)) for cells in side} for side in (stock, frozen)]
            if not seen[0] & seen[1]:
                lasts = [side[-1].get(test, ("missing",)) for side in (stock, frozen)]
                yield test, lasts[0], lasts[1]

    def differences(self, suite: str, documented: "list[Documented]") -> list[Difference]:
        """Those cells; the exit status, which sums them up, only if it is the only one."""
        found = [
            Difference(suite, test, stock, frozen, find_reason(test, documented))
            for test, stock, frozen in self.differing(suite)
        ]
        return [each for each in found if each.test != EXIT] or found

    def is_served(self, suite: str) -> bool:
        """Whether the suite's own modules came from the registry."""
        name = suite if suite in self.borrowed else f"test.{suite}"
        return any(served.startswith(name) for served in self.runs[suite, "frozen"][0].served)

    def _call(self, *command: "str | Path") -> str:
        return subprocess.run(
            command,
            cwd=self.root,  # `-m` takes modules from here first
            env=environment(),
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout


@dataclass(frozen=True)
class Documented:
    """A cell that is known to differ, on the Python versions named, and why."""

    test: str
    python: tuple[str, ...]
    reason: str


def read_documented(path: Path = DOCUMENTED) -> list[Documented]:
    """The list's entries for the interpreter that runs this."""
    version = "{}.{}".format(*sys.version_info)
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("differs", [])
    documented = [Documented(e["test"], tuple(e["python"]), e["reason"]) for e in entries]
    return [entry for entry in documented if version in entry.python]


def find_reason(test: str, documented: list[Documented]) -> str | None:
    return next((entry.reason for entry in documented if fnmatchcase(test, entry.test)), None)


def read_record(record: Path, seconds: float, status: str) -> Run:
    """What `regrtest.py` has written; of a run that crashed, what it wrote until then."""
    outcomes: dict[str, list[str]] = defaultdict(list)
    run = Run(seconds, status, {})
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    for line in map(json.loads, lines):
        if "test" in line:
            outcomes[line["test"]].append(line["outcome"])
        else:
            run.served = line["served"]
    run.cells = {test: tuple(sorted(found)) for test, found in outcomes.items()}
    run.cells[EXIT] = (status,)
    return run


def environment(**extra: str) -> dict[str, str]:
    """This process's variables without those that tell Python or frozenfinder what to do."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FROZENFINDER"))}
    return kept | extra


def kill(process: "subprocess.Popen[Any]") -> None:
    """End a process with all that it has started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def describe(run: Run) -> str:
    cells = [set(outcomes) for test, outcomes in run.cells.items() if test != EXIT]
    counts = Counter(outcome for outcomes in cells for outcome in outcomes)
    parts = [f"{counts[name]} {name}" for name in sorted(counts)]
    return ", ".join([*parts, f"exit status {run.exit}", f"{run.seconds:.1f} s"])


def say(line: str) -> None:
    print(line, flush=True)


def is_installed(suite: str) -> bool:
    return find_spec(f"test.{suite}") is not None


def gather(bench: Bench, suites: Iterable[str], testdir: Path | None) -> list[str]:
    """Those suites that there are, borrowed ones among them; says where the others are not."""
    found = []
    for suite in suites:
        if not is_installed(suite):
            if testdir is None or not (testdir / suite).is_dir():
                say(f"{suite}: not in this interpreter's test package")
                continue
            bench.borrow(suite, testdir)
        found.append(suite)
    return found


def compare(bench: Bench, suites: list[str], jobs: int) -> list[Difference]:
    """Run the suites; again, to tell flaky cells, those with cells that differ and should not."""
    documented = read_documented()
    pending = suites
    for at in range(ROUNDS):
        bench.run_all(pending, 1 if at else jobs)
        pending = [
            suite
            for suite in pending
            if any(found.reason is None for found in bench.differences(suite, documented))
        ]
        if not pending:
            break
    return [found for suite in suites for found in bench.differences(suite, documented)]


def report(bench: Bench, suites: list[str], differences: list[Difference]) -> bool:
    """Print what came out; whether all is as it should be."""
    for found in differences:
        say(f"{found}\n    {found.reason or 'not documented'}")
    unserved = [suite for suite in suites if not bench.is_served(suite)]
    for suite in unserved:
        say(f"not served from the registry: {suite}")
    tests = sum(len(bench.runs[suite, "stock"][0].cells.keys() - {EXIT}) for suite in suites)
    served = sum(len(bench.runs[suite, "frozen"][0].served) for suite in suites)
    unknown = sum(found.reason is None for found in differences)
    say(
        f"Python {sys.version.split()[0]}: {len(suites)} suites, {tests} tests, "
        f"{len(differences)} differ, {unknown} of them undocumented; {served} modules served"
    )
    return not unknown and not unserved


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="default: all of them")
    parser.add_argument("--short", action="store_true", help="a few suites that take seconds")
    parser.add_argument("--fast-exit", action="store_true", help="as `enable --fast-exit`")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at a time")
    parser.add_argument("--testdir", type=Path, help="a test folder with suites that are lacking")
    parser.add_argument("--keep", type=Path, help="an empty directory that all of it is left in")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    wanted = options.suites or (SHORT if options.short else SUITES)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        root = (options.keep or Path(temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        bench = Bench(root)
        suites = gather(bench, wanted, options.testdir)
        runner = ("test.libregrtest", "test.support")
        few = [*runner, *[f"test.{suite}" for suite in suites if is_installed(suite)]]
        exit_option = ["--fast-exit"] if options.fast_exit else []
        bench.prepare(few if options.short else ["test"], *exit_option)
        return not report(bench, suites, compare(bench, suites, options.jobs))


if __name__ == "__main__":
    sys.exit(main())
