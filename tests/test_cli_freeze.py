"""`frozenfinder freeze`: what it is asked for, what it tells, and what it refuses."""

import os
import sys
from pathlib import Path

import pytest
from support.processes import Python
from test_cli import FILES, Cli, answer, assert_refused, write_files

from frozenfinder.cli.commands import load
from frozenfinder.cli.freeze import SHOWN, make_manifest
from frozenfinder.freezer import Manifest
from frozenfinder.runtime.registry import Registry


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    return write_files(tmp_path / "lib", FILES)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.frz"


def names(registry: Path) -> list[str]:
    opened = Registry.open(registry)
    found = sorted(entry.name for entry in opened.entries())
    opened.close()
    return found


# -- what is asked for


def parse(*arguments: str) -> Manifest:
    return make_manifest(load("freeze").make_parser().parse_args(arguments))


def test_every_option_reaches_the_freezer() -> None:
    words = "--stdlib --tests --package a --package b --distribution d --with-dependencies"
    words += " --path p --exclude x.* -O 1 --with-source --world --entry e:f --metadata m"
    words += " --search s --include-data g/* --lay-out l --strip-docstrings"
    assert parse(*words.split()) == Manifest(
        stdlib=True,
        stdlib_tests=True,
        packages=("a", "b"),
        distributions=("d",),
        with_dependencies=True,
        entries=("e:f",),
        metadata=("m",),
        paths=("p",),
        searches=("s",),
        data=("g/*",),
        excludes=("x.*",),
        lay_out=("l",),
        optimize=1,
        strip_docstrings=True,
        with_source=True,
        world=True,
    )


def test_options_add_to_a_manifest_and_overrule_its_level(tmp_path: Path) -> None:
    manifest = tmp_path / "app.txt"
    manifest.write_text("package a  # a comment\npath src\noptimize 1\n")
    asked = parse("--manifest", str(manifest), "--package", "b", "-O", "2")
    assert asked == Manifest(packages=("a", "b"), paths=(str(tmp_path / "src"),), optimize=2)


def test_sources_are_left_out_whatever_a_manifest_says(tmp_path: Path) -> None:
    manifest = tmp_path / "app.txt"
    manifest.write_text("package a\nwith-source\n")
    assert parse("--manifest", str(manifest), "--no-source") == Manifest(packages=("a",))


def test_a_manifest_is_written_that_asks_for_the_same(cli: Cli, lib: Path, output: Path) -> None:
    manifest = lib.parent / "manifests" / "app.txt"
    manifest.parent.mkdir()
    options = ("--path", lib, "--exclude", "*.part", "--lay-out", "package", "--world")
    first = cli("freeze", *options, "-o", output, "--write-manifest", manifest)
    assert (first.returncode, first.stderr) == (0, "")
    assert manifest.read_text().splitlines() == [
        "world",
        "path ../lib",
        "exclude *.part",
        "lay-out package",
        f"optimize {sys.flags.optimize}",
    ]
    again = output.with_name("again.frz")
    assert cli("freeze", "--manifest", manifest, "-o", again).returncode == 0
    assert again.read_bytes() == output.read_bytes()


def test_a_package_that_is_marked_is_laid_out_in_closed_mode(
    python: Python, cli: Cli, lib: Path, output: Path
) -> None:
    (lib / "package" / "__init__.py").write_text("DATA = __file__[:-11] + 'data.txt'\n")
    env = {"FROZENFINDER_CACHE": str(lib.parent / "cache")}
    for options, expected in (((), "False"), (("--lay-out", "package"), "True")):
        assert cli("freeze", "--path", lib, "-o", output, *options).returncode == 0
        code = "import package, os; print(os.path.isfile(package.DATA))"
        run = ("-m", "frozenfinder", "run", "--mode", "closed", output, "-c", code)
        assert python(*run, env=env).stdout.strip() == expected


def test_packages_are_looked_for_in_the_current_directory(
    cli: Cli,
    lib: Path,
    output: Path,
) -> None:
    assert cli("freeze", "--package", "package", "-o", output, cwd=lib).returncode == 0
    assert names(output) == ["package", "package.part"]


def test_kinds_of_input_combine(cli: Cli, lib: Path, output: Path) -> None:
    options = ("--path", lib, "--package", "json", "--exclude", "package", "--exclude", "*.tool")
    assert cli("freeze", *options, "-o", output).returncode == 0
    found = names(output)
    assert [name for name in found if not name.startswith("json")] == [
        "m",
        "space",
        "space.portion",
    ]
    assert set(found).isdisjoint({"json.tool", "package", "package.part"})


def test_the_level_is_that_of_the_interpreter_unless_it_is_given(
    python: Python,
    lib: Path,
    output: Path,
) -> None:
    freeze = ("-m", "frozenfinder", "freeze", "--path", lib, "-o", output)
    for flags, options, expected in (([], [], 0), (["-O"], [], 1), (["-O"], ["-O", "2"], 2)):
        python(*flags, *freeze, *options)
        assert Registry.open(output).header.optimize == expected


# -- where it goes


def test_folders_that_are_missing_are_made(cli: Cli, lib: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder" / "out.frz"
    assert cli("freeze", "--path", lib, "-o", output).returncode == 0
    assert "m" in names(output)


def test_the_default_is_the_default_registry(cli: Cli, lib: Path, tmp_path: Path) -> None:
    output = tmp_path / "named" / "here.frz"
    done = cli("freeze", "--path", lib, env={"FROZENFINDER_REGISTRY": str(output)})
    assert done.stdout.startswith(f"Wrote {output}: ")
    assert "m" in names(output)


# -- what it tells


def test_a_summary_is_printed(cli: Cli, lib: Path, output: Path) -> None:
    done = cli("freeze", "--path", lib, "-o", output)
    assert (done.returncode, done.stderr) == (0, "")
    wrote, code = done.stdout.splitlines()
    size = output.stat().st_size
    assert wrote.startswith(f"Wrote {output}: 5 modules, 1 files, {size} bytes, in ")
    assert code == "Code: 4 compiled, 0 from a .pyc, 0 kept."
    again = cli("freeze", "--path", lib, "-o", output).stdout.splitlines()
    assert again[0].startswith(f"Nothing changed in {output}: ")
    assert again[1] == "Code: 0 compiled, 0 from a .pyc, 4 kept."


def test_a_quiet_freeze_prints_nothing(cli: Cli, lib: Path, output: Path) -> None:
    done = cli("freeze", "--quiet", "--path", lib, "-o", output)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_first_of_what_was_left_out_is_told_with_the_reason(
    cli: Cli,
    lib: Path,
    output: Path,
) -> None:
    for number in range(SHOWN + 2):
        (lib / f"broken{number}.py").write_text("x =\n")
    reason = "does not compile: SyntaxError: invalid syntax (broken{0}.py, line 1)"
    expected = [f"  {lib}/broken{n}.py: {reason.format(n)}" for n in range(SHOWN + 2)]
    told = cli("freeze", "--path", lib, "-o", output).stdout.splitlines()
    assert told[2:] == [
        f"Left out: {SHOWN + 2}.",
        *expected[:SHOWN],
        "  and 2 more; use -v or --json to see all",
    ]
    told = cli("freeze", "-v", "--path", lib, "-o", output).stdout.splitlines()
    assert told[3:] == expected


def test_the_compilers_warnings_are_told_on_request(
    cli: Cli,
    lib: Path,
    output: Path,
) -> None:
    (lib / "warns.py").write_text("x = 1 is 1\n")
    assert "warns" not in cli("freeze", "--path", lib, "-o", output).stdout
    output.unlink()
    told = cli("freeze", "-v", "--path", lib, "-o", output).stdout.splitlines()
    assert told[2] == "Compiler warnings: 1."
    assert told[3].startswith("  warns: SyntaxWarning: ")


def test_the_report_can_be_had_in_json(cli: Cli, lib: Path, output: Path) -> None:
    report = answer(cli("freeze", "--json", "--path", lib, "-o", output))
    assert report["output"] == str(output)
    assert (report["modules"], report["files"], report["compiled"]) == (5, 1, 4)


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
@pytest.mark.parametrize("rich", [True, False])
def test_progress_is_shown_on_a_terminal(python: Python, rich: bool) -> None:
    """The work here is over at once, so the program has none of the patience with it."""
    code = """
import os, pty, subprocess, sys
program = '''
import sys
if sys.argv[1:]:
    sys.modules["rich"] = None
from frozenfinder.cli import progress
progress.PATIENCE = progress.INTERVAL = 0
with progress.Progress("freezing") as told:
    for number in range(1, 4):
        told(number, 3, f"module{number}")
'''
ours, theirs = pty.openpty()
subprocess.run([sys.executable, "-c", program, *sys.argv[1:]], stderr=theirs, check=True)
os.close(theirs)
told = b""
try:
    while block := os.read(ours, 4096):
        told += block
except OSError:
    pass
print(told.decode())
"""
    if rich:
        pytest.importorskip("rich")
    env = {"TERM": "xterm", "COLUMNS": "100"}
    told = python("-c", code, *([] if rich else ["without"]), env=env).stdout
    assert "freezing" in told
    assert "module3" in told
    assert rich or "freezing 3/3 module3" in told


# -- what it refuses


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--package", "absent_package", "package 'absent_package': not found in the "),
        ("--package", "a..b", "package 'a..b': is not the name of a module"),
        ("--package", "sys", "package 'sys': 'sys' is built into the interpreter, "),
        ("--distribution", "absent-dist", "distribution 'absent-dist': is not installed in the "),
        ("--path", "absent", "path 'absent': does not exist, expected a directory "),
        ("--manifest", "absent.txt", "manifest 'absent.txt' cannot be read: No such file "),
        (
            "--entry",
            "absent.module:main",
            "entry 'absent.module:main': module 'absent.module' was not ",
        ),
        ("--metadata", "absent-dist", "metadata 'absent-dist': is not installed in the "),
        ("--include-data", "absent/*", "include-data 'absent/*': no data file below the "),
    ],
)
def test_input_that_is_not_there_is_refused(
    cli: Cli,
    output: Path,
    option: str,
    value: str,
    message: str,
) -> None:
    output.write_bytes(b"untouched")
    done = cli("freeze", option, value, "-o", output)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"frozenfinder: {message}")
    assert done.stderr.count("\n") == 1
    assert output.read_bytes() == b"untouched"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("entry absent:main", "entry 'absent:main': module 'absent' was not found in the "),
        ("recorded json.absent", "recorded 'json.absent': not found in the "),
        ("package absent", "package 'absent': not found in the "),
        (
            "stdlib\nlay-out absent",
            "lay-out 'absent': is not a top-level package among the frozen modules",
        ),
        ("freeze all", "manifest 'app.txt' line 1: begins with 'freeze', expected one of "),
    ],
)
def test_a_manifest_with_an_unknown_name_is_refused(
    cli: Cli, output: Path, line: str, message: str
) -> None:
    (output.parent / "app.txt").write_text(f"{line}\n")
    output.write_bytes(b"untouched")
    done = cli("freeze", "--manifest", "app.txt", "-o", output, cwd=output.parent)
    assert (done.returncode, done.stdout, output.read_bytes()) == (2, "", b"untouched")
    assert done.stderr.startswith(f"frozenfinder: {message}")
    assert done.stderr.count("\n") == 1


def test_a_manifest_that_cannot_be_written_is_told_before_anything_is(
    cli: Cli, lib: Path, output: Path
) -> None:
    manifest = lib / "absent" / "app.txt"
    done = cli("freeze", "--path", lib, "-o", output, "--write-manifest", manifest)
    assert_refused(
        done, f"manifest {str(manifest)!r}: cannot be written: No such file or directory"
    )
    assert not output.exists()


def test_a_module_that_cannot_be_frozen_is_told_and_the_rest_is_frozen(
    cli: Cli, lib: Path, output: Path
) -> None:
    (lib / "broken.py").write_text("def")
    done = cli("freeze", "--path", lib, "-o", output)
    assert done.returncode == 0
    assert f"  {lib / 'broken.py'}: does not compile: SyntaxError: " in done.stdout
    assert "broken" not in names(output)


@pytest.mark.parametrize(
    ("arguments", "broken"),
    [
        (["--package", "broken"], "broken.py"),
        (["--package", "package"], "package/__init__.py"),
        (["--manifest", "app.txt"], "broken.py"),
    ],
)
def test_a_module_that_was_named_and_cannot_be_frozen_is_an_error(
    cli: Cli, lib: Path, output: Path, arguments: list[str], broken: str
) -> None:
    (lib / "app.txt").write_text("package broken")
    freeze = ["freeze", "--path", lib, *arguments, "-o", output]
    (lib / "broken.py").write_text("")
    assert cli(*freeze, cwd=lib).returncode == 0
    old = output.read_bytes()
    (lib / broken).write_text("def")
    name = broken.removesuffix("/__init__.py").removesuffix(".py")
    assert_refused(
        cli(*freeze, cwd=lib),
        f"module {name!r}: {str(lib / broken)!r} does not compile: SyntaxError: invalid syntax "
        f"({Path(broken).name}, line 1); it was requested by name, so it cannot be left out",
    )
    assert output.read_bytes() == old


def test_a_report_that_cannot_be_written_is_told_before_anything_is(
    cli: Cli, lib: Path, output: Path
) -> None:
    page = output.with_name("out.frz.html")
    page.mkdir()
    assert_refused(
        cli("freeze", "--path", lib, "-o", output, "--report", "html"),
        f"output {str(page)!r}: is a directory, expected a report or nothing",
    )
    assert not output.exists()


def test_files_newer_than_the_source_date_epoch_are_told(cli: Cli, lib: Path, output: Path) -> None:
    done = cli("freeze", "--path", lib, "-o", output, env={"SOURCE_DATE_EPOCH": "1000"})
    assert (
        "Files newer than SOURCE_DATE_EPOCH: 4. Overlay reads them to see that they are "
        "unchanged.\n"
    ) in done.stdout


def test_a_directory_is_not_written_over(cli: Cli, lib: Path, output: Path) -> None:
    output.mkdir()
    assert_refused(
        cli("freeze", "--path", lib, "-o", output),
        f"output {str(output)!r}: is a directory, expected a registry or nothing",
    )


def test_another_file_is_not_written_over(cli: Cli, lib: Path, output: Path) -> None:
    output.write_text("import antigravity\n")
    assert_refused(
        cli("freeze", "--path", lib, "-o", output),
        f"output {str(output)!r}: is not a registry, because it begins with b'import a'; "
        "remove it, or choose another name",
    )
    assert output.read_text() == "import antigravity\n"


def test_a_folder_that_cannot_be_made_is_told(cli: Cli, lib: Path) -> None:
    (lib / "file").touch()
    assert_refused(
        cli("freeze", "--path", lib, "-o", lib / "file" / "out.frz"),
        f"{str(lib / 'file')!r}: File exists",
    )


def test_a_freeze_uses_no_more_processes_than_asked(cli: Cli, lib: Path, output: Path) -> None:
    assert cli("freeze", "-j", "1", "--path", lib, "-o", output).returncode == 0
    assert sys.flags.optimize == Registry.open(output).header.optimize
