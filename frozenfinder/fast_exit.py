"""The fast exit: a process ends without the collections in which CPython destroys all objects.

CPython ends a program by joining its threads and calling the `atexit` callbacks. Then it clears all
modules and collects garbage several times. In a short program that takes a sixth to a quarter of
the time: nearly all objects are in cycles, as every function refers to the names of its module. The
system gets all their memory back at once anyway.

`prepare` registers `end`, which moves all objects out of the collector's sight if no object is
alive whose finalizer could do anything. CPython then goes on as always, and finds little to do. If
one is alive, such as an open file, a socket, or a generator that waits inside `try`, `end` does
nothing, and the whole end is stock's. It is the last callback if it was registered first, but need
not be: objects that are made after it are not hidden.

`call` is for `run --fast-exit=hard`: it ends the process with `os._exit`, finalizers or not.
"""

import _thread
import atexit
import io
import os
import sys
from itertools import compress

from frozenfinder.runtime.system import IS_MAIN, read_switches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from frozenfinder.annotations import Finder

_WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair)
"""The file types that buffer output; a wrapper comes before the type that it wraps."""

_FILES = frozenset({*_WRITERS, io.BufferedReader, io.FileIO})
"""The types whose finalizers do nothing once the file is closed, or if they read a descriptor that
they do not own; not their subclasses."""

_STANDARD = ("__stdin__", "__stdout__", "__stderr__")
"""The files of `sys` that CPython itself flushes and never closes."""

_MEMORY = frozenset({io.BytesIO, io.StringIO})
"""The file types whose finalizers free memory only; not their subclasses."""

_UNSEEN = frozenset({"sqlite3", "_dbm", "_gdbm"})
"""The modules whose types write when they are destroyed but have no `__del__`: SQLite's connections
have one from 3.13 on."""

_OWN = "frozenfinder.runtime.registry"
"""The module of the open registry, whose finalizer only closes its descriptor."""

is_prepared = False
"""Whether this process ends quickly. Assigned once, by any thread."""

_GENERATOR = type(each for each in "")

# as `inspect.getattr_static`: a metaclass could run code of the program
_get_mro: "Callable[[type], tuple[type, ...]]" = type.__dict__["__mro__"].__get__
_get_namespace: "Callable[[type], Any]" = type.__dict__["__dict__"].__get__


def prepare(installed: "Callable[[], list[Finder]]") -> None:
    """Let this process end quickly, if it has `installed` finders then.

    Do nothing in a subinterpreter, as its memory is needed again, and in a second call.
    """
    without = read_switches()
    if _is_main() and "fast-exit" not in without:
        global is_prepared
        is_prepared = True
        atexit.unregister(end)
        atexit.register(end, installed)


def _is_main() -> bool:
    is_main = getattr(_thread, IS_MAIN, None)
    if is_main is not None:
        return bool(is_main())
    # deferred: an extension module, before 3.13
    import _xxsubinterpreters  # type: ignore[import-not-found]

    return bool(_xxsubinterpreters.get_current() == _xxsubinterpreters.get_main())


def end(installed: "Callable[[], list[Finder]]") -> None:
    """Hide all objects from the collector, if none of them has work to do when it is destroyed.

    Do nothing if all finders were uninstalled, or if the program debugs the collector. The cost is
    100 to 250 ns for each container. It raises no Exception.
    """
    # deferred: this module outlives others, and would keep what the program has put into that one
    import gc

    if not installed() or gc.get_debug():
        return
    try:
        unfinished = find_unfinished()
    except Exception:  # noqa: BLE001  # of an audit hook, or of a file of the program's
        return
    if unfinished is None:
        gc.freeze()


def find_unfinished() -> "Any":
    """An object with a finalizer that may do something a program could notice; None without any.

    Objects that the collector does not track are not found. Raises what an audit hook raises for
    `gc.get_objects`.
    """
    # deferred: as in `end`
    import gc

    objects = gc.get_objects()
    kinds = list(map(type, objects))
    types = set(kinds)
    finalized = set(filter(_has_finalizer, set().union(*map(_get_mro, types))))
    suspects = {each for each in types if not finalized.isdisjoint(_get_mro(each))}
    standard = {id(file) for name in _STANDARD for file in _find_layers(getattr(sys, name, None))}
    for each in compress(objects, map(suspects.__contains__, kinds)):
        if id(each) not in standard and not _is_finished(each):
            return each
    return None


def _has_finalizer(base: type) -> bool:
    """Whether a class itself, without its bases, defines what happens to its objects at last."""
    namespace = _get_namespace(base)
    module = namespace.get("__module__")
    if type(module) is not str:  # the program may set it to anything
        module = ""
    return module in _UNSEEN or ("__del__" in namespace and module != _OWN)


def _is_finished(each: "Any") -> bool:
    """Whether the finalizer of an object, of a type that has one, does nothing."""
    kind = type(each)
    if kind in _FILES:
        try:
            return each.closed or _only_reads(each)
        except ValueError:  # it was detached from the file that it wrapped
            return False
    return kind in _MEMORY or (kind is _GENERATOR and each.gi_frame is None)


def _only_reads(file: "Any") -> bool:
    """Whether an open file holds nothing to write, and leaves its descriptor open."""
    if type(file) is io.TextIOWrapper and type(file.buffer) is io.BufferedReader:
        file = file.buffer
    if type(file) is io.BufferedReader:
        file = file.raw
    return type(file) is io.FileIO and not file.closefd


def _find_layers(file: "Any") -> "Iterator[Any]":
    """A file, and the files that it wraps, as long as they are of CPython's own types."""
    while type(file) in _FILES:
        yield file
        file = getattr(file, "buffer", None) or getattr(file, "raw", None)


def call(program: "Callable[[], int]") -> int:
    """Call the program; the process later exits with the status that results, at once.

    If there is something to report, CPython ends the program in the usual way: after an uncaught
    exception, or if a file cannot be written.
    """
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
    # deferred: as in `end`
    import gc

    gc.unfreeze()  # the program may have frozen its objects
    found = [each for each in gc.get_objects() if type(each) in types]
    return sorted(found, key=lambda writer: types[type(writer)])


def _family(base: type) -> "list[type]":
    children: "list[type]" = base.__subclasses__()
    return [base, *[each for child in children for each in _family(child)]]
