"""`call_all`: functions that are called in several threads."""

import os
import time
from _thread import get_ident
from functools import partial
from threading import Barrier

import pytest

from frozenfinder.native import workers
from frozenfinder.native.workers import call_all


@pytest.fixture(params=[1, 2, 3])
def processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many processors this process seems to have."""
    count: int = request.param
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)), raising=False)
    return count


def test_the_results_are_in_the_order_of_the_functions(processors: int) -> None:
    def dawdle(number: int) -> int:
        time.sleep(0.02 / (number + 1))
        return number

    assert call_all([partial(dawdle, number) for number in range(5)]) == [*range(5)]


def test_no_function_has_no_result() -> None:
    assert call_all([]) == []


def test_each_processor_has_a_thread(processors: int) -> None:
    everyone = Barrier(processors, timeout=10)
    found = set(call_all([lambda: everyone.wait() * 0 + get_ident()] * processors))
    assert len(found) == processors
    assert get_ident() in found


def test_one_function_has_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert call_all([get_ident]) == [get_ident()]


def test_without_another_thread_the_caller_does_all(
    processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "start_new_thread", refuse)
    assert call_all([get_ident] * 5) == [get_ident()] * 5


def test_a_system_may_not_say_which_processors_a_process_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count in (None, 2):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert call_all([lambda: 1, lambda: 2]) == [1, 2]


def test_after_an_exception_no_other_function_is_begun(processors: int) -> None:
    begun: list[int] = []

    def fail(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)
        raise KeyError(number)

    with pytest.raises(KeyError) as caught:
        call_all([partial(fail, number) for number in range(20)])
    assert caught.value.args[0] in begun
    assert len(begun) <= processors


def test_the_threads_end_before_the_call_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    here = get_ident()
    ended: list[int] = []
    everyone = Barrier(2, timeout=10)

    def work() -> None:
        everyone.wait()
        if get_ident() == here:
            raise KeyboardInterrupt
        time.sleep(0.05)
        ended.append(1)

    with pytest.raises(KeyboardInterrupt):
        call_all([work] * 2)
    assert ended == [1]
