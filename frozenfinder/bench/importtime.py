"""`TimedImport`: one line of the output of `-X importtime`, with its place in time.

The interpreter prints a line when an import ends: the microseconds of the module itself, those
including its own imports, and its name, indented by two spaces for every import around it. The
output does not say when an import began. Here the imports of a module follow each other directly
and end when the module ends, and there is no time between the imports of the program.
"""

import re
from typing import NamedTuple

_LINE = re.compile(r"^import time: +(\d+) \| +(\d+) \| ( *)(\S.*)$", re.MULTILINE)


class TimedImport(NamedTuple):
    """An import in a process: `begin`, `own` and `whole` in microseconds, `depth` from 0 on."""

    name: str
    depth: int
    begin: int
    own: int
    whole: int


def read_imports(text: str) -> list[TimedImport]:
    """The imports in the stderr output of a process, in the order in which they began."""
    lines = _read_lines(text)
    ends = [sum(whole for depth, _, whole, _ in lines if not depth)]  # by depth, going back in time
    imports = []
    for depth, own, whole, name in reversed(lines):
        while depth >= len(ends):  # imports of another thread have no import around them
            ends.append(ends[-1])
        end = ends[depth]
        imports.append(TimedImport(name, depth, end - whole, own, whole))
        ends[depth:] = [end - whole, end]
    return sorted(imports, key=lambda each: (each.begin, each.depth))


def _read_lines(text: str) -> list[tuple[int, int, int, str]]:
    """For every line the depth, the own and the whole microseconds, and the name."""
    return [
        (len(indent) // 2, int(own), int(whole), name)
        for own, whole, indent, name in _LINE.findall(text)
    ]
