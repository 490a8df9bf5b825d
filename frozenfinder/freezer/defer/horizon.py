"""The horizon: what the other modules of a program say about the imports of one.

An import may wait only if it cannot fail, and if it finds what it would have found at once. So the
target has to be a module that is known, with source or built in, and has to have the name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .analysis import Facts, Statement

SHIPPED = {
    "sqlalchemy*": "SQLAlchemy registers events, dialects and types when modules are imported",
}
"""Modules whose imports stay eager, by a pattern of their names, and why."""

_IMPORT_SYSTEM = (
    "encodings",
    "fnmatch",
    "frozenfinder",
    "importlib",
    "linecache",
    "pkgutil",
    "runpy",
    "traceback",
    "warnings",
    "zipfile",
    "zipimport",
)
"""Modules that run inside an import, or while an exception is shown."""

_STARTED = frozenset(
    {
        "__main__",
        "_collections_abc",
        "_frozen_importlib",
        "_frozen_importlib_external",
        "_sitebuiltins",
        "abc",
        "codecs",
        "encodings",
        "genericpath",
        "io",
        "ntpath",
        "os",
        "os.path",
        "posixpath",
        "site",
        "stat",
    }
)
"""Modules that an interpreter imports before the program, besides the built-in ones."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Which names of a module wait, and the reason for each other name of a top-level import.

    `whole` is the reason if none may wait.
    """

    lazy: dict[str, tuple[Statement, ...]]
    eager: dict[str, str]
    whole: str | None = None


Known = Facts | bool
"""What is known of a module: its facts, else whether it exists without source to read."""


class Horizon:
    """All modules that a program may import; `find` says by name what is known of each."""

    def __init__(self, find: Callable[[str], Known]) -> None:
        self._find = find
        self._failures: dict[str, str | None] = {}

    def decide(self, facts: Facts, eager: Iterable[str] = ()) -> Decision:
        """The decision for a module; `eager` are patterns of modules that stay eager."""
        whole = facts.whole or self._refuse(facts.name, eager)
        if whole is not None:
            return Decision({}, facts.eager, whole)
        lazy, kept = {}, dict(facts.eager)
        for each, statements in facts.names.items():
            reason = self._explain(facts, each, statements)
            if reason is None:
                lazy[each] = statements
            else:
                kept[each] = reason
        return Decision(lazy, kept)

    def _refuse(self, name: str, eager: Iterable[str]) -> str | None:
        if name.partition(".")[0] in _IMPORT_SYSTEM:
            return "it runs inside imports"
        for pattern in eager:
            if fnmatchcase(name, pattern):
                return f"it is eager by {pattern!r}"
        for pattern, reason in SHIPPED.items():
            if fnmatchcase(name, pattern):
                return reason
        return None

    def _explain(self, facts: Facts, name: str, statements: tuple[Statement, ...]) -> str | None:
        """Why a name stays eager because of other modules; None if it need not."""
        submodule = f"{facts.name}.{name}"
        for each in statements:
            target = f"{each.target}.{each.attribute}" if each.attribute else each.target
            if facts.is_package and self._is_known(submodule) and target != submodule:
                return f"it hides the module {submodule!r}"
            reason = self._explain_target(each)
            if reason is not None:
                return reason
        return None

    def _explain_target(self, statement: Statement) -> str | None:
        target, attribute = statement.target, statement.attribute
        if target in _STARTED or target in sys.builtin_module_names:
            return f"{target!r} is loaded in any case"
        if not self._is_known(target):
            return f"{target!r} was not found"
        failure = self._find_failure(target)
        if failure is not None:
            return failure
        if attribute is None:
            return None
        submodule = f"{target}.{attribute}"
        facts = self._get_facts(target)
        if facts is not None and self._has(facts, attribute, set()):
            return None
        if self._is_known(submodule):
            return self._find_failure(submodule)
        if facts is None:
            return f"{target!r} has no source that shows its names"
        return f"{target!r} does not show that it has {attribute!r}"

    def _is_known(self, name: str) -> bool:
        return self._find(name) is not False

    def _get_facts(self, name: str) -> Facts | None:
        found = self._find(name)
        return found if isinstance(found, Facts) else None

    def _has(self, facts: Facts, name: str, seen: set[str]) -> bool:
        """Whether a module binds a name, or takes it over from one that does."""
        if name in facts.bound:
            return True
        seen.add(facts.name)
        found = [self._get_facts(star) for star in facts.stars if star not in seen]
        return any(self._has(each, name, seen) for each in found if each is not None)

    def _find_failure(self, name: str) -> str | None:
        """Why the import of a module, or of a package around it, may fail; None if it cannot."""
        if name not in self._failures:
            self._failures[name] = None  # the answer for an import in a circle
            self._failures[name] = self._look_for_failure(name)
        return self._failures[name]

    def _look_for_failure(self, name: str) -> str | None:
        parent = name.rpartition(".")[0]
        if parent:
            failure = self._find_failure(parent)
            if failure is not None:
                return failure
        facts = self._get_facts(name)
        if facts is None or name in _STARTED:
            return None
        if facts.raises:
            return f"{name!r} may raise an exception when it is imported"
        for target, _ in facts.needs:
            if not self._can_exist(target):
                return f"{name!r} needs {target!r}, which was not found"
            failure = self._find_failure(target)
            if failure is not None:
                return failure
        return None

    def _can_exist(self, target: str) -> bool:
        return self._is_known(target) or target in sys.builtin_module_names or target in _STARTED
