"""The command line: arguments, progress and exit statuses, and one module for each command.

Status 0 says that the command did what it was asked, 1 that a check failed, 2 that it was asked
wrongly or given bad input. `run` has the status of the program instead. Answers go to stdout, and
everything else to stderr, where each error is one line.
"""

import sys

DONE, FAILED, BAD_INPUT = 0, 1, 2


class UsageError(Exception):
    """The command line asks for what there is not."""


def report(error: Exception) -> int:
    """Say on stderr what is wrong, in one line; the exit status."""
    message = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.filename!r}: {error.strerror}"
    sys.stderr.write(f"frozenfinder: {message}\n")
    return BAD_INPUT
