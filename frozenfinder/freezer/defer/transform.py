"""The lazy code of a module: its body without the import statements whose names wait.

From 3.15 on, the language has lazy imports (PEP 810), and the code says which ones are. Before, the
statements are taken out of the body, a resolver keeps them, and loads of their names get guards.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib.util import MAGIC_NUMBER
from itertools import takewhile
from types import CodeType

from frozenfinder.errors import FreezeError
from frozenfinder.lazy import NAME

from .analysis import Statement, bind, fold, is_import
from .proof import PROVED, Unproved

HAS_LAZY_IMPORTS = sys.version_info >= (3, 15)

Compile = Callable[[ast.Module], CodeType]

_BEGIN = f"from frozenfinder.lazy import begin as {NAME}\n{NAME}(lambda: {NAME!r})"
"""The start of a lazy module; the function holds the statements that wait."""

_CHANGING = ("STORE_GLOBAL", "DELETE_GLOBAL", "DELETE_NAME")


def check_interpreter() -> None:
    """FreezeError unless lazy code can be made for this interpreter."""
    number = int.from_bytes(MAGIC_NUMBER[:2], "little")
    if HAS_LAZY_IMPORTS:
        return
    if number not in PROVED:
        raise FreezeError(
            f"lazy registries were not proved for the bytecode of this Python, magic number "
            f"{number}; use a release of 3.11 to 3.14"
        )
    # deferred: an extra, and slow to import
    from .guards import import_bytecode

    import_bytecode()


def make_lazy(
    tree: ast.Module, lazy: Mapping[str, tuple[Statement, ...]], compile_: Compile
) -> tuple[CodeType, dict[str, str]]:
    """The lazy code of a module, and the reason for each name that has to be eager after all.

    `compile_` compiles a tree as the module is compiled. It does not change the tree.
    """
    refused: dict[str, str] = {}
    while True:
        names = [name for name in lazy if name not in refused]
        if not names:
            return compile_(tree), refused
        try:
            if HAS_LAZY_IMPORTS:
                return _mark(tree, names, compile_), refused
            code = compile_(_take_out(tree, names))
            changed = dict.fromkeys(_find_changed(code, names), "a function changes it")
            if not changed:
                return _finish(code, names, lazy, compile_), refused
            refused |= changed
        except Unproved as error:
            refused |= dict.fromkeys(error.names, f"its guard was not proved: {error}")


# -- 3.15


def _mark(tree: ast.Module, names: Collection[str], compile_: Compile) -> CodeType:
    """The code with lazy imports of the language."""
    body: list[ast.stmt] = []
    for node in fold(tree.body):
        if not is_import(node):
            body.append(node)
            continue
        for waits, part in _divide(node, names):
            part.is_lazy = int(waits)  # type: ignore[attr-defined]
            body.append(part)
    return compile_(_copy(tree, body))


def _divide(node: ast.stmt, names: Collection[str]) -> Iterator[tuple[bool, ast.stmt]]:
    """Parts of an import statement, in its order, and whether the names of each wait."""
    assert isinstance(node, ast.Import | ast.ImportFrom)
    group: list[ast.alias] = []
    waits = False
    for alias in node.names:
        each = bind(alias, node) in names
        if group and each is not waits:
            yield waits, _replace_names(node, group)
            group = []
        waits = each
        group.append(alias)
    yield waits, _replace_names(node, group)


def _replace_names(node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> ast.stmt:
    made: ast.stmt
    if isinstance(node, ast.Import):
        made = ast.Import(names)
    else:
        made = ast.ImportFrom(node.module, names, node.level)
    return ast.copy_location(made, node)


def _copy(tree: ast.Module, body: list[ast.stmt]) -> ast.Module:
    return ast.Module(body, tree.type_ignores)


# -- 3.11 to 3.14


def _take_out(tree: ast.Module, names: Collection[str]) -> ast.Module:
    """The module without the statements of these names, and with the start of its resolver."""
    body: list[ast.stmt] = []
    first = None
    for node in fold(tree.body):
        if not is_import(node):
            body.append(node)
            if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
                chain = ast.Attribute(ast.Name(NAME, ast.Load()), "chain", ast.Load())
                body.append(ast.copy_location(ast.Expr(ast.Call(chain, [], [])), node))
            continue
        for waits, part in _divide(node, names):
            if waits:
                first = first or part
            else:
                body.append(part)
    if first is not None:
        at = sum(1 for _ in takewhile(_comes_first, body))
        begin = ast.parse(_BEGIN)
        for each in ast.walk(begin):
            ast.copy_location(each, first)
        body[at:at] = begin.body
    return ast.fix_missing_locations(_copy(tree, body))


def _comes_first(node: ast.stmt) -> bool:
    """Whether only the docstring and imports from the future come before it."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "__future__"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _find_changed(code: CodeType, names: Collection[str]) -> set[str]:
    """The names that functions bind or delete, or load in a way that cannot have a guard."""
    # deferred: 3.15 needs no guards
    from .proof import measure_depths

    changed = set()
    for const in code.co_consts:
        if not isinstance(const, CodeType):
            continue
        changed |= _find_changed(const, names)
        if changed.issuperset(names) or not set(names) & set(const.co_names):
            continue
        try:
            measured = measure_depths(const)
        except ValueError as error:
            raise Unproved(const, {*names} & {*const.co_names}, str(error)) from error
        for each in measured:
            if each.name in _CHANGING or "FROM_DICT_OR_GLOBALS" in each.name:
                name = const.co_names[each.argument >> each.shift]
                if name in names:
                    changed.add(name)
    return changed


def _finish(
    code: CodeType,
    names: Sequence[str],
    lazy: Mapping[str, tuple[Statement, ...]],
    compile_: Compile,
) -> CodeType:
    """Guard the loads in everything defined in the body, and add the statements to their holder."""
    # deferred: it needs `bytecode`, which 3.15 does not
    from .guards import guard

    chosen = set(names)
    statements = [compile_(_restate(lazy[name])) for name in names]
    consts: list[object] = []
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_name == "<lambda>" and NAME in const.co_consts:
                held = (*const.co_consts, *statements, tuple(names))
                consts.append(const.replace(co_consts=held))
            else:
                consts.append(guard(const, chosen))
        else:
            consts.append(const)
    return code.replace(co_consts=tuple(consts))


def _restate(statements: Sequence[Statement]) -> ast.Module:
    """A module with only the parts of import statements that bind one name."""
    body = [_replace_names(each.node, [each.alias]) for each in statements]
    return ast.Module(body, [])
