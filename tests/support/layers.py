"""The layers of the package, and every import statement in it: what `test_layers` holds.

A layer is a folder or a module, named from the package down. Imports run down the table, those
inside functions too; only a door lets a deferred one up.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import frozenfinder

PACKAGE = Path(frozenfinder.__file__).parent

RUN_TIME = (
    "boot",
    "own",
    "errors",
    "runtime",
    "texts",
    "lazy",
    "extras",
    "modules",
    "frozen_api",
    "trust",
    "native",
    "closed",
    "null_finder",
    "fast_exit",
    "annotations",
    "activation",
    "public",
    "__init__",
)
"""The run-time half, lowest layer first. A boot imports `errors` and `runtime`, and what else it
needs inside functions."""

BUILD = (
    "freezer.compile",
    "freezer.plan",
    "freezer.manifest",
    "freezer.discovery",
    "freezer.record",
    "freezer.defer",
    "freezer.write",
    "freezer",
    "embed",
    "bundle",
    "enable",
    "bench",
    "cli",
    "startup",
    "__main__",
)
"""The build half, lowest layer first. No program that only boots imports any of it."""

LAYERS = (*RUN_TIME, *BUILD)

BOOT = ("own", "errors", "runtime")
"""The layers that every boot imports."""

DOORS = {
    ("runtime.finder", "extras"): "a module that is served compiles regular expressions or text",
    ("runtime.finder", "native.fixups"): "a program asks for the extension modules",
    ("runtime.registry", "frozen_api"): "a program asks as it would ask `_imp`",
    ("runtime.registry", "native.pins"): "a registry is pinned",
    ("runtime.hooks", "closed.finder"): "a registry is installed in closed mode",
    ("runtime.hooks", "null_finder"): "nothing is to be served",
    ("runtime.hooks", "fast_exit"): "a fast exit is asked for",
}
"""The imports that run up, from which module to which, and when: each is inside a function."""

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
    "time",
}
"""What `errors` and `runtime` may import from outside the package when they are imported."""


class Import(NamedTuple):
    """One module that one statement imports, by its absolute name.

    `deferred` says that it is inside a function, `explained` that a comment says why.
    """

    line: int
    name: str
    deferred: bool
    explained: bool

    @property
    def target(self) -> str | None:
        """The module's name below the package, "" for the package itself; None outside it."""
        root, _, rest = self.name.partition(".")
        return rest if root == "frozenfinder" else None


@cache
def find_modules() -> dict[str, Path]:
    """The package's modules by their name below it, `__init__` for the package itself."""
    return {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def find_layer(module: str) -> str:
    """The layer of a module, which the most of its name names; LookupError for one without."""
    name = module or "__init__"
    while name not in LAYERS:
        name, dot, _ = name.rpartition(".")
        if not dot:
            raise LookupError(f"{module} is in no layer")
    return name


def find_boot() -> set[str]:
    """The absolute names of the modules that every boot imports."""
    modules = {name for name in find_modules() if find_layer(name) in BOOT}
    return {"frozenfinder", *(f"frozenfinder.{name}" for name in modules)}


def find_imports(module: str, source: str) -> Iterator[Import]:
    """Every import of the module but those under `if TYPE_CHECKING:`, which never run."""
    parts = () if module == "__init__" else module.split(".")
    is_package = module == "__init__" or (PACKAGE.joinpath(*parts) / "__init__.py").exists()
    package = ("frozenfinder", *(parts if is_package else parts[:-1]))
    for statement, deferred in _find_statements(ast.parse(source).body):
        explained = _is_explained(source.splitlines(), statement)
        for name in _find_names(statement, package):
            yield Import(statement.lineno, name, deferred, explained)
    yield from _find_loads(source)


def _find_loads(source: str) -> Iterator[Import]:
    """The modules that calls of `system.load_own` load."""
    lines = source.splitlines()
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("load_own", "_load_own"):
            argument = call.args[0]
            if isinstance(argument, ast.Constant):
                explained = "# deferred: " in lines[call.lineno - 2]
                yield Import(call.lineno, f"frozenfinder.{argument.value!s}", True, explained)


def _find_statements(
    body: Sequence[ast.AST], deferred: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The import statements below `body`, and whether each waits for a function's call."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, deferred
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _find_statements(node.orelse, deferred)
        else:
            inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from _find_statements(getattr(node, field, []), inside)


def _find_names(statement: ast.Import | ast.ImportFrom, package: tuple[str, ...]) -> Iterator[str]:
    """The modules named: `from .x import y` names `x.y` if that is a module, else `x`."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    base = statement.module or ""
    if statement.level:
        parents = package[: len(package) - statement.level + 1]
        base = ".".join(parents + ((base,) if base else ()))
    modules = find_modules()
    for alias in statement.names:
        name = f"{base}.{alias.name}"
        yield name if name.partition(".")[2] in modules else base


def _is_explained(lines: list[str], statement: ast.stmt) -> bool:
    """Whether `# deferred:` stands on the statement, or above the imports that it is one of."""
    above = statement.lineno - 2
    while above > 0 and lines[above].lstrip().startswith(("import ", "from ")):
        above -= 1
    end = statement.end_lineno or statement.lineno
    return any("# deferred: " in line for line in lines[above:end])
