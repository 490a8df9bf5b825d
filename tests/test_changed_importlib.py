"""Programs that change what importlib has in `sys`, or importlib, stock beside overlay.

Each ends with an account of `sys.path_importer_cache`: its keys in order, and its finders.
"""

import shutil
import sys
from dataclasses import dataclass

import pytest
from support.overlays import Tree
from test_premises import HOOK, SHOW, tree

__all__ = ["tree"]

ACCOUNT = (
    """
import atexit, importlib
def tell():
    for item, finder in (sys.path_importer_cache or {}).items():
        print(item, type(finder).__name__, getattr(finder, 'path', None))
atexit.register(tell)
"""
    + SHOW
    + HOOK
)


@dataclass(frozen=True)
class Program:
    """What it does, with LIB and OTHER for the two folders, and how many modules are served."""

    code: str
    served: int


PROGRAMS = {
    "hook raises": Program(
        """\
class Fails:
    def find_spec(self, name, *a):
        if name.startswith('pkg'): raise RuntimeError('no')
show('m')
sys.meta_path.insert(-1, Fails())
try: import pkg
except RuntimeError:
    import traceback; traceback.print_exc()
import pkg.sub
""",
        1,
    ),
    "hook raises KeyboardInterrupt": Program(
        """\
class Fails:
    def find_spec(self, name, *a):
        if name == 'pkg': raise KeyboardInterrupt
sys.meta_path.insert(-1, Fails())
show('m')
import pkg
""",
        0,
    ),
    "hook imports": Program(
        """\
class H:
    def find_spec(self, name, path=None, target=None):
        print('asked', name)
        if name == 'pkg.sub':
            import m, broken2
sys.meta_path.insert(-1, H())
try: import pkg.sub
except ImportError as e: print(e)
show('m')
""",
        0,
    ),
    "hook edits meta_path": Program(
        """\
class H:
    def find_spec(self, name, path=None, target=None):
        print('asked', name)
        sys.meta_path.remove(self)
sys.meta_path.insert(-1, H())
show('m', 'pkg', 'pkg.sub')
""",
        2,
    ),
    "hook adds PathFinder subclass": Program(
        """\
class Own(PathFinder):
    pass
class H:
    def find_spec(self, name, path=None, target=None):
        print('asked', name)
        if name == "pkg": sys.meta_path.append(Own)
sys.meta_path.insert(-1, H())
show('m', 'pkg', 'pkg.sub')
""",
        0,
    ),
    "meta_path another list": Program(
        """\
sys.meta_path = list(sys.meta_path)
show('m')
hook = Hook('pkg')
sys.meta_path = [*sys.meta_path[:-1], hook, sys.meta_path[-1]]
show('pkg')
sys.meta_path = tuple(sys.meta_path)
show('circular_b')
import collections
sys.meta_path = collections.deque(sys.meta_path)
show('pkg.inner.leaf')
print(hook.asked)
""",
        1,
    ),
    "wrapped": Program(
        """\
class W:
    def __init__(self, f): self.f = f
    def find_spec(self, name, path=None, target=None):
        return self.f.find_spec(name, path, target)
sys.meta_path[:] = [W(f) for f in sys.meta_path]
show('m', 'pkg.sub')
""",
        0,
    ),
    "wrapper sets source_to_code": Program(
        """\
sys.dont_write_bytecode = True
class W:
    def find_spec(self, name, path=None, target=None):
        for f in sys.meta_path:
            if f is self: continue
            spec = f.find_spec(name, path, target)
            if spec is not None and spec.loader is not None and name.startswith(('m', 'pkg')):
                old = spec.loader.source_to_code
                spec.loader.source_to_code = lambda data, path, *_: (
                    print('compiles', path) or old(data.replace(b'first', b'hooked'), path)
                )
            if spec is not None: return spec
sys.meta_path.insert(0, W())
show('m', 'pkg.sub')
print(sorted(vars(sys.modules['m'].__loader__)))
""",
        0,
    ),
    "wrapper sets get_data": Program(
        """\
sys.dont_write_bytecode = True
class W:
    def find_spec(self, name, path=None, target=None):
        for f in sys.meta_path:
            if f is self: continue
            spec = f.find_spec(name, path, target)
            if spec is not None and spec.loader is not None and name.startswith(('m', 'pkg')):
                old = spec.loader.get_data
                spec.loader.get_data = lambda path: print('reads', path) or old(path)
            if spec is not None: return spec
sys.meta_path.insert(0, W())
show('m', 'pkg.sub')
""",
        0,
    ),
    "wrapper sets exec_module": Program(
        """\
class W:
    def find_spec(self, name, path=None, target=None):
        for f in sys.meta_path:
            if f is self: continue
            spec = f.find_spec(name, path, target)
            if spec is not None and spec.loader is not None and name.startswith(('m', 'pkg')):
                old = spec.loader.exec_module
                spec.loader.exec_module = lambda module: (
                    print('executes', module.__name__) or old(module)
                )
            if spec is not None: return spec
sys.meta_path.insert(0, W())
show('m', 'pkg.sub')
""",
        0,
    ),
    "lazy SourceFileLoader.get_code": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(SourceFileLoader, 'get_code'):
    stock = SourceFileLoader.get_code
    SourceFileLoader.get_code = lambda self, name: print('gets', name) or stock(self, name)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "lazy SourceLoader.get_code": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(SourceLoader, 'get_code'):
    stock = SourceLoader.get_code
    SourceLoader.get_code = lambda self, name: print('gets', name) or stock(self, name)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "lazy SourceFileLoader.exec_module": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(SourceFileLoader, 'exec_module'):
    stock = SourceFileLoader.exec_module
    SourceFileLoader.exec_module = lambda self, module: (
        print('executes', module.__name__) or stock(self, module)
    )
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "lazy _LoaderBasics.exec_module": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(_LoaderBasics, 'exec_module'):
    stock = _LoaderBasics.exec_module
    _LoaderBasics.exec_module = lambda self, module: (
        print('executes', module.__name__) or stock(self, module)
    )
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "lazy SourceFileLoader.create_module": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(SourceFileLoader, 'create_module'):
    stock = SourceFileLoader.create_module
    SourceFileLoader.create_module = lambda self, spec: print('creates', spec.name)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "lazy _LoaderBasics.create_module": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(_LoaderBasics, 'create_module'):
    stock = _LoaderBasics.create_module
    _LoaderBasics.create_module = lambda self, spec: print('creates', spec.name)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "lazy SourceFileLoader.source_to_code": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(SourceFileLoader, 'source_to_code'):
    stock = SourceFileLoader.source_to_code
    SourceFileLoader.source_to_code = lambda self, data, path, *_: (
        print('compiles', path) or stock(self, data, path)
    )
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "lazy SourceFileLoader.get_data": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(SourceFileLoader, 'get_data'):
    stock = SourceFileLoader.get_data
    SourceFileLoader.get_data = lambda self, path: print('reads', path) or stock(self, path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "lazy FileLoader.get_data": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(FileLoader, 'get_data'):
    stock = FileLoader.get_data
    FileLoader.get_data = lambda self, path: print('reads', path) or stock(self, path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "lazy SourceFileLoader.path_stats": Program(
        """\
sys.dont_write_bytecode = True
import importlib.util
from importlib._bootstrap_external import SourceFileLoader, SourceLoader, _LoaderBasics, FileLoader
spec = importlib.util.find_spec('m')
if hasattr(SourceFileLoader, 'path_stats'):
    stock = SourceFileLoader.path_stats
    SourceFileLoader.path_stats = lambda self, path: print('stats', path) or stock(self, path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
show('pkg')
""",
        0,
    ),
    "FileFinder.find_spec": Program(
        """\
from importlib.machinery import FileFinder
show('m')
stock = FileFinder.find_spec
def patched(self, *a, **k):
    print('asked', 'find_spec', a[:1])
    return stock(self, *a, **k)
FileFinder.find_spec = patched
show('pkg')
""",
        1,
    ),
    "FileFinder._get_spec": Program(
        """\
from importlib.machinery import FileFinder
show('m')
stock = FileFinder._get_spec
def patched(self, *a, **k):
    print('asked', '_get_spec', a[:1])
    return stock(self, *a, **k)
FileFinder._get_spec = patched
show('pkg')
""",
        1,
    ),
    "FileFinder.__init__": Program(
        """\
from importlib.machinery import FileFinder
show('m')
stock = FileFinder.__init__
def patched(self, path, *a):
    print('made', path)
    stock(self, path, *a)
FileFinder.__init__ = patched
show('pkg.sub', 'pkg.inner.leaf')
""",
        1,
    ),
    "PathFinder._get_spec": Program(
        """\
show('m')
stock = PathFinder._get_spec.__func__
@classmethod
def patched(cls, *a, **k):
    print('asked', '_get_spec', a[:1])
    return stock(cls, *a, **k)
PathFinder._get_spec = patched
show('pkg.sub')
""",
        1,
    ),
    "PathFinder._path_importer_cache": Program(
        """\
show('m')
stock = PathFinder._path_importer_cache.__func__
@classmethod
def patched(cls, *a, **k):
    print('asked', '_path_importer_cache', a[:1])
    return stock(cls, *a, **k)
PathFinder._path_importer_cache = patched
show('pkg.sub')
""",
        1,
    ),
    "PathFinder._path_hooks": Program(
        """\
show('m')
stock = PathFinder._path_hooks.__func__
@classmethod
def patched(cls, *a, **k):
    print('asked', '_path_hooks', a[:1])
    return stock(cls, *a, **k)
PathFinder._path_hooks = patched
show('pkg.sub')
""",
        1,
    ),
    "instance find_spec": Program(
        """\
show('m')
entry = sys.path_importer_cache[LIB]
stock = entry.find_spec
entry.find_spec = lambda name, target=None: print('asked', name) or stock(name, target)
show('pkg', 'pkg.sub')
""",
        2,
    ),
    "instance _get_spec": Program(
        """\
show('m')
entry = sys.path_importer_cache[LIB]
stock = entry._get_spec
entry._get_spec = lambda *a: print('asked', a[1]) or stock(*a)
show('pkg', 'pkg.sub')
""",
        2,
    ),
    "instance loaders": Program(
        """\
show('m')
from importlib.machinery import *
entry = sys.path_importer_cache[LIB]
class Own(SourceFileLoader):
    def exec_module(self, module): print('own', module.__name__); super().exec_module(module)
entry._loaders.insert(0, ('.py', Own))
show('pkg', 'pkg.sub')
""",
        2,
    ),
    "instance loaders before": Program(
        """\
sys.path.insert(0, OTHER)
open(OTHER + '/pkg.xy', 'w').write('VALUE = 1')
show('m')
from importlib.machinery import *
entry = sys.path_importer_cache[OTHER]
entry._loaders.append(('.xy', SourceFileLoader))
show('pkg')
""",
        1,
    ),
    "instance path": Program(
        """\
import os
os.mkdir(OTHER + '/pkg'); open(OTHER + '/pkg/__init__.py', 'w').write('VALUE = 1')
show('m')
sys.path_importer_cache[LIB].path = OTHER
importlib.invalidate_caches()
show('pkg')
""",
        1,
    ),
    "suffix after the first import": Program(
        """\
import importlib.machinery
open(LIB + '/circular_b.xy', 'w').write('VALUE = "rival"')
show('m')
importlib.machinery.SOURCE_SUFFIXES.insert(0, '.xy')
sys.path_importer_cache.clear()
show('circular_b', 'pkg')
import os; os.unlink(LIB + '/circular_b.xy')
""",
        1,
    ),
    "hook suffix in earlier folder": Program(
        """\
import importlib.machinery as machinery
open(OTHER + '/m.xy', 'w').write('VALUE = "rival"')
sys.path.insert(0, OTHER)
hook = machinery.FileFinder.path_hook(
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    (machinery.SourceFileLoader, ['.xy']),
)
sys.path_hooks[-1] = hook
sys.path_importer_cache.clear()
show('m', 'pkg.sub')
""",
        1,
    ),
    "cache cleared": Program(
        """\
show('m'); sys.path_importer_cache.clear(); show('pkg', 'pkg.sub')
sys.path_importer_cache = {}
show('circular_b', 'pkg.inner.leaf')
""",
        7,
    ),
    "cache None": Program(
        """\
show('m')
sys.path_importer_cache[LIB] = None
show('pkg')
del sys.path_importer_cache[LIB]
show('pkg')
sys.path_importer_cache[LIB + '/pkg'] = None
show('pkg.sub')
importlib.invalidate_caches()
show('pkg.sub')
""",
        3,
    ),
    "cache foreign": Program(
        """\
class F:
    def find_spec(self, name, target=None): print('asked', name)
sys.path.insert(0, OTHER)
sys.path_importer_cache[OTHER] = F()
show('m', 'pkg', 'pkg.sub')
""",
        1,
    ),
    "cache foreign raises": Program(
        """\
class F:
    def find_spec(self, name, target=None):
        if name == "m": raise RuntimeError(name)
sys.path.insert(0, OTHER)
sys.path_importer_cache[OTHER] = F()
try: import m
except RuntimeError:
    import traceback; traceback.print_exc()
""",
        0,
    ),
    "cache foreign finds, stale after": Program(
        """\
class F:
    def find_spec(self, name, target=None): print('asked', name)
sys.path.insert(0, OTHER)
sys.path_importer_cache[OTHER] = F()
import os
os.utime(LIB + '/circular_b.py', (1, 1))
show('circular_b')
""",
        0,
    ),
    "hook added": Program(
        """\
class F:
    def find_spec(self, name, target=None): print('asked', name)
def hook(item):
    print('hook', item)
    if item == LIB: return F()
    raise ImportError
show('m')
sys.path_hooks.insert(0, hook)
show('pkg', 'pkg.sub', 'pkg.inner.leaf')
sys.path_importer_cache.clear()
show('circular_b')
""",
        3,
    ),
    "hook at the end": Program(
        """\
def hook(item):
    print('hook', item)
    raise ImportError
sys.path_hooks.append(hook)
show('m', 'pkg.sub')
sys.path_hooks = [hook]
show('pkg.inner.leaf')
sys.path_hooks = ()
show('circular_b')
""",
        6,
    ),
    "hook raises path": Program(
        """\
def hook(item):
    if "pkg" in item: raise RuntimeError(item)
    raise ImportError
show('m')
sys.path_hooks.insert(0, hook)
import pkg
try: import pkg.sub
except RuntimeError:
    import traceback; traceback.print_exc()
""",
        2,
    ),
    "hook edits hooks": Program(
        """\
def hook(item):
    print('hook', item)
    sys.path_hooks.remove(hook)
    raise ImportError
show('m')
sys.path_hooks.insert(0, hook)
show('pkg.sub', 'pkg.inner.leaf')
""",
        4,
    ),
    "empty item, chdir": Program(
        """\
import os
sys.path.remove(LIB); sys.path.insert(0, '')
show('m')
os.chdir(LIB)
show('m', 'pkg')
os.chdir(OTHER)
show('pkg.sub', 'circular_b')
os.chdir(os.path.dirname(OTHER))
os.chdir(LIB)
show('circular_b')
""",
        5,
    ),
    "cwd gone": Program(
        """\
import os
os.mkdir(OTHER + '/gone'); os.chdir(OTHER + '/gone'); os.rmdir(OTHER + '/gone')
sys.path.insert(0, '')
show('m', 'pkg.sub')
""",
        3,
    ),
    "relative, chdir": Program(
        """\
import os
sys.path.remove(LIB); sys.path.insert(0, 'lib')
show('m')
os.chdir(OTHER)
show('pkg', 'pkg.sub')
sys.path_importer_cache.clear()
show('circular_b')
os.chdir('..')
importlib.invalidate_caches()
show('circular_b')
""",
        5,
    ),
    "relative dotted": Program(
        """\
import os
os.chdir(LIB)
sys.path.remove(LIB); sys.path.insert(0, '../lib/.')
show('m', 'pkg.sub')
sys.path[0] = LIB + '/'
show('pkg.inner.leaf', 'circular_b')
sys.path[0] = LIB + '//'
show('space.portion', 'circular_a')
""",
        10,
    ),
    "zip before": Program(
        """\
import zipfile
with zipfile.ZipFile(OTHER + '/z.zip', 'w') as z:
    z.writestr('zm.py', 'VALUE = 1')
    z.writestr('pkg/x.txt', '')
sys.path.insert(0, OTHER + '/z.zip')
show('m', 'zm', 'pkg', 'pkg.sub')
""",
        # from 3.15 on, a folder in a zip file needs no entry of its own to be a portion
        3 if sys.version_info < (3, 15) else 2,
    ),
    "zip supplies": Program(
        """\
import zipfile
with zipfile.ZipFile(OTHER + '/z.zip', 'w') as z: z.writestr('m.py', 'VALUE = 1')
sys.path.insert(0, OTHER + '/z.zip')
show('m', 'pkg')
""",
        1,
    ),
    "bad zip, file on path": Program(
        """\
open(OTHER + '/z.zip', 'w').write('no')
sys.path.insert(0, OTHER + '/z.zip')
show('m', 'pkg')
""",
        2,
    ),
    "missing appears": Program(
        """\
import os
sys.path.insert(0, OTHER + '/late')
show('m')
os.mkdir(OTHER + '/late'); open(OTHER + '/late/pkg.py', 'w').write('VALUE = 1')
show('pkg')
importlib.invalidate_caches()
del sys.modules['pkg']
show('pkg')
""",
        2,
    ),
    "renamed": Program(
        """\
import os
show('m')
os.rename(LIB + '/pkg', LIB + '/pkg2')
show('pkg')
os.rename(LIB + '/pkg2', LIB + '/pkg')
show('pkg', 'pkg.sub')
""",
        3,
    ),
    "renamed lib": Program(
        """\
import os
show('m', 'pkg')
os.rename(LIB, LIB + '2')
show('pkg.sub', 'circular_b')
os.rename(LIB + '2', LIB)
show('pkg.sub', 'circular_b')
importlib.invalidate_caches()
show('pkg.sub', 'circular_b')
""",
        7,
    ),
    "symlink": Program(
        """\
import os
os.symlink(LIB, OTHER + '/link')
sys.path[sys.path.index(LIB)] = OTHER + '/link'
show('m', 'pkg.sub')
sys.path.insert(0, LIB)
show('pkg.inner.leaf', 'circular_b')
""",
        7,
    ),
    "unreadable": Program(
        """\
import os
os.mkdir(OTHER + '/secret', 0)
sys.path.insert(0, OTHER + '/secret')
show('m', 'pkg.sub')
""",
        3,
    ),
    "extend_path": Program(
        """\
import os, pkgutil
os.mkdir(OTHER + '/pkg')
open(OTHER + '/pkg/__init__.py', 'w').write('')
open(OTHER + '/pkg/added.py', 'w').write('VALUE = 1')
sys.path.append(OTHER)
import pkg
pkg.__path__ = pkgutil.extend_path(pkg.__path__, 'pkg')
show('pkg.sub', 'pkg.added', 'pkg.inner.leaf', 'pkg.none')
""",
        4,
    ),
    "__path__": Program(
        """\
import pkg
pkg.__path__.insert(0, OTHER)
show('pkg.sub')
pkg.__path__ = (LIB + '/pkg',)
show('pkg.inner')
pkg.__path__ = iter([OTHER, LIB + '/pkg'])
show('pkg.inner.leaf')
pkg.__path__ = [LIB]
show('pkg.m')
pkg.inner.__path__ = []
show('pkg.inner.leaf', 'pkg.inner.none')
pkg.__path__ = None
show('pkg.zzz')
""",
        4,
    ),
    "reload": Program(
        """\
import m, pkg.sub
importlib.reload(m)
sys.meta_path.insert(-1, Hook())
importlib.reload(pkg.sub)
sys.meta_path.pop(-2)
importlib.reload(pkg)
print(m.__spec__.origin, type(m.__loader__))
""",
        3,
    ),
    "find_spec": Program(
        """\
import importlib.util
for n in ['m', 'pkg', 'pkg.sub', 'space', 'space.portion', 'none', 'pkg.none']:
    s = importlib.util.find_spec(n)
    print(n, s and (s.origin, s.cached, s.submodule_search_locations))
""",
        1,
    ),
    "threads": Program(
        """\
import threading
names = ['m', 'pkg.sub', 'pkg.inner.leaf', 'space.portion'] * 4
ts = [threading.Thread(target=importlib.import_module, args=(n,)) for n in names]
[t.start() for t in ts]; [t.join() for t in ts]
show('m', 'pkg.sub')
d = sorted(map(str, sys.path_importer_cache))
sys.path_importer_cache = {}
print(d)
""",
        6,
    ),
    "path odd items": Program(
        """\
import pathlib
sys.path.insert(0, pathlib.Path(OTHER)); sys.path.insert(0, b'x'); sys.path.insert(0, None)
class S(str): pass
sys.path.insert(0, S(OTHER))
show('m')
sys.path = tuple(sys.path)
show('pkg.sub')
""",
        3,
    ),
    "NUL on the path": Program(
        """\
sys.path.insert(0, 'a\\0b')
show('m', 'pkg.sub')
""",
        0,
    ),
    "surrogate on the path": Program(
        """\
sys.path.insert(0, '/\\udfff')
show('m', 'pkg.sub')
""",
        0,
    ),
    "path None": Program(
        """\
sys.path = None
try: import m
except TypeError as e: print(e)
""",
        0,
    ),
    "cache not a dict": Program(
        """\
import collections
sys.path_importer_cache = collections.UserDict(sys.path_importer_cache)
show('m', 'pkg.sub')
sys.path_importer_cache = None
try: import pkg.inner
except Exception as e: print(type(e), e); import traceback; traceback.print_exc()
sys.path_importer_cache = {}
""",
        0,
    ),
    "hooks None": Program(
        """\
sys.path_hooks = None
show('m')
try: import pkg.sub
except Exception as e: import traceback; traceback.print_exc()
sys.path_hooks = []
""",
        2,
    ),
    "class swap in cache": Program(
        """\
from importlib.machinery import FileFinder
class Own(FileFinder):
    def find_spec(self, name, target=None):
        print('own', name)
        return super().find_spec(name, target)
show('m')
for f in sys.path_importer_cache.values():
    if type(f) is FileFinder: f.__class__ = Own
show('pkg.sub')
""",
        2,
    ),
    "PathFinder instance": Program(
        """\
sys.meta_path[sys.meta_path.index(PathFinder)] = PathFinder()
show('m', 'pkg.sub')
""",
        0,
    ),
    "PathFinder first": Program(
        """\
sys.meta_path.insert(0, PathFinder)
show('m', 'pkg.sub')
""",
        0,
    ),
    "weird eq": Program(
        """\
from unittest.mock import ANY
class E:
    def __eq__(self, o): raise RuntimeError
    __hash__ = object.__hash__
    def find_spec(self, *a): return None
sys.meta_path.insert(0, E())
show('m')
""",
        1,
    ),
    "loader of pyc patched": Program(
        """\
from importlib.machinery import SourcelessFileLoader
SourcelessFileLoader.get_code = lambda self, name: print('gets', name)
show('m', 'pkg.sub')
""",
        3,
    ),
    "audit": Program(
        """\
seen = []
def hook(event, args):
    if event == 'import' and args[0] in ('m', 'pkg', 'pkg.sub'): print(event, args[0], len(args))
sys.addaudithook(hook)
show('m', 'pkg.sub')
""",
        3,
    ),
    "runpy": Program(
        """\
import runpy
print(runpy.run_module('m')['VALUE'], runpy.run_module('pkg.sub')['VALUE'])
""",
        1,
    ),
    "getattribute": Program(
        """\
from importlib.machinery import SourceFileLoader
def ga(self, name):
    if name == 'path' : print('path')
    return object.__getattribute__(self, name)
SourceFileLoader.__getattribute__ = ga
show('m')
""",
        0,
    ),
    "__new__": Program(
        """\
from importlib.machinery import SourceFileLoader
def init(self, name, path):
    print('init', name)
    self.__dict__.update(name=name, path=path)
SourceFileLoader.__init__ = init
show('m')
""",
        0,
    ),
    "patch undone between": Program(
        """\
sys.dont_write_bytecode = True
from importlib.machinery import SourceFileLoader
class W:
    def find_spec(self, name, path=None, target=None):
        for f in sys.meta_path:
            if f is not self:
                spec = f.find_spec(name, path, target)
                if spec: break
        SourceFileLoader.source_to_code = s2c
        return spec
def s2c(self, data, path, *_):
    del SourceFileLoader.source_to_code
    print('compiles', path)
    return self.source_to_code(data, path)
sys.meta_path.insert(0, W())
show('m', 'pkg.sub')
""",
        0,
    ),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_that_changes_importlib_is_told_what_stock_tells(
    tree: Tree, program: Program
) -> None:
    code = f"LIB, OTHER = {str(tree.lib)!r}, {str(tree.other)!r}\n{ACCOUNT}{program.code}"
    spare = tree.root / "spare"
    shutil.copytree(tree.lib, spare)
    stock = tree.run(code, "-B", stock=True)
    for folder in (tree.lib, tree.other):
        shutil.rmtree(folder)
    spare.rename(tree.lib)
    tree.other.mkdir()
    ours = tree.run(code, "-B")
    assert (ours.output, ours.error, ours.status) == (stock.output, stock.error, stock.status)
    assert (stock.served, ours.served) == (0, program.served)
