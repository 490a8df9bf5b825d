"""The parser that the commands share: argparse, with one line where it would print its usage."""

import argparse
from typing import NoReturn

from . import UsageError

MODES = ("overlay", "closed")


class Parser(argparse.ArgumentParser):
    """The parser of one command."""

    def __init__(self, command: str, summary: str) -> None:
        super().__init__(
            prog=f"frozenfinder {command}",
            description=f"{summary[0].upper()}{summary[1:]}.",
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def add_registry(self) -> None:
        """The registry that the command looks into."""
        self.add_argument(
            "registry",
            metavar="FILE",
            nargs="?",
            help="the registry (default: the one that install() without an argument opens)",
        )

    def add_json(self) -> None:
        self.add_argument("--json", action="store_true", help="answer in JSON, for programs")
