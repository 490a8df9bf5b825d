"""What the import lock costs an import, against the same import without it, in one run.

    python benchmarks/lock.py [--rounds N]

The body is empty, so the difference is the lock. Rounds of each alternate, and the fastest of each
counts: everything else on the machine only adds to a round.
"""

import argparse
import sys
from collections.abc import Callable
from time import perf_counter

from frozenfinder.runtime.lock import ImportLock

CALLS = 20_000
LIMIT_NS = 1_000


def run_without(body: Callable[[], object], _lock: ImportLock) -> None:
    try:
        try:
            body()
        finally:
            pass
    finally:
        pass


def run_under(body: Callable[[], object], lock: ImportLock) -> None:
    mark = lock.mark()
    try:
        try:
            lock.acquire()
            body()
        finally:
            lock.rewind(mark)
    finally:
        lock.rewind(mark)


def measure(run: Callable[[Callable[[], object], ImportLock], None], lock: ImportLock) -> float:
    """Nanoseconds for one call."""
    body, calls = dict, range(CALLS)
    start = perf_counter()
    for _ in calls:
        run(body, lock)
    return (perf_counter() - start) / CALLS * 1e9


def compare(rounds: int) -> tuple[float, float, float]:
    """Nanoseconds for one call without the lock, under it, and where the thread holds it."""
    free, taken = ImportLock(), ImportLock()
    taken.acquire()
    samples = [
        (measure(run_without, free), measure(run_under, free), measure(run_under, taken))
        for _ in range(rounds)
    ]
    without, outermost, nested = map(min, zip(*samples, strict=True))
    return without, outermost, nested


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    without, outermost, nested = compare(parser.parse_args().rounds)
    print(f"CPython {sys.version.split()[0]}: an empty body takes {without:.0f} ns without a lock,")
    print(f"  {outermost - without:.0f} ns more under the import lock,")
    print(f"  {nested - without:.0f} ns more where the thread holds it already")
    return int(max(outermost, nested) - without > LIMIT_NS)


if __name__ == "__main__":
    raise SystemExit(main())
