"""Fixtures shared by every test: fresh interpreters with nothing of this process in them."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.families import Family, make_family
from support.processes import TIMEOUT, Python, RunPython


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests begin first, so that no worker waits for another at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Run ``python *argv`` in a fresh process.

    No PYTHON* or FROZENFINDER* variable of this process reaches it; `env` adds its own. It starts
    in an empty directory unless `cwd` is given. With `check`, an exit status other than 0 fails
    the test and shows what the process wrote.
    """

    def run(
        *argv: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FROZENFINDER"))
        }
        done = subprocess.run(
            [sys.executable, *argv],
            env=clean | dict(env or {}),
            cwd=cwd or tmp_path_factory.mktemp("cwd"),
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="backslashreplace",
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
        if check and done.returncode:
            pytest.fail(f"exit status {done.returncode} of {done.args}\n{done.stdout}{done.stderr}")
        return done

    return run


@pytest.fixture
def cli(python: Python) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`python -m frozenfinder` with the arguments given; its exit status is the test's to check."""

    def call(*argv: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        return python("-m", "frozenfinder", *argv, check=False, **options)

    return call


@pytest.fixture(scope="session")
def built_family(tmp_path_factory: pytest.TempPathFactory, python: Python) -> Family:
    """The registry and the libraries of `families`, built once."""
    return make_family(tmp_path_factory.mktemp("family"), python)


@pytest.fixture
def family(built_family: Family, tmp_path: Path) -> Family:
    """The same with a cache of the test's own."""
    return replace(built_family, cache=tmp_path / "cache")


@pytest.fixture
def run_python(python: Python) -> RunPython:
    """Run ``python -c code *args`` in a fresh process, as `python` does."""

    def run(
        code: str,
        *args: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        return python("-c", code, *args, env=env, cwd=cwd, check=check, timeout=timeout)

    return run
