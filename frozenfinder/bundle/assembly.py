"""The content of a bundle's registry: the plan, and the run-time half of frozenfinder.

It does not depend on where or when it was made. All its roots except the standard library's are the
bundle itself. It has no times of sources, and no metadata about files outside the distributions.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import frozenfinder
from frozenfinder.freezer import Module, Omission, Plan, Root
from frozenfinder.freezer.write.content import Content, Progress
from frozenfinder.freezer.write.output import Frozen, pack
from frozenfinder.freezer.write.previous import Previous

_RUN_TIME = ("runtime", "closed", "native")  # the folders that programs may import when they boot
_HERE = Root("registry", "", "")
_LOCAL = ("direct_url.json",)  # a distribution's metadata about where it was installed from


@dataclass(frozen=True, slots=True)
class Assembly:
    """The bytes of a registry, in pieces, and the facts that the start of the bundle needs.

    `table`, `suffix` and `release` are arguments of `start.boot`, except that offsets in the table
    count from the first byte of the registry. `tops` are the top-level modules of the program, and
    whether each is a package.
    """

    pieces: list[bytes]
    table: dict[str, tuple[bool, int, int, int]]
    tops: list[tuple[str, bool]]
    suffix: str
    release: int
    content: Content


def assemble(plan: Plan, *, jobs: int, progress: Progress | None = None) -> Assembly:
    """Compile the modules of the plan, and those that a boot from the bundle needs."""
    plan = adapt(plan)
    content = Content(plan)
    content.add_modules(Previous("", plan), jobs, progress)
    content.add_files()
    modules = [*map(_forget_time, content.modules)]
    files = [kept for each in content.files if (kept := _forget_place(_forget_time(each)))]
    pieces = pack(plan, modules, files)
    extensions = any(each.entry.kind == "extension" and each.entry.size for each in modules)
    stdlib = any(each.entry.table == "stdlib" for each in modules)
    return Assembly(
        pieces=pieces,
        table=_locate_run_time(modules, len(pieces[0])),
        tops=sorted(_tops(modules)),
        suffix=EXTENSION_SUFFIXES[0] if extensions else "",
        release=sys.hexversion if stdlib else 0,
        content=content,
    )


def adapt(plan: Plan) -> Plan:
    """The plan of a bundle: except for the standard library, it needs nothing on this disk.

    Extension modules of the standard library are left out, unless the plan is a world: each
    interpreter has its own.
    """
    run_time = {module.name: module for module in _run_time()}
    modules = [*run_time.values(), *(each for each in plan.modules if each.name not in run_time)]
    left = [] if plan.world else [each for each in modules if _is_of_interpreter(each)]
    reason = "is an extension module of the standard library, which the interpreter has"
    return replace(
        plan,
        embed=True,
        checks=(),  # they compare programs on this disk: what they found is in the manifest
        roots=tuple(dict.fromkeys([_HERE, *map(_move, plan.roots)])),
        modules=tuple(replace(each, root=_move(each.root)) for each in modules if each not in left),
        files=tuple(replace(file, root=_move(file.root)) for file in plan.files),
        libraries=tuple(replace(file, root=_move(file.root)) for file in plan.libraries),
        omitted=(*plan.omitted, *(Omission(each.name, each.location, reason) for each in left)),
        asked=tuple(line for line in plan.asked if not line.startswith("path ")),
    )


def _move(root: Root) -> Root:
    return root if root.anchor == "stdlib" else replace(root, anchor="registry", path="")


def _is_of_interpreter(module: Module) -> bool:
    return module.kind == "extension" and module.root.anchor == "stdlib"


def _run_time() -> list[Module]:
    home = Path(frozenfinder.__file__).parent
    root = Root("registry", "", str(home.parent))
    return [
        _plan_run_time(root, path.relative_to(home.parent))
        for folder in (home, *(home / name for name in _RUN_TIME))
        for path in sorted(folder.glob("*.py"))
        if path.stem != "__main__"
    ]


def _plan_run_time(root: Root, path: Path) -> Module:
    is_package = path.stem == "__init__"
    return Module(
        ".".join(path.parent.parts if is_package else path.with_suffix("").parts),
        root,
        path.as_posix(),
        is_package=is_package,
        table="bootstrap",
        why="boots the bundle",
    )


def _locate_run_time(
    modules: Iterable[Frozen], start: int
) -> dict[str, tuple[bool, int, int, int]]:
    """`Assembly.table`, if the blobs begin at byte `start`."""
    entries = [each.entry for each in modules if each.entry.table == "bootstrap"]
    return {
        entry.name: (entry.is_package, start + entry.offset, entry.size, entry.digest)
        for entry in entries
    }


def _tops(modules: Iterable[Frozen]) -> Iterable[tuple[str, bool]]:
    for frozen in modules:
        entry = frozen.entry
        if entry.table == "app" and "." not in entry.name and entry.kind != "excluded":
            yield entry.name, entry.is_package


def _forget_time(frozen: Frozen) -> Frozen:
    frozen.entry.mtime = frozen.entry.state = 0
    frozen.entry.check = "time"
    return frozen


def _forget_place(file: Frozen) -> Frozen | None:
    """The file without facts about this machine; None if it has nothing else."""
    folder, _, name = file.entry.path.rpartition("/")
    if not folder.endswith(".dist-info"):
        return file
    if name in _LOCAL:
        return None
    if name != "RECORD":
        return file
    rows = list(csv.reader(file.blob.decode("utf-8", "surrogateescape").splitlines()))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(row for row in rows if row and _is_kept(row[0]))
    return file._replace(blob=text.getvalue().encode("utf-8", "surrogateescape"))


def _is_kept(path: str) -> bool:
    """Whether a bundle keeps a file of a RECORD: it is the same everywhere."""
    return not (
        path.startswith("../")
        or os.path.isabs(path)
        or path.endswith(".pyc")
        or path.rpartition("/")[2] in _LOCAL
    )
