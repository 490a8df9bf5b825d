"""Bundles: one file that is a program, run by bare interpreters in every way there is."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest
from support.compiled import SUFFIX, compile_c
from support.processes import Python

from frozenfinder.__main__ import main
from frozenfinder.bundle import Entry, archive, parse_entry
from frozenfinder.bundle.start import find_complaint
from frozenfinder.runtime.registry import Registry

MAIN = """\
import json, sys
from importlib import metadata, resources

from . import inner

class Mine:
    pass

def main():
    main_module = sys.modules["__main__"]
    print(json.dumps({
        "argv": sys.argv,
        "path": sys.path[0],
        "file": main_module.__file__,
        "spec": getattr(main_module.__spec__, "name", None),
        "names": sorted(name for name in vars(main_module) if not name.startswith("__")),
        "inner": inner.__file__,
        "text": resources.files("tool").joinpath("data.txt").read_text("utf-8"),
        "version": metadata.version("tool"),
        "points": [point.value for point in metadata.entry_points(group="tool.plugins")],
    }))
    return 3

def fail():
    raise ValueError("from the bundle")

def square(number):
    return number * number

def spread():
    import multiprocessing, pickle
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        with context.Pool(1) as pool:
            print(method, pool.map(square, range(3)), pool.apply(grandchild, [method]))
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1) as executor:
        print("default", executor.submit(square, 4).result())

def grandchild(method):
    # a worker of a pool may not have children; those of an executor may
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    multiprocessing.current_process()._config["daemon"] = False
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as executor:
        return executor.submit(square, 5).result()
"""

TREE = {
    "tool/__init__.py": "",
    "tool/cli.py": MAIN,
    "tool/inner/__init__.py": "",
    "tool/data.txt": "data",
    "tool/__main__.py": """\
import sys
from . import cli
if __name__ == "__main__":
    print(__spec__.name, __package__, __file__, sys.argv, sys.path[0])
    if sys.argv[1:] == ["spread"]:
        cli.spread()
""",
    "reader/__init__.py": """\
import os

def main():
    print(open(os.path.join(os.path.dirname(__file__), "data.txt")).read())
""",
    "reader/data.txt": "by path",
    "lonely.py": """\
import multiprocessing, sys
def double(number):
    return number * 2
if __name__ == "__main__":
    print(__spec__.name, __file__, sys.argv[1:])
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, pool.map(double, [21]))
""",
    "tool-2.5.dist-info/METADATA": "Metadata-Version: 2.1\nName: tool\nVersion: 2.5\n",
    "tool-2.5.dist-info/entry_points.txt": """\
[console_scripts]
tool = tool.cli:main
tool-fail = tool.cli:fail [extra]
[tool.plugins]
own = tool.inner
""",
    "tool-2.5.dist-info/direct_url.json": "{}",
    "tool-2.5.dist-info/RECORD": """\
../../../bin/tool,sha256=abc,200
lonely.py,,
reader/__init__.py,,
reader/data.txt,,
tool/__init__.py,,
tool/cli.py,,
tool/__main__.py,,
tool/inner/__init__.py,,
tool/data.txt,,
tool/__pycache__/cli.cpython-313.pyc,,
tool-2.5.dist-info/METADATA,,
tool-2.5.dist-info/entry_points.txt,,
tool-2.5.dist-info/direct_url.json,,
tool-2.5.dist-info/RECORD,,
""",
}


def write_tree(folder: Path, files: Mapping[str, str] = TREE) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


Bundle = Callable[..., Path]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as site-packages is, with the distribution `tool` in it."""
    return write_tree(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def bundle(python: Python, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Make a bundle in a folder of its own, once for each command line."""
    made: dict[tuple[str, ...], Path] = {}

    def make(*options: str, into: Path | None = None) -> Path:
        if options not in made or into is not None:
            path = (into or tmp_path_factory.mktemp("bundle")) / "app.pyz"
            python(
                *["-m", "frozenfinder", "bundle", "--quiet", "-o", str(path), *options],
                env={"PYTHONPATH": str(site)},
            )
            made[options] = path
        return made[options]

    return make


@pytest.fixture(scope="module")
def tool(bundle: Bundle) -> Path:
    return bundle("--script", "tool")


def run(
    *argv: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    interpreter: str = sys.executable,
) -> tuple[int, str, str]:
    """What a bare interpreter makes of it: no site-packages, no environment, no frozenfinder."""
    done = subprocess.run(
        [interpreter, *map(str, argv)] if interpreter else [str(each) for each in argv],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **(env or {})},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def read_answer(outcome: tuple[int, str, str]) -> dict[str, object]:
    status, output, error = outcome
    assert (status, error) == (3, "")
    answer: dict[str, object] = json.loads(output)
    return answer


# -- how it runs


def test_the_entry_can_be_a_function_of_an_extension_module(python: Python, tmp_path: Path) -> None:
    """As in a black that was compiled by mypyc."""
    compile_c("user.c", tmp_path / f"made{SUFFIX}", "-DINIT=PyInit_made", "-Dinner=getppid")
    path = tmp_path / "app.pyz"
    options = ("-m", "frozenfinder", "bundle", "--quiet", "-o", path, "--entry", "made:call")
    python(*options, env={"PYTHONPATH": str(tmp_path)})
    (tmp_path / f"made{SUFFIX}").unlink()
    status, output, error = run("-S", path, env={"FROZENFINDER_CACHE": str(tmp_path / "cache")})
    assert (status, output, error) == (os.getpid() & 0xFF, "", "")


def test_resources_of_a_namespace_package_need_nothing_installed(
    bundle: Bundle, tmp_path: Path
) -> None:
    files = {
        "reading.py": """\
from importlib.resources import as_file, files
def main():
    print(files("space").joinpath("deep/text.txt").read_text(encoding="utf-8"))
    print(*sorted(item.name for item in (files("space") / "deep").iterdir()))
    with as_file(files("space") / "here.txt") as path:
        print(path.read_text(encoding="utf-8"))
""",
        "space/here.txt": "here",
        "space/deep/text.txt": "text",
        "space/deep/other.txt": "other",
    }
    folder = write_tree(tmp_path / "src", files)
    path = bundle("--entry", "reading:main", "--path", str(folder), into=tmp_path)
    assert run("-I", "-S", path) == (0, "text\nother.txt text.txt\nhere\n", "")


@pytest.mark.parametrize("flags", [("-I", "-S"), ("-S",), ("-E", "-S"), ("-P", "-S", "-B")])
def test_a_console_script_runs_with_nothing_installed(tool: Path, flags: tuple[str, ...]) -> None:
    assert read_answer(run(*flags, tool, "one", "-x")) == {
        "argv": [str(tool), "one", "-x"],
        "path": str(tool),
        "file": str(tool),
        "spec": None,
        "names": ["main", "sys"],
        "inner": f"{tool}/tool/inner/__init__.py",
        "text": "data",
        "version": "2.5",
        "points": ["tool.inner"],
    }


def test_it_runs_by_a_relative_path(tool: Path) -> None:
    answer = read_answer(run("-S", "app.pyz", cwd=tool.parent))
    assert (answer["argv"], answer["path"]) == (["app.pyz"], str(tool))


def test_it_runs_through_a_symbolic_link(tool: Path, tmp_path: Path) -> None:
    link = tmp_path / "linked"
    link.symlink_to(tool)
    answer = read_answer(run("-S", link))
    assert (answer["file"], answer["inner"]) == (str(link), f"{link}/tool/inner/__init__.py")


def test_it_runs_where_nothing_can_be_written(tool: Path, tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    Path(shutil.copy(tool, folder / "app.pyz")).chmod(0o555)
    folder.chmod(0o555)
    try:
        answer = read_answer(run("-S", folder / "app.pyz", cwd=folder))
        assert answer["text"] == "data"
        assert [path.name for path in folder.iterdir()] == ["app.pyz"]
    finally:
        folder.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="the first line of a file starts nothing")
def test_the_file_itself_can_be_executed(bundle: Bundle) -> None:
    path = bundle("--script", "tool", "--python", f"{sys.executable} -S")
    assert path.stat().st_mode & 0o777 == 0o755
    assert read_answer(run(path, interpreter=""))["file"] == str(path)


def test_the_first_line_names_the_version_unless_told_otherwise(tool: Path) -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    line = tool.read_bytes().partition(b"\n")[0].decode()
    assert line == f"#!/usr/bin/env python{version}{getattr(sys, 'abiflags', '')}"


def test_other_installations_of_frozenfinder_are_not_looked_at(tool: Path, tmp_path: Path) -> None:
    write_tree(tmp_path, {"frozenfinder/__init__.py": "raise AssertionError"})
    assert read_answer(run("-S", tool, env={"PYTHONPATH": str(tmp_path)}))["text"] == "data"


def test_another_version_that_is_loaded_is_replaced(tool: Path, tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {"frozenfinder.py": "__version__ = '0.0'", "sitecustomize.py": "import frozenfinder"},
    )
    assert read_answer(run(tool, env={"PYTHONPATH": str(tmp_path)}))["text"] == "data"


def test_the_variable_that_turns_installations_off_leaves_bundles_alone(tool: Path) -> None:
    assert read_answer(run("-S", tool, env={"FROZENFINDER": "off"}))["text"] == "data"


@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_the_level_that_the_program_is_run_at_makes_no_difference(tool: Path, flag: str) -> None:
    assert read_answer(run("-S", flag, tool))["text"] == "data"


def test_a_traceback_begins_in_the_bundle_and_leads_to_the_program(bundle: Bundle) -> None:
    path = bundle("--entry", "tool.cli:fail", "--with-source")
    status, output, error = run("-S", path)
    assert (status, output) == (1, "")
    frames = [line.strip() for line in error.splitlines() if line.startswith("  File")]
    assert frames[-2:] == [
        'File "<bundle>/__main__.py", line 23, in <module>',
        f'File "{path}/tool/cli.py", line 25, in fail',
    ]
    if sys.version_info >= (3, 13):  # before, the interpreter asks no loader for the lines
        assert '    raise ValueError("from the bundle")\n' in error
    assert error.endswith("ValueError: from the bundle\n")


def test_an_entry_point_with_extras_is_a_script(bundle: Bundle) -> None:
    assert run("-S", bundle("--script", "tool-fail"))[2].endswith("ValueError: from the bundle\n")


def test_a_package_runs_as_python_m_runs_it(bundle: Bundle) -> None:
    path = bundle("-m", "tool")
    assert run("-S", path, "x") == (
        0,
        f"tool.__main__ tool {path}/tool/__main__.py {[str(path), 'x']} {path}\n",
        "",
    )


def test_an_entry_without_a_function_is_a_module_to_run() -> None:
    assert parse_entry("tool.cli") == Entry("tool.cli")
    assert str(parse_entry("tool.cli:App.main [extra]")) == "tool.cli:App.main"


# -- processes


def spread_lines(methods: list[str]) -> list[str]:
    return [*(f"{method} [0, 1, 4] 25" for method in methods), "default 16"]


def test_every_way_to_start_processes_reaches_a_function_of_the_bundle(bundle: Bundle) -> None:
    import multiprocessing

    status, output, error = run("-S", bundle("--entry", "tool.cli:spread"))
    assert (status, error) == (0, "")
    assert output.splitlines() == spread_lines(multiprocessing.get_all_start_methods())


def test_and_from_a_module_that_is_run(bundle: Bundle) -> None:
    import multiprocessing

    status, output, error = run("-I", bundle("-m", "tool"), "spread")
    assert (status, error) == (0, "")
    assert output.splitlines()[1:] == spread_lines(multiprocessing.get_all_start_methods())


def test_functions_of_the_main_module_reach_processes_too(bundle: Bundle) -> None:
    import multiprocessing

    path = bundle("-m", "lonely")
    status, output, error = run("-S", path)
    assert (status, error) == (0, "")
    methods = multiprocessing.get_all_start_methods()
    assert output.splitlines() == [f"lonely {path}/lonely.py []", *(f"{m} [42]" for m in methods)]


def test_a_bundle_on_sys_path_can_be_imported_from(tool: Path) -> None:
    code = "import tool.cli; print(tool.cli.__file__, tool.__path__, tool.__spec__.origin)"
    assert run("-S", "-c", code, env={"PYTHONPATH": str(tool)}) == (
        0,
        f"{tool}/tool/cli.py ['{tool}/tool'] {tool}/tool/__init__.py\n",
        "",
    )


def test_a_module_of_a_bundle_on_sys_path_can_be_run(tool: Path) -> None:
    status, output, error = run("-S", "-m", "tool", env={"PYTHONPATH": str(tool)})
    assert (status, error) == (0, "")
    assert output.startswith(f"tool.__main__ tool {tool}/tool/__main__.py ")


# -- what it refuses


def edit(path: Path, target: Path, at: int, content: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    target.write_bytes(data)
    return target


def registry_of(path: Path) -> Registry:
    offset = archive.find_registry(os.fspath(path))
    assert offset is not None
    return Registry.open(path, offset=offset)


def test_commands_look_into_the_registry_of_a_bundle(
    tool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(*arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    registry, bundle = registry_of(tool), str(tool)
    bare = tmp_path / "tool.frz"
    bare.write_bytes(registry.read_unchecked())
    listed = ask("ls", bundle)
    assert (listed["registry"], len(listed["modules"])) == (bundle, registry.header.modules)
    assert ask("info", bundle)["size"] == registry.header.size
    assert ask("verify", bundle)["sha256"] == ask("verify", str(bare))["sha256"]
    assert ask("diff", bundle, str(bare))["modules"] == []


def test_why_looks_into_the_registry_of_a_bundle(tool: Path, python: Python) -> None:
    asked = ["why", "tool.inner", "--mode", "closed", "--registry", str(tool)]
    answer = python("-m", "frozenfinder", *asked).stdout
    assert answer == (
        f"tool.inner: served from registry {str(tool)!r}, closed mode: "
        f"{tool}/tool/inner/__init__.py\n"
    )


def test_a_zip_archive_that_is_no_bundle_is_no_registry_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("notes.txt", "x" * 400)
    assert main(["ls", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"frozenfinder: registry {str(path)!r}: begins with ")


def test_damage_to_the_run_time_is_told_in_one_line(tool: Path, tmp_path: Path) -> None:
    registry = registry_of(tool)
    entry = registry.find_entry("frozenfinder.runtime.hooks")
    assert entry is not None
    offset = archive.find_registry(os.fspath(tool)) or 0
    at = offset + registry.header.sections["blobs"][0] + entry.offset
    damaged = edit(tool, tmp_path / "damaged.pyz", at, b"\xff" * 8)
    complaint = f"is damaged between byte {at} and {at + entry.size}; copy it again"
    assert run("-S", damaged) == (1, "", f"{damaged}: {complaint}\n")


def test_damage_to_the_registry_is_told_in_one_line(tool: Path, tmp_path: Path) -> None:
    offset = archive.find_registry(os.fspath(tool)) or 0
    damaged = edit(tool, tmp_path / "damaged.pyz", offset + 40, b"\xff")
    status, _, error = run("-S", damaged)
    assert status == 1
    assert error.startswith(f"{damaged}: registry {str(damaged)!r}: header at 0 has digest ")
    assert error.count("\n") == 1


def test_an_interpreter_of_another_magic_number_is_told_which_one_to_use(
    tool: Path, tmp_path: Path
) -> None:
    # as another version sees it: the `.pyc` is none of its own, and so the source is read
    other = tmp_path / "other.pyz"
    with zipfile.ZipFile(tool) as source, zipfile.ZipFile(other, "w") as target:
        text = source.read("__main__.py")
        assert repr(MAGIC_NUMBER).encode() in text
        target.writestr("__main__.py", text.replace(repr(MAGIC_NUMBER).encode(), b"b'other'"))
    version = ".".join(map(str, sys.version_info[:2]))
    found = f"cpython {sys.version.split()[0]} ({sys.executable})"
    complaint = f"was built for CPython {version}, this is {found}; run it with python{version}"
    assert run("-S", other) == (1, "", f"{other}: {complaint}\n")


def test_extension_modules_of_another_build_are_told() -> None:
    found = ", ".join(EXTENSION_SUFFIXES)
    assert find_complaint(".cpython-30-none.so", 0) == (
        f"contains extension modules that end in '.cpython-30-none.so', {sys.executable} loads "
        f"{found}; build it again with this interpreter"
    )
    assert find_complaint(EXTENSION_SUFFIXES[0], sys.hexversion) is None


def test_the_standard_library_of_another_release_is_told() -> None:
    assert find_complaint("", 0x030D01F0) == (
        f"contains the standard library of Python 3.13.1, {sys.executable} is Python "
        f"{sys.version.split()[0]}; run it with that release, or build it again"
    )


# -- what is in it


def test_the_same_files_give_the_same_bytes_wherever_they_lie(
    bundle: Bundle, python: Python, site: Path, tmp_path: Path
) -> None:
    elsewhere = write_tree(tmp_path / "elsewhere")
    for path in elsewhere.rglob("*"):
        os.utime(path, (1e9, 1e9))
    other = tmp_path / "app.pyz"
    python(
        *["-m", "frozenfinder", "bundle", "--quiet", "-o", str(other), "--script", "tool"],
        env={"PYTHONPATH": str(elsewhere), "PYTHONHASHSEED": "7"},
    )
    assert other.read_bytes() == bundle("--script", "tool").read_bytes()
    assert str(site).encode() not in other.read_bytes()


def test_it_is_a_zip_archive_that_other_tools_read(tool: Path) -> None:
    with zipfile.ZipFile(tool) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [
            "registry.frz",
            "__start__.pyc",
            "__main__.py",
            "__main__.pyc",
            "lonely.pyc",
            "reader/__init__.pyc",
            "tool/__init__.pyc",
        ]


def test_the_metadata_lists_what_is_in_the_bundle(tool: Path) -> None:
    registry = registry_of(tool)
    entry = registry.find_file("tool-2.5.dist-info/RECORD")
    assert entry is not None
    listed = [line.partition(",")[0] for line in bytes(registry.read_blob(entry)).decode().split()]
    assert listed == [
        "lonely.py",
        *["reader/__init__.py", "reader/data.txt"],
        *[f"tool/{name}" for name in ("__init__.py", "cli.py", "__main__.py")],
        *["tool/inner/__init__.py", "tool/data.txt"],
        *[f"tool-2.5.dist-info/{name}" for name in ("METADATA", "entry_points.txt", "RECORD")],
    ]


def test_the_run_time_boots_from_the_bundle_and_serves_the_rest_of_itself(tool: Path) -> None:
    code = """
import runpy, sys
try:
    runpy.run_path(sys.argv[1], run_name="__main__")
finally:
    for name, module in sys.modules.items():
        if name.startswith("frozenfinder"):
            print(name, type(module.__spec__.loader).__name__)
"""
    lines = [line.split() for line in run("-S", "-c", code, tool)[1].splitlines()]
    loaders = {line[0]: line[-1] for line in lines if line and line[0].startswith("frozenfinder")}
    at_boot = {name for name, loader in loaders.items() if loader == "RunTime"}
    later = loaders.keys() - at_boot
    assert {
        "frozenfinder",
        "frozenfinder.runtime.registry",
        "frozenfinder.closed.finder",
    } <= at_boot
    assert {"frozenfinder.closed.resources", "frozenfinder.closed.metadata"} <= later


def test_a_package_that_opens_its_files_by_path_is_laid_out(bundle: Bundle, tmp_path: Path) -> None:
    path = bundle("--entry", "reader:main", "--lay-out", "reader")
    cache = {"FROZENFINDER_CACHE": str(tmp_path)}
    assert run("-S", path, env=cache) == (0, "by path\n", "")


def test_the_standard_library_can_be_inside(bundle: Bundle) -> None:
    path = bundle("--entry", "tool.cli:main", "--stdlib", "--exclude", "idlelib")
    answer = read_answer(run("-S", path))
    assert answer["text"] == "data"
    code = "import tool, json; print(json.__file__)"
    output = run("-S", "-c", code, env={"PYTHONPATH": str(path)})[1]
    assert output == f"{path}/json/__init__.py\n"
    assert "extension" not in {entry.kind for entry in registry_of(path).entries()}


# -- programs of no distribution


def test_a_program_brings_what_it_imports(tmp_path: Path, python: Python) -> None:
    write_tree(
        tmp_path / "src",
        {"program.py": "import beside, tool.inner\nprint(tool.__file__)", "beside.py": ""},
    )
    write_tree(tmp_path / "site")
    path = tmp_path / "program.pyz"
    python(
        *["-m", "frozenfinder", "bundle", "--quiet", "-o", str(path), "-m", "program"],
        env={"PYTHONPATH": os.pathsep.join([str(tmp_path / "src"), str(tmp_path / "site")])},
    )
    assert run("-S", path) == (0, f"{path}/tool/__init__.py\n", "")
    names = {entry.name.partition(".")[0] for entry in registry_of(path).entries()}
    assert names == {"frozenfinder", "program", "beside", "tool", "reader", "lonely"}


@pytest.mark.usefixtures("processes")
def test_what_a_program_imports_and_does_not_compile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "try:\n    import old\nexcept ImportError:\n    print('without')"
    write_tree(tmp_path / "src", {"program.py": source, "old.py": "print 1"})
    monkeypatch.chdir(tmp_path / "src")
    path = tmp_path / "program.pyz"
    assert main(["bundle", "--quiet", "-o", str(path), "-m", "program"]) == 0
    assert run("-S", path) == (0, "without\n", "")


# -- bad input


LACKING = (
    " is not among the {count} modules to bundle; add it with --distribution, --package or --path"
)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            "--script nonesuch",
            (
                "script 'nonesuch': no distribution in the {count} directories of sys.path has an "
                "entry point of that name; install one, or use --entry"
            ),
        ),
        ("--entry tool:nonesuch", "entry 'tool:nonesuch': module 'tool' defines no 'nonesuch'"),
        ("--entry tool:main()", "entry 'tool:main()': expected MODULE or MODULE:FUNCTION"),
        (
            "--entry tool.nonesuch:main --package tool",
            "entry 'tool.nonesuch:main': module 'tool.nonesuch'" + LACKING,
        ),
        (
            "-m tool.inner",
            "entry 'tool.inner': module 'tool.inner.__main__'" + LACKING,
        ),
        ("-m nonesuch", "entry 'nonesuch': module 'nonesuch'" + LACKING),
        ("-m tool --lay-out x", "lay-out 'x': is not a top-level package among the frozen modules"),
        (
            "-m tool --world",
            "--world needs --stdlib: nothing outside the bundle can be imported",
        ),
        (
            "-m tool --script tool",
            "argument --script: not allowed with argument -m; see 'frozenfinder bundle --help'",
        ),
    ],
)
def test_what_there_is_not_is_told_in_one_line(
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    complaint: str,
) -> None:
    path = tmp_path / "app.pyz"
    monkeypatch.chdir(site)
    assert main(["bundle", "-o", str(path), *options.split()]) == 2
    told = re.sub(r"\d+ (?=directories|modules)", "{count} ", capsys.readouterr().err)
    assert told == f"frozenfinder: {complaint}\n"
    assert not path.exists()


@pytest.mark.parametrize("options", [["-m", "broken"], ["--entry", "broken:main"]])
def test_a_program_that_does_not_compile_is_not_bundled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    write_tree(tmp_path, {"broken.py": "def"})
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "app.pyz"
    assert main(["bundle", "-o", str(path), "--path", ".", *options]) == 2
    assert capsys.readouterr().err == (
        f"frozenfinder: module 'broken': {str(tmp_path / 'broken.py')!r} does not compile: "
        "SyntaxError: invalid syntax (broken.py, line 1); it was requested by name, so it "
        "cannot be left out\n"
    )
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("folder", "is a directory, expected a bundle or nothing"),
        ("notes.txt", "is a file but not a bundle; remove it, or choose another name"),
        ("none/app.pyz", "its folder does not exist; create it first"),
    ],
)
def test_an_output_that_is_something_else_is_left_alone(
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    complaint: str,
) -> None:
    write_tree(tmp_path, {"folder/file": "", "notes.txt": "mine"})
    path = str(tmp_path / name)
    monkeypatch.chdir(site)
    assert main(["bundle", "-o", path, "--script", "tool"]) == 2
    assert capsys.readouterr().err == f"frozenfinder: output {path!r}: {complaint}\n"
    assert (tmp_path / "notes.txt").read_text("utf-8") == "mine"


def test_an_earlier_bundle_is_replaced(bundle: Bundle, tmp_path: Path) -> None:
    first = bundle("-m", "lonely", into=tmp_path).read_bytes()
    second = bundle("--script", "tool", into=tmp_path).read_bytes()
    assert first != second
    assert [path.name for path in tmp_path.iterdir()] == ["app.pyz"]
