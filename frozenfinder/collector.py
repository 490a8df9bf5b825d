"""`Collector`: the cyclic garbage collector, relaxed while modules are being imported.

An import allocates containers by the thousand and frees almost none, so the collector keeps running
to find nothing. While the outermost import of a thread runs, its first threshold is raised; it is
never switched off, so an import that does make garbage is collected, if later. What the program
itself sets meanwhile stands.
"""

import gc

RELAXED = 100_000
"""Containers allocated, less those freed, before a collection; 700 or 2,000 is usual."""


class Collector:
    """Raises the collector's first threshold, and puts it back."""

    __slots__ = ("_usual",)

    def __init__(self) -> None:
        self._usual: "tuple[int, ...] | None" = None

    def relax(self) -> None:
        """Raise the threshold, unless the program has the collector off or later already."""
        thresholds = gc.get_threshold()
        if 0 < thresholds[0] < RELAXED:
            self._usual = thresholds
            gc.set_threshold(RELAXED, *thresholds[1:])

    def restore(self) -> None:
        """Put back what `relax` found, unless the program has set another threshold since."""
        usual = self._usual
        if usual is not None and gc.get_threshold()[0] == RELAXED:
            gc.set_threshold(*usual)
