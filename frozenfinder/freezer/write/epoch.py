"""SOURCE_DATE_EPOCH: the time that what is built may not be younger than.

https://reproducible-builds.org/specs/source-date-epoch/. The times of the sources are the only ones
in a registry. Who sets the variable also sets back the times of newer files that he packs (dpkg
does, rpm and BuildKit can): a registry that is packed with its sources has what these get.
"""

from __future__ import annotations

from frozenfinder.errors import FreezeError
from frozenfinder.runtime.system import environment

_VARIABLE = "SOURCE_DATE_EPOCH"
_LATEST = (1 << 32) - 1  # that a `.pyc`, and so a registry, can tell


def read_epoch() -> int:
    """The latest time that may be recorded, in seconds since 1970; FreezeError if it is none."""
    text = environment(_VARIABLE)
    if not text:
        return _LATEST
    if not (text.isascii() and text.isdecimal()):
        raise FreezeError(f"{_VARIABLE} is {text!r}, expected whole seconds since 1970")
    return min(int(text), _LATEST)
