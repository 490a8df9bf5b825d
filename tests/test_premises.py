"""What programs change around importlib after `install`: overlay answers as stock does."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from support.overlays import FILES, Tree
from support.processes import Python
from test_overlay import same

SHOW = """
def show(*names):
    import importlib
    for name in names:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            print(name, type(error).__name__, error)
        else:
            print(name, getattr(module, 'VALUE', None), getattr(module, '__file__', None))
"""

HOOK = """
import sys, types
from importlib.machinery import ModuleSpec, PathFinder
class Hook:
    def __init__(self, *names):
        self.names, self.asked = names, []
    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
        return ModuleSpec(name, self) if name in self.names else None
    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.VALUE = "the hook's"
        return module
    def exec_module(self, module):
        pass
"""


@pytest.fixture
def tree(tmp_path: Path, python: Python) -> Tree:
    tree = Tree(tmp_path, python)
    tree.write(FILES)
    tree.other.mkdir()
    tree.freeze()
    return tree


@dataclass(frozen=True)
class Change:
    """What a program does before it imports, and how many modules overlay serves then."""

    code: str
    served: int


FINDERS = {
    "a hook before the last finder": Change(
        "hook = Hook('m')\nsys.meta_path.insert(-1, hook)\nshow('m', 'pkg')\nprint(hook.asked)", 0
    ),
    "a hook before PathFinder": Change(
        "hook = Hook('pkg.sub')\nsys.meta_path.insert(sys.meta_path.index(PathFinder), hook)\n"
        "show('m', 'pkg.sub')\nprint(hook.asked)",
        0,
    ),
    "a hook that finds nothing, and is taken out": Change(
        "hook = Hook()\nsys.meta_path.insert(-1, hook)\nshow('m')\nsys.meta_path.remove(hook)\n"
        "show('pkg')\nprint(hook.asked)",
        1,
    ),
    "a hook that fails": Change(
        "class Fails:\n def find_spec(self, *_):\n  raise ImportError('no')\n"
        "sys.meta_path.insert(-1, Fails())\nshow('m')",
        0,
    ),
    "a hook without find_spec": Change("sys.meta_path.insert(-1, object())\nshow('m')", 0),
    "a subclass of PathFinder in its place": Change(
        "class Own(PathFinder):\n @classmethod\n"
        " def find_spec(cls, name, path=None, target=None):\n"
        "  print('asked', name)\n  return super().find_spec(name, path, target)\n"
        "sys.meta_path[sys.meta_path.index(PathFinder)] = Own\nshow('m')",
        0,
    ),
    "no PathFinder": Change("sys.meta_path.remove(PathFinder)\nshow('m')", 0),
    "PathFinder.find_spec replaced": Change(
        "PathFinder.find_spec = classmethod(lambda cls, name, path=None, target=None: None)\n"
        "show('m')",
        0,
    ),
    "FileFinder.find_spec replaced": Change(
        "from importlib.machinery import FileFinder\n"
        "stock = FileFinder.find_spec\n"
        "def find_spec(self, name, target=None):\n print('asked', name)\n"
        " return stock(self, name, target)\n"
        "FileFinder.find_spec = find_spec\nshow('m', 'pkg.sub')",
        0,
    ),
    "a patch that is undone": Change(
        "from importlib.machinery import FileFinder\n"
        "stock = FileFinder.find_spec\n"
        "FileFinder.find_spec = lambda self, name, target=None: stock(self, name, target)\n"
        "show('m')\nFileFinder.find_spec = stock\nshow('pkg')",
        1,
    ),
}


@pytest.mark.parametrize("change", FINDERS.values(), ids=FINDERS)
def test_finders_that_come_to_stand_before_pathfinder_are_asked(tree: Tree, change: Change) -> None:
    same(tree, HOOK + SHOW + change.code, served=change.served)


METHODS = {
    "create_module": "def create_module(self, spec):\n print('creates', spec.name)",
    "exec_module": "def exec_module(self, module):\n print('executes', module.__name__)\n"
    " return stock(self, module)",
    "get_code": "def get_code(self, name):\n print('gets', name)\n return stock(self, name)",
    "get_data": "def get_data(self, path):\n print('reads')\n return stock(self, path)",
    "path_stats": "def path_stats(self, path):\n print('looks at')\n return stock(self, path)",
    "source_to_code": "def source_to_code(self, data, path, *options):\n print('compiles')\n"
    " return stock(self, data.replace(b'first', b'patched'), path)",
}


@pytest.mark.parametrize("method", METHODS)
def test_a_loader_that_is_patched_loads(tree: Tree, method: str) -> None:
    code = f"""
sys.dont_write_bytecode = True
from importlib.machinery import SourceFileLoader
stock = SourceFileLoader.{method}
{METHODS[method]}
SourceFileLoader.{method} = {method}
show('m', 'pkg.sub')
"""
    same(tree, HOOK + SHOW + code, served=0)


def test_a_base_of_the_loader_that_is_patched_loads(tree: Tree) -> None:
    code = """
import importlib.abc
from importlib._bootstrap_external import SourceLoader
stock = SourceLoader.get_code
SourceLoader.get_code = lambda self, name: print('gets', name) or stock(self, name)
show('m')
"""
    same(tree, SHOW + code, served=0)


def test_what_was_patched_before_the_package_was_imported_is_not_taken_for_stock(
    tree: Tree, python: Python
) -> None:
    code = f"""
import sys
from importlib.machinery import SourceFileLoader
stock = SourceFileLoader.get_code
SourceFileLoader.get_code = lambda self, name: stock(self, name)
import frozenfinder
finder = frozenfinder.install({str(tree.registry)!r})
sys.path.insert(0, {str(tree.lib)!r})
import m
print(finder.served, finder.bypassed['m'])
"""
    assert python("-c", code).stdout == "0 importlib's finders or loaders were patched\n"


def test_a_version_that_names_a_part_of_importlib_otherwise_is_not_taken_for_stock(
    tree: Tree, python: Python
) -> None:
    code = f"""
import sys
from importlib.machinery import FileFinder
FileFinder._make_spec = FileFinder._get_spec
del FileFinder._get_spec
code = FileFinder.find_spec.__code__
names = [{{'_get_spec': '_make_spec'}}.get(name, name) for name in code.co_names]
FileFinder.find_spec.__code__ = code.replace(co_names=tuple(names))
import frozenfinder
finder = frozenfinder.install({str(tree.registry)!r})
sys.path.insert(0, {str(tree.lib)!r})
import m
print(m.VALUE, finder.served, finder.bypassed['m'])
"""
    assert python("-c", code).stdout == (
        "first 0 importlib or its state in sys was changed: "
        "type object 'FileFinder' has no attribute '_get_spec'\n"
    )


def test_a_suffix_that_was_added_is_searched_for(tree: Tree) -> None:
    tree.write({"m.xy": "VALUE = 'the rival'"})
    code = """
import importlib.machinery
importlib.machinery.SOURCE_SUFFIXES.insert(0, '.xy')
sys.path_importer_cache.clear()
show('m')
"""
    same(tree, SHOW + code, served=0)


def test_a_loader_before_that_of_sources_is_preferred(tree: Tree) -> None:
    tree.write({"m.xy": "VALUE = 'the rival'"})
    code = """
import importlib.machinery as machinery
hook = machinery.FileFinder.path_hook(
    (machinery.SourceFileLoader, ['.xy']),
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)
sys.path_hooks[-1] = hook
sys.path_importer_cache.clear()
show('m')
"""
    same(tree, SHOW + code, served=0)


def test_loaders_after_stocks_own_do_not_matter(tree: Tree) -> None:
    code = """
import importlib.machinery as machinery
class Other(machinery.SourceFileLoader):
    pass
hook = machinery.FileFinder.path_hook(
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    (Other, ['.xy']),
)
sys.path_hooks[-1] = hook
sys.path_importer_cache.clear()
show('m', 'pkg.sub')
"""
    same(tree, SHOW + code, served=3)


def test_a_folder_with_more_loaders_before_the_root_is_searched_by_stock(tree: Tree) -> None:
    tree.write({"m.xy": "VALUE = 'the other'"}, tree.other)
    code = """
import importlib.machinery as machinery
class Other(machinery.SourceFileLoader):
    pass
hook = machinery.FileFinder.path_hook(
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    (Other, ['.xy']),
)
sys.path_hooks[-1] = hook
sys.path_importer_cache.clear()
sys.path.insert(0, sys.path[0].removesuffix('lib') + 'other')
show('m')
"""
    same(tree, SHOW + code, served=0)


def test_a_root_that_is_spelled_with_a_slash_at_its_end_is_the_root(tree: Tree) -> None:
    same(tree, SHOW + "sys.path[0] += '/'\nshow('m', 'pkg.sub')", served=3)


def test_a_root_beside_a_registry_that_is_only_in_memory_is_nowhere(
    tree: Tree, python: Python
) -> None:
    code = f"""
import sys
import frozenfinder
with open({str(tree.registry)!r}, "rb") as file:
    finder = frozenfinder.install(file.read())
sys.path.insert(0, {str(tree.lib)!r})
import m
print(m.VALUE, finder.served, finder.bypassed['m'])
"""
    assert python("-c", code).stdout == (
        f"first 0 {str(tree.lib)!r} comes before its root on the path and may supply it\n"
    )


def test_nothing_is_found_without_a_path_hook_that_takes_folders(tree: Tree) -> None:
    code = """
import importlib, zipimport
sys.path_importer_cache.clear()
sys.path_hooks[:] = [zipimport.zipimporter]
show('m')
print(sys.path_importer_cache[sys.path[0]])
"""
    same(tree, SHOW + code, served=0)


def test_a_link_to_nowhere_before_the_root_hides_no_module(tree: Tree) -> None:
    (tree.other / "m").symlink_to("nowhere")
    same(
        tree,
        SHOW + "sys.path.insert(0, OTHER)\nshow('m')".replace("OTHER", repr(str(tree.other))),
        served=1,
    )


@pytest.mark.parametrize(("name", "served"), [("m", 0), ("pkg", 1)])
def test_a_closed_registry_has_precedence_for_what_it_holds(
    name: str, served: int, tree: Tree, python: Python
) -> None:
    """`m` is in both registries, `pkg` only in the one that overlay serves."""
    tree.write({"m.py": "VALUE = 'closed'\n"}, tree.other)
    closed = tree.root / "closed.frz"
    python("-m", "frozenfinder", "freeze", "--path", tree.other, "-o", closed)
    code = f"""
closed = frozenfinder.install({str(closed)!r}, mode='closed')
import {name} as module
print(module.VALUE, finder.served, closed.served)
"""
    value = {"m": "closed", "pkg": "package"}[name]
    assert tree.run(code).output == f"{value} {served} {1 - served}"


CACHE = """
def cached():
    for item, finder in sorted(sys.path_importer_cache.items()):
        print(item, type(finder).__name__, getattr(finder, 'path', None))
sys.path.append({absent!r})
"""


def test_the_cache_of_path_entry_finders_is_filled_as_stock_fills_it(tree: Tree) -> None:
    code = CACHE.format(absent=str(tree.other / "absent"))
    code += "show('m', 'pkg', 'pkg.inner.leaf', 'space.portion')\ncached()"
    same(tree, SHOW + code, served=6)


def test_a_folder_that_is_appended_before_it_is_made_is_searched(tree: Tree) -> None:
    code = CACHE.format(absent=str(tree.other / "late"))
    code += f"""
show('m')
import os
os.mkdir({str(tree.other / "late")!r})
open({str(tree.other / "late" / "late.py")!r}, 'w').write('VALUE = 1')
show('late')
"""
    same_twice(tree, SHOW + code, served=1)


def test_a_package_that_is_away_for_a_moment_is_found_again(tree: Tree) -> None:
    code = f"""
import os, pkg
folder = {str(tree.lib / "pkg")!r}
os.rename(folder, folder + '.old')
show('pkg.sub')
os.rename(folder + '.old', folder)
import importlib
importlib.invalidate_caches()
show('pkg.sub')
"""
    same(tree, SHOW + code, served=2)


def test_path_hooks_are_asked_for_what_stock_reaches(tree: Tree) -> None:
    code = f"""
sys.path.append({str(tree.other)!r})
asked = []
def hook(item):
    asked.append(item)
    raise ImportError
show('m')
sys.path_hooks.insert(0, hook)
show('pkg', 'pkg.sub', 'circular_b')
print(asked)
"""
    same(tree, SHOW + code, served=4)  # the first in `pkg` is left to its hook


@pytest.mark.parametrize("name", ["m", "pkg", "m.log", "pkg.txt", "m.cpython-27.so"])
def test_a_file_that_is_no_module_hides_none(tree: Tree, name: str) -> None:
    tree.write({name: "#!/bin/sh\n"}, tree.other)
    code = f"sys.path.insert(0, {str(tree.other)!r})\nshow('m', 'pkg')"
    same(tree, SHOW + code, served=2)


@pytest.mark.parametrize("name", ["m.py", "m/__init__.py"])
def test_a_file_that_is_a_module_hides_one(tree: Tree, name: str) -> None:
    tree.write({name: "VALUE = 'the other'"}, tree.other)
    code = f"sys.path.insert(0, {str(tree.other)!r})\nshow('m', 'pkg')"
    same(tree, SHOW + code, served=1)


def same_twice(tree: Tree, code: str, *, served: int) -> None:
    """As `same`, for a program that leaves files in `other`."""
    outcomes = []
    for stock in (True, False):
        outcomes.append(tree.run(code, stock=stock))
        for path in sorted(tree.other.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    one, two = outcomes
    assert (two.output, two.error, two.status) == (one.output, one.error, one.status)
    assert (one.served, two.served) == (0, served)


def test_a_file_that_appears_in_an_import_that_lasts_is_seen_after_a_second(tree: Tree) -> None:
    tree.write(
        {
            "loop.py": f"""
import os, sys, time
import m
time.sleep(1.1)
with open({str(tree.other / "pkg.py")!r}, 'w') as file:
    file.write("VALUE = 'the new one'")
time.sleep(1.1)
import pkg
print(pkg.VALUE)
"""
        }
    )
    tree.freeze()
    code = f"sys.path.insert(0, {str(tree.other)!r})\nimport loop"
    stock = tree.run(code, stock=True)
    (tree.other / "pkg.py").unlink()
    ours = tree.run(code)
    assert (ours.output, ours.error) == (stock.output, stock.error) == ("the new one", "")
    assert ours.served == 2
