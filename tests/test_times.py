"""Times of files are no order of events: whatever they say, overlay imports what stock imports."""

import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from support.overlays import FILES, Tree
from support.processes import Python
from test_overlay import ALL, SHOW, same

from frozenfinder import Registry
from frozenfinder.freezer import Manifest, Module, discover, freeze
from frozenfinder.freezer.compile.compiler import Compiler, Task
from frozenfinder.freezer.plan import Root
from frozenfinder.freezer.write.states import States
from frozenfinder.runtime.layout import FrozenEntry
from frozenfinder.runtime.system import STATE

M = SHOW + "show('m')"
NPM, ZIP = 499_162_500, 315_532_800
SAME_SIZE = FILES["m.py"].replace("first", "other")


@pytest.fixture
def tree(tmp_path: Path, python: Python) -> Tree:
    tree = Tree(tmp_path, python)
    tree.write(FILES)
    tree.other.mkdir()
    return tree


def set_times(folder: Path, seconds: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (seconds, seconds))


SECOND = 1_000_000_000


def edit(path: Path, text: str = SAME_SIZE) -> None:
    """Replace a file's content by one of the same size, and keep its time."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# -- another module beside the frozen one, and times that say that nothing was written


def add_package(tree: Tree) -> None:
    tree.write({"m/__init__.py": "VALUE = 'package beside it'\n"})


def add_initialiser(tree: Tree) -> None:
    """The folder was there at the freeze, so nothing is added to the one that it is in."""
    tree.write({"m/__init__.py": "VALUE = 'package beside it'\n"})


def add_extension(tree: Tree) -> None:
    folder = Path(sysconfig.get_config_var("DESTSHARED"))
    source = next(folder.glob("_bisect.*.so"), None) or next(folder.glob("*.so"))
    shutil.copy(source, tree.lib / f"m{EXTENSION_SUFFIXES[0]}")


def touch_registry(tree: Tree) -> None:
    os.utime(tree.registry)


def copy_registry(tree: Tree) -> None:
    copied = tree.registry.with_suffix(".copy")
    shutil.copyfile(tree.registry, copied)
    copied.replace(tree.registry)


def set_back_folders(tree: Tree) -> None:
    set_times(tree.lib, 1_000_000_000)


def pack_and_unpack(tree: Tree) -> None:
    """As a release is deployed: `tar` sets the times of folders, too."""
    set_times(tree.lib, 1_000_000_000)
    archive = tree.root / "release.tar"
    with tarfile.open(archive, "w") as packed:
        packed.add(tree.lib, "lib")
    shutil.rmtree(tree.lib)
    subprocess.run(["tar", "xf", archive, "-C", tree.root], check=True)


def copy_with_times(tree: Tree) -> None:
    set_times(tree.lib, 1_000_000_000)
    subprocess.run(["cp", "-a", tree.lib, tree.root / "copied"], check=True)
    shutil.rmtree(tree.lib)
    (tree.root / "copied").rename(tree.lib)


RIVALS = {"a package": add_package, "an extension module": add_extension}
LATER = {
    "nothing": lambda _: None,
    "the registry touched": touch_registry,
    "the registry copied": copy_registry,
    "folders with old times": set_back_folders,
    "a release unpacked": pack_and_unpack,
    "a folder copied with times": copy_with_times,
}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
@pytest.mark.parametrize("add", RIVALS.values(), ids=RIVALS)
def test_what_stands_beside_a_module_is_seen(
    tree: Tree, add: Callable[[Tree], None], later: Callable[[Tree], None]
) -> None:
    tree.freeze()
    add(tree)
    later(tree)
    same(tree, M, served=0)


def test_a_folder_that_becomes_a_package_is_seen(tree: Tree) -> None:
    (tree.lib / "m").mkdir()
    tree.freeze()
    same(tree, M, served=1)
    add_initialiser(tree)
    touch_registry(tree)
    same(tree, M, served=0)


def test_what_stood_beside_it_at_the_freeze_is_seen(tree: Tree) -> None:
    """A part of a directory was frozen, and not what stock prefers there."""
    add_package(tree)
    lib = str(tree.lib)
    plan = discover(Manifest(paths=(lib,), excludes=("m",)), [])
    (root,) = plan.roots
    module = Module("m", root, "m.py")
    freeze(type(plan)(roots=plan.roots, modules=(*plan.modules, module)), tree.registry, jobs=1)
    same(tree, M, served=0)


def test_the_modules_of_a_release_that_is_unpacked_are_served(tree: Tree) -> None:
    tree.freeze()
    pack_and_unpack(tree)
    same(tree, ALL, served=6)


# -- sources whose times alone changed


TIMES = {"another": 1_234_567_890, "none": 0, "that of zip files": ZIP, "npm's": NPM}


@pytest.mark.parametrize("seconds", TIMES.values(), ids=TIMES)
def test_modules_are_served_whatever_their_time_is_now(tree: Tree, seconds: int) -> None:
    tree.freeze()
    set_times(tree.lib, seconds)
    same(tree, ALL, served=6)
    edit(tree.lib / "m.py")
    same(tree, M, served=0)


@pytest.mark.parametrize("seconds", [0, 1, ZIP, ZIP + 86_400, NPM])
def test_a_time_that_all_files_have_is_not_trusted(tree: Tree, seconds: int) -> None:
    set_times(tree.lib, seconds)
    tree.freeze()
    same(tree, "sys.dont_write_bytecode = True\n" + ALL, served=6)
    edit(tree.lib / "m.py")
    same(tree, "sys.dont_write_bytecode = True\n" + M, served=0)


def test_the_time_of_a_reproducible_build_is_not_trusted(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    set_times(tree.lib, 1_700_000_000)
    tree.python(
        *("-m", "frozenfinder", "freeze", "--path", tree.lib, "-o", tree.registry),
        env={"SOURCE_DATE_EPOCH": "1700000000"},
    )
    entries = {each.name: each for each in Registry.open(tree.registry).entries()}
    assert (entries["m"].check, entries["m"].state) == ("content", 0)
    edit(tree.lib / "m.py")
    same(tree, "sys.dont_write_bytecode = True\n" + M, served=0)


@pytest.mark.parametrize(
    ("time_ns", "moved"),
    [(1_600_000_000 * SECOND, False), (1_600_000_000 * SECOND + 1, True)],
    ids=["in the frozen folder", "set by the kernel"],
)
def test_an_edit_that_keeps_size_and_time_is_as_little_seen_as_by_stock(
    tree: Tree, time_ns: int, moved: bool
) -> None:
    os.utime(tree.lib / "m.py", ns=(time_ns, time_ns))
    tree.python("-m", "compileall", "-q", tree.lib)
    tree.freeze()
    if moved:
        tree.write({"another.py": ""})
    edit(tree.lib / "m.py")
    same(tree, M, served=1)


def test_an_edit_that_keeps_size_and_a_time_set_by_a_tool_is_seen_in_another_folder(
    tree: Tree,
) -> None:
    os.utime(tree.lib / "m.py", (1_600_000_000, 1_600_000_000))
    tree.freeze()
    tree.write({"another.py": ""})
    edit(tree.lib / "m.py")
    same(tree, "sys.dont_write_bytecode = True\n" + M, served=0)


def edit_and_touch(path: Path) -> None:
    edit(path)
    os.utime(path, (1, 1))


REASONS = {
    "other content": (
        edit_and_touch,
        "its source {!r} has other content than when it was frozen",
    ),
    "another size": (
        lambda path: path.write_text("VALUE = 'of another size'\n"),
        "its source {!r} has 26 bytes, but was frozen with 49",
    ),
}


@pytest.mark.parametrize(("change", "reason"), REASONS.values(), ids=REASONS)
def test_the_reason_says_what_changed(
    tree: Tree, change: Callable[[Path], object], reason: str
) -> None:
    tree.freeze()
    path = tree.lib / "m.py"
    change(path)
    ours = tree.run("import m\nprint(finder.bypassed['m'])")
    assert ours.output == reason.format(str(path))


def test_a_source_that_cannot_be_read_is_left_to_stock(tree: Tree) -> None:
    tree.freeze()
    os.utime(tree.lib / "m.py", (1, 1))
    code = """
import posix
stock = posix.open
def fail(path, flags):
    posix.open = stock
    raise PermissionError(13, 'Permission denied', path)
posix.open = fail
import m
print(m.VALUE, finder.bypassed['m'])
"""
    ours = tree.run(code)
    path = str(tree.lib / "m.py")
    assert ours.output == f"first its source {path!r} cannot be read: Permission denied"


# -- hash-based `.pyc` files


MODES = {
    "checked": py_compile.PycInvalidationMode.CHECKED_HASH,
    "unchecked": py_compile.PycInvalidationMode.UNCHECKED_HASH,
}
CHECKS = ("default", "always", "never")


@dataclass(frozen=True)
class Frozen:
    """What stands in the source and in the `.pyc` when it is frozen, and in the source later."""

    pyc: str = FILES["m.py"]
    source: str = FILES["m.py"]
    later: str = FILES["m.py"]


CASES = {
    "nothing changes": Frozen(),
    "an edit after the freeze": Frozen(later=SAME_SIZE),
    "an edit before the freeze": Frozen(source=SAME_SIZE, later=SAME_SIZE),
    "an edit that is undone": Frozen(source=SAME_SIZE),
}


@pytest.mark.parametrize("after", ["kept", "touched", "its .pyc removed"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("mode", MODES)
def test_hash_based_pycs_are_honoured(tree: Tree, mode: str, case: Frozen, after: str) -> None:
    path = tree.lib / "m.py"
    path.write_text(case.pyc)
    before = path.stat()
    py_compile.compile(str(path), invalidation_mode=MODES[mode], doraise=True)
    pyc = Path(importlib.util.cache_from_source(str(path)))
    for checked_then in CHECKS:
        path.write_text(case.source)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        tree.python(
            *("--check-hash-based-pycs", checked_then, "-B", "-m", "frozenfinder", "freeze"),
            *("--path", tree.lib, "-o", tree.registry),
        )
        edit(path, case.later)
        if after != "kept":  # or else no time shows an edit to a timestamp either
            os.utime(path, (1_234_567_890, 1_234_567_890))
        content = pyc.read_bytes()
        if after == "its .pyc removed":
            pyc.unlink()
        for checked in CHECKS:
            flags = ("-B", "--check-hash-based-pycs", checked)
            stock = tree.run(M, *flags, stock=True)
            ours = tree.run(M, *flags)
            assert (ours.output, ours.error) == (stock.output, stock.error), (checked_then, checked)
            if case == Frozen():
                assert ours.served == 1
        pyc.write_bytes(content)


@pytest.mark.parametrize("after", ["kept", "touched", "its .pyc removed"])
def test_a_pyc_that_is_older_than_an_edit_in_the_same_second_is_left_to_stock(
    tree: Tree, after: str
) -> None:
    path = tree.lib / "m.py"
    py_compile.compile(str(path), doraise=True)
    edit(path)
    tree.python("-B", "-m", "frozenfinder", "freeze", "--path", tree.lib, "-o", tree.registry)
    if after == "touched":
        os.utime(path, (1_234_567_890, 1_234_567_890))
    elif after == "its .pyc removed":
        Path(importlib.util.cache_from_source(str(path))).unlink()
    same(tree, M, "-B", served=0)
    ours = tree.run("import m\nprint(finder.bypassed['m'])", "-B")
    assert ours.output == f"the .pyc file of its source {str(path)!r} was made from another source"


def test_a_pyc_of_the_same_second_is_taken_if_its_code_is_the_same(tree: Tree) -> None:
    path = tree.lib / "m.py"
    py_compile.compile(str(path), doraise=True)
    compiled = Compiler(0).compile(Task(str(path), "m.py", sourceless=False, with_source=False))
    assert (compiled.reused, compiled.check) == (True, "time")


def test_a_pyc_of_the_same_second_whose_source_does_not_compile_is_left_to_stock(
    tree: Tree,
) -> None:
    path = tree.lib / "m.py"
    py_compile.compile(str(path), doraise=True)
    edit(path, "=" * len(FILES["m.py"]))
    compiled = Compiler(0).compile(Task(str(path), "m.py", sourceless=False, with_source=False))
    assert (compiled.reused, compiled.check) == (True, "never")


def test_a_module_with_a_new_hash_based_pyc_is_not_taken_over(tree: Tree) -> None:
    tree.freeze()
    py_compile.compile(str(tree.lib / "m.py"), invalidation_mode=MODES["checked"], doraise=True)
    tree.freeze()
    entry = Registry.open(tree.registry).find_entry("m")
    assert entry is not None
    assert entry.check == "content"


# -- links and folders that are switched


def make_releases(tree: Tree) -> None:
    """Two releases that no size and no time tells apart, and a link to the first."""
    tree.write({"m.py": SAME_SIZE}, tree.root / "second")
    tree.write({name: text for name, text in FILES.items() if name != "m.py"}, tree.root / "second")
    for folder in (tree.lib, tree.root / "second"):
        set_times(folder, 1_500_000_000)
    tree.freeze()
    for folder in (tree.lib, tree.root / "second"):
        tree.python("-m", "compileall", "-q", folder)
        set_times(folder, 1_500_000_000)
    (tree.root / "link").symlink_to("lib")


SWITCH = """
import os
def switch():
    os.symlink('second', 'new')
    os.replace('new', 'link')
def unswitch():
    os.symlink('lib', 'new')
    os.replace('new', 'link')
"""


@pytest.mark.parametrize("item", ["link", "./link", "{root}/link", "{root}/link/"])
def test_a_link_that_is_switched_means_the_new_folder(tree: Tree, item: str) -> None:
    make_releases(tree)
    front = f"sys.path[0] = {item.format(root=tree.root)!r}\n"
    code = SWITCH + front + "import pkg\nswitch()\n" + M + "\nunswitch()"
    same(tree, code, served=1, path="")
    code = SWITCH + front + SHOW + "show('pkg')\nswitch()\nshow('pkg.sub', 'pkg.inner.leaf')"
    same(tree, code + "\nunswitch()", served=1, path="")


def test_a_link_on_the_way_to_a_frozen_folder_is_followed(tree: Tree) -> None:
    """The link is in the root's own spelling."""
    make_releases(tree)
    tree.python(
        *("-m", "frozenfinder", "freeze", "--path", tree.root / "link", "-o", tree.registry)
    )
    link = str(tree.root / "link")
    same(tree, M, served=1, path=link)
    (tree.root / "link").unlink()
    (tree.root / "link").symlink_to("second")
    same(tree, M, served=0, path=link)
    same(tree, SHOW + "show('pkg', 'pkg.sub')", served=2, path=link)


def test_a_folder_that_was_moved_is_found_by_another_spelling_no_more(tree: Tree) -> None:
    """The link still means the folder that was frozen; the registry's root is another one."""
    make_releases(tree)
    code = f"""
import os
sys.path[0] = {str(tree.root / "link")!r}
import pkg
os.rename('lib', 'old')
os.rename('second', 'lib')
os.symlink('old', 'new')
os.replace('new', 'link')
show('m', 'pkg.sub')
os.rename('lib', 'second')
os.rename('old', 'lib')
os.symlink('lib', 'new')
os.replace('new', 'link')
"""
    same(tree, SHOW + code, served=1, path="")


def test_a_folder_that_was_frozen_by_two_names_is_found_by_either(tree: Tree) -> None:
    (tree.root / "link").symlink_to("lib")
    tree.freeze("--path", str(tree.root / "link"))
    for path in (tree.lib, tree.root / "link"):
        same(tree, M, served=1, path=str(path))


def test_a_current_folder_that_is_replaced_is_another(tree: Tree) -> None:
    make_releases(tree)
    code = """
import os
os.chdir('lib')
sys.path[0] = ''
import pkg
os.rename('../lib', '../old')
os.rename('../second', '../lib')
show('m')
os.chdir('../lib')
show('pkg.sub', 'space.portion')
del sys.modules['m']
show('m')
os.chdir('..')
os.rename('lib', 'second')
os.rename('old', 'lib')
"""
    stock = tree.run(SHOW + code, stock=True)
    ours = tree.run(SHOW + code)
    assert (ours.output, ours.error) == (stock.output, stock.error)
    assert ours.served >= 2


# -- an environment that is copied


def copy_tree(tree: Tree, name: str, python: Python) -> Tree:
    root = tree.root.with_name(f"{tree.root.name}-{name}")
    shutil.copytree(tree.root, root, copy_function=shutil.copyfile)
    return Tree(root, python)


def test_a_copy_of_a_folder_and_its_registry_is_served(tree: Tree, python: Python) -> None:
    tree.freeze()
    copied = copy_tree(tree, "copied", python)
    shutil.rmtree(tree.root)
    same(copied, ALL, served=6)


# -- the states of folders


def make_module(folder: Path, file: str = "m.py", *, is_package: bool = False) -> Module:
    return Module("m", Root("absolute", str(folder), str(folder)), file, is_package=is_package)


def test_a_state_is_the_folders_once_it_is_settled(tree: Tree) -> None:
    state = States([]).read(make_module(tree.lib))
    assert state == getattr(tree.lib.stat(), STATE) != 0


def test_two_freezes_of_one_tree_give_the_same_bytes(tree: Tree) -> None:
    tree.freeze()
    first = tree.registry.read_bytes()
    tree.registry.unlink()
    tree.freeze()
    assert tree.registry.read_bytes() == first


@pytest.mark.parametrize("rival", ["m", f"m{EXTENSION_SUFFIXES[-1]}"])
def test_no_state_is_recorded_with_a_rival(tree: Tree, rival: str) -> None:
    (tree.lib / rival).mkdir()
    assert States([]).read(make_module(tree.lib)) == 0
    assert States([]).read(make_module(tree.lib, "broken.py")) != 0


def test_no_state_is_recorded_of_a_folder_that_will_be_written_to(tree: Tree) -> None:
    assert States([str(tree.lib)]).read(make_module(tree.lib)) == 0
    assert States([str(tree.other)]).read(make_module(tree.lib)) != 0
    output = tree.lib / "app.frz"
    for _ in range(2):
        freeze(discover(Manifest(paths=(str(tree.lib),)), []), output, jobs=1)
        entry = Registry.open(output).find_entry("m")
        assert entry is not None
        assert entry.state == 0


@pytest.mark.parametrize(
    ("state", "age", "recorded"),
    [
        (1_700_000_000_123_456_789, 10**9, True),
        (1_700_000_000_123_456_789, 10**6, False),
        (1_700_000_000_123_456_789, -1, False),
        (1_700_000_000_000_000_000, 10**10, True),
        (1_700_000_000_000_000_000, 10**9, False),
        (315_532_800_000_000_000, 10**18, False),
    ],
    ids=["settled", "just now", "the future", "whole seconds", "this second", "one for all"],
)
def test_a_state_that_another_change_might_share_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch, tree: Tree, state: int, age: int, *, recorded: bool
) -> None:
    class Status:
        st_dev = st_ino = 1

    setattr(Status, STATE, state)
    monkeypatch.setattr(os, "stat", lambda _: Status)
    monkeypatch.setattr(time, "time_ns", lambda: state + age)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert States([]).read(make_module(tree.lib)) == (state if recorded else 0)


def test_there_are_no_states_if_a_folder_to_write_to_cannot_be_looked_at(tree: Tree) -> None:
    assert States([]).read(make_module(tree.lib)) != 0
    assert States([str(tree.lib / "absent")]).read(make_module(tree.lib)) == 0


def test_a_folder_that_cannot_be_read_has_no_state(tmp_path: Path) -> None:
    assert States([]).read(make_module(tmp_path / "absent")) == 0


def test_a_folder_in_its_frozen_state_is_not_listed(tree: Tree) -> None:
    tree.freeze()
    code = """
import posix
listed = []
stock = posix.listdir
posix.listdir = lambda path: listed.append(path) or stock(path)
import m, pkg.sub
print(finder.served, listed)
"""
    assert tree.run(code).output == "3 []"
    (tree.lib / "new").mkdir()
    assert tree.run(code).output == f"3 {[str(tree.lib)]}"


def test_an_entry_without_a_state_has_its_folder_listed(tree: Tree) -> None:
    assert FrozenEntry("m").state == 0
    set_times(tree.lib, 1_700_000_000)
    tree.python(
        *("-m", "frozenfinder", "freeze", "--path", tree.lib, "-o", tree.registry),
        env={"SOURCE_DATE_EPOCH": "1800000000"},
    )
    same(tree, ALL, served=6)
    add_package(tree)
    same(tree, M, served=0)
    assert sys.platform != "win32" or STATE == "st_mtime_ns"
