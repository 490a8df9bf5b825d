"""Code with guards does what the code without them does, and wrong code is not proved."""

import re
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from programs import prove_guards
from support.corpus import EXPRESSIONS, find_functions, write

from frozenfinder.errors import FreezeError
from frozenfinder.lazy import NAME

if sys.version_info >= (3, 15):
    pytest.skip("3.15 has lazy imports and needs no guards", allow_module_level=True)

from frozenfinder.freezer.defer import guards
from frozenfinder.freezer.defer.guards import find_guarded, guard
from frozenfinder.freezer.defer.proof import PROVED, Unproved, measure_depths, prove

NAMES = ("first", "second")
CORPUS = dict(find_functions())


class Value:
    """What a name is bound to: it can be called, read and compared, and looks the same always."""

    value = 5

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __call__(self, *arguments: object, **keywords: object) -> object:
        return self.name, arguments, sorted(keywords)

    def method(self, other: object) -> object:
        return self, other

    def __getitem__(self, item: object) -> object:
        return self, item

    def __add__(self, other: object) -> object:
        return self, other

    def __lt__(self, other: object) -> bool:
        return True


class Manager:
    def __init__(self, log: Callable[..., None], value: object = None, swallow: bool = False):
        self.log, self.value, self.swallow = log, value, swallow

    def __enter__(self) -> object:
        self.log("enter", self.value)
        return self.value

    def __exit__(self, kind: object, *rest: object) -> bool:
        self.log("exit", kind)
        return self.swallow

    async def __aenter__(self) -> object:
        return self.__enter__()

    async def __aexit__(self, *error: object) -> bool:
        return self.__exit__(*error)


class Step:
    def __init__(self, value: object) -> None:
        self.value = value

    def __await__(self) -> Generator[object, None, None]:
        yield self.value


async def steps(count: int) -> Any:
    for number in range(count):
        await Step(number)
        yield number


class ToldError(Exception):
    pass


def bind_value(namespace: dict[str, Any], name: str) -> object:
    return namespace.setdefault(name, Value(name))


def decline(namespace: dict[str, Any], name: str) -> object:
    raise KeyError(name)


def fail(namespace: dict[str, Any], name: str) -> object:
    raise ToldError(name)


def interrupt(namespace: dict[str, Any], name: str) -> object:
    raise KeyboardInterrupt(name)


def call_back(namespace: dict[str, Any], name: str) -> object:
    """The function is called again while its own load is resolved."""
    if namespace["depth"] < 2:
        namespace["depth"] += 1
        drive(namespace["f"], 2)
        namespace["depth"] -= 1
    return Value(name)


def value_error(namespace: dict[str, Any], name: str) -> object:
    raise ValueError(name)


BEHAVIOURS = [bind_value, decline, fail, interrupt, call_back, value_error]


class Oracle(dict[str, Any]):
    """Globals for the code without guards, in which a missing name behaves as it is told to."""

    behaviour: Callable[[dict[str, Any], str], object]

    def __missing__(self, name: str) -> object:
        if name not in NAMES:
            raise KeyError(name)
        return type(self).behaviour(self, name)


def make_globals(namespace: dict[str, Any]) -> tuple[dict[str, Any], list[object]]:
    events: list[object] = []

    def log(*what: object) -> None:
        events.append(repr(what))

    namespace |= {
        "__builtins__": __builtins__,
        "log": log,
        "manager": lambda *a, **k: Manager(log, *a, **k),
        "step": Step,
        "steps": steps,
        "depth": 0,
    }
    return namespace, events


def drive(function: Callable[..., Any], depth: int = 0) -> object:
    """Call the function to its end; what it returned or raised, and where."""
    try:
        result = function(depth)
        if hasattr(result, "send"):
            return drive_generator(result)
        return repr(result)
    except BaseException as error:  # noqa: BLE001
        return describe(error)


def drive_generator(generator: Any) -> object:
    sent: list[str] = []
    try:
        while True:
            sent.append(repr(generator.send("sent" if sent else None)))
    except StopIteration as stop:
        return sent, repr(stop.value)
    except BaseException as error:  # noqa: BLE001
        return sent, describe(error)


def describe(error: BaseException | None) -> object:
    """An exception, its context, and the lines in the corpus that it went through."""
    if error is None:
        return None
    lines = [
        (frame.name, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == "corpus"
    ]
    context = describe(error.__context__) if not isinstance(error.__context__, KeyError) else None
    return repr(error), lines, context


def run_stock(code: CodeType, behaviour: Callable[[dict[str, Any], str], object]) -> object:
    kind = type("Globals", (Oracle,), {"behaviour": staticmethod(behaviour)})
    namespace, events = make_globals(kind())
    exec(code, namespace)
    return [drive(namespace["f"]), drive(namespace["f"])], events


def run_guarded(code: CodeType, behaviour: Callable[[dict[str, Any], str], object]) -> object:
    namespace, events = make_globals({})

    def resolve(name: str, error: NameError) -> object:
        assert error.name == name
        try:
            return behaviour(namespace, name)
        except KeyError:
            return error

    namespace[NAME] = resolve
    exec(code, namespace)
    return [drive(namespace["f"]), drive(namespace["f"])], events


def compile_corpus(source: str) -> CodeType:
    return compile(source, "corpus", "exec", dont_inherit=True)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("place", sorted({name.partition(" in ")[2] for name in CORPUS}))
def test_guarded_code_does_what_the_code_does(
    place: str, behaviour: Callable[[dict[str, Any], str], object]
) -> None:
    found = {name: text for name, text in CORPUS.items() if name.partition(" in ")[2] == place}
    assert len(found) >= 25
    for name, source in found.items():
        code = compile_corpus(source)
        guarded = guard(code, NAMES)
        assert guarded != code
        assert (name, run_guarded(guarded, behaviour)) == (name, run_stock(code, behaviour))


@pytest.mark.parametrize("expression", EXPRESSIONS.values())
def test_class_bodies_in_functions_have_guards_too(expression: str) -> None:
    """Their loads do not ask the globals' `__missing__`, so stock code has the names bound."""
    code = compile_corpus(write("def", "class C:\n    y = {e}\nreturn C.y", expression))
    namespace, events = make_globals({name: Value(name) for name in NAMES})
    exec(code, namespace)
    expected = [drive(namespace["f"]), drive(namespace["f"])], events
    assert run_guarded(guard(code, NAMES), bind_value) == expected


# -- the proof


def get_function(source: str) -> CodeType:
    code = compile_corpus(source)
    (function,) = [each for each in code.co_consts if isinstance(each, CodeType)]
    return function


SAMPLES = [
    """\
def f(a, *b, c=1, **d):
    'text'
    for i in a:
        try:
            x = first(i, second)
        except second as error:
            return first, error
        finally:
            b(c)
""",
    """\
def f(a):
    with a as b:
        yield second.value + len([first, b])
    return first(1)(a)
""",
    """\
async def f(a):
    async with first(a):
        await second
""",
]


@pytest.mark.parametrize("source", SAMPLES)
def test_no_byte_of_the_table_of_handlers_can_be_another(source: str) -> None:
    code = get_function(source)
    good = guard(code, NAMES)
    data = good.co_exceptiontable
    missed = []
    for at in range(len(data)):
        for change in (1, 2, 0x10, 0x40, 0x80):
            bad = Changed(good, co_exceptiontable=_set_byte(data, at, data[at] ^ change))
            if _is_proved(code, bad):
                missed.append((at, change))
    assert missed == []


@pytest.mark.parametrize("source", SAMPLES)
def test_no_instruction_can_be_another(source: str) -> None:
    """Each opcode is replaced by every other one of the code, and each argument by others."""
    code = get_function(source)
    good = guard(code, NAMES)
    data = good.co_code
    found = measure_depths(good)
    missed = []
    for each in found:
        at = 2 * each.at
        missed += [
            (each.name, other)
            for other in {other.opcode for other in found} - {each.opcode}
            if _is_proved(code, Changed(good, co_code=_set_byte(data, at, other)))
        ]
        for change in (1, 2, 0x10):
            bad = Changed(good, co_code=_set_byte(data, at + 1, data[at + 1] ^ change))
            if each.name not in WITHOUT and _is_proved(code, bad):
                missed.append((each.name, change))
    assert missed == []


WITHOUT = ("NOP", "POP_TOP", "PUSH_NULL", "PRECALL")
"""Instructions whose arguments have no meaning."""


class Changed:
    """A code object with other bytes, as the proof reads it.

    A real one would not do: an interpreter may crash when it is given wrong bytes.
    """

    def __init__(self, code: CodeType, **changes: bytes) -> None:
        self._code = code
        vars(self).update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._code, name)


def _is_proved(code: CodeType, changed: Changed) -> bool:
    try:
        prove(code, changed, NAMES)  # type: ignore[arg-type]
    except Unproved:
        return False
    return True


def _set_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


def write_wrongly(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Any]], object]) -> None:
    """Let the assembler write handlers that `change` has changed."""
    write = guards._write_handler

    def write_changed(*arguments: Any) -> Iterator[Any]:
        listing = list(write(*arguments))
        change(listing)
        yield from listing

    monkeypatch.setattr(guards, "_write_handler", write_changed)


def _remove(name: str) -> Callable[[list[Any]], object]:
    def change(listing: list[Any]) -> None:
        del listing[next(at for at, each in enumerate(listing) if _is(each, name))]

    return change


def _is(item: Any, name: str) -> bool:
    return getattr(item, "name", None) == name


def _replace(name: str, argument: object) -> Callable[[list[Any]], object]:
    def change(listing: list[Any]) -> None:
        next(each for each in listing if _is(each, name)).arg = argument

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_remove("POP_TOP"), "has depth"),
        (_remove("COPY"), "has depth"),
        (_remove("PUSH_NULL"), "has depth"),
        (_replace("LOAD_CONST", "second"), "LOAD_CONST at"),
        (_replace("LOAD_GLOBAL", (True, "other")), "LOAD_GLOBAL at"),
        (_replace("IS_OP", 1), "IS_OP at"),
        (_replace("COPY", 3), "takes"),
        (_replace("SWAP", 3), "SWAP at"),
    ],
)
def test_a_wrong_handler_is_not_proved(
    change: Callable[[list[Any]], object], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = get_function("def f(a):\n    return a.b + len([a, first(a)])\n")
    write_wrongly(monkeypatch, change)
    with pytest.raises(Unproved) as caught:
        guard(code, NAMES)
    assert reason in caught.value.reason
    assert caught.value.names == ["first"]


def test_a_null_in_the_wrong_place_is_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(listing: list[Any]) -> None:
        at = next(at for at, each in enumerate(listing) if _is(each, "PUSH_NULL"))
        if _is(listing[at + 1], "SWAP"):
            del listing[at + 1]
        else:
            listing.insert(at + 1, type(listing[at])("SWAP", 2, location=listing[at].location))

    write_wrongly(monkeypatch, swap)
    with pytest.raises(Unproved, match="leaves"):
        guard(get_function("def f(a):\n    return first(a)\n"), NAMES)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_depth_is_not_proved(change: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure_wrongly(code: CodeType) -> list[Any]:
        found = measure_depths(code)
        for each in found:
            if each.name == "LOAD_GLOBAL" and each.depth is not None:
                each.depth += change
        return found

    code = get_function("def f(a):\n    return a.b + len([a, first(a)])\n")
    monkeypatch.setattr(guards, "measure_depths", measure_wrongly)
    with pytest.raises(Unproved, match=r"depth|deep"):
        guard(code, NAMES)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="handlers are found at the call itself")
def test_a_load_directly_before_a_call_is_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    code = get_function("def f(a):\n    return a(first)\n")
    monkeypatch.setattr(guards, "is_apart", lambda _: True)
    with pytest.raises(Unproved, match=r"CALL at \d+ needs a NOP before it"):
        guard(code, NAMES)


def test_a_handler_outside_the_try_of_its_load_is_not_proved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = get_function("def f(a):\n    try:\n        a = first + 1\n    except E:\n        pass\n")
    write = guards._write_regions

    def write_outside(library: Any, items: Any) -> Iterator[Any]:
        listed = list(items)
        at = max(at for at, (item, _) in enumerate(listed) if _is(item, "RERAISE"))
        listed[at] = (listed[at][0], None)
        return write(library, listed)

    monkeypatch.setattr(guards, "_write_regions", write_outside)
    with pytest.raises(Unproved, match=r"RERAISE at \d+ is in another `try`"):
        guard(code, NAMES)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"co_stacksize": 3}, "the stack has 3"),
        ({"co_name": "g"}, "co_name is 'g', expected 'f'"),
        ({"co_flags": 0}, "co_flags is 0"),
        ({"co_firstlineno": 2}, "co_firstlineno is 2"),
        ({"co_varnames": ("b", "a", "x")}, "the arguments are in other places"),
        ({"co_varnames": ("a", "b", "y")}, "there are other local variables"),
    ],
)
def test_code_that_differs_elsewhere_is_not_proved(change: dict[str, Any], reason: str) -> None:
    code = get_function("def f(a, b):\n    'text'\n    x = a\n    return first(x, b)\n")
    good = guard(code, NAMES)
    prove(code, good, ["first"])
    with pytest.raises(Unproved) as caught:
        prove(code, good.replace(**change), ["first"])
    assert reason in caught.value.reason


@pytest.mark.parametrize("body", ["return a.b", "return [first, second]"])
def test_another_line_is_not_proved(body: str) -> None:
    code = get_function(f"def f(a):\n    first(a)\n    {body}\n")
    moved = get_function(f"def f(a):\n\n    first(a)\n    {body}\n")
    good, wrong = guard(code, NAMES), guard(moved, NAMES)
    with pytest.raises(Unproved, match="has another position"):
        prove(code, good.replace(co_linetable=wrong.co_linetable), NAMES)


def test_another_line_of_a_handler_is_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    def move(listing: list[Any]) -> None:
        listing[0].location = None

    write_wrongly(monkeypatch, move)
    code = get_function("def f(a):\n    first(a)\n    return a\n")
    with pytest.raises(Unproved, match=r"the handler of LOAD_GLOBAL at .* has another position"):
        guard(code, NAMES)


def test_another_docstring_is_not_proved() -> None:
    code = get_function("def f(a):\n    'text'\n    return first(a)\n")
    good = guard(code, NAMES)
    consts = tuple("other" if each == "text" else each for each in good.co_consts)
    with pytest.raises(Unproved, match="there is another docstring"):
        prove(code, good.replace(co_consts=consts), ["first"])


def test_a_folder_of_sources_is_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`programs.prove_guards` does that with the standard library, which takes minutes."""
    for number, source in enumerate(list(CORPUS.values())[::40]):
        (tmp_path / f"m{number}.py").write_text(source, encoding="utf-8")
    (tmp_path / "bad.py").write_text("def", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["prove_guards", str(tmp_path)])
    assert prove_guards.main() == 0
    assert re.fullmatch(r"\d{2} code objects proved, 0 not\n", capsys.readouterr().out)
    monkeypatch.setattr(guards, "is_apart", lambda _: True)
    monkeypatch.setattr(guards, "_HANDLER_DEPTH", 1)
    assert prove_guards.main() == 1
    assert f"{tmp_path}" in capsys.readouterr().out


def test_code_without_the_names_stays_the_same_object() -> None:
    code = compile_corpus("def f(a):\n    return other(a)\n")
    assert guard(code, NAMES) is code


def test_loads_that_are_never_reached_have_no_guard() -> None:
    code = get_function("def f():\n    while True:\n        return 1\n        first()\n")
    assert "first" not in set(find_guarded(code))


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bytecode", None)
    with pytest.raises(FreezeError) as caught:
        guards.import_bytecode()
    assert str(caught.value) == (
        f"lazy registries need the library 'bytecode' on Python {sys.version_info[0]}."
        f"{sys.version_info[1]}; install it with: pip install 'frozenfinder[lazy]'"
    )


def test_a_magic_number_that_was_not_proved_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from frozenfinder.freezer.defer import transform

    transform.check_interpreter()
    monkeypatch.setattr(transform, "MAGIC_NUMBER", b"\x01\x0d\r\n")
    with pytest.raises(FreezeError) as caught:
        transform.check_interpreter()
    assert str(caught.value) == (
        "lazy registries were not proved for the bytecode of this Python, magic number 3329; use a "
        "release of 3.11 to 3.14"
    )
    assert 3329 not in PROVED
