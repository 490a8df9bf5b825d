"""Branch coverage of the tests, of every process that they start, and the limits that hold it.

    python -m programs.branches                     # arguments are for pytest

The tests run as they are; then some of them once more, with the frames shown that the loaders hide
(`shown_frames`). Whether they pass is for the other environments to say: some look at just what
coverage changes, such as trace functions. What is left out of the reckoning, and what coverage
cannot enter, pyproject.toml lists with the reasons.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.layers import RUN_TIME

ROOT = Path(__file__).parents[2]
PYTEST = Path(sysconfig.get_path("scripts"), "pytest")

RUN_TIME_LIMIT, PACKAGE_LIMIT = 100, 95
"""Per cent of the statements and branches of the run-time half, and of the whole package."""

SHOWN = (
    *(f"tests/test_{name}.py" for name in ("collector", "extensions", "fork", "hooks", "overlay")),
    *("tests/test_extraction.py", "tests/test_patterns.py", "tests/test_texts.py"),
    *("-k", "not every_import and not cpythons_own and not 500"),
)
"""Tests that run modules enough to reach everything in the hidden frames, but for the long ones."""


def elsewhere() -> str:
    """A regular expression for how a clause begins that runs on other versions of Python only.

    Either it asks for the version, or a comment says from which version on or before which.
    """
    here = sys.version_info.minor
    later = rf"\(?3[.,] ?({'|'.join(map(str, range(here + 1, 30)))})\b"
    earlier = rf"\(?3[.,] ?({'|'.join(map(str, range(11, here + 1)))})\b"
    return f"if sys.version_info (>= {later}|< {earlier})|# (from {later}|before {earlier})"


def coverage(*argv: str | Path) -> int:
    program = [sys.executable, "-m", "coverage", *argv]
    env = os.environ | {"ELSEWHERE": elsewhere()}
    return subprocess.run(program, cwd=ROOT, env=env, check=False).returncode


def test(*argv: str | Path) -> bool:
    """Whether the tests came to their end, passed or failed."""
    return coverage("run", PYTEST, "-n", "2", *argv) < 2


@contextmanager
def shown_frames() -> Iterator[None]:
    """Have every process of this environment show the frames, from its start."""
    script = Path(__file__).with_name("shown_frames.py")
    file = Path(sysconfig.get_path("purelib"), "a0_shown_frames.pth")
    file.write_text(f"import runpy; runpy.run_path({str(script)!r})\n", encoding="utf-8")
    try:
        yield
    finally:
        file.unlink()


def report() -> bool:
    """Print what is missing, of the run-time half and of all; whether it is within the limits."""
    modules = ",".join(f"frozenfinder/{name}.py,frozenfinder/{name}/*" for name in RUN_TIME)
    half = coverage("report", f"--include={modules}", f"--fail-under={RUN_TIME_LIMIT}")
    whole = coverage("report", f"--fail-under={PACKAGE_LIMIT}")
    return not half and not whole


def main(argv: list[str]) -> int:
    coverage("erase")
    ended = test(*argv)
    with shown_frames():
        ended &= test(*SHOWN)
    return int(bool(coverage("combine", "-q")) or not report() or not ended)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
