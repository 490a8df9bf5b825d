"""The benchmark of commands: it installs a command, starts it in each way, and writes tables."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.processes import LONG_TIMEOUT, RunPython
from support.wheels import build_wheel

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_spec("pip") is None, reason="pip is not installed"),
]

MAIN = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import commands
commands.PROGRAMS = {"greeting": commands.Program("greet", "hello", ("--name", "you"))}
commands.main()
"""
HELLO = """
import colorsys, os, sys

def main():
    ours = sys.modules.get("frozenfinder")
    served = ours is not None and any(finder.served for finder in ours.installed())
    compiled = os.path.exists(os.path.join(os.path.dirname(__file__), "__pycache__"))
    with open("starts.txt", "a") as stream:
        print(served, compiled, *sys.argv[1:], file=stream)
"""
OURS = ("enable", "run", "bundle")
SIDES = ("stock", *OURS, "zipapp")


class Measured(NamedTuple):
    """What the benchmark printed and wrote, and what each start of the command saw."""

    printed: str
    figures: Any
    readme: str
    starts: list[str]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    build_wheel(folder, "greet", "", "[console_scripts]\nhello = hello:main\n", hello=HELLO)
    return folder


@pytest.fixture
def measure(tmp_path: Path, wheels: Path, run_python: RunPython) -> Any:
    folder = tmp_path / "docs" / "explanation" / "speed"
    folder.mkdir(parents=True)
    for name in ("speed", "bundles"):
        (folder.parent / f"{name}.md").write_text("words\n")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- table: first -->\n<!-- end of table -->\n")

    def measure(*options: str) -> Measured:
        paths = [f"--work={tmp_path}", f"--output={folder}"]
        env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        argv = (str(BENCHMARKS), *options, *paths)
        done = run_python(MAIN, *argv, env=env, timeout=LONG_TIMEOUT)
        file = folder / f"{sys.implementation.cache_tag}.json"
        figures = json.loads(file.read_text("utf-8")) if file.exists() else None
        starts = (tmp_path / "greeting" / "project" / "starts.txt").read_text().splitlines()
        return Measured(done.stdout, figures, readme.read_text("utf-8"), starts)

    return measure


def test_every_side_starts_the_command_and_ours_serve_it(measure: Any) -> None:
    measured = measure("--sides", *SIDES, "--rounds=2", "--modes=compiled", "--write")
    greeting = measured.figures["commands"]["programs"]["greeting"]
    assert greeting["unavailable"] == {}
    assert list(greeting["compiled"]) == list(SIDES)
    assert {len(each["wall"]) for each in greeting["compiled"].values()} == {2}
    assert list(greeting["sizes"]) == ["bundle", "zipapp"]
    assert "### The whole process, every `.pyc` file is there\n" in measured.printed
    # each side starts once when it is built, once before the rounds, and once in each of them
    served = [start for start in measured.starts if start.startswith("True")]
    assert len(served) == 4 * len(OURS)
    assert {start.partition(" --")[2] for start in measured.starts} == {"name you"}


def test_without_bytecode_no_side_finds_or_writes_any(measure: Any) -> None:
    measured = measure("--sides", "enable", "run", "--rounds=2", "--modes=no-pyc")
    assert measured.figures is None
    assert [start.split()[1] for start in measured.starts[-9:]] == ["False"] * 9
    assert "### CPU time, no `.pyc` files\n" in measured.printed


def test_a_side_that_cannot_be_made_is_named_with_its_reason(measure: Any) -> None:
    measured = measure("--sides", "shiv", "--rounds=2", "--modes=compiled", "--write")
    greeting = measured.figures["commands"]["programs"]["greeting"]
    assert list(greeting["compiled"]) == ["stock"]
    assert list(greeting["unavailable"]) == ["shiv"]
    assert "\n- `shiv`: cannot be built: " in measured.printed
    assert "No matching distribution found for " in greeting["unavailable"]["shiv"]


def test_figures_of_other_modes_stay(measure: Any) -> None:
    measure("--sides", "run", "--rounds=2", "--modes=compiled", "--write")
    measured = measure("--sides", "run", "--rounds=2", "--modes=no-pyc", "--write")
    programs = measured.figures["commands"]["programs"]
    assert {"compiled", "no-pyc"} <= programs["greeting"].keys()
    assert measured.readme.count(", geometric mean") == 0
    assert measured.readme.count(": geometric mean | ") == 2
