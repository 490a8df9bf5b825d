"""C tables: compiled into a program that embeds CPython and runs a frozen application from them."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.processes import Python, clean_environment
from support.registries import build_registry, excluded, frozen

import frozenfinder
from frozenfinder.__main__ import main
from frozenfinder.bundle import emit_c
from frozenfinder.errors import FreezeError, RegistryVersionError
from frozenfinder.runtime.registry import Registry

PROGRAM = """
#include "frozen_modules.h"

int
main(void)
{
    PyStatus status;
    PyConfig config;
    if (frozenfinder_set_modules() < 0) {
        return 70;
    }
    PyConfig_InitIsolatedConfig(&config);
    status = PyConfig_SetBytesString(&config, &config.program_name, PYTHON);
    if (!PyStatus_Exception(status)) {
        status = PyConfig_SetBytesString(&config, &config.run_module, "app");
    }
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
    return Py_RunMain();
}
"""

APPLICATION = {
    "app/__init__.py": "from . import part",
    "app/__main__.py": """\
import importlib, sys
from app import part
from app.space.deep import DEEP
assert __name__ == "__main__"
print(part.__spec__.origin, part.where.__code__.co_filename, DEEP, getattr(part, "__file__", None))
try:
    import app.gone
except ImportError as error:
    print(error)
try:
    part.fail()
except ValueError as error:
    print(error.__traceback__.tb_next.tb_frame.f_code.co_filename)
sys.exit(5)
""",
    "app/part.py": "def where(): pass\ndef fail(): raise ValueError",
    "app/gone.py": "",
    "app/space/deep.py": "DEEP = 'deep'",
}


def find_compiler() -> str:
    """The C compiler; the test is skipped where it, the headers or libpython is missing."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip(f"{sysconfig.get_path('include')} has no Python.h")
    return compiler


def find_library() -> list[str]:
    """What links a program with this interpreter's libpython."""
    folder = sysconfig.get_config_var("LIBDIR")
    library = sysconfig.get_config_var("LDLIBRARY")
    if not library or not Path(folder, library).exists():
        pytest.skip(f"libpython, {library!r}, is not in {folder!r}")
    name = f"-lpython{sysconfig.get_config_var('LDVERSION')}"
    return [f"-L{folder}", name, f"-Wl,-rpath,{folder}", *find_loader()]


def find_loader() -> list[str]:
    """What makes a program start as the interpreter does, which may have a C library of its own."""
    python = Path(getattr(sys, "_base_executable", sys.executable))
    loader = re.search(rb"(/[^\0]*/ld-linux[^\0]*)\0", python.read_bytes())
    if loader is None:
        return []
    interpreter = f"-Wl,--dynamic-linker,{loader[1].decode()}"
    return [interpreter, "-Wl,--allow-shlib-undefined", "-Wl,--disable-new-dtags"]


def find_static_library() -> list[str]:
    folder = sysconfig.get_config_var("LIBPL")
    library = sysconfig.get_config_var("LIBRARY")
    if not library or not Path(folder, library).exists():
        pytest.skip(f"the static libpython, {library!r}, is not in {folder!r}")
    words = ("LIBS", "SYSLIBS", "LINKFORSHARED")
    rest = " ".join(sysconfig.get_config_var(word) or "" for word in words)
    return [str(Path(folder, library)), *rest.split()]


def build(folder: Path, registry: Path, link: list[str]) -> Path:
    emit_c(Registry.open(registry), folder / "c")
    (folder / "main.c").write_text(PROGRAM, encoding="ascii")
    python = getattr(sys, "_base_executable", sys.executable)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O0", f'-DPYTHON="{python}"']
    include = [f"-I{sysconfig.get_path('include')}", f"-I{folder / 'c'}"]
    program = folder / "program"
    sources = [str(folder / "main.c"), str(folder / "c" / "frozen_modules.c")]
    command = [find_compiler(), *flags, *include, "-o", str(program), *sources, *link]
    subprocess.run(command, check=True, timeout=120)
    return program


@pytest.fixture
def registry(tmp_path: Path, python: Python) -> Path:
    for name, text in APPLICATION.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    registry = tmp_path / "app.frz"
    command = ["-m", "frozenfinder", "freeze", "--quiet", "-o", str(registry)]
    python(*command, "--path", tmp_path / "src", "--exclude", "app.gone")
    shutil.rmtree(tmp_path / "src")
    return registry


def test_a_program_with_a_shared_libpython_runs_the_application(
    registry: Path, tmp_path: Path
) -> None:
    find_compiler()
    done = subprocess.run(
        [build(tmp_path, registry, find_library())], capture_output=True, check=False, text=True
    )
    assert (done.returncode, done.stderr) == (5, "")
    first, second, third = done.stdout.splitlines()
    assert first.startswith("frozen <frozen app.part> deep ")
    assert second == "No module named 'app.gone'"
    assert third == "<frozen app.part>"


def test_one_with_a_static_libpython_knows_that_it_is_not_the_standard_library(
    registry: Path, tmp_path: Path
) -> None:
    find_compiler()
    link = find_static_library()
    try:
        program = build(tmp_path, registry, link)
    except subprocess.CalledProcessError:
        pytest.skip(f"{link[0]} cannot be linked with")
    done = subprocess.run([program], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (5, "")
    assert done.stdout.startswith("frozen <frozen app.part> deep None\n")


def test_a_program_with_a_fast_exit_ends_its_interpreter_and_starts_another(
    registry: Path, tmp_path: Path
) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(frozenfinder.__file__).parents[1])!r})
import gc, frozenfinder, argparse
gc.freeze = lambda freeze=gc.freeze: (print('hidden', flush=True), freeze())
frozenfinder.install({str(registry)!r}, mode='closed', fast_exit=True)
import app
"""
    source = f"""
#include <Python.h>

int
main(void)
{{
    for (int round = 0; round < 3; round++) {{
        Py_Initialize();
        if (PyRun_SimpleString({json.dumps(code)}) < 0 || Py_FinalizeEx() < 0) {{
            return 70;
        }}
    }}
    return 0;
}}
"""
    (tmp_path / "main.c").write_text(source, encoding="ascii")
    program = tmp_path / "program"
    command = [find_compiler(), f"-I{sysconfig.get_path('include')}", "-o", str(program)]
    link = find_library()
    subprocess.run([*command, str(tmp_path / "main.c"), *link], check=True, timeout=120)
    done = subprocess.run(
        [program],
        env=clean_environment() | {"PYTHONHOME": sys.base_prefix},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hidden\n" * 3, "")


def emit(folder: Path, *modules: object) -> tuple[str, dict[str, str]]:
    """The text of `frozen_modules.c`, and what was left out."""
    data = build_registry(*modules)  # type: ignore[arg-type]
    tables = emit_c(Registry.from_bytes(data), folder)
    return (folder / "frozen_modules.c").read_text("ascii"), dict(tables.left_out)


def test_each_version_has_its_own_struct(tmp_path: Path) -> None:
    text, _ = emit(tmp_path, frozen("a", is_package=True))
    end = ", NULL" if sys.version_info < (3, 13) else ""
    assert f'{{"a", M_a, (int)sizeof(M_a), 1{end}}},' in text
    assert f"{{NULL, NULL, 0, 0{end}}}\n}};" in text


def test_an_alias_shares_the_code_of_what_it_stands_for(tmp_path: Path) -> None:
    text, _ = emit(
        tmp_path,
        frozen("a_b.c"),
        frozen("other", origname="a_b.c"),
        frozen("lost", origname="none"),
    )
    assert '{"a_b.c", M_a_ub_dc, (int)sizeof(M_a_ub_dc), 0' in text
    assert '{"other", M_a_ub_dc, (int)sizeof(M_a_ub_dc), 0' in text
    assert '{"lost", M_lost, (int)sizeof(M_lost), 0' in text
    assert '{"other", "a_b.c"},' in text
    assert sorted(path.name for path in tmp_path.glob("*/*.h")) == ["a_b.c.h", "lost.h"]


def test_only_the_standard_library_lies_in_its_folder(tmp_path: Path) -> None:
    text, _ = emit(tmp_path, frozen("a"), frozen("b", table="stdlib"))
    aliases = text.partition("aliases[] = {")[2].partition("};")[0]
    assert re.findall(r'"(.*)", (.*)}', aliases) == [("a", "NULL")]


def test_an_excluded_module_is_a_row_that_stops_the_search(tmp_path: Path) -> None:
    assert '{"gone", NULL, 0, 0' in emit(tmp_path, excluded("gone"))[0]


def test_what_no_row_can_hold_is_left_out_and_named(tmp_path: Path) -> None:
    text, left_out = emit(
        tmp_path, frozen("e", kind="extension"), frozen("\xe9"), frozen("t", table="test")
    )
    assert left_out == {
        "e": "is an extension module; link it, and add it with PyImport_AppendInittab",
        "t": "is in the table 'test'",
        "\xe9": "has a name that is not ASCII",
    }
    assert "M_" not in text.partition("frozenfinder_modules[]")[2]


def test_the_command_says_what_it_wrote_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, folder = tmp_path / "r.frz", tmp_path / "c"
    registry.write_bytes(build_registry(frozen("a"), frozen("t", table="test")))
    command = ["emit-c", str(registry), "-o", str(folder)]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Wrote {folder}: 1 modules.",
        "Left out: 1.",
        "  t: is in the table 'test'",
    ]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "output": str(folder),
        "modules": 1,
        "left_out": [["t", "is in the table 'test'"]],
    }
    registry.write_bytes(build_registry(frozen("a"), frozen("b")))
    assert main(command) == 0
    assert capsys.readouterr().out == f"Wrote {folder}: 2 modules.\n"


def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = tmp_path / "r.frz"
    registry.write_bytes(build_registry(frozen("a"))[:100])
    assert main(["emit-c", str(registry), "-o", str(tmp_path / "c")]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert error.startswith(f"frozenfinder: registry {str(registry)!r}: ")
    assert not (tmp_path / "c").exists()


def test_a_registry_of_another_interpreter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryVersionError, match="magic number"):
        emit_c(Registry.from_bytes(build_registry(magic=1)), tmp_path)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    where = str(tmp_path / "file")
    with pytest.raises(FreezeError) as caught:
        emit_c(Registry.from_bytes(build_registry()), where)
    assert str(caught.value) == f"output {where!r}: cannot be written: Not a directory"


def test_the_same_registry_gives_the_same_text(tmp_path: Path) -> None:
    first, second = (emit(tmp_path / name, frozen("a", "X = 'x'"))[0] for name in "ab")
    assert first == second
    files = [(tmp_path / name / "frozen_modules" / "a.h").read_text("ascii") for name in "ab"]
    assert files[0] == files[1]
