"""The worker's side of `workers`: it compiles what it reads until there is nothing more to read.

What goes over the pipes is marshalled, after its length: a worker that imported `pickle` would take
half as long again to start.
"""

from __future__ import annotations

import gc
import marshal
import sys

# `signal` imports `enum`, at a tenth of the time that a worker takes to start
from _signal import SIG_IGN, SIGINT, signal  # type: ignore[import-not-found]
from typing import IO, Any

from .compiler import Compiler, Task

_LENGTH = 8


def main() -> None:
    """Read a compiler and then batches of tasks from standard input; write a list for each."""
    gc.disable()  # code refers to nothing that refers to it
    signal(SIGINT, SIG_IGN)  # the caller decides, and ends this process
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
    """The next message; EOFError where there is none, or not all of it."""
    length = pipe.read(_LENGTH)
    data = pipe.read(int.from_bytes(length, "little"))
    if len(length) < _LENGTH:
        raise EOFError
    return marshal.loads(data)
