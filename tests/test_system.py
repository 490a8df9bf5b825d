"""The wall against the next CPython: private names in one module, and what other versions get."""

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from importlib.machinery import FileFinder
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.layers import find_imports, find_modules

from frozenfinder.runtime import system

SYSTEM = Path(system.__file__)
NEEDS = {
    "own": {
        "_find_spec",
        "_fix_co_filename",
        "_gcd_import",
    },  # runs before the package can be imported
    "bundle.start": {"_fix_co_filename"},  # runs before the package can be imported
    "freezer.record.recorder": {
        "_cache",
        "_getframe",
        "_module_locks",
    },  # runs in programs that may lack the package
}
"""The modules that may ask for private names themselves, and which."""

DOCUMENTED = {"_asdict", "_exit", "_make", "_replace", "_xoptions"}
"""Names that begin with an underscore and are public: of `os`, `sys`, and named tuples."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


# -- the names of `system`, and the versions that its docstrings give


def find_documented() -> Iterator[tuple[str, ast.expr, str]]:
    """Each name that `system` assigns for CPython's, the value, and the docstring."""
    body = ast.parse(SYSTEM.read_text("utf-8")).body
    for node, after in pairwise(body):
        match node, after:
            case (
                ast.Assign([ast.Name(name)], value),
                ast.Expr(ast.Constant(str(text))),
            ) if re.search(r"\d on\.$", text):
                yield name, value, text


DOCUMENTED_NAMES = {name: (value, text) for name, value, text in find_documented()}


def find_owner(text: str) -> object:
    """What `Of ...` in a docstring names: a module, or an object of a class of importlib."""
    found = re.match(r"Of `([\w.]+)`", text)
    assert found, text
    made: dict[str, object] = {
        "ModuleSpec": ast.__spec__,  # of a module that was imported
        "FileFinder": FileFinder("."),
    }
    return made.get(found[1]) or importlib.import_module(found[1])


def is_expected(text: str) -> bool | None:
    """Whether this version has what the docstring is of; None where it says that it may."""
    for since in re.findall(r"\d+\.\d+\.\d+", text):
        exact = tuple(map(int, since.split(".")))
        if exact[:2] == sys.version_info[:2] and sys.version_info[:3] < exact:
            return None
    if found := re.search(r"Before (\d+)\.(\d+)\.$", text):
        return sys.version_info[:2] < (int(found[1]), int(found[2]))
    found = re.search(r"(\d+)\.(\d+) on\.$", text)
    assert found, text
    return sys.version_info[:2] >= (int(found[1]), int(found[2]))


@pytest.mark.parametrize("name", DOCUMENTED_NAMES)
def test_a_private_name_is_there_in_the_versions_that_its_docstring_names(name: str) -> None:
    value, text = DOCUMENTED_NAMES[name]
    found = getattr(system, name)
    if isinstance(value, ast.Constant):
        assert is_private(found)
        there = hasattr(find_owner(text), found)
    else:
        there = found is not None
    if is_expected(text) is not None:
        assert there == is_expected(text)


def test_every_private_name_of_system_has_a_docstring_that_ends_with_its_versions() -> None:
    body = ast.parse(SYSTEM.read_text("utf-8")).body
    names = {
        ast.unparse(node.targets[0])
        for node in body
        if isinstance(node, ast.Assign)
        and (
            ast.unparse(node.value).startswith("_find(")
            or (isinstance(node.value, ast.Constant) and is_private(str(node.value.value)))
        )
    }
    assert names == set(DOCUMENTED_NAMES)
    assert len(names) > 15


# -- nobody else asks for private names


def find_outsiders(tree: ast.Module) -> set[str]:
    """The names by which a module calls what it imported from outside the package."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(aliases):
                names.update(each.asname or each.name.partition(".")[0] for each in aliases)
            case ast.ImportFrom(module, aliases, 0) if (module or "").partition(".")[0] != (
                "frozenfinder"
            ):
                names.update(each.asname or each.name for each in aliases)
    return names - {"frozenfinder"}


def find_defined(tree: ast.Module) -> set[str]:
    """The private names that a module gives to something of its own."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name) | ast.ClassDef(name) | ast.Name(name, ast.Store()):
                names.add(name)
            case ast.Attribute(ast.Name("self" | "cls"), name, ast.Store()):
                names.add(name)
    return names


def find_private(tree: ast.Module, own: set[str]) -> Iterator[tuple[int, str]]:
    """The line and name of each private name of others that a module asks for."""
    outsiders = find_outsiders(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(owner, name) if is_private(name):
                root = owner
                while isinstance(root, ast.Attribute | ast.Call | ast.Subscript):
                    root = root.func if isinstance(root, ast.Call) else root.value
                foreign = isinstance(root, ast.Name) and root.id in outsiders
                if name not in DOCUMENTED and (foreign or name not in own):
                    yield node.lineno, name
            case ast.ImportFrom(module, aliases, 0) if (module or "").partition(".")[0] != (
                "frozenfinder"
            ):
                for alias in aliases:
                    if is_private(alias.name):
                        yield node.lineno, alias.name
            case ast.Call(
                ast.Name("getattr" | "hasattr" | "setattr" | "delattr"),
                [_, ast.Constant(str(name)), *_],
            ) if is_private(name):
                yield node.lineno, name


TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in find_modules().items()}
OWN = set().union(*map(find_defined, TREES.values()))


@pytest.mark.parametrize("module", sorted(TREES.keys() - {"runtime.system"}))
def test_a_module_asks_for_no_private_name_of_cpython(module: str) -> None:
    found = list(find_private(TREES[module], OWN))
    assert {name for _, name in found} == NEEDS.get(module, set()), found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import re; re._cache", "_cache"),
        ("import importlib.util; importlib.util._find(1).x", "_find"),
        ("from importlib import _bootstrap", "_bootstrap"),
        ("def f(x): return x._private_of_another", "_private_of_another"),
        ("def f(x): return getattr(x, '_initializing', None)", "_initializing"),
        ("import sys; sys.modules['re']._cache", "_cache"),
    ],
)
def test_a_private_name_is_found(source: str, found: str) -> None:
    assert [name for _, name in find_private(ast.parse(source), OWN)] == [found]


# -- private modules


def find_listed_modules() -> dict[str, str]:
    """The private modules that `system` lists, each with its line."""
    for node in ast.parse(SYSTEM.read_text("utf-8")).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = str(node.value.value)
            if text.startswith("Private modules"):
                return {
                    found[1]: line
                    for line in text.splitlines()
                    if (found := re.match(r"([\w.]+): ", line))
                }
    raise LookupError


def find_private_modules(tree: ast.Module, imported: Iterator[Any]) -> Iterator[str]:
    """The private modules that a module imports, or names in a string that it looks up."""
    for each in imported:
        if is_private_module(each.name):
            yield each.name
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(_, ast.Constant(str(name))) | ast.Call(_, [ast.Constant(str(name))]):
                if re.fullmatch(r"[a-z_]+\.[\w.]+", name) and is_private_module(name):
                    yield name


def is_private_module(name: str) -> bool:
    return any(map(is_private, name.split(".")))


def test_the_private_modules_that_are_imported_are_listed() -> None:
    found = {
        name
        for module, path in find_modules().items()
        for name in find_private_modules(
            TREES[module], find_imports(module, path.read_text("utf-8"))
        )
        if not name.startswith("frozenfinder")
    }
    assert found == set(find_listed_modules())


@pytest.mark.parametrize("name", find_listed_modules())
def test_a_private_module_is_there_in_the_versions_that_its_line_names(name: str) -> None:
    there = importlib.util.find_spec(name) is not None
    assert there == is_expected(find_listed_modules()[name])


def test_the_list_of_private_modules_costs_nothing() -> None:
    code = compile(SYSTEM.read_text("utf-8"), SYSTEM, "exec")
    assert [each for each in code.co_consts if "Private modules" in str(each)] == []
