"""How long freezing the standard library takes, beside compiling it: `python benchmarks/freeze.py`.

Three things are timed in turn, each in fresh processes and on its own copy of the standard
library's sources, without tests and without a `.pyc`:

    compileall    python -m compileall -q -f -j0
    first         python -m frozenfinder freeze, where there is no registry
    second        the same again, where nothing has changed

Targets: `first` takes no longer than `compileall`, `second` at most a fifth of `first`. The exit
status is 1 where one is missed.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SKIPPED = {"site-packages", "dist-packages", "lib-dynload", "__pycache__"}
TESTS = {"test", "tests", "idle_test"}


def copy_stdlib(target: Path) -> int:
    """Copy the sources of the standard library; how many there are."""
    stdlib = Path(sys._stdlib_dir)  # type: ignore[attr-defined]
    copied = 0
    for source in stdlib.rglob("*.py"):
        relative = source.relative_to(stdlib)
        if SKIPPED.union(TESTS).isdisjoint(relative.parts) and source.is_file():
            destination = target / relative
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, destination)
            copied += 1
    return copied


def measure(*argv: str | Path) -> float:
    """The seconds that a Python process takes; CalledProcessError if it fails."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *argv], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def measure_all(folder: Path, rounds: int) -> dict[str, list[float]]:
    compiled, frozen, registry = folder / "compiled", folder / "frozen", folder / "stdlib.frz"
    count = copy_stdlib(compiled)
    copy_stdlib(frozen)
    print(f"Python {sys.version.split()[0]}, {count} modules, {rounds} rounds", flush=True)
    compiling = ("-m", "compileall", "-q", "-f", "-j0", compiled)
    freezing = ("-m", "frozenfinder", "freeze", "--quiet", "--path", frozen, "-o", registry)
    measure(*freezing)  # not counted: it warms the disk's cache
    times: dict[str, list[float]] = {"compileall": [], "first": [], "second": []}
    for number in range(rounds):
        steps = [("compileall", compiling), ("first", freezing)]
        for name, argv in steps if number % 2 else steps[::-1]:
            for cache in compiled.rglob("__pycache__"):
                shutil.rmtree(cache)
            registry.unlink(missing_ok=True)
            times[name].append(measure(*argv))
            if name == "first":
                times["second"].append(measure(*freezing))
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="frozenfinder-") as folder:
        times = measure_all(Path(folder), max(options.rounds, 2))
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"{name:12}{middle:7.3f} s   half of the rounds between {low:.3f} and {high:.3f}")
    compileall, first, second = map(statistics.median, times.values())
    print(f"first / compileall {first / compileall:6.2f}   target: at most 1")
    print(f"second / first     {second / first:6.2f}   target: at most 0.20")
    return int(first > compileall or second > first / 5)


if __name__ == "__main__":
    sys.exit(main())
