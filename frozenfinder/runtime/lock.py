"""`ImportLock`: the recursive lock under which the loader runs the bodies of frozen modules.

Rules
  1. A thread takes it to run a module's body and for nothing else: `find_spec` takes no lock, and
     fork waits for none.
  2. Every wait for it is bounded; a waiter that may not wait goes on without it.
  3. The victim of a deadlock is the thread that waits for this lock, never one that waits for one
     of importlib's module locks.

Theory of operation
  importlib runs a body while it holds that module's own `_ModuleLock`. So whoever waits for the
  import lock holds a module lock already, and the thread that holds the import lock may come to
  wait for that very one: no order of taking them can be kept. importlib sees cycles of module
  locks alone, and where it is told of this one it resolves the cycle by handing out a module that
  has not begun to execute. The waiter here can always give way: importlib's lock on its module
  already makes that body run once, and hides what is half-made. All that it gives up is that no
  other body runs meanwhile.

  A waiter therefore sleeps a slice at a time, and before each slice asks for a reason to go on:
    cycle       the threads and module locks in importlib's wait graph lead from the owner back
                to the waiter;
    timeout     it has waited PATIENCE for this hold, or another waiter has: the owner's body
                waits for a thread that imports, or runs long. A hold is waited for once;
    finalizing  the interpreter is shutting down, and the owner may never run again.
  The graph is read while other threads change it. A wrong answer costs one needless wait, or one
  body that runs beside another, and nothing else.

  The recursion count of a C `RLock` is the one record of depth: no interrupt can split its
  changes. `owner` and `generation` follow it. So a body is run, with the depth as before at
  whatever instruction a KeyboardInterrupt strikes; the second `rewind` is for one in the first:

      mark = lock.mark()
      try:
          try:
              lock.acquire()
              exec(code, namespace)
          finally:
              lock.rewind(mark)
      finally:
          lock.rewind(mark)
"""

import sys
from _thread import RLock, get_ident

from .system import (
    INITIALIZING,
    at_fork_reinit,
    blocking_on,
    get_module,
    is_owned,
    module_locks,
    recursion_count,
    remove_module,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType, TracebackType
    from typing import Any

SLICE = 0.002
"""Seconds between two looks at importlib's wait graph."""

PATIENCE = 0.1
"""Seconds after which a waiter goes on without the lock; in slices, so more on a coarse clock."""


def _count_from_repr(lock: RLock) -> int:
    """`RLock._recursion_count()`, which 3.11.0 to 3.11.5 and 3.12.0 lack; as atomic."""
    if not is_owned(lock):
        return 0
    return int(repr(lock).partition(" count=")[2].partition(" ")[0])


_count: "Callable[[RLock], int]" = recursion_count or _count_from_repr


class ImportLock:
    """A recursive lock that nobody waits for in vain; the module's docstring says how.

    `owner` is the identifier of the thread that holds it, None while it is free or changing hands.
    `generation` counts outermost acquisitions: a thread that holds the lock sees the same number
    until it has released it altogether. `yielded` says how often a waiter went on without the
    lock, by reason (lossy where threads run free of the GIL). `abandoned` holds, in a forked
    child, the modules that `reinit` took out of `sys.modules`.
    """

    __slots__ = ("abandoned", "generation", "owner", "yielded", "_inner", "_outwaited")

    def __init__(self) -> None:
        self._inner = RLock()
        self._outwaited = -1  # the generation that a waiter has lost patience with
        self.owner: int | None = None
        self.generation = 0
        self.yielded = {"cycle": 0, "timeout": 0, "finalizing": 0}
        self.abandoned: dict[str, ModuleType] = {}

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; True when it is held, False when the caller is to go on without it.

        Waits `PATIENCE` at most, and `timeout` if that is shorter. Mirrors
        `_PyImport_AcquireLock()` of `Python/import.c`.
        """
        if timeout != -1 and (timeout < 0 or not blocking):
            raise ValueError(f"timeout {timeout!r} needs blocking=True and may not be negative")
        inner = self._inner
        if not inner.acquire(blocking=False) and not (blocking and self._wait(timeout)):
            return False
        if _count(inner) == 1:
            self.generation += 1
            self.owner = get_ident()
        return True

    def release(self) -> None:
        """Give back one acquisition. Mirrors `_PyImport_ReleaseLock()` of `Python/import.c`."""
        depth = _count(self._inner)
        if not depth:
            raise RuntimeError("not holding the import lock")
        self.rewind(depth - 1)

    def mark(self) -> int:
        """What `rewind` needs to undo every acquisition that the calling thread makes from here."""
        return self.depth

    def rewind(self, mark: int) -> None:
        """Release until the calling thread is no deeper than `mark`; nothing where it is not."""
        inner = self._inner
        while (depth := _count(inner)) > mark:
            if depth == 1:
                self.owner = None  # while it is still held: afterwards it may be another's
            inner.release()

    @property
    def depth(self) -> int:
        """How often the calling thread holds the lock; 0 for every other thread."""
        return _count(self._inner)

    def held(self) -> bool:
        """Whether the calling thread holds the lock."""
        return self.depth > 0

    def is_initialized(self) -> bool:
        """Whether the interpreter has a table of modules to import into.

        Mirrors `_PyImport_IsInitialized()` of `Python/import.c`.
        """
        return getattr(sys, "modules", None) is not None

    def reinit(self, loaders: "type | tuple[type, ...]" = ()) -> None:
        """Make imports work in a forked child, where the calling thread is the only one left.

        What it held it still holds; what others held is free. Modules that the others were
        importing through one of the `loaders` go to `abandoned`: the loader's `create_module`
        hands each out again, and its body runs anew in the same namespace. So whatever holds the
        module already sees it completed, and submodules stay bound on it.

        To be called by `os.register_at_fork(after_in_child=...)`, once importlib's own lock is
        back in order. Mirrors `_PyImport_ReInitLock()` of `Python/import.c`.
        """
        depth = self.depth
        at_fork_reinit(self._inner)
        for _ in range(depth):
            self._inner.acquire()
        self.owner = get_ident() if depth else None
        if self.is_initialized():
            self.abandoned.update(_forget_other_threads(loaders))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        value: "BaseException | None",
        traceback: "TracebackType | None",
    ) -> None:
        # Statements nest: whoever entered one without the lock held it in none around it, and
        # holds it in none by now.
        if self.held():
            self.release()

    def _wait(self, timeout: float) -> bool:
        """Wait for another thread's hold to end; True when the lock is acquired."""
        generation = self.generation
        limit = timeout if timeout >= 0 else float("inf")
        waited = 0.0
        while waited < limit:
            reason = self._reason_to_go_on(generation, waited)
            if reason:
                self.yielded[reason] += 1
                return False
            if self._inner.acquire(timeout=min(SLICE, limit - waited)):
                return True
            waited += SLICE
        return False

    def _reason_to_go_on(self, generation: int, waited: float) -> str:
        if sys.is_finalizing():
            return "finalizing"
        if _leads_to(get_ident(), self.owner):
            return "cycle"
        if waited >= PATIENCE and generation == self.generation:
            self._outwaited = generation
        if waited >= PATIENCE or self._outwaited == self.generation:
            return "timeout"
        return ""


def is_importing(name: str) -> bool:
    """Whether the calling thread imports that module or reloads it, and does not just look for it.

    It holds the module's lock then, as `_find_and_load()` of `Lib/importlib/_bootstrap.py` does.
    """
    reference = module_locks.get(name)
    lock = None if reference is None else reference()
    return getattr(lock, "owner", None) == get_ident()


def _leads_to(target: int, thread: "int | None") -> bool:
    """Whether `thread` waits, through importlib's module locks and their owners, for `target`.

    Follows what `_ModuleLock.has_deadlock()` of `Lib/importlib/_bootstrap.py` follows, without a
    lock as it does.
    """
    seen = set()
    found = [thread]
    while found:
        thread = found.pop()
        if thread == target:
            return True
        if thread is not None and thread not in seen:
            seen.add(thread)
            found += [lock.owner for lock in _get_awaited_locks(thread)]
    return False


def _get_awaited_locks(thread: int) -> "Iterable[Any]":
    """The module locks that `thread` is about to take, or waits for."""
    awaited = blocking_on.get(thread)
    if awaited is None:
        return ()
    if hasattr(awaited, "owner"):  # before 3.12: one lock for a thread, no list
        return (awaited,)
    return tuple(awaited)


def _forget_other_threads(loaders: "type | tuple[type, ...]") -> "dict[str, ModuleType]":
    """Undo, in importlib's tables, what threads that a fork left behind were importing.

    A module lock of such a thread is dropped when nothing of its module has been executed, or when
    one of the `loaders` was executing it: those modules are taken out of `sys.modules` and
    returned. Every other keeps its lock, and CPython's behaviour.
    """
    me = get_ident()
    waiting = getattr(blocking_on, "data", blocking_on)  # a dict of weak references from 3.12.1 on
    for thread in list(waiting):
        if thread != me:
            del waiting[thread]
    abandoned = {}
    for name, reference in list(module_locks.items()):
        lock = reference()
        if lock is None or lock.owner is None or lock.owner == me:
            continue
        module = get_module(name)
        spec = getattr(module, "__spec__", None)
        if module is None or isinstance(getattr(spec, "loader", None), loaders):
            del module_locks[name]
            if getattr(spec, INITIALIZING, False):
                abandoned[name] = module
                remove_module(name)
    return abandoned
