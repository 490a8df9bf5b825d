"""The start of an interpreter in an environment with an enabled registry, or below `run`."""

import sys

from frozenfinder.runtime.hooks import install
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import environment, is_listed, load_own, locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def activate(registry: str, **options: "Any") -> None:
    """Install a registry with these options, or report on stderr in one line why not.

    A relative path `registry` is relative to `sys.prefix`. A registry for another optimisation
    level is silently ignored: the same environment runs `python` and `python -O`. It raises no
    Exception, and does nothing if FROZENFINDER=off is set.
    """
    if environment("FROZENFINDER") == "off":
        return
    try:
        opened = Registry.open(locate(registry))
        if opened.header.optimize != sys.flags.optimize:
            opened.close()
            return
        if opened.mismatch is not None or not is_listed():
            # deferred: only needed if the registry cannot be used
            raise load_own("null_finder").make_version_error(opened)
        install(opened, **options)
    except Exception as error:  # noqa: BLE001  # the interpreter must start in any case
        _report(error)


def _report(error: Exception) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"frozenfinder serves nothing: {error}\n")
