"""Packing: the bytes of a registry's header, indexes and sections; the inverse of `layout`.

`docs/reference/format.md` is the normative description. The wire values are `layout`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from frozenfinder.runtime.layout import (
    ANCHORS,
    CACHE_TAG_SIZE,
    CHECK_SHIFT,
    CHECKS,
    FORMAT,
    HEADER_SIZE,
    KINDS,
    LAY_OUT,
    MAGIC,
    MAX_SHARDS,
    NAME_LIMIT,
    PACKAGE,
    SECTIONS,
    SHARD_TARGET,
    SIGNATURE_SIZE,
    TABLES,
    TEXT,
    UNGUARDED,
    WORLD,
    FrozenEntry,
    Header,
    digest,
    name_hash,
    shard_key,
)


def pack_registry(
    *,
    magic: int,
    marshal_version: int,
    optimize: int,
    world: bool,
    cache_tag: str,
    roots: Sequence[tuple[str, str]],
    modules: Sequence[FrozenEntry],
    files: Sequence[FrozenEntry],
    info: bytes,
    boot: bytes,
    blobs_size: int,
    signed: bool = False,
) -> bytes:
    """The bytes of a registry before its last sections, the `blobs_size` bytes of blobs and any
    signature.

    The sections for opening and the first look-up come first, so one read gets them all.
    """
    module_directory, module_shards = pack_index(modules)
    file_directory, file_shards = pack_index(files)
    parts = {
        "roots": pack_roots(roots),
        "modules": module_directory,
        "files": file_directory,
        "boot": boot,
        "info": info,
        "module_shards": module_shards,
        "file_shards": file_shards,
    }
    sections = {}
    at = HEADER_SIZE
    for name, part in parts.items():
        sections[name] = (at, len(part), 0 if name in UNGUARDED else digest(part))
        at += len(part)
    sections["blobs"] = (at, blobs_size, 0)
    end = at + blobs_size
    sections["signature"] = (end, SIGNATURE_SIZE, 0) if signed else (0, 0, 0)
    header = Header(
        magic=magic,
        marshal_version=marshal_version,
        optimize=optimize,
        world=world,
        cache_tag=cache_tag,
        size=end + sections["signature"][1],
        modules=len(modules),
        files=len(files),
        sections=sections,
    )
    return pack_header(header) + b"".join(parts.values())


def pack_header(header: Header) -> bytes:
    words = [
        _halves(FORMAT, header.magic),
        _halves(header.marshal_version, header.optimize),
        WORLD if header.world else 0,
    ]
    tag = header.cache_tag.encode("ascii").ljust(CACHE_TAG_SIZE, b"\0")
    if len(tag) > CACHE_TAG_SIZE:
        raise ValueError(f"cache tag {header.cache_tag!r} is longer than {CACHE_TAG_SIZE} bytes")
    counts = [header.size, header.modules, header.files]
    for name in SECTIONS:
        counts += header.sections[name]
    packed = (MAGIC + pack_words(words) + tag + pack_words(counts)).ljust(HEADER_SIZE - 8, b"\0")
    return packed + pack_words([digest(packed)])


def pack_roots(roots: Sequence[tuple[str, str]]) -> bytes:
    """Roots from (anchor, path) pairs: the anchor's number, the size of the path, and its bytes."""
    packed = []
    for anchor, path in roots:
        encoded = path.encode("utf-8", "surrogateescape")
        packed += [pack_words([ANCHORS.index(anchor), len(encoded)]), encoded]
    return b"".join(packed)


def pack_boot(offset: int, size: int, count: int) -> bytes:
    """The section for the `count` blobs that a recorded boot reads, one after the other."""
    return pack_words([offset, size, count])


def pack_index(entries: Iterable[FrozenEntry]) -> tuple[bytes, bytes]:
    """The (directory, shards) of `entries`, searched in the order of `TABLES`.

    Entries of one top-level package are in one shard, so a program reads only the parts of the
    index that it needs.
    """
    ordered = sorted(entries, key=lambda entry: (TABLES.index(entry.table), entry.name))
    packed = [(entry, _pack_record(entry)) for entry in ordered]
    wanted = sum([len(record) for _, record in packed]) // SHARD_TARGET
    count = 1 << min(wanted.bit_length(), MAX_SHARDS.bit_length() - 1)
    shards: list[list[tuple[bytes, bytes]]] = [[] for _ in range(count)]
    for entry, record in packed:
        key = shard_key(entry.name).encode()
        shards[name_hash(key) & count - 1].append((entry.name.encode(), record))
    directory, body, at = [], [], 0
    for shard in map(_pack_shard, shards):
        directory += [at, len(shard), digest(shard)]
        body.append(shard)
        at += len(shard)
    return pack_words(directory), b"".join(body)


def _pack_shard(records: list[tuple[bytes, bytes]]) -> bytes:
    """An open-addressing table, at most half full: slot count, slots, records.

    A slot is a record's offset in the shard, or 0 if it is empty. Records are in the order of
    search, so of two with one name, a look-up finds the one in the earlier table first.
    """
    slots = [0] * (1 << (2 * len(records)).bit_length())
    at = 8 + 8 * len(slots)
    for name, record in records:
        slot = name_hash(name) & len(slots) - 1
        while slots[slot]:
            slot = slot + 1 & len(slots) - 1
        slots[slot] = at
        at += len(record)
    return pack_words([len(slots), *slots]) + b"".join([record for _, record in records])


def _pack_record(entry: FrozenEntry) -> bytes:
    name = entry.name.encode()
    path = entry.path.encode("utf-8", "surrogateescape")
    origname = b"" if entry.origname == entry.name else entry.origname.encode()
    if max(len(name), len(path), len(origname)) > NAME_LIMIT:
        raise ValueError(f"name or path of entry {entry.name!r} is longer than {NAME_LIMIT} bytes")
    has_text = entry.text_size >= 0
    words = [
        len(name) | len(path) << 16 | len(origname) << 32 | entry.root << 48,
        (PACKAGE if entry.is_package else 0)
        | (TEXT if has_text else 0)
        | (LAY_OUT if entry.lay_out else 0)
        | CHECKS.index(entry.check) << CHECK_SHIFT
        | KINDS.index(entry.kind) << 8
        | TABLES.index(entry.table) << 16
        | entry.extras_size << 32,
        entry.offset,
        entry.size,
        entry.digest,
        _halves(entry.mtime, entry.source_size),
        entry.text_offset if has_text else 0,
        entry.text_size if has_text else 0,
        entry.text_digest,
        entry.state,
    ]
    record = pack_words(words) + name + path + origname
    return record + b"\0" * (-len(record) % 8)


def pack_words(words: Iterable[int]) -> bytes:
    """The inverse of `unpack_words`; OverflowError for a word below 0 or over 64 bits."""
    return b"".join([word.to_bytes(8, "little") for word in words])


def _halves(low: int, high: int) -> int:
    """Two numbers of 32 bits as one word; OverflowError for one that has more."""
    return int.from_bytes(low.to_bytes(4, "little") + high.to_bytes(4, "little"), "little")
