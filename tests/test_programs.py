"""Real programs, each one file made by one command, run by a bare interpreter in an empty folder.

Flask and Django are what every test run installs; `tox -e bundles` installs the others.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from support.processes import LONG_TIMEOUT, Python

MANAGE = """\
import os, sys
from django.core.management import execute_from_command_line
if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    execute_from_command_line(sys.argv)
"""
PROJECT = Path(__file__).parent / "applications" / "django"


@dataclass(frozen=True)
class Program:
    """How a program is bundled, with what it is run, and a regular expression of what it says."""

    distribution: str
    options: tuple[str, ...]
    runs: tuple[tuple[tuple[str, ...], str], ...]


PROGRAMS = {
    "flask": Program(
        "Flask",
        ("--script", "flask"),
        (
            (("--version",), r"Python \S+\nFlask \S+\nWerkzeug \S+\n"),
            (
                ("--app", "shop", "routes"),
                r"Endpoint +Methods(.*\n)*index +GET +/ *\n(.*\n)*",
            ),
        ),
    ),
    "django": Program(
        "Django",
        ("-m", "manage", "--path", ".", "--distribution", "Django", "--lay-out", "django"),
        (
            (("check",), r"System check identified no issues \(0 silenced\)\.\n"),
            (("check", "--help"), r"usage: app\.pyz check (.*\n)*"),
        ),
    ),
    "black": Program(
        "black",
        ("--script", "black", "--lay-out", "blib2to3"),
        (
            (("--code", "x = {  1:2}"), r"x = \{1: 2\}\n"),
            (("--version",), r"app\.pyz, \S+ (.*\n)+"),
        ),
    ),
    "httpie": Program(
        "httpie",
        ("--script", "http"),
        (
            (("--version",), r"\d+\.\d+\.\d+\n"),
            (("--ignore-stdin", "--offline", "example.org", "a=b"), r"POST / HTTP/1\.1\n(.*\n)*.*"),
        ),
    ),
    "awscli": Program(
        "awscli",
        ("--entry", "awscli.clidriver:main", "--lay-out", "awscli"),
        (
            (("--version",), r"aws-cli/\S+ Python/\S+ .*\n"),
            (("ec2", "describe-instances", "--generate-cli-skeleton"), r"\{\n(.*\n)*\}\n"),
        ),
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_becomes_one_file_that_runs(name: str, tmp_path: Path, python: Python) -> None:
    program = PROGRAMS[name]
    try:
        metadata.distribution(program.distribution)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{program.distribution} is not installed; `tox -e bundles` has it")
    source = tmp_path / "source"
    source.mkdir()
    if name == "django":
        (source / "manage.py").write_text(MANAGE, encoding="utf-8")
        for folder in ("project", "library"):
            (source / folder).symlink_to(PROJECT / folder)
    path = tmp_path / "app.pyz"
    command = ["-m", "frozenfinder", "bundle", "--quiet", "-o", str(path)]
    python(*command, *program.options, cwd=source)
    empty = tmp_path / "empty"
    empty.mkdir()
    if name == "flask":
        (empty / "shop.py").write_text(
            "import flask\napp = flask.Flask('shop')\napp.add_url_rule('/', 'index', str)\n"
        )
    for arguments, expected in program.runs:
        output = run_bare(path, *arguments, cwd=empty)
        assert re.fullmatch(expected, output), output


def run_bare(path: Path, *arguments: str, cwd: Path) -> str:
    """What a program says to an interpreter without site-packages; it fails with what is wrong."""
    flags = ["-S", "-E"]
    done = subprocess.run(
        [getattr(sys, "_base_executable", sys.executable), *flags, path, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd.parent), "PYTHONUTF8": "1"},
        capture_output=True,
        check=False,
        text=True,
        timeout=LONG_TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
