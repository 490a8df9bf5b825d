"""`Usage`: the time and memory of one fresh process."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """The usage of a process: seconds of wall time, seconds of CPU time, and peak bytes of memory.

    `cpu` and `rss` include the process' own children, and are None if the system does not measure
    them. An `rss` below that of the measuring process cannot be measured, because a new process
    starts with the memory of its parent. `error` is its output on stderr.
    """

    wall: float
    cpu: float | None
    rss: int | None
    error: str


class ProcessError(Exception):
    """A process ended with an exit status other than 0; `error` is its output on stderr."""

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
    """Run a command to its end, without input; ProcessError, OSError.

    Its standard output goes to the file `output`, or nowhere: no pipe can block it.
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
    """The exit status, the seconds of CPU time, and the peak bytes of memory."""
    if not hasattr(os, "wait4"):
        return process.wait(), None, None
    # deferred: missing on Windows, like wait4
    import resource

    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rss = usage.ru_maxrss * unit if usage.ru_maxrss > inherited else None
    return process.returncode, usage.ru_utime + usage.ru_stime, rss
