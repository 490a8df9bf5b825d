"""The import statements of code, by the standard library's own reading of it."""

from __future__ import annotations

from collections.abc import Iterator
from modulefinder import ModuleFinder
from opcode import opmap
from types import CodeType
from typing import NamedTuple

_IMPORT_NAME = opmap["IMPORT_NAME"]
_reader = ModuleFinder(path=[])  # which has no state that reading changes


class Import(NamedTuple):
    """`from .name import names`, with as many dots as `level`; `names` is () for a plain import."""

    name: str
    level: int
    names: tuple[str, ...]

    def resolve(self, package: str) -> str | None:
        """The name of the module in a module of `package`; None above the top-level package."""
        if not self.level:
            return self.name
        parents = package.split(".") if package else []
        if self.level > len(parents):
            return None
        base = ".".join(parents[: len(parents) - self.level + 1])
        return f"{base}.{self.name}".rstrip(".")


def find_imports(code: CodeType) -> Iterator[Import]:
    """Every import statement of the code and of the functions and classes in it."""
    for each in walk(code):
        if _IMPORT_NAME not in each.co_code[::2]:
            continue  # a tenth of the time that reading the others takes
        for what, found in _reader.scan_opcodes(each):
            if what == "absolute_import":
                names, name = found
                yield Import(name, 0, tuple(names or ()))
            elif what == "relative_import":
                level, names, name = found
                yield Import(name, level, tuple(names or ()))


def find_names(code: CodeType) -> set[str]:
    """The names that the module's own code binds, "*" for what a star import may."""
    names: set[str] = set()
    for what, found in _reader.scan_opcodes(code):
        if what == "store":
            names.update(found)
        elif "*" in (found[-2] or ()):
            names.add("*")
    return names


def find_strings(code: CodeType) -> set[str]:
    """The strings among the constants of the module's own code."""
    strings: set[str] = set()
    pending: list[object] = [code.co_consts]
    for value in pending:
        if isinstance(value, str):
            strings.add(value)
        elif isinstance(value, tuple | frozenset):
            pending += value
    return strings


def walk(code: CodeType) -> Iterator[CodeType]:
    """The code, and the code of all that is defined in it."""
    pending = [code]
    for each in pending:
        yield each
        pending += [const for const in each.co_consts if isinstance(const, CodeType)]
