"""SOURCE_DATE_EPOCH: the latest time that may appear in a build.

https://reproducible-builds.org/specs/source-date-epoch/. The times of the sources are the only ones
in a registry. Tools that set the variable also set back the times of newer files that they pack
(dpkg does, rpm and BuildKit can), so a registry that is packed with its sources has their times.
"""

from __future__ import annotations

from frozenfinder.errors import FreezeError
from frozenfinder.runtime.system import environment

_VARIABLE = "SOURCE_DATE_EPOCH"
_LATEST = (1 << 32) - 1  # the latest time that a `.pyc`, and so a registry, can store


def read_epoch() -> int:
    """The latest time that may be recorded, in seconds since 1970; FreezeError if it is invalid."""
    text = environment(_VARIABLE)
    if not text:
        return _LATEST
    if not (text.isascii() and text.isdecimal()):
        raise FreezeError(f"{_VARIABLE} is {text!r}, expected whole seconds since 1970")
    return min(int(text), _LATEST)
