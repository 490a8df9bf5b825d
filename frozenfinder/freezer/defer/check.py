"""The check of a lazy registry: commands do the same with waiting imports as without.

Each command runs twice with all imports at once, and once with waiting ones, from the new registry.
If the results differ, the modules are bisected, whole packages first, to a smallest set in which
nothing may wait.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import frozenfinder
from frozenfinder.errors import FreezeError
from frozenfinder.freezer.record.trace import describe_status

LIMIT = 120.0
"""Seconds that a command may take."""

_STARTUP = os.path.join(os.path.dirname(os.path.abspath(frozenfinder.__file__)), "startup")


class Result(NamedTuple):
    """What a run of a command showed; `status` is None if it was stopped after the limit."""

    status: int | None
    output: bytes
    errors: bytes


Notice = Callable[[int, int, str], object]
"""Called before each run, with its number twice, and the command."""


class Checker:
    """Runs commands with the registry at `path`, and finds in which modules nothing may wait.

    `names` are the modules in which something waits. `eager` are those found so far, each with the
    reason.
    """

    def __init__(
        self,
        path: str,
        names: Iterable[str],
        *,
        limit: float = LIMIT,
        notice: Notice | None = None,
    ) -> None:
        self.eager: dict[str, str] = {}
        self.runs = 0
        self._path = path
        self._names = sorted(names)
        self._limit = limit
        self._notice = notice

    def check(self, command: str) -> None:
        """Compare the runs of a command, and add to `eager` what has to be there.

        FreezeError if the command cannot be started, fails or hangs with all imports at once, has
        another result each time, or differs whatever is eager.
        """
        where = f"check {command!r}"
        argv = shlex.split(command)
        first, seconds = self._run_eagerly(where, argv)
        second, _ = self._run_eagerly(where, argv)
        if first != second:
            raise FreezeError(
                f"{where}: {_name_difference(first, second)} differs between two runs with all "
                "imports at once, so it shows nothing; choose a command with a stable result; "
                "nothing was written"
            )
        patience = min(self._limit, 10 * seconds + 10)

        def is_same(eager: Sequence[str]) -> bool:
            chosen = [*self.eager, *eager]
            found = self._run(where, argv, {"FROZENFINDER_EAGER": ",".join(chosen)}, patience)
            return found == first

        if is_same([]):
            return
        if not is_same(["*"]):
            raise FreezeError(
                f"{where}: its result with waiting imports differs, whichever modules are eager; "
                "nothing was written"
            )
        reason = f"{command!r} differs if its imports wait"
        self.eager |= dict.fromkeys(self._find_smallest(is_same), reason)

    def _find_smallest(self, is_same: Callable[[Sequence[str]], bool]) -> list[str]:
        """A smallest set of modules: without any of them, the result differs."""
        tops = sorted({name.partition(".")[0] for name in self._names})
        packages = minimise(tops, lambda some: is_same([f"{top}.*" for top in some]))
        below = [name for name in self._names if name.partition(".")[0] in packages]
        return minimise(below, is_same)

    def _run_eagerly(self, where: str, argv: Sequence[str]) -> tuple[Result, float]:
        begin = time.monotonic()
        result = self._run(where, argv, {"FROZENFINDER_WITHOUT": "lazy"}, self._limit)
        if result.status is None:
            raise FreezeError(
                f"{where}: still runs after {self._limit:g} s with all imports at once; choose a "
                "shorter command; nothing was written"
            )
        if result.status:
            raise FreezeError(
                f"{where}: {describe_status(result.status)} with all imports at once, expected "
                "exit status 0; nothing was written"
            )
        return result, time.monotonic() - begin

    def _run(
        self, where: str, argv: Sequence[str], settings: dict[str, str], limit: float
    ) -> Result:
        self.runs += 1
        if self._notice is not None:
            self._notice(self.runs, self.runs, where)
        path = [_STARTUP, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **{name: text for name, text in os.environ.items() if name not in _OWN},
            "FROZENFINDER_RUN": f"{sys.implementation.cache_tag},mode=overlay:{self._path}",
            "PYTHONPATH": os.pathsep.join(path),
            **settings,
        }
        try:
            process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # what it starts is stopped with it
            )
        except (OSError, IndexError) as error:
            reason = getattr(error, "strerror", None) or "it is empty"
            raise FreezeError(f"{where}: cannot be started: {reason}") from error
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _stop(process)
            return Result(None, b"", b"")
        except BaseException:
            _stop(process)
            raise
        return Result(process.returncode, output, errors)


_OWN = ("FROZENFINDER", "FROZENFINDER_EAGER", "FROZENFINDER_WITHOUT", "FROZENFINDER_DEBUG")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.communicate()


def _name_difference(first: Result, second: Result) -> str:
    if first.status != second.status:
        return "its exit status"
    return "its output" if first.output != second.output else "what it writes to stderr"


def minimise(items: Sequence[str], works: Callable[[Sequence[str]], bool]) -> list[str]:
    """A subset that works, and of which each part is needed; all of `items` work.

    It is Zeller's ddmin: halves first, then smaller parts.
    """
    found = list(items)
    parts = 2
    while len(found) > 1:
        size = -(-len(found) // parts)
        chunks = [found[at : at + size] for at in range(0, len(found), size)]
        rest = [[each for each in found if each not in chunk] for chunk in chunks]
        for smaller, next_parts in (
            *((chunk, 2) for chunk in chunks),
            *((complement, max(parts - 1, 2)) for complement in rest if len(chunks) > 2),
        ):
            if works(smaller):
                found, parts = smaller, next_parts
                break
        else:
            if parts >= len(found):
                break
            parts = min(2 * parts, len(found))
    return found
