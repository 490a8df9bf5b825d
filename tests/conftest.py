"""Which tests run where and how, and the fixtures shared by all: fresh interpreters, above all.

A test that starts no process is marked `fast`, and held to that. Every other has the fixture
`processes`, which `python` and its kind bring with them.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from support.families import Family, make_family
from support.matrix import left_out
from support.processes import TIMEOUT, Python, RunPython, clean_environment

import frozenfinder

# -- how many examples hypothesis tries: `--hypothesis-profile`

settings.register_profile("dev", max_examples=60, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, database=None, print_blob=True)
settings.register_profile(
    "long",
    max_examples=1000,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "mutation", deadline=None, derandomize=True, database=None, phases=[Phase.generate]
)
settings.load_profile("dev")


# -- what runs, and in what order


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-version",
        action="store_true",
        help="run what tests/support/matrix.py leaves out on this version of Python, too",
    )


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest tests begin first, so that no worker waits for another at the end."""
    for item in items:
        if "processes" not in item.fixturenames:  # type: ignore[attr-defined]
            item.add_marker("fast")
        reason = left_out(item.nodeid, sys.version_info[:2])
        if reason is not None and not config.getoption("every_version"):
            item.add_marker(pytest.mark.skip(reason=reason))
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


TOGETHER = ("tests/test_libraries.py",)
"""Files whose tests run in one worker: what they share takes half a minute to make."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Hand out every test by itself, but for those.

    pytest-xdist 3.8 has `--dist loadgroup` for that, which does nothing with pytest 9.2.
    """
    # deferred: pytest runs without xdist, too
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-not-found]

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file in TOGETHER else nodeid

    return Scheduler(config, log)


# -- one frozenfinder, and not the checkout's here and the installed one in other processes


def pytest_sessionstart(session: pytest.Session) -> None:
    is_worker = hasattr(session.config, "workerinput")  # one process has looked already
    if is_worker or session.config.getoption("markexpr") == "fast":
        return
    code = "import frozenfinder; print(frozenfinder.__file__)"
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=False,
            cwd=empty,
            env=clean_environment(),
            text=True,
        )
    theirs = done.stdout.strip() or "nowhere"
    if theirs != frozenfinder.__file__:
        raise pytest.UsageError(
            f"this process imports frozenfinder from {frozenfinder.__file__}, processes that tests "
            f"start import it from {theirs}: run `tox`, or `pytest` where it is installed, not "
            "`python -m pytest`"
        )


# -- tests marked `fast` start no process

_STARTS = frozenset(
    ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system")
)
_fast_test: "pytest.Item | None" = None


def pytest_configure() -> None:
    sys.addaudithook(_refuse_processes)


def _refuse_processes(event: str, arguments: tuple[object, ...]) -> None:
    if event in _STARTS and _fast_test is not None:
        pytest.fail("a test that starts a process needs the fixture `processes`")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _fast_test
    _fast_test = item if item.get_closest_marker("fast") else None
    try:
        return (yield)
    finally:
        _fast_test = None


# -- fixtures


@pytest.fixture(scope="session")
def processes() -> None:
    """Let a test start processes; it is not marked `fast`."""


@pytest.fixture(scope="session")
def python(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Python:
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
        done = subprocess.run(
            [sys.executable, *argv],
            env=clean_environment() | dict(env or {}),
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


@pytest.fixture(autouse=True)
def _let_go_of_folders() -> Iterator[None]:
    """Close the descriptors of folders in use, which a process keeps: high numbers are few."""
    yield
    folder = sys.modules.get("frozenfinder.native.folder")
    if folder is not None:
        for descriptor in folder._used.values():
            with suppress(OSError):
                os.close(descriptor)
        folder._used.clear()


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
