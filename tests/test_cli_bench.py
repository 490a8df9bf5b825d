"""`frozenfinder bench`: a command with a registry and without, told as a table, JSON and a page."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.processes import Python
from support.registries import build_registry, frozen

from frozenfinder.cli import UsageError
from frozenfinder.cli.bench import parse_command


@dataclass(frozen=True)
class Project:
    """A folder with a program `app.py`, the modules that it imports, and a registry of them."""

    folder: Path
    python: Python

    def bench(
        self, *arguments: str, registry: str = "app.frz"
    ) -> "subprocess.CompletedProcess[str]":
        line = ("-m", "frozenfinder", "bench", registry, "--pairs=2", *arguments)
        return self.python(*line, cwd=self.folder, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, python: Python) -> Project:
    folder = tmp_path_factory.mktemp("project")
    for number in range(5):
        (folder / f"part{number}.py").write_text(f"value = {number}\n")
    (folder / "app.py").write_text("import sys, part0, part1, part2\nprint(sys.argv)\n")
    (folder / "script").write_text(f"#!{sys.executable}\nimport part4\n")
    (folder / "script").chmod(0o755)
    parts = [f"--package=part{number}" for number in range(5)]
    python("-m", "frozenfinder", "freeze", *parts, "-o", "app.frz", "--quiet", cwd=folder)
    return Project(folder, python)


def test_a_program_is_compared_in_pairs(project: Project) -> None:
    done = project.bench("--", "python", "app.py", "--mode=argument")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["before", "after", "after/before", "quartiles"]
    figures = r" +\d+\.\d ms +\d+\.\d ms +\d+\.\d\d   \d+\.\d\d to \d+\.\d\d"
    assert re.fullmatch("wall time" + figures, lines[1])
    assert re.search(r"^imports +\d+\.\d ms +\d+\.\d ms +\d+\.\d\d$", done.stdout, re.MULTILINE)
    assert "2 pairs of fresh processes in turn, in overlay mode" in done.stdout
    assert "median over the pairs. 3 modules were served." in done.stdout


COMMANDS = [
    # overlay leaves the module that -m runs to stock: `runpy` looks for it
    (("python", "-X", "utf8", "-u", "-m", "part3"), 0, "overlay"),
    ((sys.executable, "-c", "import part0"), 1, "overlay"),
    (("app.py",), 3, "overlay"),
    (("app.py",), 3, "closed"),
    (("script",), 1, "overlay"),
    (("python", "-c", "import os, part0; os._exit(0)"), None, "overlay"),
]


@pytest.mark.parametrize(("command", "served", "mode"), COMMANDS)
def test_every_kind_of_command_is_run_with_the_registry(
    project: Project, command: tuple[str, ...], served: int | None, mode: str
) -> None:
    path = os.environ["PATH"]
    line = ("-m", "frozenfinder", "bench", "app.frz", "--pairs=2", "--json", f"--mode={mode}")
    env = {"PATH": f"{project.folder}{os.pathsep}{path}"}
    done = project.python(*line, "--", *command, cwd=project.folder, env=env)
    answer = json.loads(done.stdout)
    assert answer["served"] == served
    assert answer["mode"] == mode
    assert answer["wall"]["ratio"] > 0
    assert len(answer["wall"]["pairs"]) == 2
    assert answer["imports"]["after"] > 0


def test_the_page_has_a_waterfall_of_both_sides(project: Project) -> None:
    done = project.bench("--html=page.html", "--", "python", "app.py")
    assert done.returncode == 0
    page = (project.folder / "page.html").read_text(encoding="utf-8")
    before, after = page.split('data-side="')[1:]
    assert "part2" in before
    assert "frozenfinder" not in before
    assert "part2" in after
    assert "frozenfinder.own" in after  # it imports the rest of the package, past importlib


FAILURES = [
    ("python -c 1/0", "the command failed without a registry, exit status 1: ZeroDivisionError: "),
    ("python absent.py", "the command failed without a registry, exit status 2: "),
    (
        "python -c import\tsys;sys.exit('frozenfinder'\tin\tsys.modules)",
        "the command failed with the registry, exit status 1: no output on stderr",
    ),
]


@pytest.mark.parametrize(("command", "message"), FAILURES)
def test_a_command_that_fails_is_said_to(project: Project, command: str, message: str) -> None:
    done = project.bench("--", *command.split(" "))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"frozenfinder: {message}")
    assert done.stderr.count("\n") == 1


def test_a_registry_of_another_interpreter_is_refused(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other.frz"
    other.write_bytes(build_registry(frozen("m"), magic=3000, cache_tag="cpython-30"))
    done = project.bench("--", "python", "app.py", registry=str(other))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"frozenfinder: registry {str(other)!r} ")


def test_a_registry_that_is_not_there_is_said_so(project: Project) -> None:
    done = project.bench("--", "python", "app.py", registry="absent.frz")
    assert (done.returncode, done.stdout) == (2, "")
    assert "absent.frz" in done.stderr


USAGE = [
    (["python"], "the command 'python' runs no program, expected a script, -m or -c after it"),
    (
        ["python", "-X", "utf8", "-"],
        "the command 'python' runs no program, expected a script, -m or -c after it",
    ),
    (
        ["no-such-command-here"],
        (
            "the command 'no-such-command-here' was not found, expected python, a script or a "
            "command on PATH"
        ),
    ),
    (["sh"], "the command '"),
    (
        ["/x/python3"],
        f"the command runs '/x/python3', expected this interpreter, {sys.executable!r}",
    ),
]


@pytest.mark.parametrize(("command", "message"), USAGE)
def test_what_is_no_python_program_is_refused(command: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_command(command)
    assert str(caught.value).startswith(message)


def test_less_than_two_pairs_are_refused(project: Project) -> None:
    done = project.bench("--pairs=1", "--", "python", "app.py")
    assert done.stderr == "frozenfinder: --pairs is 1, expected 2 or more\n"


def test_with_frozenfinder_off_there_is_nothing_to_compare(project: Project) -> None:
    line = ("-m", "frozenfinder", "bench", "app.frz", "--", "python", "app.py")
    done = project.python(*line, cwd=project.folder, env={"FROZENFINDER": "off"}, check=False)
    assert done.returncode == 2
    assert (
        done.stderr
        == "frozenfinder: FROZENFINDER=off is set, so there is nothing to compare; unset it\n"
    )
