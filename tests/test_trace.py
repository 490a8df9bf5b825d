"""Traces: what a run and its children import, open and ask for, and what becomes of it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.processes import Python
from support.sources import write_tree
from test_cli import Cli, answer, assert_refused

from frozenfinder.errors import FreezeError
from frozenfinder.freezer import Manifest, Recording, discover, freeze, name_recorded, trace
from frozenfinder.runtime import layout
from frozenfinder.runtime.registry import Registry

Record = Callable[..., Recording]

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1\n"
PLUGINS = {
    "host/__init__.py": "",
    "host/__main__.py": """
from importlib.metadata import entry_points, version
from importlib.resources import files
for point in sorted(entry_points(group="host.plugins")):
    print(point.name, point.load()(), version("host"))
print(files("host").joinpath("greeting.txt").read_text())
""",
    "host/greeting.txt": "hello",
    "host/unread.txt": "",
    "one.py": "from one_part import run\n",
    "one_part.py": "def run(): return 1\n",
    "two/__init__.py": "def run():\n    import two.late\n    return 2\n",
    "two/late.py": "",
    "host-1.dist-info/METADATA": METADATA.format("host"),
    "one-1.dist-info/METADATA": METADATA.format("one"),
    "one-1.dist-info/entry_points.txt": "[host.plugins]\none = one:run\n",
    "two-1.dist-info/METADATA": METADATA.format("two"),
    "two-1.dist-info/entry_points.txt": "[host.plugins]\ntwo = two:run\n",
}


@pytest.fixture
def record(processes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Record a program, given as its text, whose folder has these files."""

    def call(code: str, files: dict[str, str] | None = None, *options: str) -> Recording:
        write_tree(tmp_path, files or {})
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return trace([sys.executable, *options, "-c", code])

    return call


def names(recording: Recording, *tops: str) -> list[str]:
    return [name for name, _ in recording.modules if name.partition(".")[0] in tops]


MODULES = {f"{name}.py": "" for name in ("m1", "m2", "m3")}


# -- what is recorded


def test_imports_are_recorded_in_their_order(record: Record) -> None:
    files = {**MODULES, "m2.py": "import m3", "package/__init__.py": "", "package/part.py": ""}
    code = "import m2, importlib, package.part, sys\nimportlib.import_module('m1')"
    assert names(record(code, files), "m1", "m2", "m3", "package") == [
        "m2",
        "m3",
        "package",
        "package.part",
        "m1",
    ]


def test_an_import_that_finds_nothing_is_not_recorded(record: Record) -> None:
    code = "try:\n    import absent_module\nexcept ImportError:\n    import m1"
    assert names(record(code, MODULES), "absent_module", "m1") == ["m1"]


def test_a_module_that_was_put_there_is_recorded_at_the_end(record: Record) -> None:
    code = """
import sys, m1
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
sys.meta_path.insert(0, PathFinder)
import m2
"""
    assert names(record(code, MODULES), "m1", "m2") == ["m1", "m2"]


@pytest.mark.usefixtures("processes")
def test_a_module_that_is_run_is_recorded_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path, {"package/__init__.py": "", "package/__main__.py": "import package.part"})
    write_tree(tmp_path, {"package/part.py": ""})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    recording = trace([sys.executable, "-m", "package"])
    assert names(recording, "__main__", "package") == [
        "package",
        "package.__main__",
        "package.part",
    ]


CHILDREN = {
    "a command": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import m1'])",
    "a shell": "import os, sys; os.system(f'{sys.executable} -c \"import m1\"')",
    "a process that is replaced": "import os, sys\n"
    "os.execv(sys.executable, [sys.executable, '-c', 'import m1'])",
    "fork": "import os\nif not os.fork():\n    import m1; os._exit(0)\nos.wait()",
    "spawn": "import multiprocessing, sys\n"
    "process = multiprocessing.get_context('spawn').Process(target=__import__, args=('m1',))\n"
    "process.start(); process.join()",
    "a process that is killed": "import os, subprocess, sys\n"
    "code = 'import m1, os, signal; os.kill(os.getpid(), signal.SIGKILL)'\n"
    "subprocess.run([sys.executable, '-c', code])",
    "a process that closes everything": "import os; os.closerange(3, 256); import m1; os._exit(0)",
}


@pytest.mark.parametrize("child", CHILDREN)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor SIGKILL")
def test_children_are_recorded(record: Record, child: str) -> None:
    recording = record(CHILDREN[child], MODULES)
    assert names(recording, "m1") == ["m1"]
    assert recording.unseen == ()


@pytest.mark.parametrize(
    ("options", "environment"),
    [("'-I',", "None"), ("'-bES',", "None"), ("", "{}"), ("'-W', 'ignore', '-E',", "None")],
)
def test_a_child_that_cannot_be_recorded_is_named(
    record: Record, options: str, environment: str
) -> None:
    code = f"""
import subprocess, sys
subprocess.run([sys.executable, {options} "-c", "import wave"], env={environment})
"""
    recording = record(code)
    assert names(recording, "wave") == []
    (words,) = recording.unseen
    assert words.endswith("-c 'import wave'")


def test_children_that_only_look_like_it_are_not_named(record: Record) -> None:
    code = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "pass", "-I"])
subprocess.run([sys.executable, "-W", "ignore", "-c", "pass", "-E"])
"""
    assert record(code).unseen == ()


def test_what_is_opened_for_reading_is_recorded(record: Record, tmp_path: Path) -> None:
    code = """
import os
from pathlib import Path
open("read.txt").close()
open("written.txt", "w").close()
os.close(os.open(Path("low.txt"), os.O_RDONLY))
open("module.py").close()
try:
    open("absent.txt")
except OSError:
    pass
"""
    files = {"read.txt": "", "low.txt": "", "module.py": ""}
    recording = record(f"import os; os.chdir({str(tmp_path)!r})\n{code}", files)
    found = [path.name for path in map(Path, recording.opened) if path.parent == tmp_path]
    assert found == ["read.txt", "low.txt", "absent.txt"]


def test_distributions_that_are_asked_for_are_recorded(record: Record) -> None:
    code = "from importlib.metadata import distribution; distribution('host')"
    assert record(code, PLUGINS).distributions == ("host",)


def test_the_program_sees_nothing_of_the_recorder(record: Record, tmp_path: Path) -> None:
    code = f"""
import os, sys
site = os.environ["PYTHONPATH"].split(os.pathsep)[0]
assert site not in sys.path, sys.path
assert not [name for name, module in sys.modules.items() if
    str(getattr(module, "__file__", "")).startswith(site)]
open({str(tmp_path / "done")!r}, "w").close()
"""
    record(code)
    assert (tmp_path / "done").exists()


def test_an_own_sitecustomize_still_runs(record: Record, tmp_path: Path) -> None:
    files = {"sitecustomize.py": "import m1\nVALUE = 1\n", **MODULES}
    recording = record("import sitecustomize; assert sitecustomize.VALUE == 1; import m2", files)
    assert names(recording, "m1", "m2", "sitecustomize") == ["sitecustomize", "m1", "m2"]


# -- what is refused


def test_a_command_that_fails_is_shown_and_nothing_is_written(tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "out.frz"
    output.write_bytes(b"")
    program = "import sys; print('told'); sys.exit(3)"
    manifest = tmp_path / "app.txt"
    options = ("-o", output, "--write-manifest", manifest)
    done = cli("freeze", *options, "--trace", "--", sys.executable, "-c", program)
    told, complaint = done.stderr.splitlines()
    assert (told, done.stdout, done.returncode) == ("told", "", 2)
    assert complaint.startswith("frozenfinder: trace ")
    assert complaint.endswith(
        "ended with exit status 3, expected exit status 0; nothing was written"
    )
    assert (output.read_bytes(), manifest.exists()) == (b"", False)


@pytest.mark.usefixtures("processes")
def test_a_command_that_dies_is_told_by_its_signal() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    with pytest.raises(FreezeError, match=r"died of SIGTERM, expected exit status 0; nothing was"):
        trace([sys.executable, "-c", code])


@pytest.mark.usefixtures("processes")
def test_a_command_that_is_not_there_is_refused() -> None:
    with pytest.raises(FreezeError) as caught:
        trace(["absent-command", "an argument"])
    assert str(caught.value) == (
        "trace \"absent-command 'an argument'\": cannot be started: No such file or directory"
    )


@pytest.mark.usefixtures("processes")
def test_a_command_that_runs_no_interpreter_is_refused() -> None:
    with pytest.raises(FreezeError) as caught:
        trace([sys.executable, "-I", "-c", "pass"])
    assert str(caught.value) == (
        f"trace '{sys.executable} -I -c pass': no interpreter could be recorded, expected "
        f"{sys.implementation.cache_tag}, started without -I, -E and -S"
    )


def test_the_output_is_looked_at_before_the_command_is_run(tmp_path: Path, cli: Cli) -> None:
    trail = tmp_path / "trail"
    command = ("--trace", "--", sys.executable, "-c", f"open({str(trail)!r}, 'w')")
    done = cli("freeze", "-o", tmp_path, *command)
    found = "is a directory, expected a registry or nothing"
    assert_refused(done, f"output {str(tmp_path)!r}: {found}")
    assert not trail.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--trace"], "--trace needs a command: freeze --trace -- COMMAND"),
        (
            ["python", "x.py"],
            "unexpected argument 'python'; put a command to record after '--trace --'",
        ),
    ],
)
def test_a_trace_is_asked_for_with_its_command(
    cli: Cli, arguments: list[str], complaint: str
) -> None:
    assert_refused(cli("freeze", *arguments), complaint)


# -- what becomes of it


def test_plugins_found_through_entry_points_work_in_closed_mode(
    tmp_path: Path, python: Python, cli: Cli
) -> None:
    lib = write_tree(tmp_path / "lib", PLUGINS)
    registry = tmp_path / "out.frz"
    env = {"PYTHONPATH": str(lib)}
    command = ("--trace", "--", sys.executable, "-m", "host")
    report = answer_of_freeze(cli("freeze", "-o", registry, "--json", *command, env=env))
    assert report["unseen"] == []
    lib.rename(tmp_path / "moved away")
    done = python("-m", "frozenfinder", "run", "--mode", "closed", registry, "-m", "host")
    assert done.stdout == "one 1 1\ntwo 2 1\nhello\n"
    opened = Registry.open(registry)
    files = sorted(entry.name for entry in opened.files())
    opened.close()
    assert "host/unread.txt" not in files
    assert "host/greeting.txt" in files


def answer_of_freeze(done: "subprocess.CompletedProcess[str]") -> Any:
    done.stderr = ""  # the command's own output
    return answer(done)


def test_the_report_tells_hidden_imports_from_droppable_ones(tmp_path: Path, cli: Cli) -> None:
    lib = write_tree(tmp_path / "lib", {**PLUGINS, **MODULES, "host/cli.py": "import m1"})
    command = ("--trace", "--", sys.executable, "-m", "host")
    options = ("--entry", "host", "--entry", "host.cli", "-o", tmp_path / "out.frz", "--json")
    done = cli("freeze", *options, *command, env={"PYTHONPATH": str(lib)})
    report = answer_of_freeze(done)
    assert {"one", "one_part", "two", "two.late"} <= set(report["recorded_only"])
    assert {"host.cli", "m1"} <= set(report["static_only"])
    assert "host" not in [*report["recorded_only"], *report["static_only"]]


def test_a_script_is_found_where_it_is(tmp_path: Path, cli: Cli) -> None:
    write_tree(tmp_path / "bin", {"script.py": "import beside", "beside.py": ""})
    script = tmp_path / "bin" / "script.py"
    registry = tmp_path / "out.frz"
    manifest = tmp_path / "app.txt"
    options = ("-o", registry, "--write-manifest", manifest)
    done = cli("freeze", *options, "--trace", "--", sys.executable, script)
    assert done.returncode == 0
    assert {"search bin", "recorded beside"} <= set(manifest.read_text().splitlines())


def test_a_trace_is_repeated_from_its_manifest_byte_for_byte(tmp_path: Path, cli: Cli) -> None:
    env = {"PYTHONPATH": str(write_tree(tmp_path / "lib", PLUGINS))}
    first, second = tmp_path / "first.frz", tmp_path / "second.frz"
    manifest = tmp_path / "app.txt"
    command = ("--trace", "--", sys.executable, "-m", "host")
    options = ("--entry", "one", "--write-manifest", manifest)
    assert cli("freeze", "-o", first, *options, *command, env=env).returncode == 0
    assert cli("freeze", "-o", second, "--manifest", manifest, env=env).returncode == 0
    assert first.read_bytes() == second.read_bytes()


def test_recorded_modules_lie_in_the_order_of_the_run(tmp_path: Path) -> None:
    files = {"z.py": "Z = 1", "a.py": "A = 1", "package/__init__.py": "P = 1", "package/n.py": ""}
    write_tree(tmp_path / "lib", {**files, "package/m.py": "", "b.py": ""})
    plan = discover(
        Manifest(recorded=("z", "package.m", "a"), packages=("b",)), [str(tmp_path / "lib")]
    )
    freeze(plan, tmp_path / "out.frz")
    registry = Registry.open(tmp_path / "out.frz")
    limit = registry.header.sections["blobs"][1]
    offset, size, count = layout.unpack_boot(registry._section("boot"), limit, "")
    entries = sorted(registry.entries(), key=lambda entry: entry.offset)
    registry.close()
    assert [entry.name for entry in entries] == ["z", "package", "package.m", "a", "b"]
    assert (offset, size, count) == (0, entries[4].offset, 4)


def test_what_no_search_finds_is_told(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"m1.py": "", "lib/m1.py": "", "odd/x.py": ""})
    recording = Recording(
        modules=(
            ("m1", str(root / "lib" / "m1.py")),
            ("m2", str(root / "odd" / "x.py")),
            ("m1.x", str(root / "m1.py")),
        )
    )
    manifest, complaints = name_recorded(recording, [str(root)])
    assert (manifest.recorded, manifest.searches) == (("m1",), (str(root / "lib"),))
    odd, inside = str(root / "odd" / "x.py"), str(root / "m1.py")
    assert complaints == (
        f"m2: was imported from {odd!r}, where a search does not find it",
        f"m1.x: was imported from {inside!r}, where a search does not find it",
    )
