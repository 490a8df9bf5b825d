"""The import protocol: each way in which importers break it, as stock has it, in both modes.

A program runs three times in fresh processes: stock, in overlay beside the same sources, and in
closed mode with no sources at all. What it prints is equal, but for the directory that the files
are below. Overlay's freshness and precedence have their own tests (`test_overlay`), and so have
resources (`test_resources`) and metadata (`test_metadata`).
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.overlays import Outcome, Tree
from support.processes import Python, RunPython
from support.trees import freeze_files

FILES = {
    "m.py": "import sys\nVALUE = 'first'\ndef function():\n    return VALUE\n",
    "pkg/__init__.py": "VALUE = 'package'\n",
    "pkg/sub.py": "VALUE = 'submodule'\n",
    "pkg/inner/__init__.py": "from . import leaf\n",
    "pkg/inner/leaf.py": "import pkg.sub\n",
    "pkg/data.txt": "data\n",
    "pkg/folder/deep.txt": "deep\n",
    "space/portion.py": "VALUE = 'portion'\n",
    "raises/__init__.py": "import raises.child\nraise RuntimeError('as written')\n",
    "raises/child.py": "VALUE = 1\n",
    "replaced.py": "import sys\nsys.modules[__name__] = 'something else'\n",
    "deleted.py": "import sys\ndel sys.modules[__name__]\n",
    "circular_a.py": "from circular_b import missing\n",
    "circular_b.py": "from circular_a import name\n",
    "slotted/__init__.py": """\
import sys
class Slotted:
    __slots__ = ('__name__', '__path__', '__spec__')
this = sys.modules[__name__]
new = Slotted()
new.__name__, new.__path__, new.__spec__ = __name__, __path__, __spec__
sys.modules[__name__] = new
""",
    "slotted/child.py": "",
    "runnable/__init__.py": "",
    "runnable/__main__.py": """\
import sys
print(__name__, __package__, __spec__.name, __file__, sys.argv[1:])
""",
    "runnable/plain.py": "print(__name__, __spec__.name)\n",
    "lonely/__init__.py": "",
    "counted.py": "import sys\nsys.counted = getattr(sys, 'counted', 0) + 1\nVALUE = sys.counted\n",
    "warned.py": "import warnings\ndef warn():\n    warnings.warn('told')  # this line\nwarn()\n",
    "fails.py": """\
def fail(deep):
    if deep:
        fail(deep - 1)
    raise ValueError('deep')
""",
    "parcel-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\n",
    "parcel-1.0.dist-info/RECORD": "m.py,,\npkg/data.txt,,\n",
    "parcel-1.0.dist-info/entry_points.txt": "[parcel]\nfirst = m:function\n",
}

ON_DISK = {
    "extra.py": "VALUE = 'on disk'\n",
    "space/second.py": "VALUE = 'second portion'\n",
    "pkg/sub.py": "VALUE = 'not this'\n",
}
"""What is in the folder `other`, whether there are sources or not."""


@dataclass(frozen=True)
class Ways:
    """The same files with sources, for stock and overlay, and without, for closed mode."""

    open: Tree
    shut: Tree

    def run(self, way: str, code: str, *flags: str) -> Outcome:
        if way == "closed":
            outcome = self.shut.run(code, *flags, path=str(self.shut.lib), mode="closed")
            return Outcome(
                self.normalise(outcome.output),
                self.normalise(outcome.error),
                outcome.status,
                outcome.served,
            )
        return self.open.run(code, *flags, stock=way == "stock")

    def normalise(self, text: str) -> str:
        """`text` with the paths that the sources have."""
        text = text.replace(str(self.shut.registry), str(self.open.lib))
        return text.replace(str(self.shut.root), str(self.open.root))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("protocol")
    folders = root / "open", root / "shut"
    for folder in folders:
        for name, text in ON_DISK.items():
            write(folder / "other" / name, text)
    for name, text in FILES.items():
        write(folders[0] / "lib" / name, text)
    freeze(folders[0], "--with-source")
    shutil.copy(folders[0] / "tree.frz", folders[1])
    return folders


def freeze(folder: Path, *options: str) -> None:
    command = [sys.executable, "-m", "frozenfinder", "freeze", "--quiet", *options]
    asked = ["--path", str(folder / "lib"), "-o", str(folder / "tree.frz")]
    subprocess.run([*command, *asked], check=True, timeout=120)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def ways(folders: tuple[Path, Path], python: Python) -> Ways:
    return Ways(*(Tree(folder, python) for folder in folders))


PROTOCOL = {
    "module body raises": """
try:
    import raises
except RuntimeError as error:
    print(error, 'raises' in sys.modules, 'raises.child' in sys.modules)
try:
    import raises
except RuntimeError as error:
    print(error)
""",
    "body replaces or deletes its entry in sys.modules": """
import replaced
print(replaced)
try:
    import deleted
except KeyError as error:
    print(repr(error))
""",
    "circular from import": """
try:
    import circular_a
except ImportError as error:
    print(error, error.name, error.path)
""",
    "reload": """
import importlib, m
before, spec = m.__dict__, m.__spec__
m.stale, m.VALUE = 1, 'changed'
again = importlib.reload(m)
print(again is m, m.__dict__ is before, m.stale, m.VALUE, m.__spec__ is spec, m.__spec__ == spec)
""",
    "find_spec has no side effect but importing parents": """
import gc, importlib.util  # gc comes with the first module that is served
before = set(sys.modules)
spec = importlib.util.find_spec('pkg.inner.leaf')
print(sorted(set(sys.modules) - before))
print(importlib.util.find_spec('pkg.absent'), importlib.util.find_spec('counted').name)
print('counted' in sys.modules, hasattr(sys, 'counted'))
""",
    "None in sys.modules": """
import counted
sys.modules['m'] = sys.modules['pkg.sub'] = None
for name in 'm', 'pkg.sub':
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        print(error, error.name)
""",
    "child bound on its parent": """
import pkg.sub, warnings
print(pkg.sub is sys.modules['pkg.sub'], 'sub' in vars(pkg))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    import slotted.child
print([(each.category.__name__, str(each.message)) for each in caught])
print('slotted.child' in sys.modules)
""",
    "__path__ appended to at run time": """
import os, pkg
pkg.__path__.append(os.path.abspath('other'))
import pkg.extra, pkg.sub
print(pkg.extra.VALUE, pkg.sub.VALUE)
""",
    "__path__ put before, emptied, replaced": """
import importlib, os, pkg
other, own = os.path.abspath('other/pkg'), pkg.__path__[0]
pkg.__path__.insert(0, other)
import pkg.sub
print(pkg.sub.VALUE)
for path in [], [other], (other, own), [own + os.sep], [own, own], ['absent', own], [None, own]:
    del sys.modules['pkg.sub']
    pkg.__path__ = path
    try:
        print(importlib.import_module('pkg.sub').VALUE)
    except ImportError as error:
        print(error)
        sys.modules['pkg.sub'] = None
""",
    "__path__ of another package": """
import pkg, runnable
pkg.__path__ = runnable.__path__
import pkg.plain
print(pkg.plain.__name__, pkg.plain.__file__, pkg.plain.__spec__.parent)
""",
    "namespace package split between registry and disk": """
sys.path.append('other')
import os, space.portion, space.second, space
print(space.portion.VALUE, space.second.VALUE, space.__file__, space.__spec__.origin)
print(type(space.__path__).__name__, [os.path.abspath(portion) for portion in space.__path__])
print(hasattr(__import__('importlib.machinery').machinery, 'NamespacePath'))
""",
    "__cached__ and load_module, per version": """
import m, pkg, space
for module in m, pkg:
    print(hasattr(module, '__cached__'), hasattr(module.__loader__, 'load_module'))
print(hasattr(space.__loader__, 'load_module'), sorted(set(dir(space)) - {'__cached__'}))
""",
    "code that is shared is not changed": """
import _imp, m
loader = m.__loader__
first, second = loader.get_code('m'), loader.get_code('m')
_imp._fix_co_filename(first, 'elsewhere')
print(m.function.__code__.co_filename == second.co_filename == m.__file__, first is second)
nested = [const for const in loader.get_code('m').co_consts if hasattr(const, 'co_filename')]
print([code.co_filename for code in nested])
""",
    "no frames of the importer in tracebacks": """
import traceback
def show(error):
    print(''.join(traceback.format_exception(error)))
for name in 'raises', 'circular_a', 'pkg.absent', 'm.absent':
    try:
        __import__(name)
    except Exception as error:
        show(error)
import fails
try:
    fails.fail(2)
except ValueError as error:
    show(error)
""",
    "inspect, linecache and warnings show the source": """
import inspect, linecache, m, pkg.sub, warnings
print(inspect.getsource(m.function), inspect.getsource(pkg.sub), inspect.getsourcefile(m))
print(inspect.getsourcelines(m.function)[1], inspect.getfile(m.function))
print(inspect.getmodule(m.function), inspect.getcomments(m.function))
print(linecache.getline(m.__file__, 2), linecache.getlines(pkg.sub.__file__))
linecache.checkcache()
print(linecache.getline(m.__file__, 4))
warnings.simplefilter('always')
warnings.showwarning = lambda *given: print(warnings.formatwarning(*given[:4]))
import warned
""",
    "a debugger stops and shows the source": """
import io, pdb, fails
commands = ['b fails.fail', 'c', 'l', 'p deep', 'b 4', 'c', 'w', 'll', 'clear 1 2', 'q']
out = io.StringIO()
debugger = pdb.Pdb(stdin=io.StringIO('\\n'.join(commands)), stdout=out, nosigint=True, readrc=False)
try:
    debugger.run('fails.fail(0)', {'fails': fails})
except Exception as error:
    print(type(error))
print(out.getvalue())
""",
    "loaders answer": """
import importlib.util, m, pkg, pkg.sub, os, pkgutil
for module in m, pkg, pkg.sub:
    loader = module.__loader__
    name = module.__name__
    print(name, loader.is_package(name), loader.get_filename(name), loader.get_source(name))
    print(loader.get_code(name).co_filename, module.__spec__.submodule_search_locations)
    for method in loader.get_filename, loader.get_code, loader.get_source, loader.is_package:
        try:
            print(method('other') if method != loader.is_package else 'other')
        except ImportError as error:
            print(error, error.name)
print(loader.get_data(os.path.join(pkg.__path__[0], 'data.txt')))
print(pkgutil.get_data('pkg', 'folder/deep.txt'))
""",
    "runpy and __main__ of packages": """
import runpy
names = 'runnable', 'runnable.plain', 'm', 'lonely', 'space', 'absent', 'pkg.absent', 'replaced'
for name in names:
    try:
        result = runpy.run_module(name, run_name='__main__')
        print(name, result['__name__'], result['__file__'], result['__spec__'].name)
        print(result['__package__'], type(result['__loader__']).__name__.endswith('Loader'))
    except ImportError as error:
        print(name, error)
""",
    "pkgutil lists packages": """
import pkg, pkgutil, runnable
path = pkg.__path__
for path, prefix in (path, 'pkg.'), (path, ''), (runnable.__path__, 'x.'), ([], 'y.'):
    print([(each.name, each.ispkg) for each in pkgutil.iter_modules(path, prefix)])
names = [name for _, name, _ in pkgutil.walk_packages(pkg.__path__, 'pkg.')]
print(names, sorted(name for name in sys.modules if name.startswith('pkg.')))
mine = {'m', 'pkg', 'space', 'runnable', 'lonely', 'counted'}
print(sorted((each.name, each.ispkg) for each in pkgutil.iter_modules() if each.name in mine))
print(pkgutil.resolve_name('pkg.sub:VALUE'))
print(pkgutil.extend_path(pkg.__path__, 'pkg') == pkg.__path__)
""",
    "importlib.metadata": """
import importlib.metadata as metadata
print(metadata.version('parcel'), [str(file) for file in metadata.files('parcel')])
print([point.load()() for point in metadata.entry_points(group='parcel')])
print([each.version for each in metadata.distributions(name='parcel')])
""",
    "importlib.resources": """
import importlib.resources as resources
files = resources.files('pkg')
print(sorted(item.name for item in files.iterdir() if item.name != '__pycache__'))
print(files.joinpath('folder', 'deep.txt').read_text(), (files / 'data.txt').is_file(), files.name)
with resources.as_file(files / 'data.txt') as path:
    print(path.read_bytes())
""",
    "LazyLoader": """
import importlib.util
spec = importlib.util.find_spec('counted')
spec.loader = importlib.util.LazyLoader(spec.loader)
module = importlib.util.module_from_spec(spec)
sys.modules['counted'] = module
spec.loader.exec_module(module)
print(hasattr(sys, 'counted'), module.VALUE, type(module).__name__, sys.counted)
import counted
print(counted is module, sys.counted)
""",
    "meta_path changed during a search": """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == 'pkg.sub':
            sys.meta_path.remove(self)
        elif name == 'm':
            sys.meta_path.append(self)
        return None
sys.meta_path.insert(0, Finder())
import pkg.sub, pkg.inner
sys.meta_path.insert(0, Finder())
import m
print(pkg.sub.VALUE, m.VALUE, sum(type(each) is Finder for each in sys.meta_path))
""",
    "odd names": """
import importlib, importlib.util
odd = ['m\\udcff', 'm\\0', 'M', 'm' * 300, 'pkg.', 'pkg..sub', 'pkg.\\udcff', 'pkg.sub.x', 'm/x',
       'e\\u0301', '\\u00e9', '\\uff4d', 'pkg/sub', '']
for name in odd:
    for find in __import__, importlib.import_module, importlib.util.find_spec:
        try:
            print(ascii(find(name)))
        except Exception as error:
            print(type(error).__name__, ascii(str(error)))
""",
    "sys.modules replaced and subclassed": """
class Modules(dict):
    def __getitem__(self, name):
        if name in ('m', 'pkg.sub'):
            asked.append(name)
        return super().__getitem__(name)
asked = []
modules = sys.modules
sys.modules = Modules(modules)
import m, pkg.sub
print('m' in modules, pkg.sub.VALUE, bool(asked) or sys.version_info)
sys.modules = modules
import m as again
print(m is again, 'm' in modules)
""",
    "audit hooks that raise and import": """
class Refused(Exception):
    pass
def hook(event, args):
    if event == 'exec' and getattr(args[0], 'co_filename', '').endswith('m.py') and refuse:
        raise Refused
    if event == 'import' and args[0] == 'pkg':
        import counted
refuse = [1]
sys.addaudithook(hook)
try:
    import m
except Refused:
    print('refused', 'm' in sys.modules)
refuse.clear()
import m, pkg
print(m.VALUE, sys.counted, frozenfinder.runtime.hooks.import_lock.depth)
""",
    "pickle and copy of specs": """
import copy, m, pickle
spec = m.__spec__
print(pickle.loads(pickle.dumps(spec)) == spec, copy.copy(spec) == spec)
print(pickle.loads(pickle.dumps(m.function)) is m.function)
""",
}
"""By the row of the list of traps: a program, for all three ways."""


@pytest.mark.parametrize("mode", ["overlay", "closed"])
@pytest.mark.parametrize("code", PROTOCOL.values(), ids=PROTOCOL.keys())
def test_protocol(code: str, mode: str, ways: Ways) -> None:
    stock, ours = ways.run("stock", code), ways.run(mode, code)
    assert (ours.output, ours.error, ours.status) == (stock.output, stock.error, stock.status)
    assert stock.status == 0, stock.error
    # what a program looks for itself, overlay leaves to stock
    assert (ours.served > 0) != ("LazyLoader" in code and mode == "overlay")


# -- what one program cannot show


MODES = pytest.mark.parametrize("mode", ["overlay", "closed"])


@MODES
def test_python_m_runs_a_module_or_the_main_of_a_package(
    mode: str, ways: Ways, python: Python
) -> None:
    tree = ways.shut if mode == "closed" else ways.open
    env = {"PYTHONPATH": str(tree.lib)}
    for module in ("runnable", "runnable.plain", "lonely", "absent", "raises"):
        asked = "-m", module, "x", "-y"
        stock = python(*asked, env={"PYTHONPATH": str(ways.open.lib)}, check=False)
        run = "-m", "frozenfinder", "run", "--mode", mode, tree.registry
        ours = python(*run, *asked, env=env, check=False)
        output, error = ways.normalise(ours.stdout), ways.normalise(ours.stderr)
        if mode == "closed" and sys.version_info < (3, 13):
            assert without_source(error) == without_source(stock.stderr)
        else:
            assert error == stock.stderr
        assert (output, ours.returncode) == (stock.stdout, stock.returncode)


def without_source(traceback: str) -> list[str]:
    """The lines of a traceback but for the source, which C code shows of files on disk only."""
    lines = traceback.splitlines()
    return [line for line in lines if not line.startswith("    ")]


@MODES
@pytest.mark.parametrize("name", ["raises", "circular_a", "pkg.absent"])
def test_an_uncaught_exception_reads_as_stock(name: str, mode: str, ways: Ways) -> None:
    stock, ours = ways.run("stock", f"import {name}"), ways.run(mode, f"import {name}")
    if mode == "closed" and sys.version_info < (3, 13):
        assert without_source(ours.error) == without_source(stock.error)
    else:
        assert ours.error == stock.error
    assert (ours.status, ours.output) == (1, "")


def test_source_that_is_not_there_is_missing_as_of_a_file_that_is_not(
    tmp_path: Path, python: Python
) -> None:
    registry = tmp_path / "tree.frz"
    registry.write_bytes(freeze_files(FILES, with_source=False))
    code = """
import inspect, io, linecache, sys, traceback, warnings
if sys.argv[1:]:
    import frozenfinder
    frozenfinder.install(sys.argv[1], mode='closed')
else:
    sys.path.insert(0, 'lib')
import fails, os
if not sys.argv[1:]:
    os.unlink(fails.__file__)
linecache.clearcache()
for thing in fails, fails.fail:
    for ask in inspect.getsource, inspect.findsource, inspect.getsourcelines:
        try:
            print(ask(thing))
        except OSError as error:
            print(type(error), error)
print(linecache.getlines(fails.__file__), inspect.getcomments(fails.fail))
try:
    fails.fail(0)
except ValueError:
    print(traceback.format_exc().splitlines()[-2:])
"""
    write(tmp_path / "lib/fails.py", FILES["fails.py"])
    stock = python("-c", code, cwd=tmp_path)
    ours = python("-c", code, registry, cwd=tmp_path)
    assert ours.stdout.replace(str(registry), str(tmp_path / "lib")) == stock.stdout
    assert "OSError" in stock.stdout


@pytest.mark.skipif(sys.version_info < (3, 15), reason="imports are lazy from 3.15 on")
@MODES
def test_lazy_imports_defer_the_search_and_find_the_same(mode: str, ways: Ways) -> None:
    code = """
def body():
    pass
import counted
from pkg.sub import VALUE
import pkg.inner.leaf as leaf
print(hasattr(sys, 'counted'), 'pkg.sub' in sys.modules)
print(counted.VALUE, VALUE, leaf.__name__, sys.counted)
"""
    flags = "-X", "lazy_imports=all"
    stock, ours = ways.run("stock", code, *flags), ways.run(mode, code, *flags)
    assert (ours.output, ours.error, ours.status) == (stock.output, stock.error, 0)
    assert ours.output.splitlines()[0] == "False False"


@MODES
@pytest.mark.parametrize("order", ["before", "after"])
def test_other_finders_keep_their_place(order: str, mode: str, ways: Ways) -> None:
    """A rewriter at the front, and the finder of an editable installation at the end."""
    code = """
import importlib.machinery, os
class Rewriter:
    def find_spec(self, name, path=None, target=None):
        if name == 'm':
            asked.append(name)
        return None
class Editable:
    mapping = dict.fromkeys(['editable', 'm'], os.path.abspath('other/extra.py'))
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in cls.mapping:
            return importlib.util.spec_from_file_location(name, cls.mapping[name])
asked = []
import importlib.util
sys.meta_path.insert(0, Rewriter())
sys.meta_path.append(Editable)
"""
    again = "frozenfinder.uninstall()\nfinder = frozenfinder.install(finder.registry, mode=mode)\n"
    code += again * (order == "after")
    code += "import m, editable; print(asked, m.VALUE, editable.VALUE)\n"
    ours = ways.run(mode, f"mode = {mode!r}\n{code}")
    stock = ways.run("stock", code.replace(again, ""))
    assert (ours.output, ours.error) == (stock.output, "")
    assert ours.output == "['m'] first on disk"


@MODES
@pytest.mark.parametrize("order", ["before", "after"])
def test_pytest_rewrites_assertions(order: str, mode: str, ways: Ways, tmp_path: Path) -> None:
    tree = ways.shut if mode == "closed" else ways.open
    install = f"import sys; sys.path.insert(0, {str(tree.lib)!r})\n"
    install += f"import frozenfinder; frozenfinder.install({str(tree.registry)!r}, mode={mode!r})\n"
    write(tmp_path / "conftest.py", install if order == "after" else "")
    write(tmp_path / "test_it.py", "import m\ndef test():\n    assert m.VALUE == 'second'\n")
    code = (
        install if order == "before" else ""
    ) + "import pytest; pytest.main(['-q', '-p', 'no:cacheprovider'])"
    done = tree.python("-c", code, cwd=tmp_path)
    assert "assert 'first' == 'second'" in done.stdout


@MODES
def test_imports_at_exit_make_no_noise(mode: str, ways: Ways) -> None:
    code = """
import atexit, sys
class Late:
    def __del__(self):
        for name in 'pkg.sub', 'absent':
            try:
                __import__(name)
            except ImportError:
                pass
late = sys.late = Late()
m = sys.modules['m'] = Late()
atexit.register(__import__, 'pkg.inner')
import counted
"""
    ours = ways.run(mode, code)
    assert (ours.error, ours.status) == ("", 0)


@MODES
def test_invalidating_caches_costs_the_same_for_any_number_of_modules(
    mode: str, ways: Ways
) -> None:
    code = """
def count():
    events = []
    sys.setprofile(lambda frame, event, argument: events.append(event))
    finder.invalidate_caches()
    sys.setprofile(None)
    return len(events)
first = count()
import m, pkg.sub, pkg.inner.leaf, counted, lonely, runnable
print(count() - first)
"""
    assert ways.run(mode, code).output == "0"


@MODES
def test_sys_modules_that_is_gone_is_an_error_as_stock(mode: str, ways: Ways) -> None:
    code = """
modules, import_ = sys.modules, __import__
import importlib
for broken in None, 'deleted':
    if broken is None:
        sys.modules = None
    else:
        del sys.modules
    try:
        import_('m')
        found = 'found'
    except BaseException as error:
        found = type(error).__name__
    sys.modules = modules
    print(found)
import m
print(m.VALUE)
"""
    stock, ours = ways.run("stock", code), ways.run(mode, code)
    assert (ours.output, ours.status) == (stock.output, 0)
    assert ours.served


@MODES
def test_a_tree_that_was_moved_is_found_where_it_is(
    mode: str, tmp_path: Path, run_python: RunPython
) -> None:
    for name, text in FILES.items():
        write(tmp_path / "first" / "lib" / name, text)
    first = tmp_path / "first"
    freeze(first)
    moved = first.rename(tmp_path / "second")
    code = """
import sys, frozenfinder
finder = frozenfinder.install(sys.argv[1], mode=sys.argv[3])
sys.path.insert(0, sys.argv[2])
import m, pkg.sub
print(m.function.__code__.co_filename == m.__file__, finder.served)
print(m.__file__)
"""
    done = run_python(code, moved / "tree.frz", moved / "lib", mode)
    root = moved / ("lib" if mode == "overlay" else "tree.frz")
    assert done.stdout.splitlines() == ["True 3", str(root / "m.py")]
