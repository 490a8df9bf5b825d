"""Extension modules under our loaders: what comes of an import is what comes of it under stock."""

import json
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from support.compiled import SUFFIX, compile_c, embedded, extension
from support.overlays import Tree
from support.processes import LONG_TIMEOUT, PROGRAMS, Python, RunPython
from support.registries import Frozen, build_registry

DYNLOAD = Path(sysconfig.get_config_var("DESTSHARED") or "")

Table = dict[str, Any]


# -- every kind of module, in every situation


def exported_modules(file: Path) -> list[str]:
    """The names of the modules that a shared object has init functions for."""
    symbols = re.findall(rb"\0Py(?:Init|ModExport)(U?)_(\w+)(?=\0)", file.read_bytes())
    return sorted({decode_symbol(name.decode(), bool(encoded)) for encoded, name in symbols})


def decode_symbol(name: str, encoded: bool) -> str:
    """As `get_encoded_name` of Python/importdl.c encodes it."""
    if not encoded:
        return name
    plain, _, rest = name.rpartition("_")
    return (f"{plain}-{rest}" if plain else rest).encode().decode("punycode")


def find_suite(suite: str, folder: Path) -> Path:
    """The file that has the modules, in a folder that it can be imported from."""
    if suite == "compiled":
        return compile_c("variants.c", folder / f"basic{SUFFIX}", "-Wall", "-Werror")
    if suite == "_testsinglephase" and sys.version_info < (3, 12):
        pytest.skip("3.11 has no _testsinglephase")
    file = DYNLOAD / f"{suite}{SUFFIX}"
    if not file.exists():
        pytest.skip(f"this interpreter comes without {suite}")
    return file


def freeze(path: Path, folder: Path, entries: Iterable[Frozen]) -> Path:
    roots = [("stdlib", ""), ("absolute", str(folder))]
    path.write_bytes(build_registry(*entries, roots=roots))
    return path


class Variants:
    """The modules of one file, frozen in both ways."""

    def __init__(self, suite: str, folder: Path, python: Python) -> None:
        self.file = find_suite(suite, folder)
        self.names = exported_modules(self.file)
        self.python = python
        home, name = self.file.parent, self.file.name
        self.cache = folder / "cache"
        self.referring = freeze(
            folder / "referring.frz", home, [extension(each, home, name) for each in self.names]
        )
        self.embedding = freeze(
            folder / "embedding.frz", home, [embedded(each, home, name) for each in self.names]
        )

    def tabulate(self, way: str, registry: Path | None = None) -> Table:
        """What was seen, by module and situation; files are shown by their names alone."""
        files = {name: str(self.file) for name in self.names}
        done = self.python(
            PROGRAMS / "variants.py",
            way,
            str(registry),
            json.dumps(files),
            env={"FROZENFINDER_CACHE": str(self.cache)},
            timeout=LONG_TIMEOUT,
        )
        table: Table = json.loads(re.sub(r"/[^ '\"]*/", "", done.stdout))
        return table


def differences(ours: Table, stock: Table) -> Table:
    """The cells that differ, as (ours, stock)."""
    found: Table = {}
    for key in {*ours, *stock}:
        one, other = ours.get(key), stock.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            if inner := differences(one, other):
                found[key] = inner
        elif one != other:
            found[key] = (one, other)
    return found


@pytest.mark.long
@pytest.mark.parametrize("suite", ["_testsinglephase", "_testmultiphase", "compiled"])
def test_every_import_gives_what_stock_gives(suite: str, tmp_path: Path, python: Python) -> None:
    variants = Variants(suite, tmp_path, python)
    stock = variants.tabulate("stock")
    check_coverage(stock)
    assert differences(variants.tabulate("overlay", variants.referring), stock) == {}
    assert differences(variants.tabulate("closed", variants.embedding), stock) == {}


def check_coverage(stock: Table) -> None:
    """A table in which nothing was imported would compare as well."""
    imported = [name for name in stock if "object" in get_cell(stock[name], "first import")]
    assert len(imported) >= 4
    refused = [str(stock[name]["in subinterpreters"]["isolated"]) for name in imported]
    words = "does not support loading in subinterpreters"
    assert any(words in cells for cells in refused) == (sys.version_info >= (3, 12))


def get_cell(cells: Table, situation: str) -> Any:
    main = cells["in the main interpreter"]
    return main[situation] if isinstance(main, dict) else ()


# -- CPython's own tests


def test_cpythons_own_tests_pass(tmp_path: Path, python: Python) -> None:
    pytest.importorskip("test.test_import", reason="this interpreter comes without its tests")
    if sys.version_info < (3, 12):
        pytest.skip("3.11 has no _testsinglephase and no tests with it")
    names = ["_testsinglephase", "_testmultiphase"]
    for name in names:
        find_suite(name, tmp_path)
    entries = [extension(name, DYNLOAD, f"{name}{SUFFIX}") for name in names]
    registry = freeze(tmp_path / "tests.frz", DYNLOAD, entries)
    program = PROGRAMS / "cpython_extension_tests.py"
    done = python(program, registry, env={"PYTHONPATH": str(PROGRAMS)})
    ran, skipped, served = map(int, done.stdout.split()[-3:])
    assert ran - skipped >= 15
    assert served > 0


# -- overlay finds them where stock does


SHOW = """
import importlib
def show(*names):
    for name in names:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            print(name, type(error).__name__, error)
            continue
        spec = module.__spec__
        print(name, module.__file__, spec.origin, spec.cached, spec.has_location, spec.parent)
        print(type(spec.loader), vars(spec.loader), spec.submodule_search_locations)
"""
ALL = SHOW + "show('native', 'pkg', 'pkg.native', 'ext')"


@pytest.fixture
def tree(tmp_path: Path, python: Python) -> Tree:
    tree = Tree(tmp_path, python)
    tree.write({"pkg/__init__.py": ""})
    native = compile_native(tree.lib / f"native{SUFFIX}", "native")
    shutil.copy2(native, tree.lib / "pkg")
    compile_native(tree.lib / "ext" / f"__init__{SUFFIX}", "ext")
    tree.other.mkdir()
    tree.freeze()
    return tree


def compile_native(path: Path, name: str) -> Path:
    return compile_c("user.c", path, f"-DINIT=PyInit_{name}", "-Dinner=rand")


def same(tree: Tree, code: str, served: int, path: str | None = None) -> None:
    """Both ways print the same, and ours was served as many as said."""
    stock = tree.run(code, path=path, stock=True)
    ours = tree.run(code, path=path)
    assert (ours.output, ours.error, ours.status) == (stock.output, stock.error, stock.status)
    assert ours.served == served


def test_recorded_extension_modules_look_like_stocks(tree: Tree) -> None:
    same(tree, ALL, served=4)


def test_no_directory_is_searched_for_a_recorded_extension_module(tree: Tree) -> None:
    code = (
        "import pkg, posix, frozenfinder.native.fixups\n"
        "calls = []\n"
        "def count(name):\n"
        "    function = getattr(posix, name)\n"
        "    def call(path, *arguments, **keywords):\n"
        "        calls.append((name, path))\n"
        "        return function(path, *arguments, **keywords)\n"
        "    setattr(posix, name, call)\n"
        "for name in 'stat', 'lstat', 'listdir', 'scandir', 'open', 'access':\n"
        "    count(name)\n"
        "import pkg.native\n"
        "print(calls)\n"
    )
    package = str(tree.lib / "pkg")
    expected = [("stat", package), ("stat", f"{package}/native{SUFFIX}")]
    assert tree.run(code).output == str(expected)


def test_the_loader_pickles_and_compares_as_stocks(tree: Tree) -> None:
    code = """
import importlib.util, importlib.machinery, pickle
spec = importlib.util.find_spec('native')
again = pickle.loads(pickle.dumps(spec))
loader = spec.loader
print(again == spec, again.loader == loader, hash(again.loader) == hash(loader))
print(isinstance(loader, importlib.machinery.ExtensionFileLoader), vars(loader))
print(loader.get_code('native'), loader.get_source('native'), loader.is_package('native'))
print(loader.get_filename('native'), 'native' in sys.modules)
module = importlib.util.module_from_spec(again)
again.loader.exec_module(module)
print(module.__file__, callable(module.call))
"""
    same(tree, code, served=0)


def test_the_loader_of_a_module_that_is_looked_for_or_loaded_is_stocks_own(tree: Tree) -> None:
    code = """
import importlib.util
print(type(importlib.util.find_spec('native').loader))
import native
print(type(native.__loader__), vars(native.__loader__))
print(native.__loader__ is native.__spec__.loader)
"""
    same(tree, code, served=1)


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


def replace_by_folder(tree: Tree) -> None:
    file = tree.lib / f"native{SUFFIX}"
    file.unlink()
    file.mkdir()


def add_preferred(tree: Tree) -> None:
    """Of two files that could be the module, stock takes the one with the longer suffix."""
    (tree.lib / "later").mkdir()
    compile_native(tree.lib / "later.so", "later")
    tree.freeze()
    (tree.lib / "later.so").with_name(f"later{SUFFIX}").write_bytes(
        (tree.lib / "later.so").read_bytes()
    )


CHANGES: dict[str, tuple[Callable[[Tree], object], str, int]] = {
    "a touch": (lambda t: touch(t.lib / f"native{SUFFIX}"), ALL, 4),
    "another build": (
        lambda t: compile_c(
            "variants.c", t.lib / f"native{SUFFIX}", "-DPyInit_basic=PyInit_native"
        ),
        ALL,
        4,
    ),
    "a deletion": (lambda t: (t.lib / f"native{SUFFIX}").unlink(), ALL, 3),
    "a source beside it": (lambda t: t.write({"native.py": "raise SystemExit"}), ALL, 4),
    "a package beside it": (lambda t: t.write({"native/__init__.py": ""}), ALL, 3),
    "a folder beside it": (lambda t: (t.lib / "native").mkdir(), ALL, 4),
    "a folder in its place": (replace_by_folder, ALL, 3),
    "another suffix beside it": (
        lambda t: shutil.copy(t.lib / f"native{SUFFIX}", t.lib / "native.so"),
        ALL,
        4,
    ),
    "a preferred suffix beside it": (add_preferred, SHOW + "show('later')", 0),
    "a module earlier on the path": (
        lambda t: t.write({"native.py": ""}, t.other),
        "sys.path.insert(0, 'other')\n" + ALL,
        3,
    ),
    "an edited __path__": (
        lambda t: t.write({"native.py": ""}, t.other),
        "import pkg\npkg.__path__.insert(0, 'other')\n" + ALL,
        3,
    ),
    "a path hook that loads no extension modules": (
        lambda _: None,
        "from importlib.machinery import FileFinder, SourceFileLoader\n"
        "sys.path_hooks.insert(0, FileFinder.path_hook((SourceFileLoader, ['.py'])))\n"
        "sys.path_importer_cache.clear()\n" + SHOW + "show('native', 'pkg', 'pkg.native')",
        0,
    ),
}


@pytest.mark.parametrize(("change", "code", "served"), CHANGES.values(), ids=CHANGES.keys())
def test_an_extension_module_is_found_as_stock_finds_it_after(
    tree: Tree, change: Callable[[Tree], object], code: str, served: int
) -> None:
    change(tree)
    same(tree, code, served)


def test_a_file_for_another_interpreter_is_left_to_stock(tmp_path: Path, python: Python) -> None:
    tree = Tree(tmp_path, python)
    name = "native.cpython-300-none.so"
    compile_native(tree.lib / name, "native")
    freeze(tree.registry, tree.lib, [extension("native", tree.lib, name)])
    ours = tree.run(SHOW + "show('native')\nprint(finder.bypassed)")
    reason = "this interpreter does not load extension modules ending in '.cpython-300-none.so'"
    assert ours.output.splitlines() == [
        "native ModuleNotFoundError No module named 'native'",
        str({"native": reason}),
    ]


def test_extension_modules_are_created_and_executed_under_the_import_lock(
    tmp_path: Path, run_python: RunPython
) -> None:
    names = ["basic", "multi"]
    file = compile_c("variants.c", tmp_path / f"basic{SUFFIX}")
    registry = freeze(
        tmp_path / "lock.frz", tmp_path, [extension(name, tmp_path, file.name) for name in names]
    )
    code = """
import sys, frozenfinder
from importlib.machinery import ExtensionFileLoader
finder = frozenfinder.install(sys.argv[1])
sys.path.insert(0, sys.argv[2])
def noted(name):
    function = getattr(ExtensionFileLoader, name)
    def method(self, argument):
        print(name, finder.lock.depth)
        return function(self, argument)
    setattr(ExtensionFileLoader, name, method)
noted("create_module"), noted("exec_module")
from frozenfinder.runtime import roots
roots._STOCK[:] = roots.read_importlib()  # else it is left to the patched methods
import basic, multi
print(finder.lock.depth)
"""
    done = run_python(code, registry, tmp_path)
    assert done.stdout.splitlines() == ["create_module 1", "exec_module 1"] * 2 + ["0"]


def test_a_traceback_has_no_frames_of_the_importer(tmp_path: Path, python: Python) -> None:
    tree = Tree(tmp_path, python)
    names = ["failing", "failing_exec"]
    file = compile_c("variants.c", tree.lib / f"failing{SUFFIX}")
    (tree.lib / f"failing_exec{SUFFIX}").write_bytes(file.read_bytes())
    tree.freeze()
    for name in names:
        same(tree, f"import {name}", served=int(name == "failing_exec"))


HOOK = """
import os, threading
reached, over, parent = threading.Event(), threading.Event(), os.getpid()
def pause():
    if os.getpid() == parent:
        reached.set()
        over.wait()
    return os.getpid() == parent
"""


def test_a_forked_child_imports_what_a_thread_was_executing(tmp_path: Path, python: Python) -> None:
    tree = Tree(tmp_path, python)
    tree.write({"hook.py": HOOK})
    compile_c("pausing.c", tree.lib / f"pausing{SUFFIX}")
    tree.freeze()
    code = """
import hook, os, threading, warnings
warnings.simplefilter("ignore")
thread = threading.Thread(target=__import__, args=("pausing",))
thread.start()
hook.reached.wait()
child = os.fork()
if not child:
    import pausing
    os._exit(pausing.result)
status = os.waitpid(child, 0)[1]
hook.over.set()
thread.join()
import pausing
print(status, pausing.result)
"""
    ours = tree.run(code)
    assert (ours.output, ours.error, ours.served) == ("0 True", "", 2)
