"""The processes that a program starts boot as it did: spawn, forkserver, fork and `subprocess`.

Each program here starts processes by every method that there is, in a process of its own, and tells
what they were like.
"""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any
from zipimport import zipimporter

import pytest
from support.sources import write_tree
from support.trees import closed

import frozenfinder
from frozenfinder.closed.processes import watch

POSIX = os.name == "posix"
STARTUP = Path(frozenfinder.__file__).parent / "startup"
METHODS = ["fork", "spawn", "forkserver"] if POSIX else ["spawn"]

LIB = {
    "jobs.py": """\
import sys

class Thing:
    def __init__(self, value):
        self.value = value

def describe(thing):
    '''What the process is like, in which this runs.'''
    hooks = sys.modules.get("frozenfinder.runtime.hooks")
    finders = hooks.installed() if hooks else []
    return {
        "thing": type(thing).__module__,
        "value": thing.value,
        "modes": [finder.mode for finder in finders],
        "served": any(finder.served for finder in finders),
        "path": sys.path,
        "argv": sys.argv,
    }
""",
    "app/__init__.py": "",
}

PROGRAM = """\
class Own:
    value = "own"

def work(things):
    return [jobs.describe(thing) for thing in things], Own()

def ask(context):
    things = [jobs.Thing("theirs"), Own()]
    with context.Pool(1) as pool:
        answers, own = pool.apply(work, [things])
    assert type(own) is Own, own
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(work, things).result()[0] == answers
        assert type(executor.submit(jobs.Thing, 1).result()) is jobs.Thing
    return answers

def main():
    told = {}
    for method in sys.argv[1:]:
        told[method] = ask(multiprocessing.get_context(method))
    code = "import jobs, json; print(json.dumps([jobs.describe(jobs.Thing('theirs'))]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    told["subprocess"] = json.loads(done.stdout) if done.stdout else done.stderr
    told["here"] = [jobs.describe(jobs.Thing("theirs"))]
    print(json.dumps(told))
"""
IMPORTS = """\
import json, multiprocessing, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
import jobs
"""
GUARD = "if __name__ == '__main__':\n    main()\n"
INSTALL = "import frozenfinder\nfrozenfinder.install({registry!r}, mode={mode!r}{options})\n"

LIB["app/program.py"] = IMPORTS + PROGRAM + GUARD


class Programs:
    """`registry` was frozen of `lib`, which is there only if a program is told its path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lib = write_tree(root / "lib", LIB)
        self.registry = root / "lib.frz"
        freeze = ("-m", "frozenfinder", "freeze", "--path", self.lib, "-o", self.registry)
        assert self.start(*freeze, "--quiet").returncode == 0

    def start(
        self, *argv: str | Path, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FROZENFINDER"))
        }
        return subprocess.run(
            [sys.executable, *argv],
            cwd=self.root,
            env=clean | dict(env or {}),
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=120,
        )

    def write(self, *parts: str) -> Path:
        path = self.root / "main.py"
        path.write_text("".join(parts))
        return path

    def ask(self, *argv: str | Path, env: Mapping[str, str] | None = None) -> Any:
        """What a program tells of each kind of process, which it does without a word on stderr."""
        done = self.start(*argv, *METHODS, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    @property
    def on_path(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.lib)}

    def install(self, mode: str, options: str = "") -> str:
        return INSTALL.format(registry=str(self.registry), mode=mode, options=options)

    def run(self, mode: str = "closed") -> list[str | Path]:
        """The beginning of a command line that has the program run."""
        return ["-m", "frozenfinder", "run", "--mode", mode, self.registry]


@pytest.fixture(scope="module")
def programs(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(tmp_path_factory.mktemp("programs").resolve())


def assert_alike(told: Any, mode: str) -> None:
    """Every process is as the one that started it: same mode, same registry, same arguments."""
    here = told.pop("here")[0]
    assert here["modes"] == [mode]
    assert set(told) == {*METHODS, "subprocess"}
    for method, answers in told.items():
        assert isinstance(answers, list), answers
        assert [answer["modes"] for answer in answers] == [[mode]] * len(answers), method
        assert all(answer["served"] for answer in answers), method
        if method != "subprocess":
            assert [answer["thing"].endswith("main__") for answer in answers] == [False, True]
            assert [answer["value"] for answer in answers] == ["theirs", "own"]
            assert answers[0]["argv"] == here["argv"]
            assert answers[0]["path"] == here["path"]


# -- from `run`


def test_from_run_in_overlay_mode_they_are_as_under_stock(programs: Programs) -> None:
    script = programs.write(IMPORTS, PROGRAM, GUARD)
    stock = programs.ask(script, env=programs.on_path)
    ours = programs.ask(*programs.run("overlay"), script, env=programs.on_path)
    assert_alike({**ours}, "overlay")
    for told in (stock, ours):
        for answers in told.values():
            for answer in answers:
                del answer["modes"], answer["served"]
    assert ours == stock


@pytest.mark.parametrize("flags", [[], ["-I"]], ids=" ".join)
def test_from_run_in_closed_mode(programs: Programs, flags: list[str]) -> None:
    script = programs.write(IMPORTS, PROGRAM, GUARD)
    assert_alike(programs.ask(*flags, *programs.run(), script), "closed")


def test_from_run_of_a_module_that_only_the_registry_has(programs: Programs) -> None:
    assert_alike(programs.ask(*programs.run(), "-m", "app.program"), "closed")


def test_from_run_where_multiprocessing_was_imported_at_the_start(programs: Programs) -> None:
    early = write_tree(programs.root / "early", {"sitecustomize.py": "import multiprocessing\n"})
    script = programs.write(IMPORTS, PROGRAM, GUARD)
    told = programs.ask(*programs.run(), script, env={"PYTHONPATH": str(early)})
    assert_alike(told, "closed")


# -- from `install`


def test_from_an_overlay_install(programs: Programs) -> None:
    script = programs.write(programs.install("overlay"), IMPORTS, PROGRAM, GUARD)
    told = programs.ask(script, env=programs.on_path)
    assert told.pop("subprocess")[0]["modes"] == []  # which is another program
    told["subprocess"] = told["spawn"]
    assert_alike(told, "overlay")


def test_from_a_closed_install(programs: Programs) -> None:
    script = programs.write(programs.install("closed"), IMPORTS, PROGRAM, GUARD)
    told = programs.ask(script)
    assert "ModuleNotFoundError" in told.pop("subprocess")  # which is another program
    told["subprocess"] = told["spawn"]
    assert_alike(told, "closed")


def test_from_a_closed_install_that_only_the_main_process_carries_out(programs: Programs) -> None:
    guarded = "if __name__ == '__main__':\n" + "".join(
        f"    {line}\n" for line in (programs.install("closed") + IMPORTS).splitlines()
    )
    script = programs.write(guarded, CARRIED)
    done = programs.start(script, *METHODS)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [["closed"]] * len(METHODS)


CARRIED = """\
    told = []
    for method in sys.argv[1:]:
        with multiprocessing.get_context(method).Pool(1) as pool:
            told.append(pool.apply(jobs.describe, [jobs.Thing(1)])["modes"])
    print(json.dumps(told))
"""


@pytest.mark.parametrize("first", ["", "import multiprocessing.util\n"])
def test_from_a_closed_install_of_a_program_without_a_file(programs: Programs, first: str) -> None:
    code = first + programs.install("closed") + IMPORTS + "if True:\n" + CARRIED
    done = programs.start("-c", code, *METHODS)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [["closed"]] * len(METHODS)


ARGUMENTS = """\
import frozenfinder, multiprocessing.util
print(multiprocessing.util._args_from_interpreter_flags()[1:])
frozenfinder.uninstall()
print(multiprocessing.util._args_from_interpreter_flags())
"""


def test_what_was_asked_of_the_registry_is_asked_in_each_process(programs: Programs) -> None:
    pin = hashlib.sha256(programs.registry.read_bytes()).hexdigest()
    code = programs.install("closed", f", sha256={pin!r}") + ARGUMENTS
    arguments = ["--mode=closed", f"--sha256={pin}", str(programs.registry)]
    assert programs.start("-c", code).stdout == f"{arguments}\n[]\n"
    if POSIX:
        programs.registry.chmod(0o666)
        code = programs.install("closed", ", trusted=True") + ARGUMENTS
        arguments[1] = "--trusted"
        assert programs.start("-c", code).stdout == f"{arguments}\n[]\n"
        programs.registry.chmod(0o644)


def test_a_registry_in_memory_is_not_handed_on(programs: Programs) -> None:
    code = (
        f"import frozenfinder\ndata = open({str(programs.registry)!r}, 'rb').read()\n"
        "frozenfinder.install(data, mode='closed')\n" + ARGUMENTS
    )
    assert programs.start("-c", code).stdout == "[]\n[]\n"


def test_a_package_in_a_zip_file_hands_nothing_on(programs: Programs, tmp_path: Path) -> None:
    package = STARTUP.parent
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for path in package.rglob("*.py"):
            archive.write(path, Path("frozenfinder") / path.relative_to(package))
    code = programs.install("closed") + ARGUMENTS
    done = programs.start("-c", code, env={"PYTHONPATH": str(tmp_path / "own.zip")})
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


def test_a_world_without_multiprocessing_has_none() -> None:
    with closed({"m.py": ""}, world=True) as finder:
        path = [str(Path(os.__file__).parent / "multiprocessing")]
        assert finder.find_spec("multiprocessing.util", path) is None


def test_another_module_of_the_same_loader_is_executed_as_ever(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("other.py", "VALUE = 1")
    spec = zipimporter(str(tmp_path / "other.zip")).find_spec("other")
    with closed({"m.py": ""}) as finder:
        assert watch(finder, spec, None) is spec
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.VALUE == 1
        assert "exec_module" in vars(spec.loader)


# -- the environment that `run` hands on


SITE = """
import sys
def tell(who):
    hooks = sys.modules.get("frozenfinder.runtime.hooks")
    modes = [finder.mode for finder in hooks.installed()] if hooks else []
    print(who, __file__, modes, flush=True)
tell("run")
"""
CHILD = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, {}]).returncode)"
TELL = "import sys; print('frozenfinder.runtime.hooks' in sys.modules, sys.path[1:2])"


def test_the_sitecustomize_that_is_hidden_has_its_turn(programs: Programs) -> None:
    site = write_tree(programs.root / "site", {"sitecustomize.py": SITE}) / "sitecustomize.py"
    tell = "import sitecustomize; sitecustomize.tell(sitecustomize.__name__)"
    code = CHILD.format(f"'-c', {tell!r}")
    done = programs.start(*programs.run(), "-c", code, env={"PYTHONPATH": str(site.parent)})
    assert done.stdout.splitlines() == [
        f"run {site} []",
        f"run {site} []",
        f"sitecustomize {site} ['closed']",
    ]


@pytest.mark.parametrize("body", ["import absent", "1 / 0", "import sys; sys.exit(3)"])
def test_a_sitecustomize_that_fails_does_so_as_under_stock(programs: Programs, body: str) -> None:
    site = write_tree(programs.root / "fails", {"sitecustomize.py": f"if 1:\n    {body}\n"})
    stock = programs.start("-c", "print(1)", env={"PYTHONPATH": str(site)})
    path = {"PYTHONPATH": os.pathsep.join([str(STARTUP), str(site)])}
    ours = programs.start("-c", "print(1)", env=path)
    assert (ours.stdout, ours.returncode) == (stock.stdout, stock.returncode)
    assert ours.stderr.splitlines()[-2:] == stock.stderr.splitlines()[-2:]


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_processes_that_read_no_environment_start_as_stock(programs: Programs, flag: str) -> None:
    code = CHILD.format(f"{flag!r}, '-c', {TELL!r}")
    done = programs.start(*programs.run(), "-c", code)
    assert done.stdout.startswith("False ")


def test_another_python_is_left_alone(programs: Programs) -> None:
    code = f"import os\nos.environ['FROZENFINDER_RUN'] = 'cpython-27,mode=closed:/absent'\n{CHILD}"
    done = programs.start(*programs.run(), "-c", code.format(f"'-c', {TELL!r}"))
    assert (done.stdout.split()[0], done.stderr) == ("False", "")


def test_frozenfinder_off_hands_nothing_on(programs: Programs) -> None:
    code = "import os; print('PYTHONPATH' in os.environ, 'FROZENFINDER_RUN' in os.environ)"
    done = programs.start(*programs.run(), "-c", code, env={"FROZENFINDER": "off"})
    assert done.stdout == "False False\n"


def test_a_run_inside_a_run_takes_its_place(programs: Programs) -> None:
    inner = ["-m", "frozenfinder", "run", str(programs.registry), "-c"]
    code = "import os; print(os.environ['PYTHONPATH'], os.environ['FROZENFINDER_RUN'])"
    done = programs.start(*programs.run(), "-c", CHILD.format(f"*{[*inner, code]!r}"))
    settings = f"{sys.implementation.cache_tag},mode=overlay,fast_exit=True:{programs.registry}"
    assert done.stdout == f"{STARTUP} {settings}\n"


@pytest.mark.parametrize("flags", [[], ["-I"]], ids=" ".join)
def test_a_world_is_handed_on_too(programs: Programs, world: Path, flags: list[str]) -> None:
    """Nothing outside the registry can be imported, by the processes neither."""
    code = f"{IMPORTS}try:\n    import outside\nexcept ImportError:\n{CARRIED}"
    run = (*flags, "-m", "frozenfinder", "run", "--mode=closed", str(world))
    done = programs.start(*run, "-c", code, *METHODS)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [["closed"]] * len(METHODS)


@pytest.fixture(scope="module")
def world(programs: Programs) -> Path:
    registry = programs.root / "world.frz"
    (programs.root / "outside.py").write_text("")
    done = programs.start(
        *("-m", "frozenfinder", "freeze", "--stdlib", "--path", programs.lib),
        *("--world", "-o", registry, "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    return registry
