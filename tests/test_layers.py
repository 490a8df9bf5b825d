"""Imports run down one table; what a boot imports imports nothing else when it is imported."""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import chain, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from packaging.requirements import Requirement
from programs import house
from support.layers import (
    BOOT,
    BUILD,
    BUILTIN,
    DOORS,
    LAYERS,
    PACKAGE,
    RUN_TIME,
    Import,
    find_boot,
    find_imports,
    find_layer,
    find_modules,
)
from support.processes import Python

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
TEXT = f"{{{house.SVG}}}text"
NOT_LISTED = "is not among the modules that a boot may import"
NOT_EXPLAINED = "is inside a function without a '# deferred: reason' comment"
NOT_LOWER = "is not in a lower layer"


def complaint(module: str, found: Import) -> str | None:
    """What is wrong with this import in this module, or None."""
    layer = find_layer(module)
    if layer not in BUILD and found.deferred and not found.explained:
        return NOT_EXPLAINED
    if found.target is None:
        allowed = found.deferred or layer not in BOOT or found.name in BUILTIN
        return None if allowed else NOT_LISTED
    if found.deferred and (module, found.target) in DOORS:
        return None
    target = find_layer(found.target)
    allowed = layer == target or LAYERS.index(target) < LAYERS.index(layer)
    return None if allowed else NOT_LOWER


def complaints(module: str, source: str) -> list[str]:
    return [
        f"{module}:{found.line}: {found.name} {why}"
        for found in find_imports(module, source)
        if (why := complaint(module, found))
    ]


def read(module: str) -> str:
    return find_modules()[module].read_text(encoding="utf-8")


def find_cycle(sources: dict[str, str]) -> list[str]:
    """The modules of a cycle of imports, those inside functions counted; empty without one."""
    graph = {
        module: {
            found.target or "__init__"
            for found in find_imports(module, source)
            if found.target is not None and found.target != module
        }
        for module, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


@pytest.mark.parametrize("module", find_modules())
def test_imports_run_down_the_table(module: str) -> None:
    assert complaints(module, read(module)) == []


def test_no_imports_go_round_in_a_circle() -> None:
    assert find_cycle({module: read(module) for module in find_modules()}) == []


def test_a_circle_that_a_deferred_import_closes_is_found() -> None:
    sources = {
        "runtime.hooks": "def f():\n from frozenfinder.closed import finder",
        "closed.finder": "def f():\n from frozenfinder.runtime.hooks import install",
    }
    assert set(find_cycle(sources)) == {"runtime.hooks", "closed.finder"}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_is_used_by_a_deferred_import_alone(door: tuple[str, str]) -> None:
    module, target = door
    used = [found for found in find_imports(module, read(module)) if found.target == target]
    assert used
    assert all(found.deferred for found in used)


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("runtime.lock", "import threading", f"threading {NOT_LISTED}"),
        ("runtime.lock", "try:\n import nt\nexcept ImportError:\n import os", f"os {NOT_LISTED}"),
        ("runtime.lock", "class A:\n from re import sub", f"re {NOT_LISTED}"),
        (
            "runtime.loader",
            "from frozenfinder.closed import resources",
            f"frozenfinder.closed.resources {NOT_LOWER}",
        ),
        (
            "native.cache",
            "def f():\n # deferred: closed mode\n from frozenfinder.closed.finder import home",
            f"frozenfinder.closed.finder {NOT_LOWER}",
        ),
        (
            "runtime.hooks",
            "from frozenfinder.closed.finder import ClosedFinder",
            f"frozenfinder.closed.finder {NOT_LOWER}",
        ),
        (
            "closed.finder",
            "def f():\n # deferred: rare\n from frozenfinder.freezer import freeze",
            f"frozenfinder.freezer {NOT_LOWER}",
        ),
        ("runtime.hooks", "def f():\n import os", f"os {NOT_EXPLAINED}"),
        ("runtime.hooks", "def f():\n # deferred: paths\n\n import os", f"os {NOT_EXPLAINED}"),
        ("__init__", "from .freezer import freeze", f"frozenfinder.freezer {NOT_LOWER}"),
        ("freezer.plan", "from frozenfinder.cli import main", f"frozenfinder.cli {NOT_LOWER}"),
        (
            "freezer.compile.pool",
            "def f():\n from frozenfinder.freezer.write import pack",
            f"frozenfinder.freezer.write.pack {NOT_LOWER}",
        ),
    ],
)
def test_an_import_out_of_place_is_reported(module: str, source: str, expected: str) -> None:
    assert [line.partition(": ")[2] for line in complaints(module, source)] == [expected]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("runtime.lock", "import _thread\nfrom . import layout\nfrom .system import get_module"),
        ("runtime.lock", "if TYPE_CHECKING:\n import typing"),
        ("runtime.hooks", "def f():\n import os  # deferred: paths"),
        ("runtime.hooks", "def f():\n # deferred: paths\n import os\n import stat"),
        ("runtime.hooks", "def f():\n # deferred: rare\n from frozenfinder.closed import finder"),
        ("closed.metadata", "import email\nfrom frozenfinder.runtime import registry"),
        ("cli.freeze", "import argparse\nfrom frozenfinder import __version__, freezer"),
    ],
)
def test_an_import_in_its_place_is_accepted(module: str, source: str) -> None:
    assert complaints(module, source) == []


@pytest.mark.parametrize("module", find_modules())
def test_every_module_is_in_a_layer(module: str) -> None:
    assert find_layer(module) in LAYERS


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_holds_a_module(layer: str) -> None:
    assert layer in map(find_layer, find_modules())


ROLES = {"main", "make_parser", "make_manifest", "describe"}
"""The functions by which commands are alike."""


def find_definitions(source: str) -> Iterator[str]:
    """The names of the classes, and of the functions that other modules may call."""
    tree = ast.parse(source)
    yield from (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    names = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    yield from (name for name in names if name[0] != "_" and name not in ROLES)


def test_no_two_classes_or_public_functions_have_one_name() -> None:
    counted = Counter(name for module in find_modules() for name in find_definitions(read(module)))
    assert [name for name, count in counted.items() if count > 1] == []


def find_required(names: Iterable[str]) -> set[str]:
    """The top-level modules that these import, now or later, from neither Python nor this package.

    Names that begin with `_` are CPython's, of one version or another, and `sitecustomize` belongs
    to the environment.
    """
    found = {
        found.name.partition(".")[0]
        for module in names
        for found in find_imports(module, read(module))
    }
    return {name for name in found if name[0] != "_"} - {
        "frozenfinder",
        "sitecustomize",
        *sys.stdlib_module_names,
    }


def test_a_boot_needs_nothing_that_is_installed_but_for_signatures() -> None:
    run_time = [name for name in find_modules() if find_layer(name) in RUN_TIME]
    assert find_required(run_time) == {"cryptography"}


def test_what_the_package_imports_is_what_it_requires() -> None:
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *chain.from_iterable(extras)]
    assert find_required(find_modules()) == {Requirement(line).name for line in lines}


def test_the_picture_of_the_house_shows_these_layers_and_doors() -> None:
    assert house.PICTURE.read_text("utf-8") == house.draw(), "run `tox -e house`"


def test_the_page_of_the_house_has_each_layer_in_its_table() -> None:
    page = house.PAGE.read_text("utf-8")
    assert house.fill_page(page) == page, "run `tox -e house`"
    rows = re.findall(r"^\| (?:run time|build) \| `(.*?)` \|", page, re.MULTILINE)
    assert rows == [*LAYERS[::-1]]


def test_the_texts_of_the_house_stay_within_it() -> None:
    """The letters are measured as those of a wide font."""
    for text in ET.fromstring(house.draw()).iter(TEXT):
        letter = house.CODE_LETTER if "code" in text.get("class", "") else house.LETTER
        width = len(text.text or "") * letter
        assert float(text.get("x", "")) + width <= house.WIDTH, text.text


def test_the_words_beside_two_doors_do_not_overlap() -> None:
    boxes = sorted(
        float(text.get("y", ""))
        for text in ET.fromstring(house.draw()).iter(TEXT)
        if float(text.get("x", "")) > house.WALL
    )
    assert all(below - above >= house.LINE for above, below in pairwise(boxes))


def test_importing_the_package_loads_only_builtins_and_its_own_run_time(python: Python) -> None:
    code = """
import sys
sys.path.append(sys.argv[1])
before = set(sys.modules)
import frozenfinder
print(*set(sys.modules) - before)
"""
    added = set(python("-I", "-S", "-c", code, PACKAGE.parent).stdout.split())
    assert added - BUILTIN == find_boot()


ONCE = {
    "0x46525A31": "the key of the digests",
    "ends at {start + limit}": "the bounds of a piece",
    "def __getattr__(name: str) -> object": "names that are imported when they are first used",
    "</html>": "the writer of HTML pages",
    "lay_out=tuple(options.lay_out)": "the manifest of the options of `freeze` and `bundle`",
    "[-_.]+": "the names of distributions as `importlib.metadata` compares them",
    "METADATA_SUFFIXES = ": "which folders are a distribution's metadata",
}
"""Code that stood twice in this package, by words of it, and what it is about."""


@pytest.mark.parametrize("words", ONCE)
def test_what_stood_twice_stands_once(words: str) -> None:
    places = [name for name in find_modules() for _ in range(read(name).count(words))]
    assert len(places) == 1, f"{ONCE[words]}: {places}"
