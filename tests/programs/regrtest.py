"""Run `python -m test` and record what becomes of every test.

    python -m programs.regrtest RECORD [ARGUMENT ...]

Appends lines of JSON to the file RECORD: the id and the outcome of each test as it ends, and at
last the exit status and what the finders that are installed have served. The counts that
`python -m test` prints do not tell one test from another, its JUnit file lacks subtests, and a
crash leaves neither.
"""

import json
import os
import runpy
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

OUTCOMES = {
    "addSuccess": "passed",
    "addError": "error",
    "addFailure": "failed",
    "addSkip": "skipped",
    "addExpectedFailure": "expected failure",
    "addUnexpectedSuccess": "unexpected success",
}


class Recorder:
    """Writes to the file, which is closed in between: tests look at descriptors."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)  # noqa: PTH100  the tests leave the directory
        self._open = open  # tests replace the builtin
        self._dumps = json.dumps

    def write(self, **fields: Any) -> None:
        with self._open(self._path, "a", encoding="utf-8") as file:
            file.write(self._dumps(fields) + "\n")

    def record_outcomes(self, result: type) -> None:
        """Have a class of test results write down what it is told."""
        for method, outcome in OUTCOMES.items():
            setattr(result, method, self._recording(getattr(result, method), outcome))
        result.addSubTest = self._recording_subtest(result.addSubTest)  # type: ignore[attr-defined]

    def _recording(self, method: Callable[..., Any], outcome: str) -> Callable[..., Any]:
        def add(result: Any, test: Any, *args: Any) -> Any:
            self.write(test=test.id(), outcome=outcome)
            return method(result, test, *args)

        return add

    def _recording_subtest(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def add(result: Any, test: Any, subtest: Any, error: Any) -> Any:
            if error is not None:
                failed = issubclass(error[0], test.failureException)
                self.write(test=test.id(), outcome="failed" if failed else "error")
            return method(result, test, subtest, error)

        return add


def result_class() -> type:
    """The class of test results that `python -m test` uses."""
    for module in ("test.libregrtest.testresult", "test.support.testresult"):
        try:
            found: type = import_module(module).RegressionTestResult
        except ModuleNotFoundError:
            continue
        return found
    raise SystemExit("regrtest.py: this interpreter's test package has no RegressionTestResult")


def served() -> dict[str, Any]:
    """The names of the modules served here, and why others were not; empty where stock runs."""
    hooks = sys.modules.get("frozenfinder.runtime.hooks")
    finders = [] if hooks is None else hooks.installed()
    return {
        "served": sorted({name for finder in finders for name in finder._served}),
        "bypassed": {name: why for finder in finders for name, why in finder.bypassed.items()},
    }


def main(path: str, *arguments: str) -> None:
    recorder = Recorder(path)
    sys.path[0] = os.getcwd()  # noqa: PTH109  as `-m` has it
    sys.argv[1:] = arguments
    recorder.record_outcomes(result_class())
    try:
        runpy.run_module("test", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        recorder.write(exit=error.code or 0, **served())
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
