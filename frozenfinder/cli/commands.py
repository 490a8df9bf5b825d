"""The commands by name, and how each of them except `run` begins and ends."""

import importlib
import io
import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

from frozenfinder import __version__
from frozenfinder.errors import FrozenFinderError, RegistryError
from frozenfinder.runtime import hooks

from . import DONE, UsageError, report

if TYPE_CHECKING:
    import argparse

    from frozenfinder.runtime.registry import Registry

    from .parser import Parser

COMMANDS = (
    "freeze",
    "ls",
    "info",
    "verify",
    "why",
    "diff",
    "run",
    "bench",
    "bundle",
    "emit-c",
    "enable",
    "disable",
    "status",
    "cache",
    "demo",
)
INTERRUPTED, BROKEN_PIPE = 130, 141  # a shell's statuses for death by SIGINT and by SIGPIPE


class Command(Protocol):
    """The interface of a command's module."""

    SUMMARY: str

    def make_parser(self) -> "Parser": ...

    def main(self, options: "argparse.Namespace") -> int:
        """Run the command; return the exit status."""
        ...


def load(name: str) -> Command:
    """The module of a command; UsageError for an unknown one."""
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}, expected one of: {', '.join(COMMANDS)}")
    return cast("Command", importlib.import_module(f"{__package__}.{name.replace('-', '_')}"))


def main(arguments: list[str]) -> int:
    """Run a command line; return the exit status, also after an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may contain any bytes
    try:
        status = _main(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the buffered output has nowhere to go, and the interpreter flushes once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (UsageError, FrozenFinderError, OSError) as error:
        return report(error)
    return status


def _main(arguments: list[str]) -> int:
    if not arguments:
        raise UsageError(f"no command given, expected one of: {', '.join(COMMANDS)}")
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(overview())
        return DONE
    if name == "--version":
        print(f"frozenfinder {__version__}")
        return DONE
    command = load(name)
    return command.main(command.make_parser().parse_args(rest))


def overview() -> str:
    """The text that `--help` prints."""
    lines = [f"  {name:10}{load(name).SUMMARY}" for name in COMMANDS]
    return "\n".join(
        [
            "usage: frozenfinder COMMAND ...",
            "",
            "Boot CPython from one frozen registry file instead of thousands of small files.",
            "",
            "commands:",
            *lines,
            "",
            "'frozenfinder COMMAND --help' describes a command.",
        ]
    )


def program_path() -> list[str]:
    """The `sys.path` of a program that is started in the current directory."""
    return list(sys.path) if sys.flags.safe_path else [os.getcwd(), *sys.path[1:]]


def open_registry_or_bundle(path: str | None) -> "Registry":
    """The registry at a path, or in the bundle at that path; without a path, the default one."""
    try:
        return hooks.open_registry(path)
    except RegistryError:
        # deferred: needed for bundles only
        from frozenfinder.bundle import find_registry
        from frozenfinder.runtime.registry import Registry

        offset = None
        if path is not None:
            with suppress(OSError):
                offset = find_registry(path)
        if path is None or offset is None:
            raise
        return Registry.open(path, offset=offset)


def print_json(value: object) -> None:
    """Print a result as JSON."""
    print(json.dumps(value, indent=2))
