"""Imports from many threads, from signal handlers and finalizers, and while the process exits.

What can hang runs in a process of its own.
"""

import gc
import importlib
import json
import sys
from collections.abc import Iterator

import pytest
from programs.import_graphs import Source, from_registry
from programs.import_scenarios import HUNG, SCENARIOS
from programs.threaded_import import SCENARIOS as CPYTHONS_SCENARIOS
from support.interrupts import at_every_event, code_of, interrupt
from support.processes import LONG_TIMEOUT, TESTS, Python, RunPython

from frozenfinder.runtime import finder, loader, lock
from frozenfinder.runtime.hooks import import_lock

LOCK_CODE = code_of(
    lock,
    lock.ImportLock,
    finder.ServingFinder.enter,
    finder.ServingFinder.leave,
    loader.Locked.exec_module,
    loader.FrozenExtensionLoader.create_module,
)
RESOLVED_BY = {"s1": "cycle", "s2": "timeout", "s3": "timeout", "s4": "cycle"}

scenarios = pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name == "s4" and sys.platform == "win32", reason="there is no fork"
            ),
        )
        for name in SCENARIOS
    ],
)


@scenarios
def test_a_plain_lock_deadlocks_in(scenario: str, python: Python) -> None:
    plain = ("programs.import_scenarios", scenario, "--plain")
    done = python("-m", *plain, cwd=TESTS, check=False)
    assert done.returncode == HUNG
    expected = ["holder"] if scenario == "s2" else ["holder", "waiter"]
    assert json.loads(done.stdout) == {"hung": expected, "waiters": 1}


@scenarios
def test_the_import_lock_does_not_deadlock_in(scenario: str, python: Python) -> None:
    done = python("-m", "programs.import_scenarios", scenario, cwd=TESTS)
    outcome = json.loads(done.stdout)
    assert set(outcome["yielded"]) == {RESOLVED_BY[scenario[:2]]}
    assert len(outcome["executed"]) == len(set(outcome["executed"])) > 1
    assert outcome["owner"] is None


@pytest.mark.long
def test_threads_that_import_an_acyclic_graph_get_what_stock_gives_one_thread(
    python: Python,
) -> None:
    argv = ("programs.import_graphs", "acyclic", "--rounds", "50")
    done = python("-m", *argv, cwd=TESTS, timeout=LONG_TIMEOUT)
    found = json.loads(done.stdout)
    assert found["errors"] == found["not as stock"] == found["not once"] == 0, found
    assert found["depth"] == 0
    assert found["false alarms"] <= 2


@pytest.mark.long
def test_threads_that_import_a_cyclic_graph_raise_no_other_errors_than_stock(
    python: Python,
) -> None:
    argv = ("programs.import_graphs", "cyclic", "--rounds", "50", "--goes", "8000")
    done = python("-m", *argv, cwd=TESTS, timeout=LONG_TIMEOUT)
    found = json.loads(done.stdout)
    assert found["unknown to stock"] == 0, f"{done.stdout}{done.stderr}"
    assert found["depth"] == 0


@pytest.mark.parametrize("mode", ["overlay", "closed"])
def test_threads_that_import_everything_at_once_raise_nothing(mode: str, python: Python) -> None:
    done = python("-m", "programs.import_storm", mode, "--rounds", "25", cwd=TESTS)
    # 50 modules, and the package of each of the two data files
    assert json.loads(done.stdout) == {"wrong": {}, "served": 25 * 52, "depth": 0}


@pytest.mark.parametrize("scenario", CPYTHONS_SCENARIOS)
def test_cpythons_threaded_import(scenario: str, python: Python) -> None:
    python("-m", "programs.threaded_import", scenario, cwd=TESTS)


@pytest.fixture
def served() -> Iterator[None]:
    """A registry of `outer`, which imports `inner`, and of `other`."""
    sources = {
        "outer": Source("import inner\nvalue = inner.value"),
        "inner": Source("value = 1"),
        "other": Source("value = 2"),
    }
    with from_registry(sources):
        yield


def forget(*names: str) -> None:
    for name in names:
        sys.modules.pop(name, None)


def import_other() -> None:
    """What a signal handler or a finalizer may do at any time."""
    forget("other")
    assert importlib.import_module("other").value == 2


tracing = pytest.mark.parametrize("opcodes", [False, True], ids=["lines", "instructions"])


@tracing
@pytest.mark.usefixtures("served")
def test_after_an_interrupt_anywhere_in_the_loader_the_next_import_works(opcodes: bool) -> None:
    for tracer in at_every_event(interrupt, LOCK_CODE, opcodes=opcodes):
        forget("outer", "inner")
        try:
            with tracer:
                importlib.import_module("outer")
        except KeyboardInterrupt:
            assert tracer.reached
        assert (import_lock.depth, import_lock.owner) == (0, None)
        assert importlib.import_module("outer").value == 1


@tracing
@pytest.mark.usefixtures("served")
def test_a_signal_handler_may_import_anywhere_in_the_loader(opcodes: bool) -> None:
    for tracer in at_every_event(import_other, LOCK_CODE, opcodes=opcodes):
        forget("outer", "inner")
        with tracer:
            assert importlib.import_module("outer").value == 1
        assert (import_lock.depth, import_lock.owner) == (0, None)


@tracing
@pytest.mark.usefixtures("served")
def test_a_callback_of_the_garbage_collector_may_import_anywhere_in_the_loader(
    opcodes: bool,
) -> None:
    def call_back(phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            import_other()

    gc.callbacks.append(call_back)
    try:
        for tracer in at_every_event(lambda: gc.collect(0), LOCK_CODE, opcodes=opcodes):
            forget("outer", "inner")
            with tracer:
                assert importlib.import_module("outer").value == 1
            assert (import_lock.depth, import_lock.owner) == (0, None)
    finally:
        gc.callbacks.remove(call_back)


PROLOGUE = f"""
import atexit, faulthandler, gc, importlib, signal, sys, threading, time
sys.path.insert(0, {str(TESTS)!r})
faulthandler.dump_traceback_later(100, exit=True)
from programs.import_graphs import Source, pack
from frozenfinder.runtime.hooks import import_lock, install

def import_again(name):
    sys.modules.pop(name, None)
    return importlib.import_module(name)

def import_forever(name):
    while True:
        import_again(name)

def start_daemon(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True).start()

sources = {{f"m{{at}}": Source("import time; time.sleep(0)") for at in range(8)}}
sources["endless"] = Source("import time\\nwhile True: time.sleep(0.001)")
install(pack(sources), mode="closed")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no interval timer")
def test_signal_handlers_may_import_while_threads_do(run_python: RunPython) -> None:
    code = """
handled = []
def handle(*_):
    if time.monotonic() < deadline:
        import_again("m0")
        handled.append(import_lock.depth)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
for at in (1, 2, 3):
    start_daemon(import_forever, f"m{at}")
deadline = time.monotonic() + 1
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0005)
while time.monotonic() < deadline:
    try:
        import_again("m4")
    except KeyError:  # importlib's own lock is not re-entrant on 3.11 (gh-91351)
        assert sys.version_info < (3, 12)
signal.setitimer(signal.ITIMER_REAL, 0)
assert len(handled) > 10
assert import_lock.depth == 0
"""
    run_python(PROLOGUE + code)


@pytest.mark.parametrize("attempt", range(5))
def test_a_process_exits_while_daemon_threads_import(attempt: int, run_python: RunPython) -> None:
    code = f"""
for at in range(6):
    start_daemon(import_forever, f"m{{at}}")
atexit.register(import_again, "m6")
time.sleep(0.01 * {attempt})
"""
    assert run_python(PROLOGUE + code).stderr == ""


def test_a_process_exits_while_a_daemon_thread_holds_the_lock(run_python: RunPython) -> None:
    code = """
class Late:
    def __init__(self):
        self.cycle = self
    def __del__(self):
        import_again("m1")
        print(sys.is_finalizing(), import_lock.yielded["finalizing"])

gc.disable()
Late()
atexit.register(gc.enable)
atexit.register(import_again, "m0")
start_daemon(importlib.import_module, "endless")
while import_lock.owner is None:
    time.sleep(0.001)
"""
    done = run_python(PROLOGUE + code)
    assert done.stderr == ""
    assert done.stdout == "True 1\n"
