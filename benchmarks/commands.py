"""How long real commands take, as whole processes: `python benchmarks/commands.py`.

Each command is installed with pip into virtual environments of its own, and made into the files of
other tools. The sides take turns in fresh processes, with all that Python does from start to exit.
There are two modes:

    compiled  every `.pyc` file is there
    no-pyc    there are none but those of the standard library, and none are written

What is printed are Markdown tables. A ratio is the median of the ratios to stock within the rounds.
`--write` puts the figures into the JSON file of this version of Python and into the pages, where
the figures of other commands, sides and modes stay as they are. What takes long to make is kept in
`--work`. The sides:

    stock        the command in its environment
    enable       the same, with a registry enabled; it was frozen with a recorded start
    run          frozenfinder run, with that registry
    bundle       frozenfinder bundle, started by the bare interpreter, as the other files are
    zipapp, shiv, pex, pyinstaller

The options of a side are those of the command that it is named for, such as `enable --fast-exit`.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import speed_page
from environments import (
    ENVIRON,
    call,
    compile_packages,
    disable,
    enable,
    make_environment,
    remove_bytecode,
)
from measures import describe_machine, find_commands, load, write
from sides import BUNDLES, ENABLES, RUNS, Builder, Command

from frozenfinder.bench import ProcessError, Usage, run, take_turns

BARE = getattr(sys, "_base_executable", sys.executable)


class Program(NamedTuple):
    """A requirement of pip, a console script of it, and its arguments."""

    requirement: str
    script: str
    arguments: tuple[str, ...]
    laid_out: tuple[str, ...] = ()
    collected: tuple[str, ...] = ()
    """Packages whose modules and files PyInstaller does not find by itself."""
    entry: str = ""
    """The function that the script calls, as MODULE:FUNCTION, where no metadata says so."""


PROGRAMS = {
    "black": Program("black", "black", ("--quiet", "--code", "x = {  1:2}"), ("blib2to3",)),
    "httpie": Program(
        "httpie", "http", ("--ignore-stdin", "--offline", "example.org", "a=b"), (), ("httpie",)
    ),
    "aws": Program(
        "awscli",
        "aws",
        ("--version",),
        ("awscli",),
        ("awscli", "botocore"),
        "awscli.clidriver:main",
    ),
    "django-admin": Program(
        "Django", "django-admin", ("check", "--settings=settings"), ("django",), ("django",)
    ),
    "flask": Program("Flask", "flask", ("--app", "shop", "routes")),
    "pip": Program("pip", "pip", ("list", "--path", "packages"), (), ("pip",)),
    "sphinx-build": Program(
        "Sphinx",
        "sphinx-build",
        ("-q", "-E", "-b", "html", "source", "built"),
        ("sphinx", "alabaster", "docutils"),
        ("sphinx", "alabaster", "docutils"),
    ),
    "mkdocs": Program("mkdocs", "mkdocs", ("build", "--quiet"), ("mkdocs",), ("mkdocs",)),
}
"""By the name that the tables have."""

FILES = {
    "settings.py": """
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
""",
    "shop.py": """
import flask
app = flask.Flask(__name__)
app.add_url_rule("/", "index", lambda: "shop")
""",
    "packages/shop-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1\n",
    "source/conf.py": "project = 'shop'\n",
    "source/index.rst": "Shop\n====\n\nWords, *more* words.\n",
    "mkdocs.yml": "site_name: shop\n",
    "docs/index.md": "# Shop\n\nWords, *more* words.\n",
}
"""What the commands work on."""

OURS = ("stock", *ENABLES, *RUNS, *BUNDLES)
SIDES = (*OURS, *speed_page.COMMAND_PEERS)
MODES = ("compiled", "no-pyc")
SUFFIXES = (".pyz", ".shiv", ".pex")
QUICK_ROUNDS = 3


class Workshop(Builder):
    """A folder in which one program is installed and made into files."""

    def __init__(self, program: Program, folder: Path, tools: Path) -> None:
        super().__init__(folder)
        self.program = program
        self.tools = tools
        self.project = folder / "project"
        for name, text in FILES.items():
            file = self.project / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        self.environment = ENVIRON | {"HOME": str(folder), "PYTHONPATH": str(self.project)}

    def prepare(self, mode: str) -> None:
        """Write all `.pyc` files or remove them, and empty the caches of all sides."""
        caches = {
            "SHIV_ROOT": self.folder / "caches" / "shiv",
            "PEX_ROOT": self.folder / "caches" / "pex",
            "FROZENFINDER_CACHE": self.folder / "caches" / "frozenfinder",
        }
        self.environment |= {name: str(path) for name, path in caches.items()}
        shutil.rmtree(self.folder / "caches", ignore_errors=True)
        if mode == "compiled":
            for root in self.folder.glob("environment*"):
                compile_packages(root)
            self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        else:
            remove_bytecode(self.folder)
            self.environment["PYTHONDONTWRITEBYTECODE"] = "1"

    def measure(self, command: Command) -> Usage:
        """What a run takes; ProcessError."""
        return run(command.argv, env=self.environment | command.env, cwd=self.project)

    def make_stock(self, name: str = "environment") -> Command:
        python = self._install(name)
        return Command([str(python), str(self._find_script(python)), *self.program.arguments], {})

    def make_enable(self, *options: str) -> Command:
        name = "-".join(("environment", "enabled", *options))
        python = self._install(name)
        disable(python)
        enable(python, self._freeze(name, python), *options)
        return self.make_stock(name)

    def make_run(self, *options: str) -> Command:
        python = self._install("environment")
        registry = self._freeze("environment", python)
        own = [str(python), "-m", "frozenfinder", "run", *options, str(registry)]
        return Command([*own, *self.make_stock().argv[1:]], {})

    def make_bundle(self, *options: str) -> Command:
        python = self._install("environment")
        path = self.folder / f"{'-'.join(('bundle', *options))}.pyz"
        lay_out = [f"--lay-out={package}" for package in self.program.laid_out]
        own = [python, "-m", "frozenfinder", "bundle", "--quiet", *options, *lay_out, "-o", path]
        self._call([*own, *self._name_program("--entry", "--script")])
        return self._start(path)

    def make_zipapp(self) -> Command:
        path, site = self.folder / "zipapp.pyz", self.folder / "site"
        if not path.exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
            call([*pip, "--target", site, self.program.requirement], ENVIRON)
            entry = self._read_entry()
            self._call([BARE, "-m", "zipapp", site, "-m", entry, "-o", path])
        return self._start(path)

    def make_shiv(self) -> Command:
        path = self.folder / "program.shiv"
        if not path.exists():
            options = ["-q", *self._name_program("-e", "-c"), "-o", path]
            self._call([self._install_tools() / "shiv", *options, self.program.requirement])
        return self._start(path)

    def make_pex(self, *options: str) -> Command:
        path = self.folder / f"{'-'.join(('program', *options))}.pex"
        if not path.exists():
            pex = [self._install_tools() / "pex", self.program.requirement, "-o", path, *options]
            self._call([*pex, *self._name_program("-e", "-c"), "--python", BARE])
        return self._start(path)

    def make_pyinstaller(self) -> Command:
        folder = self.folder / "pyinstaller"
        program = folder / "dist" / "program" / "program"
        if not program.exists():
            python = make_environment(folder, self.program.requirement, "pyinstaller")
            folders = [f"--{name}path={folder / name}" for name in ("dist", "work", "spec")]
            options = ["--onedir", "--noconfirm", "--log-level=ERROR", "--name=program", *folders]
            options += [f"--collect-all={package}" for package in self.program.collected]
            options += ["--recursive-copy-metadata", self.program.requirement]
            self._call([python, "-m", "PyInstaller", *options, self._find_script(python)])
        return Command([str(program), *self.program.arguments], {})

    def _start(self, file: Path) -> Command:
        return Command([BARE, str(file), *self.program.arguments], {})

    def _install(self, name: str) -> Path:
        return make_environment(self.folder / name, self.program.requirement)

    def _install_tools(self) -> Path:
        return make_environment(self.tools, "pip", "setuptools", "shiv", "pex").parent

    def _find_script(self, python: Path) -> Path:
        return python.with_name(self.program.script)

    def _name_program(self, of_entry: str, of_script: str) -> list[str]:
        """An option and its value that name the program."""
        entry, script = self.program.entry, self.program.script
        return [of_entry, entry] if entry else [of_script, script]

    def _read_entry(self) -> str:
        """The function that the console script calls, as MODULE:FUNCTION."""
        if self.program.entry:
            return self.program.entry
        python = self._install("environment")
        code = (
            "import sys; from importlib.metadata import entry_points\n"
            "(found,) = entry_points(group='console_scripts', name=sys.argv[1])\n"
            "print(found.value)"
        )
        argv = [python, "-c", code, self.program.script]
        found: str = subprocess.check_output(argv, text=True, env=ENVIRON)
        return found.strip()

    def _freeze(self, name: str, python: Path) -> Path:
        registry = self.folder / f"{name}.frz"
        own = [python, "-m", "frozenfinder", "freeze", "--quiet", "--stdlib", "-o", registry]
        own += ["--with-dependencies", f"--distribution={self.program.requirement}"]
        self._call([*own, "--trace", "--", *self.make_stock(name).argv])
        return registry

    def _call(self, argv: Sequence[str | Path]) -> None:
        call(argv, self.environment, self.project)


def measure_program(
    workshop: Workshop, options: argparse.Namespace, say: Callable[[str], None]
) -> dict[str, Any]:
    """By mode and side seconds of all rounds; the sizes of files; and why sides are missing."""
    say("builds its sides")
    commands, missing = find_commands(workshop, options.sides, workshop.measure)
    figures: dict[str, Any] = {"unavailable": missing, "sizes": measure_sizes(commands)}
    for mode in options.modes:
        say(mode)
        workshop.prepare(mode)
        first: dict[str, float] = {}
        for side, command in commands.items():
            try:
                first[side] = workshop.measure(command).wall
            except ProcessError as error:
                missing[side] = f"fails, {mode}: {error}"
        sides = {side: partial(workshop.measure, commands[side]) for side in first}
        taken = take_turns(sides, options.rounds)
        figures[mode] = {
            side: {
                "wall": [each.wall for each in usages],
                "cpu": [each.cpu for each in usages],
                "first": first[side],
            }
            for side, usages in taken.items()
        }
    return figures


def measure_sizes(commands: Mapping[str, Command]) -> dict[str, int]:
    """The bytes of the sides that are one file."""
    files = {
        side: Path(command.argv[1]) for side, command in commands.items() if len(command.argv) > 1
    }
    return {side: file.stat().st_size for side, file in files.items() if file.suffix in SUFFIXES}


def main() -> None:
    options = parse()
    begin = time.monotonic()

    def say(*words: object) -> None:
        print(f"{time.monotonic() - begin:6.0f} s ", *words, file=sys.stderr, flush=True)

    file = options.output / f"{sys.implementation.cache_tag}.json"
    figures = {"machine": describe_machine(), "rounds": options.rounds, "programs": {}}
    for name in options.commands:
        workshop = Workshop(PROGRAMS[name], options.work / name, options.work / "tools")
        measured = measure_program(workshop, options, partial(say, name))
        figures["programs"][name] = measured
        if options.write:
            record(figures, file, options.work)
    print("\n".join(speed_page.describe_commands(figures)))
    if options.write:
        for path in (file, *speed_page.write(options.output)):
            say("wrote", path)


def record(figures: dict[str, Any], file: Path, work: Path) -> None:
    """Put figures into the file, where those of other commands and modes stay."""
    kept = load(file)
    programs = kept.get("commands", {}).get("programs", {})
    merged = {name: programs.get(name, {}) | each for name, each in figures["programs"].items()}
    kept["commands"] = figures | {"programs": programs | merged}
    write(kept, file, (work, sys.prefix, sys.base_prefix))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    root = Path(__file__).parent.parent
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--commands", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), metavar="SIDE")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    text = f"{QUICK_ROUNDS} rounds, and only frozenfinder's own sides"
    parser.add_argument("--quick", action="store_true", help=text)
    parser.add_argument("--write", action="store_true", help="write the figures and the pages")
    work = root / "build" / f"commands-{sys.implementation.cache_tag}"
    parser.add_argument("--work", type=Path, default=work, help=f"(default: {work})")
    output = root / "docs" / "explanation" / "speed"
    parser.add_argument("--output", type=Path, default=output, help=f"(default: {output})")
    options = parser.parse_args()
    if options.quick:
        options.rounds = QUICK_ROUNDS
        options.sides = [side for side in options.sides if side in OURS]
    options.rounds = max(options.rounds, 2)
    options.sides = list(dict.fromkeys(("stock", *options.sides)))
    options.work = options.work.resolve()
    return options


if __name__ == "__main__":
    main()
