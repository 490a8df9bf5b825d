"""`install` and `uninstall`: where finders stand, what is opened, what the environment says."""

import ast
import importlib
import shutil
import sys
import threading
from _imp import acquire_lock
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.layers import BUILTIN, find_boot
from support.overlays import FILES, Tree
from support.processes import Python, RunPython
from support.registries import build_registry, excluded

import frozenfinder
from frozenfinder import Mode
from frozenfinder.runtime import hooks


@pytest.fixture
def tree(tmp_path: Path, python: Python) -> Tree:
    tree = Tree(tmp_path, python)
    tree.write(FILES)
    tree.freeze()
    return tree


@pytest.fixture(autouse=True)
def nothing_stays_installed() -> Iterator[None]:
    before = list(sys.meta_path), list(sys.path_hooks)
    yield
    frozenfinder.uninstall()
    assert (sys.meta_path, sys.path_hooks) == before


def position(finder: object) -> int:
    return [type(each).__name__ for each in sys.meta_path].index(type(finder).__name__)


@pytest.mark.parametrize("mode", ["overlay", "closed"])
def test_the_finder_stands_directly_before_pathfinder(tree: Tree, mode: Mode) -> None:
    finder = frozenfinder.install(tree.registry, mode=mode)
    at = position(finder)
    assert getattr(sys.meta_path[at + 1], "__name__", "") == "PathFinder"


def test_finders_at_the_front_keep_their_precedence(run_python: RunPython, tree: Tree) -> None:
    code = """
import sys
class First:
    def find_spec(self, name, path=None, target=None):
        asked.append(name)
asked = []
sys.meta_path.insert(0, First())
import frozenfinder
finder = frozenfinder.install(sys.argv[1])
class Later(First): pass
sys.meta_path.insert(0, Later())
print([getattr(f, '__name__', type(f).__name__) for f in sys.meta_path])
sys.path.insert(0, sys.argv[2])
del asked[:]
import m
print(asked, finder.served)
"""
    names = ["Later", "First", "BuiltinImporter", "FrozenImporter", "FrozenFinder", "PathFinder"]
    done = run_python(code, tree.registry, tree.lib)
    lines = done.stdout.splitlines()
    assert lines[0].replace("'DistutilsMetaFinder', ", "") == str(names)
    assert lines[1] == "['m', 'm'] 1"


def test_installing_the_same_registry_again_gives_the_same_finder(tree: Tree) -> None:
    finder = frozenfinder.install(tree.registry)
    assert frozenfinder.install(str(tree.registry)) is finder
    assert frozenfinder.install(frozenfinder.Registry.open(tree.registry)) is finder
    assert frozenfinder.installed() == [finder]


def test_two_threads_that_install_a_registry_at_once_get_the_same_finder(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second thread is done after the first one has looked for the registry in vain."""
    faster: list[object] = []

    def install_first() -> None:
        monkeypatch.undo()
        thread = threading.Thread(target=lambda: faster.append(frozenfinder.install(tree.registry)))
        thread.start()
        thread.join()
        acquire_lock()

    monkeypatch.setattr(hooks, "acquire_lock", install_first)
    assert [frozenfinder.install(tree.registry)] == faster == frozenfinder.installed()


def test_a_registry_that_was_written_anew_is_another(tree: Tree) -> None:
    finder = frozenfinder.install(tree.registry)
    tree.write({"added.py": ""})
    tree.freeze()
    assert frozenfinder.install(tree.registry) is not finder


def test_the_same_bytes_are_the_same_registry(tree: Tree) -> None:
    data = tree.registry.read_bytes()
    assert frozenfinder.install(data) is frozenfinder.install(data)


def test_both_modes_of_a_registry_can_be_installed(tree: Tree) -> None:
    overlay = frozenfinder.install(tree.registry)
    closed = frozenfinder.install(tree.registry, mode="closed")
    assert frozenfinder.installed() == [overlay, closed]
    frozenfinder.uninstall(overlay)
    assert frozenfinder.installed() == [closed]
    frozenfinder.uninstall(overlay)
    assert frozenfinder.installed() == [closed]


def test_overlay_leaves_an_entry_that_only_closed_mode_obeys_to_the_normal_path() -> None:
    finder = frozenfinder.install(build_registry(excluded("left_out")))
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'left_out'$"):
        importlib.import_module("left_out")
    assert finder.bypassed == {"left_out": "overlay mode does not serve entries of kind 'excluded'"}


def test_an_unknown_mode_is_a_value_error(tree: Tree) -> None:
    with pytest.raises(ValueError, match=r"^mode is 'open', expected 'overlay' or 'closed'$"):
        frozenfinder.install(tree.registry, mode="open")  # type: ignore[call-overload]


def test_a_missing_registry_names_the_command_that_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "absent.frz"
    with pytest.raises(frozenfinder.RegistryNotFoundError) as caught:
        frozenfinder.install(path)
    assert str(caught.value) == (
        f"registry {str(path)!r} does not exist; check the path, or freeze one with: "
        f"{sys.executable} -m frozenfinder freeze --help"
    )
    assert caught.value.path == str(path)


def test_the_default_registry_is_below_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FROZENFINDER_REGISTRY", raising=False)
    tag = sys.implementation.cache_tag
    expected = Path(sys.prefix, "share", "frozenfinder", f"{tag}.frz")
    assert Path(frozenfinder.default_registry()) == expected
    with pytest.raises(frozenfinder.RegistryNotFoundError) as caught:
        frozenfinder.install()
    assert str(caught.value).startswith("there is no default registry ")


def test_the_default_registry_of_an_optimised_interpreter_has_its_own_name(
    run_python: RunPython, python: Python
) -> None:
    code = "import frozenfinder; print(frozenfinder.default_registry())"
    assert python("-OO", "-c", code).stdout.endswith(f"{sys.implementation.cache_tag}.opt-2.frz\n")


ENVIRONMENT = """
import sys
sys.path.insert(0, sys.argv[1])
import frozenfinder
try:
    finder = frozenfinder.install()
except frozenfinder.RegistryNotFoundError:
    print("no default registry")
else:
    import m
    print(finder.served)
"""


def test_the_environment_names_the_registry(run_python: RunPython, tree: Tree) -> None:
    env = {"FROZENFINDER_REGISTRY": str(tree.registry)}
    assert run_python(ENVIRONMENT, tree.lib, env=env).stdout == "1\n"


def test_off_installs_nothing_and_opens_nothing(run_python: RunPython, tree: Tree) -> None:
    code = """
import sys, frozenfinder
before = list(sys.meta_path)
finder = frozenfinder.install(sys.argv[1])
print(finder.served, finder.bypassed, sys.meta_path == before, frozenfinder.installed())
frozenfinder.uninstall(finder)
frozenfinder.uninstall()
"""
    env = {"FROZENFINDER": "off"}
    assert run_python(code, tree.registry, env=env).stdout == "0 {} True []\n"
    assert run_python(code, "/nonexistent", env=env).stdout == "0 {} True []\n"


@pytest.mark.parametrize("flag", ["-E", "-I"])
def test_the_environment_is_not_read_under(flag: str, python: Python, tree: Tree) -> None:
    env = {"FROZENFINDER_REGISTRY": str(tree.registry), "FROZENFINDER_DEBUG": "1"}
    assert python(flag, "-c", ENVIRONMENT, tree.lib, env=env).stdout == "no default registry\n"
    env = {"FROZENFINDER": "off"}
    code = "import frozenfinder, sys; print(frozenfinder.install(sys.argv[1]) in sys.meta_path)"
    assert python(flag, "-c", code, tree.registry, env=env).stdout == "True\n"


def test_the_environment_is_read_where_os_was_not_imported(python: Python, tree: Tree) -> None:
    home = str(Path(frozenfinder.__file__).parents[1])
    code = f"""
import sys
sys.modules.pop('os', None)
sys.path.append({home!r})
import frozenfinder
print('os' in sys.modules, frozenfinder.default_registry())
"""
    env = {"FROZENFINDER_REGISTRY": "/é/x.frz", "PYTHONUTF8": "1"}
    assert python("-S", "-c", code, env=env).stdout == "False /é/x.frz\n"


def test_a_registry_of_another_interpreter_serves_nothing_with_one_warning(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "_prepared_fork", True)
    monkeypatch.setattr("marshal.version", 99)
    registry = frozenfinder.Registry.open(tree.registry)
    monkeypatch.undo()
    with pytest.warns(RuntimeWarning) as caught:
        finder = frozenfinder.install(registry)
    assert [str(each.message).partition(";")[0] for each in caught] == [
        (
            f"frozenfinder serves nothing: registry {str(tree.registry)!r} was frozen for "
            f"marshal version {sys.modules['marshal'].version}, this interpreter has 99"
        )
    ]
    assert caught[0].filename == __file__
    assert frozenfinder.install(registry) is finder
    assert (finder.served, finder in sys.meta_path) == (0, False)


def test_a_damaged_entry_is_left_to_the_normal_path_with_one_warning(
    tree: Tree, run_python: RunPython
) -> None:
    registry = frozenfinder.Registry.open(tree.registry)
    entry = registry.find_entry("m")
    assert entry is not None
    at = registry.header.sections["blobs"][0] + entry.offset + entry.size // 2
    data = bytearray(tree.registry.read_bytes())
    data[at] ^= 1
    tree.registry.write_bytes(data)
    code = """
import sys, frozenfinder
sys.path.insert(0, sys.argv[2])
finder = frozenfinder.install(sys.argv[1])
import m, pkg
print(m.VALUE, pkg.VALUE, finder.served, list(finder.bypassed))
"""
    done = run_python(code, tree.registry, tree.lib)
    assert done.stdout == "first package 0 ['m']\n"
    assert done.stderr.count("RuntimeWarning: frozenfinder uses normal imports from now on: ") == 1


def test_a_closed_registry_that_is_damaged_is_an_error(tree: Tree, run_python: RunPython) -> None:
    registry = frozenfinder.Registry.open(tree.registry)
    entry = registry.find_entry("m")
    assert entry is not None
    offset = registry.header.sections["blobs"][0] + entry.offset
    data = bytearray(tree.registry.read_bytes())
    data[offset] ^= 1
    tree.registry.write_bytes(data)
    shutil.rmtree(tree.lib)
    code = """
import sys, frozenfinder
finder = frozenfinder.install(sys.argv[1], mode='closed')
import pkg
try:
    import m
except frozenfinder.RegistryError as error:
    print(error.name, error.path == sys.argv[1], error.offset, 'm' in sys.modules)
"""
    assert run_python(code, tree.registry).stdout == f"m True {offset} False\n"


def test_a_sys_modules_without_os_or_with_another_mapping_does_not_matter(
    tree: Tree, run_python: RunPython
) -> None:
    code = """
import sys, frozenfinder
class Modules(dict): pass
finder = frozenfinder.install(sys.argv[1])
sys.path.insert(0, sys.argv[2])
import m
print(finder.served)
"""
    assert run_python(code, tree.registry, tree.lib).stdout == "1\n"


def test_it_can_be_imported_anywhere_with_a_pycache_prefix(python: Python, tmp_path: Path) -> None:
    prefix = f"pycache_prefix={tmp_path / 'prefix'}"
    done = python("-X", prefix, "-c", "import frozenfinder", cwd=Path("/"))
    assert (done.stdout, done.stderr) == ("", "")


def test_installing_adds_no_module_but_the_run_time(python: Python, tree: Tree) -> None:
    code = """
import sys
before = set(sys.modules)
import frozenfinder
frozenfinder.install(sys.argv[1])
print(*sorted(set(sys.modules) - before))
before = set(sys.modules)
sys.path.insert(0, sys.argv[2])
import m, pkg.sub
print(*sorted(set(sys.modules) - before))
"""
    home = Path(frozenfinder.__file__).parents[1]
    isolated = f"import sys; sys.path.append({str(home)!r})" + code
    done = python("-I", "-S", "-c", isolated, tree.registry, tree.lib)
    added, imported = map(str.split, done.stdout.splitlines())
    assert "frozenfinder.runtime.hooks" in added
    assert set(added) - BUILTIN <= find_boot()
    assert set(imported) == {"gc", "m", "pkg", "pkg.sub"}  # gc is built in: see `Collector`


@pytest.mark.parametrize("mode", ["overlay", "closed"])
def test_a_finder_is_uninstalled_while_the_interpreter_ends(
    mode: str, run_python: RunPython, tree: Tree
) -> None:
    code = """
import os, sys
import frozenfinder

class Last:
    def __init__(self, finder):
        self.uninstall, self.finder = frozenfinder.uninstall, finder

    def __del__(self, sys=sys, write=os.write):
        write(1, str(sys.meta_path).encode())
        self.uninstall(self.finder)
        self.uninstall()
        write(1, b" gone")

last = Last(frozenfinder.install(sys.argv[1], mode=sys.argv[2]))
"""
    assert run_python(code, tree.registry, mode).stdout == "None gone"


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    stub = ast.parse(Path(frozenfinder.__file__).with_suffix(".pyi").read_text("utf-8"))
    seen = [
        ast.literal_eval(node.value)
        for node in stub.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    starred: dict[str, object] = {}
    exec("from frozenfinder import *", starred)
    del starred["__builtins__"]
    names = sorted(frozenfinder.__all__)
    assert [names] == seen
    assert names == sorted(starred)
    assert set(names) <= set(dir(frozenfinder))


def test_the_environment_is_read_where_os_was_taken_out_of_sys_modules(
    run_python: RunPython,
) -> None:
    code = """
import os, sys
from frozenfinder.runtime.system import environment
del sys.modules["os"]
print(environment("GIVEN"), environment("ABSENT"))
sys.modules["os"] = os
"""
    assert run_python(code, env={"GIVEN": "yes"}).stdout == "yes None\n"


def test_a_path_hook_that_the_program_took_away_is_not_missed(tree: Tree) -> None:
    finder = frozenfinder.install(tree.registry, mode="closed")
    assert isinstance(finder, frozenfinder.ClosedFinder)
    sys.path_hooks.remove(finder.path_hook)
    frozenfinder.uninstall(finder)
    assert finder not in sys.meta_path


def test_reasons_are_printed_to_stderr_where_there_is_one(
    tree: Tree, run_python: RunPython
) -> None:
    code = """
import sys, frozenfinder
finder = frozenfinder.install(sys.argv[1])
sys.path.insert(0, sys.argv[2])
import pkg
open(sys.argv[2] + "/m.py", "a").write("#")
error, sys.stderr = sys.stderr, None
import m
del sys.modules["m"]
sys.stderr = error
import m
"""
    done = run_python(code, tree.registry, tree.lib, env={"FROZENFINDER_DEBUG": "1"})
    assert done.stderr.count("frozenfinder: 'm' is not served: ") == 1


def test_asking_every_module_for_names_imports_none(tree: Tree, run_python: RunPython) -> None:
    code = """
import sys
import frozenfinder
frozenfinder.install(sys.argv[1])
for module in sys.modules.values():  # as regrtest and unittest do
    getattr(module, '__warningregistry__', None), getattr(module, 'anything', None)
print('asked')
"""
    assert run_python(code, tree.registry).stdout == "asked\n"
