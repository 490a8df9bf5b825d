"""Discovery: from what is asked for to the plan. It looks at directories, and executes nothing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.machinery import FileFinder, ModuleSpec

from frozenfinder.errors import FreezeError

from .manifest import Manifest, format_manifest
from .plan import Omission, Plan, is_excluded, merge, path_below
from .roots import find_root, stdlib_directory
from .scan import LOADERS, Scan

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


def discover(manifest: Manifest, search_path: Sequence[str] | None = None) -> Plan:
    """The plan of what `manifest` asks for; FreezeError names what cannot be found.

    `search_path` is None for `sys.path`.
    """
    scanned_ns = time.time_ns()
    directories = _directories(sys.path if search_path is None else search_path)
    plans = [_plan_path(path) for path in manifest.paths]
    if manifest.distributions:
        # deferred: importlib.metadata takes longer to import than all the rest
        from .distributions import plan_distributions

        plans += plan_distributions(
            manifest.distributions, directories, with_dependencies=manifest.with_dependencies
        )
    plans += [_plan_package(name, directories) for name in manifest.packages]
    if manifest.stdlib or manifest.stdlib_tests:
        plans += _plan_stdlib(manifest.stdlib_tests)
    optimize = sys.flags.optimize if manifest.optimize is None else manifest.optimize
    asked = Plan(
        optimize=optimize,
        with_source=manifest.with_source,
        world=manifest.world,
        embed=manifest.extensions == "embed",
        excludes=manifest.excludes,
        asked=format_manifest(manifest, optimize, lambda path: str(find_root(path))),
        scanned_ns=scanned_ns,
    )
    plan = merge([asked, *plans], directories)
    return plan if plan.embed else _leave_libraries(plan)


def _leave_libraries(plan: Plan) -> Plan:
    reason = "is a shared library that no import finds, and stays where it is"
    left = [Omission(each.path, each.location, reason) for each in plan.libraries]
    return replace(plan, libraries=(), omitted=(*plan.omitted, *left))


def _directories(search_path: Iterable[object]) -> list[str]:
    absolute = [os.path.abspath(item) for item in search_path if isinstance(item, str)]
    return [directory for directory in dict.fromkeys(absolute) if os.path.isdir(directory)]


# -- the standard library


def _plan_stdlib(tests: bool) -> Iterator[Plan]:
    directory = stdlib_directory()
    skipped = {name.replace(".", "/") for name in TEST_PACKAGES if not tests}
    skipped.update(_NOT_STDLIB)
    skipped.update(name for name in os.listdir(directory) if name.startswith("config-"))
    scan = Scan(directory, frozenset(skipped))
    plan = scan.plan(find_root(directory), scan.paths(), why="stdlib", table="stdlib")
    inside = [file for file in plan.files if "/" in file.path]  # others are of the build
    modules = [
        replace(module, table="test") if is_excluded(module.name, TEST_PACKAGES) else module
        for module in plan.modules
    ]
    yield replace(plan, modules=tuple(modules), files=tuple(inside))
    dlls = os.path.join(sys.base_prefix, "DLLs")  # of Windows
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


def _plan_package(name: str, directories: Sequence[str]) -> Plan:
    """The module or package of that name and what is below it, with the packages that it is in."""
    parts = name.split(".")
    if not all(parts):
        raise FreezeError(f"package {name!r}: is not the name of a module", module=name)
    specs: list[ModuleSpec] = []
    origins: list[str] = []
    folders = list(directories)
    for depth in range(1, len(parts) + 1):
        part = ".".join(parts[:depth])
        specs = list(_find_specs(part, folders))
        if not specs:
            raise FreezeError(_explain_missing(name, part, len(directories)), module=name)
        origins += [spec.origin for spec in specs if spec.origin]
        folders = [folder for spec in specs for folder in spec.submodule_search_locations or ()]
    return merge([_plan_spec(spec, origins, f"package {name}") for spec in specs], directories)


def _find_specs(name: str, folders: Iterable[str]) -> Iterator[ModuleSpec]:
    """What an import of `name` finds in `folders`: a module, or portions of a namespace package.

    As `PathFinder._get_spec`, but it leaves `sys.path_importer_cache` and `sys.modules` alone.
    """
    portions = []
    for folder in folders:
        spec = FileFinder(folder, *LOADERS).find_spec(name)
        if spec is None:
            continue
        if spec.loader is not None:
            yield spec
            return
        portions.append(spec)
    yield from portions


def _explain_missing(name: str, part: str, searched: int) -> str:
    inside = "" if part == name else f" (no module {part!r})"
    if part in sys.builtin_module_names:
        return f"package {name!r}: {part!r} is built into the interpreter, which leaves no file"
    return (
        f"package {name!r}: not found in the {searched} directories of sys.path{inside}; "
        "a package that is installed in another way is frozen with --path and its folder"
    )


def _plan_spec(spec: ModuleSpec, origins: Iterable[str], why: str) -> Plan:
    """The plan of a found module and what is below it, with those of `origins` that it is in."""
    locations = spec.submodule_search_locations
    folder = os.path.abspath(locations[0] if locations else os.path.dirname(spec.origin or ""))
    top = _climb(folder, spec.name.count(".") + bool(locations))
    scan = Scan(top)
    paths = {below for origin in origins if (below := path_below(os.path.abspath(origin), top))}
    if locations:
        paths.update(scan.paths(path_below(folder, top) or ""))
    return scan.plan(find_root(top), paths, why=why)


def _climb(folder: str, levels: int) -> str:
    for _ in range(levels):
        folder = os.path.dirname(folder)
    return folder
