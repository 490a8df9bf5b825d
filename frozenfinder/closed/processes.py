"""The new processes that `multiprocessing` starts from a program in closed mode.

The modules that they import, such as those of the program, may be in the registry only. So spawn,
forkserver and its server start them as `frozenfinder run` starts a program: the words for that are
added to the options of the interpreter, which `multiprocessing.util._args_from_interpreter_flags`
returns for each of them.
"""

import sys
from _frozen_importlib_external import PathFinder

from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import (
    INTERPRETER_FLAGS,
    SEPARATOR,
    environment,
    get_module,
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
    """The spec of `MODULE`, with a loader that calls `hand_on` after the module was executed.

    It is stock's spec if the registry has none.
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
    """Make `multiprocessing` start its processes with `run`, as long as `finder` is installed.

    Do nothing if they get the registry anyway (a world registry would hide `run` from them), or if
    they could not open the registry, or the script that runs them, by its path.
    """
    if is_inherited(finder.registry) or not finder.registry.reopens or not is_file(SCRIPT):
        return
    stock: "Callable[[], list[str]]" = getattr(util, INTERPRETER_FLAGS)
    # Two threads may both make them, and store the same ones.
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
    activation = get_module("frozenfinder.activation")
    return activation is not None and activation.enabled == (registry.path, "closed")


def is_file(path: str) -> bool:
    """Whether a file exists on disk; a path in a zip file does not."""
    try:
        syscalls.stat(path)
    except OSError:
        return False
    return True


def make_options(registry: Registry) -> "list[str]":
    """The words that turn the command line of an interpreter into a `run` in closed mode."""
    options = [SCRIPT, "--mode=closed"]
    if registry.pinned:
        # deferred: only needed for a pinned registry
        from frozenfinder.trust import find_sha256

        options.append(f"--sha256={find_sha256()(registry.read_unchecked()).hexdigest()}")
    elif registry.distrust is not None:
        options.append("--trusted")
    if getattr(get_module("frozenfinder.fast_exit"), "is_prepared", False):
        options.append("--fast-exit")
    return [*options, registry.path]
