"""`run --fast-exit`: everything that a program counts on at its end, and nothing after it."""

from pathlib import Path

import pytest
from support.overlays import Tree
from support.processes import Python

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
    "a fork": """
import os, sys
child = os.fork()
if not child:
    sys.exit(4)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))""",
}


@pytest.mark.parametrize("case", CASES)
def test_output_and_status_are_those_of_a_slow_exit(
    case: str, registry: Path, python: Python
) -> None:
    fast, slow = (
        python(*BASE, *options, registry, "-c", CASES[case], check=False)
        for options in (["--fast-exit"], [])
    )
    assert (fast.returncode, fast.stdout, fast.stderr) == (
        slow.returncode,
        slow.stdout,
        slow.stderr,
    )


def test_what_open_files_hold_is_written(registry: Path, python: Python, tmp_path: Path) -> None:
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
    python(*BASE, "--fast-exit", registry, "-c", code, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "text": "text",
        "raw": "raw",
        "both": "both",
        "own": "own",
        "closed": "",
    }


def test_a_file_that_cannot_be_written_is_reported_as_always(
    registry: Path, python: Python
) -> None:
    code = "import sys; sys.stdout = open('/dev/full', 'w'); sys.stdout.write('x')"
    fast, slow = (
        python(*BASE, *options, registry, "-c", code, check=False)
        for options in (["--fast-exit"], [])
    )
    assert (fast.returncode, fast.stderr) == (slow.returncode, slow.stderr)
    assert fast.returncode == 120


@pytest.mark.parametrize(("option", "collected"), [(["--fast-exit"], ""), ([], "collected\n")])
def test_nothing_is_taken_apart(
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
