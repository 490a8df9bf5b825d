"""Packages that are laid out: their data are real files, and their modules the registry's."""

import errno
import importlib
import os
import pkgutil
import shutil
import stat
import sys
import textwrap
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Self

import pytest
from support.at_once import at_once
from support.processes import Python, RunPython
from support.trees import Files, closed, freeze_files

from frozenfinder.closed.finder import ClosedFinder
from frozenfinder.closed.paths import FrozenPath
from frozenfinder.native.data import COMPLETE, DataCache
from frozenfinder.native.folder import TEMPORARY, Lock

FILES: Files = {
    "parcel/__init__.py": "import os\nHERE = os.path.dirname(__file__)\n",
    "parcel/module.py": "VALUE = 1\n",
    "parcel/inner/__init__.py": "",
    "parcel/data/a.txt": "a",
    "parcel/data/deep/b.bin": bytes(1000),
    "other/__init__.py": "",
    "single.py": "",
}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "cache"
    monkeypatch.setenv("FROZENFINDER_CACHE", str(directory))
    return directory


@pytest.fixture
def finder() -> Iterator[ClosedFinder]:
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        yield finder


def list_names(folder: Path) -> list[str]:
    """What lies in the folder of a registry, but for the list of what is complete."""
    return sorted(each.name for each in folder.iterdir() if each.name != COMPLETE)


def test_data_is_opened_by_path(finder: ClosedFinder, directory: Path) -> None:
    parcel = importlib.import_module("parcel")
    home = Path(parcel.HERE)
    assert home == directory / "data" / finder.registry.fingerprint / "parcel"
    assert (home / "data/a.txt").read_text() == "a"
    assert (home / "data/deep/b.bin").read_bytes() == bytes(1000)
    assert (home / "module.py").read_text() == "VALUE = 1\n"


def test_modules_are_served_by_the_registry(finder: ClosedFinder) -> None:
    parcel = importlib.import_module("parcel")
    Path(parcel.HERE, "module.py").write_text("VALUE = 'from disk'\n")
    Path(parcel.HERE, "absent.py").write_text("")
    assert importlib.import_module("parcel.module").VALUE == 1
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'parcel.absent'$"):
        importlib.import_module("parcel.absent")
    modules = pkgutil.iter_modules(parcel.__path__, "parcel.")
    assert [(each.name, each.ispkg) for each in modules] == [
        ("parcel.inner", True),
        ("parcel.module", False),
    ]


def test_paths_are_real_ones(finder: ClosedFinder) -> None:
    parcel = importlib.import_module("parcel")
    file = files("parcel").joinpath("data/a.txt")
    assert Path(str(file)).read_text() == file.read_text(encoding="utf-8") == "a"
    assert pkgutil.get_data("parcel", "data/a.txt") == b"a"
    assert parcel.__path__ == [parcel.HERE]


def test_other_packages_stay_virtual(finder: ClosedFinder) -> None:
    other, single = map(importlib.import_module, ("other", "single"))
    assert other.__file__ == finder.locate("other/__init__.py")
    assert (other.__file__ or "").startswith(finder.root)
    assert single.__file__ == f"{finder.root}{os.sep}single.py"


def test_what_was_laid_out_before_is_used_again(finder: ClosedFinder, directory: Path) -> None:
    file = Path(finder.locate("parcel/data/a.txt"))
    before = file.stat()
    with closed(FILES) as again:
        again.lay_out("parcel")
        assert again.locate("parcel/data/a.txt") == str(file)
    assert file.stat() == before
    with closed({**FILES, "parcel/data/a.txt": "changed"}) as changed:
        changed.lay_out("parcel")
        assert Path(changed.locate("parcel/data/a.txt")).read_text() == "changed"
    assert len(list((directory / "data").iterdir())) == 2


def test_only_the_user_gets_in(finder: ClosedFinder, directory: Path) -> None:
    for folder in (directory, *directory.rglob("*/")):
        if folder.is_dir():
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_a_killed_process_left_is_removed(directory: Path) -> None:
    with closed(FILES) as finder:
        left = directory / "data" / finder.registry.fingerprint / "parcel.0123.1.tmp"
        left.mkdir(parents=True, mode=0o700)
        for folder in (directory, left.parent.parent, left.parent):
            folder.chmod(0o700)
        finder.lay_out("parcel")
        assert list_names(left.parent) == ["parcel"]


@pytest.mark.parametrize("name", ["absent", "single", "parcel/data", "parcel.inner", ""])
def test_what_is_no_top_level_package_is_refused(name: str) -> None:
    with closed(FILES) as finder:
        with pytest.raises(ValueError, match="has no top-level package") as caught:
            finder.lay_out(name)
        assert str(caught.value) == (
            f"registry {finder.root!r} has no top-level package {name!r} to lay out"
        )


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="others' rights are POSIX'")
def test_a_cache_that_others_can_write_to_is_not_used(directory: Path, python: Python) -> None:
    directory.mkdir(mode=0o700)
    directory.chmod(0o777)
    registry = directory.with_name("parcel.frz")
    registry.write_bytes(freeze_files(FILES))
    code = """
import os, sys, frozenfinder
finder = frozenfinder.install(sys.argv[1], mode='closed')
finder.lay_out('parcel', 'other')
import parcel
print(open(os.path.join(parcel.HERE, 'data', 'a.txt')).read(), parcel.HERE)
"""
    done = python("-c", code, registry, env={"FROZENFINDER_CACHE": str(directory)})
    content, home = done.stdout.split()
    assert content == "a"
    assert not home.startswith(str(directory))
    assert not Path(home).exists()
    assert list(directory.iterdir()) == []


def test_processes_that_start_at_once_all_succeed(
    directory: Path, run_python: RunPython, tmp_path: Path
) -> None:
    registry = tmp_path / "parcel.frz"
    registry.write_bytes(freeze_files(FILES))
    code = textwrap.dedent("""
        import subprocess, sys
        child = '''
        import sys, frozenfinder
        finder = frozenfinder.install(sys.argv[1], mode="closed")
        sys.stdin.read()
        finder.lay_out("parcel")
        import parcel
        print(len(open(parcel.HERE + "/data/deep/b.bin", "rb").read()))
        '''.replace("\\n        ", "\\n")
        pipe = subprocess.PIPE
        children = [
            subprocess.Popen([sys.executable, "-c", child, sys.argv[1]], stdin=pipe, stdout=pipe)
            for _ in range(8)
        ]
        for each in children:
            each.stdin.close()
        print(*[int(each.stdout.read()) for each in children], *[each.wait() for each in children])
    """)
    done = run_python(code, registry, env={"FROZENFINDER_CACHE": str(directory)})
    assert done.stdout.split() == ["1000"] * 8 + ["0"] * 8
    (folder,) = (directory / "data").iterdir()
    assert list_names(folder) == ["parcel"]


def test_uninstalling_forgets_the_directories(directory: Path) -> None:
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        parcel = importlib.import_module("parcel")
        importlib.import_module("parcel.module")
        list(pkgutil.iter_modules(parcel.__path__))
        assert parcel.HERE in sys.path_importer_cache
    assert parcel.HERE not in sys.path_importer_cache


def test_a_process_that_was_slower_takes_what_is_there(directory: Path) -> None:
    with closed(FILES) as finder:
        fingerprint = finder.registry.fingerprint

        class Slow(FrozenPath):
            def iterdir(self) -> Iterator[FrozenPath]:
                DataCache(fingerprint).provide(finder.find_path("parcel"))
                return super().iterdir()

        folder = DataCache(fingerprint).provide(Slow(finder, "parcel"))
        assert folder == str(directory / "data" / fingerprint)
        assert list_names(Path(folder)) == ["parcel"]


def test_where_there_is_no_directory_a_temporary_one_does(directory: Path) -> None:
    directory.write_text("in the way")
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        parcel = importlib.import_module("parcel")
        assert Path(parcel.HERE, "data/a.txt").read_text() == "a"
        assert directory not in Path(parcel.HERE).parents


def test_a_link_in_the_place_of_the_package_is_not_followed(directory: Path) -> None:
    with closed(FILES) as finder:
        folder = directory / "data" / finder.registry.fingerprint
        folder.mkdir(parents=True)
        for each in (directory, folder.parent, folder):
            each.chmod(0o700)
        (folder / "parcel").symlink_to("nowhere")
        finder.lay_out("parcel")
        assert not finder.locate("parcel").startswith(str(directory))
        assert Path(finder.locate("parcel/data/a.txt")).read_text() == "a"


def test_without_a_home_a_temporary_directory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FROZENFINDER_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "nowhere")
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        assert Path(finder.locate("parcel/data/a.txt")).read_text() == "a"


def test_without_locks_nobody_waits(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "lockf", raising=False)
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        assert finder.locate("parcel").startswith(str(directory))


def test_who_waited_for_another_process_takes_what_that_has_written(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed(FILES) as finder:
        package = finder.find_path("parcel")
        fingerprint = finder.registry.fingerprint

        class Late(Lock):
            def __enter__(self) -> Self:
                monkeypatch.setattr("frozenfinder.native.folder.Lock", Lock)
                DataCache(fingerprint).provide(package)
                return super().__enter__()

        monkeypatch.setattr("frozenfinder.native.folder.Lock", Late)
        folder = DataCache(fingerprint).provide(package)
        assert folder == str(directory / "data" / fingerprint)
        assert list_names(Path(folder)) == ["parcel"]


def test_a_folder_that_cannot_be_put_in_place_leaves_nothing_behind(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        assert not finder.locate("parcel").startswith(str(directory))
        assert list((directory / "data" / finder.registry.fingerprint).iterdir()) == []


def test_a_process_that_is_too_late_to_put_its_folder_in_place_takes_what_is_there(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lock another process may be faster by a hair."""
    with closed(FILES) as finder:
        package = finder.find_path("parcel")
        cache = DataCache(finder.registry.fingerprint)
        rename = os.rename

        def be_late(source: str, target: str) -> None:
            monkeypatch.setattr(os, "rename", rename)
            cache.provide(package)
            rename(source, target)

        monkeypatch.setattr(os, "rename", be_late)
        folder = Path(cache.provide(package))
        assert folder.parent == directory / "data"
        assert list_names(folder) == ["parcel"]


def test_packages_of_one_registry_lie_side_by_side(directory: Path) -> None:
    with closed(FILES) as finder:
        finder.lay_out("parcel", "other")
        folder = directory / "data" / finder.registry.fingerprint
        assert list_names(folder) == ["other", "parcel"]


# -- threads


MANY: Files = {
    f"{package}/{name}": content
    for package, count in (("big", 200), ("small", 2), ("tiny", 1))
    for name, content in {
        "__init__.py": "",
        **{f"data/{at}.txt": str(at) for at in range(count)},
    }.items()
}


def list_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_threads_lay_packages_out_at_once_and_none_is_lost(directory: Path) -> None:
    for _ in range(10):
        with closed(MANY) as finder:
            at_once(finder.lay_out, ("big", "small", "tiny"))
            for package in ("big", "small", "tiny"):
                home = Path(finder.locate(package))
                assert home.parent.parent == directory / "data"
                assert [f"{package}/{name}" for name in list_files(home)] == sorted(
                    path for path in MANY if path.startswith(f"{package}/")
                )
            assert list_names(home.parent) == ["big", "small", "tiny"]
        shutil.rmtree(directory)


def test_threads_lay_the_same_package_out_at_once(directory: Path) -> None:
    with closed(MANY) as finder:
        at_once(lambda _: finder.lay_out("big"), range(4))
        home = Path(finder.locate("big"))
        assert [f"big/{name}" for name in list_files(home)] == sorted(
            path for path in MANY if path.startswith("big/")
        )
        assert list_names(home.parent) == ["big"]


def test_paths_are_found_while_threads_lay_packages_out(directory: Path) -> None:
    packages = [f"p{at}" for at in range(30)]
    with closed({f"{package}/__init__.py": "" for package in packages}) as finder:

        def work(package: str) -> None:
            finder.lay_out(package)
            for _ in range(50):
                assert finder.relative("/nowhere") is None

        at_once(work, packages)
        assert set(finder._laid_out) == set(packages)


# -- folders that are not complete


def test_a_folder_that_is_not_complete_is_replaced(directory: Path) -> None:
    """As threads of an older release have left it."""
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        home = Path(finder.locate("parcel"))
    (home.parent / COMPLETE).unlink()
    (home / "data/deep/b.bin").unlink()
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        assert finder.locate("parcel") == str(home)
        assert (home / "data/deep/b.bin").read_bytes() == bytes(1000)
        assert list_names(home.parent) == ["parcel"]


@pytest.mark.parametrize("content", ["", "parcel 1 2\n", "cut off: {line}"])
def test_a_complete_folder_without_its_line_stays_as_it_is(directory: Path, content: str) -> None:
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        home = Path(finder.locate("parcel"))
    listed = home.parent / COMPLETE
    line = listed.read_text().removesuffix("\n")
    listed.write_text(content.format(line=line))
    before = home.stat().st_ino
    with closed(FILES) as finder:
        finder.lay_out("parcel")
        assert finder.locate("parcel") == str(home)
    assert home.stat().st_ino == before


def test_a_folder_that_is_listed_is_not_compared_again(finder: ClosedFinder) -> None:
    class Opaque(FrozenPath):
        def iterdir(self) -> Iterator[FrozenPath]:
            raise AssertionError("it was compared")

    home = Path(finder.locate("parcel"))
    folder = DataCache(finder.registry.fingerprint).provide(Opaque(finder, "parcel"))
    assert folder == str(home.parent)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="others' rights are POSIX'")
def test_a_list_that_others_can_write_to_counts_for_nothing(
    finder: ClosedFinder, directory: Path
) -> None:
    home = Path(finder.locate("parcel"))
    (home.parent / COMPLETE).chmod(0o622)
    (home / "data/a.txt").unlink()
    with closed(FILES) as again:
        again.lay_out("parcel")
        assert (home / "data/a.txt").read_text() == "a"


def test_without_space_for_the_list_the_folder_is_used(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with closed(FILES) as finder, monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        finder.lay_out("parcel")
        home = Path(finder.locate("parcel"))
        assert home.parent.parent == directory / "data"
        assert (home.parent / COMPLETE).read_text() == ""


@pytest.mark.parametrize("times", [1, 3])
def test_a_package_whose_unfinished_folder_another_process_removes_is_written_again(
    directory: Path, times: int
) -> None:
    """Without a lock it may take it for a dead process's."""
    with closed(FILES) as finder:
        fingerprint = finder.registry.fingerprint
        left = ["once"] * times

        class Robbed(FrozenPath):
            def iterdir(self) -> Iterator[FrozenPath]:
                for folder in (directory / "data" / fingerprint).glob(f"parcel.*{TEMPORARY}"):
                    if left and left.pop():
                        folder.rename(folder.with_name("removed.0123.1.tmp"))
                return super().iterdir()

        folder = Path(DataCache(fingerprint).provide(Robbed(finder, "parcel")))
        assert (folder / "parcel/data/deep/b.bin").read_bytes() == bytes(1000)
        assert (folder.parent == directory / "data") == (times == 1)


# -- temporary directories


IN_CHILDREN = """
import multiprocessing, os, sys, frozenfinder
finder = frozenfinder.install(sys.argv[1], mode="closed")

def show(path):
    print(path, flush=True)

def lay_out():
    show(os.path.exists(parcel))
    finder.lay_out("other")
    show(os.path.dirname(finder.locate("other")))

def fork():
    child = os.fork()
    if not child:
        lay_out()
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0

def start():
    child = multiprocessing.get_context("fork").Process(target=lay_out)
    child.start()
    child.join()
    assert child.exitcode == 0

finder.lay_out("parcel")
parcel = finder.locate("parcel")
show(os.path.dirname(parcel))
{"fork": fork, "multiprocessing": start}[sys.argv[2]]()
show(os.path.exists(parcel))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("way", ["fork", "multiprocessing"])
def test_a_temporary_directory_goes_with_the_process_that_made_it(
    tmp_path: Path, run_python: RunPython, way: str
) -> None:
    registry = tmp_path / "parcel.frz"
    registry.write_bytes(freeze_files(FILES))
    done = run_python(IN_CHILDREN, registry, way, env={"FROZENFINDER_CACHE": "/dev/null/cache"})
    own, inherited, children, after = done.stdout.split()
    assert (inherited, after) == ("True", "True")
    assert own != children
    assert not Path(own).exists()
    assert not Path(children).exists()


NOT_IMPORTED = """
import os, sys, frozenfinder
finder = frozenfinder.install(sys.argv[1], mode="closed")
finder.lay_out("parcel")
child = os.fork()
if not child:
    sys.exit()
os.waitpid(child, 0)
print(os.path.exists(finder.locate("parcel")), os.path.dirname(finder.locate("parcel")))
print("multiprocessing" in sys.modules)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_temporary_directory_survives_the_end_of_a_fork(
    tmp_path: Path, run_python: RunPython
) -> None:
    registry = tmp_path / "parcel.frz"
    registry.write_bytes(freeze_files(FILES))
    done = run_python(NOT_IMPORTED, registry, env={"FROZENFINDER_CACHE": "/dev/null/cache"})
    exists, home, imported = done.stdout.split()
    assert (exists, imported) == ("True", "False")
    assert not Path(home).exists()
