"""`Collector`: fewer runs of the cyclic garbage collector while modules are imported.

An import allocates thousands of containers and frees almost none, so the collector runs often and
finds nothing. While the outermost import of a thread runs, the first threshold is raised. The
collector is never switched off, so garbage of an import is collected, only later. When the import
ends, its objects go to the oldest generation at once, as they would after a few collections, so
that the next collection need not visit all of them. A long import does this from time to time:
otherwise the one collection at its end would take as long as all the collections that were saved.
If a collection starts in spite of that, a body allocates much and imports nothing. It may be the
program's main loop, and gets the usual threshold back.
Thresholds that the program sets meanwhile stay. Builds without a GIL have no generations, and
`install` makes no collector there.

CPython does not count promoted objects, and so would never look for garbage among them. So a
program that imports the same modules again and again reaches a limit: after that, the objects of
its imports are collected as usual.
"""

from .system import builtin_from_name, get_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

RELAXED = 104_729
"""Containers allocated minus those freed before a collection; 700 or 2,000 is usual. It is a prime
number, so neither it nor a simple fraction of it is round, as what a program chooses."""

PROMOTED = RELAXED // 2
"""During an import, promote when more than this many containers are pending."""

LIMIT = 500_000
"""Stop promoting after this many containers in total; most of a large application's start fits."""

FROZEN_AT_START = 1_000
"""CPython itself freezes fewer objects: 3.12 starts with a few hundred, others with none."""


DIVISORS = range(1, 21)
"""A program may multiply the threshold by a fraction; these are the divisors that it may use."""


class Collector:
    """Raises the collector's first threshold, and restores it.

    Threads share it without a lock. `_usual` is the last threshold that `relax` has found, never
    `RELAXED`. A thread that sets `RELAXED` calls `restore` later, and each thread's `restore` sets
    the same value: when all imports are done, `RELAXED` is gone. `_allowance` is not exact: if two
    threads promote at once, one may not be counted.
    """

    __slots__ = ("_allowance", "_gc", "_usual")

    def __init__(self) -> None:
        self._gc: "ModuleType | None" = None
        self._usual = 0  # until `relax` has found one
        self._allowance = LIMIT

    def relax(self) -> None:
        """Raise the threshold, unless the program has disabled the collector or set it higher."""
        gc = self._gc
        if gc is None:
            # as importlib does: an import statement would ask the finders on the meta path
            gc = self._gc = get_module("gc") or builtin_from_name("gc")
        threshold = gc.get_threshold()[0]
        if 0 < threshold < RELAXED:
            self._usual = threshold
            gc.set_threshold(RELAXED)
            if self._note_collection not in gc.callbacks:
                gc.callbacks.append(self._note_collection)

    def promote(self, beyond: int = PROMOTED) -> None:
        """Move all objects to the oldest generation, if more than `beyond` containers are pending
        and `relax` has raised the threshold.

        `gc.freeze` and `gc.unfreeze` move whole generations, so the cost does not depend on their
        number. On 3.11 to 3.15 the objects are in generation 2 afterwards. If the program freezes
        its own objects, nothing is promoted from then on.
        """
        gc = self._gc
        if gc is None or self._allowance <= 0:
            return
        count = gc.get_count()[0]
        if count > beyond and gc.get_threshold()[0] == RELAXED:
            if gc.get_freeze_count() < FROZEN_AT_START:
                self._allowance -= count
                gc.freeze()
                gc.unfreeze()
            else:
                self._allowance = 0

    def restore(self) -> None:
        """Restore the threshold that `relax` found, unless the program has set another since."""
        gc, usual = self._gc, self._usual
        if gc is None or not usual:
            return
        self.promote(usual)
        self._put_back()
        try:
            gc.callbacks.remove(self._note_collection)
        except ValueError:  # another thread has
            pass

    def _note_collection(self, _: str, info: "dict[str, int]") -> None:
        """Put the threshold back in the first collection that comes by itself, for `gc.callbacks`.

        One of generation 2 may be the program's own call of `gc.collect`.
        """
        if info["generation"] < 2:
            self._put_back()

    def _put_back(self) -> None:
        """Put the threshold back; one that the program has derived from it is derived again."""
        gc: "Any" = self._gc  # `relax` was called before
        usual = self._usual
        threshold = gc.get_threshold()[0]
        if threshold == RELAXED:
            gc.set_threshold(usual)
        elif threshold != usual:
            gc.set_threshold(_derive(threshold, usual))


def _derive(threshold: int, usual: int) -> int:
    """The threshold that a program would have set which has read `usual`, not `RELAXED`.

    It is `threshold` itself, unless that is `RELAXED` times a simple fraction.
    """
    if threshold % 100 or not threshold % RELAXED:  # else a round number, which somebody chose
        for divisor in DIVISORS:
            times, rest = divmod((threshold + 1) * divisor, RELAXED)
            if times and rest <= 2 * divisor:  # rounded in either direction
                return max(1, times * usual // divisor)
    return threshold
