"""The report of a freeze: what went into the registry, and what was left out and why."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from .plan import Omission


@dataclass(frozen=True, slots=True)
class Report:
    """How a freeze went.

    Of the modules that have code, `compiled` were compiled, `from_pyc` read from a `.pyc`, and
    `reused` taken over from the registry that was there before. `warnings` has a module's name and
    what the compiler warned of; modules that were not compiled have none. `size` is in bytes, and
    `written` tells whether the registry differs from what was there before. `verify_key` is what
    `install` has to be given for a signed one.
    """

    output: str
    size: int
    modules: int
    files: int
    compiled: int
    from_pyc: int
    reused: int
    written: bool
    seconds: float
    omitted: tuple[Omission, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    verify_key: str | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)
