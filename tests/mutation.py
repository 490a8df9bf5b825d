"""Mutation testing with cosmic-ray: of a module that is changed a little, some test has to fail.

    python tests/mutation.py                          # every mutant of every module: hours
    python tests/mutation.py --sample 50 layout lock  # so many of each, at random

The tree is copied, because cosmic-ray changes the files that it tests. What no test noticed is
printed, with its line and the change. A mutant that makes no difference (a larger buffer, a sum of
bits that share none) cannot be noticed, and stays.

Not mutmut: it imports `os` in every module that it changes, which the run-time half does not bear.
"""

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = {
    "layout": ("test_layout", "test_format", "test_registry"),
    "registry": ("test_registry", "test_trust", "test_faults"),
    "lock": ("test_lock", "test_fork", "test_threads"),
    "fixups": ("test_fixups",),
    "trust": ("test_trust",),
}
"""The tests that hold each module."""

TIMEOUT = 300.0

CONFIG = """
[cosmic-ray]
module-path = "frozenfinder/{module}.py"
timeout = {timeout}
excluded-modules = []
test-command = "{command}"

[cosmic-ray.distributor]
name = "local"
"""


def run(folder: Path, *argv: str) -> str:
    program = [sys.executable, "-m", "cosmic_ray.cli", *argv]
    done = subprocess.run(program, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(program)}: {done.stdout}{done.stderr}")
    return done.stdout


def copy_tree(folder: Path) -> None:
    for name in ("frozenfinder", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "tox.ini"):
        shutil.copy(ROOT / name, folder / name)


def make_environment(folder: Path) -> Path:
    """The interpreter of an environment that has this one's packages, and the copied tree."""
    venv.create(folder / "env")
    layout = sysconfig.get_preferred_scheme("prefix")
    paths = sysconfig.get_paths(layout, vars={"base": str(folder / "env")})
    own = dict.fromkeys(path for path in sys.path if path.endswith("site-packages"))
    lines = [str(folder), *own]
    Path(paths["purelib"], "tree.pth").write_text("\n".join(lines) + "\n")
    return Path(paths["scripts"], Path(sys.executable).name)


def thin_out(session: Path, sample: int, seed: int) -> int:
    """Leave so many mutants to be tested; how many there are."""
    with sqlite3.connect(session) as connection:
        jobs = sorted(row[0] for row in connection.execute("SELECT job_id FROM work_items"))
        random.Random(seed).shuffle(jobs)
        dropped = [(job,) for job in jobs[sample:]] if sample else []
        connection.executemany("DELETE FROM mutation_specs WHERE job_id = ?", dropped)
        connection.executemany("DELETE FROM work_items WHERE job_id = ?", dropped)
    connection.close()
    return len(jobs)


def test_module(
    folder: Path, python: Path, module: str, sample: int, seed: int
) -> dict[str, object]:
    """Test the mutants of one module."""
    tests = " ".join(f"tests/{name}.py" for name in TESTS[module])
    command = f"{python} -m pytest -x -q -p no:cacheprovider -p no:xdist {tests}"
    config = folder / f"{module}.toml"
    config.write_text(CONFIG.format(module=module, timeout=TIMEOUT, command=command))
    session = folder / f"{module}.sqlite"
    run(folder, "init", config.name, session.name)
    total = thin_out(session, sample, seed)
    run(folder, "baseline", config.name)
    begin = time.perf_counter()
    run(folder, "exec", config.name, session.name)
    tested, survivors = 0, []
    for line in run(folder, "dump", session.name).splitlines():
        item, result = json.loads(line)
        if result is None:
            continue
        tested += 1
        if result["test_outcome"] == "survived":
            (mutation,) = item["mutations"]
            changed = [each for each in result["diff"].splitlines() if each[:1] in "+-"][2:]
            operator = mutation["operator_name"].removeprefix("core/")
            survivors.append([mutation["start_pos"][0], operator, *changed])
    return {
        "mutants": total,
        "tested": tested,
        "killed": tested - len(survivors),
        "seconds": round(time.perf_counter() - begin),
        "survivors": sorted(survivors),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=[*TESTS], choices=[*TESTS])
    parser.add_argument("--sample", type=int, default=0, help="mutants of each; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        copy_tree(Path(name))
        python = make_environment(Path(name))
        for module in options.modules:
            result = test_module(Path(name), python, module, options.sample, options.seed)
            print(json.dumps({module: result}, indent=1), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
