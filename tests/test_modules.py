"""The `sys.modules` accessors: an ordinary table, one replaced by another mapping, and none."""

import sys
import threading
from collections import UserDict
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from frozenfinder import modules

NAME = "frozenfinder_test_module"


class Mapping(UserDict[str, object]):
    """A table that is no dict, so that C's shortcuts for one do not apply to it."""


class Reporting(dict[str, object]):
    """A dict whose own methods are not the whole truth."""

    def __missing__(self, name: str) -> object:
        return f"made for {name}"


class Refusing(Mapping):
    def __getitem__(self, name: str) -> object:
        raise ValueError(f"no access to {name}")

    def __delitem__(self, name: str) -> None:
        raise ValueError(f"no deletion of {name}")


@pytest.fixture(params=[dict, Mapping], ids=["dict", "another mapping"])
def table(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, object]]:
    """`sys.modules` for one test: a copy of what it was, as each of two types."""
    replacement = request.param(sys.modules)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "modules", replacement)
        yield replacement


def error_without_modules(access: Callable[[], object], how: str) -> Exception | None:
    """What `access` raises while `sys.modules` is deleted or None; nothing else can run then."""
    table = sys.modules
    try:
        if how == "deleted":
            del sys.modules
        else:
            sys.modules = None  # type: ignore[assignment]
        access()
    except Exception as error:  # noqa: BLE001  the test looks at it
        return error
    finally:
        sys.modules = table
    return None


def test_get_module_finds_what_is_there(table: dict[str, object]) -> None:
    table[NAME] = module = ModuleType(NAME)
    assert modules.get_module(NAME) is module


def test_get_module_gives_the_default_for_a_name_that_is_not_there(
    table: dict[str, object],
) -> None:
    assert NAME not in table
    assert modules.get_module(NAME) is None
    assert modules.get_module(NAME, table) is table


def test_get_module_tells_none_from_absence(table: dict[str, object]) -> None:
    table[NAME] = None
    assert modules.get_module(NAME, "absent") is None


def test_get_module_asks_a_mapping_as_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "modules", Reporting())
        found = modules.get_module(NAME)
    assert found == f"made for {NAME}"


def test_get_module_lets_other_errors_of_a_mapping_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "modules", Refusing())
        with pytest.raises(ValueError, match=r"^no access to x$"):
            modules.get_module("x")


def test_set_module_replaces_what_is_there(table: dict[str, object]) -> None:
    table[NAME] = None
    modules.set_module(NAME, module := ModuleType(NAME))
    assert table[NAME] is module


def test_add_module_gives_back_a_module_that_is_there(table: dict[str, object]) -> None:
    table[NAME] = module = ModuleType(NAME)
    assert modules.add_module(NAME) is module


@pytest.mark.parametrize("occupant", [None, "not a module"])
def test_add_module_replaces_what_is_not_a_module(
    table: dict[str, object], occupant: object
) -> None:
    table[NAME] = occupant
    module = modules.add_module(NAME)
    assert type(module) is ModuleType
    assert table[NAME] is module


def test_add_module_makes_an_empty_module(table: dict[str, object]) -> None:
    module = modules.add_module(NAME)
    assert table[NAME] is module
    assert vars(module) == vars(ModuleType(NAME))


def test_add_module_gives_every_thread_the_same_module() -> None:
    found: list[ModuleType] = []
    barrier = threading.Barrier(8)

    def add() -> None:
        barrier.wait()
        found.append(modules.add_module(NAME))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del sys.modules[NAME]
    assert found == found[:1] * 8


def test_remove_module_takes_out_what_is_there(table: dict[str, object]) -> None:
    table[NAME] = None
    modules.remove_module(NAME)
    assert NAME not in table


def test_remove_module_does_nothing_for_a_name_that_is_not_there(table: dict[str, object]) -> None:
    before = dict(table)
    modules.remove_module(NAME)
    assert dict(table) == before


def test_remove_module_lets_other_errors_of_a_mapping_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "modules", Refusing())
        with pytest.raises(ValueError, match=r"^no deletion of x$"):
            modules.remove_module("x")


@pytest.mark.parametrize("how", ["deleted", "None"])
@pytest.mark.parametrize(
    "access",
    [
        lambda: modules.get_module(NAME),
        lambda: modules.set_module(NAME, None),
        lambda: modules.remove_module(NAME),
    ],
    ids=["get", "set", "remove"],
)
def test_without_sys_modules_the_accessors_say_so_in_cpythons_words(
    access: Callable[[], object], how: str
) -> None:
    error = error_without_modules(access, how)
    assert repr(error) == "RuntimeError('unable to get sys.modules')"


@pytest.mark.parametrize("how", ["deleted", "None"])
def test_without_sys_modules_add_module_says_so_in_the_words_of_this_cpython(how: str) -> None:
    words = (
        "unable to get sys.modules"
        if sys.version_info >= (3, 14)
        else "no import module dictionary"
    )
    error = error_without_modules(lambda: modules.add_module(NAME), how)
    assert repr(error) == f"RuntimeError({words!r})"
