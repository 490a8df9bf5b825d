"""Docstrings: removing them from a module."""

from __future__ import annotations

import ast

_HOLDERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def strip(source: bytes, path: str) -> ast.Module:
    """The module without docstrings; SyntaxError as from `compile`.

    A string directly after a docstring would become the docstring, so it is removed, too.
    """
    tree = ast.parse(source, path)
    for node in ast.walk(tree):
        if isinstance(node, _HOLDERS):
            first = node.body[0] if node.body else None
            while node.body and _is_string(node.body[0]):
                del node.body[0]
            if first is not None and not node.body and not isinstance(node, ast.Module):
                node.body.append(ast.copy_location(ast.Pass(), first))
    return tree


def _is_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
