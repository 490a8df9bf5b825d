"""How tests start processes: the types of the fixtures in `conftest`, and where programs lie."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

TESTS = Path(__file__).parent.parent
"""The folder from which `python -m programs.NAME` runs one of the programs."""

PROGRAMS = TESTS / "programs"
"""Where those lie that run by their paths, too: they import no other module of the tests."""

TIMEOUT = 120
"""Seconds after which a fresh process counts as hung."""

LONG_TIMEOUT = 600
"""The same for what takes a minute on an idle machine; pytest waits longer than this for a test."""


class Python(Protocol):
    def __call__(
        self,
        *argv: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]: ...


class RunPython(Protocol):
    def __call__(
        self,
        code: str,
        *args: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]: ...


def clean_environment() -> dict[str, str]:
    """This process's environment variables without those that change what Python imports."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FROZENFINDER"))}
