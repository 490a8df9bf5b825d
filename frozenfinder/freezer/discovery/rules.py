"""Rules: what packages need, but their import statements do not show.

A rule is for one module. Its lines are lines of a manifest, and apply if the import graph of an
entry reaches the module. Things that they name are frozen if they exist.

An installed distribution contributes rules with entry points in the group `frozenfinder.rules`: the
name is the module's, and the object is a list of lines or a function without arguments that returns
one. The freeze imports it when the module is reached.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.manifest import Manifest, parse_manifest
from frozenfinder.runtime.system import SYSCONFIG_DATA

GROUP = "frozenfinder.rules"
_WORDS = ("packages", "distributions", "metadata", "data", "lay_out")


def _name_sysconfig_data() -> list[str]:
    name = getattr(sysconfig, SYSCONFIG_DATA, None)
    return [f"package {name()}"] if name is not None else []


SHIPPED: dict[str, list[str] | Callable[[], list[str]]] = {
    "awscli": ["package awscli", "lay-out awscli"],  # it contains botocore under another name
    "cryptography.hazmat.bindings._rust": ["package _cffi_backend"],
    "dbm": ["package dbm"],
    "django": ["package django", "lay-out django"],  # settings name modules; templates are files
    "encodings": ["package encodings"],
    "lxml.etree": ["package lxml._elementpath"],
    "numpy._core._multiarray_umath": ["package numpy._core._exceptions"],
    "pandas._libs": ["package pandas._libs", "package cmath"],
    "pygments": ["package pygments"],
    "rich": ["package rich._unicode_data"],
    "sqlalchemy": ["package sqlalchemy.dialects"],
    "sysconfig": _name_sysconfig_data,
}


class Rules:
    """The shipped rules, and those of installed distributions, which take precedence."""

    def __init__(self, contributed: Iterable[EntryPoint] | None = None) -> None:
        found = entry_points(group=GROUP) if contributed is None else contributed
        self._contributed = {each.name: each for each in found}

    def apply(self, module: str) -> Manifest | None:
        """The manifest of the rule for a module, or None; FreezeError for an invalid rule."""
        point = self._contributed.get(module)
        if point is None:
            rule = SHIPPED.get(module)
            return None if rule is None else _parse(rule, f"rule for {module!r}")
        where = f"rule for {module!r} ({point.value})"
        try:
            return _parse(point.load(), where)
        except FreezeError:
            raise
        except Exception as error:
            raise FreezeError(f"{where}: fails with {type(error).__name__}: {error}") from error


def _parse(rule: object, where: str) -> Manifest:
    lines = rule() if callable(rule) else rule
    if not isinstance(lines, list | tuple) or not all(isinstance(each, str) for each in lines):
        raise FreezeError(f"{where}: is {lines!r}, expected a list of manifest lines")
    manifest = parse_manifest("\n".join(lines), "", where)
    allowed = Manifest(**{word: getattr(manifest, word) for word in _WORDS})
    if manifest != allowed:
        raise FreezeError(
            f"{where}: has other lines, expected only lines that begin with package, distribution, "
            "metadata, include-data or lay-out"
        )
    return manifest
