"""`call_all`: calls functions in several threads, for work that leaves the GIL to others.

Files are hashed and written in such calls. The threads end before `call_all` returns, because a
program may fork at any time, and the child has only one of them.
"""

import os
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable
    from typing import TypeVar

    _T = TypeVar("_T")


def call_all(functions: "list[Callable[[], _T]]") -> "list[_T]":
    """The results of the functions, in their order; one thread for each processor calls them.

    They may import nothing: the calling thread may have locks of the import system. After an
    exception no other function is begun, and the first exception is raised when the threads ended.
    """
    # `pop`, `append`, `clear` and the assignment of an item are atomic
    left = [*enumerate(functions)][::-1]
    results: "dict[int, _T]" = {}
    failures: "list[BaseException]" = []

    def work() -> None:
        while True:
            try:
                number, function = left.pop()
            except IndexError:
                return
            try:
                results[number] = function()
            except BaseException as error:  # noqa: BLE001 - the calling thread raises it
                failures.append(error)
                left.clear()

    running: "list[LockType]" = []
    try:
        for _ in range(min(len(functions), _count_processors()) - 1):
            if not _start(work, running):
                break
        work()
    finally:
        left.clear()  # after an interrupt
        for lock in running:
            lock.acquire()
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(functions))]


def _start(work: "Callable[[], None]", running: "list[LockType]") -> bool:
    """Begin a thread, and add the lock that it holds while it works; False if there can be none."""
    lock = allocate_lock()

    def run() -> None:
        try:
            work()
        finally:
            lock.release()

    lock.acquire()
    try:
        start_new_thread(run, ())
    except RuntimeError:  # the system's limit, or an interpreter without threads
        return False
    running.append(lock)
    return True


def _count_processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
