"""Closed mode: the registry is all there is; the sources are moved away before anything runs."""

import importlib
import linecache
import os
import pickle
import pkgutil
import runpy
import sys
import time
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from support.at_once import at_once
from support.overlays import FILES, Outcome, Tree
from support.processes import Python
from support.trees import Files, closed, freeze_files

import frozenfinder
from frozenfinder.closed.finder import ClosedFinder, PathEntry
from frozenfinder.closed.loader import ClosedLoader
from frozenfinder.closed.paths import FileTree
from frozenfinder.native.extraction import Extractor
from frozenfinder.runtime.registry import Registry

SOURCES = {
    **FILES,
    "pkg/data.txt": "data\n",
    "latin.py": "# -*- coding: latin-1 -*-\nVALUE = 'caf\xe9'\n",
    "traced.py": "def fail():\n    raise ValueError('from the registry')\n",
}


@pytest.fixture
def tree(tmp_path: Path, python: Python) -> Tree:
    tree = Tree(tmp_path, python)
    tree.write({name: text for name, text in SOURCES.items() if name != "latin.py"})
    (tree.lib / "latin.py").write_bytes(SOURCES["latin.py"].encode("latin-1"))
    tree.other.mkdir()
    return tree


@pytest.fixture
def frozen(tree: Tree) -> Tree:
    tree.freeze("--with-source")
    tree.lib.rename(tree.root / "moved away")
    return tree


def run(tree: Tree, code: str, *flags: str, path: str = "other", check: bool = True) -> Outcome:
    outcome = tree.run(code, *flags, path=path, mode="closed")
    assert not check or outcome.status == 0, outcome.error
    return outcome


def test_modules_and_packages_are_served_without_their_sources(frozen: Tree) -> None:
    outcome = run(frozen, "import pkg.inner.leaf, m; print(pkg.inner.leaf.VALUE, m.function())")
    assert (outcome.output, outcome.served) == ("submodule first", 5)


def test_files_are_virtual_paths_below_the_registry(frozen: Tree) -> None:
    code = """
import m, pkg.sub, pkg.inner
for module in m, pkg, pkg.sub, pkg.inner:
    spec = module.__spec__
    assert module.__file__ == spec.origin == spec.loader.path == spec.loader.get_filename()
    print(module.__file__, list(getattr(module, '__path__', [])), module.__package__)
assert m.function.__code__.co_filename == m.__file__
"""
    root = str(frozen.registry)
    assert run(frozen, code).output.splitlines() == [
        f"{root}/m.py [] ",
        f"{root}/pkg/__init__.py ['{root}/pkg'] pkg",
        f"{root}/pkg/sub.py [] pkg",
        f"{root}/pkg/inner/__init__.py ['{root}/pkg/inner'] pkg.inner",
    ]


@pytest.mark.parametrize("flags", [(), ("-X", "pycache_prefix=/cache")], ids=["beside", "prefix"])
def test_cached_is_what_importlib_computes(frozen: Tree, flags: tuple[str, ...]) -> None:
    code = """
import importlib.util, m, pkg.inner
for module in m, pkg, pkg.inner:
    expected = importlib.util.cache_from_source(module.__file__)
    assert module.__spec__.cached == expected, (module.__spec__.cached, expected)
    assert getattr(module, "__cached__", expected) == expected
    print(expected.startswith("/cache"))
"""
    assert run(frozen, code, *flags).output.split() == [str(bool(flags))] * 3


def test_source_is_shown_where_it_was_embedded(frozen: Tree) -> None:
    code = """
import inspect, latin, m, traceback, traced
print(inspect.getsource(m.function), end='')
print(latin.VALUE, latin.__loader__.get_source('latin').splitlines()[-1])
try:
    traced.fail()
except ValueError:
    print(traceback.format_exc().splitlines()[-2].strip())
"""
    assert run(frozen, code, "-X", "utf8").output.splitlines() == [
        "def function():",
        "    return VALUE",
        "caf\xe9 VALUE = 'caf\xe9'",
        "raise ValueError('from the registry')",
    ]


def test_source_that_was_not_embedded_is_an_oserror_for_inspect(tree: Tree) -> None:
    tree.freeze()
    tree.lib.rename(tree.root / "moved away")
    code = """
import inspect, m
print(m.__loader__.get_source('m'))
try:
    inspect.getsource(m.function)
except OSError as error:
    print(error)
"""
    assert run(tree, code).output == "None\ncould not get source code"


def test_a_traceback_has_no_frames_of_the_importer(frozen: Tree) -> None:
    outcome = run(frozen, "import broken", check=False)
    lines = outcome.error.splitlines()
    assert [line for line in lines if line.startswith("  File")] == [
        '  File "<string>", line 7, in <module>',
        f'  File "{frozen.registry}/broken.py", line 2, in <module>',
    ]
    assert lines[-1] == "RuntimeError: as written"


def test_what_the_registry_lacks_is_not_found(frozen: Tree) -> None:
    code = """
import importlib.util, pkg
for name in 'pkg.absent', 'pkg.inner.absent', 'absent_entirely':
    print(importlib.util.find_spec(name))
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        print(error, error.name)
"""
    assert run(frozen, code).output.splitlines() == [
        line
        for name in ("pkg.absent", "pkg.inner.absent", "absent_entirely")
        for line in ("None", f"No module named {name!r} {name}")
    ]


COUNT = """
import posix
calls = []
def counted(name):
    function = getattr(posix, name)
    def call(*arguments, **keywords):
        calls.append((name, arguments))
        return function(*arguments, **keywords)
    setattr(posix, name, call)
for name in 'stat', 'lstat', 'listdir', 'scandir', 'open', 'getcwd', 'fstat', 'readlink', 'access':
    counted(name)
"""


def test_found_and_missing_names_of_a_package_touch_no_file(frozen: Tree) -> None:
    code = (
        "import pkg\n"
        + COUNT
        + """
import pkg.sub, pkg.inner.leaf, m
for name in 'pkg.absent', 'pkg.inner.absent', 'm.absent', 'pkg.sub.absent':
    try:
        __import__(name)
    except ModuleNotFoundError:
        pass
print(calls)
"""
    )
    assert run(frozen, code).output == "[]"


def test_other_roots_still_work(frozen: Tree) -> None:
    frozen.write({"plugin.py": "VALUE = 'on disk'", "m.py": "VALUE = 'not this'"}, frozen.other)
    outcome = run(frozen, "import plugin, m; print(plugin.VALUE, m.VALUE)")
    assert (outcome.output, outcome.served) == ("on disk first", 1)


def test_a_child_on_disk_appears_in_a_frozen_package_whose_path_was_extended(frozen: Tree) -> None:
    frozen.write({"extra.py": "VALUE = 'on disk'"}, frozen.other)
    outcome = run(
        frozen, "import pkg; pkg.__path__.append('other'); import pkg.extra as e; print(e.VALUE)"
    )
    assert outcome.output == "on disk"


def test_a_namespace_merges_the_registry_and_the_disk(frozen: Tree) -> None:
    frozen.write({"space/second.py": "VALUE = 'second'"}, frozen.other)
    code = """
import space.portion, space.second
print(space.portion.VALUE, space.second.VALUE, list(space.__path__))
sys.path.append('later')
print(list(space.__path__))
"""
    frozen.write({"space/third.py": ""}, frozen.root / "later")
    outcome = run(frozen, code, path=str(frozen.other))
    both = [f"{frozen.registry}/space", f"{frozen.other}/space"]
    lines = outcome.output.splitlines()
    assert lines[0] == f"portion second {both}"
    assert lines[1] == str([*both, f"{frozen.root}/later/space"])


def test_a_namespace_of_the_registry_alone(frozen: Tree) -> None:
    outcome = run(frozen, "import space.portion; print(space.portion.VALUE, space.__file__)")
    assert outcome.output == "portion None"


def test_get_data_reads_the_registry_and_the_disk(frozen: Tree) -> None:
    (frozen.other / "file").write_text("on disk")
    code = """
import pkg, os
get = pkg.__loader__.get_data
folder = os.path.dirname(pkg.__file__)
print(get(os.path.join(folder, 'data.txt')), get(pkg.__file__), get('other/file'))
for path in os.path.join(folder, 'absent'), folder, 'absent':
    try:
        get(path)
    except OSError as error:
        print(error)
"""
    folder = f"{frozen.registry}/pkg"
    assert run(frozen, code).output.splitlines() == [
        "b'data\\n' b\"VALUE = 'package'\\n\" b'on disk'",
        f"[Errno 2] not in the registry: '{folder}/absent'",
        f"[Errno 2] not in the registry: '{folder}'",
        "[Errno 2] No such file or directory: 'absent'",
    ]


def test_the_loader_refuses_other_names(frozen: Tree) -> None:
    code = """
import m
loader = m.__loader__
for method in loader.get_code, loader.get_source, loader.get_filename, loader.is_package:
    try:
        method('pkg')
    except ImportError as error:
        print(error, error.name)
print(loader == loader.__class__('m', loader.path, None, None), loader == 1, len({loader, loader}))
"""
    assert run(frozen, code).output.splitlines() == ["loader for m cannot handle pkg pkg"] * 4 + [
        "True False 1"
    ]


def test_the_loader_pickles_where_the_registry_is_installed(frozen: Tree) -> None:
    code = """
import frozenfinder, m, pickle
data = pickle.dumps(m.__spec__)
print(pickle.loads(data) == m.__spec__)
frozenfinder.uninstall()
try:
    pickle.loads(data)
except ImportError as error:
    print(error)
"""
    assert run(frozen, code).output.splitlines() == [
        "True",
        f"no loader for 'm': registry {str(frozen.registry)!r} is not installed in this process",
    ]


def test_reload_runs_the_same_code_in_the_same_namespace(frozen: Tree) -> None:
    outcome = run(frozen, "import importlib, m; m.extra = 1; importlib.reload(m); print(m.extra)")
    assert (outcome.output, outcome.served) == ("1", 2)


def test_runpy_runs_a_frozen_module(frozen: Tree) -> None:
    outcome = run(frozen, "import runpy; print(runpy.run_module('m')['VALUE'])")
    assert outcome.output == "first"


def test_uninstalling_restores_the_hooks(frozen: Tree) -> None:
    code = """
import frozenfinder, pkg
frozenfinder.uninstall()
print(finder in sys.meta_path, finder.path_hook in sys.path_hooks)
print(pkg.__path__[0] in sys.path_importer_cache)
try:
    import pkg.sub
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(frozen, code).output.splitlines() == [
        "False False",
        "False",
        "No module named 'pkg.sub'",
    ]


def test_an_excluded_name_is_not_found(tree: Tree) -> None:
    tree.freeze("--exclude", "pkg.inner")
    outcome = run(tree, "import pkg.inner", path=str(tree.lib), check=False)
    assert outcome.error.splitlines()[-1] == "ModuleNotFoundError: No module named 'pkg.inner'"


def test_a_whole_world_looks_nowhere_else(tree: Tree) -> None:
    tree.freeze("--stdlib", "--world")
    tree.write({"plugin.py": ""}, tree.other)
    code = """
import importlib.util, m
from importlib.machinery import PathFinder
print(importlib.util.find_spec('plugin'), PathFinder in sys.meta_path)
import frozenfinder
frozenfinder.uninstall()
print(importlib.util.find_spec('plugin') is not None, sys.meta_path[-1] is PathFinder)
"""
    assert run(tree, code, path=str(tree.other)).output.splitlines() == ["None False", "True True"]


def test_a_registry_of_another_level_is_refused(frozen: Tree) -> None:
    done = frozen.python(
        "-O",
        "-c",
        f"import frozenfinder; frozenfinder.install({str(frozen.registry)!r}, mode='closed')",
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"frozenfinder.errors.RegistryVersionError: registry {str(frozen.registry)!r} was frozen "
        "for optimisation level 0, this interpreter has 1; freeze it again with "
    )


# -- the path hook, in this process


PARCEL: Files = {
    "__main__.py": "ANSWER = __name__\n",
    "parcel/__init__.py": "",
    "parcel/module.py": "VALUE = 'in the package'\n",
    "parcel/plugins/plug.py": "VALUE = 'plugged in'\n",
    "parcel/plugins/more/__init__.py": "",
    "parcel/data.txt": "data\n",
    "single.py": "def line():\n    return 2\n",
}


@pytest.fixture
def finder(tmp_path: Path) -> Iterator[ClosedFinder]:
    with closed(PARCEL, path=tmp_path / "parcel.frz") as finder:
        yield finder


def test_a_registry_on_the_path_is_searched_as_a_directory(
    finder: ClosedFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = PathFinder.find_spec("parcel", [finder.root])
    assert spec is not None
    assert spec.origin == finder.locate("parcel/__init__.py")
    assert PathFinder.find_spec("absent", [finder.root]) is None
    listed = [each.name for each in pkgutil.iter_modules([finder.root])]
    assert listed == ["__main__", "parcel", "single"]
    monkeypatch.syspath_prepend(finder.locate("parcel/plugins"))
    plug = importlib.import_module("plug")
    assert (plug.VALUE, plug.__name__) == ("plugged in", "plug")
    assert plug.__file__ == finder.locate("parcel/plugins/plug.py")
    del sys.modules["plug"]


def test_a_registry_is_run_as_a_path(finder: ClosedFinder) -> None:
    names = runpy.run_path(finder.root)
    assert (names["ANSWER"], names["__file__"]) == ("<run_path>", finder.locate("__main__.py"))


def test_path_entry_finders_are_cached_and_forgotten(finder: ClosedFinder) -> None:
    parcel = importlib.import_module("parcel")
    assert importlib.util.find_spec("parcel.absent") is None
    (folder,) = parcel.__path__
    entry = sys.path_importer_cache[folder]
    assert isinstance(entry, PathEntry)
    importlib.invalidate_caches()
    assert sys.path_importer_cache[folder] is entry
    assert repr(entry) == f"<PathEntry 'parcel' of {finder.registry!r}>"


@pytest.mark.parametrize("path", ["elsewhere", "", b"bytes", None, 3])
def test_the_path_hook_refuses_other_paths(path: object, finder: ClosedFinder) -> None:
    with pytest.raises(ImportError) as caught:
        finder.path_hook(path)
    assert str(caught.value) == f"{path!r} is not below registry {finder.root!r}"
    with pytest.raises(ImportError):
        finder.path_hook(finder.root + "x")


def test_a_path_entry_does_not_find_what_lies_elsewhere(finder: ClosedFinder) -> None:
    entry = finder.path_hook(finder.locate("parcel") + os.sep)
    assert entry.find_spec("parcel.single") is None
    assert entry.find_spec("parcel.data") is None
    assert entry.find_spec("parcel.\udcff") is None
    namespace = entry.find_spec("parcel.plugins")
    assert namespace is not None
    assert namespace.loader is None
    assert namespace.submodule_search_locations == [finder.locate("parcel/plugins")]


def test_a_submodule_of_a_package_that_was_there_before_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parcel").mkdir()
    (tmp_path / "parcel/__init__.py").write_text("")
    (tmp_path / "parcel/module.py").write_text("VALUE = 'on disk'\n")
    monkeypatch.syspath_prepend(tmp_path)
    parcel = importlib.import_module("parcel")
    with closed(PARCEL):
        assert importlib.import_module("parcel.module").VALUE == "in the package"
        assert parcel.__file__ == str(tmp_path / "parcel/__init__.py")
    del sys.modules["parcel"]


def test_a_whole_world_has_what_frozenfinder_defers(tree: Tree) -> None:
    tree.write({"data-1.dist-info/METADATA": "Name: data\nVersion: 1\n", "pkg/data.txt": "data"})
    tree.freeze("--stdlib", "--world")
    code = """
import importlib.metadata, importlib.resources
print(importlib.metadata.version("data"))
print(importlib.resources.files("pkg").joinpath("data.txt").read_text())
"""
    assert run(tree, code).output.splitlines() == ["1", "data"]


def test_a_whole_world_follows_paths_within_it_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parcel/plugins").mkdir(parents=True)
    (tmp_path / "parcel/plugins/other.py").write_text("")
    (tmp_path / "extra.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with closed(PARCEL, world=True) as finder:
        parcel = importlib.import_module("parcel")
        assert importlib.import_module("parcel.plugins.plug").VALUE == "plugged in"
        assert importlib.util.find_spec("parcel.plugins.other") is None
        parcel.__path__ = [str(tmp_path), finder.locate("parcel/plugins")]
        assert importlib.import_module("parcel.plug").VALUE == "plugged in"
        assert importlib.util.find_spec("parcel.extra") is None


def test_lines_are_shown_of_a_path_alone(finder: ClosedFinder) -> None:
    single = importlib.import_module("single")
    assert linecache.getline(str(single.__file__), 2) == "    return 2\n"


LINES = """
import sys, frozenfinder
frozenfinder.install(sys.argv[1], mode='closed')
sys.modules.pop('linecache', None)
import single
print('linecache' in sys.modules)
import linecache, parcel
print(linecache.getline(single.__file__, 2).strip())
"""


@pytest.mark.parametrize("frozen", ["on", "off"])  # 3.15 has it among its frozen modules
def test_lines_are_shown_where_linecache_comes_later(
    tmp_path: Path, python: Python, frozen: str
) -> None:
    registry = tmp_path / "parcel.frz"
    registry.write_bytes(freeze_files(PARCEL))
    told_at_once = sys.version_info >= (3, 13)  # where it is cheap
    done = python("-I", "-X", f"frozen_modules={frozen}", "-c", LINES, registry)
    assert done.stdout == f"{told_at_once}\nreturn 2\n"


LEAVING = """
import frozenfinder
frozenfinder.uninstall()
try:
    import single
except ModuleNotFoundError as error:
    print(error)
VALUE = 'whole'
"""


def test_uninstalling_inside_an_import_lets_it_end(tmp_path: Path, python: Python) -> None:
    registry = tmp_path / "parcel.frz"
    registry.write_bytes(freeze_files({**PARCEL, "leaving.py": LEAVING}))
    code = """
import sys, frozenfinder
frozenfinder.install(sys.argv[1], mode='closed')
import leaving
print(leaving.VALUE, sys.modules['leaving'] is leaving)
"""
    assert python("-c", code, registry).stdout == "No module named 'single'\nwhole True\n"


def test_a_namespace_below_a_package_whose_path_was_edited_is_found(
    tmp_path: Path, finder: ClosedFinder
) -> None:
    parcel = importlib.import_module("parcel")
    parcel.__path__.insert(0, str(tmp_path))
    plugins = importlib.import_module("parcel.plugins")
    assert list(plugins.__path__) == [finder.locate("parcel/plugins")]


def test_a_regular_package_on_the_path_wins_over_a_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space/__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with closed({"space/portion.py": ""}):
        assert importlib.import_module("space").__file__ == str(tmp_path / "space/__init__.py")


def test_a_loader_is_unpickled_past_an_overlay_of_the_same_registry(
    tmp_path: Path, finder: ClosedFinder
) -> None:
    loader = importlib.import_module("single").__loader__
    frozenfinder.uninstall(finder)
    overlay = frozenfinder.install(finder.root)
    again = frozenfinder.install(finder.registry, mode="closed")
    try:
        assert frozenfinder.installed() == [overlay, again]
        assert pickle.loads(pickle.dumps(loader)) == loader
    finally:
        frozenfinder.uninstall(overlay)
        frozenfinder.uninstall(again)


def test_the_source_of_what_runs_as_main_is_to_be_had_by_that_name(finder: ClosedFinder) -> None:
    loader = importlib.import_module("single").__loader__
    assert isinstance(loader, frozenfinder.ClosedLoader)
    assert loader.get_source("__main__") == loader.get_source("single") == PARCEL["single.py"]


# -- threads


def test_threads_have_one_extractor(finder: ClosedFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would extract the same library twice, and keep two records of it."""

    class Slow(Extractor):
        def __init__(self, registry: Registry) -> None:
            time.sleep(0.01)
            super().__init__(registry)

    monkeypatch.setattr("frozenfinder.native.extraction.Extractor", Slow)
    found = at_once(lambda _: finder.extractor, range(8))
    assert {id(each) for each in found} == {id(finder.extractor)}


def test_threads_have_one_tree_of_files(
    finder: ClosedFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(FileTree):
        def __init__(self, registry: Registry, tests: bool) -> None:
            time.sleep(0.01)
            super().__init__(registry, tests)

    monkeypatch.setattr("frozenfinder.closed.paths.FileTree", Slow)
    found = at_once(lambda _: finder.files, range(8))
    assert {id(each) for each in found} == {id(finder.files)}


def test_threads_list_the_same_modules(finder: ClosedFinder) -> None:
    expected = [("module", False)]
    found = at_once(lambda _: list(finder.iter_modules("", "parcel")), range(8))
    assert found == [expected] * 8


def test_a_source_that_another_thread_announces_first_is_no_error(finder: ClosedFinder) -> None:
    class Raced(list[ClosedLoader]):
        """One whose last item goes between the look and the `pop`."""

        def __len__(self) -> int:
            return 1

    finder._unannounced = Raced()
    assert importlib.import_module("single").line() == 2


def test_threads_announce_each_source_once(
    finder: ClosedFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[str] = []
    monkeypatch.setattr(linecache, "lazycache", lambda path, _: announced.append(path))
    loaders: list[ClosedLoader] = []
    for at in range(400):
        spec = finder.find_spec("single")
        assert spec is not None
        assert isinstance(spec.loader, ClosedLoader)
        spec.loader.path = f"/virtual/{at}"
        loaders.append(spec.loader)

    def announce(number: int) -> None:
        for loader in loaders[number::8]:
            finder.announce_source(loader)

    at_once(announce, range(8))
    finder._announce()
    assert sorted(announced) == sorted(loader.path for loader in loaders)
