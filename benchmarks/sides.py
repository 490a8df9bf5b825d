"""The sides of the benchmark: the same imports, made by frozenfinder and by its peers.

Every side is a program that prints the seconds that its imports took, with all that its importer
needs to be set up, and how many modules frozenfinder has served.
"""

import marshal
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from functools import cached_property
from importlib.util import MAGIC_NUMBER, find_spec
from pathlib import Path, PurePosixPath
from types import CodeType
from typing import NamedTuple

from environments import call, copy_environment, disable, enable, remove_bytecode
from tricks import Trick

from frozenfinder import Registry
from frozenfinder.runtime import layout

HERE = Path(__file__).parent

PROGRAM = """\
import sys, time
begin = time.perf_counter()
{setup}
{imports}
seconds = time.perf_counter() - begin
finders = getattr(sys.modules.get("frozenfinder"), "installed", list)()
print(seconds, sum(finder.served for finder in finders))
"""

INSTALL = "import frozenfinder; frozenfinder.install({registry!r}, mode={mode!r})"
FLOOR = """\
sys.path.insert(0, {here!r})
import floor
floor.install({file!r})
begin = time.perf_counter()"""
FREEZE = """\
import sys
from frozenfinder.runtime import layout
from frozenfinder.__main__ import main
layout.MAX_SHARDS = {}
sys.exit(main())
"""
UNMARSHAL = """\
import marshal, time
with open({file!r}, "rb") as stream:
    blobs = [marshal.dumps(body[2]) for body in marshal.load(stream)]
begin = time.perf_counter()
codes = [marshal.loads(blob) for blob in blobs]
print(time.perf_counter() - begin, 0)
"""
CDS = "sys.path.append({home!r}); import cds; cds.init_from_env()"
ZIP = "sys.path.insert(0, {file!r})"


class Workload(NamedTuple):
    """Imports, the distribution that they are of, and options that freezing it needs."""

    imports: str
    distribution: str | None = None
    options: tuple[str, ...] = ()


WORKLOADS = {
    "stdlib": Workload("import asyncio, email.mime.multipart, http.client, json, logging.config"),
    "django": Workload("import django.db.models", "Django"),
    "boto3": Workload("import boto3", "boto3"),
    "flask": Workload("import flask", "Flask"),
    "sqlalchemy": Workload("import sqlalchemy.orm", "SQLAlchemy"),
    "sympy": Workload("import sympy", "sympy"),
    "pandas": Workload("import pandas", "pandas"),
    "black": Workload("import black", "black", ("--lay-out=blib2to3",)),
}

ENABLES = ("enable", "enable --fast-exit")
RUNS = ("run --fast-exit=off", "run", "run --fast-exit=hard")
BUNDLES = ("bundle --fast-exit=off", "bundle")
"""Each with the ends of a process that it offers; without an option it has its default."""

SIDES = (
    "stock",
    *ENABLES,
    "overlay",
    "closed",
    *RUNS,
    "floor",
    "zip",
    "pyinstaller",
    "pycds",
)
"""A word after the first is an option of the command that the first one names."""


class Command(NamedTuple):
    """How a side is run."""

    argv: list[str]
    env: dict[str, str]


class Unavailable(Exception):  # noqa: N818 - a side that cannot take part is no error
    """Why a side cannot take part."""


class Builder:
    """Makes commands that do the same in several ways, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find_command(self, side: str) -> Command:
        """How to run a side, after it was built if it was not yet; Unavailable."""
        name, *options = side.split()
        make: Callable[..., Command] = getattr(self, f"make_{name}")
        try:
            return make(*options)
        except subprocess.CalledProcessError as error:
            last = (error.stderr or "").strip().splitlines()[-1:] or ["it said nothing"]
            raise Unavailable(f"cannot be built: {last[0]}") from error


class Build(Builder):
    """What the sides of one workload need, with the packages of one environment.

    All of it is built anew, but for what PyInstaller takes long to build.
    """

    def __init__(self, workload: Workload, folder: Path, python: Path | None = None) -> None:
        super().__init__(folder)
        self.workload = workload
        self.python = str(python or sys.executable)

    @cached_property
    def registry(self) -> Path:
        """The standard library and the distribution, what the imports need first."""
        return self._freeze("registry", "--trace", "--", *self.make_stock().argv)

    @cached_property
    def unordered(self) -> Path:
        """The same without a recorded boot: in the order of names, and no regular expressions."""
        return self._freeze("unordered")

    @cached_property
    def one_shard(self) -> Path:
        """The same, its index in one piece."""
        return self._freeze("one_shard", "--trace", "--", *self.make_stock().argv, max_shards=1)

    def _freeze(self, name: str, *trace: str, max_shards: int = layout.MAX_SHARDS) -> Path:
        registry = self.folder / f"{name}.frz"
        command = [self.python, "-c", FREEZE.format(max_shards), "freeze", "--quiet", "--stdlib"]
        command += ["--extensions=embed", "-o", str(registry), *self.workload.options]
        if self.workload.distribution is not None:
            command += ["--with-dependencies", f"--distribution={self.workload.distribution}"]
        call([*command, *trace])
        return registry

    def make_stock(self) -> Command:
        return self._program("stock")

    def make_overlay(self) -> Command:
        return self._installed("overlay")

    def make_closed(self) -> Command:
        return self._installed("closed")

    def make_run(self, *options: str) -> Command:
        run = ["-m", "frozenfinder", "run", str(self.registry), "--mode=closed", *options]
        return Command([self.python, *run, *self.make_stock().argv[1:]], {})

    def make_enable(self, *options: str) -> Command:
        name = "-".join(("enabled", *options))
        python = copy_environment(self.folder.parent / name)
        disable(python)
        enabled = Build(self.workload, self.folder / name, python)
        enable(python, enabled.registry, *options)
        return enabled.make_stock()

    def make_without_bytecode(self) -> "Build":
        """The same workload where there are no `.pyc` files but those of the standard library."""
        root = self.folder.parent / "no-pyc"
        build = Build(self.workload, self.folder / "no-pyc", copy_environment(root))
        _ = build.registry
        remove_bytecode(root)
        return build

    def make_floor(self) -> Command:
        file = self.folder / "floor.bin"
        call([sys.executable, HERE / "floor.py", self.workload.imports, file])
        return self._program("floor", FLOOR.format(here=str(HERE), file=str(file)))

    def make_zip(self) -> Command:
        file = self.folder / "stored.zip"
        write_zip(self.registry, file)
        return self._program("zip", ZIP.format(file=str(file)))

    def make_pyinstaller(self) -> Command:
        if find_spec("PyInstaller") is None:
            raise Unavailable("is not installed")
        program = self.folder / "dist" / "stock" / "stock"
        if not program.exists():
            folders = [f"--{name}path={self.folder / name}" for name in ("dist", "work", "spec")]
            options = ["--onedir", "--noconfirm", "--log-level=ERROR", *folders]
            call([sys.executable, "-m", "PyInstaller", *options, *self.make_stock().argv[1:]])
        return Command([str(program)], {})

    def make_pycds(self) -> Command:
        if sys.version_info >= (3, 13):
            raise Unavailable("has no release for this version")
        # not among the distributions: its .pth file would have every process import it
        home = self.folder.parent / "code-data-share"
        if not home.exists():
            call(
                [sys.executable, "-m", "pip", "install", "-q", "--target", home, "code-data-share"]
            )
        archive, names = self.folder / "archive.img", self.folder / "archive.lst"
        command = self._program("pycds", CDS.format(home=str(home)))
        call(command.argv, os.environ | {"PYCDSMODE": "TRACE", "PYCDSLIST": str(names)})
        dump = f"sys.path.append({str(home)!r}); import cds.dump; cds.dump.run_dump"
        call([sys.executable, "-c", f"import sys; {dump}({str(names)!r}, {str(archive)!r})"])
        return command._replace(env={"PYCDSMODE": "SHARE", "PYCDSARCHIVE": str(archive)})

    def _program(self, side: str, setup: str = "") -> Command:
        path = self.folder / f"{side}.py"
        path.write_text(PROGRAM.format(setup=setup, imports=self.workload.imports), "utf-8")
        return Command([self.python, str(path)], {})

    def make_unmarshal(self) -> Command:
        """Unmarshals the code of what the floor has recorded, and does no more."""
        self.make_floor()
        path = self.folder / "unmarshal.py"
        file = self.folder / "floor.bin"
        path.write_text(UNMARSHAL.format(file=str(file)), "utf-8")
        return Command([self.python, str(path)], {})

    def make_without(self, trick: Trick) -> Command:
        """Overlay without one of its tricks."""
        install = INSTALL.format(registry=str(getattr(self, trick.registry)), mode="overlay")
        command = self._program(f"without-{trick.name}", f"{trick.patch}\n{install}")
        return command._replace(env={"FROZENFINDER_WITHOUT": trick.switch})

    def _installed(self, mode: str) -> Command:
        return self._program(mode, INSTALL.format(registry=str(self.registry), mode=mode))


def write_zip(registry: Path, file: Path) -> None:
    """Write what a registry has of Python code to a zip file, as `.pyc` files, not compressed.

    Of an extension module the source takes the place that may lie beside it.
    """
    frozen = Registry.open(str(registry))
    found: dict[str, CodeType] = {}
    for entry in frozen.entries():
        if entry.path.endswith(".py"):
            found[entry.path] = frozen.get_frozen_object(entry.name)
        elif entry.kind == "extension":
            path = f"{entry.path.partition('.')[0]}.py"
            source = Path(sysconfig.get_path("purelib"), path)
            if source.exists():
                found[path] = compile(source.read_bytes(), path, "exec", dont_inherit=True)
    folders = {str(folder) for path in found for folder in PurePosixPath(path).parents} - {"."}
    with zipfile.ZipFile(file, "w") as archive:
        for folder in sorted(folders):  # without them namespace packages are not found
            archive.writestr(f"{folder}/", b"")
        for path, code in found.items():
            archive.writestr(f"{path}c", MAGIC_NUMBER + bytes(12) + marshal.dumps(code))
