"""The command line: arguments, progress and exit statuses, and one module for each command.

Status 0: the command succeeded. 1: a check failed. 2: the command line or an input is invalid.
`run` has the status of the program instead. Results go to stdout, and everything else to stderr,
where each error is one line.
"""

import sys

DONE, FAILED, BAD_INPUT = 0, 1, 2


class UsageError(Exception):
    """The command line is invalid."""


def report(error: Exception) -> int:
    """Write the error to stderr in one line; return the exit status."""
    message = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.filename!r}: {error.strerror}"
    sys.stderr.write(f"frozenfinder: {message}\n")
    return BAD_INPUT
