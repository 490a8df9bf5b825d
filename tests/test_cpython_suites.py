"""`cpython_suites.py` in its short form, and how it tells what differs."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from programs import cpython_suites
from programs.cpython_suites import Bench, Documented, Outcomes, Run
from support.processes import LONG_TIMEOUT, PROGRAMS, TESTS

PASSED, FAILED = ("passed",), ("failed",)

needs_tests = pytest.mark.skipif(
    find_spec("test.libregrtest") is None, reason="this interpreter has no test package"
)

SUITE = """
import unittest

class Example(unittest.TestCase):
    def test_error(self):
        1 / 0

    @unittest.expectedFailure
    def test_expected(self):
        self.fail()

    def test_failure(self):
        self.fail()

    def test_skip(self):
        self.skipTest("reason")

    def test_subtests(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertEqual(number, 1)

    def test_success(self):
        pass

    @unittest.expectedFailure
    def test_unexpected(self):
        pass
"""


@pytest.mark.long
@pytest.mark.usefixtures("processes")
@needs_tests
def test_short_suites_end_as_they_do_with_stock() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "programs.cpython_suites", "--short"],
        capture_output=True,
        check=False,
        cwd=TESTS,
        text=True,
        timeout=LONG_TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("processes")
@needs_tests
def test_what_becomes_of_every_test_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(SUITE)
    record = tmp_path / "record.json"
    done = subprocess.run(
        [sys.executable, PROGRAMS / "regrtest.py", record, "--testdir", tmp_path, "test_example"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    run = cpython_suites.read_record(record, 1.0, str(done.returncode))
    assert {test.rpartition("test_")[2]: found for test, found in run.cells.items()} == {
        "exit status": ("2",),
        "error": ("error",),
        "expected": ("expected failure",),
        "failure": ("failed",),
        "skip": ("skipped",),
        "subtests": ("failed", "failed"),
        "success": ("passed",),
        "unexpected": ("unexpected success",),
    }
    assert run.served == []


def test_a_run_that_crashes_keeps_what_it_recorded_and_how_it_ended(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"test": "test.test_x.A.test_b", "outcome": "passed"}) + "\n")
    run = cpython_suites.read_record(record, 1.0, "-11")
    assert run.cells == {"test.test_x.A.test_b": PASSED, "exit status": ("-11",)}


def bench(stock: list[dict[str, Outcomes]], frozen: list[dict[str, Outcomes]]) -> Bench:
    made = Bench(Path("nowhere"))
    made.runs["test_x", "stock"] = [Run(1.0, "0", cells) for cells in stock]
    made.runs["test_x", "frozen"] = [Run(1.0, "0", cells) for cells in frozen]
    return made


@pytest.mark.parametrize(
    ("stock", "frozen", "expected"),
    [
        (PASSED, FAILED, "regression in test_x: a: passed -> failed"),
        (FAILED, PASSED, "improvement in test_x: a: failed -> passed"),
        (FAILED, ("failed", "failed"), "change in test_x: a: failed -> failed, failed"),
    ],
)
def test_a_cell_without_an_outcome_in_common_differs(
    stock: Outcomes, frozen: Outcomes, expected: str
) -> None:
    found = bench([{"a": stock, "b": PASSED}] * 2, [{"a": frozen, "b": PASSED}] * 2)
    assert [str(each) for each in found.differences("test_x", [])] == [expected]


def test_a_test_that_did_not_run_differs() -> None:
    found = bench([{"a": PASSED}], [{}]).differences("test_x", [])
    assert [str(each) for each in found] == ["regression in test_x: a: passed -> missing"]


def test_an_exit_status_differs_where_nothing_else_does() -> None:
    found = bench([{"exit status": ("0",)}], [{"exit status": ("-11",)}])
    assert [str(each) for each in found.differences("test_x", [])] == [
        "change in test_x: exit status: 0 -> -11"
    ]
    found = bench([{"exit status": ("0",), "a": PASSED}], [{"exit status": ("2",), "a": FAILED}])
    assert [each.test for each in found.differences("test_x", [])] == ["a"]


def test_a_cell_that_has_once_ended_alike_is_flaky() -> None:
    found = bench([{"a": PASSED}, {"a": FAILED}], [{"a": FAILED}, {"a": FAILED}])
    assert found.differences("test_x", []) == []


def test_a_documented_cell_has_its_reason() -> None:
    documented = [Documented("test.test_x.A.*", ("3.13",), "because")]
    found = bench([{"test.test_x.A.b": PASSED}], [{"test.test_x.A.b": FAILED}])
    assert [each.reason for each in found.differences("test_x", documented)] == ["because"]


def test_the_list_gives_a_reason_for_every_cell() -> None:
    assert all(entry.reason.endswith(".") for entry in cpython_suites.read_documented())
