"""`frozenfinder disable`: let the interpreters of this environment start as stock again."""

import argparse

from frozenfinder.enable.files import ActivationFile

from . import DONE
from .enable import refusal
from .parser import Parser

SUMMARY = "undo what enable did in this environment"


def make_parser() -> Parser:
    return Parser("disable", SUMMARY)


def main(options: argparse.Namespace) -> int:  # noqa: ARG001  # every command takes its options
    files = ActivationFile.of_environment()
    try:
        removed = files.remove()
    except OSError as error:
        raise refusal(files, error) from error
    if removed:
        print(f"removed {str(files.trigger)!r}")
    else:
        print("nothing was enabled")
    for other in files.find_others():
        print(f"{str(other.trigger)!r} is of another environment, and has no effect here")
    return DONE
