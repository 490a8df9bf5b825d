"""What importing costs with and without a registry: `python benchmarks/imports.py [WORKLOAD ...]`.

The standard library and every distribution that a workload needs are frozen into one registry with
this interpreter. Each measurement is a fresh process that imports the workload's modules; stock,
overlay and closed mode take turns, and what is printed are medians of the ratios within a round,
with the quartiles. `overlay` and `closed` include importing frozenfinder and opening the registry.

    warm    every file is in the page cache
    cold    the page cache is emptied before each process (Linux, and only for root)
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

DROP_CACHES = Path("/proc/sys/vm/drop_caches")

WORKLOADS = {
    "stdlib": "import asyncio, email.mime.multipart, http.client, json, logging.config",
    "django": "import django.db.models",
    "flask": "import flask",
    "sqlalchemy": "import sqlalchemy.orm",
    "rich": "import rich.console, rich.table, rich.progress",
    "pandas": "import pandas",
}

DISTRIBUTIONS = {
    "django": "Django",
    "flask": "Flask",
    "sqlalchemy": "SQLAlchemy",
    "rich": "rich",
    "pandas": "pandas",
}

PROGRAM = """\
import sys, time
registry, mode, imports = sys.argv[1:]
begin = time.perf_counter()
if mode != "stock":
    import frozenfinder
    finder = frozenfinder.install(registry, mode=mode)
exec(imports)
print(time.perf_counter() - begin, 1 if mode == "stock" else finder.served)
"""


def boot(registry: Path, mode: str, workload: str, cold: bool) -> tuple[float, int]:
    """The seconds that the imports took in a fresh process, and how many modules were served."""
    if cold:
        os.sync()
        DROP_CACHES.write_text("3")
    argv = [sys.executable, "-c", PROGRAM, registry, mode, WORKLOADS[workload]]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    seconds, served = done.stdout.split()
    return float(seconds), int(served)


def measure(registry: Path, workload: str, rounds: int, cold: bool) -> dict[str, list[float]]:
    modes = ["stock", "overlay", "closed"]
    times: dict[str, list[float]] = {mode: [] for mode in modes}
    for number in range(rounds + 1):
        for mode in modes[number % 3 :] + modes[: number % 3]:
            try:
                seconds, served = boot(registry, mode, workload, cold)
            except subprocess.CalledProcessError as error:
                if mode != "closed":
                    raise
                print(f"{workload}: closed mode fails: {error.stderr.splitlines()[-1]}")
                modes.remove(mode)
                del times[mode]
                break
            assert served
            if number:
                times[mode].append(seconds)
    return times


def show(name: str, times: dict[str, list[float]]) -> None:
    stock = times["stock"]
    print(f"{name:20} stock {statistics.median(stock) * 1e3:8.1f} ms", end="")
    for mode, values in times.items():
        if mode != "stock" and len(values) == len(stock):
            ratios = [value / was for value, was in zip(values, stock, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"   {mode} {middle:.2f} ({low:.2f} to {high:.2f})", end="")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workloads", nargs="*", help=", ".join(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    present = [name for name in WORKLOADS if name == "stdlib" or find_spec(name)]
    chosen = options.workloads or present
    asked = [f"--distribution={DISTRIBUTIONS[name]}" for name in chosen if name in DISTRIBUTIONS]
    print(f"Python {sys.version.split()[0]}, {options.rounds} rounds", flush=True)
    with tempfile.TemporaryDirectory(prefix="frozenfinder-") as folder:
        registry = Path(folder) / "all.frz"
        command = [sys.executable, "-m", "frozenfinder", "freeze", "--quiet", "-o", registry]
        command += ["--stdlib", "--with-dependencies", "--extensions=embed", *asked]
        subprocess.run(command, check=True)
        for cold in (False, True):
            if cold and not os.access(DROP_CACHES, os.W_OK):
                print("cold: the page cache cannot be emptied here")
                break
            for workload in chosen:
                times = measure(registry, workload, options.rounds, cold)
                show(f"{workload} {'cold' if cold else 'warm'}", times)


if __name__ == "__main__":
    main()
