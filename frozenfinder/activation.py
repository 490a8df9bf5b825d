"""What an interpreter does at its start where a registry was enabled, or handed on by `run`."""

import sys

from frozenfinder.runtime.hooks import install
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import environment, is_listed, locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def activate(registry: str, **options: "Any") -> None:
    """Install a registry with these options, or say on stderr in one line why not; raises nothing.

    A `registry` that is no absolute path lies below `sys.prefix`. One that was frozen for another
    optimisation level is left aside in silence: the same environment runs `python` and `python -O`.
    """
    if environment("FROZENFINDER") == "off":
        return
    try:
        opened = Registry.open(locate(registry))
        if opened.header.optimize != sys.flags.optimize:
            opened.close()
            return
        if opened.mismatch is not None or not is_listed():
            # deferred: only where the registry cannot serve
            from frozenfinder.null_finder import make_version_error

            raise make_version_error(opened)
        install(opened, **options)
    except Exception as error:  # noqa: BLE001  # whatever it is, the interpreter starts
        _report(error)


def _report(error: Exception) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"frozenfinder serves nothing: {error}\n")
