"""The entry of a bundle: a function, as in a console script, or a module, as for `python -m`."""

from __future__ import annotations

import marshal
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution

from frozenfinder.errors import FreezeError
from frozenfinder.freezer import Manifest, Plan, discover, merge_manifests
from frozenfinder.freezer.discovery.imports import find_names
from frozenfinder.freezer.write.output import Frozen

_ENTRY = re.compile(r"(?P<module>\w+(\.\w+)*)(:(?P<function>\w+(\.\w+)*))?\s*(\[.*\])?")
_SCRIPTS = ("console_scripts", "gui_scripts")


@dataclass(frozen=True, slots=True)
class Entry:
    """The module to import and its function to call; without a function, the module to run."""

    module: str
    function: str = ""

    def __str__(self) -> str:
        return f"{self.module}:{self.function}" if self.function else self.module

    def check(self, plan: Plan) -> None:
        """FreezeError unless the plan has the module of the entry."""
        found = {module.name: module for module in plan.modules}.get(self.module)
        missing = "" if found is not None else self.module
        main = f"{self.module}.__main__"
        if found is not None and found.is_package and not self.function:
            missing = "" if any(module.name == main for module in plan.modules) else main
        if missing:
            raise FreezeError(
                f"entry '{self}': module {missing!r} is not among the {len(plan.modules)} modules "
                "to bundle; add it with --distribution, --package or --path",
                module=missing,
            )

    def check_function(self, modules: Iterable[Frozen]) -> None:
        """FreezeError if the code of the module shows that it does not define the function.

        The file of an extension module does not show it.
        """
        first = self.function.partition(".")[0]
        for frozen in modules:
            if (frozen.entry.name, frozen.entry.kind) == (self.module, "source") and first:
                names = find_names(marshal.loads(frozen.blob))
                if not names & {first, "*", "__getattr__"}:
                    raise FreezeError(
                        f"entry '{self}': module {self.module!r} defines no {first!r}",
                        module=self.module,
                    )


def parse_entry(text: str) -> Entry:
    """The entry for `MODULE[:FUNCTION]`, as in entry points; FreezeError for other text."""
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise FreezeError(f"entry {text!r}: expected MODULE or MODULE:FUNCTION")
    return Entry(match["module"], match["function"] or "")


def find_program(
    manifest: Manifest,
    search_path: Sequence[str],
    *,
    script: str | None = None,
    entry: str | None = None,
) -> tuple[Entry, Manifest]:
    """The entry of a program, and `manifest` extended by what the program needs; FreezeError.

    The program is an installed console script, or an entry as for `parse_entry`. Its distribution
    is added. If it belongs to no distribution, or `manifest` already has its module, the modules
    that its import statements reach are added instead: their distributions, unless `manifest`
    names some, and the modules that belong to none.
    """
    if script is not None:
        found, distribution = find_script(script, search_path)
        return found, _add(manifest, distributions=(distribution,))
    found = parse_entry(entry or "")
    owners = find_owners(search_path)
    owner = None if _is_asked(found.module, manifest) else find_owner(found.module, owners)
    if owner is not None:
        return found, _add(manifest, distributions=(owner,))
    reached = _reach(found.module, manifest.paths, search_path)
    own = {name.partition(".")[0] for name in reached if not find_owner(name, owners)}
    packages = tuple(sorted(name for name in own if not _is_asked(name, manifest)))
    imported = {owner for name in reached if (owner := find_owner(name, owners))}
    distributions = () if manifest.distributions else tuple(sorted(imported))
    return found, _add(manifest, packages=packages, distributions=distributions)


def _reach(module: str, folders: tuple[str, ...], search_path: Sequence[str]) -> list[str]:
    """The module, and all that its import statements reach outside the standard library.

    Empty if the module is not found: `Entry.check` reports that.
    """
    search = Manifest(entries=(module,), searches=folders)
    try:
        plan = discover(search, search_path)
    except FreezeError as error:
        if error.module != module:
            raise
        return []
    return [each.name for each in plan.modules if each.table == "app"]


def _is_asked(module: str, manifest: Manifest) -> bool:
    """Whether a manifest names a module's package, or a folder that contains it."""
    top = module.partition(".")[0]
    return top in manifest.packages or any(_holds(path, top) for path in manifest.paths)


def _add(manifest: Manifest, **more: tuple[str, ...]) -> Manifest:
    return merge_manifests([manifest, Manifest(**more)])  # type: ignore[arg-type]


def _holds(folder: str, top: str) -> bool:
    """Whether a folder contains a module or package of that name."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return any(name.partition(".")[0] == top for name in names)


def find_script(name: str, directories: Sequence[str]) -> tuple[Entry, str]:
    """The entry of an installed console script, and its distribution; FreezeError."""
    for distribution in _discover(directories):
        for point in distribution.entry_points:
            if point.group in _SCRIPTS and point.name == name:
                return parse_entry(point.value), str(distribution.metadata["Name"])
    raise FreezeError(
        f"script {name!r}: no distribution in the {len(directories)} directories of sys.path has "
        "an entry point of that name; install one, or use --entry"
    )


def find_owners(directories: Sequence[str]) -> dict[str, str]:
    """The name of each module's distribution, by the module's name."""
    owners: dict[str, str] = {}
    for distribution in _discover(directories):
        name = str(distribution.metadata["Name"])
        for file in distribution.files or ():
            module, _, suffix = file.as_posix().removesuffix("/__init__.py").partition(".")
            if suffix in ("", "py") or f".{suffix}" in EXTENSION_SUFFIXES:
                owners.setdefault(module.replace("/", "."), name)
    return owners


def find_owner(module: str, owners: Mapping[str, str]) -> str | None:
    """The distribution of a module or, if the module has no file, of a package that it is in."""
    while module:
        if module in owners:
            return owners[module]
        module = module.rpartition(".")[0]
    return None


def _discover(directories: Sequence[str]) -> Iterator[Distribution]:
    yield from Distribution.discover(path=list(directories))
