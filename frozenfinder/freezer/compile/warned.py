"""The warnings of CPython's compiler and parser, recorded instead of shown."""

from __future__ import annotations

import warnings
from _thread import allocate_lock
from collections.abc import Iterator
from contextlib import contextmanager

_filters = allocate_lock()  # protects `warnings.filters`: two freezes would restore each other's


@contextmanager
def record_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Record the warnings of the compiler; warnings of other threads are recorded, too."""
    with _filters, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
