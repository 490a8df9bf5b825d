"""The files that make every interpreter of an environment install a registry when it starts.

They are in the environment's site-packages. The module contains the settings. The trigger makes
`site` call the module: a `.pth` file up to 3.14, and a `.start` file (PEP 829) from 3.15 on, where
import lines of `.pth` files are deprecated. The module uses the package for everything else, so it
also works with a newer package, and does nothing once the package is uninstalled.
"""

import ast
import os
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODULE = "_frozenfinder_enabled"
SUFFIX = ".start" if sys.version_info >= (3, 15) else ".pth"

_SOURCE = '''\
"""Written by `frozenfinder enable`; `frozenfinder disable` removes it."""

REGISTRY = {registry}  # below sys.prefix unless it is absolute
OPTIONS = {options}  # of frozenfinder.install

started = False


def start():
    global started
    if started:  # up to 3.13, site reads the files of a virtual environment twice
        return
    started = True
    try:
        from frozenfinder.activation import activate
    except ImportError:
        return  # frozenfinder was uninstalled
    activate(REGISTRY, **OPTIONS)
'''

_TRIGGERS = {
    ".pth": f"import {MODULE}; {MODULE}.start()\n",
    ".start": f"{MODULE}:start\n",
}


@dataclass(frozen=True)
class Enabled:
    """The settings: `registry` as for `system.locate`, and the `options` for
    `frozenfinder.install`.
    """

    registry: str
    options: dict[str, Any]


class ActivationFiles:
    """The two files in one directory of site-packages."""

    def __init__(self, directory: Path, suffix: str = SUFFIX) -> None:
        self.directory = directory
        self.module = directory / f"{MODULE}.py"
        # `.pth` files are read in the order of their names: this one after those that set the path
        self.trigger = directory / f"zz{MODULE}{suffix}"

    @classmethod
    def of_environment(cls) -> "ActivationFiles":
        """The files of the environment of this interpreter."""
        return cls(Path(sysconfig.get_path("purelib")))

    def read(self) -> Enabled | None:
        """The settings, or None if nothing is enabled; OSError, ValueError for an edited module."""
        if not self.trigger.is_file():
            return None
        try:
            values = {
                ast.unparse(statement.targets[0]): ast.literal_eval(statement.value)
                for statement in ast.parse(self.module.read_bytes()).body
                if isinstance(statement, ast.Assign)
            }
            return Enabled(values["REGISTRY"], values["OPTIONS"])
        except (KeyError, SyntaxError, ValueError) as error:
            raise ValueError(
                f"{str(self.module)!r} was changed after 'frozenfinder enable' wrote it: "
                f"{error!r}; enable the registry again"
            ) from error

    def write(self, enabled: Enabled) -> None:
        """Make interpreters that start from now on install it, instead of any other; OSError.

        Each file is replaced in one step, and the trigger comes last.
        """
        source = _SOURCE.format(registry=ascii(enabled.registry), options=ascii(enabled.options))
        _replace(self.module, source.encode())
        _replace(self.trigger, _TRIGGERS[self.trigger.suffix].encode())

    def remove(self) -> bool:
        """Remove the files; return whether any existed. OSError."""
        there = self.trigger.exists() or self.module.exists()
        self.trigger.unlink(missing_ok=True)
        self.module.unlink(missing_ok=True)
        for compiled in self.directory.glob(f"__pycache__/{MODULE}.*.pyc"):
            compiled.unlink(missing_ok=True)
        return there


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).chmod(0o644)
        os.utime(temporary, (_later_second(path),) * 2)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _later_second(path: Path) -> int:
    """The current second, or a later one if the file at `path` was already modified in it.

    A `.pyc` identifies its source by size and mtime in seconds. Without this, the `.pyc` of a file
    that was replaced within the same second could be used for the new one.
    """
    now = int(time.time())
    try:
        return max(now, int(path.stat().st_mtime) + 1)
    except FileNotFoundError:
        return now
