"""Resources of closed mode: two test-suites that others wrote, and what they leave out."""

import importlib.abc
import importlib.resources
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import importlib_resources
import pytest
from support.processes import TESTS, Python
from support.trees import Files, closed, freeze_files

from frozenfinder.closed.finder import ClosedFinder
from frozenfinder.closed.paths import FrozenPath
from frozenfinder.closed.resources import FrozenNamespaceReader

SUITES = ("importlib_resources.tests", "test.test_importlib.resources")

ABOUT_DIRECTORIES = {
    *(
        f"test_reader.MultiplexedPathTest.test_{subject}"
        for subject in (
            "is_dir",
            "is_file",
            "iterdir",
            "iterdir_duplicate",
            "join_path",
            "join_path_common_subdir",
            "join_path_compound",
            "name",
            "open_file",
            "repr",
        )
    ),
    "test_reader.NamespaceReaderTest.test_files",
    "test_reader.NamespaceReaderTest.test_resource_path",
    "test_path.PathDiskTests.test_natural_path",
}
"""The tests that hold readers of real directories to real directories."""


def run_suite(python: Python, suite: str, *backends: str) -> tuple[int, int, set[str]]:
    """How many tests ran, how many registries they had, and the names of those that failed."""
    program = ("-m", "programs.resource_suites", suite, *backends)
    done = python("-W", "default", *program, cwd=TESTS)
    account = json.loads(done.stdout)
    failed = {test.removeprefix(f"{suite}.") for test in account["failed"]}
    return account["run"], account["registries"], failed


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_of_resources_passes_with_the_registry_for_its_zip_files(
    suite: str, python: Python
) -> None:
    pytest.importorskip("test.support", reason="this Python came without its test package")
    run, registries, failed = run_suite(python, suite, "zip")
    is_old = suite.startswith("test.") and sys.version_info < (3, 13)
    assert run > 140
    assert registries >= (8 if is_old else 60)  # up to 3.12 one for each class, then for each test
    assert failed == set()


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_of_resources_passes_with_the_registry_for_its_directories(
    suite: str, python: Python
) -> None:
    pytest.importorskip("test.support", reason="this Python came without its test package")
    if suite.startswith("test.") and sys.version_info < (3, 13):
        pytest.skip("up to 3.12 these directories are there already, and belong to Python")
    run, registries, failed = run_suite(python, suite, "zip", "disk")
    assert run > 200
    assert registries > 150
    assert failed == ABOUT_DIRECTORIES


FILES: Files = {
    "parcel/__init__.py": "",
    "parcel/module.py": "VALUE = 1\n",
    "parcel/text.txt": "caf\xe9\r\nau lait\n",
    "parcel/binary.dat": bytes(range(256)),
    "parcel/static/css/site.css": "body {}\n",
    "parcel/static/a-folder/no.module": "",
    "beside.py": "",
    "beside.txt": "beside the module\n",
    "portions/here.txt": "from the registry",
    "portions/shared/one.txt": "1",
}


@pytest.fixture
def finder() -> Iterator[ClosedFinder]:
    with closed(FILES) as finder:
        yield finder


@pytest.fixture(params=[importlib.resources, importlib_resources], ids=lambda api: api.__name__)
def api(request: pytest.FixtureRequest) -> ModuleType:
    module = request.param
    assert isinstance(module, ModuleType)
    return module


def names(folder: FrozenPath) -> list[str]:
    return [item.name for item in folder.iterdir()]


def test_text_and_bytes_are_read(finder: ClosedFinder, api: ModuleType) -> None:
    files = api.files("parcel")
    assert files.joinpath("text.txt").read_text(encoding="utf-8") == "caf\xe9\nau lait\n"
    assert (files / "binary.dat").read_bytes() == bytes(range(256))
    with files.joinpath("text.txt").open("r", encoding="ascii", errors="replace") as stream:
        assert stream.readline() == "caf\ufffd\ufffd\n"
    with files.joinpath("text.txt").open(encoding="utf-8", newline="") as stream:
        assert stream.readline() == "caf\xe9\r\n"
    with files.joinpath("binary.dat").open("rb") as stream:
        assert (stream.read(2), stream.seek(-1, 2), stream.read()) == (b"\0\1", 255, b"\xff")


def test_folders_that_are_no_packages_are_walked(finder: ClosedFinder, api: ModuleType) -> None:
    files = api.files("parcel")
    assert names(files) == ["__init__.py", "binary.dat", "module.py", "static", "text.txt"]
    static = files / "static"
    assert (static.is_dir(), static.is_file(), names(static)) == (True, False, ["a-folder", "css"])
    assert static.joinpath("css/site.css").read_text(encoding="utf-8") == "body {}\n"
    assert static.joinpath("css", "..", "css", "site.css").is_file()
    assert names(static / "a-folder") == ["no.module"]


def test_a_folder_can_be_named_as_a_package(finder: ClosedFinder, api: ModuleType) -> None:
    css = api.files("parcel.static.css")
    assert css.joinpath("site.css").read_text(encoding="utf-8") == "body {}\n"
    assert names(css) == ["site.css"]


def test_what_is_not_there_is_not_there(finder: ClosedFinder, api: ModuleType) -> None:
    absent = api.files("parcel") / "absent" / "deeper"
    assert (absent.is_file(), absent.is_dir(), absent.exists()) == (False, False, False)
    with pytest.raises(FileNotFoundError) as caught:
        absent.read_bytes()
    assert str(caught.value) == (
        f"[Errno 2] not in the registry: '{finder.root}{os.sep}parcel{os.sep}absent{os.sep}deeper'"
    )
    with pytest.raises(FileNotFoundError, match="not a folder of the registry"):
        absent.iterdir()


@pytest.mark.parametrize(
    "path", ["..", "/etc/passwd", "../..", "parcel/../../..", "\udcff", "a\0b"]
)
def test_nothing_lies_outside_the_registry(path: str, finder: ClosedFinder) -> None:
    outside = finder.find_path("").joinpath(path)
    assert (outside.is_file(), outside.is_dir(), outside.exists()) == (False, False, False)


def test_a_folder_is_not_read_and_a_file_not_listed(finder: ClosedFinder, api: ModuleType) -> None:
    files = api.files("parcel")
    with pytest.raises(IsADirectoryError, match="is a folder of the registry"):
        files.read_text(encoding="utf-8")
    with pytest.raises(NotADirectoryError, match="not a folder of the registry"):
        files.joinpath("text.txt").iterdir()


def test_nothing_is_opened_for_writing(finder: ClosedFinder) -> None:
    with pytest.raises(ValueError, match=r"^mode is 'w', expected 'r' or 'rb'$"):
        finder.find_path("parcel/text.txt").open("w")


def test_as_file_makes_real_files(finder: ClosedFinder, api: ModuleType) -> None:
    with api.as_file(api.files("parcel") / "binary.dat") as path:
        assert isinstance(path, Path)
        assert path.read_bytes() == bytes(range(256))
    assert not path.exists()


def test_as_file_makes_real_folders(finder: ClosedFinder, api: ModuleType) -> None:
    if api is importlib.resources and sys.version_info < (3, 12):
        pytest.skip("before 3.12 that of the standard library makes files only")
    with api.as_file(api.files("parcel")) as path:
        below = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
        assert below == {
            name.removeprefix("parcel/") for name in FILES if name.startswith("parcel/")
        }


def test_a_module_has_the_resources_beside_it(finder: ClosedFinder, api: ModuleType) -> None:
    if api is importlib.resources and sys.version_info < (3, 12):
        with pytest.raises(TypeError, match="is not a package"):
            api.files("beside")
        return
    assert api.files("beside").joinpath("beside.txt").read_text() == "beside the module\n"
    assert api.files("parcel.module").joinpath("text.txt").is_file()
    assert names(api.files("beside")) == ["beside.py", "beside.txt", "parcel", "portions"]


def test_the_portions_of_a_namespace_merge(
    finder: ClosedFinder, api: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "portions/shared").mkdir(parents=True)
    (tmp_path / "portions/there.txt").write_text("from disk")
    (tmp_path / "portions/shared/two.txt").write_text("2")
    monkeypatch.syspath_prepend(tmp_path)
    files = api.files("portions")
    assert sorted(item.name for item in files.iterdir()) == ["here.txt", "shared", "there.txt"]
    assert (files / "here.txt").read_text() == "from the registry"
    assert (files / "there.txt").read_text() == "from disk"
    shared = files / "shared"
    assert sorted(item.name for item in shared.iterdir()) == ["one.txt", "two.txt"]
    assert (files / "shared/two.txt").read_text() == "2"
    assert files.joinpath("shared", "one.txt").read_text() == "1"


def test_a_merged_folder_is_a_folder(finder: ClosedFinder, api: ModuleType) -> None:
    files = api.files("portions")
    path = finder.locate("portions")
    assert (files.name, files.is_dir(), files.is_file()) == ("portions", True, False)
    assert repr(files) == f"MergedPath({path!r})"
    assert files.joinpath() is files
    for read in (files.open, files.read_bytes, files.read_text):
        with pytest.raises(FileNotFoundError) as caught:
            read()
        assert str(caught.value) == f"MergedPath({path!r}) is not a file"


def test_what_no_portion_has_is_missing_in_the_first(
    finder: ClosedFinder, api: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "portions").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    absent = api.files("portions").joinpath("shared/absent.txt")
    assert absent == finder.find_path("portions/shared/absent.txt")
    assert api.files("portions").joinpath("..", "x") == finder.find_path("portions") / ".." / "x"


def test_of_a_file_and_a_folder_of_one_name_the_first_counts(
    finder: ClosedFinder, api: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "portions/here.txt").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    assert (api.files("portions") / "here.txt").read_text() == "from the registry"


def test_a_namespace_without_a_folder_has_no_resources(finder: ClosedFinder) -> None:
    reader = FrozenNamespaceReader(finder, ["/nowhere/portions"])
    with pytest.raises(FileNotFoundError) as caught:
        reader.files()
    assert str(caught.value) == "no portion of ['/nowhere/portions'] is a directory"


@pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")
def test_the_functions_of_older_programs_work(finder: ClosedFinder, api: ModuleType) -> None:
    assert api.is_resource("parcel", "text.txt")
    assert not api.is_resource("parcel", "static")
    assert not api.is_resource("parcel", "absent")
    assert sorted(api.contents("parcel")) == names(finder.find_path("parcel"))
    assert api.read_text("parcel", "text.txt", encoding="utf-8") == "caf\xe9\nau lait\n"
    assert api.read_binary("parcel", "binary.dat") == bytes(range(256))
    with api.open_binary("parcel", "binary.dat") as stream:
        assert stream.read(1) == b"\0"
    with api.open_text("parcel", "text.txt", encoding="utf-8") as stream:
        assert stream.readline() == "caf\xe9\n"
    with api.path("parcel", "text.txt") as path:
        assert path.read_bytes() == b"caf\xc3\xa9\r\nau lait\n"


def test_the_reader_is_a_resource_reader(finder: ClosedFinder) -> None:
    import parcel  # type: ignore[import-not-found]

    reader = parcel.__loader__.get_resource_reader("parcel")
    assert isinstance(reader, importlib.resources.abc.TraversableResources)
    assert reader.open_resource("binary.dat").read(1) == b"\0"
    assert (reader.is_resource("text.txt"), reader.is_resource("static")) == (True, False)
    assert "static" in reader.contents()
    with pytest.raises(FileNotFoundError):
        reader.resource_path("text.txt")
    with pytest.raises(ImportError, match="loader for parcel cannot handle other"):
        parcel.__loader__.get_resource_reader("other")


def test_a_path_reads_as_a_traversable(finder: ClosedFinder) -> None:
    path = finder.find_path("parcel/text.txt")
    assert isinstance(path, importlib.resources.abc.Traversable)
    assert isinstance(path, importlib_resources.abc.Traversable)
    assert str(path) == f"{finder.root}{os.sep}parcel{os.sep}text.txt"
    assert repr(path) == f"FrozenPath({str(path)!r})"
    assert (path.name, path.parent, path.parent.parent) == (
        "text.txt",
        finder.find_path("parcel"),
        finder.find_path(""),
    )
    assert path.parent.parent.parent == finder.find_path("")
    assert len({path, path.parent / "text.txt", path.parent}) == 2
    assert path != str(path)
    with pytest.raises(TypeError):
        os.fspath(path)


def test_modules_without_their_source_are_no_resources(api: ModuleType) -> None:
    with closed(FILES, with_source=False) as finder:
        files = api.files("parcel")
        assert names(files) == ["binary.dat", "static", "text.txt"]
        module = files / "module.py"
        assert (module.is_file(), module.exists()) == (False, True)
        with pytest.raises(FileNotFoundError):
            module.read_text(encoding="utf-8")
        assert finder.find_path("parcel").is_dir()


def test_reading_touches_no_file(python: Python, tmp_path: Path) -> None:
    registry = tmp_path / "parcel.frz"
    registry.write_bytes(freeze_files(FILES))
    code = """
import sys, frozenfinder
import importlib.resources
frozenfinder.install(sys.argv[1], mode='closed')
files = importlib.resources.files('parcel')
files.is_dir()
events = []
sys.addaudithook(lambda event, args: event.startswith('o') and events.append((event, args)))
print(len(files.joinpath('text.txt').read_bytes()), len(list(files.iterdir())), events)
"""
    assert python("-c", code, registry).stdout == "15 5 []\n"
