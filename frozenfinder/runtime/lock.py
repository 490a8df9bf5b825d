"""`ImportLock`: the recursive lock under which the loader runs the bodies of frozen modules.

Rules
  1. A thread takes it only to run a module's body: `find_spec` takes no lock, and a fork waits for
     no lock.
  2. Every wait for it is bounded; a waiter whose time is over goes on without it.
  3. In a deadlock, the thread that waits for this lock gives way, never one that waits for one of
     importlib's module locks.

Theory of operation
  importlib runs a body while it holds that module's own `_ModuleLock`. So a thread that waits for
  the import lock already holds a module lock, and the thread that holds the import lock may have
  to wait for exactly that one: no fixed order of taking them is possible. importlib detects only
  cycles of module locks. If it knew about this lock, it would resolve the cycle by returning a
  module whose body has not started. The waiter here can always give way: importlib's lock on its
  module already makes its body run once, and hides the half-made module. All that it loses is that
  no other body runs meanwhile.

  A waiter therefore sleeps a slice at a time, and before each slice looks for a reason to go on:
    cycle       the threads and module locks in importlib's wait graph lead from the owner back
                to the waiter;
    timeout     it has waited PATIENCE for this hold, or another waiter has: the owner's body
                waits for a thread that imports, or runs long. Each hold is waited for only once;
    finalizing  the interpreter is shutting down, and the owner may never run again.
  The graph is read while other threads change it. A wrong answer only costs one needless wait, or
  lets one body run beside another.

  One dict records who holds the lock and how often: an item for each level, with the holder's
  identifier. The thread whose item 0 gets in has the lock. Each change is one atomic operation, so
  no interrupt can split it. An `RLock` counts as safely, but the collector tracks every `RLock`,
  and programs that replace or count them all would find it. A body is run as below, so that the
  depth is restored wherever a KeyboardInterrupt strikes; the second `rewind` is for one inside the
  first:

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
from _thread import allocate_lock, get_ident

from .system import INITIALIZING, blocking_on, get_module, module_locks, remove_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any

SLICE = 0.002
"""Seconds between two looks at importlib's wait graph."""

PATIENCE = 0.1
"""Seconds after which a waiter goes on without the lock; counted in slices, so longer on a coarse
clock."""


class ImportLock:
    """A recursive lock for which nobody waits forever; the module's docstring explains it.

    `owner` is the identifier of the thread that holds it, or None while it is free. `generation`
    counts outermost acquisitions: a thread that holds the lock sees the same number until it has
    fully released it. `yielded` counts by reason how often a waiter went on without the lock
    (without the GIL, some may not be counted). `abandoned` has, in a forked child, the modules that
    `reinit` took out of `sys.modules`.
    """

    __slots__ = ("abandoned", "generation", "yielded", "_holds", "_outwaited", "_waiting")

    def __init__(self) -> None:
        # Only the holder adds and removes items, and `setdefault` of item 0 decides who that is.
        self._holds: dict[int, int] = {}
        # Locked locks, one for each slice of a waiter; `append` and `pop` are atomic.
        self._waiting: list[Any] = []
        self._outwaited = -1  # the generation that a waiter has given up waiting for
        self.generation = 0
        self.yielded = {"cycle": 0, "timeout": 0, "finalizing": 0}
        self.abandoned: dict[str, ModuleType] = {}

    @property
    def owner(self) -> "int | None":
        return self._holds.get(0)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; True if it is held, False if the caller shall go on without it.

        Waits at most `PATIENCE` or `timeout` seconds, whichever is shorter. ValueError for a
        negative timeout, or one with blocking=False. Mirrors `_PyImport_AcquireLock()` of
        `Python/import.c`.
        """
        if timeout != -1 and (timeout < 0 or not blocking):
            raise ValueError(f"timeout {timeout!r} needs blocking=True and may not be negative")
        holds = self._holds
        me = get_ident()
        if holds.get(0) == me:
            holds[len(holds)] = me
            return True
        if holds.setdefault(0, me) != me and not (blocking and self._wait(timeout)):
            return False
        self.generation += 1
        return True

    def release(self) -> None:
        """Undo one acquisition; RuntimeError if the calling thread does not hold the lock.

        Mirrors `_PyImport_ReleaseLock()` of `Python/import.c`.
        """
        depth = self.depth
        if not depth:
            raise RuntimeError("not holding the import lock")
        self.rewind(depth - 1)

    def mark(self) -> int:
        """The argument for `rewind` to undo each later acquisition of the calling thread."""
        holds = self._holds
        return len(holds) if holds.get(0) == get_ident() else 0

    def rewind(self, mark: int) -> None:
        """Release until the calling thread's depth is at most `mark`."""
        holds = self._holds
        while len(holds) > mark and holds.get(0) == get_ident():
            holds.popitem()
        if not mark and self._waiting:
            self._wake()

    def _wake(self) -> None:
        """End the slices of all waiters; one that this misses ends by itself."""
        waiting = self._waiting
        while waiting:
            try:
                waiting.pop().release()
            except IndexError:  # another thread was faster
                return

    @property
    def depth(self) -> int:
        """How often the calling thread holds the lock; 0 if it does not."""
        return self.mark()

    def held(self) -> bool:
        """Whether the calling thread holds the lock."""
        return self._holds.get(0) == get_ident()

    def is_initialized(self) -> bool:
        """Whether the interpreter has a table of modules to import into.

        Mirrors `_PyImport_IsInitialized()` of `Python/import.c`.
        """
        return getattr(sys, "modules", None) is not None

    def reinit(self, executes: "Callable[[str, object], bool]") -> None:
        """Make imports work in a forked child, where the calling thread is the only one left.

        The calling thread keeps its hold; the holds of other threads are released. Modules that
        they were importing from a registry (`executes` tells, by name and loader) go to
        `abandoned`: the loader's `create_module` returns each of them again, and its body runs
        again in the same namespace.
        So existing references to the module see it completed, and submodules stay bound to it.

        Call it in `os.register_at_fork(after_in_child=...)`, after importlib has repaired its own
        lock. Mirrors `_PyImport_ReInitLock()` of `Python/import.c`.
        """
        if not self.held():
            self._holds = {}
        self._waiting = []
        if self.is_initialized():
            self.abandoned.update(_forget_other_threads(executes))

    def _wait(self, timeout: float) -> bool:
        """Wait for another thread's hold to end; True if the lock is then acquired."""
        me = get_ident()
        generation = self.generation
        limit = timeout if timeout >= 0 else float("inf")
        waited = 0.0
        while waited < limit:
            reason = self._reason_to_go_on(generation, waited)
            if reason:
                self.yielded[reason] += 1
                return False
            slice_over = allocate_lock()
            slice_over.acquire()
            self._waiting.append(slice_over)  # before the look: no release after it is missed
            if self._holds.setdefault(0, me) == me:
                return True
            slice_over.acquire(timeout=min(SLICE, limit - waited))
            if self._holds.setdefault(0, me) == me:
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
    """Whether the calling thread is importing or reloading that module, not just looking for it.

    If so, it holds the module's lock, as in `_find_and_load()` of `Lib/importlib/_bootstrap.py`.
    """
    reference = module_locks.get(name)
    lock = None if reference is None else reference()
    return getattr(lock, "owner", None) == get_ident()


def _leads_to(target: int, thread: "int | None") -> bool:
    """Whether `thread` waits, through importlib's module locks and their owners, for `target`.

    It follows the same graph as `_ModuleLock.has_deadlock()` of `Lib/importlib/_bootstrap.py`, and
    like that takes no lock.
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


def _forget_other_threads(
    executes: "Callable[[str, object], bool]",
) -> "dict[str, ModuleType]":
    """Undo, in importlib's tables, the imports of threads that do not exist after a fork.

    The module lock of such a thread is dropped if its module has not started to execute, or if it
    was executed from a registry: those modules are taken out of `sys.modules` and returned.
    Every other module keeps its lock, as in CPython.
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
        if module is None or executes(name, getattr(spec, "loader", None)):
            del module_locks[name]
            if getattr(spec, INITIALIZING, False):
                abandoned[name] = module
                remove_module(name)
    return abandoned
