"""Packages that are laid out: their data are real files, and their modules the registry's."""

import errno
import importlib
import os
import pkgutil
import stat
import sys
import textwrap
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from support.processes import Python, RunPython
from support.trees import Files, closed, freeze_files

from frozenfinder.cache import Lock
from frozenfinder.closed_finder import ClosedFinder
from frozenfinder.datacache import DataCache
from frozenfinder.paths import FrozenPath

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
        left = directory / "data" / finder.registry.fingerprint / ".unfinished-by-a-dead-process"
        left.mkdir(parents=True, mode=0o700)
        for folder in (directory, left.parent.parent, left.parent):
            folder.chmod(0o700)
        finder.lay_out("parcel")
        assert [each.name for each in left.parent.iterdir()] == ["parcel"]


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
    assert [each.name for each in folder.iterdir()] == ["parcel"]


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
        assert [each.name for each in Path(folder).iterdir()] == ["parcel"]


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
            def __enter__(self) -> bool:
                monkeypatch.setattr("frozenfinder.datacache.Lock", Lock)
                DataCache(fingerprint).provide(package)
                return super().__enter__()

        monkeypatch.setattr("frozenfinder.datacache.Lock", Late)
        folder = DataCache(fingerprint).provide(package)
        assert folder == str(directory / "data" / fingerprint)
        assert [each.name for each in Path(folder).iterdir()] == ["parcel"]


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


def test_packages_of_one_registry_lie_side_by_side(directory: Path) -> None:
    with closed(FILES) as finder:
        finder.lay_out("parcel", "other")
        folder = directory / "data" / finder.registry.fingerprint
        assert sorted(each.name for each in folder.iterdir()) == ["other", "parcel"]
