"""Which shared libraries must be in the same directory as embedded extension modules.

A file is assumed to load a library if it contains the library's name followed by a zero byte: ELF,
Mach-O and PE files name their libraries this way. If the name is there for another reason, the
cache only gets a file that nothing loads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from frozenfinder.native.parcel import ParcelFile, pack_parcel

from .output import Frozen

_UNTAGGED = (".so", ".dylib", ".dll")  # suffixes of modules that others may load as libraries

Loads = Mapping[str, set[str]]


def add_parcels(
    modules: Sequence[Frozen],
    files: Sequence[Frozen],
    beside: Mapping[str, set[str]] | None = None,
) -> list[Frozen]:
    """The modules, with parcels for embedded extension modules.

    `files` are the shared libraries among the registry's data files, and the files in `beside`:
    other files that extension modules need beside themselves, by the modules' paths.
    """
    embedded = [each for each in modules if each.entry.kind == "extension" and each.blob]
    texts: dict[tuple[int, str], bytes] = {}
    for root in {each.entry.root for each in embedded}:
        objects = {each.entry.path: each.blob for each in files if each.entry.root == root}
        libraries = set(objects)
        for each in embedded:
            if each.entry.root == root:
                objects[each.entry.path] = each.blob
                if is_untagged(each.entry.path):
                    libraries.add(each.entry.path)
        for path, text in make_parcels(objects, libraries, beside).items():
            texts[root, path] = text
    return [
        each._replace(text=texts[each.entry.root, each.entry.path])
        if each.entry.kind == "extension" and each.blob
        else each
        for each in modules
    ]


def is_untagged(path: str) -> bool:
    """Whether a module file has the name of a library: `libarrow_python.so`."""
    name = path.rpartition("/")[2]
    return name.endswith(_UNTAGGED) and name.count(".") == 1


def make_parcels(
    objects: Mapping[str, bytes],
    libraries: Iterable[str],
    beside: Mapping[str, set[str]] | None = None,
) -> dict[str, bytes]:
    """The parcel of each object, by path; `objects` maps paths to contents."""
    parcels = {}
    loads = find_loads(objects, libraries)
    for path, files in (beside or {}).items():
        if path in objects:
            loads[path] |= files & objects.keys()
    for needed, others in group(loads):
        together = [*sorted(needed), *sorted(others)]
        text = pack_parcel(
            ParcelFile(
                path,
                digest=sha256(objects[path]).hexdigest(),
                size=len(objects[path]),
                is_library=path in needed,
            )
            for path in together
        )
        parcels.update(dict.fromkeys(together, text))
    return parcels


def find_loads(objects: Mapping[str, bytes], libraries: Iterable[str]) -> dict[str, set[str]]:
    """The libraries that each object loads directly, by path."""
    named: dict[bytes, set[str]] = {}
    for path in libraries:
        named.setdefault(path.rpartition("/")[2].encode() + b"\0", set()).add(path)
    return {
        path: {each for name, paths in named.items() if name in content for each in paths} - {path}
        for path, content in objects.items()
    }


def group(loads: Loads) -> list[tuple[set[str], set[str]]]:
    """Groups of (libraries, other files that load them), without a common file in two groups."""
    groups: list[tuple[set[str], set[str]]] = []
    for path in loads:
        needed, others = find_needed(loads[path], loads), {path}
        apart = []
        for each in groups:
            if (needed | others).isdisjoint(each[0] | each[1]):
                apart.append(each)
            else:
                needed |= each[0]
                others |= each[1]
        groups = [*apart, (needed, others - needed)]
    return groups


def find_needed(libraries: Iterable[str], loads: Loads) -> set[str]:
    """The libraries, and all those that they load, directly or not."""
    closed: set[str] = set()
    pending = set(libraries)
    while pending:
        path = pending.pop()
        closed.add(path)
        pending |= loads[path] - closed
    return closed
