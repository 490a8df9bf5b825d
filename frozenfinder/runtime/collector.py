"""`Collector`: the cyclic garbage collector, kept out of the way while modules are imported.

An import allocates containers by the thousand and frees almost none, so the collector keeps running
to find nothing. While the outermost import of a thread runs, its first threshold is raised; it is
never switched off, so an import that does make garbage is collected, if later. When the import is
done, what it left goes to the oldest generation at once, as it would after a few collections, so
that the next collection does not go through all of it. In a long import that happens from time to
time: the one collection that would come in the end takes as long as all those that were put off.
What the program sets meanwhile stands. Builds without a GIL have no generations to
promote to: `install` makes no collector there.

The collector does not count what is promoted, and so would never come to look for the garbage in
it. A program that keeps importing the same modules anew has its limit: from then on all that its
imports leave is collected as ever.
"""

from .system import builtin_from_name, get_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

RELAXED = 100_003
"""Containers allocated, less those freed, before a collection; 700 or 2,000 is usual. No program
chooses this number: where it is set, `relax` has set it."""

PROMOTED = RELAXED // 2
"""Containers that wait, at most, for the import in progress to end."""

LIMIT = 500_000
"""Containers that are promoted in all; of a large application's start, most."""

FROZEN_AT_START = 1_000
"""More frozen objects than CPython has of its own: 3.12 starts with a few hundred, others none."""


class Collector:
    """Raises the collector's first threshold, and puts it back.

    Threads share it without a lock. `_usual` is the last threshold that `relax` has found, never
    `RELAXED`. A thread that sets `RELAXED` calls `restore` later, and any thread's `restore` puts
    back the same: when all imports are done, nothing has stayed. `_allowance` is lossy: of two
    threads that promote at once, one may not be counted.
    """

    __slots__ = ("_allowance", "_gc", "_usual")

    def __init__(self) -> None:
        self._gc: "ModuleType | None" = None
        self._usual: "tuple[int, ...] | None" = None
        self._allowance = LIMIT

    def relax(self) -> None:
        """Raise the threshold, unless the program has the collector off or later already."""
        gc = self._gc
        if gc is None:
            # as importlib gets its own: an import statement would ask the finders on the meta path
            gc = self._gc = get_module("gc") or builtin_from_name("gc")
        thresholds = gc.get_threshold()
        if 0 < thresholds[0] < RELAXED:
            self._usual = thresholds
            gc.set_threshold(RELAXED, *thresholds[1:])

    def promote(self, beyond: int = PROMOTED) -> None:
        """Move all objects to the oldest generation, if `relax` lets the young one grow `beyond`.

        `gc.freeze` and `gc.unfreeze` move objects by whole generations, so that promoting them
        takes the same time for any number. On 3.11 to 3.15 they are in generation 2 afterwards. A
        program that freezes objects of its own is left alone.
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
        """Put back what `relax` found, unless the program has set another threshold since."""
        gc, usual = self._gc, self._usual
        if gc is not None and usual is not None and gc.get_threshold()[0] == RELAXED:
            self.promote(usual[0])
            gc.set_threshold(*usual)
