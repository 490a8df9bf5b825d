"""Overlay's loaders stand in for stock's from the search to the body: nobody sees that they do."""

from pathlib import Path

import pytest
from support.compiled import SUFFIX, compile_c
from support.overlays import Tree
from support.processes import Python
from test_overlay import same

LENGTH = 300

FILES = {
    "m.py": "VALUE = 1\n",
    "pkg/__init__.py": "from . import sub\nVALUE = 2\n",
    "pkg/sub.py": "VALUE = 3\n",
    "shows.py": """
import sys
from importlib.machinery import SourceFileLoader
frame, frames = sys._getframe(), []
while frame:
    frames.append((frame.f_code.co_name, frame.f_globals["__name__"], frame.f_code.co_filename))
    frame = frame.f_back
LOADER = __loader__
SEEN = type(LOADER) is SourceFileLoader, vars(LOADER), LOADER is __spec__.loader
""",
    "hides.py": "del __loader__\nLOADER = __spec__.__dict__.pop('loader')\n",
    "becomes.py": """
import sys, types
class Lazy(types.ModuleType):
    loader = __loader__
sys.modules[__name__] = Lazy(__name__)
""",
    "subclassed.py": """
from importlib.machinery import SourceFileLoader
class Loader(SourceFileLoader):
    note = "the class's"
__loader__.__class__ = Loader
__loader__.extra = "the body's"
""",
    "main.py": """
print(type(__loader__), vars(__loader__), __spec__.loader is __loader__, __spec__.origin)
import m
""",
    **{f"chain{at}.py": f"import chain{at + 1}\n" for at in range(LENGTH)},
    f"chain{LENGTH}.py": "",
}


@pytest.fixture
def tree(tmp_path: Path, python: Python) -> Tree:
    tree = Tree(tmp_path, python)
    tree.write(FILES)
    tree.freeze()
    return tree


def test_the_body_and_all_later_see_stocks_loader(tree: Tree) -> None:
    code = """
import pickle, shows
print(shows.SEEN, shows.LOADER is shows.__loader__ is shows.__spec__.loader)
print(pickle.loads(pickle.dumps(shows.__spec__)) == shows.__spec__)
"""
    same(tree, code, served=1)


def test_the_frames_above_a_body_are_importlibs(tree: Tree) -> None:
    same(tree, "import shows\nprint(*shows.frames, sep='\\n')", served=1)


def test_the_class_of_the_loader_may_be_assigned_in_the_body(tree: Tree) -> None:
    code = """
import subclassed
loader = subclassed.__loader__
print(type(loader).__qualname__, vars(loader), loader.note, loader is subclassed.__spec__.loader)
"""
    same(tree, code, served=1)


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("hides", "(type(hides.LOADER), vars(hides.LOADER), hasattr(hides, '__loader__'))"),
        ("becomes", "(type(becomes.loader), vars(becomes.loader))"),
    ],
)
def test_no_stand_in_stays_on_a_module_that(tree: Tree, name: str, expression: str) -> None:
    same(tree, f"import {name}\nprint({expression})", served=1)


def test_no_stand_in_stays_on_main(tree: Tree) -> None:
    code = "import runpy\nrunpy._run_module_as_main('main', alter_argv=False)"
    same(tree, code, served=1)


ASKS = """
import importlib.util
from importlib.machinery import PathFinder, SourceFileLoader
class Hook:
    def find_spec(self, name, path=None, target=None):
        spec = {how}
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        print(name, type(spec.loader), vars(spec.loader))
        spec.loader.note = "the hook's"
        exec_module = spec.loader.exec_module
        spec.loader.exec_module = lambda module: exec_module(module) or print('ran', module)
        return spec
hook = Hook()
def others(name, path, target):
    for finder in sys.meta_path:
        if finder is not hook:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
def looked_up(name):
    sys.meta_path.remove(hook)
    try:
        return importlib.util.find_spec(name)
    finally:
        sys.meta_path.insert(0, hook)
sys.meta_path.insert(0, hook)
import m, pkg
print(m.__loader__.note, vars(m.__loader__).keys(), m.__spec__.loader is m.__loader__, pkg.VALUE)
sys.meta_path.remove(hook)
"""


@pytest.mark.parametrize(
    "how", ["others(name, path, target)", "looked_up(name)"], ids=["finders", "util"]
)
def test_a_hook_that_asks_for_the_spec_gets_stocks(tree: Tree, how: str) -> None:
    code = ASKS.replace("{how}", how)
    same(tree, code, served=0)
    ours = tree.run(code + "print(finder.bypassed['m'])")
    assert ours.output.splitlines()[-1] == "a hook has asked for its spec, not importlib"


def test_who_only_looks_gets_stocks_spec_and_no_name_is_bypassed(tree: Tree) -> None:
    code = """
import importlib.util
spec = importlib.util.find_spec('m')
print(type(spec.loader), vars(spec.loader), 'm' in sys.modules)
"""
    same(tree, code, served=0)
    assert tree.run(code + "print(finder.bypassed)").output.splitlines()[-1] == "{}"


CHAIN = """
sys.setrecursionlimit(1000)
try:
    import chain0
except RecursionError as error:
    pass
print(len([name for name in seen if name.startswith('chain')]))
"""
SEEN = """
class Seen:
    def find_spec(self, name, path=None, target=None):
        seen.append(name)
seen = []
sys.meta_path.insert(0, Seen())
"""


def test_a_chain_of_imports_is_as_long_as_stocks(tree: Tree) -> None:
    """It ends where the deepest call that an import makes no longer fits."""
    stock, ours = (int(tree.run(SEEN + CHAIN, stock=each).output) for each in (True, False))
    assert 100 < stock < LENGTH
    assert stock - 2 <= ours <= stock + 2


def test_an_extension_module_sees_stocks_loader_when_it_is_executed(
    tmp_path: Path, python: Python
) -> None:
    tree = Tree(tmp_path, python)
    compile_c("variants.c", tree.lib / f"multi{SUFFIX}")
    tree.freeze()
    code = """
import multi
print(type(multi.__loader__), vars(multi.__loader__), multi.__loader__ is multi.__spec__.loader)
"""
    same(tree, code, served=1)
