"""A virtual environment in which a registry can be enabled, with a copy of this package in it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import frozenfinder

POSIX = os.name == "posix"
ODD = 'it\'s "odd" é' if POSIX else "it's odd é"

HOME = str(Path(pytest.__file__).parents[1])
MEASURED = f"""\
import sys; sys.path.append({HOME!a}); import coverage; sys.path.pop(); coverage.process_startup()
"""
"""As of coverage's own `.pth` file, for environments that have no coverage."""


class Env:
    """A virtual environment with a copy of this package; `lib` is on its path, by a `.pth` file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.prefix = root / "env"
        self.lib = root / "lib"
        self.registry = self.prefix / "lib.frz"

    @property
    def python(self) -> Path:
        return self.prefix / ("bin/python" if POSIX else "Scripts/python.exe")

    @property
    def packages(self) -> Path:
        base = str(self.prefix)
        return Path(sysconfig.get_path("purelib", vars={"base": base, "platbase": base}))

    @property
    def files(self) -> set[str]:
        """What there is in site-packages of what `enable` writes."""
        found = (path.relative_to(self.packages) for path in self.packages.rglob("*enabled*"))
        return {str(path) for path in found if path.parts[0] != "frozenfinder"}

    def run(self, *argv: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FROZENFINDER"))}
        return subprocess.run(
            [self.python, *argv],
            cwd=self.root,
            env={**env, "PYTHONIOENCODING": "utf-8", **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=120,
        )

    def tell(self, *argv: str | Path, **variables: str) -> str:
        """What it prints, where all goes well and nothing is on stderr."""
        done = self.run(*argv, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def cli(self, *argv: str | Path) -> str:
        return self.tell("-m", "frozenfinder", *argv)

    def status(self, status: int = 0, **variables: str) -> Any:
        done = self.run("-m", "frozenfinder", "status", "--json", **variables)
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)


def make_environment(root: Path) -> Env:
    """A new one below `root`; its registry has the modules in `lib`, which is `m` alone."""
    env = Env(root / ODD)
    command = [sys.executable, "-m", "venv", "--without-pip", str(env.prefix)]
    subprocess.run(command, check=True, timeout=120)
    shutil.copytree(
        Path(frozenfinder.__file__).parent,
        env.packages / "frozenfinder",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    env.lib.mkdir()
    env.lib.joinpath("m.py").write_text("VALUE = 'served'\n")
    env.packages.joinpath("lib.pth").write_text(f"import sys; sys.path.append({str(env.lib)!a})\n")
    if "COVERAGE_PROCESS_CONFIG" in os.environ:
        env.packages.joinpath("measured.pth").write_text(MEASURED)
    env.cli("freeze", "--path", env.lib, "-o", env.registry, "--quiet")
    return env
