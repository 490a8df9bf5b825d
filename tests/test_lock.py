"""The import lock by itself: ownership, depth, bounded waiting, interrupts."""

import _thread
import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from support.interrupts import at_every_event, code_of, interrupt

from frozenfinder.runtime import lock as lock_module
from frozenfinder.runtime.lock import ImportLock, is_importing


@contextmanager
def held_elsewhere(lock: ImportLock) -> Iterator[threading.Thread]:
    """Another thread holds the lock meanwhile."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with holding(lock):
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        yield thread
    finally:
        done.set()
        thread.join()


def elsewhere(function: Callable[[], object]) -> object:
    """What `function` returns when another thread calls it."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


@contextmanager
def holding(lock: ImportLock) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def run_under(lock: ImportLock, body: Callable[[], object] = lambda: None) -> None:
    """The pattern that the module's docstring gives for running a body."""
    mark = lock.mark()
    try:
        try:
            lock.acquire()
            body()
        finally:
            lock.rewind(mark)
    finally:
        lock.rewind(mark)


def test_a_new_lock_is_free() -> None:
    lock = ImportLock()
    assert (lock.held(), lock.depth, lock.owner, lock.generation) == (False, 0, None, 0)


def test_it_is_taken_again_by_the_thread_that_holds_it() -> None:
    lock = ImportLock()
    assert lock.acquire()
    assert lock.acquire(blocking=False)
    assert (lock.held(), lock.depth, lock.owner) == (True, 2, threading.get_ident())


def test_it_is_free_after_as_many_releases_as_acquisitions() -> None:
    lock = ImportLock()
    for _ in range(3):
        lock.acquire()
    lock.release()
    assert (lock.depth, lock.owner) == (2, threading.get_ident())
    lock.release()
    assert (lock.depth, lock.owner) == (1, threading.get_ident())
    lock.release()
    assert (lock.held(), lock.depth, lock.owner) == (False, 0, None)


def test_release_raises_for_a_lock_that_is_free() -> None:
    with pytest.raises(RuntimeError, match=r"^not holding the import lock$"):
        ImportLock().release()


def test_release_raises_in_a_thread_that_does_not_hold_it() -> None:
    lock = ImportLock()
    with held_elsewhere(lock) as holder:
        with pytest.raises(RuntimeError, match=r"^not holding the import lock$"):
            lock.release()
        assert lock.owner == holder.ident


def test_depth_and_held_are_the_calling_threads_own() -> None:
    lock = ImportLock()
    with holding(lock):
        assert elsewhere(lambda: (lock.depth, lock.held())) == (0, False)
        assert elsewhere(lambda: lock.owner) == threading.get_ident()


def test_generation_counts_outermost_acquisitions() -> None:
    lock = ImportLock()
    for expected in (1, 2):
        with holding(lock), holding(lock):
            assert lock.generation == expected
        assert lock.generation == expected


def test_acquire_without_blocking_fails_while_another_thread_holds_it() -> None:
    lock = ImportLock()
    with held_elsewhere(lock):
        assert not lock.acquire(blocking=False)
    assert lock.yielded == {"cycle": 0, "timeout": 0, "finalizing": 0}


def test_a_timeout_of_the_callers_own_is_not_counted_as_yielding() -> None:
    lock = ImportLock()
    with held_elsewhere(lock):
        assert not lock.acquire(timeout=0)
        assert not lock.acquire(timeout=1.5 * lock_module.SLICE)
        assert not lock.acquire(timeout=0.01)
        assert lock.yielded["timeout"] == 0
        assert not lock.acquire()
        assert not lock.acquire(timeout=0)
        assert lock.yielded["timeout"] == 1


def test_only_a_hold_that_was_waited_for_throughout_is_not_waited_for_again() -> None:
    lock = ImportLock()
    lock.generation = 2
    patience = lock_module.PATIENCE
    assert lock._reason_to_go_on(1, 2 * patience) == "timeout"
    assert lock._reason_to_go_on(2, patience / 2) == ""
    assert lock._reason_to_go_on(2, patience) == "timeout"
    assert lock._reason_to_go_on(1, patience) == "timeout"
    assert lock._reason_to_go_on(2, 0.0) == "timeout"


@pytest.mark.parametrize("arguments", [(False, 1.0), (True, -2.0), (True, -0.5), (False, 0.0)])
def test_acquire_refuses_a_timeout_that_makes_no_sense(arguments: tuple[bool, float]) -> None:
    lock = ImportLock()
    with pytest.raises(ValueError, match="needs blocking=True and may not be negative") as raised:
        lock.acquire(*arguments)
    assert str(raised.value) == (
        f"timeout {arguments[1]!r} needs blocking=True and may not be negative"
    )
    assert not lock.held()


@pytest.mark.parametrize("arguments", [(False, -1), (False, -1.0), (True, -1.0)])
def test_a_timeout_of_minus_one_is_none(arguments: tuple[bool, float]) -> None:
    lock = ImportLock()
    assert lock.acquire(*arguments)
    lock.release()


def test_a_waiter_gets_it_as_soon_as_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "PATIENCE", 60)
    monkeypatch.setattr(lock_module, "SLICE", 60)
    lock = ImportLock()
    acquired: list[bool] = []
    with holding(lock):
        thread = threading.Thread(target=lambda: acquired.append(lock.acquire()), daemon=True)
        thread.start()
        while not lock._waiting:
            time.sleep(0.001)
    thread.join(timeout=30)
    assert acquired == [True]


def test_a_waiter_does_not_sleep_where_the_lock_became_free_before_it_could_be_woken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = ImportLock()
    taken, leave = threading.Event(), threading.Event()
    calls: list[dict[str, object]] = []
    slice_over = SimpleNamespace(acquire=lambda **options: calls.append(options))
    monkeypatch.setattr(lock_module, "allocate_lock", lambda: slice_over)

    def hold() -> None:
        with holding(lock):
            taken.set()
            leave.wait()

    class Waiting(list[object]):
        """The holder releases it before the waiter is in the list, and so wakes nobody."""

        def append(self, each: object) -> None:
            leave.set()
            holder.join()
            super().append(each)

    lock._waiting = Waiting()
    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    assert lock.acquire()
    assert calls == [{}]  # to lock it, not to wait


def test_two_threads_that_wake_the_waiters_at_once_are_both_done() -> None:
    lock = ImportLock()
    woken: list[_thread.LockType] = []

    class Waiting(list[_thread.LockType]):
        """Another thread takes the last one between this one's look and its `pop`."""

        def pop(self, *_: object) -> _thread.LockType:
            woken.append(super().pop())
            return super().pop()

    waiting = _thread.allocate_lock()
    lock.acquire()
    lock._waiting = Waiting([waiting])
    lock.release()
    assert (lock.owner, woken, lock._waiting) == (None, [waiting], [])


def test_a_waiter_goes_on_without_it_when_its_patience_is_over() -> None:
    lock = ImportLock()
    with held_elsewhere(lock):
        assert not lock.acquire()
        assert lock.yielded == {"cycle": 0, "timeout": 1, "finalizing": 0}


def test_a_hold_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = ImportLock()
    with held_elsewhere(lock):
        assert not lock.acquire()
        monkeypatch.setattr(lock_module, "PATIENCE", float("inf"))
        assert not lock.acquire()
        assert not elsewhere(lock.acquire)
        assert lock.yielded["timeout"] == 3


def test_the_next_hold_is_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = ImportLock()
    with held_elsewhere(lock):
        assert not lock.acquire()
    monkeypatch.setattr(lock_module, "PATIENCE", float("inf"))
    with holding(lock):
        thread = threading.Thread(target=lock.acquire)
        thread.start()
        thread.join(timeout=0.02)
        assert thread.is_alive()
    thread.join()
    assert lock.yielded["timeout"] == 1


@pytest.mark.parametrize("leads_back", [False, True])
def test_a_cycle_among_other_threads_is_followed_once(
    leads_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads that wait for each other; and a third, which is the waiter or waits for none."""
    waiter = threading.get_ident() if leads_back else -3
    awaited = {-1: [-2], -2: [-1, waiter]}
    locks = {
        thread: [SimpleNamespace(owner=owner) for owner in owners]
        for thread, owners in awaited.items()
    }
    monkeypatch.setattr("frozenfinder.runtime.lock.blocking_on", locks)
    assert lock_module._leads_to(threading.get_ident(), -1) is leads_back
    assert not lock_module._leads_to(threading.get_ident(), None)


def test_rewind_undoes_every_acquisition_since_the_mark() -> None:
    lock = ImportLock()
    with holding(lock):
        mark = lock.mark()
        lock.acquire()
        lock.acquire()
        lock.rewind(mark)
        assert (lock.depth, lock.owner) == (1, threading.get_ident())
        lock.rewind(mark)
        assert lock.depth == 1
    assert (lock.depth, lock.owner) == (0, None)


def test_rewind_does_nothing_where_the_thread_is_not_as_deep_as_the_mark() -> None:
    lock = ImportLock()
    with holding(lock):
        lock.rewind(3)
        assert (lock.depth, lock.owner) == (1, threading.get_ident())


@pytest.mark.parametrize(("owner", "dropped"), [(-1, True), (None, False), (0, False), (1, True)])
def test_module_locks_of_other_threads_are_dropped_in_a_child(
    owner: int | None, dropped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`owner` is the difference to the identifier of the only thread that is left."""
    me = threading.get_ident()
    lock = SimpleNamespace(owner=None if owner is None else me + owner)
    locks = {"gone": lambda: None, "never_imported": lambda: lock}
    waiting = {me - 1: [lock], me: [lock], me + 1: [lock]}
    monkeypatch.setattr("frozenfinder.runtime.lock.module_locks", locks)
    monkeypatch.setattr("frozenfinder.runtime.lock.blocking_on", waiting)
    assert lock_module._forget_other_threads(lambda *_: False) == {}
    assert ("never_imported" in locks) is not dropped
    assert list(waiting) == [me]


def test_rewind_leaves_another_threads_hold_alone() -> None:
    lock = ImportLock()
    with held_elsewhere(lock) as holder:
        lock.rewind(lock.mark())
        assert lock.owner == holder.ident
    with holding(lock):
        elsewhere(lambda: lock.rewind(lock.mark()))  # of the two identifiers, one is the greater
        assert lock.owner == threading.get_ident()


def test_a_body_that_raises_leaves_the_depth_as_it_was() -> None:
    lock = ImportLock()
    with pytest.raises(ZeroDivisionError):
        run_under(lock, lambda: 1 // 0)
    assert (lock.depth, lock.owner) == (0, None)


LOCK_CODE = code_of(ImportLock, lock_module, run_under)


@pytest.mark.parametrize("opcodes", [False, True], ids=["lines", "instructions"])
@pytest.mark.parametrize("depth", [0, 2])
def test_an_interrupt_anywhere_leaves_the_depth_as_it_was(depth: int, opcodes: bool) -> None:
    lock = ImportLock()
    for _ in range(depth):
        lock.acquire()
    for tracer in at_every_event(interrupt, LOCK_CODE, opcodes=opcodes):
        try:
            with tracer:
                run_under(lock)
        except KeyboardInterrupt:
            assert tracer.reached
        assert lock.depth == depth
        assert lock.owner == (threading.get_ident() if depth else None)
    lock.rewind(0)
    assert elsewhere(lambda: lock.acquire(blocking=False))


def test_an_interrupt_anywhere_of_waiting_leaves_the_holder_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock_module, "PATIENCE", 3 * lock_module.SLICE)
    lock = ImportLock()
    with held_elsewhere(lock) as holder:
        for tracer in at_every_event(interrupt, LOCK_CODE, opcodes=False):
            lock.generation += 1  # a hold that nobody has waited for
            try:
                with tracer:
                    run_under(lock)
            except KeyboardInterrupt:
                assert tracer.reached
            assert (lock.depth, lock.owner) == (0, holder.ident)


@pytest.mark.parametrize("opcodes", [False, True], ids=["lines", "instructions"])
def test_what_a_signal_handler_runs_under_it_nests_anywhere(opcodes: bool) -> None:
    lock = ImportLock()
    depths: list[int] = []

    def handle() -> None:
        run_under(lock, lambda: depths.append(lock.depth))

    for tracer in at_every_event(handle, LOCK_CODE, opcodes=opcodes):
        with tracer:
            run_under(lock)
        assert (lock.depth, lock.owner) == (0, None)
    assert set(depths) == {1, 2}


def test_it_is_initialized_as_long_as_there_is_a_table_of_modules() -> None:
    lock = ImportLock()
    table = sys.modules
    assert lock.is_initialized()
    try:
        del sys.modules
        initialized = lock.is_initialized()
    finally:
        sys.modules = table
    assert not initialized


def test_a_module_is_being_imported_by_the_thread_that_imports_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_importing_elsewhere(name: str) -> bool:
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(is_importing(name)))
        thread.start()
        thread.join()
        return found[0]

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "imported_here":
                seen.append(
                    (is_importing(name), is_importing("json"), is_importing_elsewhere(name))
                )

    seen: list[tuple[bool, bool, bool]] = []
    monkeypatch.setattr(sys, "meta_path", [Finder])
    assert importlib.util.find_spec("imported_here") is None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("imported_here")
    assert seen == [(False, False, False), (True, False, False)]


def test_a_waiter_goes_on_without_it_when_the_interpreter_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = ImportLock()
    with held_elsewhere(lock):
        monkeypatch.setattr(sys, "is_finalizing", lambda: True)
        assert not lock.acquire()
        monkeypatch.undo()
    assert lock.yielded == {"cycle": 0, "timeout": 0, "finalizing": 1}


def test_reinit_keeps_what_is_held_where_there_is_no_table_of_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = ImportLock()
    lock.acquire()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "modules", None)
        lock.reinit(lambda *_: True)
    assert (lock.depth, lock.owner, lock.abandoned) == (1, _thread.get_ident(), {})
