"""How this package loads its own modules, and the piece that has their code."""

import importlib.util
import inspect
import json
import marshal
import os
import shutil
import sys
import traceback
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest
from support.layers import find_boot
from support.processes import RunPython
from support.registries import build_registry, frozen

import frozenfinder
from frozenfinder.enable.piece import write_piece
from frozenfinder.own import import_stock, load_own

WRITES = {"PYTHONDONTWRITEBYTECODE": ""}

SHOW = """
import json, sys
opened = []
def note(event, arguments):
    if event == "open" and "frozenfinder" in str(arguments[0]):
        opened.append(str(arguments[0]))
sys.addaudithook(note)
sys.path.insert(0, sys.argv[1])
import frozenfinder
found = {}
for name, module in sys.modules.items():
    if name.partition(".")[0] == "frozenfinder":
        spec = module.__spec__
        found[name] = [
            module.__file__, module.__package__, getattr(module, "__cached__", None),
            getattr(module, "__path__", None), type(module.__loader__).__name__,
            spec.name, spec.origin, spec.has_location, spec.cached, spec.parent,
            spec.submodule_search_locations, spec.loader is module.__loader__,
            frozenfinder.runtime.hooks.install.__code__.co_filename, module.__doc__,
        ]
print(json.dumps([found, [each.rpartition("frozenfinder")[2] for each in opened]]))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the package, with no `.pyc` file."""
    home = tmp_path / "frozenfinder"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(frozenfinder.__file__).parent, home, ignore=ignored)
    return home


@pytest.fixture
def written(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert write_piece(home)
    return home


def show(run_python: RunPython, home: Path, **env: str) -> tuple[dict[str, Any], list[str]]:
    """The modules that an import of this copy gives, and the files that it opens."""
    done = run_python(SHOW, home.parent, env={"PYTHONDONTWRITEBYTECODE": "1", **env})
    assert done.stderr == ""
    found, opened = json.loads(done.stdout)
    return found, opened


def reads(opened: list[str], name: str) -> bool:
    """Whether the source or the `.pyc` file of that module was opened."""
    return any(each.rpartition("/")[2].partition(".")[0] == name for each in opened)


def piece_of(home: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(home / "boot.py")))


def test_the_piece_has_the_code_of_every_module_of_a_boot(
    written: Path, run_python: RunPython
) -> None:
    found, opened = show(run_python, written)
    assert set(found) == find_boot()
    for file, *_, cached, _, _, _, _, _ in found.values():
        assert cached == importlib.util.cache_from_source(file)
    assert {each.rpartition("/")[2].partition(".")[0] for each in opened} == {
        "__init__",
        "own",
        "boot",
    }


def test_the_piece_is_empty_until_it_is_written() -> None:
    source = Path(frozenfinder.__file__).with_name("boot.py")
    namespace: dict[str, Any] = {"__name__": "frozenfinder.boot"}
    exec(compile(source.read_bytes(), source, "exec"), namespace)
    assert namespace["CODES"] == (("", 0, 0, None),)


def test_modules_are_the_same_with_and_without_it(
    home: Path, run_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, opened = show(run_python, home)
    assert reads(opened, "hooks")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write_piece(home)
    assert show(run_python, home)[0] == before


def test_a_module_that_was_edited_is_compiled(written: Path, run_python: RunPython) -> None:
    errors = written / "errors.py"
    errors.write_text('"""Edited."""\n' + errors.read_text("utf-8").partition('"""\n')[2], "utf-8")
    found, opened = show(run_python, written)
    assert found["frozenfinder.errors"][-1] == "Edited."
    assert reads(opened, "errors")
    assert not reads(opened, "hooks")


def test_a_package_that_was_moved_names_its_files_where_they_are(
    written: Path, run_python: RunPython, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "frozenfinder"
    moved.parent.mkdir()
    written.rename(moved)
    found, opened = show(run_python, moved)
    assert not reads(opened, "hooks")
    assert found["frozenfinder"][-2] == str(moved / "runtime" / "hooks.py")


@pytest.mark.parametrize("level", ["1", "2"])
def test_it_is_not_used_at_another_level(written: Path, run_python: RunPython, level: str) -> None:
    assert reads(show(run_python, written, PYTHONOPTIMIZE=level)[1], "hooks")


@pytest.mark.parametrize("end", [20, -1000])
def test_a_damaged_one_is_ignored(written: Path, run_python: RunPython, end: int) -> None:
    piece = piece_of(written)
    piece.write_bytes(piece.read_bytes()[:end])
    assert reads(show(run_python, written)[1], "hooks")


def test_a_piece_without_its_source_is_ignored(written: Path, run_python: RunPython) -> None:
    (written / "boot.py").unlink()
    assert reads(show(run_python, written)[1], "hooks")


def test_it_is_a_pyc_file_of_a_module(written: Path) -> None:
    data = piece_of(written).read_bytes()
    assert data[:4] == importlib.util.MAGIC_NUMBER
    namespace: dict[str, Any] = {}
    exec(marshal.loads(data[16:]), namespace)
    codes = {name: code for name, *_, code in namespace["CODES"]}
    every = {name for name, code in codes.items() if isinstance(code, CodeType)}
    assert every == find_boot() - {"frozenfinder.own"} | {"frozenfinder.activation"}
    others = {name: marshal.loads(codes[name]) for name in codes.keys() - every}
    assert others["frozenfinder.closed.finder"].co_name == "<module>"
    assert set(others) == {
        f"frozenfinder.{name}" for name in ("closed", "closed.finder", "closed.loader", "extras")
    }


def test_closed_mode_opens_no_file_of_its_own(
    written: Path, run_python: RunPython, tmp_path: Path
) -> None:
    registry = tmp_path / "closed.frz"
    registry.write_bytes(build_registry(frozen("m", "VALUE = 1")))
    install = f"frozenfinder.install({str(registry)!r}, mode='closed')"
    program = SHOW.replace("found = {}", f"{install}\nimport m\nfound = {{}}")
    done = run_python(program, written.parent, env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.stderr == ""
    found, opened = json.loads(done.stdout)
    assert "frozenfinder.closed.loader" in found
    assert not [each for each in opened if each.startswith("/closed/")]


def test_it_is_not_written_where_python_writes_no_pyc_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert not write_piece(home)
    assert not (home / "__pycache__").exists()


def test_it_is_not_written_where_the_folder_is_a_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (home / "__pycache__").write_text("in the way")
    assert not write_piece(home)


def test_it_is_not_written_for_a_package_that_is_not_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert not write_piece(tmp_path / "app.pyz" / "frozenfinder")


# -- `load_own`


def test_a_module_is_the_one_in_the_table_of_modules() -> None:
    assert load_own("native.fixups") is sys.modules["frozenfinder.native.fixups"]
    assert load_own("") is frozenfinder


def test_a_module_is_not_put_into_the_table_where_the_package_was_taken_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "frozenfinder.null_finder"
    load_own("null_finder")
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(frozenfinder, "null_finder")
    monkeypatch.setitem(sys.modules, "frozenfinder", ModuleType("frozenfinder"))
    assert load_own("null_finder").__name__ == name
    assert name not in sys.modules


def test_a_module_that_is_missing_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        load_own("native.nothing")
    assert str(caught.value) == "No module named 'frozenfinder.native.nothing'"
    assert caught.value.name == "frozenfinder.native.nothing"


def test_a_stock_module_is_imported() -> None:
    assert import_stock("os.path") is os.path


def test_source_and_tracebacks_are_those_of_the_files() -> None:
    hooks = sys.modules["frozenfinder.runtime.hooks"]
    assert inspect.getsource(hooks.default_registry).startswith("def default_registry() -> str:")
    try:
        hooks.install(mode="other")
    except ValueError as error:
        [*_, last] = traceback.extract_tb(error.__traceback__)
    assert (last.filename, last.name) == (hooks.__file__, "install")
    assert last.line is not None
    assert last.line.startswith("raise ValueError(")


def test_modules_import_each_other_where_the_package_is_hidden(run_python: RunPython) -> None:
    """By each form of the statement: absolute, relative, of a submodule, of other packages."""
    code = """
import sys, frozenfinder
load = frozenfinder._load_own
for name in [name for name in sys.modules if name.startswith("frozenfinder")]:
    del sys.modules[name]
sys.path[:] = [item for item in sys.path if "site-packages" not in item]
sys.meta_path[:] = [each for each in sys.meta_path if "Path" not in repr(each)]
for name in ("frozen_api", "closed.finder", "native.fixups", "trust", "public"):
    assert load(name).__name__ == f"frozenfinder.{name}"
print([name for name in sys.modules if name.startswith("frozenfinder")])
"""
    assert run_python(code).stdout == "[]\n"


def test_every_public_name_is_there_where_nothing_else_was_imported(run_python: RunPython) -> None:
    code = """
import frozenfinder, sys
for name in frozenfinder.__all__:
    getattr(frozenfinder, name)
print("frozenfinder.freezer.plan" in sys.modules)
"""
    assert run_python(code).stdout == "True\n"
