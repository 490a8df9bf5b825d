"""The start of an interpreter in an environment with an enabled registry, or below `run`."""

import sys

from frozenfinder.own import load_own
from frozenfinder.runtime.hooks import check_trust, end_fast, serve
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import environment, is_listed, locate, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

enabled: "tuple[str, str] | None" = None
"""The path and the mode of the registry that this interpreter's environment has enabled, or None.
Assigned once, before other threads run or under importlib's global lock."""


def activate_enabled(waiting: "Any", directory: str, text: str) -> None:
    """Install the registry of this environment; `waiting` becomes its finder, unless it is None.

    `text` has the settings that `enable` has written into site-packages, the folder `directory`. As
    `activate`, but RecursionError and MemoryError are raised.
    """
    global enabled
    settings: "dict[str, Any]" = eval(text, {})
    options = settings["options"]
    enabled = locate(settings["registry"]), options["mode"]
    _activate(settings["registry"], waiting, **options)
    if options["mode"] == "closed" and environment("FROZENFINDER") != "off" and sys.stderr:
        changed = find_changed(directory, settings)
        if changed:
            sys.stderr.write(
                f"frozenfinder serves {', '.join(changed)}, which {directory!r} no "
                "longer has; freeze and enable the registry again\n"
            )


def find_changed(directory: str, settings: "dict[str, Any]") -> "list[str]":
    """The distributions (`name-version`) that were there when the registry was enabled, and are not
    now. Closed mode serves their modules all the same.

    Costs one `stat` if nothing was installed or removed since, else a listing of the directory.
    """
    try:
        if syscalls.stat(directory).st_mtime_ns == settings["written_ns"]:
            return []
        there = {*syscalls.listdir(directory)}
    except OSError:  # the sources were removed, for which closed mode is made
        return []
    frozen: "list[str]" = settings["distributions"]
    return [name.removesuffix(".dist-info") for name in frozen if name not in there]


def activate(registry: str, **options: "Any") -> None:
    """Install a registry with these options, or report on stderr in one line why not.

    A relative path `registry` is relative to `sys.prefix`. A registry for another optimisation
    level is silently ignored: the same environment runs `python` and `python -O`. It raises no
    Exception, and does nothing if FROZENFINDER=off is set.
    """
    try:
        _activate(registry, None, **options)
    except (RecursionError, MemoryError) as error:
        _report(error)


def _activate(
    registry: str,
    waiting: "Any",
    *,
    mode: "Any" = "overlay",
    trusted: bool = False,
    fast_exit: bool = False,
    **pins: "Any",
) -> None:
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
        serve(check_trust(opened, trusted, **pins), mode, waiting=waiting)
        if fast_exit:
            end_fast()
    except (RecursionError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # the interpreter must start in any case
        _report(error)


def _report(error: Exception) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"frozenfinder serves nothing: {error}\n")
