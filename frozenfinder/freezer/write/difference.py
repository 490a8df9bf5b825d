"""The difference between two registries: what was added, removed and changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from frozenfinder.runtime.layout import FrozenEntry
from frozenfinder.runtime.registry import Registry


@dataclass(frozen=True, slots=True)
class Change:
    """A module or data file that differs.

    `how` is "added" or "removed", or lists the differences: "code" (for a file, "content"),
    "source", "kind", "place", "lay-out", or, if nothing else differs, the "stamp" of the source.
    The sizes are in bytes and include the source; one is None if the item is not in that registry.
    """

    name: str
    how: tuple[str, ...]
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """All differences: `facts` are (name, before, after) for properties of the whole registry."""

    facts: tuple[tuple[str, object, object], ...]
    modules: tuple[Change, ...]
    files: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.facts or self.modules or self.files)


def find_difference(before: Registry, after: Registry) -> Difference:
    """The difference; RegistryError if one of the registries is damaged."""
    old, new = _gather_facts(before), _gather_facts(after)
    facts = [(name, old[name], new[name]) for name in old if old[name] != new[name]]
    return Difference(
        facts=tuple((name, *_leave_common(a, b)) for name, a, b in facts),
        modules=tuple(_compare(before, before.entries(), after, after.entries())),
        files=tuple(_compare(before, before.files(), after, after.files())),
    )


def _gather_facts(registry: Registry) -> dict[str, object]:
    header = registry.header
    info = registry.info()
    return {
        "cache tag": header.cache_tag,
        "magic number": header.magic,
        "marshal version": header.marshal_version,
        "optimisation level": header.optimize,
        "world": header.world,
        "frozenfinder": info.get("frozenfinder"),
        "asked for": info.get("asked"),
    }


def _leave_common(before: object, after: object) -> tuple[object, object]:
    """Of two lists, the items that are not in both; other values unchanged."""
    if not isinstance(before, list) or not isinstance(after, list):
        return before, after
    return [each for each in before if each not in after], [
        each for each in after if each not in before
    ]


def _compare(
    before: Registry,
    old_entries: Iterable[FrozenEntry],
    after: Registry,
    new_entries: Iterable[FrozenEntry],
) -> Iterator[Change]:
    """The changes by name; entries in different tables are different entries."""
    old = {(entry.name, entry.table): entry for entry in old_entries}
    new = {(entry.name, entry.table): entry for entry in new_entries}
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if a is not None and b is not None:
            how = tuple(_find_changes(before, a, after, b))
        else:
            how = ("added",) if a is None else ("removed",)
        if how:
            yield Change(key[0], how, _measure(a), _measure(b))


def _find_changes(before: Registry, a: FrozenEntry, after: Registry, b: FrozenEntry) -> list[str]:
    changes = []
    if (a.size, a.digest) != (b.size, b.digest):
        changes.append("content" if a.kind == "data" else "code")
    embedded = a.text_size >= 0 or b.text_size >= 0
    if embedded and (a.text_size, a.text_digest) != (b.text_size, b.text_digest):
        changes.append("source")
    if (a.kind, a.is_package, a.origname) != (b.kind, b.is_package, b.origname):
        changes.append("kind")
    if (before.roots[a.root], a.path) != (after.roots[b.root], b.path):
        changes.append("place")
    if a.lay_out != b.lay_out:
        changes.append("lay-out")
    if not changes and (a.mtime, a.source_size) != (b.mtime, b.source_size):
        changes.append("stamp")
    return changes


def _measure(entry: FrozenEntry | None) -> int | None:
    return None if entry is None else entry.size + max(entry.text_size, 0)
