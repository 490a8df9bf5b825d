"""What a bundle costs beside other files of a program: `benchmarks/bundles.py [PROGRAM ...]`.

Each program is installed with pip into a virtual environment, and made into one file by
frozenfinder, zipapp, shiv and pex, of which the last two have to be installed beside frozenfinder.
Every measurement is a fresh process, from start to exit; the files take turns. They are run by the
interpreter of an empty virtual environment: the site-packages of the interpreter itself may have
`.pth` files, which every start would execute, and modules that the program then finds there. What
is printed are the size, the first run (shiv and pex unpack themselves then, and a bundle its
extension modules and laid-out packages), the median of the others, and the medians of the ratios of
the bundle's time to the file's within a round, of the clock and of the CPU, with the quartiles.
`installed` is the program in its environment.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from frozenfinder.bench import Comparison, ProcessError, Usage, compare, run, take_turns

BARE = getattr(sys, "_base_executable", sys.executable)


@dataclass(frozen=True)
class Program:
    """A requirement, the function that its command calls, and arguments with which it soon ends."""

    requirement: str
    entry: str
    arguments: tuple[str, ...] = ("--version",)
    laid_out: tuple[str, ...] = ()


PROGRAMS = {
    "black": Program("black", "black:patched_main", laid_out=("blib2to3",)),
    "httpie": Program("httpie", "httpie.__main__:main"),
    "flask": Program("flask", "flask.cli:main"),
    "awscli": Program("awscli", "awscli.clidriver:main", laid_out=("awscli",)),
    "django": Program(
        "django",
        "django.core.management:execute_from_command_line",
        ("check", "--settings=settings"),
        laid_out=("django",),
    ),
}
SETTINGS = """
SECRET_KEY = "-"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin",
                  "django.contrib.sessions", "django.contrib.messages"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware",
              "django.contrib.messages.middleware.MessageMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {
    "context_processors": ["django.template.context_processors.request",
                           "django.contrib.auth.context_processors.auth",
                           "django.contrib.messages.context_processors.messages"]}}]
"""


class Workshop:
    """A folder in which one program is installed and made into files."""

    def __init__(self, folder: Path, program: Program) -> None:
        self.folder = folder
        self.program = program
        self.site = folder / "site"
        scripts = "Scripts" if sys.platform == "win32" else "bin"
        self.python = folder / "venv" / scripts / "python"
        self.bare = folder / "empty" / scripts / "python"
        self.tools = Path(sysconfig.get_path("scripts"))
        (folder / "settings.py").write_text(SETTINGS, encoding="utf-8")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "SHIV_ROOT": str(folder / "shiv"),
            "PEX_ROOT": str(folder / "pex"),
            "PYTHONPATH": str(folder),
            "FROZENFINDER_CACHE": str(folder / "cache"),
        }

    def run(self, *argv: str | Path, **variables: str) -> None:
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{argv} failed:\n{done.stdout}{done.stderr}")

    def install(self) -> None:
        self.run(BARE, "-m", "venv", self.folder / "venv")
        self.run(BARE, "-m", "venv", "--without-pip", self.folder / "empty")
        self.run(self.python, "-m", "pip", "install", "--quiet", self.program.requirement)

    def make(self) -> Iterator[tuple[str, list[str | Path]]]:
        """The name of each file, and the command that runs it."""
        program = self.program
        module, _, function = program.entry.partition(":")
        call = f"import sys; from {module} import {function} as f; sys.exit(f())"
        yield "installed", [self.python, "-c", call]
        yield "bundle", [self.bare, self.make_bundle()]
        yield "zipapp", [self.bare, self.make_zipapp()]
        shiv = self.folder / "program.shiv"
        self.run(self.tools / "shiv", "-q", "-e", program.entry, "-o", shiv, program.requirement)
        yield "shiv", [self.bare, shiv]
        for name, options in (("pex", []), ("pex --venv", ["--venv"])):
            pex = self.folder / f"program{''.join(options)}.pex"
            command = [self.tools / "pex", program.requirement, "-e", program.entry]
            self.run(*command, "--python", self.bare, *options, "-o", pex)
            yield name, [self.bare, pex]

    def make_bundle(self) -> Path:
        import frozenfinder

        path = self.folder / "program.pyz"
        options = [f"--lay-out={package}" for package in self.program.laid_out]
        home = str(Path(frozenfinder.__file__).parent.parent)
        command = [self.python, "-m", "frozenfinder", "bundle", "--quiet", "-o", path]
        self.run(*command, "--entry", self.program.entry, *options, PYTHONPATH=home)
        return path

    def make_zipapp(self) -> Path:
        path = self.folder / "zipapp.pyz"
        pip = [self.python, "-m", "pip", "install", "--quiet", "--target", self.site]
        self.run(*pip, self.program.requirement)
        self.run(BARE, "-m", "zipapp", self.site, "-m", self.program.entry, "-o", path)
        return path

    def measure(self, command: list[str | Path]) -> Usage:
        """What a run takes; ProcessError."""
        return run([*command, *self.program.arguments], env=self.environment, cwd=self.folder)


def compare_files(workshop: Workshop, rounds: int) -> None:
    sides = {name: partial(workshop.measure, command) for name, command in workshop.make()}
    files = {name: Path(side.args[0][-1]) for name, side in sides.items()}
    sizes = {
        name: f"{file.stat().st_size / 1e6:7.1f} MB" if file.is_file() else " " * 10
        for name, file in files.items()
    }
    first: dict[str, Usage] = {}
    for name, side in sides.items():
        with suppress(ProcessError):
            unpacking, _ = side(), side()
            first[name] = unpacking
    for name in sides.keys() - first.keys():
        print(f"  {name:11}{sizes[name]}   does not run")
    times = take_turns({name: sides[name] for name in first}, rounds)
    for name, taken in times.items():
        wall = compare([each.wall for each in taken], [own.wall for own in times["bundle"]])
        cpu = compare([each.cpu or 0 for each in taken], [own.cpu or 0 for own in times["bundle"]])
        print(
            f"  {name:11}{sizes[name]}   first {first[name].wall * 1e3:7.0f} ms"
            f"   then {wall.stock * 1e3:7.0f} ms   bundle/{name} {describe(wall)}"
            f", CPU {describe(cpu)}",
            flush=True,
        )


def describe(found: Comparison) -> str:
    return f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("programs", nargs="*", help=", ".join(PROGRAMS))
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {options.rounds} rounds", flush=True)
    for name in options.programs or PROGRAMS:
        with tempfile.TemporaryDirectory(prefix="frozenfinder-") as folder:
            workshop = Workshop(Path(folder), PROGRAMS[name])
            workshop.install()
            print(f"{name} {' '.join(workshop.program.arguments)}", flush=True)
            compare_files(workshop, options.rounds)


if __name__ == "__main__":
    main()
