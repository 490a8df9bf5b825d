"""`Usage`: what one fresh process took."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """What a process took: seconds by the clock, seconds of CPU time, and bytes of memory at most.

    `cpu` and `rss` count the process' own children too, and are None where the system does not
    tell them. It does not tell an `rss` that is below that of the process which measures: a new
    process begins with its parent's. `error` is what it wrote to stderr.
    """

    wall: float
    cpu: float | None
    rss: int | None
    error: str


class ProcessError(Exception):
    """A process ended with another exit status than 0; `error` is what it wrote to stderr."""

    def __init__(self, argv: Sequence[str | Path], status: int, error: str) -> None:
        self.argv = [str(argument) for argument in argv]
        self.status = status
        self.error = error
        last = (error.rstrip().splitlines() or ["no output on stderr"])[-1]
        super().__init__(f"exit status {status}: {last}")


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: Path | None = None,
) -> Usage:
    """Run a command to its end, with no input; ProcessError, OSError.

    What it prints goes to the file `output`, or nowhere: no pipe is there to be waited for.
    """
    with (
        tempfile.TemporaryFile() as error,
        open(output or os.devnull, "wb") as out,
    ):
        begin = time.perf_counter()
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=error
        )
        status, cpu, rss = _wait(process)
        wall = time.perf_counter() - begin
        error.seek(0)
        text = error.read().decode("utf-8", "backslashreplace")
    if status:
        raise ProcessError(argv, status, text)
    return Usage(wall, cpu, rss, text)


def _wait(process: "subprocess.Popen[bytes]") -> tuple[int, float | None, int | None]:
    """The exit status, the seconds of CPU time, and the bytes of memory at most."""
    if not hasattr(os, "wait4"):
        return process.wait(), None, None
    # deferred: not on Windows, where there is no wait4 either
    import resource

    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rss = usage.ru_maxrss * unit if usage.ru_maxrss > inherited else None
    return process.returncode, usage.ru_utime + usage.ru_stime, rss
