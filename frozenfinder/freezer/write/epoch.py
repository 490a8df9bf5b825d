"""SOURCE_DATE_EPOCH: the latest time that may appear in a build.

https://reproducible-builds.org/specs/source-date-epoch/. The only times in a registry are those of
the sources, and the states of their folders, which are left out if the variable is set. Tools that
set the variable also set back the times of newer files that they pack (dpkg does, rpm and BuildKit
can), so a registry that is packed with its sources has their times.
"""

from __future__ import annotations

from frozenfinder.errors import FreezeError
from frozenfinder.runtime.system import environment

_VARIABLE = "SOURCE_DATE_EPOCH"
LATEST = (1 << 32) - 1  # the latest time that a `.pyc`, and so a registry, can store


def read_epoch() -> int | None:
    """The latest time that may be recorded, in seconds since 1970, or None.

    FreezeError if it is invalid.
    """
    text = environment(_VARIABLE)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise FreezeError(f"{_VARIABLE} is {text!r}, expected whole seconds since 1970")
    return min(int(text), LATEST)
