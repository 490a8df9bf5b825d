"""The exceptions: what catches them, and what they carry."""

import copy
import pickle
import re
from pathlib import Path

import pytest

import frozenfinder
from frozenfinder import errors
from frozenfinder.errors import FreezeError, FrozenFinderError, RegistryError

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "errors.md"

REGISTRY_ERRORS = [
    errors.RegistryError,
    errors.RegistryNotFoundError,
    errors.RegistryVersionError,
    errors.RegistryTrustError,
]


def describe(kind: type[FrozenFinderError], depth: int = 0) -> list[tuple[str, int]]:
    """The names of a hierarchy's classes, each with its depth, top down."""
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    return [(kind.__name__, depth), *(line for each in below for line in describe(each, depth + 1))]


def test_the_page_shows_the_hierarchy_as_it_is() -> None:
    drawn = re.findall(r"^([│├└─ ]*)(\w+Error)\b", PAGE.read_text("utf-8"), re.MULTILINE)
    shown = [(name, len(indent) // 3) for indent, name in drawn]
    assert shown == describe(FrozenFinderError)


def test_every_one_can_be_imported_from_the_package() -> None:
    for name, _ in describe(FrozenFinderError):
        assert getattr(frozenfinder, name) is getattr(errors, name)


@pytest.mark.parametrize("kind", REGISTRY_ERRORS)
def test_a_registry_error_is_an_import_error(kind: type[RegistryError]) -> None:
    assert issubclass(kind, ImportError)
    assert issubclass(kind, FrozenFinderError)


def test_a_freeze_error_is_no_import_error() -> None:
    assert not issubclass(FreezeError, ImportError)


@pytest.mark.parametrize("kind", REGISTRY_ERRORS)
def test_a_registry_error_has_nothing_that_it_was_not_given(kind: type[RegistryError]) -> None:
    error = kind("message")
    assert (str(error), error.name, error.path, error.offset) == ("message", None, None, None)


@pytest.mark.parametrize("kind", REGISTRY_ERRORS)
def test_a_registry_error_survives_copies_and_pickles(kind: type[RegistryError]) -> None:
    error = kind("message", name="pkg.mod", path="/x/app.frz", offset=320)
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is kind
        assert (str(other), other.name, other.path, other.offset) == (
            "message",
            "pkg.mod",
            "/x/app.frz",
            320,
        )


def test_a_freeze_error_survives_copies_and_pickles() -> None:
    assert FreezeError("message").module is None
    error = FreezeError("message", module="pkg.mod")
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(other), str(other), other.module) == (FreezeError, "message", "pkg.mod")
