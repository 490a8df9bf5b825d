"""Analysis of one module: which names of its import statements may wait, and why others may not.

Everything here is read from the source; nothing is executed. What depends on other modules is in
`horizon`. If there is doubt, a name is eager: it costs time, but no program notices it.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

_NAMESPACE = frozenset({"globals", "vars", "eval", "exec"})  # they reach names without loading them
_AT_IMPORT = frozenset({"dir", "locals"})
_TYPES = frozenset({"ForwardRef", "NamedTuple", "NewType", "TypeVar", "TypedDict"})
_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Statement:
    """One name of an import statement at a module's top level.

    `attribute` is the name that `from` imports, or None. `target` is the module that it names.
    """

    node: ast.Import | ast.ImportFrom = field(compare=False, repr=False)
    alias: ast.alias = field(compare=False, repr=False)
    target: str
    attribute: str | None = None

    @property
    def line(self) -> int:
        return self.node.lineno


@dataclass(frozen=True, slots=True)
class Facts:
    """What one module's source says.

    `names` has the statements of each name that may wait, as far as the module itself is concerned,
    and `eager` the reason for each other name of a top-level import. `whole` is the reason if no
    name may. `bound` are the names that the module can have, with "*" for any, and `stars` the
    modules whose names it takes over. `needs` are modules (and names in them) that have to exist
    when it is imported; `raises` says whether it may raise an exception itself.
    """

    name: str
    is_package: bool
    names: dict[str, tuple[Statement, ...]]
    eager: dict[str, str]
    whole: str | None
    bound: frozenset[str]
    stars: tuple[str, ...]
    needs: tuple[tuple[str, str | None], ...]
    raises: bool


def analyse(tree: ast.Module, name: str, is_package: bool) -> Facts:
    """The facts of a module from its syntax tree."""
    body = fold(tree.body)
    package = name if is_package else name.rpartition(".")[0]
    reader = _Survey(package)
    statements: dict[str, list[Statement]] = {}
    for node in body:
        if not is_import(node):
            reader.visit(node)
            continue
        reader.note_import(node)
        for statement in _split(node, package):
            statements.setdefault(bind(statement.alias, node), []).append(statement)
    own = [node for node in body if _is_getattr(node)]
    if reader.bound["__getattr__"] != len(own) or "__getattr__" in statements:
        reader.whole = reader.whole or "its __getattr__ is no plain function"
    names, eager = {}, {}
    for each, found in statements.items():
        reason = reader.explain(each, found)
        if reason is None:
            names[each] = tuple(found)
        else:
            eager[each] = reason
    return Facts(
        name=name,
        is_package=is_package,
        names={} if reader.whole else names,
        eager=eager,
        whole=reader.whole,
        bound=frozenset({*reader.bound, *statements}),
        stars=tuple(reader.stars),
        needs=tuple(reader.needs),
        raises=reader.raises,
    )


def _is_getattr(node: ast.stmt) -> bool:
    """Whether it defines the module's `__getattr__`, as PEP 562 has it."""
    return isinstance(node, ast.FunctionDef) and node.name == "__getattr__"


def is_import(node: ast.stmt) -> bool:
    """Whether it is an import statement whose names can wait: not a star, nor from the future."""
    if isinstance(node, ast.Import):
        return True
    return (
        isinstance(node, ast.ImportFrom)
        and node.module != "__future__"
        and node.names[0].name != "*"
    )


def bind(alias: ast.alias, node: ast.stmt) -> str:
    """The name that one part of an import statement binds."""
    if alias.asname:
        return alias.asname
    return alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name


def _split(node: ast.stmt, package: str) -> Iterator[Statement]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Statement(node, alias, alias.name)
    elif isinstance(node, ast.ImportFrom):
        target = resolve_target(node.module, node.level, package)
        for alias in node.names:
            yield Statement(node, alias, target or "", alias.name)


def resolve_target(module: str | None, level: int, package: str) -> str | None:
    """The absolute name of the module of a `from` statement; None above the top."""
    if not level:
        return module
    parts = package.split(".") if package else []
    if level > len(parts):
        return None
    parents = parts[: len(parts) - level + 1]
    return ".".join([*parents, module] if module else parents)


# -- tests that have the same result in every program with this interpreter


def fold(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The statements, with the branch that runs in place of each `if` whose result is known.

    Known are `TYPE_CHECKING`, which is false, and comparisons of the version and the platform.
    """
    folded: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.If):
            value = _evaluate(node.test)
            if isinstance(value, bool):
                folded += fold(node.body if value else node.orelse)
                continue
        folded.append(node)
    return folded


def _evaluate(node: ast.expr) -> object:
    match node:
        case ast.Name("TYPE_CHECKING"):
            return False
        case ast.Attribute(ast.Name("typing" | "t"), "TYPE_CHECKING"):
            return False
        case ast.UnaryOp(ast.Not(), operand):
            value = _evaluate(operand)
            return not value if isinstance(value, bool) else _UNKNOWN
        case ast.BoolOp(operator, values):
            return _combine([_evaluate(each) for each in values], isinstance(operator, ast.Or))
        case ast.Compare(left, [operator], [right]):
            return _compare(_measure(left), operator, right)
    return _UNKNOWN


def _combine(values: Iterable[object], decisive: bool) -> object:
    """The result of `or` (True decides) or `and` (False decides)."""
    found = list(values)
    if any(value is decisive for value in found):
        return decisive
    return not decisive if all(value is (not decisive) for value in found) else _UNKNOWN


def _measure(node: ast.expr) -> object:
    match node:
        case ast.Attribute(ast.Name("sys"), "version_info"):
            return tuple(sys.version_info[:2])
        case ast.Attribute(ast.Name("sys"), "platform"):
            return sys.platform
        case ast.Attribute(ast.Name("os"), "name"):
            return os.name
    return _UNKNOWN


def _compare(found: object, operator: ast.cmpop, right: ast.expr) -> object:
    try:
        value = ast.literal_eval(right)
    except (ValueError, TypeError, SyntaxError):
        return _UNKNOWN
    if isinstance(found, tuple) and isinstance(value, tuple) and 1 <= len(value) <= 2:
        # a tuple of two is never equal to the whole version
        if isinstance(operator, ast.GtE):
            return found[: len(value)] >= value
        return found[: len(value)] < value if isinstance(operator, ast.Lt) else _UNKNOWN
    if isinstance(found, str) and isinstance(value, str):
        if isinstance(operator, ast.Eq):
            return found == value
        return found != value if isinstance(operator, ast.NotEq) else _UNKNOWN
    return _UNKNOWN


# -- reading


class _Survey(ast.NodeVisitor):
    """Reads a module, statement by statement: which names it uses when, and what it binds.

    `_later` is true in code that does not run while the module is imported, `_scope` is "module",
    "class" or "function", and `_guarded` counts the statements around that keep a failure from the
    program.
    """

    def __init__(self, package: str) -> None:
        self.whole: str | None = None
        self.bound: Counter[str] = Counter()
        self.stars: list[str] = []
        self.needs: list[tuple[str, str | None]] = []
        self.raises = False
        self._now: dict[str, int] = {}
        self._used: set[str] = set()
        self._annotated: dict[str, int] = {}
        self._finalizing: dict[str, int] = {}
        self._package = package
        self._later = False
        self._scope = "module"
        self._guarded = 0
        self._in_finalizer = False

    def explain(self, name: str, statements: Sequence[Statement]) -> str | None:
        """Why the name of these statements may not wait; None if it may."""
        plain = all(each.attribute is None for each in statements)
        if name in self._now:
            return f"line {self._now[name]} uses it when the module is imported"
        if name in self._annotated:
            return f"line {self._annotated[name]} has it in an annotation"
        if name in self._finalizing:
            return f"line {self._finalizing[name]} uses it in a finalizer"
        if self.bound[name] or (len(statements) > 1 and not _is_one_package(statements)):
            return "it is bound more than once, or deleted"
        if name.startswith("__"):
            return "it is a special name"
        if hasattr(builtins, name):
            return "it has the name of a builtin"
        if plain and name not in self._used:
            return "nothing in the module uses it"
        if any(not each.target for each in statements):
            return "it is imported from above the top package"
        return None

    # statements

    def note_import(self, node: ast.stmt) -> None:
        """Note what an import statement needs."""
        if self._guarded:
            return
        for each in _split(node, self._package):
            self.needs.append((each.target, each.attribute))

    def visit_Import(self, node: ast.Import) -> None:
        self._visit_import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "__future__":
            return
        if node.names[0].name == "*":
            target = resolve_target(node.module, node.level, self._package) or ""
            self.stars.append(target)
            self.whole = self.whole or f"line {node.lineno} imports names that are not known (*)"
            if not self._guarded:
                self.needs.append((target, None))
            return
        self._visit_import(node)

    def _visit_import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self._bind(bind(alias, node))
        if not self._later:
            self.note_import(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.bound.update(node.names)

    def visit_Raise(self, node: ast.Raise) -> None:
        if not self._later and not self._guarded:
            self.raises = True
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        self._visit_try(node)

    def visit_TryStar(self, node: ast.TryStar) -> None:
        self._visit_try(node)

    def _visit_try(self, node: ast.Try | ast.TryStar) -> None:
        """A handler that raises does so if something before it fails."""
        guarded = bool(node.handlers) and not any(map(_raises, node.handlers))
        self._guarded += guarded
        self._visit_all(node.body)
        self._guarded += 1 - guarded
        self._visit_all(node.handlers)
        self._guarded -= 1
        self._visit_all([*node.orelse, *node.finalbody])

    def visit_If(self, node: ast.If) -> None:
        self._visit_maybe(node)

    def visit_For(self, node: ast.For) -> None:
        self._visit_maybe(node)

    def visit_While(self, node: ast.While) -> None:
        self._visit_maybe(node)

    def visit_Match(self, node: ast.Match) -> None:
        self._visit_maybe(node)

    def _visit_maybe(self, node: ast.stmt) -> None:
        """What runs only on a condition is assumed not to fail: most of it is for other systems."""
        self._guarded += 1
        self.generic_visit(node)
        self._guarded -= 1

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._visit_capture(node, node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._visit_capture(node, node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._visit_capture(node, node.rest)

    def _visit_capture(self, node: ast.AST, name: str | None) -> None:
        if name:
            self._bind(name)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._bind(node.name)
        self._visit_all(node.decorator_list)
        self._visit_defaults(node.args)
        self._annotate(node.returns)
        for argument in _arguments(node.args):
            self._annotate(argument.annotation)
        self._visit_type_parameters(node)
        finalizing = self._in_finalizer
        self._in_finalizer = finalizing or node.name == "__del__"
        self._visit_inside(node.body, "function", later=True)
        self._in_finalizer = finalizing

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_defaults(node.args)
        self._visit_inside([node.body], "function", later=True)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name)
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
        self._visit_type_parameters(node)
        self._visit_inside(node.body, "class", later=self._later)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self._scope != "function":
            self._annotate(node.annotation)
        if node.value is not None:
            self.visit(node.value)
        self.visit(node.target)

    def visit_TypeAlias(self, node: ast.AST) -> None:
        self.visit(node.name)  # type: ignore[attr-defined]
        self._visit_type_parameters(node)
        self._annotate(node.value)  # type: ignore[attr-defined]

    # expressions

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._bind(node.id)
            return
        if isinstance(node.ctx, ast.Del):
            self._bind(node.id)
        self._used.add(node.id)
        if not self._later:
            self._now.setdefault(node.id, node.lineno)
        if self._in_finalizer:
            self._finalizing.setdefault(node.id, node.lineno)
        if node.id in _NAMESPACE or (node.id in _AT_IMPORT and not self._later):
            self.whole = self.whole or f"line {node.lineno} uses {node.id}"

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name("vars" | "dir") if node.args:
                self._visit_all([*node.args, *node.keywords])  # not of this module
                return
            case ast.Name("import_module" | "__import__") | ast.Attribute(_, "import_module"):
                self._check_self([*node.args, *node.keywords])
            case ast.Attribute(ast.Attribute(_, "modules") | ast.Name("modules"), _):
                self._check_self(node.args)
            case ast.Name(name) | ast.Attribute(_, name) if name in _TYPES and not self._later:
                self._annotate(node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        match node.value:
            case ast.Attribute(_, "modules") | ast.Name("modules"):
                self._check_self([node.slice])
        if not self._later:  # it may be a type, such as `Optional["A"]`
            self._annotate(node.slice)
        self.generic_visit(node)

    def _check_self(self, nodes: Iterable[ast.AST]) -> None:
        """Note that the module looks itself up."""
        for node in nodes:
            for each in ast.walk(node):
                if isinstance(each, ast.Name) and each.id in ("__name__", "__package__"):
                    self.whole = self.whole or f"line {each.lineno} looks the module itself up"

    # helpers

    def _bind(self, name: str) -> None:
        if self._scope == "module":
            self.bound[name] += 1

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _visit_inside(self, nodes: Iterable[ast.AST], scope: str, later: bool) -> None:
        before = self._scope, self._later
        self._scope, self._later = scope, later
        self._visit_all(nodes)
        self._scope, self._later = before

    def _visit_defaults(self, arguments: ast.arguments) -> None:
        self._visit_all(arguments.defaults)
        self._visit_all(node for node in arguments.kw_defaults if node is not None)

    def _visit_type_parameters(self, node: ast.AST) -> None:
        for each in getattr(node, "type_params", ()):  # from 3.12 on
            self._annotate(each)

    def _annotate(self, node: ast.AST | None) -> None:
        """Note the names of an annotation, and of the strings in it."""
        for each in ast.walk(node) if node is not None else ():
            if isinstance(each, ast.Name):
                self._used.add(each.id)
                self._annotated.setdefault(each.id, each.lineno)
            elif isinstance(each, ast.Constant) and isinstance(each.value, str):
                for name in _find_names(each.value):
                    self._used.add(name)
                    self._annotated.setdefault(name, each.lineno)


def _raises(handler: ast.ExceptHandler) -> bool:
    """Whether a handler raises in any case; on a condition, it is assumed not to."""
    return any(isinstance(node, ast.Raise) for node in handler.body)


def _arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (each for each in (arguments.vararg, arguments.kwarg) if each is not None)


def _find_names(text: str) -> set[str]:
    """The names in an annotation that is a string."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _is_one_package(statements: Sequence[Statement]) -> bool:
    """Whether they are `import a` and `import a.b`, which bind the same module."""
    return all(each.attribute is None and each.alias.asname is None for each in statements)
