"""The worker's side of `workers`: it compiles what it reads until there is nothing more to read."""

from __future__ import annotations

import pickle
import signal
import sys

from .compile import Compiled, Compiler, Task


def main() -> None:
    """Read a compiler and then batches of tasks from standard input; write a list for each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides, and ends this process
    compiler: Compiler
    compiler, sys.pycache_prefix = pickle.load(sys.stdin.buffer)
    _answer([])
    try:
        while True:
            batch: list[Task] = pickle.load(sys.stdin.buffer)
            _answer([compiler.compile(task) for task in batch])
    except EOFError:
        pass


def _answer(done: list[Compiled]) -> None:
    pickle.dump(done, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.flush()
