"""Metadata of closed mode: `importlib.metadata` on the distributions of a registry."""

import importlib.metadata
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError
from pathlib import Path

import pytest
from support.processes import Python
from support.trees import Files, closed, freeze_files

from frozenfinder.closed.finder import ClosedFinder
from frozenfinder.closed.paths import FrozenPath

INFO = "Par_Cel-1.2.dist-info"
FILES: Files = {
    "parcel/__init__.py": "def main():\n    return 'called'\n",
    "parcel/module.py": "",
    "parcel/text.txt": "text\n",
    f"{INFO}/METADATA": """\
Metadata-Version: 2.1
Name: Par.Cel
Version: 1.2
Summary: sent by post
Requires-Dist: stamp>=1
Requires-Dist: wax; extra == "seal"
Provides-Extra: seal
""",
    f"{INFO}/RECORD": """\
parcel/__init__.py,sha256=abc,35
parcel/module.py,,
parcel/text.txt,,
parcel/__pycache__/module.cpython-311.pyc,,
Par_Cel-1.2.dist-info/METADATA,,
""",
    f"{INFO}/entry_points.txt": """\
[console_scripts]
parcel = parcel:main
[posts]
letter = parcel
""",
    "older.egg-info/PKG-INFO": "Metadata-Version: 1.1\nName: older\nVersion: 0.1\n",
    "older.egg-info/top_level.txt": "older\n",
    "older.py": "",
}


@pytest.fixture
def finder() -> Iterator[ClosedFinder]:
    with closed(FILES) as finder:
        yield finder


@pytest.mark.parametrize("name", ["Par.Cel", "par-cel", "par_cel", "PAR__CEL"])
def test_a_distribution_is_found_by_any_spelling_of_its_name(
    name: str, finder: ClosedFinder
) -> None:
    assert importlib.metadata.version(name) == "1.2"
    assert importlib.metadata.metadata(name)["Summary"] == "sent by post"


def test_requirements_are_told(finder: ClosedFinder) -> None:
    assert importlib.metadata.requires("par-cel") == ["stamp>=1", 'wax; extra == "seal"']
    assert importlib.metadata.requires("older") is None


def test_entry_points_are_found_and_loaded(finder: ClosedFinder) -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="parcel")
    assert script.load()() == "called"
    assert script.dist is not None
    assert script.dist.version == "1.2"
    (letter,) = importlib.metadata.entry_points(group="posts")
    assert letter.load().__name__ == "parcel"


def test_files_are_located_and_read(finder: ClosedFinder) -> None:
    files = {str(file): file for file in importlib.metadata.files("par-cel") or ()}
    expected = ["parcel/__init__.py", "parcel/module.py", "parcel/text.txt", f"{INFO}/METADATA"]
    if sys.version_info < (3, 12):  # what is missing is left out later
        expected.insert(3, "parcel/__pycache__/module.cpython-311.pyc")
    assert list(files) == expected
    text = files["parcel/text.txt"]
    assert (text.read_text(), text.read_binary()) == ("text\n", b"text\n")
    assert text.locate() == finder.find_path("parcel/text.txt")
    init = files["parcel/__init__.py"]
    assert init.hash is not None
    assert (init.size, init.hash.mode, init.hash.value) == (35, "sha256", "abc")


def test_the_files_of_modules_without_source_are_listed(finder: ClosedFinder) -> None:
    with_source = importlib.metadata.files("par-cel")
    with closed(FILES, with_source=False):
        assert importlib.metadata.files("par-cel") == with_source


def test_text_is_read_by_name(finder: ClosedFinder) -> None:
    distribution = importlib.metadata.distribution("par-cel")
    assert str(distribution.read_text("METADATA")).startswith("Metadata-Version: 2.1\n")
    assert distribution.read_text("absent") is None
    assert distribution.read_text("") is None
    located = distribution.locate_file("parcel")
    assert isinstance(located, FrozenPath)
    assert located.is_dir()


def test_all_distributions_are_listed(finder: ClosedFinder) -> None:
    found = {each.metadata["Name"]: each for each in importlib.metadata.distributions()}
    assert {"Par.Cel", "older", "pytest"} <= found.keys()
    assert found["older"].version == "0.1"


def test_packages_are_mapped_to_distributions(finder: ClosedFinder) -> None:
    packages = importlib.metadata.packages_distributions()
    assert (packages["parcel"], packages["older"]) == (["Par.Cel"], ["older"])


def test_what_is_in_no_registry_is_not_found(finder: ClosedFinder) -> None:
    with pytest.raises(PackageNotFoundError):
        importlib.metadata.version("par-cel-other")


def write_on_disk(folder: Path, version: str) -> None:
    info = folder / f"Par_Cel-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: Par.Cel\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[posts]\nletter = parcel:on_disk\n")


def test_the_registry_comes_before_the_disk(
    finder: ClosedFinder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_on_disk(tmp_path, "0.9")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version("par-cel") == "1.2"
    both = [each.version for each in Distribution.discover(name="par-cel")]
    assert both == ["1.2", "0.9"]  # as of two directories on the path
    (letter,) = importlib.metadata.entry_points(group="posts")
    assert letter.value == "parcel"


def test_a_path_that_is_asked_for_is_all_that_is_searched(
    finder: ClosedFinder, tmp_path: Path
) -> None:
    write_on_disk(tmp_path, "0.9")

    def versions(*path: str) -> list[str]:
        return [each.version for each in Distribution.discover(name="par-cel", path=list(path))]

    assert versions(str(tmp_path)) == ["0.9"]
    assert versions(finder.root) == ["1.2"]
    assert versions(str(tmp_path), finder.root) == ["1.2", "0.9"]


def test_the_finder_can_be_asked_itself(finder: ClosedFinder) -> None:
    every = {each.version for each in finder.find_distributions()}
    named = finder.find_distributions(DistributionFinder.Context(name="older"))
    assert (every, [each.version for each in named]) == ({"1.2", "0.1"}, ["0.1"])


def test_a_registry_on_the_path_is_not_found_twice(
    finder: ClosedFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(finder.root)
    assert [each.version for each in Distribution.discover(name="par-cel")] == ["1.2"]


def test_reading_metadata_touches_no_file_and_imports_no_resources(
    python: Python, tmp_path: Path
) -> None:
    registry = tmp_path / "parcel.frz"
    registry.write_bytes(freeze_files(FILES))
    code = """
import sys, frozenfinder
finder = frozenfinder.install(sys.argv[1], mode='closed')
import importlib.metadata
before = set(sys.modules)
list(importlib.metadata.distribution('older').metadata)
events = []
sys.addaudithook(lambda event, args: event.startswith('o') and events.append((event, args)))
(found,) = finder.find_distributions(importlib.metadata.DistributionFinder.Context(name='par-cel'))
print(found.version, events, [name for name in set(sys.modules) - before if 'resources' in name])
"""
    assert python("-c", code, registry).stdout == "1.2 [] []\n"
