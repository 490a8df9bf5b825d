"""Regular expressions are compiled when a module is frozen, and not when it is imported."""

import ast
import marshal
import re
import sys
from pathlib import Path

import pytest
from support.overlays import Tree
from support.processes import Python, RunPython

from frozenfinder.errors import FreezeError
from frozenfinder.extras import LIMIT, Extras, seal
from frozenfinder.freezer.compile.expressions import (
    find_patterns,
    format_key,
    may_have_patterns,
    pack_keys,
    pack_patterns,
    parse_key,
)
from frozenfinder.freezer.manifest import parse_manifest
from frozenfinder.runtime.registry import Registry

MAGIC: int = vars(re)["_compiler"]._sre.MAGIC

VARIED: list[tuple[str | bytes, int]] = [
    (r"a", 0),
    (r"(?P<name>\w+)-(?P<other>\d{2,})(x)?", 0),
    (r"[^a-zß-ÿ\U0001F600]+|(?<!\\)\b", int(re.IGNORECASE | re.MULTILINE)),
    (r"(?s:.)(?>a+)(?=b)(?:ab|ac|ad)*?", int(re.VERBOSE)),
    (rb"[\x00-\xff]{3}(?i:x)", int(re.LOCALE)),
    (r"(?a)\w", 0),
]


def find(source: str) -> list[tuple[str | bytes, int]]:
    return list(find_patterns(ast.parse(source)))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import re\nre.compile('a')", [("a", 0)]),
        ("import re as r\nr.compile(b'a', r.I)", [(b"a", 2)]),
        ("from re import compile as c, X\nc('a', flags=X | 2)", [("a", 66)]),
        ("import re\nre.compile(r'a' 'b' + 'c')", [("abc", 0)]),
        ("import re\nN = r'\\d'\nre.compile(f'{N}+' + '%s-%s' % (N, 'x'))", [(r"\d+\d-x", 0)]),
        ("import re\nN = {'n': 'x'}\nre.compile('%(n)s' % N)", [("x", 0)]),
        ("import re\nre.compile('[%s]' % re.escape('-'))", [(r"[\-]", 0)]),
        ("import re\nclass A:\n X = 'x'\n Y = re.compile(X)", [("x", 0)]),
        ("import re\nif 1:\n try: re.match('a', 'b', re.S)\n finally: pass", [("a", 16)]),
        ("import re\nre.sub('a', 'b', 'c', 0, re.M)", [("a", 8)]),
        ("import re\nre.split('a', 'b', 1, re.M)", [("a", 8)]),
        ("import re\n@re.compile('a').sub\ndef f(): re.compile('b')", [("a", 0)]),
        ("import re\nf = lambda: re.compile('b')", []),
        ("import regex as re\nre.compile('a')", []),
        ("re.compile('a')", []),
        ("import re\nre = 1\nre.compile('a')", []),
        ("import re, os\nre.compile(os.sep)\nre.compile()\nre.compile(*'a')", []),
        ("import re\nre.compile('%d' % 'x')\nre.compile(f'{1:2}')\nre.compile('a' * 3)", []),
        ("import re\nre.compile('%(n)s' % {'m': 'x'})", []),
        ("import re\nre.escape('a')\nre.purge()\nre.error('a')", []),
    ],
)
def test_constant_patterns_are_found(source: str, expected: list[tuple[str | bytes, int]]) -> None:
    assert find(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import re\nX = re.compile('a')", True),
        ("from re import compile as c\nclass A:\n class B:\n  X = c('a')", True),
        ("import re\nclass A:\n class B:\n  X = re.compile('a')", True),
        ("import re\ndef f():\n return re.compile('a')", False),
    ],
)
def test_a_look_at_the_code_saves_reading_the_source(source: str, expected: bool) -> None:
    assert may_have_patterns(marshal.dumps(compile(source, "m", "exec"))) is expected


def test_what_does_not_parse_has_no_patterns() -> None:
    assert pack_patterns(b"import re\nre.compile('a'") == b""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> dict[object, object]:
    cache: dict[object, object] = {}
    monkeypatch.setattr(re, "_cache", cache)
    return cache


def test_patterns_are_those_that_re_compiles(cache: dict[object, object]) -> None:
    Extras().add("m", pack_keys(VARIED))
    for pattern, flags in VARIED:
        found = cache[type(pattern), pattern, flags]
        re.purge()
        expected = re.compile(pattern, flags)
        assert isinstance(found, re.Pattern)
        assert found == expected
        assert (found.flags, found.groups) == (expected.flags, expected.groups)
        assert found.groupindex == expected.groupindex
        assert repr(found) == repr(expected)
        cache.clear()
        Extras().add("m", pack_keys(VARIED))


def test_what_warns_fails_or_prints_is_left_to_re() -> None:
    assert pack_keys([("[[a]", 0), ("(", 0), ("a", int(re.DEBUG)), (b"a", int(re.UNICODE))]) == b""


def test_the_cache_is_never_filled_beyond_its_size(cache: dict[object, object]) -> None:
    assert vars(re)["_MAXCACHE"] == LIMIT
    for number in range(LIMIT - 1):
        cache[number] = None
    Extras().add("m", pack_keys([("a", 0), ("b", 0)]))
    assert len(cache) == LIMIT


def test_what_the_cache_has_stays(cache: dict[object, object]) -> None:
    mine = re.compile("a")
    Extras().add("m", pack_keys([("a", 0)]))
    assert cache[str, "a", 0] is mine


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xff",
        marshal.dumps((0, [(0, ("a", 0, b"\0" * 4, 0, {}, ()))], [])),
        marshal.dumps((MAGIC, 1, [])),
        marshal.dumps((MAGIC, [])),
        marshal.dumps([]),
    ],
)
def test_what_is_no_pattern_of_this_interpreter_is_left_to_re(
    packed: bytes, cache: dict[object, object]
) -> None:
    Extras().add("m", seal(packed))
    assert cache == {}


def test_what_is_not_sealed_does_not_reach_marshal(cache: dict[object, object]) -> None:
    """A size that is not theirs would have it unmarshal the end of some code, and crash."""
    packed = pack_keys([("a", 0)])
    for size in range(len(packed)):
        Extras().add("m", packed[size + 1 :])
        Extras().add("m", packed[:size])
        Extras().add("m", b"?" + packed)
    assert cache == {}
    Extras().add("m", packed)
    assert len(cache) == 1


def test_code_that_sre_refuses_is_left_to_re(cache: dict[object, object]) -> None:
    packed = marshal.loads(pack_keys([("a", 0)])[8:])
    magic, [(flags, (source, compiled, code, *rest))], _ = packed
    broken = source, compiled, b"\xff" * len(code), *rest
    Extras().add("m", seal(marshal.dumps((magic, [(flags, broken)], []))))
    shorter = source, compiled, code[:-1], *rest
    Extras().add("m", seal(marshal.dumps((magic, [(flags, shorter)], []))))
    assert cache == {}


MODULES = {
    "first.py": "import re\nP = re.compile('only-[here]', re.I)\nclass A:\n Q = re.compile('b+')\n",
    "second.py": "import re\nP = re.compile(r'x{2}')\n",
}

COUNT = """
import sys
at_start = "re" in sys.modules
import frozenfinder
finder = frozenfinder.install(sys.argv[1], mode=sys.argv[2])
sys.path.insert(0, sys.argv[3])
import first
from re import _compiler
compiled, compile = [], _compiler.compile
_compiler.compile = lambda *arguments: compiled.append(arguments) or compile(*arguments)
import re, second
assert first.P.search("ONLY-h") and first.A.Q.fullmatch("bb") and second.P.fullmatch("xx")
asked = str, "only-[here]", int(re.I)
print(finder.served, len(compiled), re._cache[asked] is first.P)
"""


@pytest.mark.parametrize("mode", ["overlay", "closed"])
@pytest.mark.parametrize(("without", "compiled"), [("", 0), ("patterns", 1)])
def test_a_served_module_compiles_none(
    mode: str, without: str, compiled: int, tmp_path: Path, python: Python
) -> None:
    tree = Tree(tmp_path, python)
    tree.write(MODULES)
    tree.freeze()
    done = python("-c", COUNT, tree.registry, mode, tree.lib, env={"FROZENFINDER_WITHOUT": without})
    assert done.stdout == f"2 {compiled} True\n"


@pytest.mark.parametrize("with_re", [True, False])
def test_the_first_module_that_imports_re_compiles_none(
    with_re: bool, tmp_path: Path, python: Python, run_python: RunPython
) -> None:
    """`re` is not there when the module's patterns come, and is when the module asks for them.

    It compiles two of its own to learn the types of patterns and matches.
    """
    tree = Tree(tmp_path, python)
    tree.write(MODULES)
    tree.freeze(*(["--stdlib"] if with_re else []))
    code = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "re"]:
    del sys.modules[name]
import frozenfinder
finder = frozenfinder.install(sys.argv[1])
sys.path.insert(0, sys.argv[2])
compiled = []
sys.setprofile(lambda frame, event, _: event == "call"
    and frame.f_code.co_name == "_code" and compiled.append(frame))
import first
sys.setprofile(None)
print(len(compiled), len(finder.extras.pending))
"""
    done = run_python(code, tree.registry, tree.lib)
    assert done.stdout == ("2 0\n" if with_re else "4 0\n")


def read_digests(registry: Path) -> dict[str, tuple[int, int]]:
    """Of the code and patterns of each module."""
    entries = Registry.open(registry).entries()
    return {each.name: (each.digest, each.extras_size) for each in entries}


def test_a_second_freeze_takes_them_over(tmp_path: Path, python: Python) -> None:
    tree = Tree(tmp_path, python)
    tree.write(MODULES)
    tree.freeze()
    before = read_digests(tree.registry)
    tree.write({"third.py": "import re\nP = re.compile('c')\n"})
    tree.freeze()
    python("-c", "import sys, pathlib; pathlib.Path(sys.argv[1], 'third.py').unlink()", tree.lib)
    tree.freeze()
    assert read_digests(tree.registry) == before


@pytest.mark.parametrize("key", [*VARIED, ("a # b  c\n\\#", 0), (b" #", 2), ("\udc80", 0)])
def test_a_key_is_a_line_of_a_manifest(key: tuple[str | bytes, int]) -> None:
    line = f"pattern {format_key(key)}"
    [read] = parse_manifest(f"  {line}  # and a comment", ".").patterns
    assert parse_key(read) == key


@pytest.mark.parametrize(
    "line", ["pattern", "pattern 1", "pattern x 'a'", "pattern 1 2", "pattern 1 a"]
)
def test_a_line_that_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(FreezeError, match=r"^manifest 'm' line 1: 'pattern' is followed by "):
        parse_manifest(line, ".", "m")


def test_what_a_recorded_run_compiled_is_there_before_any_module_asks(
    tmp_path: Path, python: Python
) -> None:
    tree = Tree(tmp_path, python)
    tree.write(
        {
            "app.py": "import re\nname = 'x'.upper()\nP = re.compile(f'{name}+#', re.I)\n"
            "Q = re.compile('static')\n"
        }
    )
    manifest = tmp_path / "manifest"
    freeze = ["-m", "frozenfinder", "freeze", "--stdlib", "--path", str(tree.lib)]
    freeze += ["-o", str(tree.registry)]
    traced = "import sys; sys.path.insert(0, 'lib'); import app"
    trace = ["--trace", "--", sys.executable, "-c", traced]
    python(*freeze, "--write-manifest", manifest, *trace, cwd=tmp_path)
    first = tree.registry.read_bytes()
    assert "pattern 2 'X+\\x23'" in manifest.read_text().splitlines()
    code = """
import sys, frozenfinder
for name in [name for name in sys.modules if name.partition(".")[0] == "re"]:
    del sys.modules[name]
frozenfinder.install(sys.argv[1])
sys.path.insert(0, sys.argv[2])
import re
compiled, compile = [], re._compiler.compile
re._compiler.compile = lambda *arguments: compiled.append(arguments) or compile(*arguments)
import app
print(compiled)
"""
    assert python("-c", code, tree.registry, tree.lib).stdout == "[]\n"
    python("-m", "frozenfinder", "freeze", "--manifest", manifest, "-o", tree.registry)
    assert tree.registry.read_bytes() == first
    python(*freeze)
    found = python("-c", code, tree.registry, tree.lib).stdout
    assert found == "[('X+#', 2)]\n", "what was recorded for another registry is gone"


def test_other_threads_compile_as_ever_while_patterns_are_packed(run_python: RunPython) -> None:
    code = """
import re, sys, threading, time, warnings
from frozenfinder.freezer.compile.expressions import pack_keys, unpack_keys
compiler = sys.modules["re._compiler"]
usual = compiler._sre, compiler._parser, warnings.filters, [*warnings.filters]
expected = pack_keys([("hello", 0)])
sys.setswitchinterval(1e-6)
ends = time.monotonic() + 10
wrong = set()
def compile_others():
    number = 0
    while time.monotonic() < ends and not wrong:
        compiler.compile(f"other{number}", re.IGNORECASE)
        now = compiler._sre, compiler._parser, warnings.filters, [*warnings.filters]
        if now != usual:
            wrong.add("patched")
        number += 1
thread = threading.Thread(target=compile_others)
thread.start()
packed = 0
while packed < 3000 and not wrong and time.monotonic() < ends:
    if pack_keys([("hello", 0)]) != expected:
        wrong.add("packed")
    packed += 1
ends = 0
thread.join()
print(packed > 100, *wrong)
"""
    assert run_python(code).stdout == "True\n"


def test_patterns_that_another_thread_takes_meanwhile_are_not_added_twice() -> None:
    class Taken(list[object]):
        """Another thread takes the last ones between this one's look and its `pop`."""

        def pop(self, *_: object) -> object:
            self.clear()
            return super().pop()

    extras = Extras()
    extras.pending = Taken([(MAGIC, [])])  # type: ignore[assignment]
    extras.flush()
    assert extras.pending == []
