"""A child of a fork imports what other threads of its parent were importing at that moment."""

import json
import sys

import pytest
from support.processes import LONG_TIMEOUT, TESTS, RunPython

from frozenfinder.runtime.system import FREE_THREADED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

PROLOGUE = f"""
import faulthandler, importlib, json, os, sys, threading, time
sys.path.insert(0, {str(TESTS)!r})
from programs.import_graphs import Source, pack
from programs.import_scenarios import locked, until
from frozenfinder.runtime.hooks import import_lock, install

WAIT = "import programs.import_scenarios as s; s.until(lambda: s.executed)"

def serve(**texts):
    names = {{name: name.replace("__", ".") for name in texts}}
    sources = {{names[name]: Source(text, name == "package") for name, text in texts.items()}}
    install(pack(sources), mode="closed")

def in_child(function):
    '''Run it in a child; the child's exit status, 1 after a stack dump if it hangs.'''
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    faulthandler.dump_traceback_later(20, exit=True)
    try:
        os._exit(function() or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(2)

def start(function):
    threading.Thread(target=function, daemon=True).start()
"""


@pytest.mark.skipif(FREE_THREADED, reason="there stock's own imports hang and fail in a child, too")
@pytest.mark.long
def test_none_of_500_children_forked_during_imports_hangs(run_python: RunPython) -> None:
    code = """
slow = "import time; time.sleep(0.002); value = 1"
serve(
    package="import time, package.inner; time.sleep(0.002); value = package.inner.value + 1",
    package__inner=slow + "; import package; parent = package",
    outer="import slow; value = slow.value + 1",
    slow=slow,
    other=slow,
)
groups = [["package", "package.inner"], ["outer", "slow"], ["other"]]

def import_forever(names):
    while True:
        for name in names:
            sys.modules.pop(name, None)
        importlib.import_module(names[0])

def import_all():
    found = len(import_lock.abandoned)
    for names in groups:
        for name in names:
            assert importlib.import_module(name).value > 0
    package = sys.modules["package"]
    assert package.inner.parent is package
    assert import_lock.depth == 0
    return 10 + found

for names in groups:
    start(lambda names=names: import_forever(names))
statuses = [in_child(import_all) for _ in range(500)]
print(json.dumps(statuses))
"""
    statuses = json.loads(run_python(PROLOGUE + code, timeout=LONG_TIMEOUT).stdout)
    assert len(statuses) == 500
    assert {status for status in statuses if not 10 <= status <= 15} == set()
    assert statuses.count(10) < 250, "other threads were hardly importing"


def test_a_module_that_was_being_executed_is_completed_in_place(run_python: RunPython) -> None:
    code = """
serve(
    package="import package.inner; " + WAIT,
    package__inner="import package; parent = package",
)
from programs import import_scenarios
start(lambda: importlib.import_module("package"))
until(lambda: "package.inner" in sys.modules and not locked("package.inner"))
begun = sys.modules["package"]

def complete():
    import_scenarios.executed.append("package")
    inner = sys.modules["package.inner"]
    assert "package" not in sys.modules
    import package
    assert package is begun is inner.parent
    assert package.inner is inner
    assert not package.__spec__._initializing
    assert import_lock.abandoned == {}

assert in_child(complete) == 0
assert sys.modules["package"] is begun
"""
    run_python(PROLOGUE + code)


def test_a_module_that_waited_for_its_package_is_found(run_python: RunPython) -> None:
    code = """
serve(
    package=WAIT,
    package__inner="value = 1",
)
from programs import import_scenarios
start(lambda: importlib.import_module("package.inner"))
until(lambda: "package" in sys.modules)
assert locked("package.inner") or sys.version_info >= (3, 15)  # which locks the package first

def find():
    import_scenarios.executed.append("package")
    import package.inner
    assert package.inner.value == 1

assert in_child(find) == 0
"""
    run_python(PROLOGUE + code)


def test_a_lock_that_another_thread_held_is_free_in_the_child(run_python: RunPython) -> None:
    code = """
serve()
def hold():
    import_lock.acquire()
    time.sleep(1000)
start(hold)
until(lambda: import_lock.owner)

def take():
    assert import_lock.owner is None
    assert import_lock.acquire(blocking=False)
    assert import_lock.depth == 1

assert in_child(take) == 0
assert not import_lock.acquire(blocking=False)
"""
    run_python(PROLOGUE + code)


def test_a_body_that_forks_holds_the_lock_in_both_processes(run_python: RunPython) -> None:
    code = """
serve(outer="import forking; status = forking.status", forking='''
import os
from frozenfinder.runtime.hooks import import_lock
assert import_lock.depth == 2
child = os.fork()
assert import_lock.depth == 2
assert import_lock.owner
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else None
''')
import outer
assert import_lock.depth == 0
assert import_lock.owner is None
if outer.status is None:
    os._exit(7)
assert outer.status == 7
"""
    run_python(PROLOGUE + code)


def test_a_stock_module_that_was_being_executed_is_left_to_cpython(run_python: RunPython) -> None:
    code = """
from programs.import_graphs import from_stock
from programs import import_scenarios
serve()
with from_stock({"plain": Source(WAIT)}):
    start(lambda: importlib.import_module("plain"))
    until(lambda: "plain" in sys.modules)
    begun = sys.modules["plain"]

    def look():
        assert sys.modules["plain"] is begun
        assert locked("plain")

    assert in_child(look) == 0
"""
    run_python(PROLOGUE + code)


@pytest.mark.skipif(FREE_THREADED, reason="a build without a GIL gets no collector")
def test_a_child_has_the_collector_as_the_program_set_it(run_python: RunPython) -> None:
    code = """
import gc
serve(slow="import sys; sys.entered.set(); sys.leave.wait(10)", quick="")
usual = gc.get_threshold()
sys.entered, sys.leave = threading.Event(), threading.Event()
start(lambda: importlib.import_module("slow"))
assert sys.entered.wait(10)
during = gc.get_threshold()

def in_the_child():
    assert gc.get_threshold() == usual, gc.get_threshold()
    importlib.import_module("quick")
    assert gc.get_threshold() == usual, gc.get_threshold()

status = in_child(in_the_child)
sys.leave.set()
print(json.dumps([during != usual, status]))
"""
    assert json.loads(run_python(PROLOGUE + code).stdout) == [True, 0]


def test_a_thread_that_waited_for_a_module_is_forgotten(run_python: RunPython) -> None:
    code = """
serve(slow="import sys; sys.entered.set(); sys.leave.wait(10)")
sys.entered, sys.leave = threading.Event(), threading.Event()
start(lambda: importlib.import_module("slow"))
assert sys.entered.wait(10)
start(lambda: importlib.import_module("slow"))
import _frozen_importlib
until(lambda: len(getattr(_frozen_importlib._blocking_on, "data", _frozen_importlib._blocking_on)))

def look():
    waiting = _frozen_importlib._blocking_on
    assert not getattr(waiting, "data", waiting)
    sys.leave.set()
    import slow

assert in_child(look) == 0
sys.leave.set()
"""
    run_python(PROLOGUE + code)


def test_a_handler_that_forks_while_its_thread_waits_is_not_forgotten(
    run_python: RunPython,
) -> None:
    code = """
import signal
import _frozen_importlib
serve(slow="import sys; sys.entered.set(); sys.leave.wait(10)")
sys.entered, sys.leave = threading.Event(), threading.Event()
start(lambda: importlib.import_module("slow"))
assert sys.entered.wait(10)
statuses = []

def look():
    waiting = _frozen_importlib._blocking_on
    waiting = getattr(waiting, "data", waiting)
    return 0 if list(waiting) == [threading.get_ident()] else 3

def fork(*_):
    statuses.append(in_child(look))
    sys.leave.set()

signal.signal(signal.SIGUSR1, fork)
me = threading.get_ident()

def strike():
    waiting = _frozen_importlib._blocking_on
    until(lambda: me in list(getattr(waiting, "data", waiting)))
    signal.pthread_kill(me, signal.SIGUSR1)

start(strike)
import slow
print(statuses)
"""
    assert run_python(PROLOGUE + code).stdout == "[0]\n"


def test_a_child_without_a_relaxed_collector_imports(run_python: RunPython) -> None:
    code = """
serve(m="")
assert in_child(lambda: importlib.import_module("m") and None) == 0
"""
    run_python(PROLOGUE + code, env={"FROZENFINDER_WITHOUT": "collector"})


@pytest.mark.skipif(FREE_THREADED, reason="a build without a GIL gets no collector")
def test_after_many_imports_and_forks_the_threshold_is_as_it_was(run_python: RunPython) -> None:
    code = """
import gc
usual = gc.get_threshold()
slow = "import time; time.sleep(0.001); value = 1"
serve(**{f"m{at}": slow for at in range(4)}, other="value = 1")
sys.setswitchinterval(1e-6)
stop = False

def import_forever(name):
    while not stop:
        sys.modules.pop(name, None)
        importlib.import_module(name)

threads = [threading.Thread(target=import_forever, args=[f"m{at}"]) for at in range(4)]
for thread in threads:
    thread.start()

def compare():
    before = gc.get_threshold() == usual
    importlib.import_module("other")
    return 10 if not before else 0 if gc.get_threshold() == usual else 11

relaxed, found = 0, set()
for _ in range(100):
    relaxed += gc.get_threshold() != usual
    found.add(in_child(compare))
stop = True
for thread in threads:
    thread.join()
assert relaxed
assert found == {0}, found
assert gc.get_threshold() == usual
"""
    run_python(PROLOGUE + code)
