"""What waiting imports save a fat command line: `python benchmarks/lazy.py [--rounds N]`.

The program has sixty subcommands, each in a module of its own that imports several libraries at its
top, as such programs do. It is frozen with `--lazy`, and runs `--help` and some subcommands: stock,
from the registry with all imports at once, and with waiting ones. Each round runs every side once,
in changing order. The figures are medians of CPU time, and of its ratios to stock in each round.

Libraries that are not installed are left out, and named.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from measures import boot, describe_machine
from sides import Command

from frozenfinder.bench import run

LIBRARIES = (
    "asyncio",
    "click",
    "concurrent.futures",
    "ctypes",
    "decimal",
    "difflib",
    "django.db.models",
    "doctest",
    "email.message",
    "fastapi",
    "flask",
    "http.client",
    "http.server",
    "httpx",
    "jinja2",
    "logging.handlers",
    "markdown_it",
    "multiprocessing.pool",
    "pydantic",
    "pygments.lexers",
    "requests",
    "rich.table",
    "smtplib",
    "sqlite3",
    "ssl",
    "tarfile",
    "typer",
    "unittest.mock",
    "urllib.request",
    "werkzeug.serving",
    "xml.dom.minidom",
    "xml.etree.ElementTree",
    "xmlrpc.client",
    "zipfile",
)
SUBCOMMANDS = 60
EACH = 4  # libraries of a subcommand
ARGUMENTS = ("--help", "sub00", "sub13", "sub26", "sub39", "sub52")
"""What is measured: the help, and some of the subcommands."""

MAIN = """\
import argparse

{imports}

COMMANDS = {{{commands}}}


def main():
    parser = argparse.ArgumentParser(prog="fat")
    parser.add_argument("command", choices=COMMANDS)
    COMMANDS[parser.parse_args().command]()


if __name__ == "__main__":
    main()
"""

SUBCOMMAND = """\
{imports}


def describe():
    return {others}


def run():
    print({used}.__name__)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.rounds)
    figures |= describe_machine()
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    print(json.dumps({key: value for key, value in figures.items() if key != "seconds"}, indent=2))


def measure(folder: Path, rounds: int) -> dict[str, object]:
    installed = [name for name in LIBRARIES if _is_installed(name)]
    write_program(folder, installed)
    registry = folder / "fat.frz"
    freeze(folder, registry)
    seconds: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for argument in ARGUMENTS:
            sides = list(find_sides(folder, registry, argument).items())
            random.shuffle(sides)
            for side, command in sides:
                told = seconds.setdefault(argument, {}).setdefault(side, [])
                told.append(boot(command).cpu)
    return {
        "seconds": seconds,
        "left out": [name for name in LIBRARIES if name not in installed],
        "ratios": {argument: compare(sides) for argument, sides in seconds.items()},
    }


def compare(sides: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each side's ratio to stock, and stock's seconds."""
    stock = sides["stock"]
    ratios = {
        side: round(statistics.median(a / b for a, b in zip(times, stock, strict=True)), 3)
        for side, times in sides.items()
        if side != "stock"
    }
    return {"stock": round(statistics.median(stock), 3), **ratios}


def find_sides(folder: Path, registry: Path, argument: str) -> dict[str, Command]:
    stock = [sys.executable, "-c", _program(folder, ""), argument]
    frozen = [
        sys.executable,
        "-c",
        _program(folder, f"import frozenfinder; frozenfinder.install({str(registry)!r})"),
        argument,
    ]
    return {
        "stock": Command(stock, {}),
        "eager": Command(frozen, {"FROZENFINDER_WITHOUT": "lazy"}),
        "lazy": Command(frozen, {}),
    }


def _program(folder: Path, install: str) -> str:
    """Code that runs the program, and prints the line that `boot` reads first."""
    return (
        f"import sys; sys.path.insert(0, {str(folder)!r})\nprint(0, 0)\n{install}\n"
        "from fat.main import main\nmain()"
    )


def freeze(folder: Path, registry: Path) -> None:
    """Freeze the program with what it imports; every measured command is a check."""
    checks = [f"--check={sys.executable} -m fat.main {argument}" for argument in ARGUMENTS]
    command = [sys.executable, "-m", "frozenfinder", "freeze", "--entry", "fat.main", "--lazy"]
    run([*command, "-o", registry, *checks], env=os.environ | {"PYTHONPATH": str(folder)})


def write_program(folder: Path, installed: list[str]) -> None:
    package = folder / "fat"
    package.mkdir()
    (package / "__init__.py").touch()
    names = [f"sub{number:02}" for number in range(SUBCOMMANDS)]
    for number, name in enumerate(names):
        (package / f"{name}.py").write_text(write_subcommand(number, installed), encoding="utf-8")
    imports = "\n".join(f"from fat import {name}" for name in names)
    commands = ", ".join(f"{name!r}: lambda: {name}.run()" for name in names)
    main_module = MAIN.format(imports=imports, commands=commands)
    (package / "main.py").write_text(main_module, encoding="utf-8")


def write_subcommand(number: int, installed: list[str]) -> str:
    chosen = [installed[(number * 7 + step * 5) % len(installed)] for step in range(EACH)]
    chosen = list(dict.fromkeys(chosen))
    imports = "\n".join(f"import {name}" for name in sorted(chosen))
    return SUBCOMMAND.format(imports=imports, used=chosen[0], others=", ".join(chosen))


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


if __name__ == "__main__":
    main()
