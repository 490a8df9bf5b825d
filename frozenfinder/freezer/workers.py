"""Workers: processes that compile, one batch of modules after the other.

A worker is `python -c` with a program of its own and not a child of `multiprocessing`: it does not
import the caller's `__main__`, so that a script which freezes at its top level does not start over
in each worker, and the caller's threads do not matter as they do to `fork`. It reads pickled
batches from its standard input and writes what became of them to its standard output (`worker`).

A worker that dies has met a module that crashes the compiler: the batch is given again, a module at
a time, so that only that module is left out. Where no worker can be started the caller compiles.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from threading import Lock

from .compile import Compiled, Compiler, Task

_PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
from frozenfinder.freezer.worker import main
main()
"""
_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_LITTLE_WORK = 400_000  # bytes of source that are compiled before two workers would have started
_BATCHES = 8  # for each worker, so that all end at about the same time

_DEAD = (OSError, EOFError, pickle.UnpicklingError)  # what talking to a process that ended raises

_warnings = Lock()  # `warnings.catch_warnings` is for one thread at a time


def compile_all(
    compiler: Compiler, tasks: Sequence[Task], sizes: Sequence[int], jobs: int
) -> Iterator[tuple[int, Compiled]]:
    """Each task's place and what became of it, as they are done; `sizes` are their files'."""
    jobs = min(jobs, len(tasks))
    if jobs < 2 or sum(sizes) < _LITTLE_WORK:
        yield from ((place, compiler.compile(task)) for place, task in enumerate(tasks))
        return
    batches = list(_divide(sizes, sum(sizes) // (jobs * _BATCHES)))
    workers = [_Worker(compiler) for _ in range(jobs)]
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def run(batch: list[int]) -> list[tuple[int, Compiled]]:
        worker = idle.get()
        try:
            done = worker.compile([tasks[place] for place in batch])
        finally:
            idle.put(worker)
        return list(zip(batch, done, strict=True))

    pool = ThreadPoolExecutor(jobs)
    done = False
    try:
        for future in as_completed([pool.submit(run, batch) for batch in batches]):
            yield from future.result()
        done = True
    finally:
        for worker in workers:
            worker.close(at_once=not done)
        pool.shutdown(cancel_futures=True)


def _divide(sizes: Sequence[int], target: int) -> Iterator[list[int]]:
    """Places in `sizes`, the largest first, in batches of about `target` bytes."""
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


class _Worker:
    """One process, started when it is first needed and again after it died."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def compile(self, batch: list[Task]) -> list[Compiled]:
        if self._process is None and not self._start():
            with _warnings:
                return [self._compiler.compile(task) for task in batch]
        try:
            return self._ask(batch)
        except _DEAD:
            status = self._end()
            if self._closed:
                raise
        if len(batch) > 1:
            return [compiled for task in batch for compiled in self.compile([task])]
        return [Compiled(None, reason=f"crashes the compiler, which ends with status {status}")]

    def _start(self) -> bool:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, _HOME],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            return self._ask((self._compiler, sys.pycache_prefix)) == []
        except _DEAD:
            self._end()
            return False

    def _ask(self, request: object) -> list[Compiled]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EOFError
        pickle.dump(request, process.stdin, pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
        answer: list[Compiled] = pickle.load(process.stdout)
        return answer

    def close(self, *, at_once: bool) -> None:
        """Let the process end, which has nothing left to do, or end it `at_once`."""
        self._closed = True
        if at_once and self._process is not None:
            self._process.kill()  # and its thread, which waits for its answer, finds it dead
        elif not at_once:
            self._end()

    def _end(self) -> int | None:
        """Wait for the process to end, without input; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.communicate()
        return process.returncode
