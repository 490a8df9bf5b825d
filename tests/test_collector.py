"""The collector is relaxed while modules are imported, and as it was afterwards."""

import gc
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.overlays import Tree
from support.processes import Python

from frozenfinder.runtime.collector import FROZEN_AT_START, LIMIT, PROMOTED, RELAXED, Collector
from frozenfinder.runtime.system import FREE_THREADED

generations = pytest.mark.skipif(
    FREE_THREADED, reason="a build without a GIL has no generations, and gets no collector"
)


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[tuple[int, ...]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


def test_it_raises_the_first_threshold_and_puts_it_back(thresholds: tuple[int, ...]) -> None:
    collector = Collector()
    collector.relax()
    assert gc.get_threshold() == (RELAXED, *thresholds[1:])
    assert gc.isenabled()
    collector.restore()
    assert gc.get_threshold() == thresholds


def test_relaxing_twice_remembers_what_was_usual(thresholds: tuple[int, ...]) -> None:
    collector = Collector()
    collector.relax()
    collector.relax()
    collector.restore()
    collector.restore()
    assert gc.get_threshold() == thresholds


@pytest.mark.parametrize("generation", [0, 1])
def test_an_import_after_a_collection_is_relaxed_again_and_heard_of_once(
    thresholds: tuple[int, ...], generation: int
) -> None:
    before = list(gc.callbacks)
    collector = Collector()
    collector.relax()
    gc.collect()
    assert gc.get_threshold()[0] == RELAXED  # the program may collect everything itself
    gc.collect(generation)
    assert gc.get_threshold() == thresholds
    collector.relax()
    assert gc.get_threshold()[0] == RELAXED
    assert len(gc.callbacks) == len(before) + 1
    collector.restore()
    assert (gc.get_threshold(), gc.callbacks) == (thresholds, before)


@pytest.mark.parametrize("own", [0, RELAXED, RELAXED * 2])
def test_a_collector_that_is_off_or_later_already_is_left_alone(own: int) -> None:
    gc.set_threshold(own)
    before = gc.get_threshold()
    collector = Collector()
    collector.relax()
    assert gc.get_threshold() == before
    collector.restore()
    assert gc.get_threshold() == before


def test_what_the_program_sets_meanwhile_stands() -> None:
    collector = Collector()
    collector.relax()
    gc.set_threshold(1234)
    collector.restore()
    assert gc.get_threshold()[0] == 1234


@generations
def test_what_an_import_left_is_promoted_without_a_collection(thresholds: tuple[int, ...]) -> None:
    collections: list[str] = []
    collector = Collector()
    collector.relax()
    left: list[list[object]] = [[] for _ in range(2 * thresholds[0])]
    gc.callbacks.append(lambda phase, _: collections.append(phase))
    try:
        collector.restore()
        assert gc.get_count()[0] < thresholds[0]
    finally:
        gc.callbacks.pop()
    assert collections == []
    assert gc.get_freeze_count() < FROZEN_AT_START
    assert all(map(gc.is_tracked, left))


@generations
def test_what_is_promoted_is_in_the_oldest_generation(thresholds: tuple[int, ...]) -> None:
    collector = Collector()
    collector.relax()
    left: list[list[object]] = [[] for _ in range(2 * thresholds[0])]
    collector.restore()
    promoted = set(map(id, gc.get_objects(generation=2)))
    assert all(id(each) in promoted for each in left)


@generations
def test_a_long_import_is_promoted_piece_by_piece_and_never_collected(
    tmp_path: Path, python: Python
) -> None:
    tree = Tree(tmp_path, python)
    part = f"made = [[] for _ in range({PROMOTED + 1000})]\n"
    parts = [f"part{number}" for number in range(4)]
    tree.write({f"{name}.py": part for name in parts})
    tree.write({"whole.py": f"import {', '.join(parts)}\n"})
    tree.freeze()
    code = f"""
import sys
sys.path.insert(0, {str(tree.lib)!r})
import gc, frozenfinder
frozenfinder.install({str(tree.registry)!r})
gc.collect()
gc.callbacks.append(lambda phase, info: print(phase, info))
import whole
gc.callbacks.clear()
print(gc.get_freeze_count() < {FROZEN_AT_START})
"""
    assert python("-c", code).stdout == "True\n"


@generations
def test_less_than_that_waits_for_the_end_of_the_import() -> None:
    collector = Collector()
    collector.relax()
    gc.collect()
    left: list[list[object]] = [[] for _ in range(PROMOTED // 2)]
    collector.promote()
    assert gc.get_count()[0] >= len(left) - 100
    collector.restore()


def test_garbage_that_was_promoted_is_collected_in_the_end(thresholds: tuple[int, ...]) -> None:
    collector = Collector()
    collector.relax()
    for _ in range(2 * thresholds[0]):
        cycle: list[object] = []
        cycle.append(cycle)
    collector.restore()
    assert gc.collect() >= 2 * thresholds[0] - 1


def test_garbage_of_imports_without_end_is_collected_while_they_go_on() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me = self

    collector = Collector()
    for _ in range(4 * LIMIT // RELAXED):
        collector.relax()
        for _ in range(RELAXED // 2):
            Cycle()
        collector.restore()
    left = sum(type(each) is Cycle for each in gc.get_objects())
    assert 0 < left < LIMIT + 2 * RELAXED


def test_what_the_program_has_frozen_stays_frozen(thresholds: tuple[int, ...]) -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        collector = Collector()
        collector.relax()
        left: list[list[object]] = [[] for _ in range(2 * thresholds[0])]
        collector.restore()
        assert gc.get_freeze_count() > frozen - 100  # some may have been freed
        assert left
    finally:
        gc.unfreeze()


@generations
@pytest.mark.parametrize(
    ("env", "inside"),
    [({}, RELAXED), ({"FROZENFINDER_WITHOUT": "collector"}, gc.get_threshold()[0])],
)
def test_bodies_see_it_relaxed_unless_it_is_switched_off(
    env: dict[str, str], inside: int, tmp_path: Path, python: Python
) -> None:
    tree = Tree(tmp_path, python)
    tree.write(
        {
            "outer.py": "import inner, gc\nSEEN = inner.SEEN, gc.get_threshold()[0]\n",
            "inner.py": "import gc\nSEEN = gc.get_threshold()[0]\n",
            "failing.py": "raise ValueError\n",
        }
    )
    tree.freeze()
    code = f"""
import sys
sys.path.insert(0, {str(tree.lib)!r})
import gc, frozenfinder
frozenfinder.install({str(tree.registry)!r})
before = gc.get_threshold()
import outer
print(*outer.SEEN, gc.get_threshold() == before)
try:
    import failing
except ValueError:
    print(gc.get_threshold() == before)
"""
    assert python("-c", code, env=env).stdout == f"{inside} {inside} True\nTrue\n"


def test_a_body_that_allocates_much_gets_the_usual_threshold_back(
    thresholds: tuple[int, ...],
) -> None:
    collector = Collector()
    collector.relax()
    assert gc.get_threshold()[0] == RELAXED
    kept = [[number] for number in range(2 * RELAXED)]
    assert gc.get_threshold() == thresholds
    collector.restore()
    assert len(kept) == 2 * RELAXED
    assert not any(callback.__self__ is collector for callback in _bound(gc.callbacks))


def _bound(callbacks: list[Any]) -> list[Any]:
    return [callback for callback in callbacks if hasattr(callback, "__self__")]


@pytest.mark.parametrize("rounded", [int, math.ceil, round])
@pytest.mark.parametrize(
    "factor",
    [
        Fraction(1),
        Fraction(2),
        Fraction(10),
        Fraction(100),
        Fraction(3, 2),
        Fraction(1, 2),
        Fraction(1, 3),
        Fraction(7, 8),
        Fraction(1, 20),
    ],
    ids=str,
)
def test_a_threshold_that_a_body_read_and_multiplied_is_that_times_the_usual(
    thresholds: tuple[int, ...], factor: Fraction, rounded: Callable[[Fraction], int]
) -> None:
    collector = Collector()
    collector.relax()
    first, *others = gc.get_threshold()
    gc.set_threshold(rounded(first * factor), *(each + 1 for each in others))
    others = list(gc.get_threshold()[1:])
    collector.restore()
    found, *found_others = gc.get_threshold()
    assert abs(found - thresholds[0] * factor) < 1
    assert found_others == others


@pytest.mark.parametrize(
    "chosen",
    [500, 5_000, 7_000, 10_000, 25_000, 50_000, 52_300, 57_600, 100_000, 150_000, 1_000_000],
)
def test_a_threshold_that_a_body_chooses_stands(thresholds: tuple[int, ...], chosen: int) -> None:
    collector = Collector()
    collector.relax()
    gc.set_threshold(chosen)
    collector.restore()
    assert gc.get_threshold() == (chosen, *thresholds[1:])


def test_a_fraction_that_is_less_than_the_usual_is_a_fraction_of_the_usual() -> None:
    gc.set_threshold(10_000)
    collector = Collector()
    collector.relax()
    gc.set_threshold(gc.get_threshold()[0] // 20)
    collector.restore()
    assert gc.get_threshold()[0] == 500


def test_the_lowest_threshold_is_raised_and_no_fraction_of_it_is_less() -> None:
    gc.set_threshold(1)
    collector = Collector()
    collector.relax()
    assert gc.get_threshold()[0] == RELAXED
    gc.set_threshold(RELAXED // 20)
    collector.restore()
    assert gc.get_threshold()[0] == 1


@generations
def test_nothing_is_promoted_where_the_program_has_set_a_threshold_meanwhile() -> None:
    collector = Collector()
    collector.relax()
    gc.disable()
    try:
        gc.set_threshold(1234)
        left: list[list[object]] = [[] for _ in range(PROMOTED + 1000)]
        collector.promote()
        assert gc.get_count()[0] > PROMOTED
    finally:
        gc.enable()
    assert len(left) > PROMOTED
