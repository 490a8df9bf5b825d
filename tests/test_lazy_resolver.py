"""The resolver of one module, and the place of lazy code in a blob, without a registry."""

import builtins
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from frozenfinder import extras, lazy
from frozenfinder.lazy import NAME, Resolver, begin, choose, is_used, join, split
from frozenfinder.runtime.system import FREE_THREADED


def make(**statements: str) -> tuple[dict[str, Any], Resolver]:
    """The globals of a module in which these statements wait, and its resolver."""
    namespace: dict[str, Any] = {"__builtins__": builtins, "__name__": "m"}
    waiting = {name: compile(text, "m.py", "exec") for name, text in statements.items()}
    resolver = namespace[NAME] = Resolver(namespace, waiting)
    namespace["__getattr__"] = resolver.outside
    namespace["__dir__"] = resolver.listing
    return namespace, resolver


def miss(name: str) -> NameError:
    """The error of a load that does not find a name."""
    with pytest.raises(NameError) as caught:
        eval(name, {})
    return caught.value


def test_a_name_is_bound_once() -> None:
    namespace, resolver = make(a="a = [1]", b="b = 2")
    found = resolver("a", miss("a"))
    assert namespace["a"] is found
    assert resolver("a", miss("a")) is found
    assert list(resolver.waiting) == ["b"]
    assert repr(resolver) == "<resolver of 'm', 1 waiting>"


def test_the_value_that_is_there_already_stays() -> None:
    namespace, resolver = make(a="bind(); a = 1")
    namespace["bind"] = lambda: namespace.setdefault("a", "first")
    assert resolver("a", miss("a")) == "first"


@pytest.mark.parametrize("error", [KeyError("a"), NameError("a"), UnboundLocalError("a")])
def test_another_error_is_given_back(error: Exception) -> None:
    namespace, resolver = make(a="a = 1")
    assert resolver("a", error) is error  # type: ignore[arg-type]
    assert "a" not in namespace


def test_a_name_that_does_not_wait_is_missing() -> None:
    _, resolver = make(a="a = 1")
    error = miss("b")
    assert resolver("b", error) is error


def test_a_failure_leaves_the_name_waiting() -> None:
    namespace, resolver = make(a="import there.is_no.such_module as a")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="No module named 'there'"):
            resolver("a", miss("a"))
    assert list(resolver.waiting) == ["a"]
    assert "a" not in namespace


def test_a_name_can_be_resolved_while_it_is_resolved() -> None:
    """As in a cycle of imports: the inner one finds what there is."""
    namespace, resolver = make(a="a = again()")
    depth: list[None] = []

    def again() -> object:
        depth.append(None)
        if len(depth) == 1:
            assert resolver("a", miss("a")) == "inner"
            return "outer"
        return "inner"

    namespace["again"] = again
    assert resolver("a", miss("a")) == "inner"


def test_a_thread_that_resolves_a_name_does_not_find_it_from_outside() -> None:
    namespace, resolver = make(a="a = ask()", b="b = 2")

    def ask() -> object:
        with pytest.raises(AttributeError, match=r"^module 'm' has no attribute 'a'$"):
            resolver.outside("a")
        assert resolver.listing() == [
            "__builtins__",
            "__dir__",
            "__getattr__",
            "__name__",
            "ask",
            "b",
        ]
        return "found"

    namespace["ask"] = ask
    assert resolver.outside("a") == "found"


def test_a_name_that_was_bound_meanwhile_is_found_from_outside() -> None:
    namespace, resolver = make(a="a = 1")
    namespace["b"] = "bound"
    assert resolver.outside("b") == "bound"


def test_a_star_import_resolves_all() -> None:
    namespace, resolver = make(a="a = 1", b="b = 2")
    with pytest.raises(AttributeError, match=r"^module 'm' has no attribute '__all__'$"):
        resolver.outside("__all__")
    assert (namespace["a"], namespace["b"]) == (1, 2)


@pytest.mark.skipif(FREE_THREADED, reason="the hooks stay there")
def test_the_hooks_are_taken_off_at_the_end() -> None:
    namespace, resolver = make(a="a = 1")
    resolver.outside("a")
    assert sorted(namespace) == ["__builtins__", NAME, "__name__", "a"]


@pytest.mark.skipif(FREE_THREADED, reason="the hooks stay there")
def test_hooks_of_others_stay() -> None:
    namespace, resolver = make(a="a = 1")
    namespace["__getattr__"] = namespace["__dir__"] = "of another"
    resolver.outside("a")
    assert namespace["__getattr__"] == namespace["__dir__"] == "of another"


def test_without_a_gil_the_hooks_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "FREE_THREADED", True)
    namespace, resolver = make(a="a = 1")
    resolver.outside("a")
    assert namespace["__getattr__"] is resolver.outside


def test_a_module_function_that_finds_attributes_is_asked_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lazy, "FREE_THREADED", False)
    namespace, resolver = make(a="a = 1")

    def own(name: str) -> str:
        return f"own {name}"

    namespace["__getattr__"] = own
    resolver.chain()
    assert namespace["__getattr__"] is resolver.outside
    assert resolver.outside("b") == "own b"
    assert resolver.outside("a") == 1
    assert namespace["__getattr__"] is own
    resolver.chain()  # as when the function is defined again
    assert namespace["__getattr__"] is own


@pytest.mark.parametrize(
    ("initializing", "expected"),
    [
        (False, "module 'm' has no attribute 'x'"),
        (
            True,
            (
                "partially initialized module 'm' has no attribute 'x' (most likely due to a "
                "circular import)"
            ),
        ),
    ],
)
def test_a_missing_attribute_is_told_in_cpython_s_words(initializing: bool, expected: str) -> None:
    namespace, resolver = make(a="a = 1")
    namespace["__spec__"] = type("Spec", (), {"_initializing": initializing})
    with pytest.raises(AttributeError) as caught:
        resolver.outside("x")
    assert (str(caught.value), caught.value.name) == (expected, "x")


def test_a_body_that_begins_again_forgets_what_was_bound() -> None:
    statement = compile("a = 1", "m.py", "exec")
    module = ModuleType("m")
    vars(module).update(__builtins__=builtins, a="old")
    code = (lambda: None).__code__.replace(co_consts=(None, statement, ("a",)))
    begin(FunctionType(code, vars(module)))
    assert "a" not in vars(module)
    assert module.a == 1
    assert isinstance(vars(module)[NAME], Resolver)


# -- blobs

CODE: CodeType = compile("", "m.py", "exec")


@pytest.mark.parametrize("patterns", [b"", b"patterns"])
@pytest.mark.parametrize("code", [b"", b"lazy code"])
def test_what_follows_the_usual_code_is_joined_and_split(patterns: bytes, code: bytes) -> None:
    found, lazy_code = split(memoryview(join(patterns, code)))
    assert lazy_code is not None
    assert (bytes(found), bytes(lazy_code)) == (patterns, code)


@pytest.mark.parametrize("extra", [b"", b"patterns", b"frz-lazy", b"x" * 40])
def test_patterns_alone_have_no_lazy_code(extra: bytes) -> None:
    found, code = split(memoryview(extra))
    assert (bytes(found), code) == (extra, None)


def test_a_size_beyond_the_start_reaches_to_the_start() -> None:
    found, code = split(memoryview(b"abc" + (1 << 40).to_bytes(8, "little") + b"frz-lazy"))
    assert (bytes(found), bytes(code or b"")) == (b"", b"abc")


@pytest.mark.parametrize(
    ("without", "eager", "expected"),
    [
        ("", "", True),
        ("lazy", "", False),
        ("patterns,lazy", "", False),
        ("laziness", "", True),
        ("", "a.b", False),
        ("", "x,a.*", False),
        ("", "*", False),
        ("", "a,b.*,a.b.c", True),
    ],
)
def test_the_environment_says_where_imports_wait(
    without: str, eager: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROZENFINDER_WITHOUT", without)
    monkeypatch.setenv("FROZENFINDER_EAGER", eager)
    assert is_used("a.b") is expected
    blob, extra = memoryview(b"usual"), memoryview(join(b"p", b"lazy"))
    chosen = b"lazy" if expected else b"usual"
    assert tuple(map(bytes, choose("a.b", blob, extra, True))) == (b"p", chosen)
    assert tuple(map(bytes, choose("a.b", blob, extra, False))) == (b"p", b"usual")


def test_the_seal_of_lazy_code_is_known_where_it_is_looked_for() -> None:
    assert extras.LAZY == lazy.SEAL
