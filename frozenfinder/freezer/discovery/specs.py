"""From the specs of a search to a plan of just these modules."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from functools import cache
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader

from frozenfinder.freezer.plan import Module, Plan, path_below

from .anchors import find_root
from .search import Search


def plan_modules(names: Collection[str], search: Search, why: str = "entry") -> Plan:
    """The plan of modules that a search finds, without anything below them."""
    modules = [module for name in names for module in _make_modules(name, search, why)]
    return Plan(roots=tuple({module.root: None for module in modules}), modules=tuple(modules))


def _make_modules(name: str, search: Search, why: str) -> Iterator[Module]:
    for spec in search.find(name):
        locations = spec.submodule_search_locations
        is_package = locations is not None
        location = os.path.abspath(spec.origin or (locations or [""])[0])
        levels = name.count(".") + 1 + (is_package and spec.loader is not None)
        root = _find_root(climb(location, levels))
        table = "stdlib" if root.anchor == "stdlib" else "app"
        path = path_below(location, root.directory) or ""
        yield Module(name, root, path, _find_kind(spec), is_package, table, why=why)


_find_root = cache(find_root)


def _find_kind(spec: ModuleSpec) -> str:
    if spec.loader is None:
        return "namespace"
    if isinstance(spec.loader, ExtensionFileLoader):
        return "extension"
    return "source" if isinstance(spec.loader, SourceFileLoader) else "sourceless"


def climb(path: str, levels: int) -> str:
    """The folder `levels` above a path."""
    for _ in range(levels):
        path = os.path.dirname(path)
    return path
