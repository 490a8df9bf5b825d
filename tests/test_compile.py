"""Compilation: the same bytes from a `.pyc` and from the source, whatever was done before."""

import importlib.util
import json
import marshal
import os
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest
from support.processes import Python, RunPython
from support.sources import write_tree

from frozenfinder.freezer.compile import compiler as compiling
from frozenfinder.freezer.compile import pool as workers
from frozenfinder.freezer.compile.canonical import canonicalise, is_ambiguous, unify
from frozenfinder.freezer.compile.compiler import Compiled, Compiler, Task, stamp
from frozenfinder.freezer.compile.pool import compile_all
from frozenfinder.runtime import layout

CLEAR = "VALUE = 'first'\ndef function(argument=1000):\n    return VALUE, 'a b', argument\n"
AMBIGUOUS = {
    "a dotted import": "import os.path\nNAME = 'os.path'\n",
    "a nested class": "class A:\n    class B:\n        pass\n    class B:\n        pass\n",
    "a name that is not ASCII": "größe = 'größe'\n",
    "a frozenset twice": "def f(x): return x in {'a', 'b'}\ndef g(x): return x in {'a', 'b'}\n",
    "a frozenset of tuples": "def f(x): return x in {('k',)}\ndef g(x): return x in {('k',)}\n",
}
VALUES = (
    "X = (1, -1, 2**70, -2**70, 1.5, -0.0, 2j, b'', b'ab', 'é', '\\ud800', 'x' * 300, ..., None,"
    " True, (), ((1, (2,)),), '\\xe4', 'os.path')\nimport os.path\nY = X[1:2], X['a':]\n"
)


def marshalled(source: str, filename: str = "m.py") -> bytes:
    return marshal.dumps(compile(source, filename, "exec", dont_inherit=True))


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def task(path: Path, *, sourceless: bool = False, with_source: bool = False) -> Task:
    return Task(str(path), path.name, sourceless, with_source)


# -- the canonical form


@pytest.mark.parametrize("source", [CLEAR, VALUES, *AMBIGUOUS.values()])
def test_the_canonical_form_is_the_same_code_with_another_file_name(source: str) -> None:
    data = marshalled(source, "pkg/m.py")
    code = marshal.loads(canonicalise(data, "pkg/m.py"))
    assert code == compile(source, "pkg/m.py", "exec", dont_inherit=True)
    renamed = marshal.loads(canonicalise(data, "other.py"))
    assert {each.co_filename for each in codes(renamed)} == {"other.py"}


@pytest.mark.parametrize("source", [CLEAR, VALUES, *AMBIGUOUS.values()])
def test_the_canonical_form_does_not_depend_on_where_the_code_came_from(source: str) -> None:
    code = compile(source, "m.py", "exec", dont_inherit=True)
    once = marshal.loads(marshal.dumps(code))
    elsewhere = compile(source, "/elsewhere/m.py", "exec", dont_inherit=True)
    forms = [canonicalise(marshal.dumps(each), "m.py") for each in (code, once, elsewhere)]
    assert forms[0] == forms[1] == forms[2] == canonicalise(forms[0], "m.py")


def test_what_is_ambiguous_is_known_by_its_values() -> None:
    compiled = {name: compile(source, "m.py", "exec") for name, source in AMBIGUOUS.items()}
    ambiguous = {name for name, code in compiled.items() if is_ambiguous(code)}
    assert ambiguous | {"a nested class"} == set(AMBIGUOUS)
    assert ("a nested class" in ambiguous) is (sys.version_info >= (3, 13))
    for clear in (CLEAR, "x = {'a', 'b'}", "class A:\n    '''Not `m.A`.'''\n"):
        assert not is_ambiguous(compile(clear, "m.py", "exec"))


@pytest.mark.parametrize("source", [CLEAR, VALUES, *AMBIGUOUS.values()])
def test_unified_code_is_the_same_code_and_unified(source: str) -> None:
    code = compile(source, "m.py", "exec", dont_inherit=True)
    unified = unify(marshal.dumps(code))
    assert marshal.loads(unified) == code
    assert unify(unified) == unified
    assert len(unified) <= len(marshal.dumps(code))


def test_code_keeps_what_code_replace_would_lose() -> None:
    """Comprehensions that 3.12 and later inline have variables that only marshalled code shows."""
    source = "import os.path\nclass A:\n    X = [y for y in 'os.path']\nNAMES = sorted(vars(A))\n"
    assert is_ambiguous(compile(source, "m.py", "exec"))
    ours: dict[str, object] = {"__name__": "m"}
    exec(marshal.loads(canonicalise(marshalled(source), "m.py")), ours)
    stock: dict[str, object] = {"__name__": "m"}
    exec(compile(source, "m.py", "exec"), stock)
    assert ours["NAMES"] == stock["NAMES"]
    assert "y" not in str(ours["NAMES"])


@pytest.mark.parametrize(
    ("data", "kind", "complaint"),
    [
        (marshal.dumps((1, 2)), TypeError, "is a marshalled tuple, not code"),
        (b"", EOFError, "EOF read where object expected"),
        (b"\x00", ValueError, "bad marshal data"),
    ],
)
def test_what_is_not_code_is_refused(data: bytes, kind: type[Exception], complaint: str) -> None:
    with pytest.raises(kind, match=complaint):
        canonicalise(data, "m.py")


def test_a_type_that_code_does_not_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"marshalled code has type '\[' at 0"):
        unify(marshal.dumps([1]))


FORMS = """
import hashlib, importlib.util, json, marshal, os, random, sys, warnings
from pathlib import Path
from frozenfinder.freezer.compile.canonical import canonicalise
route, seed, top = sys.argv[1:]
warnings.simplefilter("ignore")
if route != "compiled":  # a process in which much is interned already, in other orders
    import argparse, asyncio, ctypes, dataclasses, ftplib, functools, html.entities, unittest
skipped = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
paths = sorted(path for path in Path(top).rglob("*.py") if skipped.isdisjoint(path.parts))
random.Random(seed).shuffle(paths)
forms = {}
for path in paths:
    name = path.relative_to(top).as_posix()
    where = name if route == "compiled" else str(path)
    try:
        data = marshal.dumps(compile(path.read_bytes(), where, "exec", dont_inherit=True))
    except (OSError, SyntaxError, ValueError):
        continue
    if route == "twice":
        data = marshal.dumps(marshal.loads(data))
    forms[name] = hashlib.md5(canonicalise(data, name)).hexdigest()
json.dump(forms, sys.stdout)
"""


@pytest.mark.long
def test_every_module_of_the_standard_library_has_one_canonical_form(python: Python) -> None:
    """In processes that differ in hash seed, order, file names, and in what they have interned."""
    top = Path(sys._stdlib_dir)  # type: ignore[attr-defined]
    routes = ("compiled", "imported", "twice")
    outputs = [
        json.loads(
            python("-c", FORMS, route, str(seed), top, env={"PYTHONHASHSEED": str(seed)}).stdout
        )
        for seed, route in enumerate(routes)
    ]
    assert len(outputs[0]) > 500
    assert outputs[0] == outputs[1] == outputs[2]


# -- from a `.pyc` or from the source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tree(tmp_path, {"m.py": CLEAR}) / "m.py"


def expected(source: Path) -> bytes:
    return canonicalise(marshalled(source.read_text(), source.name), source.name)


def write_pyc(
    source: Path, mode: str = "TIMESTAMP", *, optimize: int = -1, text: str | None = None
) -> None:
    """Write the `.pyc` of `source`, with code of another `text` so that it can be told from it."""
    original, status = source.read_bytes(), source.stat()
    py_compile.compile(
        str(source),
        optimize=optimize,
        invalidation_mode=py_compile.PycInvalidationMode[mode],
        doraise=True,
    )
    if text is not None:
        pyc = Path(importlib.util.cache_from_source(str(source)))
        pyc.write_bytes(pyc.read_bytes()[:16] + marshalled(text, str(source)))
    source.write_bytes(original)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))


OTHER = "VALUE = 'from the .pyc'\n"


def test_a_source_is_compiled_with_the_stamp_of_its_file(source: Path) -> None:
    os.utime(source, (1, 2**32 + 5))
    compiled = Compiler(0).compile(task(source, with_source=True))
    digest = layout.digest(CLEAR.encode())
    assert compiled == Compiled(
        expected(source), 5, len(CLEAR), CLEAR.encode(), digest=digest, check="time"
    )


def test_the_code_is_the_same_from_a_pyc(source: Path) -> None:
    fresh = Compiler(0).compile(task(source))
    write_pyc(source)
    assert Compiler(0).compile(task(source)) == fresh._replace(reused=True)


@pytest.mark.parametrize(
    ("mode", "checked", "reused"),
    [
        ("TIMESTAMP", "default", True),
        ("TIMESTAMP", "always", True),
        ("CHECKED_HASH", "default", True),
        ("CHECKED_HASH", "always", True),
        ("UNCHECKED_HASH", "default", True),
        ("UNCHECKED_HASH", "always", True),
    ],
)
def test_a_valid_pyc_is_taken(source: Path, mode: str, checked: str, *, reused: bool) -> None:
    write_pyc(source, mode, text=OTHER)
    compiled = Compiler(0, checked).compile(task(source))
    assert compiled.code == canonicalise(marshalled(OTHER), "m.py")
    assert compiled.reused is reused


@pytest.mark.parametrize(
    ("mode", "checked", "reused"),
    [
        ("TIMESTAMP", "default", False),
        ("CHECKED_HASH", "default", False),
        ("CHECKED_HASH", "never", True),
        ("UNCHECKED_HASH", "default", True),
        ("UNCHECKED_HASH", "never", True),
        ("UNCHECKED_HASH", "always", False),
    ],
)
def test_a_pyc_of_an_edited_source_is_taken_where_stock_takes_it(
    source: Path, mode: str, checked: str, *, reused: bool, python: Python
) -> None:
    write_pyc(source, mode, text=OTHER)
    source.write_text("VALUE = 'edited'\n")
    compiled = Compiler(0, checked).compile(task(source))
    assert compiled.reused is reused
    stock = python(
        "--check-hash-based-pycs",
        checked,
        "-B",
        "-c",
        "import m; print(m.VALUE)",
        cwd=source.parent,
    )
    assert compiled.code is not None
    namespace: dict[str, object] = {}
    exec(marshal.loads(compiled.code), namespace)
    assert f"{namespace['VALUE']}\n" == stock.stdout


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_pyc_of_the_level_is_taken(source: Path, level: int) -> None:
    for each in (0, 1, 2):
        write_pyc(source, optimize=each)
    source.write_text(CLEAR)
    text = "def function():\n    'documented'\n    assert False\n"
    source.write_text(text)
    fresh = Compiler(level).compile(task(source))
    assert not fresh.reused
    write_pyc(source, optimize=level)
    assert Compiler(level).compile(task(source)) == fresh._replace(reused=True)
    code = compile(text, "m.py", "exec", dont_inherit=True, optimize=level)
    assert fresh.code == canonicalise(marshal.dumps(code), "m.py")


def test_pycs_are_looked_for_below_the_prefix(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "cache"))
    write_pyc(source)
    assert Compiler(0).compile(task(source)).reused
    monkeypatch.setattr(sys, "pycache_prefix", None)
    assert not Compiler(0).compile(task(source)).reused


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:0],
        lambda data: data[:12],
        lambda data: data[:20],
        lambda data: data[:16] + marshal.dumps(1),
        lambda data: b"xxxx" + data[4:],
        lambda data: data[:4] + b"\x07" + data[5:],
        lambda data: data[:8] + bytes([data[8] ^ 0xFF]) + data[9:],
        lambda data: data[:12] + bytes([data[12] ^ 0xFF]) + data[13:],
    ],
    ids=["empty", "short", "cut", "not code", "magic", "flags", "mtime", "size"],
)
def test_a_pyc_that_will_not_do_is_passed_over(source: Path, damage: object) -> None:
    write_pyc(source)
    pyc = Path(importlib.util.cache_from_source(str(source)))
    assert callable(damage)
    pyc.write_bytes(damage(pyc.read_bytes()))
    compiled = Compiler(0).compile(task(source))
    assert (compiled.code, compiled.reused) == (expected(source), False)


def test_bytecode_without_a_source_is_taken_as_it_is(source: Path) -> None:
    pyc = source.with_suffix(".pyc")
    py_compile.compile(str(source), str(pyc), doraise=True)
    compiled = Compiler(0).compile(task(pyc, sourceless=True))
    assert compiled.code == canonicalise(marshalled(CLEAR), "m.pyc")
    assert (compiled.mtime, compiled.size) == stamp(pyc.stat())


# -- what cannot be frozen


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x =\n", "does not compile: SyntaxError: invalid syntax (m.py, line 1)"),
        (b"# -*- coding: nope -*-\n", "does not compile: SyntaxError: unknown encoding: nope"),
        (b"'\xe9'\n", "does not compile: SyntaxError: "),  # the words differ between versions
        (b"x = " + b"-" * 100_000 + b"1\n", "does not compile: "),
    ],
    ids=["syntax", "encoding", "undecodable", "too deep"],
)
def test_a_source_that_does_not_compile_has_a_reason(
    source: Path, content: bytes, reason: str
) -> None:
    source.write_bytes(content)
    compiled = Compiler(0).compile(task(source))
    assert compiled.code is None
    assert compiled.reason is not None
    assert compiled.reason.startswith(reason)


def test_null_bytes_have_a_reason(source: Path) -> None:
    source.write_bytes(b"x = 1\0\n")
    compiled = Compiler(0).compile(task(source))
    assert compiled.reason is not None
    assert compiled.reason.endswith("source code string cannot contain null bytes")


def test_a_file_that_is_gone_has_a_reason(tmp_path: Path) -> None:
    compiled = Compiler(0).compile(task(tmp_path / "gone.py"))
    assert compiled == Compiled(None, reason="cannot be read: No such file or directory")


def test_bytecode_of_another_python_has_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "m.pyc"
    path.write_bytes(b"\x01\x02\r\n" + bytes(12))
    magic = importlib.util.MAGIC_NUMBER
    assert Compiler(0).compile(task(path, sourceless=True)).reason == (
        "does not compile: ValueError: has magic number b'\\x01\\x02\\r\\n', "
        f"this interpreter has {magic!r}"
    )


def test_warnings_of_the_compiler_are_collected(source: Path) -> None:
    source.write_text("x = 1\ny = x is 1\n")
    (warning,) = Compiler(0).compile(task(source)).warnings
    assert warning.startswith('SyntaxWarning: "is" with ')
    assert warning.endswith("(line 2)")


def test_a_source_that_changes_while_it_is_read_is_read_again(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, edits = compiling._read, [b"x = 2\n"]

    def edit_after_reading(location: str) -> bytes:
        content = read(location)
        if location == str(source) and edits:
            source.write_bytes(edits.pop())
        return content

    monkeypatch.setattr(compiling, "_read", edit_after_reading)
    compiled = Compiler(0).compile(task(source))
    assert compiled.code == canonicalise(marshalled("x = 2\n"), "m.py")
    assert (compiled.mtime, compiled.size) == stamp(source.stat())


def test_a_source_that_never_rests_has_a_reason(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = compiling._read

    def grow_after_reading(location: str) -> bytes:
        content = read(location)
        if location == str(source):
            source.write_bytes(content + b"#\n")
        return content

    monkeypatch.setattr(compiling, "_read", grow_after_reading)
    compiled = Compiler(0).compile(task(source))
    assert compiled == Compiled(None, reason="changed while it was being frozen")


# -- in parallel


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Enough to do for two workers to be started."""
    monkeypatch.setattr(workers, "_LITTLE_WORK", 0)
    sources = {f"m{number}.py": f"X = {number}\n" + CLEAR * number for number in range(12)}
    write_tree(tmp_path, sources | {"broken.py": "x =\n"})
    return [task(path) for path in sorted(tmp_path.glob("*.py"))]


def run(tasks: list[Task], jobs: int) -> list[Compiled]:
    sizes = [Path(each.location).stat().st_size for each in tasks]
    return [compiled for _, compiled in sorted(compile_all(Compiler(0), tasks, sizes, jobs))]


@pytest.mark.usefixtures("processes")
def test_workers_do_what_the_caller_would(tasks: list[Task]) -> None:
    alone = run(tasks, 1)
    assert run(tasks, 2) == alone
    assert [compiled.reason is None for compiled in alone].count(False) == 1


@pytest.mark.usefixtures("processes")
def test_the_caller_compiles_where_no_worker_can_be_started(
    tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run(tasks, 1)
    for executable in ("", "/nonexistent/python"):
        monkeypatch.setattr(sys, "executable", executable)
        assert run(tasks, 2) == alone


@pytest.mark.usefixtures("processes")
def test_a_module_that_crashes_the_compiler_is_left_out_alone(
    tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = """
import os
from frozenfinder.freezer.compile.compiler import Compiler
compile = Compiler.compile
Compiler.compile = lambda self, task: os._exit(3) if task.path == "m5.py" else compile(self, task)
"""
    alone = run(tasks, 1)
    lines = workers._PROGRAM.splitlines()
    monkeypatch.setattr(workers, "_PROGRAM", "\n".join([*lines[:2], crash, *lines[2:]]))
    done = run(tasks, 2)
    for each, compiled, ours in zip(tasks, alone, done, strict=True):
        if each.path == "m5.py":
            assert ours == Compiled(None, reason="crashes the compiler, which ends with status 3")
        else:
            assert ours == compiled


@pytest.mark.usefixtures("processes")
def test_workers_end_with_a_caller_that_stops_early(tasks: list[Task]) -> None:
    sizes = [Path(each.location).stat().st_size for each in tasks]
    work = compile_all(Compiler(0), tasks, sizes, 2)
    next(work)
    work.close()  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        next(work)


def test_two_threads_that_compile_leave_the_filters_of_warnings(
    run_python: RunPython, tmp_path: Path
) -> None:
    (tmp_path / "m.py").write_text("X = 1 is 1\n")
    code = """
import sys, threading, warnings
from frozenfinder.freezer.compile.compiler import Compiler, Task
before = warnings.filters, [*warnings.filters], warnings.showwarning
sys.setswitchinterval(1e-6)
task = Task(sys.argv[1], "m.py", sourceless=False, with_source=False)
heard = set()
def compile_often():
    for _ in range(300):
        heard.add(len(Compiler(0).compile(task).warnings))
threads = [threading.Thread(target=compile_often) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
after = warnings.filters, [*warnings.filters], warnings.showwarning
print(heard, after == before, after[0] is before[0])
"""
    assert run_python(code, tmp_path / "m.py").stdout == "{1} True True\n"
