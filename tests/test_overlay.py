"""Overlay gives what stock gives: each scenario runs both ways, and counts what was served."""

import os
import py_compile
import shutil
import sysconfig
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.overlays import FILES, Tree
from support.processes import Python


@pytest.fixture
def tree(tmp_path: Path, python: Python) -> Tree:
    tree = Tree(tmp_path, python)
    tree.write(FILES)
    tree.other.mkdir()
    tree.freeze()
    return tree


def same(tree: Tree, code: str, *flags: str, served: int, path: str | None = None) -> None:
    """Both ways print the same, fail the same, and ours was served as many as said."""
    stock = tree.run(code, *flags, path=path, stock=True)
    ours = tree.run(code, *flags, path=path)
    assert (ours.output, ours.error, ours.status) == (stock.output, stock.error, stock.status)
    assert stock.served == 0
    assert ours.served == served


SHOW = """
def show(*names):
    import importlib
    for name in names:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            print(name, type(error).__name__, error)
        else:
            spec = module.__spec__
            path = getattr(module, '__path__', None)
            print(name, module.__file__, getattr(module, 'VALUE', None))
            print(' ', spec.origin, path and list(path))
            print(' ', spec.cached, spec.has_location, spec.parent, spec.submodule_search_locations)
"""
ALL = SHOW + "show('m', 'pkg', 'pkg.sub', 'pkg.inner', 'pkg.inner.leaf', 'space.portion')"
M = SHOW + "show('m')"


def test_an_untouched_tree_is_served(tree: Tree) -> None:
    same(tree, ALL, served=6)


# -- freshness


def rewrite(path: Path, text: str, newer: int = 10) -> None:
    """Write a file as an editor would some seconds later."""
    stamp = path.stat().st_mtime + newer if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if stamp is not None:
        os.utime(path, (stamp, stamp))


@dataclass(frozen=True)
class Change:
    """What is done to the tree between the freeze and the import of `m`."""

    make: Callable[[Tree], object]
    served: int = 0
    code: str = M
    path: str | None = None
    flags: tuple[str, ...] = field(default=())


def add_extension(tree: Tree) -> None:
    """A real extension module beside `m.py`, whose init function has another name."""
    folder = sysconfig.get_config_var("DESTSHARED")
    source = next(Path(folder).glob("_bisect.*.so"), None) or next(Path(folder).glob("*.so"))
    shutil.copy(source, tree.lib / f"m{sysconfig.get_config_var('EXT_SUFFIX')}")


def replace_by_package(tree: Tree) -> None:
    (tree.lib / "m.py").unlink()
    rewrite(tree.lib / "m/__init__.py", "VALUE = 'turned into a package'\n")


def replace_by_bytecode(tree: Tree) -> None:
    py_compile.compile(str(tree.lib / "m.py"), cfile=str(tree.lib / "m.pyc"), doraise=True)
    (tree.lib / "m.py").unlink()


def replace_by_directory(tree: Tree) -> None:
    (tree.lib / "m.py").unlink()
    (tree.lib / "m.py").mkdir()


FRESHNESS = {
    "an edit": Change(lambda t: rewrite(t.lib / "m.py", "VALUE = 'edited, of another size'\n")),
    "an edit of the same size": Change(
        lambda t: rewrite(t.lib / "m.py", FILES["m.py"].replace("first", "other"))
    ),
    "an edit in the same second": Change(
        lambda t: rewrite(t.lib / "m.py", FILES["m.py"] + "# longer\n", newer=0)
    ),
    "a touch": Change(lambda t: rewrite(t.lib / "m.py", FILES["m.py"]), served=1),
    "an older file put back": Change(
        lambda t: rewrite(t.lib / "m.py", FILES["m.py"], newer=-99), served=1
    ),
    "a deletion": Change(lambda t: (t.lib / "m.py").unlink()),
    "a module turned into a package": Change(replace_by_package),
    "a package added beside the module": Change(
        lambda t: rewrite(t.lib / "m/__init__.py", "VALUE = 'package beside it'\n")
    ),
    "a folder without __init__ added beside the module": Change(
        lambda t: (t.lib / "m").mkdir(), served=1
    ),
    "an extension module added beside the module": Change(add_extension),
    "a module left as bytecode only": Change(replace_by_bytecode),
    "a new syntax error": Change(
        lambda t: rewrite(t.lib / "m.py", "VALUE = = 1\n"), code="import m"
    ),
    "a directory in its place": Change(replace_by_directory),
    "an unrelated file added": Change(lambda t: t.write({"unrelated.py": ""}), served=1),
    "an edit of the parent only": Change(
        lambda t: rewrite(t.lib / "pkg/__init__.py", "VALUE = 'edited'\n"),
        code=SHOW + "show('pkg', 'pkg.sub')",
        served=1,
    ),
    "a submodule turned into a package": Change(
        lambda t: rewrite(t.lib / "pkg/sub/__init__.py", "VALUE = 'package'\n"),
        code=SHOW + "show('pkg', 'pkg.sub', 'pkg.inner.leaf')",
        served=3,
    ),
}


@pytest.mark.parametrize("change", FRESHNESS.values(), ids=FRESHNESS.keys())
def test_freshness_is_as_stock_after(change: Change, tree: Tree) -> None:
    change.make(tree)
    same(tree, change.code, *change.flags, served=change.served, path=change.path)


def test_an_edit_is_seen_by_reload(tree: Tree) -> None:
    code = """
import importlib, m, os
print(m.VALUE)
with open(m.__file__, 'w') as file:
    file.write("VALUE = 'edited, then reloaded'\\n")
importlib.reload(m)
print(m.VALUE, m.function())
with open(m.__file__, 'w') as file:
    file.write("VALUE = 'first'\\ndef function():\\n    return VALUE\\n")
os.utime(m.__file__, (1, 1))
"""
    same(tree, code, served=1)  # the stock run came first, and left an old mtime


def test_a_reload_of_an_untouched_module_is_stocks(tree: Tree) -> None:
    code = """
import importlib, m
m.extra = 1
before = m.__spec__
assert importlib.reload(m) is m
print(m.VALUE, m.extra, before is m.__spec__, before == m.__spec__)
"""
    same(tree, code, served=1)


def test_code_asked_for_after_an_edit_is_the_edited(tree: Tree) -> None:
    code = """
import m
with open(m.__file__, 'w') as file:
    file.write("VALUE = 'edited later'\\n")
namespace = {}
exec(m.__loader__.get_code('m'), namespace)
print(namespace['VALUE'], m.__loader__.get_source('m'))
"""
    ours = tree.run(code)
    assert ours.output == "edited later VALUE = 'edited later'\n"
    assert ours.served == 1


# -- precedence


def link(tree: Tree) -> None:
    (tree.root / "link").symlink_to(tree.lib)


def zip_m(tree: Tree) -> None:
    with zipfile.ZipFile(tree.root / "shadow.zip", "w") as archive:
        archive.writestr("m.py", "VALUE = 'zipped'\n")


def shadow(tree: Tree, name: str = "m.py", text: str = "VALUE = 'shadow'\n") -> None:
    tree.write({name: text}, tree.other)


def shadow_by_bytecode(tree: Tree) -> None:
    shadow(tree)
    py_compile.compile(str(tree.other / "m.py"), cfile=str(tree.other / "m.pyc"), doraise=True)
    (tree.other / "m.py").unlink()


INSERT_OTHER = "sys.path.insert(0, 'other')\n"

PRECEDENCE = {
    "a module earlier on the path": Change(shadow, code=INSERT_OTHER + ALL, served=5),
    "a package earlier on the path": Change(
        lambda t: shadow(t, "m/__init__.py"), code=INSERT_OTHER + M
    ),
    "a bare .pyc earlier on the path": Change(shadow_by_bytecode, code=INSERT_OTHER + M),
    "a folder without __init__ earlier on the path": Change(
        lambda t: (t.other / "m").mkdir(), code=INSERT_OTHER + M
    ),
    "a zip earlier on the path": Change(
        zip_m, code="sys.path.insert(0, 'shadow.zip')\n" + ALL, served=5
    ),
    "a zip that has nothing of it": Change(
        zip_m, code="sys.path.insert(0, 'shadow.zip')\nimport pkg\nprint(pkg)", served=1
    ),
    "an empty folder earlier on the path": Change(
        lambda _: None, code=INSERT_OTHER + ALL, served=6
    ),
    "a folder that does not exist earlier on the path": Change(
        lambda _: None, code="sys.path.insert(0, 'absent')\n" + ALL, served=6
    ),
    "a module later on the path": Change(shadow, code="sys.path.append('other')\n" + M, served=1),
    "an insert into the path between two imports": Change(
        shadow, code="import pkg\n" + INSERT_OTHER + M, served=1
    ),
    "a shadow written between two imports": Change(
        lambda _: None,
        code=INSERT_OTHER
        + "import pkg, time\ntime.sleep(0.02)\nopen('other/m.py', 'w').write('VALUE = 2')\n"
        + M
        + "\nimport os\nos.unlink('other/m.py')",
        served=1,
    ),
    "a symlinked entry": Change(link, path="link", code=ALL, served=6),
    "a symlinked entry and the folder itself": Change(
        link, code="sys.path.insert(0, 'link')\n" + ALL, served=6
    ),
    "an unnormalised entry": Change(lambda _: None, path="other/../lib", code=ALL, served=6),
    "an entry with a slash at its end": Change(lambda _: None, path="lib/", code=ALL, served=6),
    "a relative entry": Change(lambda _: None, path="lib", code=ALL, served=6),
    "the current folder": Change(
        lambda _: None,
        path="other",
        code="import os; os.chdir('lib')\nsys.path.insert(0, '')\n" + ALL,
        served=6,
    ),
    "a change of the current folder": Change(
        lambda t: rewrite(t.other / "pkg/__init__.py", "VALUE = 'elsewhere'\n"),
        path="absent",
        code="import os; os.chdir('lib')\nsys.path.insert(0, '')\nimport m\n"
        "os.chdir('../other')\n" + SHOW + "show('m', 'pkg', 'pkg.sub')",
        served=1,
    ),
    "an emptied path": Change(lambda _: None, code="sys.path[:] = []\n" + M),
    "entries that are not strings": Change(
        lambda _: None, code="sys.path[:0] = [None, 3, b'lib']\n" + M, served=1
    ),
    "a path hook that has its own loader": Change(
        lambda _: None,
        code="""
from importlib.machinery import FileFinder, SourceFileLoader
class Loader(SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        module.VALUE = 'hooked ' + module.VALUE
sys.path_hooks.insert(0, FileFinder.path_hook((Loader, ['.py'])))
sys.path_importer_cache.clear()
"""
        + SHOW
        + "show('m', 'pkg', 'pkg.sub')",
    ),
    "a finder put into the cache for one folder": Change(
        lambda _: None,
        code="""
import os
class Nothing:
    def find_spec(self, name, target=None):
        return None
sys.path_importer_cache[os.path.abspath('lib')] = Nothing()
sys.path_importer_cache[os.path.abspath('lib/pkg')] = Nothing()
"""
        + SHOW
        + "show('m', 'pkg')",
    ),
    "a __path__ that was put before": Change(
        lambda t: shadow(t, "sub.py"),
        code="import pkg\npkg.__path__.insert(0, 'other')\n"
        + SHOW
        + "show('pkg.sub', 'pkg.inner')",
        served=2,
    ),
    "a __path__ that was appended to": Change(
        lambda t: shadow(t, "extra.py"),
        code="import pkg\npkg.__path__.append('other')\n" + SHOW + "show('pkg.sub', 'pkg.extra')",
        served=2,
    ),
    "a __path__ that was emptied": Change(
        lambda _: None,
        code="import pkg\npkg.__path__[:] = []\n" + SHOW + "show('pkg.sub')",
        served=1,
    ),
    "a namespace package of two portions": Change(
        lambda t: shadow(t, "space/second.py"),
        code=INSERT_OTHER + SHOW + "show('space.portion', 'space.second')",
        served=1,
    ),
    "a portion of a namespace that has the same module": Change(
        lambda t: shadow(t, "space/portion.py"),
        code=INSERT_OTHER + SHOW + "show('space.portion')",
    ),
    "a name in sys.modules that is None": Change(
        lambda _: None, code="sys.modules['m'] = None\nimport m"
    ),
    "PathFinder taken away": Change(
        lambda _: None,
        code="from importlib.machinery import PathFinder\nsys.meta_path.remove(PathFinder)\n"
        "sys.meta_path.append(PathFinder)\n" + M,
        served=1,
    ),
}


@pytest.mark.parametrize("change", PRECEDENCE.values(), ids=PRECEDENCE.keys())
def test_precedence_is_as_stock_with(change: Change, tree: Tree) -> None:
    change.make(tree)
    same(tree, change.code, served=change.served, path=change.path)


def test_a_script_beside_a_module_of_the_same_name_wins(tree: Tree, python: Python) -> None:
    tree.write({"script.py": "import m; print(m.VALUE)", "m.py": "VALUE = 'beside'"}, tree.other)
    prelude = (
        f"import sys; sys.path.append({str(tree.lib)!r}); import frozenfinder\n"
        f"frozenfinder.install({str(tree.registry)!r})\n"
    )
    script = tree.other / "script.py"
    script.write_text(prelude + script.read_text())
    assert python(script).stdout == "beside\n"


# -- other interpreters and flags


@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_code_of_another_optimisation_level_is_not_served(tree: Tree, flag: str) -> None:
    stock = tree.run(M, flag, stock=True)
    ours = tree.run(M, flag)
    assert (ours.output, ours.status, ours.served) == (stock.output, 0, 0)
    level = len(flag) - 1
    assert f"was frozen for optimisation level 0, this interpreter has {level}" in ours.error
    assert ours.error.count("Warning") == 1


@pytest.mark.parametrize("level", [1, 2])
def test_code_frozen_for_the_optimisation_level_is_served(tree: Tree, level: int) -> None:
    tree.freeze("-O", str(level))
    same(tree, ALL, "-" + "O" * level, served=6)


@pytest.mark.parametrize(
    "flags",
    [("-S",), ("-B",), ("-P",), ("-X", "frozen_modules=off"), ("-X", "utf8"), ("-W", "error")],
    ids=" ".join,
)
def test_interpreter_flags_make_no_difference(tree: Tree, flags: tuple[str, ...]) -> None:
    if "-S" in flags:
        pytest.importorskip("frozenfinder")
        import frozenfinder

        home = str(Path(frozenfinder.__file__).parents[1])
        code = f"import sys\nsys.path.append({home!r})\n"
        done = tree.python(
            "-S",
            "-c",
            code
            + f"import frozenfinder\nfinder = frozenfinder.install({str(tree.registry)!r})\n"
            + f"sys.path.insert(0, {str(tree.lib)!r})\nimport m\nprint(m.VALUE, finder.served)",
        )
        assert done.stdout == "first 1\n"
        return
    same(tree, ALL, *flags, served=6)


def test_a_pycache_prefix_shows_in_cached(tree: Tree) -> None:
    same(tree, ALL, "-X", f"pycache_prefix={tree.lib.parent / 'prefix'}", served=6)


# -- errors read as stock


ERRORS = {
    "an exception in a body": ("import broken", 1),
    "a circular import": ("import circular_a", 1),
    "a missing module": ("import pkg.missing", 1),
    "a missing name": ("from pkg import missing", 1),
    "a parent that is no package": ("import m.child", 1),
    "a name with a surrogate": ("__import__('m\\udcff')", 0),
    "a name with NUL": ("__import__('m\\0')", 0),
    "an empty name": ("__import__('')", 0),
    "a name with dots": ("__import__('..m')", 0),
    "a name over the limit of file names": ("__import__('m' * 300)", 0),
    "another case": ("import M", 0),
    "a compatibility form of the name": ("import importlib; importlib.import_module('ｍ')", 0),
}


@pytest.mark.parametrize(("code", "served"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_read_as_stock_for(code: str, served: int, tree: Tree) -> None:
    stock, ours = tree.run(code, stock=True), tree.run(code)
    assert ours.error == stock.error
    assert "frozenfinder" not in ours.error
    assert ours.status == 1
    assert ours.served >= served


def test_children_of_a_module_whose_body_raised_stay(tree: Tree) -> None:
    code = """
try:
    import broken
except RuntimeError as error:
    import traceback
    traceback.print_exc(file=sys.stdout)
print('broken' in sys.modules, 'm' in sys.modules)
"""
    same(tree, code, served=2)


def test_a_body_that_replaces_itself_in_sys_modules(tree: Tree) -> None:
    tree.write({"replaced.py": "import sys\nsys.modules[__name__] = 'something else'\n"})
    tree.write({"deleted.py": "import sys\ndel sys.modules[__name__]\n"})
    tree.freeze()
    code = """
import replaced
print(replaced)
try:
    import deleted
except KeyError as error:
    print(repr(error))
"""
    same(tree, code, served=2)


def test_a_warning_with_a_stack_level_names_the_importer(tree: Tree) -> None:
    tree.write({"warned.py": "import warnings\nwarnings.warn('told', stacklevel=2)\n"})
    tree.freeze()
    same(tree, "import warned", "-W", "always", served=1)


# -- the loader's contract


def test_loader_and_spec_pickle_and_compare_as_stock(tree: Tree) -> None:
    code = """
import pickle, importlib.util, importlib.machinery
spec = importlib.util.find_spec('m')
again = pickle.loads(pickle.dumps(spec))
loader = spec.loader
print(again == spec, again.loader == loader, hash(again.loader) == hash(loader))
print(isinstance(loader, importlib.machinery.SourceFileLoader), loader.__dict__)
print('m' in sys.modules)
namespace = {}
exec(again.loader.get_code('m'), namespace)
print(namespace['VALUE'])
module = importlib.util.module_from_spec(again)
again.loader.exec_module(module)
print(module.VALUE, loader.is_package('m'), loader.get_filename('m'), loader.get_source('m'))
print(loader.path_stats(loader.path)['size'], loader.get_data(loader.path))
try:
    loader.get_code('other')
except ImportError as error:
    print(error, error.name)
"""
    same(tree, code, served=0)


def test_the_compiler_warns_no_more_than_with_a_valid_pyc(tree: Tree) -> None:
    tree.write({"warned.py": "VALUE = 1 is 1\n"})
    tree.freeze()
    code = "import warned; print(warned.VALUE)"
    assert "SyntaxWarning" in tree.run(code, stock=True).error
    same(tree, code, "-W", "error", served=1)


def test_the_loader_of_an_executed_module_is_stocks_own(tree: Tree) -> None:
    code = """
import importlib, m
for _ in range(2):
    loader = m.__loader__
    print(type(loader), vars(loader), loader is m.__spec__.loader, loader.get_code('m').co_names)
    m = importlib.reload(m)
"""
    same(tree, code, served=1)


def test_an_overridden_source_to_code_works(tree: Tree) -> None:
    code = """
import importlib.util
spec = importlib.util.find_spec('m')
class Loader(type(spec.loader)):
    def get_code(self, fullname):
        return self.source_to_code(b"VALUE = 'overridden'", self.path)
spec.loader = Loader('m', spec.origin)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.VALUE)
"""
    same(tree, code, served=0)


def test_a_lazy_loader_executes_once(tree: Tree) -> None:
    code = """
import importlib.util
spec = importlib.util.find_spec('m')
spec.loader = importlib.util.LazyLoader(spec.loader)
module = importlib.util.module_from_spec(spec)
sys.modules['m'] = module
spec.loader.exec_module(module)
print(type(module).__name__)
print(module.VALUE, module.function())
print(type(module).__name__)
"""
    same(tree, code, served=0)


def test_uninstalling_inside_an_import_leaves_it_whole(tree: Tree) -> None:
    tree.write({"leaving.py": "import frozenfinder\nfrozenfinder.uninstall()\nimport m\n"})
    tree.freeze()
    code = SHOW + "show('leaving', 'm', 'pkg')"
    stock = tree.run(code, stock=True)
    ours = tree.run(code)
    assert (ours.output, ours.error, ours.served) == (stock.output, stock.error, 1)


def test_an_import_at_exit_makes_no_noise(tree: Tree) -> None:
    code = """
class Late:
    def __del__(self):
        try:
            import pkg.sub
        except ImportError:
            pass
late = Late()
import m
"""
    ours = tree.run(code)
    assert (ours.error, ours.status) == ("", 0)


def test_what_was_not_served_has_a_reason(tree: Tree) -> None:
    rewrite(tree.lib / "m.py", "VALUE = 'edited'\n")
    ours = tree.run("import m, pkg\nprint(*finder.bypassed.items())")
    was = len(FILES["m.py"])
    path = tree.lib / "m.py"
    assert ours.output == str(
        ("m", f"its source {str(path)!r} has 17 bytes, but was frozen with {was}")
    )


def test_debugging_prints_the_reasons(tree: Tree) -> None:
    (tree.lib / "m.py").unlink()
    done = tree.python(
        "-c",
        f"import sys; sys.path.insert(0, {str(tree.lib)!r})\nimport frozenfinder\n"
        f"frozenfinder.install({str(tree.registry)!r})\n"
        "try:\n    import m\nexcept ImportError:\n    pass",
        env={"FROZENFINDER_DEBUG": "1"},
    )
    assert done.stderr == (
        f"frozenfinder: 'm' is not served: its source {str(tree.lib / 'm.py')!r} cannot be found\n"
    )


@pytest.mark.parametrize("item", ["nul\0", "\ud800"], ids=ascii)
def test_what_cannot_be_a_path_hinders_no_import_of_what_comes_before_it(
    item: str, tree: Tree
) -> None:
    code = f"sys.path.append({item!r})\nimport m\nprint(m.VALUE, m.__file__)"
    same(tree, code, served=1)


@pytest.mark.parametrize("item", ["nul\0", "\ud800"], ids=ascii)
def test_what_cannot_be_a_path_is_left_to_stock(item: str, tree: Tree) -> None:
    code = f"""
sys.path.insert(0, {item!r})
try:
    import m
    print(m.VALUE)
except Exception as error:
    print(type(error), error)
"""
    same(tree, code, served=0)
    outcome = tree.run(code + "print(finder.bypassed['m'])")
    assert "an item before its root on the path is not a valid path: " in outcome.output


def test_a_directory_that_is_removed_supplies_nothing_any_more(tree: Tree) -> None:
    code = """
import os
os.mkdir("gone")
sys.path.insert(0, os.path.abspath("gone"))
import pkg
os.rmdir("gone")
import m
print(m.VALUE)
"""
    same(tree, code, served=2)


def test_a_current_directory_that_was_removed_is_none(tree: Tree) -> None:
    code = """
import os
os.mkdir("gone")
os.chdir("gone")
os.rmdir("../gone")
sys.path.insert(0, "")
import m
print(m.VALUE)
"""
    same(tree, code, served=1)


def test_a_get_code_that_gives_nothing_is_an_error_as_stocks(tree: Tree) -> None:
    code = """
import importlib.util
spec = importlib.util.find_spec("m")
spec.loader.get_code = lambda name: None
try:
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
except ImportError as error:
    print(error)
"""
    same(tree, code, served=0)


def test_the_finder_says_what_it_serves(tree: Tree) -> None:
    outcome = tree.run("import m; print(finder)")
    assert outcome.output == (
        f"<FrozenFinder of <Registry {str(tree.registry)!r} of 10 modules>, 1 served>"
    )


def test_without_a_cache_tag_modules_have_no_cached(tree: Tree, python: Python) -> None:
    code = """
import sys
sys.implementation.cache_tag = None
from frozenfinder import own
print(repr(own.CACHED_ENDING))
"""
    assert python("-c", code).stdout == "''\n"
