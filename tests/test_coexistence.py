"""Living together with what else takes part in imports: it works as it does without frozenfinder.

A program runs stock, in overlay beside the same sources, and where that makes sense in closed mode,
where the sources are gone and embedded in the registry.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.overlays import Tree
from support.processes import Python
from support.sources import write_tree

import frozenfinder

FILES = {
    "m.py": """\
def double(number):
    result = number + number
    return result


def halve(number):
    if number % 2:
        return None
    return number // 2
""",
    "pkg/__init__.py": "from m import double\n",
    "pkg/sub.py": "import m\nVALUE = m.double(2)\n",
    "checks.py": "def check(left, right):\n    assert left == right\n",
    "counted.py": "import sys\nsys.counted = getattr(sys, 'counted', 0) + 1\nVALUE = sys.counted\n",
}
if sys.version_info >= (3, 15):
    FILES["lazily.py"] = """\
lazy import counted
lazy from pkg.sub import VALUE
lazy import absent
def use():
    return counted.VALUE, VALUE
"""

MODES = pytest.mark.parametrize("mode", ["overlay", "closed"])
ORDERS = pytest.mark.parametrize("order", ["before", "after"])


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory, python: Python) -> tuple[Tree, Tree]:
    """The tree with its sources, and a folder that has its registry alone."""
    root = tmp_path_factory.mktemp("coexistence").resolve()
    whole, bare = (Tree(root / name, python) for name in ("whole", "bare"))
    whole.write(FILES)
    whole.freeze("--with-source", "--quiet")
    bare.lib.mkdir(parents=True)
    shutil.copy(whole.registry, bare.registry)
    return whole, bare


@pytest.fixture
def trees(frozen: tuple[Tree, Tree]) -> Iterator[dict[str, Tree]]:
    whole, bare = frozen
    yield {"stock": whole, "overlay": whole, "closed": bare}
    for tree in frozen:
        shutil.rmtree(tree.other, ignore_errors=True)


COMPLAINT = "frozenfinder.installed()[0].served or print('nothing was served')"


class Program:
    """A script in a folder of its own, which installs the registry first unless it is stock."""

    def __init__(self, tree: Tree, mode: str, folder: Path) -> None:
        self.tree = tree
        self.mode = mode
        self.folder = folder

    @property
    def install(self) -> str:
        """One line, so that every other has the number that it has under stock."""
        lines = [f"import sys; sys.path.insert(0, {str(self.tree.lib)!r})"]
        if self.mode != "stock":
            arguments = f"{str(self.tree.registry)!r}, mode={self.mode!r}"
            lines.append(f"import frozenfinder; frozenfinder.install({arguments})")
            lines.append(f"import atexit; atexit.register(lambda: {COMPLAINT})")
        return "; ".join(lines) + "\n"

    def start(
        self, code: str, *before: str, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """`python *before main.py`, where the first line of main.py installs the registry."""
        write_tree(self.folder, {"main.py": self.install + code})
        return subprocess.run(
            [sys.executable, *before, "main.py"],
            cwd=self.folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            input=stdin or "",
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=120,
        )

    def tell(self, code: str, *before: str, stdin: str | None = None) -> str:
        """What it prints, with the paths below the registry as those of the sources."""
        done = self.start(code, *before, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        found = done.stdout.replace(str(self.tree.registry), "LIB")
        return found.replace(str(self.tree.lib), "LIB").replace(str(self.folder), "FOLDER")


def tell_both(
    trees: dict[str, Tree],
    mode: str,
    folder: Path,
    code: str,
    *before: str,
    stdin: str | None = None,
) -> str:
    """What a program tells under stock, after it told the same in this mode."""
    ours = Program(trees[mode], mode, folder).tell(code, *before, stdin=stdin)
    stock = Program(trees["stock"], "stock", folder).tell(code, *before, stdin=stdin)
    assert ours == stock
    return stock


# -- pytest's assertion rewriter


@pytest.mark.parametrize("mode", ["overlay", "closed"])
def test_pytest_rewrites_the_helpers_that_it_is_told_of(
    mode: str, trees: dict[str, Tree], tmp_path: Path
) -> None:
    """It reads their sources itself, so in closed mode they stay as they were frozen."""
    program = Program(trees[mode], mode, tmp_path)
    write_tree(
        tmp_path,
        {
            "conftest.py": "import pytest\npytest.register_assert_rewrite('checks')\n",
            "test_it.py": "import checks, m\ndef test():\n    checks.check(m.double(1), 3)\n",
        },
    )
    code = "import pytest; pytest.main(['-q', '-p', 'no:cacheprovider', 'test_it.py'])\n"
    output = program.start(code).stdout
    assert "1 failed" in output
    assert ("assert 2 == 3" in output) is (mode == "overlay")


# -- editable installations

PROJECT = {
    "sources/edited/__init__.py": "from edited.part import VALUE\n",
    "sources/edited/part.py": "VALUE = 'as frozen'\n",
}
SETUPTOOLS = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "edited"
version = "1.0"
[tool.setuptools]
packages = ["edited"]
package-dir = {{{directory}}}
"""
HATCHLING = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "edited"
version = "1.0"
[tool.hatch.build]
dev-mode-exact = {exact}
[tool.hatch.build.targets.wheel]
packages = ["sources/edited"]
"""
STYLES = {
    "setuptools finder": SETUPTOOLS.format(directory='edited = "sources/edited"'),
    "setuptools path": SETUPTOOLS.format(directory='"" = "sources"'),
    "hatchling path": HATCHLING.format(exact="false"),
    "hatchling finder": HATCHLING.format(exact="true"),
}
BUILD = """
import contextlib, importlib, sys
backend = importlib.import_module(sys.argv[1])
with contextlib.redirect_stdout(sys.stderr):
    name = backend.build_editable('.')
print(name)
"""


@pytest.fixture(scope="module", params=STYLES)
def editable(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, python: Python
) -> Path:
    """A project, `site` with what an editable installation puts in site-packages, its registry."""
    style: str = request.param
    root = tmp_path_factory.mktemp("editable")
    write_tree(root, PROJECT | {"pyproject.toml": STYLES[style]})
    backend = "setuptools.build_meta" if "setuptools" in style else "hatchling.build"
    wheel = python("-c", BUILD, backend, cwd=root).stdout.split()[-1]
    with zipfile.ZipFile(root / wheel) as archive:
        archive.extractall(root / "site")
    freeze = ("-m", "frozenfinder", "freeze", "--path", root / "sources", "-o", root / "edited.frz")
    python(*freeze, "--quiet")
    return root


@ORDERS
@MODES
def test_an_editable_installation_is_found_and_so_are_its_edits(
    mode: str, order: str, editable: Path, python: Python
) -> None:
    """In closed mode what was frozen stays as it was, as it does without an installation."""
    site = f"import site; site.addsitedir({str(editable / 'site')!r})\n"
    arguments = f"{str(editable / 'edited.frz')!r}, mode={mode!r}"
    install = f"import frozenfinder; frozenfinder.install({arguments})\n"
    code = site + install if order == "before" else install + site
    code += "import edited.part; print(edited.VALUE, edited.part.__file__)\n"
    part = editable / "sources" / "edited" / "part.py"
    there = editable / "edited.frz" / "edited" / "part.py" if mode == "closed" else part
    assert python("-c", code).stdout == f"as frozen {there}\n"
    frozen = part.stat()
    part.write_text("VALUE = 'edited'\n")
    try:
        value = "as frozen" if mode == "closed" else "edited"
        assert python("-c", code).stdout == f"{value} {there}\n"
    finally:
        part.write_text("VALUE = 'as frozen'\n")
        os.utime(part, ns=(frozen.st_atime_ns, frozen.st_mtime_ns))


# -- zip files


@MODES
@ORDERS
def test_modules_of_zip_files_are_found_where_they_are_under_stock(
    mode: str, order: str, trees: dict[str, Tree], tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("zipped/__init__.py", "import m\nVALUE = m.double(3)\n")
        archive.writestr("zipped/data.txt", "data")
        archive.writestr("counted.py", "VALUE = 'from the zip file'\n")
    at = "0" if order == "before" else "len(sys.path)"
    code = f"""
sys.path.insert({at}, {str(tmp_path / "more.zip")!r})
import zipimport, zipped, pkg.sub, pkgutil
print(zipped.VALUE, zipped.__file__, pkgutil.get_data('zipped', 'data.txt'), pkg.sub.VALUE)
print(zipimport.zipimporter(sys.path[{0 if order == "before" else -1}]).find_spec('zipped').origin)
import counted
print(counted.VALUE)
"""
    ours = Program(trees[mode], mode, tmp_path).tell(code)
    stock = Program(trees["stock"], "stock", tmp_path).tell(code)
    if mode == "closed":  # where the registry comes first
        stock = stock.replace("from the zip file", "1")
    assert ours == stock


def test_frozenfinder_works_from_a_zip_file(
    trees: dict[str, Tree], tmp_path: Path, python: Python
) -> None:
    package = Path(frozenfinder.__file__).parent
    with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
        for path in package.rglob("*.py"):
            archive.write(path, Path("frozenfinder") / path.relative_to(package))
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "own.zip")!r})
import frozenfinder
finder = frozenfinder.install({str(trees["closed"].registry)!r}, mode='closed')
import pkg.sub
print(frozenfinder.__file__.startswith(sys.path[0]), pkg.sub.VALUE, finder.served)
"""
    assert python("-I", "-c", code).stdout == "True 4 3\n"


# -- coverage, debuggers


def test_coverage_measures_the_same_lines(trees: dict[str, Tree], tmp_path: Path) -> None:
    code = "import pkg.sub, m\nm.halve(3)\n"
    found = {}
    for mode in ("stock", "overlay"):
        program = Program(trees[mode], mode, tmp_path / mode)
        run = ("-m", "coverage", "run", "--branch", f"--source={program.tree.lib}")
        program.tell(code, *run)
        report = ("-m", "coverage", "json", "-q", "-o", "-")
        done = subprocess.run(
            [sys.executable, *report],
            cwd=program.folder,
            capture_output=True,
            check=True,
            text=True,
        )
        files = json.loads(done.stdout)["files"]
        found[mode] = {
            Path(name).name: (file["executed_lines"], file["missing_lines"])
            for name, file in files.items()
        }
    assert found["overlay"] == found["stock"]
    assert found["stock"]["m.py"] == ([1, 2, 3, 6, 7, 8], [9])


PDB = """\
break m.halve
continue
where
list
step
step
args
break 3
return
clear 1
clear 2
continue
"""


@MODES
def test_pdb_stops_in_served_modules_and_lists_them(
    mode: str, trees: dict[str, Tree], tmp_path: Path
) -> None:
    code = "import m\nimport pdb; pdb.set_trace()\nm.halve(m.double(2))\nprint('end')\n"
    told = tell_both(trees, mode, tmp_path, code, stdin=PDB)
    assert "def halve(number):" in told
    assert "-> if number % 2:" in told
    assert "number = 4" in told


BDB = """
import bdb
class Recorder(bdb.Bdb):
    events = []
    def user_line(self, frame):
        name = frame.f_code.co_filename
        self.events.append((name, frame.f_lineno, frame.f_code.co_name, self.break_here(frame)))
import m, pkg.sub
recorder = Recorder()
print(recorder.set_break(m.__file__, 2), recorder.get_file_breaks(m.__file__))
recorder.runcall(m.halve, m.double(2))
recorder.runcall(m.double, 2)
for event in recorder.events:
    print(*event)
"""


@MODES
def test_bdb_sees_the_same_lines_and_breakpoints(
    mode: str, trees: dict[str, Tree], tmp_path: Path
) -> None:
    told = tell_both(trees, mode, tmp_path, BDB)
    assert told.splitlines()[0] == "None [2]"
    assert re.search(r"LIB.m\.py 2 double True", told)


@MODES
def test_a_trace_function_sees_the_same_lines_of_an_import(
    mode: str, trees: dict[str, Tree], tmp_path: Path
) -> None:
    """Of the program's files: importlib's own frames are CPython's business, and ours."""
    code = """
import os
events = []
def trace(frame, event, argument):
    name = os.path.basename(frame.f_code.co_filename)
    if name in ('m.py', 'sub.py'):
        events.append((event, name, frame.f_lineno))
    return trace
sys.settrace(trace)
import pkg.sub
sys.settrace(None)
print(events)
"""
    assert "('line', 'sub.py', 1)" in tell_both(trees, mode, tmp_path, code)


# -- lazy imports

LAZY = """
import importlib.util
class Lazy:
    '''Makes every import lazy, as demand loaders do.'''
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in ('counted', 'm'):
            return None
        for finder in sys.meta_path[1:]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = importlib.util.LazyLoader(spec.loader)
                return spec
sys.meta_path.insert(0, Lazy)
import counted, m
print(hasattr(sys, 'counted'), type(m).__name__)
print(counted.VALUE, m.double(2), type(m).__name__)
import pkg.sub
print(pkg.sub.VALUE, sys.counted)
"""


@MODES
def test_a_finder_that_makes_imports_lazy_loads_once(
    mode: str, trees: dict[str, Tree], tmp_path: Path
) -> None:
    told = tell_both(trees, mode, tmp_path, LAZY)
    assert told.splitlines() == ["False _LazyModule", "1 4 module", "4 1"]


@pytest.mark.skipif(sys.version_info < (3, 15), reason="PEP 810 is new in 3.15")
@pytest.mark.parametrize("setting", ["normal", "all"])
@MODES
def test_frozen_modules_import_lazily(
    mode: str, setting: str, trees: dict[str, Tree], tmp_path: Path
) -> None:
    code = """
import lazily
print(hasattr(sys, 'counted'), 'pkg.sub' in sys.modules)
print(lazily.use(), sys.counted)
try:
    lazily.absent
except ModuleNotFoundError as error:
    print(error)
"""
    told = tell_both(trees, mode, tmp_path, code, "-X", f"lazy_imports={setting}")
    assert told.splitlines() == ["False False", "(1, 4) 1", "No module named 'absent'"]
