"""`TimedImport`: one line of what `-X importtime` tells, put where it lies in time.

The interpreter prints a line when an import ends: the microseconds of the module alone, those with
what it has imported, and its name, indented by two spaces for every import that it is inside of.
When it began is not told. Here the imports of a module lie one behind the other at its end, and
the imports of the program have nothing between them.
"""

import re
from typing import NamedTuple

_LINE = re.compile(r"^import time: +(\d+) \| +(\d+) \| ( *)(\S.*)$", re.MULTILINE)


class TimedImport(NamedTuple):
    """An import of a process: `begin`, `own` and `whole` in microseconds, `depth` from 0 on."""

    name: str
    depth: int
    begin: int
    own: int
    whole: int


def read_imports(text: str) -> list[TimedImport]:
    """The imports in what a process wrote to stderr, in the order in which they began."""
    lines = _read_lines(text)
    ends = [sum(whole for depth, _, whole, _ in lines if not depth)]  # by depth, going back in time
    imports = []
    for depth, own, whole, name in reversed(lines):
        while depth >= len(ends):  # another thread's imports are inside of none
            ends.append(ends[-1])
        end = ends[depth]
        imports.append(TimedImport(name, depth, end - whole, own, whole))
        ends[depth:] = [end - whole, end]
    return sorted(imports, key=lambda each: (each.begin, each.depth))


def _read_lines(text: str) -> list[tuple[int, int, int, str]]:
    """Of every line the depth, the own and the whole microseconds, and the name."""
    return [
        (len(indent) // 2, int(own), int(whole), name)
        for own, whole, indent, name in _LINE.findall(text)
    ]
