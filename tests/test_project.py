"""What the project's own files say of each other."""

import configparser
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import frozenfinder

ROOT = Path(__file__).parent.parent
INTERPRETERS = ["3.11", "3.12", "3.13", "3.14", "3.15"]

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|work|farm|home/\w+|Users/\w+)/")
NEIGHBOUR_PATH = re.compile(r"\.\./shared\b")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, encoding="utf-8"
    )
    return [path for name in listing.stdout.split("\0")[:-1] if (path := ROOT / name).is_file()]


def lines_with(pattern: re.Pattern[str], *but: str) -> list[str]:
    """`file:line: text` for each line of a tracked file that holds the pattern."""
    return [
        f"{name}:{number}: {line.strip()}"
        for path in tracked_files()
        if (name := path.relative_to(ROOT).as_posix()) not in but
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if pattern.search(line)
    ]


def readme_commands() -> list[str]:
    return re.findall(r"^python -m pip install .* && .*$", read("README.md"), re.MULTILINE)


def test_the_readme_has_one_command_that_runs_it_and_one_that_tests_it() -> None:
    assert readme_commands() == [
        'python -m pip install ".[cli]" && python -m frozenfinder demo',
        "python -m pip install tox && tox",
    ]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert read(".ci/run").splitlines()[-1] == readme_commands()[-1]


def test_tox_runs_every_interpreter_that_the_classifiers_name() -> None:
    tox = configparser.ConfigParser()
    tox.read_string(read("tox.ini"))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    classified = [
        found.group(1)
        for line in project["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    environments = tox["tox"]["env_list"].split(", ")
    tested = [f"3.{name[3:]}" for name in environments if name.startswith("py3")]
    assert tested == classified == INTERPRETERS
    assert project["requires-python"] == f">={INTERPRETERS[0]}"


def test_the_installed_version_is_that_of_the_package() -> None:
    assert version("frozenfinder") == frozenfinder.__version__


@pytest.mark.usefixtures("processes")
def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINE_PATH) == []


@pytest.mark.usefixtures("processes")
def test_only_ci_looks_beside_the_checkout() -> None:
    assert lines_with(NEIGHBOUR_PATH, ".ci/run") == []
