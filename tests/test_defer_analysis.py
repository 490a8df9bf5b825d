"""Which names of imports may wait, as far as a module and its program show it."""

import ast
import sys
from collections.abc import Mapping

import pytest

from frozenfinder.freezer.defer.analysis import Facts, analyse, fold
from frozenfinder.freezer.defer.horizon import Decision, Horizon


def read(source: str, name: str = "m", *, is_package: bool = False) -> Facts:
    return analyse(ast.parse(source), name, is_package)


def decide(
    source: str,
    others: Mapping[str, str | None] | None = None,
    *,
    name: str = "m",
    is_package: bool = False,
    eager: tuple[str, ...] = (),
) -> Decision:
    """The decision for a module beside others: their sources, or None for one without."""
    known: dict[str, Facts | bool] = {name: read(source, name, is_package=is_package)}
    packages = {each.rpartition(".")[0] for each in (others or {})}
    for each, text in (others or {}).items():
        known[each] = text is None or read(text, each, is_package=each in packages)
    return Horizon(lambda each: known.get(each, False)).decide(known[name], eager)  # type: ignore[arg-type]


WAITING = [
    ("import a\ndef f(): return a", {"a"}),
    ("import a, b\ndef f(): return a, b", {"a", "b"}),
    ("import a.b\nimport a.c\nf = lambda: a", {"a"}),
    ("import a.b as c\ndef f(): return c", {"c"}),
    ("from a import b, c as d", {"b", "d"}),
    ("from . import b", {"b"}),
    ("from __future__ import annotations\nfrom a import b", {"b"}),
    ("import a\ndef f(x=lambda: a): pass", {"a"}),
    ("import a\nclass C:\n def f(self): return a", {"a"}),
    ("import a\nclass C:\n a = 1\n def f(self): return a", {"a"}),
    ("import a\nasync def f():\n async with a as b: yield b", {"a"}),
    ("import a\ndef f(a): return a", {"a"}),
    ("import a\ndef f():\n x: a = 1\n return a", {"a"}),
    ("import a\ndef f(): return vars(a), dir(a)", {"a"}),
    ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n from a import b", {"TYPE_CHECKING"}),
    (
        "import sys\nif sys.version_info >= (3, 11):\n from a import b\nelse:\n from c import b",
        {"b"},
    ),
    ("import sys\nif sys.platform == 'nowhere':\n import a\nfrom b import c", {"c"}),
    ("from a import b\n__all__ = ['b']", {"b"}),
]


@pytest.mark.parametrize(("source", "expected"), WAITING)
def test_a_name_that_is_used_later_may_wait(source: str, expected: set[str]) -> None:
    facts = read(source, "p.m")
    assert facts.whole is None
    assert expected <= set(facts.names)


EAGER = [
    ("import a\na.b()", "a", "line 2 uses it when the module is imported"),
    ("import a\nclass C(a.D): pass", "a", "line 2 uses it when the module is imported"),
    ("import a\nclass C:\n x = a", "a", "line 3 uses it when the module is imported"),
    ("import a\n@a\ndef f(): pass", "a", "line 2 uses it when the module is imported"),
    ("import a\ndef f(x=a): pass", "a", "line 2 uses it when the module is imported"),
    ("import a\ndef f(*, x=a): pass", "a", "line 2 uses it when the module is imported"),
    ("import a\nx = [a for _ in y]", "a", "line 2 uses it when the module is imported"),
    ("import a\nx = (a for _ in y)", "a", "line 2 uses it when the module is imported"),
    ("import a\nf = lambda x=a: x", "a", "line 2 uses it when the module is imported"),
    ("import a\ndef f(x: a.B): pass", "a", "line 2 has it in an annotation"),
    ("import a\ndef f(*x: a): pass", "a", "line 2 has it in an annotation"),
    ("import a\ndef f() -> 'list[a.B]': pass", "a", "line 2 has it in an annotation"),
    ("import a\ndef f():\n def g(x: a): pass\n return g", "a", "line 3 has it in an annotation"),
    ("import a\nclass C:\n x: 'a.ClassVar[int]' = 1", "a", "line 3 has it in an annotation"),
    ("import a\nclass C:\n def __del__(self): a.b()", "a", "line 3 uses it in a finalizer"),
    ("import a\nX = TypeVar('X', bound='a.B')", "a", "line 2 has it in an annotation"),
    ("import a\nX = t.NewType('X', 'a.B')", "a", "line 2 has it in an annotation"),
    ("import a\nX = Optional['a.B']", "a", "line 2 has it in an annotation"),
    ("import a\na = 1", "a", "it is bound more than once, or deleted"),
    ("import a\ndef a(): pass", "a", "it is bound more than once, or deleted"),
    ("import a\nfor a in (): pass", "a", "it is bound more than once, or deleted"),
    ("import a\ntry: pass\nexcept E as a: pass", "a", "it is bound more than once, or deleted"),
    ("import a\nmatch x:\n case [*a]: pass", "a", "it is bound more than once, or deleted"),
    ("import a\nmatch x:\n case {**a}: pass", "a", "it is bound more than once, or deleted"),
    ("import a\nmatch x:\n case a: pass", "a", "it is bound more than once, or deleted"),
    ("import a\ndef f():\n global a\n a = 1", "a", "it is bound more than once, or deleted"),
    (
        "import a\nif x:\n import b as a\nf = lambda: a",
        "a",
        "it is bound more than once, or deleted",
    ),
    ("from a import b\nfrom c import b", "b", "it is bound more than once, or deleted"),
    ("from a import __version__", "__version__", "it is a special name"),
    ("from a import open", "open", "it has the name of a builtin"),
    ("import a", "a", "nothing in the module uses it"),
    ("from .... import b", "b", "it is imported from above the top package"),
]


@pytest.mark.parametrize(("source", "name", "reason"), EAGER)
def test_a_name_may_not_wait_for_a_reason(source: str, name: str, reason: str) -> None:
    facts = read(source, "p.m")
    assert facts.eager[name] == reason
    assert name not in facts.names


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of 3.12")
@pytest.mark.parametrize(
    "source",
    ["import a\ndef f[T: a](): pass", "import a\nclass C[T: a]: pass", "import a\ntype X = a.B"],
)
def test_a_name_in_a_type_parameter_may_not_wait(source: str) -> None:
    assert read(source).eager == {"a": "line 2 has it in an annotation"}


WHOLE = [
    ("import a\ndef f(): return globals()", "line 2 uses globals"),
    ("import a\ndef f(): return eval('a')", "line 2 uses eval"),
    ("import a\ndef f(): exec('a')", "line 2 uses exec"),
    ("import a\ndef f(): return vars()", "line 2 uses vars"),
    ("import a\nx = dir()", "line 2 uses dir"),
    ("import a\nx = locals()", "line 2 uses locals"),
    ("import a, sys\nx = sys.modules[__name__]", "line 2 looks the module itself up"),
    ("import a, sys\nx = sys.modules.get(__name__)", "line 2 looks the module itself up"),
    ("import a\nx = import_module(__name__)", "line 2 looks the module itself up"),
    ("import a\nfrom b import *", "line 2 imports names that are not known (*)"),
    ("import a\n__getattr__ = a", "its __getattr__ is no plain function"),
    (
        "import a\n@a\ndef __getattr__(name): pass\n__getattr__ = 1",
        "its __getattr__ is no plain function",
    ),
    ("from a import __getattr__", "its __getattr__ is no plain function"),
]


@pytest.mark.parametrize(("source", "reason"), WHOLE)
def test_nothing_may_wait_in_a_module_that_reaches_its_names_otherwise(
    source: str, reason: str
) -> None:
    facts = read(source)
    assert facts.whole == reason
    assert facts.names == {}


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("TYPE_CHECKING", "b"),
        ("typing.TYPE_CHECKING", "b"),
        ("not TYPE_CHECKING", "a"),
        ("TYPE_CHECKING or x", None),
        ("TYPE_CHECKING and x", "b"),
        ("sys.version_info >= (3, 8)", "a"),
        ("sys.version_info < (3, 8)", "b"),
        ("sys.version_info < (3,)", "b"),
        ("sys.version_info > (3, 8)", None),
        ("sys.version_info >= (3, 8, 1)", None),
        ("sys.platform == 'nowhere'", "b"),
        ("sys.platform != 'nowhere'", "a"),
        ("sys.platform in x", None),
        ("sys.platform < 'x'", None),
        ("os.name == 'nowhere' and TYPE_CHECKING", "b"),
        ("os.name != 'nowhere' or TYPE_CHECKING", "a"),
        ("not x", None),
        ("x", None),
    ],
)
def test_a_test_with_a_known_result_is_replaced_by_its_branch(
    test: str, expected: str | None
) -> None:
    folded = fold(ast.parse(f"if {test}:\n a\nelse:\n b").body)
    assert [ast.unparse(node) for node in folded] == [expected] if expected else True
    assert any(isinstance(node, ast.If) for node in folded) is (expected is None)


# -- the program


@pytest.mark.parametrize(
    ("source", "others", "reason"),
    [
        ("import sys\nf = lambda: sys", {}, "'sys' is loaded in any case"),
        ("import os\nf = lambda: os", {}, "'os' is loaded in any case"),
        ("import a\nf = lambda: a", {}, "'a' was not found"),
        ("from a import x", {"a": "y = 1"}, "'a' does not show that it has 'x'"),
        ("from a import x", {"a": None}, "'a' has no source that shows its names"),
        (
            "from a import x",
            {"a": "x = 1\nraise SystemExit"},
            "'a' may raise an exception when it is imported",
        ),
        ("from a import x", {"a": "import b\nx = 1"}, "'a' needs 'b', which was not found"),
        ("from a import x", {"a": "from b import *\nx = 1"}, "'a' needs 'b', which was not found"),
        (
            "from a import x",
            {"a": "import b\nx = 1", "b": "import c"},
            "'b' needs 'c', which was not found",
        ),
        (
            "from a import x",
            {"a": "try: import b\nexcept ImportError: raise\nx = 1"},
            "'a' needs 'b', which was not found",
        ),
        (
            "import a.b\nf = lambda: a",
            {"a": "raise E", "a.b": ""},
            "'a' may raise an exception when it is imported",
        ),
        (
            "from a import b",
            {"a": "", "a.b": "raise E"},
            "'a.b' may raise an exception when it is imported",
        ),
    ],
)
def test_a_name_may_not_wait_if_its_import_might_fail(
    source: str, others: dict[str, str | None], reason: str
) -> None:
    assert list(decide(source, others).eager.values()) == [reason]


@pytest.mark.parametrize(
    ("source", "others"),
    [
        ("import a\nf = lambda: a", {"a": None}),
        ("from a import x", {"a": "x = 1"}),
        ("from a import x", {"a": "from b import *", "b": "from a import *\nx = 1"}),
        ("from a import x", {"a": "", "a.x": None}),
        ("from a import x", {"a": "import m\nx = 1"}),
        ("from a import x", {"a": "import sys, os\nx = 1"}),
        ("from a import x", {"a": "try: import b\nexcept ImportError: b = 1\nx = 1"}),
        ("from a import x", {"a": "try: import b\nexcept ImportError: raise\nx = 1", "b": ""}),
        ("from a import x", {"a": "if y: raise E\nx = 1"}),
        (
            "from a import x",
            {"a": "try: import b\nexcept ImportError:\n if y: raise\n def x(): raise E"},
        ),
        ("from a import x", {"a": "import __main__\nx = 1"}),
        ("from a import x", {"a": "for x in y:\n import b"}),
        ("from a import x", {"a": "while y:\n import b\nmatch y:\n case 1: import c\nx = 1"}),
        ("from a import x", {"a": "def f(): raise E\nx = 1"}),
    ],
)
def test_a_name_may_wait_if_its_target_shows_it(source: str, others: dict[str, str | None]) -> None:
    found = decide(source, others)
    assert list(found.lazy) + list(found.eager.values()) == [*found.lazy]


def test_a_name_may_not_hide_a_submodule_of_its_package() -> None:
    others = {"p.app": "app = other = 1"}
    found = decide("from .app import app, other", others, name="p", is_package=True)
    assert found.eager == {"app": "it hides the module 'p.app'"}
    assert list(found.lazy) == ["other"]


def test_a_submodule_of_its_own_package_may_wait() -> None:
    found = decide("from . import app", {"p.app": ""}, name="p", is_package=True)
    assert list(found.lazy) == ["app"]


@pytest.mark.parametrize(
    ("name", "eager", "reason"),
    [
        ("importlib.abc", (), "it runs inside imports"),
        ("pkg.mod", ("other", "pkg.*"), "it is eager by 'pkg.*'"),
        (
            "sqlalchemy.orm",
            (),
            "SQLAlchemy registers events, dialects and types when modules are imported",
        ),
    ],
)
def test_nothing_may_wait_in_a_module_that_is_named(
    name: str, eager: tuple[str, ...], reason: str
) -> None:
    found = decide("from a import x", {"a": "x = 1"}, name=name, eager=eager)
    assert (found.whole, found.lazy) == (reason, {})
