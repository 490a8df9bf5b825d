"""Every interpreter has a lock, finders and tables of its own, legacy and isolated ones alike."""

import json
import sys
from pathlib import Path

import pytest
from support.processes import TESTS, RunPython

PROLOGUE = f"""
import json, sys, threading
sys.path.insert(0, {str(TESTS)!r})
from programs.import_graphs import Source, pack
import frozenfinder
from frozenfinder.runtime import hooks

if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters

def create(kind):
    if sys.version_info >= (3, 13):
        return interpreters.create(kind)
    return interpreters.create(isolated=kind == "isolated")

def run(interpreter, code):
    '''Run the code in an interpreter that finds this package where it is found here.'''
    code = f"import sys; sys.path[:] = {{sys.path!r}}\\n{{code}}"
    failure = interpreters.run_string(interpreter, code)
    assert failure is None, failure.formatted

def run_in_new(kind, code):
    interpreter = create(kind)
    try:
        run(interpreter, code)
    finally:
        interpreters.destroy(interpreter)

registry = pack({{
    "outer": Source("import inner; value = inner.value + 1"),
    "inner": Source("value = 1"),
}})
import_outer = f'''
import frozenfinder
from frozenfinder.runtime import hooks
assert hooks.installed() == []
finder = frozenfinder.install({{registry!r}}, mode="closed")
import outer
assert outer.value == 2
assert finder.served == 2
assert hooks.import_lock.generation == 1
assert hooks.import_lock.depth == 0
'''
"""

kinds = pytest.mark.parametrize("kind", ["legacy", "isolated"])


@kinds
def test_an_interpreter_installs_and_imports(kind: str, run_python: RunPython) -> None:
    run_python(PROLOGUE + f"run_in_new({kind!r}, import_outer)")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="concurrent.interpreters is new in 3.14")
def test_an_interpreter_of_concurrent_interpreters_installs_and_imports(
    run_python: RunPython,
) -> None:
    code = """
from concurrent.interpreters import create
interpreter = create()
interpreter.exec(f"import sys; sys.path[:] = {sys.path!r}\\n{import_outer}")
interpreter.close()
"""
    run_python(PROLOGUE + code)


@kinds
def test_nothing_of_one_interpreter_is_visible_in_another(kind: str, run_python: RunPython) -> None:
    code = f"""
mine = frozenfinder.install(pack({{"mine": Source("value = 3")}}), mode="closed")
import mine as module
before = list(sys.meta_path), list(sys.path_hooks), hooks.installed(), set(sys.modules)
other = create({kind!r})
hooks.import_lock.acquire()
run(other, import_outer + '''
try:
    import mine
except ModuleNotFoundError:
    pass
else:
    raise AssertionError
assert hooks.import_lock.yielded == {{"cycle": 0, "timeout": 0, "finalizing": 0}}
''')
assert hooks.import_lock.depth == 1
hooks.import_lock.release()
assert mine.served == 1
assert "outer" not in sys.modules
run(other, "assert finder.served == 2 and hooks.installed() == [finder]")
run(other, "frozenfinder.uninstall(); assert hooks.installed() == []")
after = list(sys.meta_path), list(sys.path_hooks), hooks.installed(), set(sys.modules)
assert after == before
interpreters.destroy(other)
"""
    run_python(PROLOGUE + code)


@kinds
def test_interpreters_import_side_by_side_in_threads(kind: str, run_python: RunPython) -> None:
    code = f"""
done = []

def work():
    for _ in range(5):
        run_in_new({kind!r}, import_outer)
        done.append(None)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(done) == 20
"""
    run_python(PROLOGUE + code)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc/self/statm")
@kinds
def test_of_100_interpreters_nothing_is_left(kind: str, run_python: RunPython) -> None:
    # CPython 3.12 and 3.13 leak up to 3 MB with every interpreter; what counts is what we add
    code = f"""
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def growth(code, times):
    '''Bytes that an interpreter leaves behind, from the tenth on.'''
    for at in range(times + 10):
        if at == 10:
            before = resident()
        run_in_new({kind!r}, code)
    return (resident() - before) / times

before = list(sys.meta_path), list(sys.path_hooks), hooks.installed(), set(sys.modules)
ours = growth(import_outer, 90)
assert (list(sys.meta_path), list(sys.path_hooks), hooks.installed(), set(sys.modules)) == before
print(json.dumps([ours, growth("import frozenfinder.runtime.hooks", 20)]))
"""
    ours, stock = json.loads(run_python(PROLOGUE + code).stdout)
    assert ours < 1.3 * max(stock, 0) + 20_000
