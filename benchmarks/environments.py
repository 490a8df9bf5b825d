"""Virtual environments that the benchmarks make, with copies of the package and its requirement."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import packaging

import frozenfinder

IGNORED = ("PYTHON", "FROZENFINDER")
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(IGNORED)}
BYTECODE = "__pycache__"


def call(
    argv: Sequence[str | Path], env: Mapping[str, str] = os.environ, cwd: Path | None = None
) -> None:
    """Run a command that builds something; CalledProcessError."""
    subprocess.run(argv, env=env, cwd=cwd, check=True, capture_output=True, text=True)


@cache
def make_environment(root: Path, *requirements: str) -> Path:
    """The interpreter of a new environment, or of the one that an earlier run has made.

    pip installs the requirements once. The copy of the package is new.
    """
    paths = sysconfig.get_paths(vars={"base": str(root), "platbase": str(root)})
    python = Path(paths["scripts"], "python")
    made = root / "made"
    if not made.exists():
        call([sys.executable, "-m", "venv", "--clear", "--without-pip", root])
        if requirements:
            pip = [sys.executable, "-m", "pip", "--python", python]
            call([*pip, "install", "--quiet", *requirements], ENVIRON)
        made.touch()
    packages = Path(paths["purelib"])
    shutil.rmtree(packages / "frozenfinder", ignore_errors=True)
    for module in (frozenfinder, packaging):
        source = Path(module.__path__[0])
        if not (packages / source.name).exists():
            ignored = shutil.ignore_patterns(BYTECODE)
            shutil.copytree(source, packages / source.name, ignore=ignored)
    return python


@cache
def copy_environment(root: Path) -> Path:
    """The interpreter of an environment with all that is installed beside the benchmarks."""
    shutil.rmtree(root, ignore_errors=True)
    python = make_environment(root)
    target = sysconfig.get_path("purelib", vars={"base": str(root), "platbase": str(root)})
    shutil.copytree(sysconfig.get_path("purelib"), target, dirs_exist_ok=True)
    return python


def enable(python: Path, registry: Path, *options: str) -> None:
    """Enable a registry in an environment; CalledProcessError."""
    call([python, "-m", "frozenfinder", "enable", registry, *options], ENVIRON)


def disable(python: Path) -> None:
    call([python, "-m", "frozenfinder", "disable"], ENVIRON)


def compile_packages(root: Path) -> None:
    """Write the `.pyc` files of an environment that it lacks."""
    purelib = sysconfig.get_path("purelib", vars={"base": str(root), "platbase": str(root)})
    # some packages have files for other versions of Python, which cannot be compiled
    subprocess.run([sys.executable, "-m", "compileall", "-qq", purelib], check=False)


def remove_bytecode(folder: Path) -> None:
    """Remove every `.pyc` file below a folder."""
    for each in list(folder.rglob(BYTECODE)):
        shutil.rmtree(each)
