"""What is in a bundle's registry: what was planned, and the run-time half of frozenfinder.

Nothing in it tells where or when it was made. All its roots but the standard library's are the
bundle itself, the sources' times are left out, and of the metadata of distributions what is said of
files outside them.
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

_RUN_TIME = ("runtime", "closed", "native")  # the folders of what programs that boot may import
_HERE = Root("registry", "", "")
_LOCAL = ("direct_url.json",)  # of a distribution's metadata: where it was installed from


@dataclass(frozen=True, slots=True)
class Assembly:
    """The bytes of a registry, in pieces, and what the start of the bundle has to know of it.

    `table`, `suffix` and `release` are what `start.boot` takes, but that offsets in the table count
    from the first byte of the registry. `tops` are the top-level modules of the program, and
    whether each is a package.
    """

    pieces: list[bytes]
    table: dict[str, tuple[bool, int, int, int]]
    tops: list[tuple[str, bool]]
    suffix: str
    release: int
    content: Content


def assemble(plan: Plan, *, jobs: int, progress: Progress | None = None) -> Assembly:
    """Compile what is planned, and what it takes to boot from it."""
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
    """The plan of a bundle: nothing in it but of the standard library needs what is on this disk.

    The interpreter has the extension modules of its standard library, which are built for it, so
    those are left out unless the bundle is to be all there is.
    """
    run_time = {module.name: module for module in _run_time()}
    modules = [*run_time.values(), *(each for each in plan.modules if each.name not in run_time)]
    left = [] if plan.world else [each for each in modules if _is_of_interpreter(each)]
    reason = "is an extension module of the standard library, which the interpreter has"
    return replace(
        plan,
        embed=True,
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
    """`Assembly.table`, for blobs that begin at `start`."""
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
    frozen.entry.mtime = 0
    return frozen


def _forget_place(file: Frozen) -> Frozen | None:
    """The file without what it says of this machine, None where that is all."""
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
    """Whether a file that a RECORD lists is one that the bundle can have, the same everywhere."""
    return not (
        path.startswith("../")
        or os.path.isabs(path)
        or path.endswith(".pyc")
        or path.rpartition("/")[2] in _LOCAL
    )
