"""Small registries built from named entries, and ways to change one field of them."""

import marshal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import MAGIC_NUMBER
from typing import Any

from frozenfinder.freezer.write import pack
from frozenfinder.runtime import layout
from frozenfinder.runtime.layout import FrozenEntry

HERE: dict[str, Any] = {
    "magic": int.from_bytes(MAGIC_NUMBER, "little"),
    "marshal_version": marshal.version,
    "optimize": sys.flags.optimize,
    "cache_tag": sys.implementation.cache_tag,
}
"""What the header says of a registry whose code this interpreter may run."""

ROOTS = (("stdlib", ""), ("absolute", "/src"))


@dataclass(frozen=True)
class Frozen:
    """An entry to be: its blob, the source to embed, and fields of `FrozenEntry`.

    The fields that locate blob and source are filled in where `fields` does not lie about them.
    """

    name: str
    blob: bytes = b""
    text: bytes | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def frozen(name: str, source: str = "", *, text: bytes | None = None, **fields: Any) -> Frozen:
    """A module with the code of `source`."""
    path = name.replace(".", "/") + ("/__init__.py" if fields.get("is_package") else ".py")
    code = compile(source, path, "exec", dont_inherit=True)
    located = {"root": 1, "path": path, "mtime": 1_700_000_000, "source_size": len(source)}
    return Frozen(name, marshal.dumps(code), text, {**located, **fields})


def excluded(name: str, **fields: Any) -> Frozen:
    """An entry that stops the search."""
    return Frozen(name, fields={"kind": "excluded", **fields})


def data_file(path: str, content: bytes, **fields: Any) -> Frozen:
    return Frozen(path, content, fields={"kind": "data", "root": 1, "path": path, **fields})


def build_registry(
    *modules: Frozen,
    files: Sequence[Frozen] = (),
    roots: Sequence[tuple[str, str]] = ROOTS,
    info: bytes = b"{}",
    boot: bytes = b"",
    world: bool = False,
    **header: Any,
) -> bytes:
    """The bytes of a registry; `header` is this interpreter's where it is not given."""
    blobs = bytearray()
    module_entries = [_place(item, blobs) for item in modules]
    file_entries = [_place(item, blobs) for item in files]
    front = pack.pack_registry(
        roots=roots,
        modules=module_entries,
        files=file_entries,
        info=info,
        boot=boot,
        blobs_size=len(blobs),
        world=world,
        **{**HERE, **header},
    )
    return front + blobs


def _place(item: Frozen, blobs: bytearray) -> FrozenEntry:
    """Append what belongs to an entry to the blobs, and make the entry that says where it is."""
    located: dict[str, Any] = {
        "offset": len(blobs),
        "size": len(item.blob),
        "digest": layout.digest(item.blob),
    }
    blobs += item.blob
    if item.text is not None:
        located["text_offset"] = len(blobs)
        located["text_size"] = len(item.text)
        located["text_digest"] = layout.digest(item.text)
        blobs += item.text
    return FrozenEntry(item.name, **{**located, **item.fields})


def get_word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def set_word(data: bytes, at: int, word: int) -> bytes:
    """The same bytes with another word at `at`, and digests that no longer fit."""
    return data[:at] + word.to_bytes(8, "little") + data[at + 8 :]


def section_entry(name: str) -> int:
    """Where in the header the offset, the size and the digest of a section are."""
    return 8 * (layout.SECTION_WORD + 3 * layout.SECTIONS.index(name))


def section_range(data: bytes, name: str) -> tuple[int, int]:
    """Where a section begins and ends, as the header says."""
    at = section_entry(name)
    offset = get_word(data, at)
    return offset, offset + get_word(data, at + 8)


def reseal(data: bytes) -> bytes:
    """The same bytes with the digests of shards, sections and header made to fit, in that order."""
    for directory, shards in (("modules", "module_shards"), ("files", "file_shards")):
        base, _ = section_range(data, shards)
        start, end = section_range(data, directory)
        for at in range(start, min(end, len(data)) - 23, 24):
            offset = base + get_word(data, at)
            shard = data[offset : offset + get_word(data, at + 8)]
            data = set_word(data, at + 16, layout.digest(shard))
    for name in set(layout.SECTIONS) - set(layout.UNGUARDED):
        start, end = section_range(data, name)
        data = set_word(data, section_entry(name) + 16, layout.digest(data[start:end]))
    at = layout.HEADER_SIZE - 8
    return set_word(data, at, layout.digest(data[:at]))
