"""The warnings of CPython's compiler and parser, recorded instead of shown."""

from __future__ import annotations

import warnings
from _thread import allocate_lock
from collections.abc import Iterator
from contextlib import contextmanager

_filters = allocate_lock()  # protects `warnings.filters` from a second freeze: it would keep ours


@contextmanager
def record_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings of the compiler and, since it has no other way to give them, of all threads."""
    with _filters, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
