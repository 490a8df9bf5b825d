"""The texts that a module compiles, found by a recorded run and compiled when it is frozen.

The calls of `exec`, `eval` and `compile` are found in the module's source. A call is used only if
its arguments, except the text and the file, and the namespaces, are visible there. The run time
takes no other argument into account, so whatever cannot be seen here is compiled as ever.
"""

from __future__ import annotations

import ast
import dis
import marshal
import re
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any, NamedTuple

from frozenfinder.extras import seal
from frozenfinder.texts import FUTURES, has_columns

from .canonical import canonicalise
from .warned import record_warnings

_RUNS = ("exec", "eval")
_NAMESPACES = {"globals", "locals"}
_MODES = ("exec", "eval")
_DEFAULTS = (
    ("mode", None),
    ("flags", ast.Constant(0)),
    ("dont_inherit", ast.Constant(False)),
    ("optimize", ast.Constant(-1)),
)
_ARGUMENTS = ("source", "filename", *dict(_DEFAULTS))
_MAKES_FUNCTIONS = {
    "BUILD_CONST_KEY_MAP",
    "BUILD_MAP",
    "BUILD_TUPLE",
    "LOAD_COMMON_CONSTANT",
    "LOAD_CONST",
    "LOAD_SMALL_INT",
    "MAKE_FUNCTION",
    "POP_TOP",
    "RESUME",
    "RETURN_CONST",
    "RETURN_VALUE",
    "SET_FUNCTION_ATTRIBUTE",
    "STORE_NAME",
}
"""Instructions that run no code of the program, and cannot fail. `LOAD_NAME` is none of them."""

_LONG_NUMBER = re.compile(r"[0-9_]{640}")
"""A program may have such a number refused (`sys.set_int_max_str_digits`)."""

_FAILURES = (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)

Key = tuple[str, int, str]
"""The module that compiles a text, the line of the call, and the text."""


def format_text(key: Key) -> str:
    """The argument of a manifest line for a text: the module and line, and a literal."""
    module, line, text = key
    literal = ascii(text).replace("#", "\\x23").replace(" ", "\\x20")
    return f"{module}:{line} {literal}"


def parse_text(argument: str) -> Key:
    """The inverse of `format_text`; ValueError, TypeError."""
    place, _, literal = argument.partition(" ")
    module, _, line = place.rpartition(":")
    try:
        text = ast.literal_eval(literal.strip())
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{literal!r} is not a literal") from error
    if not isinstance(text, str) or not module:
        raise TypeError(f"{argument!r} names no module, or no text")
    return module, int(line), text


class Call(NamedTuple):
    """A call of `exec`, `eval` or `compile`: one of `variables` has the text.

    `asked` are the arguments of `compile` after the file; `exec` and `eval` ask for them inside.
    """

    name: str
    line: int
    variables: tuple[str, ...]
    asked: tuple[str, int, bool, int]


def find_calls(tree: ast.Module) -> dict[int, Call]:
    """The usable calls in a module, by line; of several calls in a line, none."""
    calls: dict[int, Call | None] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in (*_RUNS, "compile"):
            calls[node.lineno] = None if node.lineno in calls else _read_call(node.func.id, node)
    return {line: call for line, call in calls.items() if call is not None}


def _read_call(name: str, node: ast.Call) -> Call | None:
    keywords = {each.arg: each.value for each in node.keywords}
    given = len(node.args) + len(keywords)
    inside = list(ast.walk(node))
    if None in keywords or any(isinstance(each, (ast.Starred, ast.NamedExpr)) for each in inside):
        return None
    if name in _RUNS:
        text = node.args[0] if node.args else None
        if not isinstance(text, ast.Name) or given not in (2, 3) or keywords.keys() - _NAMESPACES:
            return None
        return Call(name, node.lineno, (text.id,), (name, 0, False, -1))
    arguments = dict(zip(_ARGUMENTS, node.args, strict=False)) | keywords
    if len(node.args) < 2 or len(node.args) > len(_ARGUMENTS) or arguments.keys() - {*_ARGUMENTS}:
        return None
    variables = [each.id for each in ast.walk(node.args[0]) if isinstance(each, ast.Name)]
    mode, *numbers = (_read_constant(arguments.get(name, default)) for name, default in _DEFAULTS)
    if mode not in _MODES or not all(isinstance(number, int) for number in numbers):
        return None
    flags, dont_inherit, optimize = numbers
    if flags & ~FUTURES:
        return None
    return Call(name, node.lineno, tuple(variables), (mode, flags, dont_inherit, optimize))


def _read_constant(node: ast.expr | None) -> Any:
    return node.value if isinstance(node, ast.Constant) else None


def compile_texts(
    source: bytes, module: CodeType, texts: Mapping[int, Iterable[str]], optimize: int
) -> list[tuple[Any, ...]]:
    """The sites of a module, as `frozenfinder.texts.Site`; `texts` are by line.

    `module` is the code of the source, and `optimize` the level of the programs that will run it.
    """
    if not has_columns():
        return []
    with record_warnings():
        calls = find_calls(ast.parse(source))
    futures = module.co_flags & FUTURES
    sites = []
    for line in sorted(texts.keys() & calls.keys()):
        call = calls[line]
        pairs = _compile_all(call, sorted(set(texts[line])), futures, optimize)
        if compiled := dict(pairs):
            sites.append((optimize + futures, *call, compiled))
    return sites


def _compile_all(
    call: Call, texts: Iterable[str], futures: int, optimize: int
) -> Iterator[tuple[str, bytes]]:
    for text in texts:
        code = _compile(call, text, futures, optimize)
        if code is not None:
            yield text, code


def _compile(call: Call, text: str, futures: int, level: int) -> bytes | None:
    """The marshalled code, or None if the run time shall not answer with it."""
    mode, flags, dont_inherit, optimize = call.asked
    if _LONG_NUMBER.search(text):
        return None
    try:
        with record_warnings() as caught:
            code = compile(
                text,
                "<string>",
                mode,
                flags | (0 if dont_inherit else futures),
                dont_inherit=True,
                optimize=level if optimize == -1 else optimize,
            )
        data = canonicalise(marshal.dumps(code), "<string>")
    except _FAILURES:
        return None
    if caught or (call.name in _RUNS and not only_makes_functions(code)):
        return None
    return data if marshal.loads(data) == code else None


def only_makes_functions(code: CodeType) -> bool:
    """Whether code does nothing but make functions, without reading a name."""
    return all(each.opname in _MAKES_FUNCTIONS for each in dis.get_instructions(code))


def pack_extras(packed: bytes, texts: list[tuple[Any, ...]]) -> bytes:
    """Packed extras with these texts in the place of theirs; empty if nothing is left."""
    magic, patterns, _ = marshal.loads(packed[8:]) if packed else (0, [], [])
    return seal(marshal.dumps((magic, patterns, texts), 0)) if patterns or texts else b""
