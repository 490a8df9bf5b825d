"""The regular expressions that a module compiles when it is imported, found in its source.

It finds calls of `re.compile` and similar functions with constants, outside functions: real modules
do little else at import. A pattern that is found wrongly only costs its bytes, because `re` looks
up patterns by text and flags. So constants are followed only where that is easy.
"""

from __future__ import annotations

import ast
import builtins
import marshal
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec, module_from_spec
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any, NoReturn

from frozenfinder.extras import seal
from frozenfinder.runtime.system import SRE

from .warned import record_warnings

_NAMES = ("compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn")
_FUNCTIONS = {getattr(re, name): name for name in _NAMES}  # from 3.15 on `match` has another name
_LAST_FLAGS = {"sub": 4, "subn": 4, "split": 3}  # the position of the flags in a call
_OPTIMIZED = 1  # a flag of the code of functions
_UNKNOWN = object()
_FAILURES = (
    re.error,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)

Key = tuple[str | bytes, int]
"""A pattern's text and flags, as passed to `re`."""


def format_key(key: Key) -> str:
    """The argument of a manifest line for a pattern: its flags, and its text as a literal."""
    pattern, flags = key
    literal = ascii(pattern).replace("#", "\\x23").replace(" ", "\\x20")
    return f"{flags} {literal}"


def parse_key(line: str) -> Key:
    """The inverse of `format_key`; ValueError, TypeError."""
    flags, _, literal = line.partition(" ")
    try:
        pattern = ast.literal_eval(literal.strip())
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{literal!r} is not a literal") from error
    if not isinstance(pattern, (str, bytes)):
        raise TypeError(f"{literal!r} is neither text nor bytes")
    return pattern, int(flags)


def unpack_keys(packed: bytes) -> list[Key]:
    """The patterns in the output of `pack`."""
    if not packed:
        return []
    return [(arguments[0], flags) for flags, arguments in marshal.loads(packed[8:])[1]]


def may_have_patterns(marshalled: bytes) -> bool:
    """Whether code that runs when the module is imported may call `re`; a quick test."""
    called = {*_NAMES, "prefixmatch"}
    return any(
        not called.isdisjoint(code.co_names) for code in _import_time(marshal.loads(marshalled))
    )


def _import_time(code: CodeType) -> Iterator[CodeType]:
    """The code of a module and of its classes, without functions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and not constant.co_flags & _OPTIMIZED:
            yield from _import_time(constant)


def pack_patterns(source: bytes) -> bytes:
    """The packed patterns of a source, for `frozenfinder.extras`; empty if there are none."""
    try:
        with record_warnings():
            tree = ast.parse(source)
    except _FAILURES:
        return b""
    return pack_keys(find_patterns(tree))


def pack_keys(keys: Iterable[Key]) -> bytes:
    """The packed form of the patterns that `re` compiles without a warning."""
    compiled = [
        (flags, arguments)
        for pattern, flags in dict.fromkeys(keys)
        if (arguments := _compile(pattern, flags)) is not None
    ]
    # marshal version 0: the bytes do not depend on which objects are shared
    return seal(marshal.dumps((_sre_magic(), compiled, []), 0)) if compiled else b""


def find_patterns(tree: ast.Module) -> Iterator[Key]:
    """The pattern and flags of every call of `re` that runs when the module is imported."""
    scope = _Scope()
    for node in _walk(tree):
        scope.learn(node)
        if isinstance(node, ast.Call) and (function := scope.get_function(node.func)):
            pattern = scope.evaluate(node.args[0]) if node.args else _UNKNOWN
            flags = scope.evaluate(_get_flags(node, function))
            if isinstance(pattern, (str, bytes)) and isinstance(flags, int):
                yield pattern, int(flags)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs at import, in the order of the source."""
    for child in ast.iter_child_nodes(node):
        match child:
            case (
                ast.FunctionDef(decorator_list=decorators)
                | ast.AsyncFunctionDef(decorator_list=decorators)
            ):
                for early in (*decorators, child.args):
                    yield from _walk(ast.Expr(early))  # type: ignore[arg-type]
            case ast.Lambda(arguments):
                yield from _walk(arguments)
            case _:
                yield child
                yield from _walk(child)


def _get_flags(node: ast.Call, function: str) -> ast.expr:
    for keyword in node.keywords:
        if keyword.arg == "flags":
            return keyword.value
    place = _LAST_FLAGS.get(function, 1 if function == "compile" else 2)
    return node.args[place] if len(node.args) > place else ast.Constant(0)


class _Scope:
    """The names of a module for `re`, its functions and flags, and for constants."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._values[alias.asname or alias.name] = re if alias.name == "re" else _UNKNOWN
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found = getattr(re, alias.name, _UNKNOWN) if node.module == "re" else _UNKNOWN
                self._values[alias.asname or alias.name] = found
        elif isinstance(node, ast.Assign):
            value = self.evaluate(node.value)
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self._values[target.id] = value

    def get_function(self, node: ast.expr) -> str:
        """The name of the `re` function that an expression refers to, or ''."""
        value = self.evaluate(node) if isinstance(node, (ast.Name, ast.Attribute)) else None
        return _FUNCTIONS.get(value, "") if callable(value) else ""

    def evaluate(self, node: ast.expr) -> Any:
        """The value of a constant expression of known names, or `_UNKNOWN`."""
        match node:
            case ast.Constant(value):
                return value
            case ast.Name(name):
                return self._values.get(name, _UNKNOWN)
            case ast.Attribute(owner, name):
                return getattr(re, name, _UNKNOWN) if self.evaluate(owner) is re else _UNKNOWN
            case ast.BinOp(left, operator, right):
                return _combine(self.evaluate(left), operator, self.evaluate(right))
            case ast.Tuple(elements):
                values = tuple(map(self.evaluate, elements))
                return _UNKNOWN if _UNKNOWN in values else values
            case ast.Dict(keys, elements) if None not in keys:
                values = tuple(map(self.evaluate, elements))
                names = [self.evaluate(key) for key in keys if key is not None]
                known = _UNKNOWN not in (*names, *values)
                return dict(zip(names, values, strict=True)) if known else _UNKNOWN
            case ast.Call(ast.Attribute(owner, "escape"), [text]) if self.evaluate(owner) is re:
                value = self.evaluate(text)
                return re.escape(value) if isinstance(value, str) else _UNKNOWN
            case ast.JoinedStr(parts):
                return self._join(parts)
        return _UNKNOWN

    def _join(self, parts: list[ast.expr]) -> Any:
        texts = []
        for part in parts:
            if isinstance(part, ast.FormattedValue):
                if part.conversion != -1 or part.format_spec is not None:
                    return _UNKNOWN
                value = self.evaluate(part.value)
            else:
                value = self.evaluate(part)
            if not isinstance(value, str):
                return _UNKNOWN
            texts.append(value)
        return "".join(texts)


def _combine(left: Any, operator: ast.operator, right: Any) -> Any:
    """`+`, `%` of texts and `|` of flags."""
    if left is _UNKNOWN or right is _UNKNOWN:
        return _UNKNOWN
    try:
        if isinstance(operator, ast.BitOr) and isinstance(left, int) and isinstance(right, int):
            return left | right
        if isinstance(left, (str, bytes)) and isinstance(operator, ast.Add):
            return left + right
        if isinstance(left, (str, bytes)) and isinstance(operator, ast.Mod):
            return left % right
    except _FAILURES:
        pass
    return _UNKNOWN


def _get_sre() -> Any:
    return getattr(sys.modules["re._compiler"], SRE)


def _sre_magic() -> int:
    return int(_get_sre().MAGIC)


def _compile(pattern: str | bytes, flags: int) -> tuple[Any, ...] | None:
    """The arguments that `re` would pass to `_sre.compile` for a pattern; None after a warning.

    Also None for a pattern that fails, for `re.DEBUG`, which `re` does not cache, and for
    `re.TEMPLATE`, which is deprecated.
    """
    if flags & (re.DEBUG | 1):
        return None
    try:
        source, compiled_flags, code, *rest = _private_compile()(pattern, flags)
    except (*_FAILURES, Warning):
        return None
    return source, compiled_flags, array("I", code).tobytes(), *rest


@cache
def _private_compile() -> Callable[[str | bytes, int], tuple[Any, ...]]:
    """A copy of `compile` in Lib/re/_compiler.py that returns its arguments for `_sre`.

    It raises the warnings of the parser. It has its own globals and its own parser: other threads
    use the originals meanwhile.
    """
    compiler: Any = sys.modules["re._compiler"]
    spec = find_spec("re._parser")
    assert spec is not None and spec.loader is not None  # noqa: PT018
    parser = module_from_spec(spec)
    vars(parser)["__builtins__"] = vars(builtins) | {"__import__": _import}
    spec.loader.exec_module(parser)
    names = vars(compiler) | {"_parser": parser, SRE: SimpleNamespace(compile=_record)}
    compile_ = compiler.compile
    return FunctionType(compile_.__code__, names, argdefs=compile_.__defaults__)


def _import(name: str, *context: Any) -> Any:
    """Imports for the parser, with a `warnings` that raises."""
    return SimpleNamespace(warn=_raise) if name == "warnings" else __import__(name, *context)


def _raise(message: str, category: type[Warning], **_: object) -> NoReturn:
    raise category(message)


def _record(*arguments: Any) -> tuple[Any, ...]:
    """Check that `_sre` accepts the arguments, and return them."""
    _get_sre().compile(*arguments)
    return arguments
