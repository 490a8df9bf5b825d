"""The worker's side of `pool`: it compiles batches until its input ends.

Messages over the pipes are marshalled, after their length: with an import of `pickle`, a worker
would take half as long again to start.
"""

from __future__ import annotations

import gc
import marshal
import sys

# `signal` imports `enum`, which takes a tenth of the time that a worker takes to start
from _signal import SIG_IGN, SIGINT, signal  # type: ignore[import-not-found]
from typing import IO, Any

from .compiler import Compiler, Task

_LENGTH = 8


def main() -> None:
    """Read a compiler and then batches of tasks from standard input; write a list for each."""
    gc.disable()  # code objects are in no reference cycles
    signal(SIGINT, SIG_IGN)  # the caller handles it, and ends this process
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    fields, sys.pycache_prefix = receive(requests)
    compiler = Compiler(*fields)
    send([], answers)
    try:
        while True:
            batch = [Task(*fields) for fields in receive(requests)]
            send([tuple(compiler.compile(task)) for task in batch], answers)
    except EOFError:
        pass


def send(message: Any, pipe: IO[bytes]) -> None:
    data = marshal.dumps(message)
    pipe.write(len(data).to_bytes(_LENGTH, "little"))
    pipe.write(data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """The next message; EOFError if there is none, or it is incomplete."""
    length = pipe.read(_LENGTH)
    data = pipe.read(int.from_bytes(length, "little"))
    if len(length) < _LENGTH:
        raise EOFError
    return marshal.loads(data)
