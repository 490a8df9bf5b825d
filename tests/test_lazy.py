"""Packages of the build half that import their names when somebody first asks for them."""

import importlib

import pytest
from support.processes import RunPython

PACKAGES = ["frozenfinder.freezer", "frozenfinder.bundle"]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_can_be_had_and_is_listed(name: str) -> None:
    package = importlib.import_module(name)
    assert [each for each in package.__all__ if getattr(package, each, None) is None] == []
    assert set(package.__all__) - set(dir(package)) == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_name_that_is_not_there_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        importlib.import_module(name).absent  # noqa: B018 - to look is enough
    assert str(caught.value) == f"module {name!r} has no attribute 'absent'"


@pytest.mark.parametrize(
    ("name", "attribute", "home"),
    [
        ("frozenfinder.freezer", "Manifest", "frozenfinder.freezer.manifest"),
        ("frozenfinder.bundle", "find_registry", "frozenfinder.bundle.archive"),
    ],
)
def test_a_name_is_imported_when_it_is_asked_for_and_once(
    name: str, attribute: str, home: str, run_python: RunPython
) -> None:
    code = """
import importlib, sys
name, attribute, home = sys.argv[1:]
package = importlib.import_module(name)
print(home in sys.modules, attribute in vars(package), attribute in dir(package))
value = getattr(package, attribute)
print(home in sys.modules, vars(package)[attribute] is value)
"""
    assert run_python(code, name, attribute, home).stdout == "False False True\nTrue True\n"
