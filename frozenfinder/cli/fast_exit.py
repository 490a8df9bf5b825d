"""`run --fast-exit`: the end of a program without taking every module and object apart.

CPython ends a program by joining its threads and calling what `atexit` has; then it collects
garbage and clears every module, which takes as long as a good part of its imports did, before the
memory goes back to the system in one piece anyway. The one callback here was registered before any
of the program's and so is called after all of them: it writes what files still hold, and leaves.

Where there is something to report it does not: after an uncaught exception, or where a file cannot
be written to, CPython ends the program as always.
"""

import atexit
import gc
import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair)
"""What holds back what is written to it, the outer ones first."""


def call(program: "Callable[[], int]") -> int:
    """Call the program; when the interpreter ends, it leaves with the status that results."""
    status: "list[int]" = []
    atexit.register(_leave, status)
    try:
        status.append(program())
    except SystemExit as error:
        code = 0 if error.code is None else error.code
        if isinstance(code, int) and code.bit_length() < 32:
            status.append(code)
        raise
    return status[0]


def _leave(status: "list[int]") -> None:
    """End the process, if it is known what with and nothing is left to say."""
    if not status or sys.flags.inspect or os.environ.get("PYTHONINSPECT"):
        return
    try:
        for writer in _find_writers():
            if not writer.closed:
                writer.flush()
    except (OSError, ValueError):
        return
    os._exit(status[0] & 0xFF)


def _find_writers() -> "list[Any]":
    """Every file object that may hold something back, the outer ones first."""
    types = {each: rank for rank, base in enumerate(_WRITERS) for each in _family(base)}
    gc.unfreeze()  # of a program that froze its objects, too
    found = [each for each in gc.get_objects() if type(each) in types]
    return sorted(found, key=lambda writer: types[type(writer)])


def _family(base: type) -> "list[type]":
    children: "list[type]" = base.__subclasses__()
    return [base, *[each for child in children for each in _family(child)]]
