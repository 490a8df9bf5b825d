"""Imports run down one table; the run-time half imports nothing else when it is imported."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from support.processes import Python

import frozenfinder

PACKAGE = Path(frozenfinder.__file__).parent

RUN = (
    "errors",
    "layout",
    "modules",
    "lock",
    "collector",
    "patterns",
    "registry",
    "roots",
    "loader",
    "finder",
    "hooks",
)
"""The run-time half, lowest layer first."""

DEFERRED = (
    "trust",
    "fixups",
    "closed_loader",
    "closed_finder",
    "paths",
    "resources",
    "metadata",
    "parcel",
    "marks",
    "cache",
    "extraction",
    "datacache",
    "activation",
    "children",
)
"""What some programs need, lowest layer first: run-time modules with imports of their own,
so that the run-time half imports them inside functions only."""

BUILD = ("freezer", "bundle", "bench", "cli", "startup", "__main__")
"""The build half, lowest layer first."""

BUILTIN = {
    "_frozen_importlib",
    "_frozen_importlib_external",
    "_imp",
    "_io",
    "_thread",
    "_weakref",
    "marshal",
    "nt",
    "posix",
    "sys",
}
"""What a run-time module may import outside the package when it is imported itself."""

NOT_LISTED = "is not among the modules that the run-time half may import"
NOT_EXPLAINED = "is inside a function without a '# deferred: reason' comment"


class Import(NamedTuple):
    """One name that one statement imports, by its absolute name."""

    line: int
    name: str
    deferred: bool
    explained: bool

    @property
    def layer(self) -> str | None:
        """The layer it belongs to: None outside the package, "" for the package itself."""
        root, _, rest = self.name.partition(".")
        return rest.partition(".")[0] if root == "frozenfinder" else None


def modules() -> dict[str, Path]:
    """The package's modules by their name below it, `__init__` for the package itself."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


def imports(module: str, source: str) -> Iterator[Import]:
    """Every import of the module but those under `if TYPE_CHECKING:`, which never run."""
    package = ("frozenfinder", *module.split(".")[:-1])
    for statement, deferred in statements(ast.parse(source).body):
        explained = comment_explains(source.splitlines(), statement)
        for name in imported_names(statement, package):
            yield Import(statement.lineno, name, deferred, explained)


def statements(
    body: Sequence[ast.AST], deferred: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The import statements below `body`, and whether each waits for a function's call."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, deferred
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from statements(node.orelse, deferred)
        else:
            inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from statements(getattr(node, field, []), inside)


def imported_names(
    statement: ast.Import | ast.ImportFrom, package: tuple[str, ...]
) -> Iterator[str]:
    """The modules named: `from . import x` in the package is `frozenfinder.x`, else the base."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    base = statement.module or ""
    if statement.level:
        parents = package[: len(package) - statement.level + 1]
        base = ".".join(parents + ((base,) if base else ()))
    for alias in statement.names:
        yield f"{base}.{alias.name}" if base == "frozenfinder" else base


def comment_explains(lines: list[str], statement: ast.stmt) -> bool:
    """Whether `# deferred:` stands on the statement, or above the imports that it is one of."""
    above = statement.lineno - 2
    while above > 0 and lines[above].lstrip().startswith(("import ", "from ")):
        above -= 1
    end = statement.end_lineno or statement.lineno
    return any("# deferred: " in line for line in lines[above:end])


def complaint(module: str, found: Import) -> str | None:
    """What is wrong with this import in this module, or None."""
    layer = module.partition(".")[0]
    if layer in BUILD:
        return build_complaint(layer, found)
    if found.deferred and not found.explained:
        return NOT_EXPLAINED
    if found.layer is None:
        allowed = found.deferred or layer in DEFERRED or found.name in BUILTIN
        return None if allowed else NOT_LISTED
    if found.deferred and (found.layer in DEFERRED or layer == "__init__"):
        return None
    ordered = (*RUN, *DEFERRED)
    lower = ordered[: ordered.index(layer)] if layer in ordered else RUN
    return None if found.layer in lower else "is not a lower layer"


def build_complaint(layer: str, found: Import) -> str | None:
    """The build half may import anything but its own higher layers."""
    if found.layer in BUILD[BUILD.index(layer) + 1 :]:
        return "is a higher layer"
    return None


def complaints(module: str, source: str) -> list[str]:
    return [
        f"{module}:{found.line}: {found.name} {why}"
        for found in imports(module, source)
        if (why := complaint(module, found))
    ]


@pytest.mark.parametrize("module", modules())
def test_imports_run_down_the_table(module: str) -> None:
    assert complaints(module, modules()[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("lock", "import threading", "threading " + NOT_LISTED),
        ("lock", "try:\n import nt\nexcept ImportError:\n import os", "os " + NOT_LISTED),
        ("lock", "class A:\n from re import sub", "re " + NOT_LISTED),
        ("lock", "from . import registry", "frozenfinder.registry is not a lower layer"),
        ("lock", "from .registry import Registry", "frozenfinder.registry is not a lower layer"),
        ("lock", "from frozenfinder import lock", "frozenfinder.lock is not a lower layer"),
        ("loader", "from . import resources", "frozenfinder.resources is not a lower layer"),
        ("hooks", "def f():\n import os", "os " + NOT_EXPLAINED),
        ("hooks", "def f():\n # deferred: paths\n\n import os", "os " + NOT_EXPLAINED),
        ("__init__", "from .freezer import freeze", "frozenfinder.freezer is not a lower layer"),
        ("freezer.plan", "from ..cli import main", "frozenfinder.cli is a higher layer"),
    ],
)
def test_an_import_out_of_place_is_reported(module: str, source: str, expected: str) -> None:
    assert [line.partition(": ")[2] for line in complaints(module, source)] == [expected]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lock", "import _thread\nfrom . import layout\nfrom .errors import RegistryError"),
        ("lock", "if TYPE_CHECKING:\n import typing"),
        ("hooks", "def f():\n import os  # deferred: paths"),
        ("hooks", "def f():\n # deferred: paths\n import os\n import stat"),
        ("loader", "def f():\n # deferred: closed mode\n from . import resources"),
        ("metadata", "import email\nfrom . import registry"),
        ("__init__", "def __getattr__(name):\n # deferred: slow\n from .freezer import freeze"),
        ("cli.freeze", "import argparse\nfrom .. import freezer"),
    ],
)
def test_an_import_in_its_place_is_accepted(module: str, source: str) -> None:
    assert complaints(module, source) == []


def test_every_module_has_its_place_in_the_table() -> None:
    layers = {name.partition(".")[0] for name in modules()}
    assert layers - {"__init__", *RUN, *DEFERRED, *BUILD} == set()


def test_the_design_page_shows_this_table() -> None:
    page = Path(__file__).parent.parent.joinpath("docs/explanation/design.md").read_text("utf-8")
    rows = re.findall(r"^\| (?:run|run, deferred|build) \| (.*?) \|", page, re.MULTILINE)
    assert re.findall(r"\w+", " ".join(rows)) == [*RUN, *DEFERRED, *BUILD]


def test_importing_the_package_loads_only_builtins_and_its_own_run_time(python: Python) -> None:
    code = """
import sys
sys.path.append(sys.argv[1])
before = set(sys.modules)
import frozenfinder
print(*set(sys.modules) - before)
"""
    added = set(python("-I", "-S", "-c", code, PACKAGE.parent).stdout.split())
    own = {"frozenfinder", *(f"frozenfinder.{name}" for name in RUN)}
    assert "frozenfinder" in added
    assert added - own - BUILTIN == set()
