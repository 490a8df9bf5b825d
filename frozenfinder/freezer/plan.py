"""The plan of a freeze: what goes into a registry, why, and from which root. Pure data.

A root is a directory in which imports are searched. The registry has its anchor and the path below
that, not the directory on this machine, so the same tree at another place gives the same bytes. A
root with the anchor `absolute` is the exception.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import chain
from typing import TypeVar

from frozenfinder.runtime.layout import TABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.runtime.layout import Anchor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Root:
    """A directory, as `path` below an anchor of `layout.ANCHORS`, with `/` between its parts.

    `directory` is its path on this machine.
    """

    anchor: Anchor
    path: str
    directory: str = field(compare=False)

    def __str__(self) -> str:
        return self.path if self.anchor == "absolute" else f"<{self.anchor}>/{self.path}"

    def locate(self, path: str) -> str:
        """The file or folder on this machine at `path` below the root."""
        return os.path.join(self.directory, *path.split("/"))


@dataclass(frozen=True, slots=True)
class Module:
    """A module.

    `kind` is `source`, `sourceless`, `extension`, `namespace`, `excluded` or `alias`. `path` is
    relative to the root; for a namespace package it is the folder. `origname` is the name of an
    alias's target, and `why` says what asked for the module.
    """

    name: str
    root: Root
    path: str
    kind: str = "source"
    is_package: bool = False
    table: str = "app"
    origname: str | None = None
    why: str = field(default="", compare=False)

    @property
    def location(self) -> str:
        return self.root.locate(self.path)


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that is not a module, at `path` below the root: data, or a shared library."""

    path: str
    root: Root

    @property
    def location(self) -> str:
        return self.root.locate(self.path)


@dataclass(frozen=True, slots=True)
class Omission:
    """A module or file at `location` that was left out; `name` is a module's name, or a path."""

    name: str
    location: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to freeze.

    `roots` are in the order of precedence; their positions are their numbers in the registry.
    `excluded` are the modules that `excludes` kept out, without those below them; `omitted` are
    other modules and files that were found but left out. With `embed`, extension modules and the
    shared `libraries` become part of the registry.
    `boot` names the modules that a recorded run imported, in that order, and `reached` those in the
    import graph of the entries. `missing` has names that were not found, each with a module that
    imports it; the standard library counts as complete. `lay_out` names top-level packages whose
    files closed mode writes to disk. `patterns` are regular expressions of a recorded run, and
    `texts` are what modules compiled in it, both as in a manifest. `named` are modules that were
    requested by name: if one cannot be frozen, the freeze fails. `unseen` has sentences about what
    a recorded run did not record. With `lazy`, imports of modules wait until their names are used,
    except in modules whose names match a pattern of `eager`; `checks` are commands that must do the
    same as if none waited. `asked` are the lines of a manifest that asks for the same.
    """

    roots: tuple[Root, ...] = ()
    modules: tuple[Module, ...] = ()
    files: tuple[DataFile, ...] = ()
    libraries: tuple[DataFile, ...] = ()
    omitted: tuple[Omission, ...] = ()
    excluded: tuple[Omission, ...] = ()
    boot: tuple[str, ...] = ()
    reached: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    lay_out: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    optimize: int = 0
    strip_docstrings: bool = False
    with_source: bool = False
    world: bool = False
    embed: bool = False
    lazy: bool = False
    eager: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()


def merge(plans: Iterable[Plan], search_path: Sequence[str] = ()) -> Plan:
    """The union of plans, without what they exclude, in an order that depends on nothing else.

    Of several modules with one name, the one is kept that a search would find: roots that are not
    on `search_path` come first, in the order of the plans, and then those on it, in its order.
    """
    plans = tuple(plans)
    excludes = _distinct(chain.from_iterable(plan.excludes for plan in plans))
    roots = _order(_distinct(chain.from_iterable(plan.roots for plan in plans)), search_path)
    modules, shadowed = _resolve(
        [m for plan in plans for m in plan.modules if not is_excluded(m.name, excludes)], roots
    )
    kept_out = _explain_excluded([m for plan in plans for m in plan.modules], excludes)
    files = [f for plan in plans for f in plan.files if not _is_file_excluded(f, excludes)]
    libraries = [f for plan in plans for f in plan.libraries if not _is_file_excluded(f, excludes)]
    return Plan(
        roots=roots,
        modules=modules,
        files=_first_of_each_path(files, roots),
        libraries=_first_of_each_path(libraries, roots),
        omitted=_distinct([*chain.from_iterable(plan.omitted for plan in plans), *shadowed]),
        excluded=_distinct([*chain.from_iterable(plan.excluded for plan in plans), *kept_out]),
        boot=_distinct(chain.from_iterable(plan.boot for plan in plans)),
        reached=_distinct(chain.from_iterable(plan.reached for plan in plans)),
        missing=_distinct(chain.from_iterable(plan.missing for plan in plans)),
        lay_out=_distinct(chain.from_iterable(plan.lay_out for plan in plans)),
        patterns=_distinct(chain.from_iterable(plan.patterns for plan in plans)),
        texts=_distinct(chain.from_iterable(plan.texts for plan in plans)),
        named=_distinct(chain.from_iterable(plan.named for plan in plans)),
        unseen=_distinct(chain.from_iterable(plan.unseen for plan in plans)),
        strip_docstrings=any(plan.strip_docstrings for plan in plans),
        optimize=max((plan.optimize for plan in plans), default=0),
        with_source=any(plan.with_source for plan in plans),
        world=any(plan.world for plan in plans),
        embed=any(plan.embed for plan in plans),
        lazy=any(plan.lazy for plan in plans),
        eager=_distinct(chain.from_iterable(plan.eager for plan in plans)),
        checks=_distinct(chain.from_iterable(plan.checks for plan in plans)),
        excludes=excludes,
        asked=_distinct(chain.from_iterable(plan.asked for plan in plans)),
    )


def anchor(plan: Plan, folder: str) -> Plan:
    """The plan of a registry in `folder`: absolute roots in or below it become relative to it."""
    anchored = {root: _anchor_root(root, folder) for root in plan.roots}
    renamed = {
        f"{word} {root}": f"{word} {anchored[root]}"
        for root in plan.roots
        for word in ("path", "search")
    }
    return replace(
        plan,
        asked=tuple(renamed.get(line, line) for line in plan.asked),
        roots=tuple(anchored.values()),
        modules=tuple(replace(module, root=anchored[module.root]) for module in plan.modules),
        files=tuple(replace(file, root=anchored[file.root]) for file in plan.files),
        libraries=tuple(replace(file, root=anchored[file.root]) for file in plan.libraries),
    )


def _anchor_root(root: Root, folder: str) -> Root:
    below = path_below(root.directory, folder)
    if root.anchor != "absolute" or below is None:
        return root
    return replace(root, anchor="registry", path=below)


def path_below(path: str, folder: str) -> str | None:
    """`path` relative to `folder`, with `/` between its parts; None if it is not in or below it."""
    if path == folder:
        return ""
    start = folder.rstrip(os.sep) + os.sep
    return path.removeprefix(start).replace(os.sep, "/") if path.startswith(start) else None


def is_excluded(name: str, globs: Iterable[str]) -> bool:
    """Whether a glob matches the dotted name, or a package that it is in."""
    return any(fnmatchcase(name, glob) or fnmatchcase(name, f"{glob}.*") for glob in globs)


def _explain_excluded(modules: Iterable[Module], globs: Sequence[str]) -> Iterator[Omission]:
    """The modules that the globs exclude, without those below them."""
    for module in modules:
        glob = next((glob for glob in globs if is_excluded(module.name, [glob])), None)
        if glob is not None and not is_excluded(module.name.rpartition(".")[0], globs):
            yield Omission(module.name, module.location, f"is excluded by {glob!r}")


def _is_file_excluded(file: DataFile, globs: tuple[str, ...]) -> bool:
    folder = file.path.rpartition("/")[0]
    return bool(folder) and is_excluded(folder.replace("/", "."), globs)


def _order(roots: tuple[Root, ...], search_path: Sequence[str]) -> tuple[Root, ...]:
    places = {directory: place for place, directory in reversed(list(enumerate(search_path)))}
    return tuple(sorted(roots, key=lambda root: places.get(root.directory, -1)))


def _resolve(
    modules: list[Module], roots: tuple[Root, ...]
) -> tuple[tuple[Module, ...], list[Omission]]:
    """The modules that a search would find, by table and name, and those that they shadow."""
    places = {root: place for place, root in enumerate(roots)}
    candidates: dict[str, list[Module]] = {}
    for module in modules:
        candidates.setdefault(module.name, []).append(module)
    found: dict[str, Module] = {}
    shadowed: list[Omission] = []
    for name in sorted(candidates, key=lambda name: (name.count("."), name)):
        parent = name.rpartition(".")[0]
        reachable = [m for m in candidates[name] if _is_reachable(m, parent, found, candidates)]
        if reachable:
            found[name] = min(reachable, key=lambda module: _rank(module, places))
        winner = found.get(name) or found.get(parent)
        if winner is not None:
            shadowed += [_shadow(m, winner) for m in candidates[name] if _is_lost(m, winner)]
    ordered = sorted(found.values(), key=lambda m: (TABLES.index(m.table), m.name))
    return tuple(ordered), shadowed


def _is_reachable(
    module: Module, parent: str, found: Mapping[str, Module], candidates: Mapping[str, object]
) -> bool:
    """Whether an import of the parent's name finds the package that the module is in.

    The portions of a namespace package may come from any root. A parent that is not in the plan is
    assumed to be the right one.
    """
    package = found.get(parent)
    if package is None:
        return parent not in candidates
    return package.is_package and (package.kind == "namespace" or package.root == module.root)


def _rank(module: Module, places: Mapping[Root, int]) -> tuple[bool, int, int]:
    """The rank in a search: other kinds before a namespace, then by the order of the roots."""
    return module.kind == "namespace", places[module.root], TABLES.index(module.table)


def _is_lost(module: Module, winner: Module) -> bool:
    same_file = (module.root, module.path) == (winner.root, winner.path)
    portion = module.kind == "namespace" and winner.name == module.name
    return not same_file and not portion


def _shadow(module: Module, winner: Module) -> Omission:
    return Omission(module.name, module.location, f"is shadowed by {winner.location!r}")


def _first_of_each_path(files: list[DataFile], roots: tuple[Root, ...]) -> tuple[DataFile, ...]:
    places = {root: place for place, root in enumerate(roots)}
    first: dict[str, DataFile] = {}
    for file in sorted(files, key=lambda file: (file.path, places[file.root])):
        first.setdefault(file.path, file)
    return tuple(first.values())


def _distinct(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
