"""What the test-suite holds its own tests to; see `conftest`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import matrix
from support.processes import LONG_TIMEOUT, TESTS, Python

import frozenfinder


def test_a_test_that_does_not_say_so_starts_no_process() -> None:
    with pytest.raises(pytest.fail.Exception) as caught:
        subprocess.run([sys.executable, "-V"], check=True)
    assert str(caught.value) == "a test that starts a process needs the fixture `processes`"


def test_the_tests_of_another_copy_than_their_processes_have_are_refused(
    python: Python, tmp_path: Path
) -> None:
    copy = tmp_path / "frozenfinder"
    shutil.copytree(Path(frozenfinder.__file__).parent, copy)
    argv = ("-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_suite.py")
    done = python(*argv, cwd=TESTS.parent, env={"PYTHONPATH": str(tmp_path)}, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr == (
        f"ERROR: this process imports frozenfinder from {copy / '__init__.py'}, processes that "
        f"tests start import it from {frozenfinder.__file__}: run `tox`, or `pytest` where it is "
        "installed, not `python -m pytest`\n\n"
    )


def test_a_test_has_longer_than_the_processes_that_it_waits_for(
    pytestconfig: pytest.Config,
) -> None:
    assert float(pytestconfig.getini("faulthandler_timeout")) > LONG_TIMEOUT


@pytest.mark.parametrize("beginning", matrix.LEFT_OUT)
def test_what_is_left_out_on_some_versions_is_there(beginning: str) -> None:
    file, _, name = beginning.partition("::")
    assert f"def {name.partition('[')[0]}" in (TESTS / file).read_text("utf-8")


@pytest.mark.parametrize(
    ("test", "on", "runs"),
    [
        ("test_bench.py", "3.11, 3.13, 3.15", {11, 13, 15}),
        ("test_libraries.py", "3.11, 3.15", {11, 15}),
    ],
)
def test_what_is_left_out_runs_on_the_oldest_and_the_newest(
    test: str, on: str, runs: set[int]
) -> None:
    skipped = f"runs on {on}: {matrix.LEFT_OUT[test]}"
    for minor in range(11, 16):
        expected = None if minor in runs else skipped
        assert matrix.left_out(f"tests/{test}::test_any", (3, minor)) == expected
    assert matrix.left_out("tests/test_suite.py::test_any", (3, 12)) is None
