"""The file that makes every interpreter of an environment install a registry when it starts.

It is a `.pth` file in the environment's site-packages: `site` runs its one line. The line has the
settings, and does nothing in an interpreter that they were not written for, with FROZENFINDER=off,
or once the package is uninstalled. Else it runs the package's `startup/wait.py`.

From 3.15 on, PEP 829 has `.start` files, too. `site` imports `pkgutil` for those, which takes
longer than everything else here. It ignores import lines of `.pth` files from 3.18 on.
"""

import ast
import os
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frozenfinder import __path__ as _home

# `.pth` files are read in the order of their names: this one after those that set the path
TRIGGER = "zz_frozenfinder_enabled.pth"

# `site` calls `exec` for the line, and has the folder in `sitedir`. Up to 3.13 it does so twice in
# a virtual environment. To compile a text takes longer than everything else here: the second string
# is compiled once, and the settings, a string in it, only when the registry is installed.
_LINE = (
    "import sys; sitedir == {place} and 'frozenfinder' not in str([*map(type, sys.meta_path)]) "
    "and exec({code})\n"
)

_CODE = """\
from _frozen_importlib_external import SourceFileLoader
if sys.implementation.cache_tag == {cache_tag}:
    try:
        code = SourceFileLoader({name}, {file}).get_code({name})
    except OSError:  # frozenfinder was uninstalled
        pass
    else:
        scope = {{'__name__': {name}}}
        exec(code, scope)
        scope['wait']({mode}, sitedir, {settings})
"""

_NAME = "frozenfinder.startup.wait"
UNKNOWN = 10**18  # as long as any time of these years


@dataclass(frozen=True)
class Enabled:
    """The settings: `registry` as for `system.locate`, and the `options` for
    `frozenfinder.install`.

    `cache_tag` is of the interpreter that they are for. `distributions` are the folders of metadata
    in site-packages that closed mode has frozen, and `written_ns` is when an entry of site-packages
    was last added or removed.
    """

    registry: str
    options: dict[str, Any]
    cache_tag: str = str(sys.implementation.cache_tag)
    distributions: list[str] = field(default_factory=list)
    written_ns: int = UNKNOWN


class ActivationFile:
    """The file in one directory of site-packages, of the environment with that prefix."""

    def __init__(self, directory: Path, prefix: str = sys.prefix) -> None:
        self.directory = directory
        self.prefix = prefix
        self.trigger = directory / TRIGGER

    @classmethod
    def of_environment(cls) -> "ActivationFile":
        """The file of the environment of this interpreter."""
        return cls(Path(sysconfig.get_path("purelib")))

    def find_others(self) -> "Iterator[ActivationFile]":
        """Such files in other directories that this interpreter imports from, which exist.

        They are of other environments, and this interpreter does nothing with them.
        """
        seen = {self.directory.resolve()}
        for item in (*sys.path, *site.getsitepackages()):
            other = ActivationFile(Path(item))
            if other.directory.resolve() not in seen and other.trigger.is_file():
                yield other
            seen.add(other.directory.resolve())

    def read(self) -> Enabled | None:
        """The settings, or None if nothing is enabled; OSError, ValueError for an edited file."""
        if not self.trigger.is_file():
            return None
        try:
            [code] = _find_texts(self.trigger.read_bytes(), "wait")
            [settings] = _find_texts(code, "registry")
            return Enabled(**ast.literal_eval(settings))
        except (IndexError, KeyError, SyntaxError, TypeError, ValueError) as error:
            raise ValueError(
                f"{str(self.trigger)!r} was changed after 'frozenfinder enable' wrote it: "
                f"{error!r}; enable the registry again"
            ) from error

    def write(self, enabled: Enabled) -> None:
        """Make interpreters that start from now on install it, instead of any other; OSError.

        The file is replaced in one step. That changes the time of the folder, which is then written
        into the file: neither the size of the file nor the folder change by that.
        """
        settings = {**vars(enabled), "written_ns": UNKNOWN}
        file = os.path.join(os.path.abspath(_home[0]), "startup", "wait.py")
        code = _CODE.format(
            cache_tag=ascii(enabled.cache_tag),
            name=ascii(_NAME),
            file=self._locate(file),
            mode=ascii(enabled.options.get("mode")),
            settings=ascii(ascii(settings)),
        )
        line = _LINE.format(place=self._locate(str(self.directory)), code=ascii(code))
        replace_file(self.trigger, line.encode())
        if enabled.distributions:
            written_ns = self.directory.stat().st_mtime_ns
            with self.trigger.open("r+b") as opened:
                opened.write(line.replace(str(UNKNOWN), str(written_ns)).encode())

    def _locate(self, path: str) -> str:
        """The expression for an absolute path, which moves with the environment if it is in it."""
        prefix = self.prefix.rstrip(os.sep)
        below = path.removeprefix(prefix + os.sep)
        return ascii(path) if below == path else f"sys.prefix + {path[len(self.prefix) :]!a}"

    def remove(self) -> bool:
        """Remove the file; return whether it existed. OSError."""
        there = self.trigger.exists()
        self.trigger.unlink(missing_ok=True)
        return there


def _find_texts(source: "str | bytes", word: str) -> list[str]:
    """The string constants in Python source that contain the word in quotes."""
    texts = [each.value for each in ast.walk(ast.parse(source)) if isinstance(each, ast.Constant)]
    return [each for each in texts if isinstance(each, str) and f"'{word}'" in each]


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that is complete whenever it exists; OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
