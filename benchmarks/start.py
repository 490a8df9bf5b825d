"""What an enabled registry adds to the start of an interpreter that imports nothing.

    python benchmarks/start.py [--starts N]

The registry of one module is enabled and disabled in turn in a new virtual environment. What counts
is the CPU time of the process, and the least of it: everything else on the machine only adds.
"""

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from environments import ENVIRON, call, disable, enable, make_environment


def start(python: Path) -> float:
    """Milliseconds of CPU time that one start takes."""
    process = os.posix_spawn(python, [str(python), "-c", "pass"], ENVIRON)
    _, status, usage = os.wait4(process, 0)
    assert status == 0
    return (usage.ru_utime + usage.ru_stime) * 1e3


def measure(root: Path, starts: int) -> tuple[float, float]:
    """The least of each, with nothing enabled and with a registry."""
    python = make_environment(root)
    registry = root / "one.frz"
    freeze = [python, "-m", "frozenfinder", "freeze", "--package=colorsys", "-o", registry]
    call([*freeze, "--quiet"], ENVIRON)
    samples: tuple[list[float], list[float]] = ([], [])
    switches = (partial(disable, python), partial(enable, python, registry))
    for _ in range(4):
        for taken, switch in zip(samples, switches, strict=True):
            switch()
            start(python)  # compiles what is new
            taken += [start(python) for _ in range(starts // 4)]
    return min(samples[0]), min(samples[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=80)
    with tempfile.TemporaryDirectory() as root:
        stock, enabled = measure(Path(root), parser.parse_args().starts)
    print(f"{sys.version.split()[0]}: stock {stock:.1f} ms, enabled {enabled:.1f} ms of CPU time")


if __name__ == "__main__":
    main()
