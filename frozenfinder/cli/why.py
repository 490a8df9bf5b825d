"""`frozenfinder why NAME`: which finder would find a module, and why the registry would not."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from frozenfinder.closed.finder import ClosedFinder
from frozenfinder.freezer import Plan
from frozenfinder.freezer.defer.program import LazyProgram
from frozenfinder.freezer.discovery.search import Search
from frozenfinder.modules import get_module, remove_module, set_module
from frozenfinder.null_finder import NullFinder
from frozenfinder.runtime.finder import FrozenFinder
from frozenfinder.runtime.hooks import install, installed, uninstall
from frozenfinder.runtime.layout import FrozenEntry
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import environment

from . import DONE, UsageError
from .commands import open_registry_or_bundle, print_json, program_path
from .ls import describe
from .parser import MODES, Parser

if TYPE_CHECKING:
    from frozenfinder.annotations import Mode

SUMMARY = "explain where a module would be found, and why not in the registry"

Finder = FrozenFinder | ClosedFinder | NullFinder

WORDS = {
    "registry": "served from {registry}",
    "builtin": "built into the interpreter",
    "frozen": "frozen into the interpreter by CPython",
    "path": "found on the path",
    "other": "found by another finder",
    None: "not found",
}


class Answer(NamedTuple):
    """`by` says who answers the search: a key of `WORDS`. `origin` is the file or the directories,
    or None. `reason` says why it is not the registry, and is None if it is.
    """

    by: str | None
    origin: str | None
    reason: str | None


class Laziness(NamedTuple):
    """What waits in a module: `lazy` are names, `eager` has the reason for each other name.

    `whole` is the reason if nothing waits.
    """

    lazy: list[str]
    eager: dict[str, str]
    whole: str | None

    def lines(self) -> list[str]:
        """The sentences for the answer."""
        if self.whole is not None:
            return [f"  no import waits: {self.whole}"]
        waiting = ", ".join(self.lazy) or "none"
        reasons = [f"  {name} does not wait: {self.eager[name]}" for name in self.eager]
        return [f"  imports that wait: {waiting}", *reasons]


def make_parser() -> Parser:
    parser = Parser("why", SUMMARY)
    parser.add_argument("name", metavar="NAME", help="the module's full name")
    parser.add_argument(
        "--registry",
        metavar="FILE",
        help="the registry (default: the enabled one, else the one that install() opens)",
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        help="the mode to install it in (default: that of the enabled registry, else overlay)",
    )
    parser.add_json()
    return parser


def main(options: argparse.Namespace) -> int:
    name: str = options.name
    if not all(name.split(".")):
        raise UsageError(f"{name!r} is not the name of a module; see 'frozenfinder why --help'")
    registry, mode = _choose(options.registry, options.mode)
    entry = registry.find_entry(name, tests=True)
    answer = explain(name, registry, mode)
    laziness = explain_laziness(name, registry) if answer.by == "registry" else None
    if options.json:
        print_json(
            {
                "name": name,
                "registry": registry.path,
                "mode": mode,
                "served": answer.reason is None,
                **answer._asdict(),
                "laziness": None if laziness is None else laziness._asdict(),
                "entry": None if entry is None else describe(entry),
            }
        )
    else:
        installed = f"{registry.where}, {mode} mode"
        where = "" if answer.origin is None else f": {answer.origin}"
        print(f"{name}: {WORDS[answer.by].format(registry=installed)}{where}")
        if answer.reason is not None:
            print(f"  not from {installed}: {answer.reason}")
        if laziness is not None:
            print(*laziness.lines(), sep="\n")
    return DONE


def explain(name: str, registry: Registry, mode: "Mode") -> Answer:
    """Search for a module as an import in this environment would, and note who answers.

    It assumes a program that was started in the current directory. Nothing is imported, so a
    change that a package makes to its `__path__` when it is imported is not seen.
    """
    finder = _install(registry, mode)
    search = MetaPathSearch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a damaged registry: the answer has the reason
        try:
            found = search.find(name)
        except ModuleNotFoundError as error:  # closed mode, of an excluded name
            return Answer(None, None, str(error))
        finally:
            search.forget()
    reason = _explain_absence(name, registry, finder, search)
    if found is None:
        return Answer(None, None, reason)
    by, spec = found
    if by is finder:
        return Answer("registry", _locate(spec), None)
    return Answer(_classify(by), _locate(spec), reason or f"{_describe(by)} comes before it")


def explain_laziness(name: str, registry: Registry) -> Laziness | None:
    """What waits in a module of a lazy registry, by the sources that are there now; else None."""
    asked = registry.info().get("asked")
    if not isinstance(asked, list) or "lazy" not in asked:
        return None
    eager = [line.removeprefix("eager ") for line in asked if line.startswith("eager ")]
    program = LazyProgram(Plan(lazy=True, eager=tuple(eager)), Search(program_path()).find)
    decision = program.decide(name)
    return Laziness(sorted(decision.lazy), dict(sorted(decision.eager.items())), decision.whole)


def _choose(path: str | None, mode: "Mode | None") -> "tuple[Registry, Mode]":
    """The registry and mode asked for; without a path, those that are enabled here."""
    if path is None:
        for finder in installed():
            if finder.registry is not None:
                enabled: Mode = "closed" if finder.mode == "closed" else "overlay"
                return finder.registry, mode or enabled
    return open_registry_or_bundle(path), mode or "overlay"


def _install(registry: Registry, mode: "Mode") -> Finder:
    uninstall()  # an enabled registry would answer, too
    sys.path[:] = program_path()
    if registry.mismatch is not None:
        return NullFinder(registry, mode)
    return install(registry, mode=mode)


class MetaPathSearch:
    """importlib's search over `sys.meta_path`, without importing the result.

    `obstacle` says what is wrong with a parent package, if that ends the search.
    """

    def __init__(self) -> None:
        self.obstacle: str | None = None
        self._stand_ins: list[str] = []

    def find(self, name: str) -> "tuple[object, ModuleSpec] | None":
        """The finder that answers, and its spec; raises what the finders raise."""
        path: Sequence[str] | None = None
        parent = name.rpartition(".")[0]
        if parent:
            found = self.find(parent)
            if found is None:
                self.obstacle = self.obstacle or f"its package {parent!r} was not found"
                return None
            path = found[1].submodule_search_locations
            if path is None:
                self.obstacle = f"{parent!r} is not a package: {_locate(found[1])}"
                return None
            self._stand_in(parent, path)
        for finder in list(sys.meta_path):
            # overlay answers nobody but importlib
            find_spec = getattr(finder, "search", None) or getattr(finder, "find_spec", None)
            spec = None if find_spec is None else find_spec(name, path)
            if spec is not None:
                return finder, spec
        return None

    def _stand_in(self, name: str, path: Sequence[str]) -> None:
        """Put a module into `sys.modules` for a package: namespace packages below look it up."""
        if get_module(name) is None:
            module = ModuleType(name)
            module.__path__ = path  # type: ignore[assignment]
            set_module(name, module)
            self._stand_ins.append(name)

    def forget(self) -> None:
        for name in self._stand_ins:
            remove_module(name)


def _explain_absence(
    name: str, registry: Registry, finder: Finder, search: MetaPathSearch
) -> str | None:
    """Why the registry does not serve it, or None if neither it nor the finder knows."""
    if environment("FROZENFINDER") == "off":
        return "FROZENFINDER=off is set"
    if registry.mismatch is not None:
        return registry.mismatch
    if name in finder.bypassed:
        return finder.bypassed[name]
    entry = registry.find_entry(name)
    if entry is None:
        return _explain_lack(registry.find_entry(name, tests=True))
    return search.obstacle


def _explain_lack(entry: FrozenEntry | None) -> str:
    if entry is None:
        return "the registry has no module of that name"
    return "it is in table 'test', which is searched only with tests=True"


def _classify(finder: object) -> str:
    stock = {BuiltinImporter: "builtin", FrozenImporter: "frozen", PathFinder: "path"}
    return next((word for each, word in stock.items() if each is finder), "other")


def _describe(finder: object) -> str:
    return finder.__qualname__ if isinstance(finder, type) else repr(finder)


def _locate(spec: ModuleSpec) -> str | None:
    """The file of a spec; for a namespace package, its directories."""
    if spec.origin is None and spec.submodule_search_locations is not None:
        return os.pathsep.join(spec.submodule_search_locations)
    return spec.origin if spec.has_location else None
