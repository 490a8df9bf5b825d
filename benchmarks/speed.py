"""How fast programs boot, beside every peer: `python benchmarks/speed.py [WORKLOAD ...]`.

Fresh processes of all sides take turns; what counts is the ratio to stock within a round. What a
side needs is built first; what PyInstaller builds, which takes long, is kept in `--work`. The
figures go to a JSON file for each version of Python, from which the page and its plots are made:

    docs/explanation/speed/cpython-313.json
    docs/explanation/speed.md

    warm          every side of every workload, `--pairs` rounds
    cold          the page cache is emptied before each process (Linux, and only for root)
    slow          each call for a file's metadata takes a millisecond more (Linux)
    calls         how many system calls are made (with strace)
    instructions  how many are executed (with valgrind; `--instructions`, because it takes long)
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import speed_page
from measures import (
    DROP_CACHES,
    Boot,
    boot,
    build_slow_files,
    count_calls,
    count_instructions,
    describe_machine,
    empty_page_cache,
)
from sides import SIDES, WORKLOADS, Build, Command, Unavailable

from frozenfinder.bench import ProcessError, take_turns

OURS = ("stock", "overlay", "closed", "run")
"""The sides that are measured where it takes long."""

COLD = ("stdlib", "django", "sympy")
"""The workloads that are."""

COLD_ROUNDS, SLOW_ROUNDS = 10, 3
NOTHING = Command([sys.executable, "-c", "pass"], {})

Figures = dict[str, Any]


def main() -> None:
    options = parse()
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {text}", flush=True)

    figures: Figures = {
        "machine": describe_machine(),
        "pairs": options.pairs,
        "nothing": try_to(lambda: count_calls(NOTHING)),
        "workloads": {},
    }
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / f"{sys.implementation.cache_tag}.json"
    for name in options.workloads or WORKLOADS:
        say(f"{name}: builds its sides")
        commands, missing = build(name, options.work)
        measured: Figures = {"imports": WORKLOADS[name].imports, "unavailable": missing}
        measured |= measure(name, commands, options, partial(say_of, say, name))
        figures["workloads"][name] = measured
        file.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    say(f"wrote {file}")
    for written in speed_page.write(options.output):
        say(f"wrote {written}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    root = Path(__file__).parent.parent
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--instructions", action="store_true", help="count them; takes minutes")
    parser.add_argument("--only-warm", action="store_true", help="nothing but times and memory")
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


def build(name: str, work: Path) -> tuple[dict[str, Command], dict[str, str]]:
    """The sides that can take part, and of the others why not. Each has run once."""
    commands: dict[str, Command] = {}
    missing: dict[str, str] = {}
    builder = Build(WORKLOADS[name], work / name)
    for side in SIDES:
        try:
            command = builder.find_command(side)
            boot(command)
        except Unavailable as reason:
            missing[side] = str(reason)
        except ProcessError as error:
            missing[side] = f"fails: {error}"
        else:
            commands[side] = command
    return commands, missing


def measure(
    name: str,
    commands: Mapping[str, Command],
    options: argparse.Namespace,
    say: Callable[[str], None],
) -> Figures:
    ours = {side: commands[side] for side in OURS if side in commands}
    say(f"warm, {len(commands)} sides")
    found: Figures = {"warm": take_rounds(commands, options.pairs, boot)}
    if options.only_warm:
        return found
    say("system calls")
    found["calls"] = try_to(lambda: {side: count_calls(each) for side, each in commands.items()})
    if name in COLD:
        say("cold")
        found["cold"] = take_cold_rounds(ours)
        say("slow")
        found["slow"] = try_to(lambda: take_slow_rounds(ours, options.work))
    if options.instructions:
        say("instructions")
        found["instructions"] = try_to(
            lambda: {side: count_instructions(each) for side, each in commands.items()}
        )
    return found


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


def take_cold_rounds(commands: Mapping[str, Command]) -> Figures:
    if not os.access(DROP_CACHES, os.W_OK):
        return {"unavailable": "the page cache cannot be emptied here"}

    def boot_cold(command: Command) -> Boot:
        empty_page_cache()
        return boot(command)

    return take_rounds(commands, COLD_ROUNDS, boot_cold)


def take_slow_rounds(commands: Mapping[str, Command], work: Path) -> Figures:
    slow = build_slow_files(work)
    return take_rounds(commands, SLOW_ROUNDS, lambda command: boot(command, slow))


if __name__ == "__main__":
    main()
