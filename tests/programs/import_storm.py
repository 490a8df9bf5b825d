"""Threads that import everything at once, again and again: nothing is raised, nothing is left over.

    python -m programs.import_storm overlay --rounds 200

A round is 400 imports: 8 threads import 50 modules, each in an order of its own. The modules import
each other, compile patterns and read a data file, so that all that threads share is used. Prints
what came out as JSON on one line. It is meant for builds without a GIL, and passes on all.
"""

import argparse
import faulthandler
import gc
import importlib
import json
import random
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

from support.sources import write_tree

from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.runtime import hooks

THREADS = 8
MODULES = 50

BODY = """\
import importlib.resources
import re
{imports}
PATTERN = re.compile(r"word{number}[a-z]+(\\d)?", re.IGNORECASE)
TEXT = importlib.resources.files("data{parity}").joinpath("text.txt").read_text()
VALUE = {number}
"""


def make_sources(rng: random.Random) -> dict[str, str]:
    sources = {}
    for parity in (0, 1):
        sources[f"data{parity}/__init__.py"] = ""
        sources[f"data{parity}/text.txt"] = "text"
    for number in range(MODULES):
        others = rng.sample(range(number), min(number, 2))
        imports = "\n".join(f"import m{other}" for other in others)
        sources[f"m{number}.py"] = BODY.format(imports=imports, number=number, parity=number % 2)
    return sources


def import_all(rng: random.Random) -> Counter[str]:
    """What every thread gets for every module that is not what it should be."""
    wrong: Counter[str] = Counter()
    barrier = threading.Barrier(THREADS)

    def work(order: list[int]) -> None:
        barrier.wait()
        for number in order:
            try:
                module = importlib.import_module(f"m{number}")
                if (number, "text") != (module.VALUE, module.TEXT):
                    wrong["a wrong value"] += 1
            except Exception as error:  # noqa: BLE001  all of them are the outcome
                wrong[f"{type(error).__name__}: {error}"] += 1

    threads = [
        threading.Thread(target=work, args=[rng.sample(range(MODULES), MODULES)], daemon=True)
        for _ in range(THREADS)
    ]
    faulthandler.dump_traceback_later(60, exit=True)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faulthandler.cancel_dump_traceback_later()
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("overlay", "closed"))
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    sys.setswitchinterval(1e-6)
    wrong: Counter[str] = Counter()
    served = 0
    thresholds = gc.get_threshold()
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        source = write_tree(Path(folder, "src"), make_sources(rng))
        freeze(discover(Manifest(paths=(str(source),))), Path(folder, "app.frz"))
        sys.path.insert(0, str(source))
        for _ in range(options.rounds):
            finder = hooks.install(Path(folder, "app.frz"), mode=options.mode)
            wrong += import_all(rng)
            served += finder.served
            for name in [*(f"m{number}" for number in range(MODULES)), "data0", "data1"]:
                sys.modules.pop(name, None)
            if gc.get_threshold() != thresholds:
                wrong["the collector's threshold"] += 1
            if finder.bypassed:
                wrong[f"bypassed: {finder.bypassed}"] += 1
            hooks.uninstall(finder)
    depth = hooks.import_lock.depth
    print(json.dumps({"wrong": wrong, "served": served, "depth": depth}))


if __name__ == "__main__":
    main()
