"""Threads that begin at the same moment, and take turns as often as the interpreter allows."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def at_once(function: Callable[[Argument], Result], arguments: Iterable[Argument]) -> list[Result]:
    """What the function returns for each argument, in a thread for each; the first exception."""
    listed = list(arguments)
    barrier = threading.Barrier(len(listed))

    def call(argument: Argument) -> Result:
        barrier.wait()
        return function(argument)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(listed)) as pool:
            return list(pool.map(call, listed))
    finally:
        sys.setswitchinterval(before)


def dawdling_dup2(
    descriptor: int, number: int, inheritable: bool = True, dup2: Callable[..., int] = os.dup2
) -> int:
    """`dup2` that lets others run first, who may want the same number."""
    time.sleep(0.05)
    return dup2(descriptor, number, inheritable)
