"""One registry, frozen again under circumstances that must not matter: the bytes are the same.

As a program it freezes in so many fresh processes and prints what came out, as JSON:

    python -m programs.reproducibility --rounds 100

Each round has a hash seed, a number of jobs, a place, an order of names that are asked for and one
of what directories list, flags, and a clock of its own; half find `.pyc` files.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import frozenfinder

PACKAGES = ("json", "email", "logging", "wsgiref", "html", "xml")
TIME = 1_600_000_000

FREEZE = """
import json, os, random, sys
options = json.loads(sys.argv[1])
sys.path.insert(0, options["home"])
rng = random.Random(options["seed"])
scandir, listdir = os.scandir, os.listdir

class Shuffled:
    def __init__(self, path="."):
        with scandir(path) as entries:
            self._entries = list(entries)
        rng.shuffle(self._entries)
    def __iter__(self):
        return iter(self._entries)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def close(self):
        pass

def shuffled(path="."):
    names = listdir(path)
    rng.shuffle(names)
    return names

os.scandir, os.listdir = Shuffled, shuffled
from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.freezer.compile import pool as workers
workers._LITTLE_WORK = 0
manifest = Manifest(
    paths=tuple(options["paths"]),
    excludes=tuple(options["excludes"]),
    optimize=0,
    with_source=options["with_source"],
)
freeze(discover(manifest, []), options["output"], jobs=options["jobs"])
"""


def make_tree(folder: Path) -> None:
    """Two roots with packages of the standard library, data files and odd names."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    for number, package in enumerate(PACKAGES):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(stdlib / package, folder / f"root{number % 2}" / package, ignore=ignored)
    sets = "A = {'x', 'y', 'z'} | {1.5, 2.5}\ndef f(a, *, b=frozenset({'p', 'q'})):\n"
    sets += "    return a in {'one', 'two', 'three', b'four', None, ...}\n"
    folder.joinpath("root0", "sets.py").write_text(sets)
    folder.joinpath("root0", "é.py").write_text("NAME = __name__\n", "utf-8")
    for path in folder.rglob("*"):
        os.utime(path, (TIME, TIME))


def freeze_once(tree: Path, number: int, *, with_source: bool = True) -> bytes:
    """The registry of that round."""
    rng = random.Random(number)
    with tempfile.TemporaryDirectory(prefix="x" * rng.randrange(20)) as name:
        place = Path(name).joinpath(*["deeper"] * rng.randrange(3))
        shutil.copytree(tree, place / "lib")
        flags = rng.choice(([], ["-O"], ["-OO"], ["-X", "utf8=1"], ["-B"], ["-S"]))
        if rng.random() < 0.5:
            compiling = ["-m", "compileall", "-q", str(place / "lib")]
            subprocess.run([sys.executable, *compiling], check=True)
        paths = [str(place / "lib" / root) for root in ("root0", "root1")]
        excludes = ["email.mime", "xml.sax", "wsgiref.*"]
        rng.shuffle(excludes)
        options: dict[str, Any] = {
            "home": str(Path(frozenfinder.__file__).parents[1]),
            "seed": number,
            "paths": paths,
            "excludes": excludes,
            "with_source": with_source,
            "output": str(place / "app.frz"),
            "jobs": rng.randrange(1, 4),
        }
        env = {**os.environ, "PYTHONHASHSEED": str(number), "TZ": rng.choice(("UTC", "JST-9"))}
        # later than any file; without it, the states of the folders are recorded
        env["SOURCE_DATE_EPOCH"] = str(rng.randrange(2**32, 2**33))
        subprocess.run(
            [sys.executable, *flags, "-c", FREEZE, json.dumps(options)], check=True, env=env
        )
        return Path(options["output"]).read_bytes()


def freeze_all(rounds: int, first: int = 1) -> "Counter[str]":
    """How often each content came out, by its SHA-256."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        make_tree(tree)
        return Counter(
            hashlib.sha256(freeze_once(tree, number)).hexdigest()
            for number in range(first, first + rounds)
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    found = freeze_all(parser.parse_args().rounds)
    print(json.dumps({"python": sys.version.split()[0], "contents": found}))
    return 0 if len(found) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
