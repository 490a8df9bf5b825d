"""Workers: processes that compile, one batch of modules after the other.

A worker is `python -c` with its own program and not a child of `multiprocessing`: it does not
import the caller's `__main__`, so a script that freezes at its top level does not start again in
each worker, and threads of the caller are no problem, as they are for `fork`. It reads batches from
its standard input and writes the results to its standard output (`worker`). A thread of the caller
talks to each worker.

A worker that dies, because memory runs out or a module crashes the compiler, is replaced, and gets
its batch again one module at a time; a module that kills it twice is left out. If no worker can be
started, the caller compiles. Otherwise the caller does not compile: it could not distribute batches
meanwhile, and workers would wait for it (`benchmarks/freeze.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import frozenfinder

from .compiler import Compiled, Compiler, Task
from .worker import receive, send

_PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
from frozenfinder.freezer.compile.worker import main
main()
"""
_HOME = os.path.dirname(os.path.dirname(os.path.abspath(frozenfinder.__file__)))
_LITTLE_WORK = 400_000  # bytes of source that one process compiles before two workers have started
_BATCHES = 16  # for each worker, so that all end at about the same time
_BUFFER_SIZE = 1 << 20  # bytes; a batch and its answer are one message each
_DEAD = (OSError, EOFError, ValueError)  # raised when a worker has ended


def compile_all(
    compiler: Compiler, tasks: Sequence[Task], sizes: Sequence[int], jobs: int
) -> Iterator[tuple[int, Compiled]]:
    """The position and the result of each task, in the order of completion.

    `sizes` are the sizes of their files in bytes.
    """
    jobs = min(jobs, len(tasks))
    if jobs < 2 or sum(sizes) < _LITTLE_WORK:
        yield from ((place, compiler.compile(task)) for place, task in enumerate(tasks))
        return
    batches: SimpleQueue[list[int]] = SimpleQueue()
    answers: SimpleQueue[list[tuple[int, Compiled]] | BaseException] = SimpleQueue()
    for batch in _divide(sizes, sum(sizes) // (jobs * _BATCHES)):
        batches.put(batch)
    workers = [_Worker(compiler) for _ in range(jobs)]
    threads = [Thread(target=_run, args=(w, tasks, batches, answers)) for w in workers]
    missing = batches.qsize()
    try:
        for thread in threads:
            thread.start()
        for _ in range(missing):
            answer = answers.get()
            if isinstance(answer, BaseException):
                raise answer
            missing -= 1
            yield from answer
    finally:
        if missing:
            for worker in workers:
                worker.stop()
        for thread in threads:
            thread.join()
        for worker in workers:
            worker.end()


def _divide(sizes: Sequence[int], target: int) -> Iterator[list[int]]:
    """Positions in `sizes`, the largest first, in batches of about `target` bytes."""
    batch: list[int] = []
    total = 0
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        batch.append(place)
        total += sizes[place]
        if total >= target:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _run(
    worker: _Worker,
    tasks: Sequence[Task],
    batches: SimpleQueue[list[int]],
    answers: SimpleQueue[list[tuple[int, Compiled]] | BaseException],
) -> None:
    """Give a worker one batch after the other; errors are raised in the caller's thread."""
    try:
        while True:
            batch = batches.get_nowait()
            done = worker.compile([tasks[place] for place in batch])
            answers.put(list(zip(batch, done, strict=True)))
    except Empty:
        pass
    except BaseException as error:  # noqa: BLE001
        answers.put(error)


class _Worker:
    """One process, started when it is first needed, and again after it died."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def compile(self, batch: list[Task]) -> list[Compiled]:
        """The result of each task of a batch; EOFError after `stop`."""
        if self._stopped:
            raise EOFError
        if self._process is None and not self._start():
            return [self._compiler.compile(task) for task in batch]
        try:
            return [Compiled(*fields) for fields in self._ask([tuple(task) for task in batch])]
        except _DEAD:
            status = self.end()
            if self._stopped:
                raise
        if len(batch) > 1:
            return [compiled for task in batch for compiled in self.compile([task])]
        return [Compiled(None, reason=f"crashes the compiler, which ends with status {status}")]

    def _start(self) -> bool:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, _HOME],
                bufsize=_BUFFER_SIZE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            return self._ask((tuple(self._compiler), sys.pycache_prefix)) == []
        except _DEAD:
            self.end()
            return False

    def _ask(self, request: Any) -> list[Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EOFError
        send(request, process.stdin)
        answer: list[Any] = receive(process.stdout)
        return answer

    def stop(self) -> None:
        """Kill the process; another thread that waits for it gets an EOFError."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> int | None:
        """Close the input of the process and wait for its end; return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.communicate()
        return process.returncode
