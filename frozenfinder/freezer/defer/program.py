"""The lazy code of a whole program: what waits in each module of a plan, and why not more."""

from __future__ import annotations

import ast
import marshal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType

from frozenfinder.freezer.compile.canonical import canonicalise
from frozenfinder.freezer.compile.docstrings import strip
from frozenfinder.freezer.compile.warned import record_warnings
from frozenfinder.freezer.plan import Module, Plan

from .analysis import Facts, analyse
from .horizon import Decision, Horizon, Known
from .transform import check_interpreter, make_lazy

_FAILURES = (OSError, SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What waits in a module: `lazy` are names, `eager` the reasons for other imported names.

    `whole` is the reason if nothing may wait. `code` is the marshalled lazy code; empty if nothing
    waits.
    """

    name: str
    lazy: tuple[str, ...] = ()
    eager: tuple[tuple[str, str], ...] = ()
    whole: str | None = None
    code: bytes = b""


class LazyProgram:
    """The modules of a plan, and the others that they may import, found with `find`."""

    def __init__(self, plan: Plan, find: Callable[[str], Iterable[ModuleSpec]]) -> None:
        self._plan = plan
        self._find_specs = find
        self._modules = {module.name: module for module in plan.modules if module.table != "test"}
        self._known: dict[str, Known] = {}
        self._horizon = Horizon(self._find)

    def decide(self, name: str) -> Decision:
        """What may wait in a module, before its code is made."""
        facts = self._find(name)
        if not isinstance(facts, Facts):
            return Decision({}, {}, "its source cannot be read")
        return self._horizon.decide(facts, self._plan.eager)

    def make(self, module: Module) -> Outcome:
        """The outcome for a module with source.

        FreezeError if lazy code cannot be made for this interpreter.
        """
        check_interpreter()
        decision = self.decide(module.name)
        eager = dict(decision.eager)
        lazy = tuple(decision.lazy)
        code = b""
        if lazy:
            try:
                tree = self._parse(module.location)
                made, refused = make_lazy(tree, decision.lazy, self._compile)
            except _FAILURES as error:
                reason = f"its code cannot be made: {type(error).__name__}: {error}"
                return Outcome(module.name, eager=tuple(sorted(eager.items())), whole=reason)
            eager |= refused
            lazy = tuple(name for name in lazy if name not in refused)
            if lazy:
                code = canonicalise(marshal.dumps(made), module.path)
        return Outcome(module.name, lazy, tuple(sorted(eager.items())), decision.whole, code)

    def _find(self, name: str) -> Known:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._look_up(name)
        return known

    def _look_up(self, name: str) -> Known:
        module = self._modules.get(name)
        if module is None:
            for spec in self._find_specs(name):
                is_package = spec.submodule_search_locations is not None
                if isinstance(spec.loader, SourceFileLoader) and spec.origin is not None:
                    return self._read(name, spec.origin, is_package)
                return True
            return False
        if module.kind == "excluded":
            return False
        return (
            self._read(name, module.location, module.is_package)
            if module.kind == "source"
            else True
        )

    def _read(self, name: str, location: str, is_package: bool) -> Known:
        try:
            return analyse(self._parse(location), name, is_package)
        except _FAILURES:
            return True

    def _parse(self, location: str) -> ast.Module:
        with open(location, "rb") as file:
            source = file.read()
        with record_warnings():
            if self._plan.strip_docstrings:
                return strip(source, location)
            return ast.parse(source, location)

    def _compile(self, tree: ast.Module) -> CodeType:
        with record_warnings():
            made: CodeType = compile(
                tree, "", "exec", dont_inherit=True, optimize=self._plan.optimize
            )
            return made
