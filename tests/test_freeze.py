"""A freeze from end to end: what is in the registry, whether its bytes are the same, its faults."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from programs.reproducibility import freeze_all
from support.processes import Python
from support.sources import write_tree

import frozenfinder
from frozenfinder import FreezeError, Registry
from frozenfinder.freezer import (
    Manifest,
    Module,
    Omission,
    Plan,
    Report,
    Root,
    discover,
    freeze,
)
from frozenfinder.freezer.compile import pool as workers

SO = EXTENSION_SUFFIXES[0]
FILES = {
    "m.py": "VALUE = 'first'\ndef function():\n    '''documented'''\n    return VALUE\n",
    "pkg/__init__.py": "",
    "pkg/sub.py": "import os.path\nNAME = 'os.path'\n",
    "pkg/data.txt": "data\n",
    "pkg/empty.txt": "",
    "space/portion.py": "class A:\n    class B:\n        pass\n",
}


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "lib", FILES)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "app.frz"


def plan(lib: Path, **settings: object) -> Plan:
    return discover(Manifest(paths=(str(lib),), **settings), [])  # type: ignore[arg-type]


@pytest.fixture
def opened(output: Path) -> Iterator[Callable[[], Registry]]:
    """Opens the registry, and closes it after the test."""
    registries: list[Registry] = []

    def open_registry() -> Registry:
        registries.append(Registry.open(output))
        return registries[-1]

    yield open_registry
    for registry in registries:
        registry.close()


Open = Callable[[], Registry]

# -- what is in it


def test_modules_and_files_are_in_the_registry(lib: Path, output: Path, opened: Open) -> None:
    report = freeze(plan(lib), output)
    registry = opened()
    entries = {entry.name: entry for entry in registry.entries()}
    assert {name: (e.kind, e.is_package, e.table, e.path) for name, e in entries.items()} == {
        "m": ("source", False, "app", "m.py"),
        "pkg": ("source", True, "app", "pkg/__init__.py"),
        "pkg.sub": ("source", False, "app", "pkg/sub.py"),
        "space": ("namespace", True, "app", "space"),
        "space.portion": ("source", False, "app", "space/portion.py"),
    }
    status = (lib / "m.py").stat()
    assert (entries["m"].mtime, entries["m"].source_size) == (int(status.st_mtime), status.st_size)
    assert registry.get_frozen_object("m").co_filename == "m.py"
    assert {entry.name: bytes(registry.read_blob(entry)) for entry in registry.files()} == {
        "pkg/data.txt": b"data\n",
        "pkg/empty.txt": b"",
    }
    assert registry.roots == [("registry", "lib")]
    assert registry.info() == {
        "frozenfinder": frozenfinder.__version__,
        "asked": ["path <registry>/lib", f"optimize {sys.flags.optimize}"],
    }
    assert (report.modules, report.files, report.compiled) == (5, 2, 4)


def test_sources_are_in_it_if_that_is_asked(lib: Path, output: Path, opened: Open) -> None:
    freeze(plan(lib), output)
    entry = opened().find_entry("m")
    assert entry is not None
    assert opened().read_text(entry) is None
    freeze(plan(lib, with_source=True), output)
    for entry in opened().entries():
        if entry.kind == "source":
            text = opened().read_text(entry)
            assert text is not None
            assert bytes(text) == (lib / entry.path).read_bytes()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_code_is_of_the_level_that_is_asked_for(
    lib: Path, output: Path, opened: Open, level: int
) -> None:
    freeze(plan(lib, optimize=level, world=True), output)
    registry = opened()
    assert (registry.header.optimize, registry.header.world) == (level, True)
    entry = registry.find_entry("m")
    assert entry is not None
    code = registry.load_code(entry, registry.read_blob(entry))
    (function,) = [each for each in code.co_consts if hasattr(each, "co_consts")]
    assert ("documented" in function.co_consts) is (level < 2)


def test_modules_without_code_are_entries(lib: Path, output: Path, opened: Open) -> None:
    write_tree(lib, {f"fast{SO}": b"binary"})
    planned = plan(lib)
    root = planned.roots[0]
    others = (
        Module("gone", root, "gone.py", kind="excluded"),
        Module("pkg.other", root, "m.py", kind="alias", origname="m"),
        Module("nowhere", root, "x.py", kind="alias", origname="x"),
    )
    report = freeze(replace(planned, modules=planned.modules + others), output)
    registry = opened()
    entries = {entry.name: entry for entry in registry.entries()}
    assert (entries["fast"].kind, entries["fast"].source_size) == ("extension", len(b"binary"))
    assert entries["gone"].kind == "excluded"
    assert (entries["pkg.other"].kind, entries["pkg.other"].origname) == ("source", "m")
    assert registry.get_frozen_object("pkg.other") == registry.get_frozen_object("m")
    (omission,) = report.omitted
    assert omission.name == "nowhere"
    assert omission.reason == "is an alias of 'x', which is not in the registry"


def test_what_cannot_be_frozen_is_left_out_and_reported(lib: Path, output: Path) -> None:
    write_tree(lib, {"bad.py": "x =\n", "pkg/gone.py": "", "gone.txt": "", f"gone{SO}": b""})
    planned = plan(lib)
    for name in ("pkg/gone.py", "gone.txt", f"gone{SO}"):
        (lib / name).unlink()
    report = freeze(planned, output)
    missing = "cannot be read: No such file or directory"
    assert set(report.omitted) == {
        Omission(
            "bad",
            str(lib / "bad.py"),
            "does not compile: SyntaxError: invalid syntax (bad.py, line 1)",
        ),
        Omission("gone", str(lib / f"gone{SO}"), missing),
        Omission("gone.txt", str(lib / "gone.txt"), missing),
        Omission("pkg.gone", str(lib / "pkg/gone.py"), missing),
    }
    assert (report.modules, report.files) == (5, 2)


def test_warnings_of_the_compiler_are_reported_and_not_given(lib: Path, output: Path) -> None:
    write_tree(lib, {"odd.py": "x = 1 is 1\n"})
    ((name, warning),) = freeze(plan(lib), output).warnings
    assert name == "odd"
    assert warning.startswith("SyntaxWarning: ")


def test_a_report_is_json_too(lib: Path, output: Path) -> None:
    write_tree(lib, {"bad.py": "x =\n"})
    told = json.loads(freeze(plan(lib), output).to_json())
    assert told["output"] == str(output)
    assert told["size"] == output.stat().st_size
    assert told["written"] is True
    assert told["omitted"][0]["name"] == "bad"


def test_progress_is_told(lib: Path, output: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    freeze(plan(lib), output, progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == [2, 3, 4, 5]
    assert {total for _, total, _ in calls} == {5}
    assert {name for _, _, name in calls} == {"m", "pkg", "pkg.sub", "space.portion"}


def test_an_empty_plan_makes_an_empty_registry(output: Path, opened: Open) -> None:
    freeze(Plan(), output)
    assert list(opened().entries()) == []
    assert opened().find_entry("m") is None


# -- the same bytes


@pytest.fixture
def reproducible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is recorded that belongs to these very folders; no file is newer than that."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(2**32))


@pytest.mark.usefixtures("reproducible")
def test_the_same_tree_at_another_place_gives_the_same_bytes(tmp_path: Path) -> None:
    results = []
    for place in ("here", "there/deeper"):
        lib = write_tree(tmp_path / place / "lib", FILES)
        for path in lib.rglob("*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        freeze(plan(lib), lib.parent / "app.frz")
        results.append((lib.parent / "app.frz").read_bytes())
    assert results[0] == results[1]


@pytest.mark.usefixtures("reproducible")
def test_pycs_make_no_difference(lib: Path, output: Path, python: Python) -> None:
    report = freeze(plan(lib, with_source=True), output)
    compiled = output.read_bytes()
    output.unlink()
    python("-m", "compileall", "-q", "--invalidation-mode", "timestamp", lib)
    again = freeze(plan(lib, with_source=True), output)
    assert (report.compiled, report.from_pyc) == (4, 0)
    assert (again.compiled, again.from_pyc) == (0, 4)
    assert output.read_bytes() == compiled


FREEZE = """
import sys
from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.freezer.compile import pool as workers
workers._LITTLE_WORK = 0
lib, output, jobs = sys.argv[1:]
freeze(discover(Manifest(paths=(lib,), optimize=0), []), output, jobs=int(jobs))
"""


def test_processes_flags_hash_seeds_and_clocks_make_no_difference(
    lib: Path, tmp_path: Path, python: Python
) -> None:
    for package in ("json", "email", "logging"):
        source = Path(sys._stdlib_dir, package)  # type: ignore[attr-defined]
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, lib / package, ignore=ignored)
    outputs = []
    for number, (flags, jobs, seed, latest) in enumerate(
        [
            ([], "1", "1", str(2**32)),
            ([], "2", "2", str(2**32)),
            (["-OO"], "3", "3", str(2**33)),
            (["-X", "utf8=0"], "1", "random", str(2**32)),
        ]
    ):
        output = tmp_path / f"{number}.frz"
        environment = {"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": latest}
        python(*flags, "-c", FREEZE, lib, output, jobs, env=environment)
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2] == outputs[3]


def set_times(lib: Path, seconds: int) -> None:
    for path in lib.rglob("*.*"):
        os.utime(path, (seconds, seconds))


def test_no_time_is_recorded_that_is_later_than_the_source_date_epoch(
    lib: Path, output: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_times(lib, 2_000_000)
    os.utime(lib / "m.py", (1_000_000, 1_000_000))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000")
    report = freeze(plan(lib), output)
    registry = opened()
    entries = [*registry.entries(), *registry.files()]
    times = {each.path: each.mtime for each in entries if each.kind in ("source", "data")}
    assert times.pop("m.py") == 1_000_000
    assert set(times.values()) == {1_500_000}
    assert report.clamped == 3


def test_files_newer_than_the_source_date_epoch_may_have_any_time(
    lib: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000")
    outputs = []
    for seconds in (1_600_000, 1_700_000):
        set_times(lib, seconds)
        freeze(plan(lib), output)
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


def test_a_source_newer_than_the_source_date_epoch_is_compiled_again(
    lib: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000")
    freeze(plan(lib), output)
    write_tree(lib, {"m.py": FILES["m.py"].replace("first", "other")})
    assert freeze(plan(lib), output).written


@pytest.mark.parametrize("value", ["yesterday", "-1", "1.5", "\u0661"])
def test_a_source_date_epoch_that_is_no_time_is_an_error(
    lib: Path, output: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(FreezeError) as caught:
        freeze(plan(lib), output)
    assert str(caught.value) == (
        f"SOURCE_DATE_EPOCH is {value!r}, expected whole seconds since 1970"
    )
    assert not output.exists()


@pytest.mark.usefixtures("processes")
def test_places_orders_and_much_else_make_no_difference() -> None:
    """The short form of `reproducibility.py`."""
    assert len(freeze_all(3)) == 1


def test_what_was_taken_over_makes_no_difference(lib: Path, output: Path) -> None:
    freeze(plan(lib), output)
    write_tree(lib, {"m.py": "VALUE = 'edited'\n", "new.py": "", "pkg/data.txt": "more data\n"})
    (lib / "pkg" / "sub.py").unlink()
    report = freeze(plan(lib), output)
    assert (report.reused, report.compiled, report.written) == (2, 2, True)
    incremental = output.read_bytes()
    output.unlink()
    freeze(plan(lib), output)
    assert output.read_bytes() == incremental


# -- the second time


def test_nothing_is_compiled_and_nothing_written_where_nothing_changed(
    lib: Path, output: Path
) -> None:
    first = freeze(plan(lib), output)
    before = output.stat()
    second = freeze(plan(lib), output)
    assert (first.written, first.compiled, first.reused) == (True, 4, 0)
    assert (second.written, second.compiled, second.reused) == (False, 0, 4)
    assert output.stat().st_ino == before.st_ino
    assert second.size == first.size == before.st_size


def change_size(lib: Path) -> None:
    write_tree(lib, {"m.py": FILES["m.py"] + "\n"})


def touch(lib: Path) -> None:
    os.utime(lib / "m.py", (5, 5))


def change_content(lib: Path) -> None:
    before = (lib / "m.py").stat()
    write_tree(lib, {"m.py": FILES["m.py"].replace("first", "other")})
    os.utime(lib / "m.py", ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "compiled"), [(change_size, 1), (change_content, 1), (touch, 0)]
)
def test_a_source_with_other_content_is_compiled_again(
    lib: Path, output: Path, change: Callable[[Path], None], compiled: int
) -> None:
    freeze(plan(lib), output)
    change(lib)
    report = freeze(plan(lib), output)
    assert (report.compiled, report.reused, report.written) == (compiled, 4 - compiled, True)


@pytest.mark.parametrize(
    ("first", "second", "reused"),
    [
        ({"optimize": 0}, {"optimize": 2}, 0),
        ({}, {"with_source": True}, 4),
        ({"with_source": True}, {}, 4),
        ({"with_source": True}, {"with_source": True}, 4),
        ({}, {"world": True}, 4),
    ],
)
def test_what_was_frozen_otherwise_is_taken_over_where_it_will_do(
    lib: Path, output: Path, first: dict[str, object], second: dict[str, object], reused: int
) -> None:
    freeze(plan(lib, **first), output)
    assert freeze(plan(lib, **second), output).reused == reused
    fresh = output.with_name("fresh.frz")
    freeze(plan(lib, **second), fresh)
    assert output.read_bytes() == fresh.read_bytes()


def test_a_registry_of_another_freezer_is_not_taken_over(
    lib: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frozenfinder.freezer.write.output.__version__", "0.0.0")
    freeze(plan(lib), output)
    monkeypatch.undo()
    assert freeze(plan(lib), output).reused == 0


def test_what_is_damaged_is_compiled_again(lib: Path, output: Path) -> None:
    freeze(plan(lib), output)
    whole = output.read_bytes()
    for place in range(330, len(whole), 37):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        output.write_bytes(damaged)
        freeze(plan(lib), output)
        assert output.read_bytes() == whole
    for size in (0, 8, 300, 1000, len(whole) - 1):
        output.write_bytes(whole[:size])
        freeze(plan(lib), output)
        assert output.read_bytes() == whole


# -- where it is written


def leftovers(output: Path) -> list[str]:
    return sorted(
        path.name for path in output.parent.iterdir() if path.name not in ("lib", "app.frz")
    )


def test_the_file_is_readable_as_the_umask_says(lib: Path, tmp_path: Path) -> None:
    for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
        output = tmp_path / f"{mask}.frz"
        before = os.umask(mask)
        try:
            freeze(plan(lib), output)
        finally:
            os.umask(before)
        assert stat.S_IMODE(output.stat().st_mode) == mode


def fail(error: int) -> Callable[..., object]:
    def raise_error(*_: object, **__: object) -> object:
        raise OSError(error, os.strerror(error))

    return raise_error


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("before", [True, False], ids=["over another", "the first"])
def test_a_freeze_that_cannot_write_leaves_everything_as_it_was(
    lib: Path, output: Path, monkeypatch: pytest.MonkeyPatch, call: str, *, before: bool
) -> None:
    if before:
        freeze(plan(lib), output)
        write_tree(lib, {"new.py": ""})
    old = output.read_bytes() if before else None
    planned = plan(lib)
    monkeypatch.setattr(os, call, fail(errno.ENOSPC))
    with pytest.raises(FreezeError) as caught:
        freeze(planned, output)
    monkeypatch.undo()
    assert str(caught.value) == (
        f"output {str(output)!r}: cannot be written: No space left on device"
    )
    assert leftovers(output) == []
    assert (output.read_bytes() if before else None) == old


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_report_that_cannot_be_written_leaves_everything_as_it_was(
    lib: Path, output: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    page = output.with_suffix(".html")
    freeze(plan(lib), output, page=page)
    old = output.read_bytes(), page.read_bytes()
    write_tree(lib, {"new.py": ""})
    planned = plan(lib)
    monkeypatch.setattr(os, call, fail(errno.ENOSPC))
    with pytest.raises(FreezeError) as caught:
        freeze(planned, output, page=page)
    monkeypatch.undo()
    first = page if call == "fsync" else output
    assert str(caught.value) == (
        f"output {str(first)!r}: cannot be written: No space left on device"
    )
    assert (output.read_bytes(), page.read_bytes()) == old
    assert leftovers(output) == [page.name]


def test_a_report_is_not_written_where_something_else_is(lib: Path, output: Path) -> None:
    page = output.with_suffix(".html")
    page.mkdir()
    with pytest.raises(FreezeError) as caught:
        freeze(plan(lib), output, page=page)
    assert str(caught.value) == (
        f"output {str(page)!r}: is a directory, expected a report or nothing"
    )
    assert leftovers(output) == [page.name]


def test_an_interrupted_freeze_leaves_everything_as_it_was(
    lib: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(plan(lib), output)
    old = output.read_bytes()
    write_tree(lib, {"new.py": ""})

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        freeze(plan(lib), output)
    assert leftovers(output) == []
    assert output.read_bytes() == old


def refusal(path: Path) -> str:
    with pytest.raises(FreezeError) as caught:
        freeze(Plan(), path)
    return str(caught.value)


def test_nothing_but_a_registry_is_overwritten(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text("print('precious')\n")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refusal(script) == (
        f'output {str(script)!r}: is not a registry, because it begins with b"print(\'p"; '
        "remove it, or choose another name"
    )
    assert script.read_text() == "print('precious')\n"
    wanted = "expected a registry or nothing"
    assert refusal(tmp_path) == f"output {str(tmp_path)!r}: is a directory, {wanted}"
    assert refusal(pipe) == f"output {str(pipe)!r}: is not a regular file, {wanted}"
    missing = str(tmp_path / "missing" / "app.frz")
    assert refusal(Path(missing)) == (
        f"output {missing!r}: its folder does not exist; create it first"
    )


def test_an_empty_file_is_overwritten(lib: Path, output: Path, opened: Open) -> None:
    output.touch()
    freeze(plan(lib), output)
    assert opened().find_entry("m") is not None


@pytest.mark.usefixtures("processes")
def test_two_freezes_at_once_both_succeed(lib: Path, output: Path, opened: Open) -> None:
    argv = [sys.executable, "-c", FREEZE, str(lib), str(output), "1"]
    for process in [subprocess.Popen(argv) for _ in range(3)]:
        assert process.wait(timeout=120) == 0
    assert leftovers(output) == []
    assert opened().find_entry("m") is not None


# -- who calls it


SCRIPT = """
import os, sys
import frozenfinder
from frozenfinder.freezer import Manifest, discover
from frozenfinder.freezer.compile import pool as workers
with open(sys.argv[3], "a") as log:
    log.write("run\\n")
workers._LITTLE_WORK = 0
report = frozenfinder.freeze(discover(Manifest(paths=(sys.argv[1],)), []), sys.argv[2], jobs=2)
print(report.compiled)
"""


@pytest.mark.parametrize("how", ["script", "-c"])
def test_a_script_that_freezes_at_its_top_level_runs_once(
    lib: Path, output: Path, tmp_path: Path, python: Python, how: str
) -> None:
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(SCRIPT)
    start = [script] if how == "script" else ["-c", SCRIPT]
    assert python(*start, lib, output, log).stdout == "4\n"
    assert log.read_text() == "run\n"


def test_code_in_the_current_directory_is_not_run_by_workers(
    lib: Path, output: Path, tmp_path: Path, python: Python
) -> None:
    """A worker must not import a project's modules that are named like the standard library's."""
    for name in ("pickle", "signal", "warnings", "sitecustomize"):
        write_tree(lib, {f"{name}.py": "raise SystemExit('was run')\n"})
    log = tmp_path / "log"
    done = python("-P", "-c", SCRIPT, lib, output, log, cwd=lib)
    assert (done.stdout, done.stderr) == ("8\n", "")


@pytest.mark.usefixtures("processes")
def test_workers_take_over_where_pycs_are(
    lib: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_LITTLE_WORK", 0)
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-m", "compileall", "-q", lib], env=environment, check=True)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "cache"))
    report: Report = freeze(plan(lib), output, jobs=2)
    assert (report.compiled, report.from_pyc) == (0, 4)


def test_roots_that_are_nowhere_else_are_absolute(tmp_path: Path, lib: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    output = tmp_path / "elsewhere" / "app.frz"
    freeze(plan(lib), output)
    registry = Registry.open(output)
    assert registry.roots == [("absolute", str(lib))]
    registry.close()
    assert Root("absolute", str(lib), "anywhere") == plan(lib).roots[0]
