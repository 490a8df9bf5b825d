"""`frozenfinder bench`: run the user's program with and without a registry, in turns."""

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frozenfinder.bench import (
    Comparison,
    ProcessError,
    TimedImport,
    Usage,
    compare,
    make_page,
    read_imports,
    run,
    take_turns,
)
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import environment

from . import DONE, FAILED, UsageError
from .commands import print_json
from .parser import MODES, Parser
from .progress import Progress

SUMMARY = "measure a program with and without a registry"
PAIRS = 20
TRACES = 3
VALUED = ("-X", "-W", "--check-hash-based-pycs")
"""Options of the interpreter that take a value."""

COUNT = """\
import atexit, json, os, sys
from frozenfinder import installed
from frozenfinder.cli import run
answer, process = sys.argv.pop(1), os.getpid()
def tell():
    if os.getpid() == process:
        with open(answer, "w") as file:
            json.dump(sum(finder.served for finder in installed()), file)
atexit.register(tell)
sys.exit(run.main(sys.argv[1:]))
"""
"""Runs a program as `frozenfinder run` does, and writes how many modules were served to a file."""


class Program(NamedTuple):
    """The program to measure: the interpreter's options, and the words that follow them."""

    options: list[str]
    words: list[str]


def make_parser() -> Parser:
    parser = Parser("bench", SUMMARY)
    parser.usage = "frozenfinder bench FILE [OPTION ...] -- COMMAND ..."
    parser.add_argument("registry", metavar="FILE", help="the registry")
    parser.add_argument(
        "command",
        metavar="COMMAND",
        nargs="+",
        help="python and its arguments, or a Python script and its arguments",
    )
    parser.add_argument("--mode", choices=MODES, default="overlay", help="(default: overlay)")
    parser.add_argument(
        "--pairs",
        metavar="N",
        type=int,
        default=PAIRS,
        help=f"how many pairs of runs to measure (default: {PAIRS})",
    )
    parser.add_argument("--html", metavar="PAGE", help="write a page with an import waterfall")
    parser.add_json()
    return parser


def main(options: argparse.Namespace) -> int:
    if options.pairs < 2:
        raise UsageError(f"--pairs is {options.pairs}, expected 2 or more")
    if environment("FROZENFINDER") == "off":
        raise UsageError("FROZENFINDER=off is set, so there is nothing to compare; unset it")
    program = parse_command(options.command)
    check_registry(options.registry)
    stock = [sys.executable, *program.options, *program.words]
    ours = with_registry(program, options.registry, options.mode)
    side = "without a registry"
    try:
        run(stock)  # writes the .pyc files, and fills the system's file cache
        side = "with the registry"
        served = count_served(program, options.registry, options.mode)
        side = "in a later run, although its first runs succeeded"
        boots = measure(stock, ours, options.pairs)
        traces = [trace_imports(command) for command in (stock, ours)]
    except ProcessError as failure:
        sys.stderr.write(f"frozenfinder: the command failed {side}, {failure}\n")
        return FAILED
    answer = Measurement(shlex.join(options.command), options.mode, served, boots, traces)
    if options.html:
        page = make_page(
            answer.command, answer.rows(), dict(zip(answer.boots, traces, strict=True))
        )
        Path(options.html).write_text(page, encoding="utf-8")
    if options.json:
        print_json(answer.as_json())
    else:
        print(answer.as_text())
    return DONE


def check_registry(path: str) -> None:
    """RegistryError unless it is a registry for this interpreter."""
    registry = Registry.open(path)
    if registry.mismatch is not None:
        raise registry.version_error()
    registry.close()


def parse_command(command: Sequence[str]) -> Program:
    """Split a command line into the interpreter's options and the program.

    UsageError unless the command runs a Python program.
    """
    first, *rest = command
    if not is_python(first):
        return Program([], [locate_script(first), *rest])
    options: list[str] = []
    while rest and rest[0].startswith("-") and rest[0] != "-" and rest[0][:2] not in ("-c", "-m"):
        options.append(rest.pop(0))
        if options[-1] in VALUED and rest:
            options.append(rest.pop(0))
    if not rest or rest[0] == "-":
        raise UsageError(
            f"the command {first!r} runs no program, expected a script, -m or -c after it"
        )
    return Program(options, rest)


def is_python(word: str) -> bool:
    """Whether it names this interpreter; UsageError if it is the path of another one."""
    if not Path(word).name.startswith("python"):
        return False
    if os.path.dirname(word) and os.path.abspath(word) != sys.executable:
        raise UsageError(
            f"the command runs {word!r}, expected this interpreter, {sys.executable!r}"
        )
    return True


def locate_script(word: str) -> str:
    """The path of a Python program, also searched on PATH; UsageError if there is none."""
    path = word if os.path.exists(word) else shutil.which(word)
    if path is None:
        raise UsageError(
            f"the command {word!r} was not found, expected python, a script or a command on PATH"
        )
    if os.path.isfile(path) and not path.endswith((".py", ".pyc", ".pyz", ".zip")):
        with open(path, "rb") as file:
            head = file.read(1000)
        if not head.startswith(b"#!") or b"python" not in head:
            raise UsageError(
                f"the command {path!r} is not a Python program, expected python or a Python script"
            )
    return path


def with_registry(program: Program, registry: str, mode: str) -> list[str]:
    """The program's command line with a registry installed."""
    own = ["-m", "frozenfinder", "run", registry, f"--mode={mode}"]
    return [sys.executable, *program.options, *own, *program.words]


def count_served(program: Program, registry: str, mode: str) -> int | None:
    """Run it once; how many modules were served, or None if it ends without calling `atexit`."""
    with tempfile.TemporaryDirectory(prefix="frozenfinder-") as folder:
        answer = Path(folder, "served")
        arguments = [str(answer), registry, f"--mode={mode}", *program.words]
        run([sys.executable, *program.options, "-c", COUNT, *arguments])
        return int(answer.read_text("utf-8")) if answer.exists() else None


def measure(stock: list[str], ours: list[str], pairs: int) -> dict[str, list[Usage]]:
    with Progress("measuring") as progress:
        sides = {"before": lambda: run(stock), "after": lambda: run(ours)}
        return take_turns(sides, pairs, progress)


def trace_imports(command: list[str]) -> list[TimedImport]:
    """The imports of the fastest of `TRACES` boots."""
    argv = [command[0], "-X", "importtime", *command[1:]]
    traces = [read_imports(run(argv).error) for _ in range(TRACES)]
    return min(traces, key=total)


def total(imports: Sequence[TimedImport]) -> int:
    """The microseconds spent in imports."""
    return sum(each.own for each in imports)


class Measurement(NamedTuple):
    """The measurements of a command, and their formats."""

    command: str
    mode: str
    served: int | None
    boots: dict[str, list[Usage]]
    traces: list[list[TimedImport]]

    def comparisons(self) -> dict[str, Comparison]:
        """A comparison for each quantity that this system measures, by name."""
        before, after = self.boots.values()
        found = {}
        for name in ("wall", "cpu", "rss"):
            stock, ours = ([getattr(boot, name) for boot in side] for side in (before, after))
            if all([*stock, *ours]):
                found[name] = compare(stock, ours)
        return found

    def rows(self) -> list[tuple[str, ...]]:
        """A table; the first row has the titles."""
        units = {"wall": ("wall time", 1e3, "ms"), "cpu": ("CPU time", 1e3, "ms")}
        units["rss"] = ("memory", 1e-6, "MB")
        rows: list[tuple[str, ...]] = [("", "before", "after", "after/before", "quartiles")]
        for name, each in self.comparisons().items():
            label, factor, unit = units[name]
            figures = (f"{value * factor:.1f} {unit}" for value in (each.stock, each.ours))
            spread = f"{each.low:.2f} to {each.high:.2f}"
            rows.append((label, *figures, f"{each.ratio:.2f}", spread))
        stock, ours = map(total, self.traces)
        ratio = f"{ours / stock:.2f}" if stock else ""
        rows.append(("imports", f"{stock / 1e3:.1f} ms", f"{ours / 1e3:.1f} ms", ratio, ""))
        return rows

    def as_text(self) -> str:
        lines = [
            f"{label:10}{before:>12}{after:>12}{ratio:>15}   {spread}".rstrip()
            for label, before, after, ratio, spread in self.rows()
        ]
        pairs = len(self.boots["before"])
        served = "An unknown number of" if self.served is None else str(self.served)
        lines += [
            "",
            f"{pairs} pairs of fresh processes in turn, in {self.mode} mode; each ratio is the",
            f"median over the pairs. {served} modules were served. 'after' includes frozenfinder.",
            f"'imports' is the sum of -X importtime, in the fastest of {TRACES} more boots.",
        ]
        if not self.comparisons()["wall"].is_clear:
            lines.append(
                "Wall time: no significant difference (the quartiles are on both sides of 1)."
            )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        before, after = self.boots.values()
        measures = {
            name: {
                "before": each.stock,
                "after": each.ours,
                "ratio": each.ratio,
                "quartiles": [each.low, each.high],
                "pairs": [
                    [getattr(old, name), getattr(new, name)]
                    for old, new in zip(before, after, strict=True)
                ],
            }
            for name, each in self.comparisons().items()
        }
        stock, ours = map(total, self.traces)
        return {
            "command": self.command,
            "mode": self.mode,
            "served": self.served,
            **measures,
            "imports": {"before": stock / 1e6, "after": ours / 1e6},
        }
