"""What an enabled registry adds to the start of an interpreter that imports nothing.

    python benchmarks/start.py [--starts N]

The registry of one module is enabled and disabled in turn in a new virtual environment. What counts
is the CPU time of the process, and the least of it: everything else on the machine only adds.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import frozenfinder

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def make_environment(root: Path) -> Path:
    """A virtual environment with a copy of the package; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    paths = sysconfig.get_paths(vars={"base": str(root), "platbase": str(root)})
    package = Path(frozenfinder.__file__).parent
    target = Path(paths["purelib"], package.name)
    shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__"))
    return Path(paths["scripts"], "python")


def start(python: Path) -> float:
    """Milliseconds of CPU time that one start takes."""
    process = os.posix_spawn(python, [str(python), "-c", "pass"], ENVIRON)
    _, status, usage = os.wait4(process, 0)
    assert status == 0
    return (usage.ru_utime + usage.ru_stime) * 1e3


def measure(root: Path, starts: int) -> tuple[float, float]:
    """The least of each, with nothing enabled and with a registry."""
    python = make_environment(root)
    own = [str(python), "-m", "frozenfinder"]
    registry = root / "one.frz"
    freeze = [*own, "freeze", "--package", "colorsys", "-o", registry, "--quiet"]
    subprocess.run(freeze, check=True, env=ENVIRON)
    samples: tuple[list[float], list[float]] = ([], [])
    for _ in range(4):
        for taken, command in zip(samples, (["disable"], ["enable", str(registry)]), strict=True):
            line = [*own, *command]
            subprocess.run(line, check=True, env=ENVIRON, stdout=subprocess.DEVNULL)
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
