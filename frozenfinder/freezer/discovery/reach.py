"""Reaching: from entries to the modules that they import, and the files that these need."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import TYPE_CHECKING

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.compile.compiler import Compiler, Task
from frozenfinder.freezer.manifest import Manifest, merge_manifests
from frozenfinder.freezer.plan import DataFile, Omission, Plan, Root, is_excluded

from .anchors import find_root
from .graph import Graph
from .imports import find_names
from .rules import Rules
from .scan import Scan
from .search import Search
from .specs import plan_modules

if TYPE_CHECKING:
    from frozenfinder.freezer.write.content import Progress

_STANDARD = sys.stdlib_module_names | {"__main__"}  # other platforms may have those missing here


@dataclass(frozen=True, slots=True)
class Reached:
    """The plan of what the entries of a manifest reach, and what rules ask for in addition."""

    plan: Plan
    asked: Manifest


def reach(
    manifest: Manifest,
    search: Search,
    optimize: int,
    rules: Rules,
    progress: Progress | None = None,
) -> Reached:
    """Follow the entries; FreezeError for one that is not found, or has no code."""
    graph = Graph(search, optimize, manifest.excludes)
    for entry in manifest.entries:
        _add_entry(graph, search, entry, manifest.excludes, optimize)
    asked = Manifest()
    for number, name in enumerate(graph.follow(), 1):
        if progress is not None:
            progress(number, len(graph.modules), name)
        rule = rules.apply(name)
        if rule is not None:
            asked = merge_manifests([asked, rule])
            for package in rule.packages:
                _add_package(graph, search, package, f"the rule for {name}")
    return Reached(_plan_graph(graph, search), asked)


def _plan_graph(graph: Graph, search: Search) -> Plan:
    plan = plan_modules(graph.modules, search)
    beside = list(_plan_data(graph.modules, search))
    stdlib = {module.name for module in plan.modules if module.table == "stdlib"}
    return replace(
        plan,
        files=tuple(file for each in beside for file in each.files),
        libraries=tuple(file for each in beside for file in each.libraries),
        reached=tuple(sorted(graph.modules)),
        missing=tuple(
            (name, importer)
            for name, importer in sorted(graph.missing.items())
            if importer not in stdlib and name.partition(".")[0] not in _STANDARD
        ),
        excluded=tuple(
            Omission(name, "", f"is excluded, and imported by {importer}")
            for name, importer in sorted(graph.excluded.items())
        ),
    )


def _add_entry(
    graph: Graph, search: Search, entry: str, excludes: Sequence[str], optimize: int
) -> None:
    name, colon, attribute = entry.partition(":")
    if not all(name.split(".")) or (colon and not all(attribute.split("."))):
        raise FreezeError(f"entry {entry!r}: expected MODULE or MODULE:FUNCTION")
    if is_excluded(name, excludes):
        raise FreezeError(f"entry {entry!r}: is excluded", module=name)
    if not graph.add(name, f"entry {entry}"):
        raise FreezeError(
            f"entry {entry!r}: module {name!r} was not found in the {len(search.directories)} "
            "directories of sys.path; name a module that can be imported, or add its folder with "
            "--search",
            module=name,
        )
    specs = search.find(name)
    _check_code(entry, specs[0], optimize)
    code = graph.load(specs[0])
    if attribute and code is not None:
        first = attribute.partition(".")[0]
        if not find_names(code) & {first, "*", "__getattr__"}:
            raise FreezeError(f"entry {entry!r}: module {name!r} defines no {first!r}", module=name)
    if not attribute and search.find(f"{name}.__main__"):
        graph.add(f"{name}.__main__", f"entry {entry}")


def _check_code(entry: str, spec: ModuleSpec, optimize: int) -> None:
    if isinstance(spec.loader, SourceFileLoader) and spec.origin is not None:
        task = Task(spec.origin, spec.origin, sourceless=False, with_source=False)
        reason = Compiler(optimize).compile(task).reason
        if reason is not None:
            raise FreezeError(f"entry {entry!r}: {spec.origin!r} {reason}", module=spec.name)


def _add_package(graph: Graph, search: Search, name: str, importer: str) -> None:
    """Add a module and everything importable below it, if it exists."""
    specs = search.find(name)
    if specs and graph.add(name, importer):
        for spec in specs:
            for folder in spec.submodule_search_locations or ():
                for tail in _list_modules(folder):
                    _add_package(graph, search, f"{name}.{tail}", importer)


def _list_modules(folder: str) -> list[str]:
    scan = Scan(folder)
    modules = scan.plan(Root("absolute", folder, folder), scan.paths(), why="").modules
    return [module.name for module in modules if "." not in module.name]


# -- files beside the modules


def _plan_data(names: Collection[str], search: Search) -> Iterator[Plan]:
    """The data files and shared libraries in the folders of packages that were reached.

    Those of the standard library stay where they are.
    """
    for top in sorted(name for name in names if "." not in name):
        for spec in search.find(top):
            for folder in spec.submodule_search_locations or ():
                directory, inside = os.path.split(os.path.abspath(folder))
                root = find_root(directory)
                if root.anchor != "stdlib":
                    scan = Scan(directory)
                    yield _keep_reached(scan.plan(root, scan.paths(inside), why=""), names)


def _keep_reached(plan: Plan, names: Collection[str]) -> Plan:
    packages = {each.name for each in plan.modules if each.is_package and each.kind != "namespace"}

    def is_kept(file: DataFile) -> bool:
        package = file.path.rpartition("/")[0].replace("/", ".")
        while package and package not in packages:
            package = package.rpartition(".")[0]
        return not package or package in names

    return replace(
        plan,
        files=tuple(filter(is_kept, plan.files)),
        libraries=tuple(filter(is_kept, plan.libraries)),
    )
