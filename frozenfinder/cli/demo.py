"""`frozenfinder demo`: freeze the standard library, and measure how much faster it imports."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import frozenfinder
from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.runtime.system import environment

from . import DONE, FAILED, UsageError
from .parser import Parser
from .progress import Progress

SUMMARY = "freeze the standard library, boot a program from it, and measure the difference"
PAIRS = 15
REGISTRY = "stdlib.frz"
SHOWN = 5  # modules that were not served, at most

PROGRAM = """\
import sys, time
registry, home = sys.argv[1:]
if home not in sys.path:
    sys.path.append(home)
loaded = len(sys.modules)
begin = time.perf_counter()
if registry:
    import frozenfinder
    finder = frozenfinder.install(registry)
import argparse, asyncio, concurrent.futures, configparser, csv, dataclasses, decimal, difflib
import email.mime.multipart, fractions, html.parser, http.server, json, logging.config, pathlib
import pprint, queue, random, statistics, tarfile, tempfile, tomllib, typing, unittest.mock
import urllib.request, xml.dom.minidom, xmlrpc.client, zipfile, zoneinfo
seconds = time.perf_counter() - begin
print(seconds, len(sys.modules) - loaded, finder.served if registry else 0)
for name, reason in finder.bypassed.items() if registry else ():
    print(f"{name}: {reason}")
"""


class Boot(NamedTuple):
    """What one fresh process measured: the seconds of its imports (including frozenfinder's),
    how many modules they loaded, how many were served, and why others were not.
    """

    seconds: float
    loaded: int
    served: int
    bypassed: tuple[str, ...]


def make_parser() -> Parser:
    parser = Parser("demo", SUMMARY)
    parser.add_argument(
        "--pairs",
        metavar="N",
        type=int,
        default=PAIRS,
        help=f"how many pairs of processes to measure (default: {PAIRS})",
    )
    return parser


def main(options: argparse.Namespace) -> int:
    if options.pairs < 2:
        raise UsageError(f"--pairs is {options.pairs}, expected 2 or more")
    try:
        with tempfile.TemporaryDirectory(prefix="frozenfinder-") as folder:
            print(freeze_stdlib(Path(folder)), flush=True)
            before, after = measure_boots(Path(folder), options.pairs)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.splitlines() or ["no output on stderr"])[-1]
        sys.stderr.write(f"frozenfinder: the program failed, status {error.returncode}: {last}\n")
        return FAILED
    print(describe_served(after[0], before[0].loaded))
    print(describe_times(before, after))
    return DONE if after[0].served else FAILED


def freeze_stdlib(folder: Path) -> str:
    """Freeze the standard library to a registry in `folder`; return a summary in words."""
    with Progress("freezing the standard library") as progress:
        report = freeze(discover(Manifest(stdlib=True)), folder / REGISTRY, progress=progress)
    return (
        f"Froze the standard library in {report.seconds:.1f} s: "
        f"{report.modules} modules, {report.size / 1e6:.1f} MB."
    )


def measure_boots(folder: Path, pairs: int) -> tuple[list[Boot], list[Boot]]:
    """Boots without and with the registry in turn; which is first changes from pair to pair.

    The first boot of each kind is not counted: it writes `.pyc` files and fills the file cache.
    """
    boots: dict[bool, list[Boot]] = {False: [], True: []}
    run_program(folder, frozen=False)
    run_program(folder, frozen=True)
    with Progress("booting") as progress:
        for number in range(pairs):
            for done, frozen in enumerate((number % 2 == 0, number % 2 == 1), 1):
                boots[frozen].append(run_program(folder, frozen=frozen))
                progress(2 * number + done, 2 * pairs)
    return boots[False], boots[True]


def run_program(folder: Path, *, frozen: bool) -> Boot:
    """Import the program's modules in a fresh process; CalledProcessError if it fails.

    Its `.pyc` files are written even with PYTHONDONTWRITEBYTECODE: an installation has them.
    """
    registry = folder / REGISTRY if frozen else ""
    home = Path(frozenfinder.__file__).resolve().parent.parent
    level = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    done = subprocess.run(
        [sys.executable, "-P", *level, "-c", PROGRAM, registry, home],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        text=True,
    )
    figures, *bypassed = done.stdout.splitlines()
    seconds, loaded, served = figures.split()
    return Boot(float(seconds), int(loaded), int(served), tuple(bypassed))


def describe_served(boot: Boot, loaded: int) -> str:
    """How many of the modules that stock loads came from the registry, and why others did not."""
    if not boot.served:
        off = environment("FROZENFINDER") == "off"
        reason = "FROZENFINDER=off is set" if off else "every module was found on the normal path"
        lines = [f"Nothing was served: {reason}."]
    else:
        lines = [f"Booted a program: {boot.served} of the {loaded} modules it imports were served."]
    lines += [f"  not served: {line}" for line in boot.bypassed[:SHOWN]]
    if len(boot.bypassed) > SHOWN:
        lines.append(f"  and {len(boot.bypassed) - SHOWN} more")
    return "\n".join(lines)


def describe_times(before: Sequence[Boot], after: Sequence[Boot]) -> str:
    """The times, and whether their difference is significant."""
    stock, frozen = ([1000 * boot.seconds for boot in boots] for boots in (before, after))
    ratios = [new / old for old, new in zip(stock, frozen, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    faster = sum(ratio < 1 for ratio in ratios)
    lines = [
        "",
        f"{'import time':12}{'before':>12}{'after':>12}",
        *(
            f"{name:12}{measure(stock):>9.1f} ms{measure(frozen):>9.1f} ms"
            for name, measure in (("median", statistics.median), ("fastest", min))
        ),
        "",
        f"after/before: median {middle:.2f}, quartiles {low:.2f} and {high:.2f}",
        f"{len(ratios)} pairs of fresh processes in turn; after was faster in {faster} of them.",
        "'After' includes the import of frozenfinder and the opening of the registry.",
    ]
    if low < 1 < high:
        lines.append("No significant difference: the quartiles are on both sides of 1.")
    return "\n".join(lines)
