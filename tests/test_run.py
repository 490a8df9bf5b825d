"""`frozenfinder run` does what `python` does: the same output, errors and exit status.

Every program here is run twice in fresh processes, by `python` and by `frozenfinder run`.
"""

import os
import py_compile
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.layers import BUILTIN, find_boot

from frozenfinder.cli import UsageError
from frozenfinder.cli.parser import MODES, Parser
from frozenfinder.cli.run import _FLAGS, _VALUED, SUMMARY, USAGE, parse

POSIX = os.name == "posix"

PROBE = """\
import sys
print(sys.argv, sys.path)
print([(name, str(value).split(" at 0x")[0]) for name, value in list(globals().items())])
print(sys.modules["__main__"].__dict__ is globals())
"""

MODULES = {
    "served.py": "def fail():\n    return 1 / 0\n\n\nif __name__ == '__main__':\n    fail()\n",
    "package/__init__.py": "print('package')\n",
    "package/__main__.py": "import sys\nprint(__name__, __package__, sys.argv)\n",
    "package/part.py": "from . import __name__ as name\nprint(name, __name__)\n",
    "alone/__init__.py": "",
    "names.py": "import sys\nprint(*sys.modules)\n",
}

PROGRAMS = {
    "probe.py": PROBE,
    "folder/__main__.py": PROBE,
    "bare/module.py": "",
    "bad.py": "x = 1\ndef (\n",
    "imports_bad.py": "import bad\n",
    "fails.py": "def inner():\n    return {}['absent']\n\n\ninner()\n",
    "imports_fails.py": "import fails\n",
    "through.py": "import served\n\n\nserved.fail()\n",
    "chained.py": "try:\n    {}[0]\nexcept KeyError:\n    import served\n    served.fail()\n",
    "caused.py": "try:\n    {}[0]\nexcept KeyError as error:\n    raise ValueError from error\n",
    "group.py": "raise ExceptionGroup('several', [ValueError(1), KeyError('k')])\n",
    "noted.py": "error = ValueError('v')\nerror.add_note('a note')\nraise error\n",
    "interrupted.py": "raise KeyboardInterrupt\n",
    "interrupted_kind.py": "class Own(KeyboardInterrupt): pass\nraise Own\n",
    "base.py": "raise BaseException('base')\n",
    "exits.py": "import sys\nsys.exit(eval(sys.argv[1]))\n",
    "exits_kind.py": "class Own(SystemExit): pass\nraise Own(9)\n",
    "leaves.py": "import os\nos._exit(7)\n",
    "hooked.py": """\
import sys
def hook(kind, error, traceback):
    print(kind, error, traceback.tb_frame.f_code.co_name, error.__traceback__ is traceback)
    print(sys.last_value is error, sys.last_traceback is traceback, sys.excepthook is hook)
sys.excepthook = hook
1 / 0
""",
    "hook_fails.py": """\
import sys
def hook(*exception):
    raise KeyError("in the hook")
sys.excepthook = hook
1 / 0
""",
    "hook_exits.py": "import sys\nsys.excepthook = lambda *exception: sys.exit(5)\n1 / 0\n",
    "hook_none.py": "import sys\nsys.excepthook = None\n1 / 0\n",
    "at_exit.py": """\
import atexit, sys
def tell():
    print(sorted(name for name in globals() if name.startswith("__")))
    error = getattr(sys, "last_value", None)
    print(repr(error), error and error.__traceback__.tb_frame.f_code.co_filename)
atexit.register(tell)
if sys.argv[1:]:
    exec(sys.argv[1])
""",
    "at_exit_fails.py": "import atexit\natexit.register(lambda: 1 / 0)\n",
    "thread_fails.py": """\
import threading
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start()
thread.join()
""",
    "warns.py": "import warnings\nx = 1 is 1\nwarnings.warn('w', DeprecationWarning)\n",
    "spawns.py": """\
import multiprocessing
def double(number):
    return 2 * number
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(double, [1, 2]), double.__module__)
""",
    "looks_back.py": """\
import inspect, pickle, __main__
class Thing: pass
print(pickle.loads(pickle.dumps(Thing())).__class__ is Thing is __main__.Thing)
print(inspect.getsource(Thing), inspect.getfile(Thing))
""",
    "latin.py": "# -*- coding: latin-1 -*-\nprint(ascii('\\xe9'))\n",
}


def without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", text)


class Both:
    """`lib` was frozen to `registry` and is on the path both times; they run in `programs`."""

    def __init__(self, lib: Path, registry: Path, programs: Path) -> None:
        self.lib = lib
        self.registry = registry
        self.programs = programs

    def start(self, *argv: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FROZENFINDER"))}
        return subprocess.run(
            argv,
            cwd=self.programs,
            env=env | {"PYTHONPATH": str(self.lib)},
            input=stdin,
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=120,
        )

    def run(
        self, *program: str, flags: Sequence[str] = (), mode: str = "overlay", stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """The program under `frozenfinder run`."""
        own = ("-m", "frozenfinder", "run", "--mode", mode, str(self.registry))
        return self.start(sys.executable, *flags, *own, *program, stdin=stdin)

    def check(
        self, *program: str, flags: Sequence[str] = (), stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """What `python` made of the program, after `frozenfinder run` made the same of it."""
        stock = self.start(sys.executable, *flags, *program, stdin=stdin)
        ours = self.run(*program, flags=flags, stdin=stdin)
        assert without_addresses(ours.stderr) == without_addresses(stock.stderr)
        assert ours.stdout == stock.stdout
        assert ours.returncode == stock.returncode
        return stock


@pytest.fixture(scope="module")
def both(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Both:
    root = tmp_path_factory.mktemp("both").resolve()
    for folder, files in {"lib": MODULES, "programs": PROGRAMS}.items():
        for name, text in files.items():
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="latin-1" if name == "latin.py" else "utf-8")
    with zipfile.ZipFile(root / "programs" / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", PROBE)
    py_compile.compile(
        str(root / "programs" / "fails.py"), cfile=str(root / "programs" / "compiled.pyc")
    )
    result = Both(root / "lib", root / "lib.frz", root / "programs")
    freeze = ("-m", "frozenfinder", "freeze", "--path", "lib", "-o", str(result.registry))
    done = subprocess.run(
        [sys.executable, *freeze], cwd=root, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    return result


def text_of(name: str) -> str:
    return PROGRAMS[name]


@pytest.mark.parametrize(
    "program",
    [
        ("probe.py",),
        ("probe.py", "-m", "--mode", "closed", "-h", ""),
        ("./folder/../probe.py",),
        ("folder", "a"),
        ("folder/", "a"),
        (".",),
        ("archive.zip", "a"),
        ("-m", "probe", "-c", "a"),
        ("-mprobe", "a"),
        ("-c", PROBE, "-m", "a"),
        ("-c" + PROBE, "a"),
        ("-", "a"),
    ],
    ids=lambda program: " ".join(program).partition("\n")[0],
)
def test_arguments_path_and_namespace_are_those_of_python(
    both: Both, program: tuple[str, ...]
) -> None:
    both.check(*program, stdin=PROBE)


@pytest.mark.parametrize("flags", [["-P"], ["-I"], ["-E"], ["-B", "-u"], ["-W", "error"]])
@pytest.mark.parametrize(
    "program", [("probe.py",), ("folder",), ("-m", "json.tool", "absent"), ("-c", PROBE)]
)
def test_interpreter_flags_are_honoured(
    both: Both, flags: list[str], program: tuple[str, ...]
) -> None:
    both.check(*program, flags=flags)


@pytest.mark.skipif(not POSIX, reason="symlinks")
def test_the_folder_of_a_symlinked_script_is_that_of_its_target(both: Both) -> None:
    link = both.programs / "folder" / "link.py"
    link.symlink_to("../probe.py")
    assert repr(str(both.programs)) in both.check("folder/link.py").stdout


@pytest.mark.parametrize(
    "program",
    [
        ("fails.py",),
        ("imports_fails.py",),
        ("bad.py",),
        ("imports_bad.py",),
        ("through.py",),
        ("chained.py",),
        ("caused.py",),
        ("group.py",),
        ("noted.py",),
        ("base.py",),
        ("at_exit_fails.py",),
        ("warns.py",),
        ("compiled.pyc",),
        ("-m", "fails"),
        ("-m", "bad"),
        ("-m", "served"),
        ("-m", "absent"),
        ("-m", "absent.part"),
        ("-m", "served.part"),
        ("-m", "alone"),
        ("-m", "json.absent"),
        ("-c", "1/0"),
        ("-c", "def f():\n    import served\n    served.fail()\nf()\n"),
        ("-c", "  if True:\n    1/0\n"),
        ("-c", "x ="),
        ("-", "a"),
        ("absent.py",),
        ("absent/absent.py",),
        ("bare",),
    ],
    ids=" ".join,
)
def test_a_failing_program_reports_what_it_does_under_python(
    both: Both, program: tuple[str, ...]
) -> None:
    assert both.check(*program, stdin=text_of("fails.py")).stderr


@pytest.mark.parametrize(
    "value", ["None", "0", "3", "-1", "256", "'text'", "''", "True", "2**40", "[1]", "(1, 2)"]
)
def test_the_exit_status_is_that_of_python(both: Both, value: str) -> None:
    both.check("exits.py", value)
    both.check("-m", "exits", value)


@pytest.mark.parametrize(
    "program",
    [("exits_kind.py",), ("leaves.py",), ("hook_exits.py",), ("-c", "raise SystemExit(4)")],
    ids=" ".join,
)
def test_other_ways_out_end_as_under_python(both: Both, program: tuple[str, ...]) -> None:
    assert both.check(*program).returncode not in (0, 1)


@pytest.mark.parametrize(
    "program",
    [("interrupted.py",), ("-m", "interrupted"), ("-c", "raise KeyboardInterrupt"), ("-",)],
    ids=" ".join,
)
def test_an_interrupted_program_dies_as_under_python(both: Both, program: tuple[str, ...]) -> None:
    stock = both.check(*program, stdin=text_of("interrupted.py"))
    assert stock.returncode == -2 or not POSIX


def test_a_kind_of_keyboard_interrupt_ends_as_under_python(both: Both) -> None:
    both.check("interrupted_kind.py")


@pytest.mark.parametrize("name", ["hooked.py", "hook_fails.py", "hook_none.py"])
def test_an_excepthook_is_called_as_under_python(both: Both, name: str) -> None:
    both.check(name)


@pytest.mark.parametrize("program", [[], ["1 / 0"], ["sys.exit(1)"]])
def test_what_runs_at_exit_finds_what_it_does_under_python(both: Both, program: list[str]) -> None:
    both.check("at_exit.py", *program)


@pytest.mark.parametrize("name", ["looks_back.py", "spawns.py", "latin.py"])
def test_the_program_can_be_looked_up_as_under_python(both: Both, name: str) -> None:
    assert both.check(name).returncode == 0


def test_a_failing_thread_reports_what_it_does_under_python(both: Both) -> None:
    assert "ZeroDivisionError" in both.check("thread_fails.py").stderr


def test_packages_and_submodules_run_as_modules(both: Both) -> None:
    assert "__main__ package" in both.check("-m", "package", "a").stdout
    assert "package __main__" in both.check("-m", "package.part").stdout


def test_modules_are_served_from_the_registry(both: Both) -> None:
    code = "import frozenfinder, served; print(frozenfinder.installed()[0].served)\n"
    assert both.run("-c", code).stdout == "1\n"


def test_a_module_that_is_only_in_the_registry_runs_in_closed_mode(
    both: Both, tmp_path: Path
) -> None:
    moved = Both(tmp_path / "gone", both.registry, tmp_path)
    done = moved.run("-m", "package", "a", mode="closed")
    main = str(both.registry / "package" / "__main__.py")
    assert (done.stdout, done.stderr) == (f"package\n__main__ package {[main, 'a']}\n", "")
    done = moved.run("-m", "served", mode="closed")
    assert done.returncode == 1
    assert f'File "{both.registry / "served.py"}", line 2, in fail' in done.stderr


@pytest.mark.skipif(not POSIX, reason="a script without an extension")
@pytest.mark.parametrize(
    "program",
    [("probe.py", "a"), ("-c", PROBE), ("-m", "probe"), ("fails.py",), ("interrupted.py",)],
    ids=lambda program: program[0],
)
def test_the_console_script_runs_a_program_as_python_does(
    both: Both, program: tuple[str, ...]
) -> None:
    script = Path(sysconfig.get_path("scripts")) / "frozenfinder"
    if not script.exists():
        pytest.skip(f"{script} is not installed")
    stock = both.start(sys.executable, *program)
    ours = both.start(sys.executable, str(script), "run", str(both.registry), *program)
    assert (ours.stdout, ours.stderr) == (stock.stdout, stock.stderr)
    assert ours.returncode == stock.returncode


def test_run_imports_nothing_but_what_it_needs(both: Both) -> None:
    stock = both.start(sys.executable, "-m", "names").stdout.split()
    added = set(both.run("-m", "names").stdout.split()).difference(stock)
    needed = {"frozenfinder", "frozenfinder.cli", "frozenfinder.cli.run", "frozenfinder.fast_exit"}
    of_exit = {"atexit", "gc", "itertools", "_xxsubinterpreters"}
    assert needed <= added <= needed | find_boot() | BUILTIN | of_exit


def test_frozenfinder_off_runs_the_program_without_the_registry(both: Both) -> None:
    env = {"FROZENFINDER": "off", "PYTHONPATH": str(both.lib)}
    code = "import served, frozenfinder; print(served.__loader__, frozenfinder.installed())"
    done = subprocess.run(
        [sys.executable, "-m", "frozenfinder", "run", "absent.frz", "-c", code],
        env=os.environ | env,
        capture_output=True,
        check=True,
        text=True,
    )
    assert "SourceFileLoader" in done.stdout
    assert done.stdout.endswith(" []\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a.frz", "s.py"], ("a.frz", "overlay", "script", "s.py", [])),
        (["a.frz", "--mode=closed", "-"], ("a.frz", "closed", "script", "-", [])),
        (["--mode", "closed", "a.frz", "-mx", "-m"], ("a.frz", "closed", "-m", "x", ["-m"])),
        (["a.frz", "-c", "1", "--help"], ("a.frz", "overlay", "-c", "1", ["--help"])),
    ],
)
def test_what_follows_the_program_is_the_programs(
    arguments: list[str], expected: tuple[object, ...]
) -> None:
    request = parse(arguments)
    assert request is not None
    mode = request.options.pop("mode")
    assert request.options == {}
    found = (request.registry, mode, request.kind, request.target, request.arguments)
    assert found == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], None),
        (["--fast-exit"], "on"),
        (["--fast-exit=on"], "on"),
        (["--fast-exit=hard"], "hard"),
        (["--fast-exit=off"], "off"),
    ],
)
def test_an_option_says_how_the_process_ends(options: list[str], expected: str | None) -> None:
    request = parse([*options, "a.frz", "-"])
    assert request is not None
    assert request.fast_exit == expected
    assert request.options == {"mode": "overlay"}


def test_a_registry_is_pinned_or_trusted_by_options() -> None:
    request = parse(["--trusted", "--sha256=ab", "a.frz", "--verify-key", "cd", "-"])
    assert request is not None
    assert request.options == {
        "mode": "overlay",
        "trusted": True,
        "sha256": "ab",
        "verify_key": "cd",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run needs FILE"),
        (["a.frz"], "run needs SCRIPT, -m MODULE, -c CODE or -"),
        (["a.frz", "-m"], "option -m of run needs a value"),
        (["--mode"], "option --mode of run needs a value"),
        (["--mode", "open", "a.frz"], "--mode is 'open', expected 'overlay' or 'closed'"),
        (["--fast", "a.frz"], "unknown option '--fast' of run"),
        (["--fast-exit=no"], "--fast-exit is 'no', expected 'on', 'hard' or 'off'"),
        (["-m", "x"], "unknown option '-m' of run"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(arguments)
    assert str(caught.value) == f"{message}; see 'frozenfinder run --help'"


# -- its help, which no parser writes

ARGUMENT = re.compile(r"^  (\S+(?: [^ ]+)*)(?: {2,}|\n {24})(\S.*(?:\n {24}\S.*)*)", re.MULTILINE)


def read_help() -> dict[str, str]:
    """The arguments that the help names, as it writes them, each with what it says."""
    return {name: " ".join(text.split()) for name, text in ARGUMENT.findall(USAGE)}


def test_the_help_names_the_options_that_are_taken_and_no_others() -> None:
    named = {re.split(r" |\[=", name)[0] for name in read_help() if name.startswith("--")}
    assert named == {*_FLAGS, *_VALUED}
    for mode in MODES:
        request = parse(["--mode", mode, "a.frz", "script.py"])
        assert request is not None
        assert request.options == {"mode": mode}


def test_the_help_is_as_argparse_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    first, _, _ = USAGE.partition("\n")
    parser = Parser("run", SUMMARY)
    parser.usage = first.removeprefix("usage: ")
    for name, text in read_help().items():
        option, _, value = name.partition(" ")
        if name == "-h, --help":  # every parser has it
            continue
        if not re.match("--?[a-z]", option):
            parser.add_argument(f"argument {name}", metavar=name, help=text)
        elif option == "--mode":
            parser.add_argument(option, choices=MODES, help=text)
        elif value:
            parser.add_argument(option, metavar=value, help=text)
        else:
            parser.add_argument(option, action="store_true", help=text)
    assert parser.format_help() == USAGE
