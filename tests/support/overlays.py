"""A small tree of modules that is frozen, changed, and imported with and without the registry."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.processes import Python

FILES = {
    "m.py": "VALUE = 'first'\ndef function():\n    return VALUE\n",
    "pkg/__init__.py": "VALUE = 'package'\n",
    "pkg/sub.py": "VALUE = 'submodule'\n",
    "pkg/inner/__init__.py": "",
    "pkg/inner/leaf.py": "from .. import sub\nVALUE = sub.VALUE\n",
    "space/portion.py": "VALUE = 'portion'\n",
    "broken.py": "import m\nraise RuntimeError('as written')\n",
    "circular_a.py": "from circular_b import missing\n",
    "circular_b.py": "from circular_a import name\n",
}

INSTALL = """\
import sys
import frozenfinder
finder = frozenfinder.install({registry!r}, mode={mode!r})
"""


@dataclass(frozen=True)
class Outcome:
    """What a program printed, with the text of an uncaught exception, and how it ended."""

    output: str
    error: str
    status: int
    served: int


@dataclass(frozen=True)
class Tree:
    """`lib` is the folder that was frozen to `registry`; `other` lies beside it, empty."""

    root: Path
    python: Python

    @property
    def lib(self) -> Path:
        return self.root / "lib"

    @property
    def other(self) -> Path:
        return self.root / "other"

    @property
    def registry(self) -> Path:
        return self.root / "tree.frz"

    def write(self, files: dict[str, str], folder: Path | None = None) -> None:
        for name, text in files.items():
            path = (folder or self.lib) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def freeze(self, *options: str) -> None:
        self.python(
            "-m", "frozenfinder", "freeze", "--path", self.lib, "-o", self.registry, *options
        )

    def run(
        self,
        code: str,
        *flags: str,
        path: str | None = None,
        stock: bool = False,
        mode: str = "overlay",
    ) -> Outcome:
        """Run `code` with `path` (else `lib`) at the front of `sys.path`, in the folder `root`.

        The program is given to `python -c` after the installation, which reads the same either
        way: FROZENFINDER=off is what makes it stock.
        """
        front = str(self.lib) if path is None else path
        program = (
            INSTALL.format(registry=str(self.registry), mode=mode)
            + f"sys.path.insert(0, {front!r})\n"
            + "import atexit\n"
            + "atexit.register(lambda: print('served', finder.served))\n"
            + code
        )
        done: subprocess.CompletedProcess[str] = self.python(
            *flags,
            "-c",
            program,
            cwd=self.root,
            check=False,
            env={"FROZENFINDER": "off"} if stock else {},
        )
        *output, account = done.stdout.splitlines()
        return Outcome("\n".join(output), done.stderr, done.returncode, int(account.split()[1]))
