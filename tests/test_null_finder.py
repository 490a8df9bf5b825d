"""`NullFinder`: a program that uses its finder runs where nothing is served."""

import inspect
import re
from pathlib import Path

import pytest
from support.processes import RunPython
from support.registries import build_registry, frozen

import frozenfinder
from frozenfinder import ClosedFinder, FrozenFinder, NullFinder, Registry

DOCS = Path(__file__).parent.parent / "docs"
DATA = build_registry(frozen("m", "VALUE = 1"))


def read_section(page: str, begin: str, end: str) -> str:
    text = (DOCS / page).read_text("utf-8")
    return text[text.index(begin) : text.index(end)]


def find_documented() -> set[str]:
    """The attributes of finders, and of what they have, that the page of the API names."""
    section = read_section("reference/api.md", "## Finders", "## Extension modules")
    defined = re.findall(r"^`(\w+)`\n:", section, re.MULTILINE)
    used = re.findall(r"also has `([\w.]+)`", section)
    members = re.findall(r":members: (.+)", section)
    return {*defined, *used, *", ".join(members).split(", ")}


def test_the_page_of_the_api_names_attributes() -> None:
    assert find_documented() >= {"served", "bypassed", "lay_out", "extractor.in_memory", "fixups"}


@pytest.mark.parametrize("registry", [None, Registry.from_bytes(DATA)])
@pytest.mark.parametrize("name", sorted(find_documented()))
def test_it_has_what_is_documented_of_finders(name: str, registry: Registry | None) -> None:
    value: object = NullFinder(registry, "closed")
    for part in name.split("."):
        value = getattr(value, part)


@pytest.mark.parametrize("finder", [FrozenFinder, ClosedFinder])
def test_its_methods_take_the_same_arguments(finder: type) -> None:
    shared = {
        name
        for name, value in inspect.getmembers(NullFinder, inspect.isfunction)
        if not name.startswith("_") and hasattr(finder, name)
    }
    assert "invalidate_caches" in shared
    for name in shared:
        theirs = inspect.signature(getattr(finder, name))
        assert inspect.signature(getattr(NullFinder, name)) == theirs, name


def test_its_values_are_of_the_types_that_finders_have() -> None:
    closed = frozenfinder.install(DATA, mode="closed")
    frozenfinder.uninstall(closed)
    null = NullFinder(closed.registry, "closed")
    for name in ("served", "bypassed", "registry", "mode", "fixups"):
        assert type(getattr(null, name)) is type(getattr(closed, name)), name
    assert (null.served, null.bypassed, null.extractor.in_memory) == (0, {}, {})
    assert null.fixups is closed.fixups


def test_the_example_of_the_page_on_compliance_runs_switched_off(run_python: RunPython) -> None:
    section = read_section("explanation/compliance.md", "(c3)=", "(c4)=")
    [example] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert ".lay_out(" in example
    after = "print(type(finder).__name__, finder.registry, finder.fixups.records())"
    done = run_python(f"import frozenfinder\n{example}{after}", env={"FROZENFINDER": "off"})
    assert done.stdout == "NullFinder None []\n"
