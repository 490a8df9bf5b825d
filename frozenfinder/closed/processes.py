"""The processes that `multiprocessing` starts anew, from a program in closed mode.

What they import, the program's functions and classes first of all, may be in the registry alone. So
spawn, forkserver and its server start them as `frozenfinder run` starts a program: what makes it
one follows the options of the interpreter, which
`multiprocessing.util._args_from_interpreter_flags` gives for each of them.
"""

import sys
from _frozen_importlib_external import PathFinder

from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import (
    INTERPRETER_FLAGS,
    SEPARATOR,
    environment,
    get_module,
    locate,
    syscalls,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _frozen_importlib import ModuleSpec
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any

    from .finder import ClosedFinder

MODULE = "multiprocessing.util"
SCRIPT = SEPARATOR.join([__file__.rsplit(SEPARATOR, 2)[0], "startup", "run.py"])


def watch(
    finder: "ClosedFinder", spec: "ModuleSpec | None", path: "Sequence[str] | None"
) -> "ModuleSpec | None":
    """The spec of `MODULE`, whose loader hands the finder on when it has executed it.

    It is stock's where the registry has none.
    """
    if spec is None and not finder.registry.header.world:
        spec = PathFinder.find_spec(MODULE, path)
    if spec is None:
        return None
    loader: "Any" = spec.loader

    def exec_module(module: "ModuleType") -> None:
        type(loader).exec_module(loader, module)
        if module.__name__ == MODULE:  # a zip file has one loader for all of its modules
            vars(loader).pop("exec_module", None)
            hand_on(finder, module)

    loader.exec_module = exec_module
    return spec


def hand_on(finder: "ClosedFinder", util: "ModuleType") -> None:
    """Have `multiprocessing` start its processes by `run`, for as long as `finder` is installed.

    Not where they get the registry anyway: one that is the whole world would hide `run` from them.
    Nor where they could not open the registry, or the script that runs them, by its path.
    """
    if is_inherited(finder.registry) or not finder.registry.reopens or not is_file(SCRIPT):
        return
    stock: "Callable[[], list[str]]" = getattr(util, INTERPRETER_FLAGS)
    # Two threads may both make them, and assign the same at once.
    options: "list[str]" = []

    def make_flags() -> "list[str]":
        if finder not in (getattr(sys, "meta_path", None) or ()):
            return stock()
        if not options:
            options[:] = make_options(finder.registry)
        return [*stock(), *options]

    setattr(util, INTERPRETER_FLAGS, make_flags)


def is_inherited(registry: Registry) -> bool:
    """Whether each Python that this process starts installs the registry in closed mode."""
    handed = environment("FROZENFINDER_RUN") or ""
    if "mode=closed" in handed and handed.endswith(f":{registry.path}"):
        return True
    enabled = get_module("_frozenfinder_enabled")
    return (
        enabled is not None
        and enabled.OPTIONS["mode"] == "closed"
        and locate(enabled.REGISTRY) == registry.path
    )


def is_file(path: str) -> bool:
    """Whether there is a file; what lies in a zip file is none."""
    try:
        syscalls.stat(path)
    except OSError:
        return False
    return True


def make_options(registry: Registry) -> "list[str]":
    """What makes the command line of an interpreter that of a `run` in closed mode."""
    options = [SCRIPT, "--mode=closed"]
    if registry.pinned:
        # deferred: only who pins a registry needs it
        from frozenfinder.trust import find_sha256

        options.append(f"--sha256={find_sha256()(registry.read_all()).hexdigest()}")
    elif registry.distrust is not None:
        options.append("--trusted")
    return [*options, registry.path]
