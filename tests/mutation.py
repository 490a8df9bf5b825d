"""Mutation testing: of a module that is changed a little, some test has to fail.

    python tests/mutation.py                           # every mutant of every module
    python tests/mutation.py --sample 200 layout lock  # so many of each, at random

The mutants are cosmic-ray's. Each is written into a copy of the tree and tested by a fork of this
process, which has pytest imported already. Survivors are printed, with their line and the change;
`docs/explanation/mutants.md` explains those that there are.

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
from collections.abc import Iterator
from contextlib import suppress
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest
from cosmic_ray.ast import ast_nodes, get_ast  # type: ignore[import-not-found]
from cosmic_ray.mutating import MutationVisitor  # type: ignore[import-not-found]
from cosmic_ray.plugins import get_operator, operator_names  # type: ignore[import-not-found]
from hypothesis import Phase, settings

ROOT = Path(__file__).parent.parent
TESTS = {
    "layout": ("test_layout", "test_format"),
    "registry": ("test_registry", "test_faults", "test_trust"),
    "lock": ("test_lock", "test_fork", "test_threads"),
    "fixups": ("test_fixups",),
    "trust": ("test_trust",),
}
"""The tests that hold each module, in the order in which they are tried."""

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


def run_tests(folder: Path, python: Path, tests: str) -> int:
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
    settings.register_profile("mutation", derandomize=True, database=None, phases=[Phase.generate])
    settings.load_profile("mutation")
    options = ["-xq", "--tb=line", "--assert=plain", "-pno:cacheprovider", "-pno:xdist"]
    options += ["-k", f"not ({' or '.join(SLOW)})"]
    return int(pytest.main([*options, f"tests/{tests}.py"]))


class Tests:
    """The tests of one module, each file in a process of its own."""

    def __init__(self, folder: Path, python: Path, module: str) -> None:
        self.folder = folder
        self.python = python
        self.hung = 0
        self._limits = dict.fromkeys(TESTS[module], 600.0)
        for tests in self._limits:
            begin = time.monotonic()
            if not self._pass(tests):
                log = (folder / "log").read_text("utf-8")
                sys.exit(f"{tests} fails without a mutant:\n{log}")
            self._limits[tests] = 5 + 4 * (time.monotonic() - begin)

    def all_pass(self) -> bool:
        return all(map(self._pass, self._limits))

    def _pass(self, tests: str) -> bool:
        child = os.fork()
        if not child:
            status = 1
            try:
                status = run_tests(self.folder, self.python, tests)
            finally:
                sys.stdout.flush()
                os._exit(status)
        end = time.monotonic() + self._limits[tests]
        done, status = 0, 0
        while not done and time.monotonic() < end:
            time.sleep(0.01)
            done, status = os.waitpid(child, os.WNOHANG)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not done:
            os.waitpid(child, 0)
            self.hung += 1
        return done != 0 and status == 0


def test_module(folder: Path, python: Path, name: str, sample: int, seed: int) -> dict[str, Any]:
    """Test the mutants of one module."""
    path = folder / "frozenfinder" / f"{name}.py"
    module = Module(path)
    tests = Tests(folder, python, name)
    begin = time.perf_counter()
    mutants = sorted(module.mutants())
    random.Random(seed).shuffle(mutants)
    tested, survivors = 0, 0
    for mutant in mutants:
        source = module.mutate(mutant)
        if source is None:
            continue
        path.write_text(source, "utf-8")
        tested += 1
        os.utime(path, (tested, tested))  # or the `.pyc` of one of the same size would be taken
        if tests.all_pass():
            survivors += 1
            line, *changed = module.difference(source)
            print(f"{name}.py:{line}: {mutant[0].removeprefix('core/')}")
            print(*(each.rstrip() for each in changed), sep="\n")
            sys.stdout.flush()
        if tested == sample:
            break
    path.write_text(module.source, "utf-8")
    return {
        "mutants": len(mutants),
        "tested": tested,
        "killed": tested - survivors,
        "hung": tests.hung,
        "seconds": round(time.perf_counter() - begin),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=[*TESTS], choices=[*TESTS])
    parser.add_argument("--sample", type=int, default=0, help="mutants of each; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        copy_tree(Path(name))
        python = make_environment(Path(name))
        for module in options.modules:
            result = test_module(Path(name), python, module, options.sample, options.seed)
            print(json.dumps({module: result}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
