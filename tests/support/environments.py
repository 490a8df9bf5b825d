"""A virtual environment with real distributions in it, that can be frozen and taken away."""

import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import frozenfinder
from support.processes import LONG_TIMEOUT


@dataclass(frozen=True)
class Environment:
    """`home` has copies of frozenfinder and what it requires, so that they outlive `packages`."""

    root: Path

    @classmethod
    def create(cls, root: Path, distributions: list[str]) -> "Environment":
        """A new environment with copies of distributions of the running one, and what they need."""
        environment = cls(root)
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", root / "venv"], check=True, timeout=120
        )
        for name in sorted(with_requirements(distributions)):
            copy_distribution(name, environment.packages)
        package = Path(frozenfinder.__file__).parent
        shutil.copytree(package, environment.home / package.name)
        for name in sorted(with_requirements(["frozenfinder"]) - {"frozenfinder"}):
            copy_distribution(name, environment.home)
        return environment

    @property
    def python(self) -> Path:
        return self.root / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    @property
    def packages(self) -> Path:
        base = str(self.root / "venv")
        return Path(sysconfig.get_path("purelib", vars={"base": base, "platbase": base}))

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def registry(self) -> Path:
        return self.root / "environment.frz"

    def run(self, *argv: str | Path, timeout: float = LONG_TIMEOUT) -> str:
        """What the environment's Python prints; it fails with what it wrote on stderr."""
        done = subprocess.run(
            [self.python, *argv],
            cwd=self.root,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(self.home),
                "XDG_CACHE_HOME": str(self.root / "cache"),
            },
            capture_output=True,
            check=False,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
        return done.stdout

    def freeze(self, *options: str) -> None:
        self.run("-m", "frozenfinder", "freeze", "-o", self.registry, *options)

    def move_packages_away(self) -> None:
        self.packages.rename(self.packages.with_name("moved away"))

    def bring_packages_back(self) -> None:
        self.packages.with_name("moved away").rename(self.packages)


def with_requirements(names: list[str]) -> set[str]:
    """The distributions, and those that they require here without their extras."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = canonicalize_name(pending.pop())
        if name not in found:
            found.add(name)
            requirements = map(Requirement, distribution(name).requires or ())
            pending += [
                requirement.name
                for requirement in requirements
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            ]
    return found


def copy_distribution(name: str, target: Path) -> None:
    """Copy every file of an installed distribution that lies in site-packages."""
    files = distribution(name).files
    assert files, f"distribution {name!r} has no list of its files"
    for file in files:
        if file.parts[0] == ".." or not (source := Path(str(file.locate()))).is_file():
            continue
        destination = target.joinpath(*file.parts)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, destination)
