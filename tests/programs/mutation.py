"""Mutation testing: of a module that is changed a little, some test has to fail.

    python -m programs.mutation                           # every mutant of every module
    python -m programs.mutation --sample 200 layout lock  # so many of each, at random

The mutants are cosmic-ray's. Each is written into a copy of the tree and tested by a fork of a
process that has pytest imported already, on every core. Tests that are quick and have found others
come first. Survivors are printed, with their line and the change; `docs/explanation/mutants.md`
explains those that there are.

Left out are mutants that differ in annotations and in what only type checkers see: they run as the
original does.

Not mutmut: it imports `os` in every module that it changes, which the run-time half does not bear.
"""

import argparse
import ast
import json
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from difflib import ndiff
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pytest
from cosmic_ray.ast import ast_nodes, get_ast  # type: ignore[import-not-found]
from cosmic_ray.mutating import MutationVisitor  # type: ignore[import-not-found]
from cosmic_ray.plugins import get_operator, operator_names  # type: ignore[import-not-found]

ROOT = Path(__file__).parents[2]
TESTS = {
    "layout": ("test_layout", "test_format"),
    "pack": ("test_layout", "test_format"),
    "registry": ("test_registry", "test_faults", "test_trust"),
    "system": ("test_system", "test_registry", "test_hooks"),
    "lock": ("test_lock", "test_fork", "test_threads"),
    "collector": ("test_collector", "test_fork"),
    "fixups": ("test_fixups",),
    "trust": ("test_trust",),
}
"""The tests that hold each module. No other module of the package has one of these names."""

SLOW = (
    "any_bit_flipped",
    "cost_the_same",
    "every_call_that_fails",
    "500_children",
    "plain_lock",
    "while_daemon_threads",
    "while_threads_do",
    "_graph_",
)
"""Words in the names of tests that take seconds, and tell of a mutant no more than the others."""

CPU_LIMIT = 10
MEMORY_LIMIT = 1 << 32
"""Of a process of the tests, in seconds and bytes: a mutant that runs away is killed."""

Mutant = tuple[str, int]
"""An operator's name, and at which of the places that it can change it does."""


class Strip(ast.NodeTransformer):
    """Take out what does not run."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if "TYPE_CHECKING" in ast.dump(node.test) else self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return None if "TYPE_CHECKING" in ast.dump(node) else self.generic_visit(node)


def find_module(name: str) -> Path:
    """The module's file, relative to the tree."""
    (path,) = (ROOT / "frozenfinder").rglob(f"{name}.py")
    return path.relative_to(ROOT)


def dump(source: str) -> str:
    return ast.dump(Strip().visit(ast.parse(source)))


class Module:
    """The mutants of one module."""

    def __init__(self, path: Path) -> None:
        self.source = path.read_text("utf-8")
        self._dumped = dump(self.source)
        self._pickled = pickle.dumps(get_ast(self.source))

    def mutants(self) -> Iterator[Mutant]:
        tree = get_ast(self.source)
        for name in operator_names():
            operator = get_operator(name)
            if not operator.arguments():
                places = [len([*operator().mutation_positions(node)]) for node in ast_nodes(tree)]
                yield from ((name, at) for at in range(sum(places)))

    def mutate(self, mutant: Mutant) -> str | None:
        """The changed source; None where it runs as the original does, or is none."""
        name, at = mutant
        visitor = MutationVisitor(at, get_operator(name)())
        source: str = visitor.walk(pickle.loads(self._pickled)).get_code()
        try:
            return None if dump(source) == self._dumped else source
        except SyntaxError:
            return None

    def difference(self, source: str) -> list[str]:
        """The number of the first line that differs, and the lines."""
        old, new = self.source.splitlines(), source.splitlines()
        changed = [line for line in ndiff(old, new) if line[:1] in "+-"]
        pairs = enumerate(zip(old, new, strict=False), 1)
        return [str(next(number for number, (was, is_) in pairs if was != is_)), *changed]


def copy_tree(folder: Path) -> None:
    for name in ("frozenfinder", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "tox.ini"):
        shutil.copy(ROOT / name, folder / name)


def make_environment(folder: Path) -> Path:
    """The interpreter of an environment that has this one's packages, and the copied tree."""
    venv.create(folder / "env")
    layout = sysconfig.get_preferred_scheme("prefix")
    paths = sysconfig.get_paths(layout, vars={"base": str(folder / "env")})
    own = dict.fromkeys(path for path in sys.path if path.endswith("site-packages"))
    lines = [str(folder), *own]
    Path(paths["purelib"], "tree.pth").write_text("\n".join(lines) + "\n")
    return Path(paths["scripts"], Path(sys.executable).name)


class Order:
    """A plugin of pytest: tests that are quick and have failed often come first."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def _cost(self, item: pytest.Item) -> float:
        return self._seconds[item.nodeid] / (1 + self._failures[item.nodeid])

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=self._cost)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note it for `learn`, which another process calls."""
        with Path("reports").open("a", encoding="utf-8") as file:
            print(json.dumps([report.nodeid, report.duration, report.failed]), file=file)

    def learn(self, folder: Path) -> None:
        for line in (folder / "reports").read_text("utf-8").splitlines():
            name, seconds, failed = json.loads(line)
            self._seconds[name] = max(seconds, self._seconds[name])
            self._failures[name] += failed


def run_tests(folder: Path, python: Path, tests: Sequence[str], order: Order) -> int:
    """The status that pytest ends with, in a process that has been forked for it."""
    os.setsid()
    os.chdir(folder)
    sys.executable = str(python)
    sys.path[:1] = [str(folder), str(folder / "tests")]
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    options = ["-xq", "--tb=line", "--assert=plain", "-pno:cacheprovider", "-pno:xdist"]
    options += ["--hypothesis-profile=mutation", "-k", f"not ({' or '.join(SLOW)})"]
    return int(pytest.main([*options, *(f"tests/{name}.py" for name in tests)], plugins=[order]))


class Tests:
    """The tests of one module."""

    def __init__(self, folder: Path, python: Path, module: str) -> None:
        self.folder = folder
        self.python = python
        self.hung = 0
        self._tests = TESTS[module]
        self._order = Order()
        self._limit = 600.0
        begin = time.monotonic()
        if not self.all_pass():
            log = (folder / "log").read_text("utf-8")
            sys.exit(f"the tests of {module} fail without a mutant:\n{log}")
        self._limit = 5 + 4 * (time.monotonic() - begin)

    def all_pass(self) -> bool:
        reports = self.folder / "reports"
        reports.write_bytes(b"")
        child = os.fork()
        if not child:
            status = 1
            try:
                status = run_tests(self.folder, self.python, self._tests, self._order)
            finally:
                sys.stdout.flush()
                os._exit(status)
        end = time.monotonic() + self._limit
        done, status = 0, 0
        while not done and time.monotonic() < end:
            time.sleep(0.01)
            done, status = os.waitpid(child, os.WNOHANG)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not done:
            os.waitpid(child, 0)
            self.hung += 1
        self._order.learn(self.folder)
        return done != 0 and status == 0


class Result(NamedTuple):
    """What became of some mutants of a module."""

    tested: int
    killed: int
    hung: int


def test_mutants(module: str, mutants: Sequence[Mutant], limit: int) -> Result:
    """Test so many of the mutants of one module; print those that survive."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_tree(folder)
        path = folder / find_module(module)
        original = Module(path)
        tests = Tests(folder, make_environment(folder), module)
        tested, survivors = 0, 0
        for mutant in mutants:
            source = original.mutate(mutant)
            if source is None:
                continue
            path.write_text(source, "utf-8")
            tested += 1
            os.utime(path, (tested, tested))  # or the `.pyc` of one of its size would be taken
            if tests.all_pass():
                survivors += 1
                line, *changed = original.difference(source)
                where = f"{module}.py:{line}: {mutant[0].removeprefix('core/')}"
                print("\n".join([where, *map(str.rstrip, changed)]), flush=True)
            if tested == limit:
                break
    return Result(tested, tested - survivors, tests.hung)


def test_module(name: str, sample: int, seed: int, jobs: int) -> dict[str, int]:
    """Test mutants of one module: so many at random, or all of them for 0; some in each process."""
    mutants = sorted(Module(ROOT / find_module(name)).mutants())
    random.Random(seed).shuffle(mutants)
    begin = time.perf_counter()
    shares = [mutants[job::jobs] for job in range(jobs)]
    limits = [-(-sample // jobs)] * jobs
    with ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        results = pool.map(test_mutants, [name] * jobs, shares, limits)
        total = Result(*map(sum, zip(*results, strict=True)))
    seconds = round(time.perf_counter() - begin)
    return {"mutants": len(mutants), **total._asdict(), "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=[*TESTS], choices=[*TESTS])
    parser.add_argument("--sample", type=int, default=0, help="mutants of each; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once")
    options = parser.parse_args()
    for module in options.modules:
        result = test_module(module, options.sample, options.seed, options.jobs)
        print(json.dumps({module: result}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
