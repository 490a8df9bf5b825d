"""The import statements in code, and the names that it binds."""

from __future__ import annotations

from collections.abc import Iterator
from dis import EXTENDED_ARG, get_instructions
from opcode import opmap
from types import CodeType
from typing import NamedTuple

_IMPORT_NAME = opmap["IMPORT_NAME"]
_BINDING = ("STORE_NAME", "STORE_GLOBAL")


class Import(NamedTuple):
    """`from .name import names`, with `level` dots; `names` is () for a plain import."""

    name: str
    level: int
    names: tuple[str, ...]

    def resolve(self, package: str) -> str | None:
        """The absolute name of the module, for a statement in `package`; None above its top."""
        if not self.level:
            return self.name
        parents = package.split(".") if package else []
        if self.level > len(parents):
            return None
        base = ".".join(parents[: len(parents) - self.level + 1])
        return f"{base}.{self.name}".rstrip(".")


def find_imports(code: CodeType) -> Iterator[Import]:
    """Every import statement in the code, and in its functions and classes."""
    for each in walk(code):
        if _IMPORT_NAME in each.co_code[::2]:
            yield from _read_imports(each)


def _read_imports(code: CodeType) -> Iterator[Import]:
    """The import statements of the code itself; two constants precede each: level and names."""
    level = names = None
    for instruction in get_instructions(_shorten(code)):
        if instruction.opname == "EXTENDED_ARG":
            continue
        if instruction.opname == "IMPORT_NAME" and isinstance(level, int):
            yield Import(instruction.argval, level, names or ())
        level, names = names, instruction.argval


def _shorten(code: CodeType) -> CodeType:
    """The code with only the instructions of import statements: reading it takes a third."""
    opcodes = code.co_code[::2]
    kept = b""
    end = 0
    while end := opcodes.find(_IMPORT_NAME, end) + 1:
        start = end
        for _ in range(3):  # `IMPORT_NAME` and the two constants
            start = max(start - 1, 0)
            while start and opcodes[start - 1] == EXTENDED_ARG:
                start -= 1
        kept += code.co_code[2 * start : 2 * end]
    return code.replace(co_code=kept, co_linetable=b"", co_exceptiontable=b"")


def find_names(code: CodeType) -> set[str]:
    """The names that the module's own code binds, and "*" if it has a star import."""
    names = {each.argval for each in get_instructions(code) if each.opname in _BINDING}
    if any("*" in each.names for each in _read_imports(code)):
        names.add("*")
    return names


def find_strings(code: CodeType) -> set[str]:
    """The strings among the constants of the module's own code."""
    strings: set[str] = set()
    pending: list[object] = [code.co_consts]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            strings.add(value)
        elif isinstance(value, tuple | frozenset):
            pending += value
    return strings


def walk(code: CodeType) -> Iterator[CodeType]:
    """The code, and the code of everything defined in it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from walk(const)
