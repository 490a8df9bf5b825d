"""How fast programs boot, beside every peer: `python benchmarks/speed.py [WORKLOAD ...]`.

Fresh processes of all sides take turns; what counts is the ratio to stock within a round. What a
side needs is built first; what PyInstaller builds, which takes long, is kept in `--work`. The
figures go to a JSON file for each version of Python, from which the page is made, and by
`speed_plots.py` its plots:

    docs/explanation/speed/cpython-313.json
    docs/explanation/speed/cpython-313.md
    docs/explanation/speed.md and README.md, the tables in them

With `--only` the other figures in the file stay as they are. The parts:

    warm          every side of every workload, `--pairs` rounds
    no-pyc        there are no `.pyc` files but those of the standard library
    cold          the page cache is emptied before each process (Linux, and only for root)
    slow          each call for a file's metadata takes a millisecond more (Linux)
    tricks        overlay without each of its tricks and checks
    unmarshal     what unmarshalling the code takes of the imports
    costs         installing, starting, and the import lock
    calls         how many system calls are made (with strace)
    instructions  how many are executed (with valgrind; only where asked for, it takes long)
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import install
import lock
import speed_page
import start
from measures import (
    DROP_CACHES,
    Boot,
    boot,
    build_slow_files,
    count_calls,
    count_instructions,
    describe_machine,
    find_commands,
    load,
    write,
)
from sides import RUNS, SIDES, WORKLOADS, Build, Command, Unavailable
from tricks import CHECKS, TRICKS

from frozenfinder.bench import ProcessError, take_turns

OURS = ("stock", "overlay", "closed", *RUNS)
"""The sides that are measured where it takes long."""

FEW = ("stdlib", "django", "sympy")
"""The workloads that are."""

PARTS = ("warm", "no-pyc", "cold", "slow", "tricks", "unmarshal", "costs", "calls", "instructions")
COUNTED = ("calls", "instructions")
"""The parts that are the same on a machine that has other work to do."""

COLD_ROUNDS, SLOW_ROUNDS, TRICK_ROUNDS, COST_ROUNDS, UNMARSHALLINGS = 8, 3, 12, 40, 5
NOTHING = Command([sys.executable, "-c", "pass"], {})

Figures = dict[str, Any]


def main() -> None:
    options = parse()
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {text}", flush=True)

    file = options.output / f"{sys.implementation.cache_tag}.json"
    figures = load(file)
    if "machine" not in figures or set(options.only) - set(COUNTED):
        figures |= {"machine": describe_machine(), "pairs": options.pairs}
    if "calls" in options.only:
        figures["nothing"] = try_to(lambda: count_calls(NOTHING))
    if "costs" in options.only:
        say("costs")
        figures["costs"] = measure_costs()
    for name in options.workloads or WORKLOADS:
        say(f"{name}: builds its sides")
        measured = measure(name, options, partial(say_of, say, name))
        figures["workloads"][name] = figures["workloads"].get(name, {}) | measured
        write(figures, file, (options.work, sys.prefix, sys.base_prefix))
    for path in (file, *speed_page.write(options.output)):
        say(f"wrote {path}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    root = Path(__file__).parent.parent
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--pairs", type=int, default=20)
    but_last = PARTS[:-1]
    parser.add_argument("--only", nargs="+", choices=PARTS, default=but_last, metavar="PART")
    work = root / "build" / f"speed-{sys.implementation.cache_tag}"
    parser.add_argument("--work", type=Path, default=work, help=f"(default: {work})")
    output = root / "docs" / "explanation" / "speed"
    parser.add_argument("--output", type=Path, default=output, help=f"(default: {output})")
    options = parser.parse_args()
    if unknown := set(options.workloads) - set(WORKLOADS):
        parser.error(f"unknown workloads: {', '.join(sorted(unknown))}")
    return options


def say_of(say: Callable[[str], None], name: str, what: str) -> None:
    say(f"{name}: {what}")


def measure(name: str, options: argparse.Namespace, say: Callable[[str], None]) -> Figures:
    """The parts that were asked for, of one workload."""
    builder = Build(WORKLOADS[name], options.work / name)
    commands, missing = find_commands(builder, SIDES, boot)
    ours = {side: commands[side] for side in OURS if side in commands}
    few = name in FEW
    parts: dict[str, Callable[[], Any]] = {
        "warm": lambda: take_rounds(commands, options.pairs, boot),
        "no-pyc": lambda: take_rounds_without_bytecode(builder, options.pairs),
        "unmarshal": lambda: measure_unmarshalling(builder),
        "calls": lambda: count_each(count_calls, commands),
    }
    if few:
        parts["calls"] = lambda: count_each(count_calls, commands | build_tricks(builder))
        parts["cold"] = lambda: take_cold_rounds(ours)
        parts["slow"] = lambda: take_slow_rounds(ours, options.work)
        parts["tricks"] = lambda: take_rounds(build_tricks(builder), TRICK_ROUNDS, boot)
        parts["instructions"] = lambda: count_each(
            count_instructions, commands | build_tricks(builder), os.cpu_count() or 1
        )
    found: Figures = {"imports": WORKLOADS[name].imports, "unavailable": missing}
    for part in PARTS:
        if part in options.only and part in parts:
            say(part)
            found[part] = try_to(parts[part])
    return found


def build_tricks(builder: Build) -> dict[str, Command]:
    """Overlay, and overlay without each of its tricks and checks. Each has run once."""
    commands = {"overlay": builder.make_overlay()}
    for trick in (*TRICKS, *CHECKS):
        commands[trick.name] = builder.make_without(trick)
        boot(commands[trick.name])
    return commands


def measure_unmarshalling(builder: Build) -> list[float]:
    """Seconds for the code of all bodies."""
    command = builder.make_unmarshal()
    return [boot(command).imports for _ in range(UNMARSHALLINGS)]


def count_each(
    count: Callable[[Command], Any], commands: Mapping[str, Command], at_once: int = 1
) -> Figures:
    """By side, but for those that cannot be counted; several at once changes no count."""

    def try_count(command: Command) -> Any:
        try:
            return count(command)
        except (Unavailable, ProcessError):
            return None

    with ThreadPoolExecutor(at_once) as pool:
        counts = zip(commands, pool.map(try_count, commands.values()), strict=True)
        return {side: counted for side, counted in counts if counted is not None}


def measure_costs() -> Figures:
    with tempfile.TemporaryDirectory(prefix="frozenfinder-") as folder:
        installing = install.measure(Path(folder), COST_ROUNDS)
        starting = start.measure(Path(folder), 2 * COST_ROUNDS)
    return {
        "install": installing,
        "start": dict(zip(("stock", "enabled"), starting, strict=True)),
        "lock": dict(zip(("without", "outermost", "nested"), lock.compare(20), strict=True)),
    }


def try_to(measure_it: Callable[[], Any]) -> Any:
    """What it gives, or why it cannot."""
    try:
        return measure_it()
    except (Unavailable, ProcessError) as reason:
        return {"unavailable": str(reason)}


def take_rounds(
    commands: Mapping[str, Command], rounds: int, boot_once: Callable[[Command], Boot]
) -> Figures:
    """By side, and by what was measured, the values of all rounds."""
    boots = take_turns({side: partial(boot_once, each) for side, each in commands.items()}, rounds)
    return {
        side: {field: [getattr(each, field) for each in values] for field in Boot._fields}
        for side, values in boots.items()
    }


def take_rounds_without_bytecode(builder: Build, rounds: int) -> Figures:
    """Where nothing writes them either, as in many images of containers."""
    without = {"PYTHONDONTWRITEBYTECODE": "1"}
    commands, _ = find_commands(builder.make_without_bytecode(), OURS, partial(boot, env=without))
    return take_rounds(commands, rounds, partial(boot, env=without))


def take_cold_rounds(commands: Mapping[str, Command]) -> Figures:
    if not os.access(DROP_CACHES, os.W_OK):
        return {"unavailable": "the page cache cannot be emptied here"}

    return take_rounds(commands, COLD_ROUNDS, partial(boot, cache="cold"))


def take_slow_rounds(commands: Mapping[str, Command], work: Path) -> Figures:
    slow = build_slow_files(work)
    return take_rounds(commands, SLOW_ROUNDS, lambda command: boot(command, slow))


if __name__ == "__main__":
    main()
