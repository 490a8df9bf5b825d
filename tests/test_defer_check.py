"""A lazy registry is written only if commands do the same with it as without waiting imports."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import Python
from support.sources import write_tree

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.defer.check import Checker, minimise

Cli = Callable[..., CompletedProcess[str]]

FILES = {
    "events.py": "seen = []\n",
    "app/__init__.py": "from . import plugin, idle\nfrom .names import first\n",
    "app/plugin.py": "from events import seen\nseen.append('plugin')\n",
    "app/idle.py": "VALUE = 1\n",
    "app/names.py": "from app.idle import VALUE\ndef first():\n    return VALUE\n",
    "app/main.py": (
        "import sys, app\nfrom events import seen\nimport textwrap\n"
        "def main():\n    print(seen, app.first())\n"
        "def wrap():\n    return textwrap.wrap('')\n"
        "if __name__ == '__main__':\n    main()\n"
    ),
    "quiet.py": "import textwrap\ndef f():\n    return textwrap\nprint('quiet')\n",
}


@given(st.sets(st.integers(0, 40)), st.integers(1, 40))
def test_the_smallest_set_is_found(needed: set[int], size: int) -> None:
    needed = {each for each in needed if each < size} or {0}
    tried = 0

    def works(some: Sequence[int]) -> bool:
        nonlocal tried
        tried += 1
        return needed <= set(some)

    assert set(minimise([str(each) for each in range(size)], lambda s: works([*map(int, s)]))) == {
        str(each) for each in needed
    }
    assert tried <= 8 * size * len(needed)


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "lib", FILES)


def command(*argv: str) -> str:
    return " ".join([sys.executable, *argv])


@pytest.fixture
def freeze(lib: Path, tmp_path: Path, cli: Cli) -> Callable[..., CompletedProcess[str]]:
    """`freeze --lazy` of the tree with these checks; the registry is `tmp_path / "app.frz"`."""

    def call(*checks: str, options: Sequence[str | Path] = ()) -> CompletedProcess[str]:
        asked = [item for check in checks for item in ("--check", check)]
        return cli(
            "freeze",
            "--path",
            lib,
            "--lazy",
            "-o",
            tmp_path / "app.frz",
            *asked,
            *options,
            env={"PYTHONPATH": str(lib)},
        )

    return call


def test_a_command_that_does_the_same_changes_nothing(
    freeze: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    done = freeze(command("-m", "quiet"), options=["--report", "table", "--eager", "quiet"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nLazy: 7 imported names wait, in 3 modules.\n" in done.stdout
    assert done.stdout.endswith("\nNo import waits: 1\n  quiet: it is eager by 'quiet'\n")
    assert "Eager" not in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.frz", "lib"]


def test_a_module_that_differs_is_found_and_eager(
    freeze: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
    lib: Path,
    python: Python,
    cli: Cli,
) -> None:
    check, manifest = command("-m", "app.main"), tmp_path / "app.manifest"
    done = freeze(check, "true", options=["--write-manifest", manifest])
    assert (done.returncode, done.stderr) == (0, "")
    expected = f"  app: {check!r} differs if its imports wait"
    assert done.stdout.splitlines()[-2:] == ["Eager: 1.", expected]
    lines = manifest.read_text("utf-8").splitlines()
    assert {"lazy", "eager app", f"check {check}", "check true"} <= set(lines)
    env = {"PYTHONPATH": str(lib)}
    run = ("-m", "frozenfinder", "run", tmp_path / "app.frz", "-m", "app.main")
    assert python(*run, env=env).stdout == "['plugin'] 1\n"
    why = cli("why", "app", "--registry", tmp_path / "app.frz", env=env)
    assert why.stdout.splitlines()[1:] == ["  no import waits: it is eager by 'app'"]
    again = cli("freeze", "--manifest", manifest, "-o", tmp_path / "again.frz", "--json", env=env)
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads(again.stdout)["made_eager"] == []
    by_name = {each["name"]: each for each in json.loads(again.stdout)["laziness"]}
    assert by_name["app"]["whole"] == "it is eager by 'app'"
    assert by_name["app.main"]["lazy"] == ["app", "seen", "textwrap"]
    assert by_name["app.main"]["eager"] == [["sys", "nothing in the module uses it"]]


@pytest.mark.parametrize(
    ("check", "complaint"),
    [
        (
            command("-c", "'raise SystemExit(3)'"),
            (
                "ended with exit status 3 with all imports at once, expected exit status 0; "
                "nothing was written"
            ),
        ),
        (
            command("-c", "'import os; os.kill(os.getpid(), 9)'"),
            "died of SIGKILL with all imports at once, expected exit status 0; nothing was written",
        ),
        (
            command("-c", "'import os; print(os.getpid())'"),
            (
                "its output differs between two runs with all imports at once, so it shows "
                "nothing; choose a command with a stable result; nothing was written"
            ),
        ),
        (
            command("-c", "'import os, sys; sys.stderr.write(str(os.getpid()))'"),
            (
                "what it writes to stderr differs between two runs with all imports at once, so it "
                "shows nothing; choose a command with a stable result; nothing was written"
            ),
        ),
        (
            command("-c", "'import os; print(os.environ.get(\"FROZENFINDER_WITHOUT\"))'"),
            (
                "its result with waiting imports differs, whichever modules are eager; nothing was "
                "written"
            ),
        ),
        ("/there/is/no/such/command", "cannot be started: No such file or directory"),
        ("", "cannot be started: it is empty"),
    ],
)
def test_a_check_that_shows_nothing_is_one_line_and_nothing_is_written(
    check: str, complaint: str, freeze: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    done = freeze(check)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"frozenfinder: check {check!r}: {complaint}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["lib"]


def test_a_check_that_hangs_is_stopped_with_all_that_it_started(
    tmp_path: Path, processes: None
) -> None:
    hang = command("-c", "'import os, time; os.fork(); time.sleep(600)'")
    with pytest.raises(FreezeError) as caught:
        Checker(str(tmp_path / "no.frz"), [], limit=1).check(hang)
    assert str(caught.value) == (
        f"check {hang!r}: still runs after 1 s with all imports at once; choose a shorter command; "
        "nothing was written"
    )


def test_an_interrupted_check_is_stopped(
    tmp_path: Path, processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    communicate = subprocess.Popen.communicate

    def interrupt(
        process: subprocess.Popen[bytes], timeout: float | None = None
    ) -> tuple[bytes, bytes]:
        if not started:
            started.append(process)
            raise KeyboardInterrupt
        return communicate(process, timeout=timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Checker(str(tmp_path / "no.frz"), []).check(command("-c", "'import time; time.sleep(600)'"))
    assert [process.returncode for process in started] == [-9]


def test_each_run_is_announced(tmp_path: Path, processes: None) -> None:
    told: list[tuple[int, int, str]] = []
    checker = Checker(str(tmp_path / "no.frz"), [], notice=lambda *what: told.append(what))
    checker.check("true")
    assert told == [(number, number, "check 'true'") for number in (1, 2, 3)]
    assert checker.eager == {}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ["--lazy"],
            (
                "imports that wait may change what a program does; name commands that have to do "
                "the same with --check 'COMMAND', or give --unchecked"
            ),
        ),
        (
            ["--check", "true"],
            (
                "a check is for a registry in which imports wait; add --lazy, or the line 'lazy' "
                "to the manifest"
            ),
        ),
    ],
)
def test_laziness_and_checks_belong_together(
    options: list[str], complaint: str, lib: Path, tmp_path: Path, cli: Cli
) -> None:
    done = cli("freeze", "--path", lib, "-o", tmp_path / "app.frz", *options)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"frozenfinder: {complaint}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["lib"]
