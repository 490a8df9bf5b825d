"""`frozenfinder demo` serves the standard library, and says what it measured."""

import re

import pytest
from support.processes import Python

from frozenfinder.cli.demo import Boot, describe_served, describe_times


@pytest.mark.long
def test_the_demo_serves_most_of_a_program_and_measures_it(python: Python) -> None:
    done = python("-m", "frozenfinder", "demo", "--pairs", "10")
    assert done.stderr == ""
    frozen = re.search(r"^Froze the standard library in .* s: (\d+) modules, ", done.stdout)
    assert frozen is not None
    assert int(frozen[1]) > 500
    booted = re.search(r"^Booted a program: (\d+) of the (\d+) modules", done.stdout, re.MULTILINE)
    assert booted is not None
    served, imported = map(int, booted.groups())
    assert imported > served > imported // 2
    assert re.search(r"^median +\d+\.\d ms +\d+\.\d ms$", done.stdout, re.MULTILINE)
    assert "10 pairs of fresh processes" in done.stdout


def test_a_demo_that_serves_nothing_fails(python: Python) -> None:
    env = {"FROZENFINDER": "off"}
    done = python("-m", "frozenfinder", "demo", "--pairs", "2", env=env, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Nothing was served: FROZENFINDER=off is set." in done.stdout


def test_a_demo_whose_program_fails_says_so(python: Python) -> None:
    code = """
import sys
from frozenfinder.__main__ import main
from frozenfinder.cli import demo
demo.PROGRAM = "raise RuntimeError('as it is')"
sys.exit(main(["demo"]))
"""
    done = python("-c", code, check=False)
    message = "frozenfinder: the program failed, status 1: RuntimeError: as it is\n"
    assert (done.returncode, done.stderr) == (1, message)


def boots(*milliseconds: float) -> list[Boot]:
    return [Boot(each / 1000, 300, 200, ()) for each in milliseconds]


def test_the_ratio_is_the_median_of_the_pairs() -> None:
    told = describe_times(boots(100, 200, 300), boots(50, 160, 180)).splitlines()
    assert told == [
        "",
        "import time       before       after",
        "median          200.0 ms    160.0 ms",
        "fastest         100.0 ms     50.0 ms",
        "",
        "after/before: median 0.60, quartiles 0.50 and 0.80",
        "3 pairs of fresh processes in turn; after was faster in 3 of them.",
        "'After' includes the import of frozenfinder and the opening of the registry.",
    ]


def test_figures_that_tell_nothing_are_said_to() -> None:
    told = describe_times(boots(100, 100, 100, 100), boots(80, 90, 110, 120))
    assert told.endswith("No significant difference: the quartiles are on both sides of 1.")


def test_what_was_not_served_is_told_with_the_reason() -> None:
    boot = Boot(1.0, 310, 200, tuple(f"module{number}: a reason" for number in range(7)))
    told = describe_served(boot, 300).splitlines()
    assert told[0] == "Booted a program: 200 of the 300 modules it imports were served."
    assert told[1] == "  not served: module0: a reason"
    assert told[-1] == "  and 2 more"
