"""Discovery: from a manifest to the plan. It reads directories, and executes nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.machinery import ModuleSpec
from itertools import takewhile
from typing import TYPE_CHECKING

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.manifest import Manifest, format_manifest
from frozenfinder.freezer.plan import Omission, Plan, is_excluded, merge, path_below

from .anchors import find_root, stdlib_directory
from .scan import Scan
from .search import Search
from .specs import climb, plan_modules

if TYPE_CHECKING:
    from frozenfinder.freezer.write.content import Progress

TEST_PACKAGES = (
    "ctypes.test",
    "distutils.tests",
    "idlelib.idle_test",
    "lib2to3.tests",
    "sqlite3.test",
    "test",
    "tkinter.test",
    "unittest.test",
)
_NOT_STDLIB = ("site-packages", "dist-packages", "lib-dynload")
_WILDCARD = re.compile(r"[*?\[]")


def discover(
    manifest: Manifest,
    search_path: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """The plan for a manifest; FreezeError says what cannot be found.

    `search_path` is None for `sys.path`. `progress` is called while the imports of entries are
    followed, with the number of modules that were read, the number of modules that were reached so
    far, and a name.
    """
    search = Search([*manifest.searches, *(sys.path if search_path is None else search_path)])
    optimize = sys.flags.optimize if manifest.optimize is None else manifest.optimize
    asked = Plan(
        optimize=optimize,
        strip_docstrings=manifest.strip_docstrings,
        with_source=manifest.with_source,
        world=manifest.world,
        embed=manifest.extensions == "embed",
        lazy=manifest.lazy,
        eager=manifest.eager,
        checks=manifest.checks,
        excludes=manifest.excludes,
        lay_out=manifest.lay_out,
        patterns=manifest.patterns,
        texts=manifest.texts,
        named=manifest.packages,
        asked=format_manifest(manifest, optimize, lambda path: str(find_root(path))),
    )
    reached = _plan_reached(manifest, search, optimize, progress)
    plans = [asked, *reached, *_plan_asked(manifest, search)]
    plan = merge(plans, search.directories)
    _check_lay_out(plan, manifest.lay_out)
    return plan if plan.embed else _leave_libraries(plan)


def _plan_asked(manifest: Manifest, search: Search) -> Iterator[Plan]:
    """The plans for everything except entries."""
    yield from map(_plan_path, manifest.paths)
    if manifest.distributions or manifest.metadata:
        # deferred: importlib.metadata takes longer to import than everything else
        from .distributions import plan_distributions, plan_metadata

        yield from plan_distributions(
            manifest.distributions,
            search.directories,
            with_dependencies=manifest.with_dependencies,
        )
        yield from plan_metadata(manifest.metadata, search.directories)
    for name in manifest.packages:
        yield _plan_package(name, search)
    for glob in manifest.data:
        yield _plan_data(glob, search)
    if manifest.stdlib or manifest.stdlib_tests:
        yield from _plan_stdlib(manifest.stdlib_tests)
    if manifest.recorded:
        yield _plan_recorded(manifest.recorded, search)


def _plan_reached(
    manifest: Manifest, search: Search, optimize: int, progress: Progress | None
) -> Iterator[Plan]:
    """The plans for the modules that entries reach, and for what rules ask for, if it exists."""
    if not manifest.entries:
        return
    # deferred: like importlib.metadata, dis and inspect are slow to import
    from .distributions import plan_owners
    from .reach import reach
    from .rules import Rules

    reached = reach(manifest, search, optimize, Rules(), progress)
    yield reached.plan
    roots = {each.root.directory for each in reached.plan.modules if each.table == "app"}
    tops = {each.name for each in reached.plan.modules if each.table == "app"}
    tops = {name for name in tops if "." not in name}
    yield from plan_owners(tops, roots, search.directories)
    asked = reached.asked
    for words in ("distributions", "metadata", "data"):
        for word in getattr(asked, words):
            with suppress(FreezeError):
                alone = Manifest(**{words: (word,)})  # type: ignore[arg-type]
                yield from _plan_asked(alone, search)
    lay_out = tuple(name for name in asked.lay_out if name in reached.plan.reached)
    yield Plan(lay_out=lay_out)


def _check_lay_out(plan: Plan, names: Iterable[str]) -> None:
    packages = {module.name for module in plan.modules if module.is_package}
    for name in names:
        if "." in name or name not in packages:
            raise FreezeError(
                f"lay-out {name!r}: is not a top-level package among the frozen modules",
                module=name,
            )


def _leave_libraries(plan: Plan) -> Plan:
    reason = "is a shared library, which is embedded only with --extensions=embed"
    left = [Omission(each.path, each.location, reason) for each in plan.libraries]
    return replace(plan, libraries=(), omitted=(*plan.omitted, *left))


# -- the standard library


def _plan_stdlib(tests: bool) -> Iterator[Plan]:
    directory = stdlib_directory()
    skipped = {name.replace(".", "/") for name in TEST_PACKAGES if not tests}
    skipped.update(_NOT_STDLIB)
    skipped.update(name for name in os.listdir(directory) if name.startswith("config-"))
    scan = Scan(directory, frozenset(skipped))
    plan = scan.plan(find_root(directory), scan.paths(), why="stdlib", table="stdlib")
    inside = [file for file in plan.files if "/" in file.path]  # the others belong to the build
    modules = [
        replace(module, table="test") if is_excluded(module.name, TEST_PACKAGES) else module
        for module in plan.modules
    ]
    yield replace(plan, modules=tuple(modules), files=tuple(inside))
    dlls = os.path.join(sys.base_prefix, "DLLs")  # on Windows
    for extensions in (os.path.join(directory, "lib-dynload"), dlls):
        if os.path.isdir(extensions):
            scan = Scan(extensions)
            plan = scan.plan(find_root(extensions), scan.paths(), why="stdlib", table="stdlib")
            yield replace(plan, files=())


# -- a directory


def _plan_path(path: str) -> Plan:
    if not os.path.isdir(path):
        found = "is not a directory" if os.path.exists(path) else "does not exist"
        raise FreezeError(f"path {path!r}: {found}, expected a directory of modules and packages")
    root = find_root(path)
    scan = Scan(root.directory)
    return scan.plan(root, scan.paths(), why=f"path {path}")


# -- a package


def _plan_package(name: str, search: Search) -> Plan:
    """The module or package of that name and everything below it, with its parent packages."""
    specs = _find(name, search, "package")
    parts = name.split(".")
    parents = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    origins = [spec.origin for each in parents for spec in search.find(each) if spec.origin]
    plans = [_plan_spec(spec, origins, f"package {name}") for spec in specs]
    return merge(plans, search.directories)


def _find(name: str, search: Search, word: str) -> tuple[ModuleSpec, ...]:
    """The specs of the module in a manifest line with `word`; FreezeError if it is not found."""
    parts = name.split(".")
    if not all(parts):
        raise FreezeError(f"{word} {name!r}: is not the name of a module", module=name)
    for depth in range(1, len(parts) + 1):
        part = ".".join(parts[:depth])
        if not search.find(part):
            raise FreezeError(
                _explain_missing(word, name, part, len(search.directories)), module=name
            )
    return search.find(name)


def _explain_missing(word: str, name: str, part: str, searched: int) -> str:
    inside = "" if part == name else f" (no module {part!r})"
    if part in sys.builtin_module_names:
        return (
            f"{word} {name!r}: {part!r} is built into the interpreter, so there is no file to "
            "freeze"
        )
    return (
        f"{word} {name!r}: not found in the {searched} directories of sys.path{inside}; "
        "if it is installed elsewhere, freeze its folder with --path"
    )


def _plan_spec(spec: ModuleSpec, origins: Iterable[str], why: str) -> Plan:
    """The plan of a found module and everything below it, with `origins` from the same root."""
    locations = spec.submodule_search_locations
    folder = os.path.abspath(locations[0] if locations else os.path.dirname(spec.origin or ""))
    top = climb(folder, spec.name.count(".") + bool(locations))
    scan = Scan(top)
    paths = {below for origin in origins if (below := path_below(os.path.abspath(origin), top))}
    if locations:
        paths.update(scan.paths(path_below(folder, top) or ""))
    return scan.plan(find_root(top), paths, why=why)


def _plan_recorded(names: Iterable[str], search: Search) -> Plan:
    """Single modules, each with its parent packages, in the order of a recorded run."""
    ordered: dict[str, None] = {}
    for name in names:
        _find(name, search, "recorded")
        parts = name.split(".")
        ordered.update((".".join(parts[: depth + 1]), None) for depth in range(len(parts)))
    return replace(plan_modules(ordered, search, why="recorded"), boot=tuple(ordered))


# -- data files


def _plan_data(glob: str, search: Search) -> Plan:
    """The data files whose paths relative to a searched directory match."""
    parts = glob.split("/")
    literal = list(takewhile(lambda part: not _WILDCARD.search(part), parts[:-1]))
    plans = []
    for directory in search.directories:
        folder = "/".join(literal)
        if os.path.isdir(os.path.join(directory, folder)):
            scan = Scan(directory, frozenset(_NOT_STDLIB))
            paths = [path for path in scan.paths(folder) if fnmatchcase(path, glob)]
            plans.append(scan.plan(find_root(directory), paths, why=""))
    files = [file for plan in plans for file in plan.files]
    libraries = [file for plan in plans for file in plan.libraries]
    if not files and not libraries:
        raise FreezeError(
            f"include-data {glob!r}: no data file below the {len(search.directories)} directories "
            "of sys.path matches; a path begins with a package, as in 'certifi/*.pem'"
        )
    roots = tuple({file.root: None for file in (*files, *libraries)})
    return Plan(roots=roots, files=tuple(files), libraries=tuple(libraries))
