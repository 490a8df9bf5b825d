"""A closed registry with two extension modules that share a library, which loads another."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from frozenfinder.native.cache import abi
from frozenfinder.native.marks import MARKS
from support.compiled import SUFFIX, compile_family, files_below
from support.processes import Python
from support.registries import build_registry, frozen

LOAD = """
import sys, frozenfinder
finder = frozenfinder.install(sys.argv[1], mode="closed")
import family.first, family.second
print(family.first.call(), family.second.call(), family.first.__file__)
print(*finder.extractor.in_memory.items(), sep="\\n")
"""
MODULES = [f"family/{name}{SUFFIX}" for name in ("first", "second")]
LIBRARIES = [f"family.libs/{name}" for name in ("libinner.so", "libinnermost.so.1")]


@dataclass(frozen=True)
class Family:
    """The registry, the cache of those who load from it, and what names their parcel."""

    registry: Path
    cache: Path
    parcel: str
    python: Python

    @property
    def home(self) -> Path:
        """The directory in the cache in which the files lie together."""
        return self.cache / abi() / self.parcel

    @property
    def first(self) -> Path:
        return self.home / "family" / f"first{SUFFIX}"

    @property
    def files(self) -> list[str]:
        """The files of the parcel, by their paths in it; whether they are marked is not told."""
        return [file for file in files_below(self.home) if file != MARKS]

    def run(self, code: str = LOAD, *arguments: str) -> list[str]:
        """The lines that a program prints, which finds the registry in `sys.argv[1]`."""
        env = {"FROZENFINDER_CACHE": str(self.cache)}
        return self.python("-c", code, self.registry, *arguments, env=env).stdout.splitlines()

    def start(self, code: str = LOAD) -> "subprocess.Popen[str]":
        """The same, with pipes to and from it."""
        pipe = subprocess.PIPE
        env = {**os.environ, "FROZENFINDER_CACHE": str(self.cache)}
        command = [sys.executable, "-c", code, str(self.registry)]
        return subprocess.Popen(
            command, env=env, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8"
        )

    def load(self) -> list[str]:
        """Load both modules; of each that was loaded from memory, the name and why."""
        called, *reasons = self.run()
        assert called.split()[:2] == ["101", "201"]  # one copy of the library for both
        return [reason for reason in reasons if reason]


def make_family(folder: Path, python: Python) -> Family:
    """Compile and freeze it, and remove the files."""
    modules, libraries = compile_family(folder / "lib")
    registry = folder / "family.frz"
    package = frozen("family", is_package=True)
    registry.write_bytes(build_registry(package, *modules, files=libraries))
    shutil.rmtree(folder / "lib")
    parcel = (modules[0].text or b"").split()[1].decode()
    return Family(registry, folder, parcel, python)
