"""The lazy code of the modules of a plan, and what happens to those that resist."""

import marshal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from support.sources import write_tree

from frozenfinder.freezer.defer import program as program_module
from frozenfinder.freezer.defer.program import LazyProgram, Outcome
from frozenfinder.freezer.defer.proof import Unproved, prove
from frozenfinder.freezer.plan import Module, Plan, Root

guards_only = pytest.mark.skipif(sys.version_info >= (3, 15), reason="3.15 needs no guards")

Make = Callable[..., Outcome]


def find_nothing(name: str) -> Iterator[ModuleSpec]:
    return iter(())


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """The outcome for the module `m` with a source, beside modules `a` and `b` with `x` and `y`."""

    def call(source: str | bytes, **changes: Any) -> Outcome:
        write_tree(tmp_path, {"m.py": source, "a.py": "x = y = 1\n", "b.py": "x = y = 1\n"})
        root = Root("absolute", str(tmp_path), str(tmp_path))
        modules = tuple(Module(name, root, f"{name}.py") for name in ("m", "a", "b", "gone"))
        plan = replace(Plan(roots=(root,), modules=modules, lazy=True), **changes)
        return LazyProgram(plan, find_nothing).make(modules[0])

    return call


def test_a_module_with_nothing_to_wait_for_has_no_code(make: Make) -> None:
    assert make("x = 1\n") == Outcome("m")


def test_the_code_of_a_module_has_its_names(make: Make) -> None:
    found = make("from a import x, y as z\nimport b, gone\ndef f():\n    return x, b, gone\n")
    assert found.lazy == ("x", "z", "b", "gone")
    assert found.eager == ()
    assert found.code


@guards_only
def test_the_lines_of_the_code_are_those_of_the_source(make: Make) -> None:
    source = "'text'\nfrom __future__ import annotations\n\nfrom a import x\ny = 1\nf = lambda: x\n"
    code = marshal.loads(make(source).code)
    lines = {line for _, _, line in code.co_lines() if line}
    assert lines == {1, 2, 4, 5, 6}
    inside = [each for each in code.co_consts if isinstance(each, CodeType)]
    assert {each.co_firstlineno for each in inside} == {4, 6}


def test_a_source_that_cannot_be_read_has_no_code(make: Make) -> None:
    assert make("import (") == Outcome("m", whole="its source cannot be read")


def test_an_eager_pattern_is_told(make: Make) -> None:
    found = make("from a import x\n", eager=("m*",))
    assert found == Outcome("m", whole="it is eager by 'm*'")


def test_a_source_that_goes_away_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> object:
        raise RecursionError("too deep")

    monkeypatch.setattr(program_module, "make_lazy", fail)
    found = make("from a import x\nimport sys\n")
    assert found.whole == "its code cannot be made: RecursionError: too deep"
    assert found.eager == (("sys", "nothing in the module uses it"),)


@guards_only
def test_a_name_whose_guard_is_not_proved_is_eager(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from frozenfinder.freezer.defer import guards

    def refuse(old: CodeType, new: CodeType, names: set[str]) -> None:
        if "x" in names:
            raise Unproved(old, ["x"], "as told")
        prove(old, new, names)

    monkeypatch.setattr(guards, "prove", refuse)
    found = make("from a import x, y\ndef f():\n    return x, y\n")
    assert found.eager == (("x", "its guard was not proved: f: as told"),)
    assert found.lazy == ("y",)
    both = make("from a import x\ndef f():\n    return x\n")
    assert (both.lazy, both.code) == ((), b"")


@guards_only
def test_a_function_that_cannot_be_measured_is_left_as_it_is(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from frozenfinder.freezer.defer import proof

    measure = proof.measure_depths

    def refuse(code: CodeType) -> list[proof.Instruction]:
        if code.co_name == "odd":
            raise ValueError("as told")
        return measure(code)

    monkeypatch.setattr(proof, "measure_depths", refuse)
    found = make("from a import x, y\ndef odd():\n    return x\ndef f():\n    return y\n")
    assert found.eager == (("x", "its guard was not proved: odd: as told"),)
    assert found.lazy == ("y",)


@guards_only
@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of 3.12")
def test_a_load_that_can_have_no_guard_makes_its_name_eager(make: Make) -> None:
    """In a class body below type parameters, names are loaded in another way."""
    source = "from a import x, y\ndef f[T]():\n    class C[U]:\n        z = x\n    return C, y\n"
    found = make(source)
    assert set(found.lazy) | {name for name, _ in found.eager} == {"x", "y"}
    assert "y" in found.lazy
