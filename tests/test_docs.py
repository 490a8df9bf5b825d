"""The commands and programs of the documentation do what their pages say.

A comment above a code block has it tested. A page's blocks are one story, in one folder:

    % write NAME    the block is the content of a file
    % run           the block is run by a shell; one of the language `console` has commands after
                    `$ `, each with the output that it has to have
    % run python    the block is run by Python

Numbers, folders and widths may differ between a block's output and the real one. The pages are told
of one version, and tested with that.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support.processes import LONG_TIMEOUT

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^% (write|run)(?: (\S+))?\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

VERSION = (3, 13)

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="the pages' commands are a shell's"),
    pytest.mark.skipif(sys.version_info[:2] != VERSION, reason="the pages are told of 3.13"),
]


class Block(NamedTuple):
    verb: str
    argument: str
    language: str
    text: str


def read_blocks(page: Path) -> list[Block]:
    return [Block(*found.groups("")) for found in BLOCK.finditer(page.read_text("utf-8"))]


PAGES = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if read_blocks(page)]


@pytest.fixture
def shell(processes: None, tmp_path: Path) -> dict[str, str]:
    """The environment of a reader in whose shell `python` is this interpreter."""
    programs = tmp_path / "programs"
    programs.mkdir()
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FROZENFINDER"))}
    path = f"{programs}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.mark.long
@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_blocks_of_a_page_do_what_it_says(
    page: str, tmp_path: Path, shell: dict[str, str]
) -> None:
    folder = tmp_path / "try"
    folder.mkdir()
    for block in read_blocks(DOCS / page):
        if block.verb == "write":
            file = folder / block.argument
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.argument == "python":
            run(["python", "-c", block.text], folder, shell)
        elif block.language == "console":
            for command, expected in read_console(block.text):
                assert alike(run(["sh", "-ec", command], folder, shell)) == alike(expected)
        else:
            run(["sh", "-ec", block.text], folder, shell)


def read_console(text: str) -> list[tuple[str, str]]:
    """The commands, and the output of each."""
    commands = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (each.partition("\n") for each in commands)]


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """What a command prints, on stderr too; it fails with that."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=LONG_TIMEOUT,
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}"
    return done.stdout


def alike(output: str) -> str:
    """An output without what differs from one machine and version to the next."""
    output = re.sub(r"\d+(\.\d+)*", "N", re.sub(r"/[\w.+/-]*/", "/", output))
    return re.sub(r"\s*\n", "\n", re.sub(r" +", " ", output)).strip()


def test_outputs_that_differ_in_numbers_and_folders_are_alike() -> None:
    assert alike("Wrote /tmp/try/a.frz: 10 modules, in 0.7 s.\n") == alike(
        "Wrote /x/y-1/a.frz: 7 modules, in 12.75 s."
    )
    assert alike("a 1") != alike("b 1")


@pytest.mark.parametrize("folder", ["tutorial", "how-to"])
def test_every_page_that_leads_somewhere_is_tested(folder: str) -> None:
    untested = {page.name for page in (DOCS / folder).glob("*.md") if not read_blocks(page)}
    # these are about the reader's own programs, environment or machine
    assert untested <= {
        "embed-cpython.md",  # tests/test_tables.py compiles what it says
        "enable-for-an-environment.md",
        "find-out-why.md",
        "freeze-an-application.md",
        "make-a-release.md",
        "next-to-pyinstaller.md",
        "test-a-change.md",
    }
