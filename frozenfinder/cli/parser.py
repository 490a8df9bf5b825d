"""The parser that the commands share: argparse, whose errors are one line without the usage."""

import argparse
from typing import Any, NoReturn, Protocol

from . import UsageError

MODES = ("overlay", "closed")


class Group(Protocol):
    """A group of options, as `argparse` makes them."""

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action: ...


# what `freeze` and `bundle` both take, repeatedly
PACKAGE = ("--package", "NAME", "an importable package or module, with everything below it")
PATH = ("--path", "DIR", "everything below a directory")
MANIFEST = ("--manifest", "FILE", "everything that a manifest asks for")
EXCLUDE = ("--exclude", "GLOB", "leave out modules with these names, and everything below them")


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
        """The argument for the registry to read."""
        self.add_argument(
            "registry",
            metavar="FILE",
            nargs="?",
            help="the registry (default: the one that install() without an argument opens)",
        )

    def add_repeated(self, group: Group, *options: tuple[str, str, str]) -> None:
        """Options that can be given repeatedly: name, metavar, help."""
        for option, metavar, text in options:
            group.add_argument(option, metavar=metavar, action="append", default=[], help=text)

    def add_jobs(self, group: Group) -> None:
        """The option for how many processes compile."""
        group.add_argument(
            *("-j", "--jobs"),
            metavar="N",
            type=_positive,
            help="how many processes compile (default: one for each CPU)",
        )

    def add_loudness(self, group: Group) -> None:
        """The options for how much the summary says."""
        group.add_argument("--quiet", action="store_true", help="print only errors")
        group.add_argument(
            "-v", "--verbose", action="store_true", help="list everything left out, and why"
        )

    def add_json(self) -> None:
        self.add_argument("--json", action="store_true", help="print the result as JSON")


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)
