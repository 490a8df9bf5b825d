"""Run suites of CPython's own while every text that their modules compile is answered.

    python -m programs.text_suites [SUITE ...]

Each process runs all suites: one as it is, one that records the texts, and one that has them
frozen. In that one the names stay in the namespaces, also outside imports. Prints how many tests
ran and how many texts were answered, and each test that ended in another way; the exit status is 1
if there is one.
"""

import importlib
import json
import marshal
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

from frozenfinder import texts as runtime
from frozenfinder.freezer.compile.texts import compile_texts

SUITES = ("test_collections", "test_dataclasses", "test_typing")
MODULES = ("annotationlib", "collections", "dataclasses", "inspect", "typing")
_ADDRESS = re.compile("0x[0-9a-fA-F]+|id='[0-9]+'")


def record() -> list[tuple[str, int, str]]:
    """The list that every text gets into from now on, with its module and line."""
    notes: list[tuple[str, int, str]] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "compile" and isinstance(arguments[0], bytes):
            frame = sys._getframe(1)
            name = frame.f_globals.get("__name__")
            if name in MODULES:
                notes.append((name, frame.f_lineno, arguments[0].decode("utf-8", "replace")))

    sys.addaudithook(note)
    return notes


def answer(notes: list[tuple[str, int, str]]) -> list[bytes]:
    """The list that each answer's code gets into; the names are put in and stay."""
    answers: list[bytes] = []

    def load(data: bytes) -> object:
        answers.append(data)
        return marshal.loads(data)

    vars(runtime)["loads"] = load
    asked: dict[str, dict[int, list[str]]] = {}
    for name, line, text in notes:
        asked.setdefault(name, {}).setdefault(line, []).append(text)
    texts = runtime.Texts()
    for name, recorded in asked.items():
        module = importlib.import_module(name)
        assert module.__file__ is not None
        source = Path(module.__file__).read_bytes()
        code = compile(source, module.__file__, "exec", dont_inherit=True)
        texts.add(module, code, compile_texts(source, code, recorded, sys.flags.optimize))
    texts.put_in()
    return answers


class Result(unittest.TestResult):
    """Keeps how each test and subtest ended, without addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[str, str] = {}

    def note(self, test: unittest.TestCase, end: object) -> None:
        self.ends[_ADDRESS.sub("", test.id())] = _ADDRESS.sub("", str(end))

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.note(test, "passed")

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.note(test, repr(err[1]))

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.note(test, repr(err[1]))

    def addSubTest(  # noqa: N802
        self,
        test: unittest.TestCase,  # noqa: ARG002
        subtest: unittest.TestCase,
        err: Any,
    ) -> None:
        self.note(subtest, err and repr(err[1]))


def run(side: str, file: Path, suites: list[str]) -> None:
    """Run the suites in this process; write what was recorded or answered, and the ends."""
    given = json.loads(file.read_text("utf-8")) if side == "frozen" else []
    noted = record() if side == "recorded" else []
    answers = answer(given) if side == "frozen" else []
    result = Result()
    for suite in suites:
        unittest.defaultTestLoader.loadTestsFromName(f"test.{suite}").run(result)
    if side == "recorded":
        file.write_text(json.dumps(noted), "utf-8")
    file.with_name(side).write_text(json.dumps([len(answers), result.ends]), "utf-8")


def main(argv: list[str]) -> int:
    if argv[:1] == ["--side"]:
        run(argv[1], Path(argv[2]), argv[3:])
        return 0
    suites = argv or [*SUITES]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "texts")
        ends: dict[str, Any] = {}
        for side in ("stock", "recorded", "frozen"):
            program = [sys.executable, "-m", "programs.text_suites", "--side", side, file]
            environment = os.environ | {"PYTHONHASHSEED": "0"}
            subprocess.run(
                [*program, *suites], env=environment, check=True, stdout=subprocess.DEVNULL
            )
            ends[side] = json.loads(file.with_name(side).read_text("utf-8"))
    stock, (answered, frozen) = ends["stock"][1], ends["frozen"]
    differing = [test for test in stock | frozen if stock.get(test) != frozen.get(test)]
    for test in differing:
        print(f"{test}: {stock.get(test)} with stock, {frozen.get(test)} with frozen texts")
    print(f"{len(stock)} tests, {answered} texts answered, {len(differing)} tests differ")
    return int(bool(differing) or not answered)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
