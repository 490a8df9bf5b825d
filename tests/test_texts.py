"""Texts that modules compile while they are imported are compiled when a registry is frozen."""

import __future__

import ast
import builtins
import json
import marshal
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest
from support.overlays import Tree
from support.processes import LONG_TIMEOUT, TESTS, Python

from frozenfinder import texts as runtime
from frozenfinder.errors import FreezeError
from frozenfinder.extras import Extras
from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.freezer.compile.expressions import pack_keys
from frozenfinder.freezer.compile.texts import (
    compile_texts,
    find_calls,
    format_text,
    only_makes_functions,
    pack_extras,
    parse_text,
)
from frozenfinder.freezer.manifest import parse_manifest
from frozenfinder.freezer.write import previous
from frozenfinder.texts import FUTURES, Name, Texts, has_columns

# -- which calls are found in a source


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("exec(text, {})", ("exec", 1, ("text",), ("exec", 0, False, -1))),
        ("eval(text, a.b, c())", ("eval", 1, ("text",), ("eval", 0, False, -1))),
        ("exec(text, globals=g)", ("exec", 1, ("text",), ("exec", 0, False, -1))),
        ("compile(t, f(), 'exec')", ("compile", 1, ("t",), ("exec", 0, False, -1))),
        ("compile(f(t), n, mode='eval')", ("compile", 1, ("f", "t"), ("eval", 0, False, -1))),
        ("\ncompile(t, '', 'exec', 0, True, 1)", ("compile", 2, ("t",), ("exec", 0, True, 1))),
        (
            "compile(t, '', 'exec', flags=0x1000000, dont_inherit=1)",
            ("compile", 1, ("t",), ("exec", 0x1000000, 1, -1)),
        ),
    ],
)
def test_a_call_is_found(source: str, expected: tuple[object, ...]) -> None:
    assert list(find_calls(ast.parse(source)).values()) == [expected]


@pytest.mark.parametrize(
    "source",
    [
        "exec(text)",
        "exec()",
        "exec('1', {})",
        "exec(text + '', {})",
        "exec(*text, {})",
        "exec(text, *spaces)",
        "exec(text, **spaces)",
        "exec(text, {}, closure=None)",
        "exec(text, {}, {}, {})",
        "exec(text, (text := {}))",
        "module.exec(text, {})",
        "exec(a, {}); exec(b, {})",
        "exec(a, {}); exec(b)",
        "compile(text)",
        "compile(source=text, filename='', mode='exec')",
        "compile(text, '')",
        "compile(text, '', mode)",
        "compile(text, '', 'single')",
        "compile(text, '', 'exec', flags)",
        "compile(text, '', 'exec', 0x400)",
        "compile(text, '', 'exec', 0, inherits)",
        "compile(text, '', 'exec', 0, False, level)",
        "compile(text, '', 'exec', 0, False, -1, None)",
        "compile(text, '', 'exec', _feature_version=7)",
        "compile(text, '', 'exec', **more)",
        "exec",
    ],
)
def test_a_call_that_does_not_show_what_it_asks_for_is_not(source: str) -> None:
    assert find_calls(ast.parse(source)) == {}


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("def f(a, b=1, *c, d='x', **e) -> 'int':\n return a\ndef g(): pass", "exec", True),
        ("lambda a, b=(1, 2): a", "eval", True),
        ("lambda a: a", "exec", True),
        ("", "exec", True),
        ("def f(a=b): pass", "exec", False),
        ("@a\ndef f(): pass", "exec", False),
        ("class A: pass", "exec", False),
        ("import sys", "exec", False),
        ("a()", "eval", False),
        ("a.b", "eval", False),
        ("[1][0]", "eval", False),
    ],
)
def test_code_that_does_more_than_make_functions_is_recognised(
    text: str, mode: str, expected: bool
) -> None:
    assert only_makes_functions(compile(text, "", mode)) is expected


# -- texts of a module, in this process

SOURCE = """
import sys
def run(text, space, names=None):
    exec(text, space, names)
def evaluate(text, space):
    return eval(text, space)
def compiled(text, file):
    return compile(text, file, "exec")
def rewritten(text, file):
    return compile(text + extra, file, "exec", 0, dont_inherit=True)
extra = ""
"""
RUN, EVALUATE, COMPILED, REWRITTEN = 4, 6, 8, 10
MAKES = "def made(a, b=(1, 'two')):\n    return a, b, __name__\n"
MAKES_LAMBDA = "lambda a: a if a else 'x y'"
PRINTS = "print('hello')\n"
RECORDED = {
    RUN: [MAKES, PRINTS],
    EVALUATE: [MAKES_LAMBDA],
    COMPILED: [MAKES, PRINTS],
    REWRITTEN: [PRINTS],
}


class Library:
    """A module that compiles texts, of which some are frozen, and how many were answered."""

    def __init__(self, source: str, recorded: dict[int, list[str]]) -> None:
        self.module: Any = ModuleType("library")
        self.code = compile(source, "/library.py", "exec", dont_inherit=True)
        exec(self.code, self.module.__dict__)
        self.sites = compile_texts(source.encode(), self.code, recorded, sys.flags.optimize)
        self.texts = Texts()
        self.texts.add(self.module, self.code, self.sites)
        self.texts.put_in()
        self.answered = 0

    @property
    def names(self) -> list[str]:
        return sorted({"exec", "eval", "compile"} & vars(self.module).keys())


MakeLibrary = Callable[..., Library]


@pytest.fixture
def make_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeLibrary]:
    made: list[Library] = []

    def make(source: str = SOURCE, recorded: dict[int, list[str]] = RECORDED) -> Library:
        made.append(Library(source, recorded))
        return made[-1]

    def count(data: bytes) -> object:
        made[-1].answered += 1
        return marshal.loads(data)

    monkeypatch.setattr(runtime, "loads", count)
    yield make
    for library in made:
        library.texts.take_out()


@pytest.fixture
def library(make_library: MakeLibrary) -> Library:
    return make_library()


def every_attribute(code: CodeType) -> list[object]:
    names = [name for name in dir(code) if name.startswith("co_") and name != "co_lnotab"]
    values = [getattr(code, name) for name in names]
    return [
        list(value()) if callable(value) else value
        for value in values
        if not isinstance(value, tuple)
    ] + [
        every_attribute(each) if isinstance(each, CodeType) else (type(each), each)
        for value in values
        if isinstance(value, tuple)
        for each in value
    ]


def test_exec_makes_the_same_functions(library: Library) -> None:
    space: dict[str, Any] = {"__name__": "made up"}
    expected: dict[str, Any] = {"__name__": "made up"}
    library.module.run(MAKES, space)
    exec(MAKES, expected)
    assert library.answered == 1
    assert list(space) == list(expected)
    assert space["__builtins__"] is expected["__builtins__"]
    assert every_attribute(space["made"].__code__) == every_attribute(expected["made"].__code__)
    assert space["made"](0) == (0, (1, "two"), "made up")
    assert space["made"].__globals__ is space


def test_exec_stores_where_it_is_asked_to(library: Library) -> None:
    space: dict[str, Any] = {}
    names: dict[str, Any] = {}
    library.module.run(MAKES, space, names)
    assert (library.answered, list(space), list(names)) == (1, ["__builtins__"], ["made"])


def test_namespaces_that_are_none_are_the_callers(library: Library) -> None:
    names: dict[str, Any] = {}
    library.module.run(MAKES, None, names)
    assert library.answered == 1
    assert names["made"].__globals__ is vars(library.module)
    library.module.run(MAKES, None)  # into the caller's variables, where nobody sees it
    assert library.answered == 2
    assert "made" not in vars(library.module)


def test_a_namespace_that_is_no_dict_is_refused_as_by_exec(library: Library) -> None:
    errors: list[str] = []
    stock: Callable[..., object] = exec
    for run in (library.module.run, stock):
        with pytest.raises(TypeError) as caught:
            run(MAKES, ["made"])
        errors.append(str(caught.value))
    assert errors == [errors[0]] * 2
    assert library.answered == 1


def test_eval_makes_the_same_function(library: Library) -> None:
    made = library.module.evaluate(MAKES_LAMBDA, {})
    assert library.answered == 1
    assert every_attribute(made.__code__) == every_attribute(eval(MAKES_LAMBDA, {}).__code__)


@pytest.mark.parametrize("file", ["<string>", "<another>", "ä"])
def test_compile_gives_the_same_code(file: str, library: Library) -> None:
    code = library.module.compiled(MAKES, file)
    assert library.answered == 1
    expected = compile(MAKES, file, "exec", dont_inherit=True)
    assert code == expected
    assert every_attribute(code) == every_attribute(expected)
    assert library.module.compiled(MAKES, file) is not code


def test_a_text_is_found_before_a_function_passes_it_on(library: Library) -> None:
    assert library.module.rewritten(PRINTS, "<f>") == compile(PRINTS, "<f>", "exec")
    assert library.answered == 1


def test_a_text_that_became_another_is_compiled(library: Library) -> None:
    library.module.extra = "print('and more')\n"
    code = library.module.rewritten(PRINTS, "<f>")
    assert code == compile(PRINTS + "print('and more')\n", "<f>", "exec")
    assert library.answered == 0


def test_code_that_runs_below_exec_is_compiled(
    library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    library.module.run(PRINTS, {})
    assert capsys.readouterr().out == "hello\n"
    assert library.answered == 0


@pytest.mark.parametrize("text", [MAKES + "\n", MAKES.encode(), compile(MAKES, "", "exec")])
def test_what_was_not_recorded_is_compiled(text: object, library: Library) -> None:
    space: dict[str, Any] = {}
    library.module.run(text, space)
    assert library.answered == 0
    assert space["made"](0)[0] == 0


class Text(str):
    """Not exactly a string."""

    __slots__ = ()


def test_a_text_of_another_class_is_compiled(library: Library) -> None:
    library.module.run(Text(MAKES), {})
    assert library.answered == 0


def test_a_file_that_is_not_a_string_is_left_to_compile(library: Library) -> None:
    assert library.module.compiled(MAKES, b"<file>").co_filename == "<file>"
    with pytest.raises(ValueError, match=r"^embedded null (character|byte)$"):
        library.module.compiled(MAKES, "\0")
    with pytest.raises(TypeError, match="NoneType"):
        library.module.compiled(MAKES, None)
    assert library.answered == 0


def test_an_unknown_text_is_compiled_by_the_frame_that_asks(library: Library) -> None:
    """As without: the module's own frame calls the built-in function."""
    space: dict[str, Any] = {}
    library.module.run("import sys\ncaller = sys._getframe(1)", space)
    assert space["caller"].f_code is library.module.run.__code__
    with pytest.raises(SyntaxError) as caught:
        library.module.compiled("1 +", "<f>")
    traceback: Any = caught.value.__traceback__
    frames = []
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[1:] == ["compiled"]


def test_a_builtin_that_was_replaced_is_called(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "eval", lambda *arguments: arguments)
    assert library.module.evaluate(MAKES_LAMBDA, {}) == (MAKES_LAMBDA, {})


def test_a_builtin_that_was_deleted_is_missed(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(builtins, "eval")
    with pytest.raises(NameError, match=r"^name 'eval' is not defined$") as caught:
        library.module.evaluate(MAKES_LAMBDA, {})
    assert caught.value.name == "eval"


def test_builtins_of_its_own_are_asked(library: Library) -> None:
    own = {**vars(builtins), "eval": lambda *arguments: arguments}
    function = library.module.evaluate
    spaces = {**vars(library.module), "__builtins__": own}
    assert type(function)(function.__code__, spaces)(MAKES_LAMBDA, {}) == (MAKES_LAMBDA, {})
    same = {**vars(library.module), "__builtins__": {**vars(builtins)}}
    assert callable(type(function)(function.__code__, same)(MAKES_LAMBDA, {}))
    assert library.answered == 0


def test_other_code_in_the_namespace_is_not_answered(library: Library) -> None:
    """It has the same lines and variables, but another file or other features."""
    source = "\n" * (EVALUATE - 2) + "def evaluate(text, space):\n return eval(text, space)\n"
    for file, flags in [("/other.py", 0), ("/library.py", __future__.annotations.compiler_flag)]:
        exec(compile(source, file, "exec", flags, dont_inherit=True), vars(library.module))
        assert callable(library.module.evaluate(MAKES_LAMBDA, {}))
    assert library.answered == 0


def test_a_call_that_asks_for_something_else_is_compiled(library: Library) -> None:
    """The source has changed, and the module was executed anew in the same namespace."""
    head = "\n" * (COMPILED - 2) + "def compiled(text, file):\n return "
    for call, mode in [
        ("compile(text, file, mode='single')", "single"),
        ("compile(text, file, 'exec', 0, True)", "exec"),
        ("compile(text, file, 'exec', _feature_version=-1)", "exec"),
    ]:
        exec(compile(head + call, "/library.py", "exec", 0, True), vars(library.module))
        assert library.module.compiled(PRINTS, "<f>") == compile(PRINTS, "<f>", mode)
    assert library.answered == 0


def test_the_modules_own_features_are_inherited(make_library: MakeLibrary) -> None:
    library = make_library("from __future__ import annotations" + SOURCE)
    text = "def f(a: (1, 2)): pass\n"
    recorded = {COMPILED: [text], REWRITTEN: [text]}
    library = make_library("from __future__ import annotations" + SOURCE, recorded)
    inherited = library.module.compiled(text, "<f>")
    assert inherited == compile(text, "<f>", "exec", __future__.annotations.compiler_flag)
    assert library.module.rewritten(text, "<f>") == compile(text, "<f>", "exec", 0, True)
    assert library.answered == 2
    library.module.extra = text
    assert library.module.compiled(text + text, "<f>").co_flags & FUTURES
    assert not library.module.rewritten(text, "<f>").co_flags & FUTURES
    assert library.answered == 2


def test_the_features_are_those_that_cpython_inherits() -> None:
    flags = {getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}
    assert sum(flags - {__future__.nested_scopes.compiler_flag}) == FUTURES


def test_names_are_in_the_namespace_only_while_something_is_imported(library: Library) -> None:
    assert library.names == ["compile", "eval", "exec"]
    library.texts.take_out()
    assert library.names == []
    assert callable(library.module.evaluate(MAKES_LAMBDA, {}))
    assert library.answered == 0
    library.texts.put_in()
    library.texts.put_in()
    assert library.names == ["compile", "eval", "exec"]
    library.texts.take_out()
    library.texts.take_out()
    assert library.names == []


def test_a_name_of_the_modules_own_stays(make_library: MakeLibrary) -> None:
    library = make_library(SOURCE + "def exec(*arguments): return arguments\n")
    library.module.eval = mine = object()
    library.texts.put_in()
    library.texts.take_out()
    assert library.module.exec(1) == (1,)
    assert library.module.eval is mine
    assert library.names == ["eval", "exec"]


def test_a_name_that_the_module_deletes_is_missed_by_nobody(library: Library) -> None:
    del library.module.exec
    library.module.run(MAKES, {})
    library.texts.take_out()
    assert library.names == []


class Pretender:
    """As cffi's libraries: `isinstance` takes it for a module."""

    __class__ = ModuleType  # type: ignore[assignment]


def test_modules_that_copied_a_name_lose_it(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from library import *` copies every name that does not begin with an underscore."""
    monkeypatch.setitem(sys.modules, "library", library.module)
    monkeypatch.setitem(sys.modules, "nothing", None)
    monkeypatch.setitem(sys.modules, "library of cffi", Pretender())
    copy: Any = ModuleType("copy")
    monkeypatch.setitem(sys.modules, "copied", copy)
    exec("from library import *", vars(copy))
    assert copy.evaluate(MAKES_LAMBDA, {})(1) == 1
    exec("text = 'lambda: 1'\nspace = {}\nmade = eval(text, space)", vars(copy))
    assert copy.made() == 1
    library.texts.take_out()
    assert {"exec", "eval", "compile"} & vars(copy).keys() == set()
    assert copy.extra == ""


def test_nothing_is_searched_for_names_that_nobody_copied(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[Name] = []
    monkeypatch.setattr(runtime, "_take_back", searched.append)
    library.texts.take_out()
    assert searched == []
    library.texts.put_in()
    kept = library.module.exec
    library.texts.take_out()
    assert searched == [kept]


def test_a_module_that_is_gone_is_forgotten(make_library: MakeLibrary) -> None:
    library = make_library()
    del library.module
    library.texts.take_out()
    library.texts.put_in()
    library.module = ModuleType("library")
    library.texts.put_in()
    assert library.names == []


@pytest.mark.parametrize("sites", [1, [1], [(0, "print", 1, (), (), {})], [(0, "exec", 1)]])
def test_what_is_no_site_is_ignored(sites: Any, library: Library) -> None:
    texts = Texts()
    module: Any = ModuleType("other")
    texts.add(module, library.code, sites)
    texts.put_in()
    assert not {"exec", "print"} & vars(module).keys()


def test_a_refusal_of_an_audit_hook_does_not_reach_the_module(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(depth: int) -> None:
        raise RuntimeError("no frames here")

    monkeypatch.setattr("frozenfinder.texts.get_frame", refuse)
    assert callable(library.module.evaluate(MAKES_LAMBDA, {}))
    assert library.answered == 0


def test_texts_for_another_level_of_optimisation_are_compiled(library: Library) -> None:
    """A bundle serves its modules at every level, but compiles as the interpreter does."""
    texts = Texts()
    module: Any = ModuleType("other")
    level = sys.flags.optimize + 1
    texts.add(module, library.code, [(level, *site[1:]) for site in library.sites])
    texts.put_in()
    assert "exec" not in vars(module)


def test_texts_for_other_features_are_compiled(library: Library) -> None:
    """Another registry may have a module of that name."""
    texts = Texts()
    module: Any = ModuleType("other")
    flags = library.code.co_flags | __future__.annotations.compiler_flag
    texts.add(module, library.code.replace(co_flags=flags), library.sites)
    texts.put_in()
    assert "exec" not in vars(module)


def test_a_compiler_without_columns_is_asked(
    make_library: MakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert has_columns()
    monkeypatch.setitem(sys._xoptions, "no_debug_ranges", True)
    assert not has_columns()
    library = make_library()
    assert (library.sites, library.names) == ([], [])
    monkeypatch.delitem(sys._xoptions, "no_debug_ranges")
    sites = make_library().sites
    monkeypatch.setenv("PYTHONNODEBUGRANGES", "1")
    library.texts.add(library.module, library.code, sites)
    library.texts.put_in()
    assert library.names == []


@pytest.mark.parametrize("text", ["'\\d'", "1 is 1", f"{10**700}", "1 +", "a\0", "\udc80"])
def test_what_warns_fails_or_may_be_refused_is_left_to_compile(text: str) -> None:
    code = compile(SOURCE, "", "exec")
    sites = compile_texts(SOURCE.encode(), code, {COMPILED: [text, "b"]}, 0)
    assert [list(site[-1]) for site in sites] == [["b"]]


def test_a_module_without_such_calls_has_no_sites() -> None:
    code = compile(SOURCE, "", "exec")
    assert compile_texts(SOURCE.encode(), code, {1: ["a"], RUN: [PRINTS]}, 0) == []


# -- packed


def test_texts_replace_those_that_were_packed() -> None:
    patterns = pack_keys([("a", 0)])
    both = pack_extras(patterns, [("exec",)])
    assert marshal.loads(both[8:])[2] == [("exec",)]
    assert pack_extras(both, []) == patterns
    alone = pack_extras(b"", [("exec",)])
    assert marshal.loads(alone[8:])[1:] == ([], [("exec",)])
    assert pack_extras(alone, []) == b""


def test_texts_reach_the_namespace_when_the_body_has_run(library: Library) -> None:
    extras = Extras()
    module: Any = ModuleType("library")
    extras.enter()
    extras.add("library", pack_extras(b"", library.sites))
    extras.start(ModuleType("other"), library.code, 1)
    extras.start(module, library.code, 1)
    assert extras.added == {}
    extras.leave(2)  # a module that it imports
    assert "exec" not in vars(module)
    extras.leave(1)
    assert extras.begun == []
    assert "exec" in vars(module)
    extras.leave(0)
    assert "exec" not in vars(module)
    extras.enter()
    assert "exec" in vars(module)
    extras.reinit()
    assert "exec" not in vars(module)


def test_the_outermost_module_waits_for_the_next_import(library: Library) -> None:
    extras = Extras()
    module: Any = ModuleType("library")
    extras.add("library", pack_extras(b"", library.sites))
    extras.start(module, library.code, 0)
    extras.leave(0)
    assert "exec" not in vars(module)
    extras.enter()
    assert "exec" in vars(module)
    extras.leave(0)


def test_bodies_of_other_threads_go_on(library: Library) -> None:
    extras = Extras()
    module: Any = ModuleType("library")
    extras.add("library", pack_extras(b"", library.sites))
    thread = threading.Thread(target=extras.start, args=(module, library.code, 1))
    thread.start()
    thread.join()
    own = [(threading.get_ident() + 1, *each[1:]) for each in extras.begun]
    extras.begun[:] = own  # numbers of threads that have ended are used again
    extras.leave(0)
    assert extras.begun == own
    extras.reinit()
    assert extras.begun == []
    assert "exec" not in vars(module)


def test_texts_of_a_second_module_join_those_of_the_first(library: Library) -> None:
    extras = Extras()
    modules = [ModuleType("first"), ModuleType("second")]
    for module in modules:
        extras.add(module.__name__, pack_extras(b"", library.sites))
        extras.start(module, library.code, 0)
        extras.leave(0)
    extras.enter()
    assert ["exec" in vars(module) for module in modules] == [True, True]
    extras.leave(0)
    assert ["exec" in vars(module) for module in modules] == [False, False]


def test_texts_can_be_switched_off(library: Library) -> None:
    extras = Extras(["texts"])
    extras.add("library", pack_extras(b"", library.sites))
    assert extras.added == {}


# -- in a manifest


@pytest.mark.parametrize("text", ["", "a # b  c\n\\#", "lambda: 'ä\u2028'", '\'""'])
def test_a_text_is_a_line_of_a_manifest(text: str) -> None:
    line = f"text {format_text(('pkg.module', 12, text))}"
    [read] = parse_manifest(f"  {line}  # and a comment", ".").texts
    assert parse_text(read) == ("pkg.module", 12, text)


@pytest.mark.parametrize("argument", ["", "m:1", "m 'a'", ":1 'a'", "m:x 'a'", "m:1 2", "m:1 a"])
def test_a_line_that_is_no_text_is_refused(argument: str) -> None:
    with pytest.raises(FreezeError, match=r"^manifest 'm' line 1: 'text' is followed by "):
        parse_manifest(f"text {argument}", ".", "m")


# -- recorded, frozen and served, beside stock

APPLICATION = {
    "maker.py": SOURCE,
    "app.py": f"""
import maker
space = {{"__name__": "app made"}}
maker.run({MAKES!r}, space)
made, code = space["made"], maker.compiled({PRINTS!r}, "<app>")
function = maker.evaluate({MAKES_LAMBDA!r}, {{}})
""",
    "after.py": "import maker\nmaker.run('def late(): pass\\n', {})\n",
}
COUNT = """
answered = []
sys.setprofile(lambda frame, event, _: event == "call" and frame.f_code.co_name == "answer"
    and answered.append(frame.f_code.co_filename.rpartition("texts")[0]))
"""
SHOW = """
import app, maker
sys.setprofile(None)
import builtins
own = app.space["__builtins__"] is vars(builtins)
print(own, app.made(1), app.function(0), app.code, {"exec", "eval", "compile"} & vars(maker).keys())
print(len(answered))
"""


def record(tree: Tree, program: str, *options: str) -> None:
    traced = f"import sys; sys.path.insert(0, {str(tree.lib)!r}); {program}"
    tree.freeze(*options, "--trace", "--", sys.executable, "-c", traced)


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory, python: Python) -> Tree:
    tree = Tree(tmp_path_factory.mktemp("application"), python)
    tree.write(APPLICATION)
    record(tree, "import app; exec('import after', {}); app.maker.run('def later(): pass', {})")
    return tree


@pytest.mark.parametrize("mode", ["overlay", "closed"])
@pytest.mark.parametrize(("without", "answers"), [("", 3), ("patterns", 3), ("texts", 0)])
def test_a_served_module_compiles_none(
    mode: str, without: str, answers: int, application: Tree, python: Python
) -> None:
    code = (
        "import sys, frozenfinder\nfrozenfinder.install(sys.argv[1], mode=sys.argv[2])\n"
        f"sys.path.insert(0, {str(application.lib)!r})\n" + COUNT + SHOW
    )
    environment = {"FROZENFINDER_WITHOUT": without}
    served = python("-c", code, application.registry, mode, env=environment).stdout
    stock = python("-c", code, application.registry, mode, env={"FROZENFINDER": "off"}).stdout
    shown, count = without_addresses(served).splitlines()
    assert shown == without_addresses(stock).splitlines()[0]
    assert shown.endswith('<code object <module>, file "<app>", line 1> set()')
    assert count == str(answers)


def both(tree: Tree, code: str, *flags: str) -> str:
    """What a program prints with the registry, which is what it prints without."""
    served, stock = tree.run(code, *flags), tree.run(code, *flags, stock=True)
    output = without_addresses(served.output)
    assert (served.error, served.status) == (stock.error, stock.status)
    assert output == without_addresses(stock.output)
    return output


def without_addresses(shown: str) -> str:
    return re.sub(" at 0x[0-9a-fA-F]+", "", shown)


def test_a_second_import_of_the_program_is_answered_too(application: Tree) -> None:
    code = COUNT + "import maker\nimport app\nsys.setprofile(None)\nprint(len(answered))"
    assert application.run(code).output == "3"


def test_texts_outside_imports_are_neither_recorded_nor_answered(application: Tree) -> None:
    code = COUNT + (
        "import app, after\nbefore = len(answered)\n"
        f"app.maker.run({MAKES!r}, {{}})\nsys.setprofile(None)\nprint(before, len(answered))"
    )
    assert application.run(code).output == "4 4"
    code = "print([s[-1] for s in finder.extras.texts._known['maker'][1][0]._answers.values()])"
    asked = application.run("import app\n" + code.replace("s[-1]", "sorted(s[1])")).output
    assert "def late" in asked
    assert "def later" not in asked


def test_a_changed_source_is_served_from_disk_without_names(tmp_path: Path, python: Python) -> None:
    tree = Tree(tmp_path, python)
    tree.write(APPLICATION)
    record(tree, "import app")
    tree.write({"maker.py": "# changed\n" + SOURCE, "app.py": APPLICATION["app.py"]})
    code = COUNT + "import app\nsys.setprofile(None)\nprint(finder.served, len(answered))"
    assert tree.run(code).output in ("0 0", "1 0")


def test_a_module_that_is_reloaded_with_a_changed_source_compiles_it(
    tmp_path: Path, python: Python
) -> None:
    tree = Tree(tmp_path, python)
    changed = SOURCE.replace('"exec")', '"single")').replace("return eval", "return 1 + eval")
    tree.write(
        APPLICATION
        | {
            "again.py": f"""
import importlib, maker, pathlib
path = pathlib.Path(maker.__file__)
text = path.read_text()
path.write_text({changed!r})
try:
    importlib.invalidate_caches()
    importlib.reload(maker)
finally:
    path.write_text(text)
print(maker.compiled("print('hello')\\n", "<f>").co_code)
print(maker.evaluate("1", {{}}))
"""
        }
    )
    record(tree, "import app")
    both(tree, "import app, again")


def test_audit_events_of_compile_and_exec_are_those_of_stock(application: Tree) -> None:
    code = """
events = []
def hook(event, arguments):
    if recording and event in ("compile", "exec"):
        events.append((event, *map(str, arguments[:2])))
recording = False
sys.addaudithook(hook)
import maker, os
recording = True
import app
recording = False
for event in events:
    if "app.py" not in event[1]:
        print(*event)
"""
    assert both(application, code).splitlines() == [
        f"compile {MAKES.encode()!r} <string>",
        'exec <code object <module>, file "<string>", line 1>',
        f"compile {PRINTS.encode()!r} <app>",
        f"compile {MAKES_LAMBDA.encode()!r} <string>",
        'exec <code object <module>, file "<string>", line 1>',
    ]


HOSTILE = """
import inspect, sys, traceback, maker
print(sorted(name for name in vars(maker) if not name.startswith("__")))
def show(text, function, *arguments):
    try:
        print(text, function(text, *arguments))
    except BaseException:
        traceback.print_exc(file=sys.stdout)
show("import sys; print(sys._getframe(1).f_code.co_name)", maker.run, {})
show("1 +", maker.run, {})
show("1 / 0", maker.run, {})
show("(1 / 0)", maker.evaluate, {})
show("'\\d'", maker.compiled, "<f>")
show(MAKES, maker.run, 5)
show(None, maker.run, {})
show("import warnings; warnings.warn('there', stacklevel=2)", maker.run, {})
print(hasattr(maker, "nothing"), inspect.isbuiltin(maker.run))
"""


def test_what_goes_wrong_goes_wrong_as_in_stock(application: Tree) -> None:
    code = f"import app\nMAKES = 'def other(): pass'\n{HOSTILE}"
    shown = both(application, code)
    assert "ZeroDivisionError" in shown
    assert "SyntaxError" in shown


def test_only_the_names_show_while_a_module_is_imported(tmp_path: Path, python: Python) -> None:
    tree = Tree(tmp_path, python)
    body = f"import app\nMAKES = 'def other(): pass'\n{HOSTILE}"
    tree.write(APPLICATION | {"hostile.py": body})
    record(tree, "import app")
    served = tree.run("import hostile").output.splitlines()
    stock = tree.run("import hostile", stock=True).output.splitlines()
    assert ast.literal_eval(served[0]) == sorted(
        [*ast.literal_eval(stock[0]), "compile", "eval", "exec"]
    )
    assert without_addresses("\n".join(served[1:])) == without_addresses("\n".join(stock[1:]))


def test_generated_functions_have_their_sources(tmp_path: Path, python: Python) -> None:
    """A library that puts its text into `linecache` finds it there."""
    tree = Tree(tmp_path, python)
    tree.write(
        APPLICATION
        | {
            "app.py": f"""
import linecache, maker
text = {MAKES!r}
linecache.cache["<made>"] = len(text), None, text.splitlines(True), "<made>"
space = {{}}
exec(maker.compiled(text, "<made>"), space)
made = space["made"]
"""
        }
    )
    record(tree, "import app")
    code = "import app, inspect\nprint(inspect.getsource(app.made))"
    assert both(tree, code) == MAKES.rstrip() + "\n"
    code = "import linecache" + COUNT + "import app\nsys.setprofile(None)\nprint(len(answered))"
    assert tree.run(code).output == "1"


def test_star_imports_copy_no_name_for_long(tmp_path: Path, python: Python) -> None:
    tree = Tree(tmp_path, python)
    star = f"from maker import *\nimport app\nspace = {{}}\nrun({MAKES!r}, space)\n"
    tree.write(APPLICATION | {"star.py": star + "exec('VALUE = 1')\n"})
    record(tree, "import star")
    code = "import star\nprint(star.VALUE, [name for name in vars(star) if name[0] != '_'])"
    assert both(tree, code) == (
        "1 ['sys', 'run', 'evaluate', 'compiled', 'rewritten', 'extra', 'app', 'space', 'VALUE']"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_no_names(tmp_path: Path, python: Python) -> None:
    """The import that put them in does not end there."""
    tree = Tree(tmp_path, python)
    tree.write(
        APPLICATION
        | {"held.py": "import app, builtins\nbuiltins.started.set()\nbuiltins.go.wait(60)\n"}
    )
    record(tree, "import app")
    code = """
import builtins, os, threading, app, maker
builtins.started, builtins.go = threading.Event(), threading.Event()
def show():
    print({"exec", "eval", "compile"} & vars(maker).keys() != set(), flush=True)
thread = threading.Thread(target=__import__, args=["held"])
thread.start()
started.wait(60)
show()
child = os.fork()
if not child:
    show()
    os._exit(0)
os.waitpid(child, 0)
go.set()
thread.join()
show()
"""
    assert tree.run(code, "-W", "ignore").output.split() == ["True", "False", "False"]


def test_threads_that_import_and_compile_disturb_nobody(application: Tree) -> None:
    code = f"""
import threading, sys, importlib
sys.setswitchinterval(1e-6)
import app, maker
wrong = []
expected = app.made.__code__
def compile_all():
    for _ in range(300):
        space = {{}}
        maker.run({MAKES!r}, space)
        if space["made"].__code__ != expected:
            wrong.append(space)
def import_all():
    for _ in range(100):
        sys.modules.pop("after", None)
        importlib.import_module("after")
threads = [threading.Thread(target=t) for t in [import_all, *[compile_all] * 4]]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(wrong, {{"exec", "eval", "compile"}} & vars(maker).keys())
"""
    assert both(application, code) == "[] set()"


@pytest.mark.parametrize("option", ["no_debug_ranges", "dev", "utf8=0"])
def test_options_of_the_interpreter_change_what_they_change(option: str, application: Tree) -> None:
    code = "import app\nprint([*app.made.__code__.co_positions()], app.code.co_code)"
    both(application, code, "-X", option)


def test_texts_are_optimised_as_their_programs_are(tmp_path: Path, python: Python) -> None:
    tree = Tree(tmp_path, python)
    text = "def made(a):\n    'documented'\n    assert a, __debug__\n    return a\n"
    app = f"import maker\nspace = {{}}\nmaker.run({text!r}, space)\nmade = space['made']\n"
    tree.write(APPLICATION | {"app.py": app})
    traced = f"import sys; sys.path.insert(0, {str(tree.lib)!r}); import app"
    tree.freeze("-O", "2", "--trace", "--", sys.executable, "-OO", "-c", traced)
    code = COUNT + "import app\nsys.setprofile(None)\n"
    assert both(tree, code + "print(app.made(0), app.made.__doc__)", "-OO") == "0 None"
    assert tree.run(code + "print(len(answered))", "-OO").output == "1"


def test_a_freeze_without_the_recording_leaves_no_text(tmp_path: Path, python: Python) -> None:
    tree = Tree(tmp_path, python)
    tree.write(APPLICATION)
    manifest = tmp_path / "manifest"
    record(tree, "import app", "--write-manifest", str(manifest))
    first = tree.registry.read_bytes()
    assert f"text {format_text(('maker', RUN, MAKES))}" in manifest.read_text().splitlines()
    record(tree, "import app")
    assert tree.registry.read_bytes() == first
    described = json.loads(python("-m", "frozenfinder", "info", "--json", tree.registry).stdout)
    assert described["with_extras"] >= 1
    listed = json.loads(python("-m", "frozenfinder", "ls", "--json", tree.registry).stdout)
    sizes = {each["name"]: each["extras_size"] for each in listed["modules"]}
    assert sizes["maker"] > 0
    assert sizes["app"] == 0
    python("-m", "frozenfinder", "freeze", "--manifest", manifest, "-o", tree.registry)
    assert tree.registry.read_bytes() == first
    tree.freeze()
    bare = tree.registry.read_bytes()
    tree.registry.unlink()
    tree.freeze()
    assert tree.registry.read_bytes() == bare


def test_extras_of_another_version_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(packed: bytes, texts: object) -> bytes:
        raise ValueError("not enough values to unpack")

    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "maker.py").write_text(SOURCE)
    plan = discover(Manifest(paths=(str(tmp_path / "lib"),)))
    output = tmp_path / "lib.frz"
    assert freeze(plan, output).reused == 0
    assert freeze(plan, output).reused == 1
    monkeypatch.setattr(previous, "pack_extras", refuse)
    assert freeze(plan, output).reused == 0


def test_texts_of_a_source_that_changes_meanwhile_are_left_out(
    tmp_path: Path, python: Python
) -> None:
    tree = Tree(tmp_path, python)
    tree.write(APPLICATION | {"gone.py": SOURCE, "kept.py": SOURCE})
    texts = [format_text((name, RUN, MAKES)) for name in ("maker", "gone", "kept", "app", "no")]
    code = f"""
import sys
from pathlib import Path
from frozenfinder.freezer import Manifest, discover
from frozenfinder.freezer.write.content import Content
from frozenfinder.freezer.write.previous import Previous
lib = Path(sys.argv[1])
plan = discover(Manifest(paths=(sys.argv[1],), texts=tuple({texts!r})))
class Slow(Content):
    def _add_patterns(self):
        (lib / "gone.py").unlink()
        (lib / "maker.py").write_text("# changed")
content = Slow(plan)
content.add_modules(Previous(sys.argv[2], plan), 1, None)
print({{each.entry.name: each.entry.extras_size > 0 for each in content.modules}})
"""
    done = python("-c", code, tree.lib, tree.registry)
    assert ast.literal_eval(done.stdout) == {
        "after": False,
        "app": False,
        "gone": False,
        "kept": True,
        "maker": False,
    }


# -- libraries that generate code

LIBRARIES = {
    "dataclasses": """
import dataclasses
@dataclasses.dataclass(order=True)
class Plain:
    a: int
    b: 'list[int]' = dataclasses.field(default_factory=list)
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    a: int
    b: tuple = ()
    c: str = "x"
Made = dataclasses.make_dataclass('Made', ['x', ('y', int, 3)])
CLASSES = [Plain, Frozen, Made]
VALUES = [Plain(1) < Plain(1, [2]), hash(Frozen(a=1, b=())) == hash(Frozen(a=1, b=())), Made(1)]
""",
    "collections": """
import collections, typing
Point = collections.namedtuple('Point', 'x y z', defaults=[0], module='elsewhere')
Renamed = collections.namedtuple('Renamed', ['def', 'b'], rename=True)
class Typed(typing.NamedTuple):
    a: 'int'
    b: str = 'b'
CLASSES = [Point, Renamed, Typed]
VALUES = [Point(1, 2), Renamed(1, 2)._replace(b=3), Typed(1)._asdict(), Point._make([1, 2, 3])]
""",
    "typing": """
import typing, enum
class Colour(enum.Enum):
    RED = 1
class Node(typing.TypedDict, total=False):
    left: 'Node | None'
    colour: 'Colour'
def function(a: 'int', b: 'typing.Optional[Node]' = None) -> 'list[Colour]': ...
CLASSES = [Node, Colour]
VALUES = [typing.get_type_hints(Node), typing.get_type_hints(function), typing.List['Colour']]
try:
    VALUES.append(typing.get_type_hints(typing.cast(typing.Any, type('A', (), {'__annotations__':
        {'a': '1 +'}}))))
except SyntaxError as error:
    VALUES.append(str(error))
""",
    "attr": """
import attrs
@attrs.define
class Defined:
    a: int
    b: str = attrs.field(default='b', validator=attrs.validators.instance_of(str))
@attrs.frozen(order=True)
class Frozen:
    a: int = attrs.field(converter=int)
CLASSES = [Defined, Frozen]
VALUES = [Defined(1), Frozen('3') < Frozen(4), hash(Frozen(1)) == hash(Frozen(1))]
import inspect
VALUES.append(inspect.getsource(Defined.__init__))
try:
    Defined(1, 2)
except TypeError as error:
    VALUES.append(error.__traceback__.tb_next.tb_frame.f_code.co_filename)
""",
    "pydantic": """
import pydantic, pydantic.dataclasses, typing
class Model(pydantic.BaseModel):
    number: int
    children: 'list[Model]' = []
@pydantic.dataclasses.dataclass
class Data:
    a: int
    b: 'typing.Optional[str]' = None
CLASSES = [Model, Data]
VALUES = [Model.model_validate({'number': '3', 'children': [{'number': 1}]}), Data('1')]
VALUES.append(Model.model_json_schema())
""",
    "sqlalchemy": """
from sqlalchemy import Integer, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.util import langhelpers
class Base(DeclarativeBase): ...
class Item(Base):
    __tablename__ = 'item'
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped['str | None']
CLASSES = [Item, type(select(Item))]
VALUES = [str(select(Item).where(Item.name == 'a')), Item(name='b').name]
""",
}
SHOW_LIBRARY = """
import inspect, types
def describe(code):
    return [
        [each.co_name, each.co_filename, each.co_firstlineno, each.co_flags, each.co_code.hex(),
         each.co_names, each.co_varnames, [*each.co_lines()], [*each.co_positions()]]
        for each in [code, *(c for c in code.co_consts if isinstance(c, types.CodeType))]
    ]
for cls in job.CLASSES:
    for name, value in sorted(vars(cls).items()):
        value = inspect.unwrap(getattr(value, "__func__", value))
        if name == "__hash__" and cls.__module__ == "job" and hasattr(cls, "__attrs_attrs__"):
            continue  # its text has a number that depends on the hash seed
        if isinstance(value, types.FunctionType):
            print(cls, name, value.__qualname__, value.__module__, describe(value.__code__))
            print(value.__defaults__, value.__kwdefaults__)
            print(sorted(value.__annotations__.items(), key=str))
print(job.VALUES)
for name in ("dataclasses", "collections", "typing", "attr._make", "sqlalchemy.util.langhelpers"):
    if name in sys.modules:
        print(name, {"exec", "eval", "compile"} & vars(sys.modules[name]).keys())
"""


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_generate_what_they_do_in_stock(
    library: str, tmp_path: Path, python: Python
) -> None:
    """Except on a Python whose `typing` compiles references only when they are evaluated."""
    tree = Tree(tmp_path, python)
    tree.write({"job.py": LIBRARIES[library]})
    record(tree, "import job")
    shown = both(tree, "import job" + SHOW_LIBRARY)
    assert "<string>" in shown or "generated" in shown or library not in ("dataclasses", "attr")
    code = COUNT + "import job\nsys.setprofile(None)\nprint(len(answered) > 0)"
    assert tree.run(code).output == "True"


@pytest.mark.long
@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(
    find_spec("test.test_dataclasses") is None, reason="this interpreter lacks the suites"
)
def test_cpythons_own_suites_end_as_they_do_with_stock() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "programs.text_suites"],
        capture_output=True,
        check=False,
        cwd=TESTS,
        text=True,
        timeout=LONG_TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
