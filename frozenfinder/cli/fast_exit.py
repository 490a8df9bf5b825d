"""`run --fast-exit`: end a program without destroying every module and object.

CPython ends a program by joining its threads and calling the `atexit` callbacks. Then it collects
garbage and clears every module, which can take a good part of the time that the imports took,
although the system gets all the memory back at once anyway. The one callback here is registered
before any of the program's, so it is called after all of them: it flushes open files, and exits.

If there is something to report, it does nothing: after an uncaught exception, or if a file cannot
be written, CPython ends the program in the usual way.
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
"""The file types that buffer output; a wrapper comes before the type that it wraps."""


def call(program: "Callable[[], int]") -> int:
    """Call the program; the process later exits with the status that results."""
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
    """End the process, if its status is known and there is nothing to report."""
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
    """Every file object that may have buffered output, wrappers first."""
    types = {each: rank for rank, base in enumerate(_WRITERS) for each in _family(base)}
    gc.unfreeze()  # the program may have frozen its objects
    found = [each for each in gc.get_objects() if type(each) in types]
    return sorted(found, key=lambda writer: types[type(writer)])


def _family(base: type) -> "list[type]":
    children: "list[type]" = base.__subclasses__()
    return [base, *[each for child in children for each in _family(child)]]
