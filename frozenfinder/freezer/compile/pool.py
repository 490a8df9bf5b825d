"""Workers: processes that compile, one batch of modules after the other.

A worker is `python -c` with a program of its own and not a child of `multiprocessing`: it does not
import the caller's `__main__`, so that a script which freezes at its top level does not start over
in each worker, and the caller's threads do not matter as they do to `fork`. It reads batches from
its standard input and writes what became of them to its standard output (`worker`); each has a
thread here that talks to it.

A worker that dies, for want of memory or over a module that crashes the compiler, is replaced, and
is given its batch again a module at a time; what kills it twice is left out. Where no worker can be
started the caller compiles. It does not compile beside them: while it does, it cannot hand out
batches, and workers wait for it (`benchmarks/freeze.py`).
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
_LITTLE_WORK = 400_000  # bytes of source that are compiled before two workers would have started
_BATCHES = 16  # for each worker, so that all end at about the same time
_BUFFER_SIZE = 1 << 20  # a batch and its answer are a message each
_DEAD = (OSError, EOFError, ValueError)  # what talking to a process that ended raises


def compile_all(
    compiler: Compiler, tasks: Sequence[Task], sizes: Sequence[int], jobs: int
) -> Iterator[tuple[int, Compiled]]:
    """Each task's place and what became of it, as they are done; `sizes` are their files'."""
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


def _run(
    worker: _Worker,
    tasks: Sequence[Task],
    batches: SimpleQueue[list[int]],
    answers: SimpleQueue[list[tuple[int, Compiled]] | BaseException],
) -> None:
    """Have a worker do one batch after the other; what fails is raised in the caller's thread."""
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
    """One process, started when it is first needed and again after it died."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def compile(self, batch: list[Task]) -> list[Compiled]:
        """What became of each of the batch; EOFError after `stop`."""
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
        """Kill the process, which another thread may be waiting for; that gets an EOFError."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> int | None:
        """Wait for the process to end, without input; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.communicate()
        return process.returncode
