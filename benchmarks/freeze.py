"""How long freezing the standard library takes, beside compiling it: `python benchmarks/freeze.py`.

Three things are timed in turn, each in fresh processes and on its own copy of the standard
library's sources, without tests and without a `.pyc`:

    compileall    python -m compileall -q -f -j0
    first         python -m frozenfinder freeze, where there is no registry
    second        the same again, where nothing has changed

Then a tree of `--large` modules, which is the same sources several times, is frozen: for the first
time, with nothing changed, and with one module changed. `write` is the time that it takes to write
as many bytes to the same disk. `memory` is the sum of the peaks of the freezing process and its
children (Linux).

Targets: `first` takes no longer than `compileall`, `second` at most a fifth of `first`; of the
large tree, one changed module takes at most 2 s and the write, and nothing more than 600 MB. The
exit status is 1 where one is missed.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SKIPPED = {"site-packages", "dist-packages", "lib-dynload", "__pycache__"}
TESTS = {"test", "tests", "idle_test"}
INTERVAL = 0.02  # seconds between two looks at the memory
PATIENCE = 2.0  # seconds, for one changed module of the large tree
MEMORY = 600  # MB


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


def copy_often(target: Path, wanted: int) -> int:
    """Copy the standard library to packages side by side until there are enough modules."""
    count = number = 0
    while count < wanted:
        package = target / f"copy{number}"
        count += copy_stdlib(package) + 1
        (package / "__init__.py").touch()
        number += 1
    return count


def freeze_large(tree: Path, registry: Path, title: str) -> tuple[float, float]:
    """The seconds that it takes, and the megabytes of memory at most."""
    argv = ["-m", "frozenfinder", "freeze", "--quiet", "--path", tree, "-o", registry]
    before = sum(os.times()[2:4])
    begin = time.perf_counter()
    peaks: dict[str, int] = {}
    with subprocess.Popen([sys.executable, *argv]) as process:
        while process.poll() is None:
            peaks.update(find_peaks(str(process.pid)))
            time.sleep(INTERVAL)
    seconds = time.perf_counter() - begin
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv)
    cpu = sum(os.times()[2:4]) - before  # of children
    memory = sum(peaks.values()) / 1000
    print(
        f"{title:12}{seconds:7.3f} s   {cpu:.1f} s of CPU time, memory {memory:.0f} MB in "
        f"{len(peaks)} processes",
        flush=True,
    )
    return seconds, memory


def find_peaks(pid: str) -> dict[str, int]:
    """The peak memory of a process and of those that it started, in kilobytes; Linux."""
    folder = Path("/proc", pid)
    peaks: dict[str, int] = {}
    try:
        lines = folder.joinpath("status").read_text("utf-8").splitlines()
        peaks.update((pid, int(line.split()[1])) for line in lines if line.startswith("VmHWM:"))
        for children in folder.glob("task/*/children"):
            for child in children.read_text("utf-8").split():
                peaks.update(find_peaks(child))
    except OSError:
        pass  # it has ended meanwhile, or this is another system
    return peaks


def time_write(registry: Path) -> float:
    """The seconds that it takes to write as many bytes beside a registry."""
    content = registry.read_bytes()
    begin = time.perf_counter()
    with registry.with_suffix(".copy").open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - begin


def measure_large(folder: Path, wanted: int) -> bool:
    """Whether the targets of the large tree are met."""
    tree, registry = folder / "large", folder / "large.frz"
    count = copy_often(tree, wanted)
    cpus = os.cpu_count()
    print(f"{count} modules, {cpus} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
    _, first = freeze_large(tree, registry, "first")
    _, second = freeze_large(tree, registry, "unchanged")
    with (tree / "copy0" / "json" / "decoder.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    changed, third = freeze_large(tree, registry, "one changed")
    write = time_write(registry)
    memory = max(first, second, third)
    print(f"{'write':12}{write:7.3f} s   {registry.stat().st_size / 1e6:.0f} MB")
    print(f"one changed - write {changed - write:6.2f} s   target: at most {PATIENCE:.0f}")
    print(f"memory             {memory:7.0f} MB  target: at most {MEMORY}")
    return changed - write <= PATIENCE and memory <= MEMORY


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="of the first part; 0: without it")
    parser.add_argument("--large", type=int, default=6000, help="modules; 0: without that part")
    options = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory(prefix="frozenfinder-") as folder:
        if options.rounds:
            met = compare(measure_all(Path(folder), max(options.rounds, 2)))
        if options.large:
            met = measure_large(Path(folder), options.large) and met
    return int(not met)


def compare(times: dict[str, list[float]]) -> bool:
    """Whether the targets of the first part are met."""
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"{name:12}{middle:7.3f} s   half of the rounds between {low:.3f} and {high:.3f}")
    compileall, first, second = map(statistics.median, times.values())
    print(f"first / compileall {first / compileall:6.2f}   target: at most 1")
    print(f"second / first     {second / first:6.2f}   target: at most 0.20")
    return first <= compileall and second <= first / 5


if __name__ == "__main__":
    sys.exit(main())
