"""The fast exit: everything that a program counts on at its end, and no collection after it."""

import io
import os
from multiprocessing.resource_tracker import ResourceTracker
from pathlib import Path

import pytest
from support.overlays import Tree
from support.processes import Python

from frozenfinder import fast_exit

BASE = ["-m", "frozenfinder", "run"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, python: Python) -> Path:
    tree = Tree(tmp_path_factory.mktemp("fast"), python)
    tree.write({"m.py": ""})
    tree.freeze()
    return tree.registry


CASES = {
    "normal": "print('done')",
    "exit": "import sys; print('done'); sys.exit(3)",
    "exit without a code": "import sys; sys.exit()",
    "exit with a large code": "import sys; sys.exit(256 + 7)",
    "exit with a negative code": "import sys; sys.exit(-1)",
    "exit with a code beyond a word": "import sys; sys.exit(2**70)",
    "exit with a text": "import sys; sys.exit('why')",
    "exit with True": "import sys; sys.exit(True)",
    "error": "print('before'); 1 / 0",
    "a hook that exits": """
import sys
def hook(*error):
    sys.exit(5)
sys.excepthook = hook
1 / 0""",
    "callbacks in their order": """
import atexit
for number in range(3):
    atexit.register(print, 'callback', number)""",
    "a callback that fails": "import atexit; atexit.register(int, 'x'); print('done')",
    "threads": """
import threading, time
threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()
print('main')""",
    "a daemon thread": """
import threading, time
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()""",
    "finalizers": """
import tempfile, weakref, os
class A: pass
a = A()
weakref.finalize(a, print, 'finalized')
folder = tempfile.TemporaryDirectory()""",
    "no stdout": "import sys; sys.stdout = None",
    "a closed stdout": "import sys; sys.stdout.close()",
    "a thread that exits": """
import sys, threading
threading.Thread(target=sys.exit, args=(3,)).start()""",
    "an executor with work": """
import time
from concurrent.futures import ThreadPoolExecutor
ThreadPoolExecutor().submit(lambda: (time.sleep(0.2), print('worked')))""",
    "an event loop": """
import asyncio
asyncio.run(asyncio.sleep(0))
print('slept')""",
    "a callback that registers another": """
import atexit
@atexit.register
def first():
    print('first')
    atexit.register(print, 'never')""",
    "callbacks are forgotten": """
import atexit
atexit.register(print, 'never')
atexit._clear()""",
    "a callback that is called twice": """
import atexit
atexit.register(print, 'callback')
atexit._run_exitfuncs()
print('after')""",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "an interrupt": "raise KeyboardInterrupt",
    "a text that waits": "import sys; sys.stdout.write('waits'); sys.stderr.write('too')",
    "another stdout": """
import io, sys
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, 'utf-8')
sys.stdout.write('waits')""",
    "a detached stdout": """
import sys
buffer = sys.stdout.detach()
buffer.write(b'waits')""",
    "a fork": """
import os, sys
child = os.fork()
if not child:
    sys.exit(4)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))""",
}


TELL = """
import gc, os, sys
def freeze(freeze=gc.freeze):
    if sys._getframe(1).f_code.co_name == 'end':  # not the collector of an import
        os.write(1, b"hidden\\n")
    freeze()
gc.freeze = freeze
"""
"""Makes a program say so when its objects are hidden from the collector."""


@pytest.mark.parametrize("kind", ["on", "hard"])
@pytest.mark.parametrize("case", CASES)
def test_output_and_status_are_those_of_stock(
    case: str, kind: str, registry: Path, python: Python, tmp_path: Path
) -> None:
    stock = python("-c", CASES[case], check=False, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    fast = python(
        *BASE, f"--fast-exit={kind}", registry, "-c", CASES[case], check=False, cwd=tmp_path
    )
    assert (fast.returncode, fast.stdout, fast.stderr) == (
        stock.returncode,
        stock.stdout,
        stock.stderr,
    )
    assert list(tmp_path.iterdir()) == []


FINISHED = {
    "nothing": "",
    "modules": "import argparse, asyncio, email.message, logging, subprocess, unittest",
    "a cycle": "class A: pass\na = A(); a.a = a",
    "a closed file": "file = open(os.devnull, 'w'); file.close()",
    "a closed file in a cycle": """
class A: pass
a = A(); a.a = a
a.file = open(os.devnull)
a.file.close()""",
    "a file that leaves its descriptor open": "import io; file = io.FileIO(0, closefd=False)",
    "a reader that leaves its descriptor open": "file = open(0, 'rb', closefd=False)",
    "a text that leaves its descriptor open": "file = open(0, closefd=False)",
    "files in memory": "import io; files = io.BytesIO(b'a'), io.StringIO('b')",
    "a generator that has finished": "finished = (each for each in ()); list(finished)",
    "a finalizer that has been called": """
class A:
    def __del__(self): pass
A()""",
    "a thread": "import threading; threading.Thread(target=int).start()",
    "a log": "import logging; logging.basicConfig(filename='log'); logging.warning('x')",
    "a temporary folder": "import tempfile; folder = tempfile.TemporaryDirectory()",
    "an event loop": "import asyncio; asyncio.run(asyncio.sleep(0))",
    "an error": "1 / 0",
    "an exit": "raise SystemExit(3)",
    "a class that has a finalizer": """
class A:
    def __del__(self): os.write(1, b'never')""",
    "a name of a module that is no text": "class A: __module__ = []\na = A()",
}

UNFINISHED = {
    "an object": """
class A:
    def __del__(self, write=os.write): write(1, b'finalized')
a = A()""",
    "an object of a subclass, in a cycle": """
class A:
    def __del__(self, write=os.write): write(1, b'finalized')
class B(A): pass
a = B(); a.a = a""",
    "a class": """
class Meta(type):
    def __del__(self, write=os.write): write(1, b'finalized')
class A(metaclass=Meta): pass""",
    "a text file": "file = open('file', 'w'); file.write('text')",
    "a text file in a cycle": """
class A: pass
a = A(); a.a = a
a.file = open('file', 'w')
a.file.write('text')
del a""",
    "a file of bytes": "file = open('file', 'w+b'); file.write(b'bytes')",
    "a file of a type of its own": """
import io
class Own(io.BufferedWriter): pass
file = Own(io.FileIO('file', 'w'))
file.write(b'bytes')""",
    "a file that is read": "file = open(os.devnull)",
    "a temporary file": """
import tempfile
file = tempfile.NamedTemporaryFile(dir='.')
assert len(os.listdir()) == 1""",
    "an archive": "import zipfile; file = zipfile.ZipFile('file', 'w'); file.writestr('a', 'b')",
    "a generator in a cycle": """
def generate():
    try:
        yield
    finally:
        os.write(1, b'finally')
waiting = generate()
next(waiting)
def hold(): return waiting""",
    "a coroutine": "async def run(): pass\nnever = run()",
    "a text that waits for its descriptor": """
file = open(1, 'w', closefd=False)
file.write('text')
def hold(): return file""",
    "a socket": "import socket; pair = socket.socketpair()",
    "a detached file": """
import io
file = io.TextIOWrapper(io.BytesIO())
file.detach()""",
}


@pytest.mark.parametrize("case", FINISHED)
def test_objects_are_hidden_where_no_finalizer_has_work(
    case: str, registry: Path, python: Python, tmp_path: Path
) -> None:
    code = TELL + FINISHED[case]
    fast = python(*BASE, registry, "-c", code, check=False, cwd=tmp_path)
    assert fast.stdout.splitlines()[-1:] == ["hidden"], fast.stderr


@pytest.mark.parametrize("flags", [[], ["-X", "dev"]], ids=["", "dev"])
@pytest.mark.parametrize("case", UNFINISHED)
def test_the_end_is_stocks_where_a_finalizer_has_work(
    case: str, flags: list[str], registry: Path, python: Python, tmp_path: Path
) -> None:
    code = TELL + UNFINISHED[case]

    def call(kind: str) -> tuple[int, str, str | bool, dict[str, int]]:
        folder = tmp_path / kind
        folder.mkdir()
        options = [*flags, *BASE, f"--fast-exit={kind}"]
        done = python(*options, registry, "-c", code, check=False, cwd=folder)
        size = {path.name: path.stat().st_size for path in folder.iterdir()}
        # which of the objects of a cycle warns depends on their addresses
        warned = "ResourceWarning" in done.stderr if flags else done.stderr
        return done.returncode, done.stdout, warned, size

    fast = call("on")
    assert fast == call("off")
    assert "hidden" not in fast[1]


def test_a_database_is_closed_as_with_stock(registry: Path, python: Python, tmp_path: Path) -> None:
    pytest.importorskip("sqlite3")
    code = """
import sqlite3
base = sqlite3.connect("base")
base.execute("pragma journal_mode=wal")
base.execute("create table t (a)")
def hold(): return base
"""
    python(*BASE, registry, "-c", code, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]  # no log is left


def test_what_the_program_defines_is_not_asked(
    registry: Path, python: Python, tmp_path: Path
) -> None:
    code = """
class Meta(type):
    def __getattribute__(cls, name):
        os.write(1, f"{name}\\n".encode())
        return super().__getattribute__(name)
class A(metaclass=Meta):
    def __getattribute__(self, name): 1 / 0
a = A()
"""
    fast = python(*BASE, registry, "-c", TELL + code)
    assert (fast.stdout, fast.stderr) == ("hidden\n", "")


def test_an_audit_hook_may_forbid_the_look(registry: Path, python: Python) -> None:
    code = """
import sys
def hook(event, _):
    if event == 'gc.get_objects':
        raise RuntimeError('forbidden')
sys.addaudithook(hook)
"""
    done = python(*BASE, registry, "-c", TELL + code)
    assert (done.stdout, done.stderr) == ("", "")


# -- who asks for it, and where it is off

PROGRAM = f"import frozenfinder, sys\n{TELL}"

WISHES = {
    "asked for": ("frozenfinder.install(sys.argv[1], fast_exit=True)", True),
    "asked for twice": (
        "for _ in range(2): frozenfinder.install(sys.argv[1], fast_exit=True)",
        True,
    ),
    "asked for in closed mode": (
        "frozenfinder.install(sys.argv[1], mode='closed', fast_exit=True)",
        True,
    ),
    "not asked for": ("frozenfinder.install(sys.argv[1])", False),
    "uninstalled": (
        "frozenfinder.uninstall(frozenfinder.install(sys.argv[1], fast_exit=True))",
        False,
    ),
    "the collector is debugged": (
        "frozenfinder.install(sys.argv[1], fast_exit=True); gc.set_debug(gc.DEBUG_STATS)",
        False,
    ),
}


@pytest.mark.parametrize("wish", WISHES)
def test_install_hides_only_if_asked(wish: str, registry: Path, python: Python) -> None:
    code, hidden = WISHES[wish]
    assert python("-c", PROGRAM + code, registry).stdout == "hidden\n" * hidden


@pytest.mark.parametrize(
    ("options", "env", "hidden"),
    [
        ([], {}, True),
        (["--fast-exit"], {}, True),
        (["--fast-exit=on", "--mode=closed"], {}, True),
        (["--fast-exit=off"], {}, False),
        ([], {"FROZENFINDER": "off"}, False),
        ([], {"FROZENFINDER_WITHOUT": "windows,fast-exit"}, False),
    ],
)
def test_run_hides_unless_it_is_off(
    options: list[str], env: dict[str, str], hidden: bool, registry: Path, python: Python
) -> None:
    done = python(*BASE, *options, registry, "-c", TELL, env=env)
    assert done.stdout == "hidden\n" * hidden


SPAWN_HIDES = () if hasattr(ResourceTracker, "__del__") else ("spawn",)
"""The resource tracker that every spawned process has got a finalizer in a release of CPython."""

CHILDREN = {
    "subprocess": f"""
import subprocess, sys
done = subprocess.run([sys.executable, '-c', {TELL!r}], capture_output=True, text=True)
print('child', done.stdout, end='')""",
    **{
        method: f"""
import multiprocessing
def work():
    exec({TELL!r}, {{}})
if __name__ == '__main__':
    process = multiprocessing.get_context('{method}').Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0
    print('child ended')"""
        for method in ("fork", "forkserver", "spawn")
    },
}


@pytest.mark.parametrize("mode", ["overlay", "closed"])
@pytest.mark.parametrize("kind", ["on", "off"])
@pytest.mark.parametrize("method", CHILDREN)
def test_processes_that_a_program_starts_end_as_it_does(
    method: str, kind: str, mode: str, registry: Path, python: Python, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(CHILDREN[method])
    done = python(*BASE, f"--fast-exit={kind}", f"--mode={mode}", registry, script)
    # the processes of fork and of forkserver end with `os._exit`
    hides = kind == "on" and method in ("subprocess", *SPAWN_HIDES)
    expected = {"subprocess": "child hidden\n" if hides else "child "}
    last = "child ended\n"
    assert done.stdout == expected.get(method, "hidden\n" * hides + last)


@pytest.mark.parametrize("fast", [True, False])
def test_processes_of_closed_mode_end_as_the_program_asked(
    fast: bool, registry: Path, python: Python, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""import frozenfinder
if __name__ == '__main__':
    frozenfinder.install({str(registry)!r}, mode='closed', fast_exit={fast})
{CHILDREN["spawn"]}"""
    )
    hides = fast and bool(SPAWN_HIDES)
    assert python(script).stdout == "hidden\n" * hides + "child ended\n"


@pytest.mark.parametrize(
    ("options", "hidden"),
    [([], True), (["--fast-exit"], True), (["--fast-exit", "off"], False)],
    ids=["", "on", "off"],
)
@pytest.mark.parametrize("entry", ["program", "program:main"])
def test_a_bundle_hides_unless_it_is_off(
    entry: str, options: list[str], hidden: bool, python: Python, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(f"def main(): exec({TELL!r}, {{}})\n{TELL}")
    bundle = tmp_path / "program.pyz"
    command = ["-m", "frozenfinder", "bundle", "--quiet", "-o", str(bundle), *options]
    python(*command, "--entry", entry, env={"PYTHONPATH": str(tmp_path)})
    assert python("-I", "-S", bundle).stdout.splitlines()[:1] == ["hidden"] * hidden


def test_a_process_that_only_imports_from_a_bundle_ends_as_always(
    python: Python, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text("import sys\nprint(__spec__.loader is not None)")
    bundle = tmp_path / "program.pyz"
    command = ["-m", "frozenfinder", "bundle", "--quiet", "-o", str(bundle), "--entry", "program"]
    python(*command, env={"PYTHONPATH": str(tmp_path)})
    code = f"import sys; sys.path.insert(0, {str(bundle)!r})\nimport program\n{TELL}"
    assert python("-I", "-S", "-c", code).stdout == "True\n"


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_a_subinterpreter_gives_its_memory_back(kind: str, registry: Path, python: Python) -> None:
    inner = f"""
import sys
sys.path[:] = {{sys.path!r}}
import frozenfinder
frozenfinder.install({str(registry)!r}, mode="closed", fast_exit=True)
{TELL}
"""
    code = f"""
import sys
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    new = interpreters.create({kind!r})
else:
    import _xxsubinterpreters as interpreters
    new = interpreters.create(isolated={kind == "isolated"})
failure = interpreters.run_string(new, {inner!r}.replace("{{sys.path!r}}", repr(sys.path)))
assert failure is None, failure.formatted
interpreters.destroy(new)
print("ended")
"""
    assert python("-c", code).stdout == "ended\n"


@pytest.mark.skipif(os.name != "posix", reason="fork is POSIX's")
def test_a_forked_child_ends_as_its_parent(registry: Path, python: Python) -> None:
    code = TELL + "import sys\nif os.fork() == 0: sys.exit(0)\nos.wait()"
    assert python(*BASE, registry, "-c", code).stdout == "hidden\nhidden\n"


def test_an_interactive_session_ends_fast(registry: Path, python: Python) -> None:
    code = TELL + "import sys; sys.stdin = None"
    done = python("-i", *BASE, registry, "-c", code, check=False)
    assert done.stdout.splitlines()[-1:] == ["hidden"]


# -- the hard end


def test_what_open_files_hold_is_written_at_a_hard_end(
    registry: Path, python: Python, tmp_path: Path
) -> None:
    code = """
import gc, io, sys
class Own(io.BufferedWriter): pass
text = open(sys.argv[1] + "/text", "w")
text.write("text")
raw = open(sys.argv[1] + "/raw", "wb")
raw.write(b"raw")
both = open(sys.argv[1] + "/both", "w+b")
both.write(b"both")
own = io.TextIOWrapper(Own(io.FileIO(sys.argv[1] + "/own", "w")))
own.write("own")
closed = open(sys.argv[1] + "/closed", "w")
closed.close()
gc.freeze()
"""
    python(*BASE, "--fast-exit=hard", registry, "-c", code, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "text": "text",
        "raw": "raw",
        "both": "both",
        "own": "own",
        "closed": "",
    }


def test_a_file_that_cannot_be_written_at_a_hard_end_is_reported_as_always(
    registry: Path, python: Python
) -> None:
    code = "import sys; sys.stdout = open('/dev/full', 'w'); sys.stdout.write('x')"
    fast, slow = (
        python(*BASE, *options, registry, "-c", code, check=False)
        for options in (["--fast-exit=hard"], ["--fast-exit=off"])
    )
    assert (fast.returncode, fast.stderr) == (slow.returncode, slow.stderr)
    assert fast.returncode == 120


@pytest.mark.parametrize(
    ("option", "collected"),
    [
        (["--fast-exit=hard"], ""),
        (["--fast-exit=on"], "collected\n"),
        (["--fast-exit=off"], "collected\n"),
    ],
)
def test_nothing_is_destroyed_at_a_hard_end(
    option: list[str], collected: str, registry: Path, python: Python
) -> None:
    code = """
import os
class A:
    def __del__(self, write=os.write):
        write(1, b"collected\\n")
a = A()
"""
    assert python(*BASE, *option, registry, "-c", code).stdout == collected


def test_a_standard_file_that_was_detached_has_no_layers_below() -> None:
    buffer = io.BufferedWriter(io.BytesIO())
    file = io.TextIOWrapper(buffer)
    assert list(fast_exit._find_layers(file)) == [file, buffer]
    file.detach()
    assert list(fast_exit._find_layers(file)) == [file]
