"""Registries that are damaged, each by a number: the same number gives the same damage."""

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from frozenfinder.freezer.compile.expressions import pack_keys
from frozenfinder.runtime import layout
from support.registries import (
    Frozen,
    build_registry,
    data_file,
    excluded,
    frozen,
    get_word,
    reseal,
    section_entry,
    section_range,
    set_word,
)

INTERESTING = (
    0,
    1,
    7,
    8,
    23,
    319,
    320,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**63,
    2**64 - 320,
    2**64 - 1,
)


class Mutant(NamedTuple):
    """Damaged bytes. Where they are `resealed`, the digests of the index and the header fit.

    One that is `forged` has texts that nobody froze, under digests that fit.
    """

    data: bytes
    resealed: bool
    forged: bool
    story: tuple[str, ...]


def make_mutant(number: int, seed: int = 0) -> Mutant:
    """The mutant of that number: one to four mutations, and perhaps digests made to fit."""
    rng = random.Random((seed << 40) + number)
    forged = rng.random() < 0.1
    base = data = _forge(rng) if forged else rng.choice(BASES)
    story = []
    for _ in range(0 if forged else rng.choice((1, 1, 1, 2, 4))):
        mutate = rng.choice(MUTATIONS)
        story.append(mutate.__name__)
        data = mutate(rng, data)
    resealed = rng.random() < 0.6
    if resealed:
        data = _reseal(rng, data)
    return Mutant(data, resealed or data == base, forged, tuple(story))


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def splice(rng: random.Random, data: bytes) -> bytes:
    """Some bytes of a registry in the place of some of this one."""
    other = rng.choice(BASES)
    start = rng.randrange(len(other))
    piece = other[start : start + rng.choice((1, 8, 72, 400))]
    at = rng.randrange(len(data) + 1)
    return data[:at] + piece + data[at + rng.choice((0, len(piece), rng.randrange(100))) :]


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def extend(rng: random.Random, data: bytes) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 100))


def set_any_word(rng: random.Random, data: bytes) -> bytes:
    return _set(data, 8 * rng.randrange(len(data) // 8 + 1), _number(rng, data))


def set_section(rng: random.Random, data: bytes) -> bytes:
    """The offset, the size or the digest of a section in the header."""
    name = rng.choice(layout.SECTIONS)
    return _set(data, section_entry(name) + 8 * rng.randrange(3), _number(rng, data))


def set_directory(rng: random.Random, data: bytes) -> bytes:
    """Where a shard is, or how large."""
    start, end = section_range(
        data.ljust(layout.HEADER_SIZE, b"\0"), rng.choice(("modules", "files"))
    )
    shards = min(end - start, len(data)) // 24
    if shards <= 0:
        return data
    return _set(data, start + 24 * rng.randrange(shards) + 8 * rng.randrange(2), _number(rng, data))


def set_slot(rng: random.Random, data: bytes) -> bytes:
    """A slot of a shard, or how many there are."""
    start = _find_shard(rng, data)
    count = min(get_word(data, start), len(data) // 8) + 1
    return _set(data, start + 8 * rng.randrange(count), _number(rng, data))


def set_record(rng: random.Random, data: bytes) -> bytes:
    """A field of a record."""
    start = _find_shard(rng, data)
    count = min(get_word(data, start), len(data) // 8)
    slots = [get_word(data, start + 8 + 8 * at) for at in range(count)]
    records = [start + slot for slot in slots if 0 < slot < len(data)]
    if not records:
        return data
    offset, size = rng.choice(FIELDS)
    at = rng.choice(records) + offset
    number = _number(rng, data) & (1 << 8 * size) - 1
    return data[:at] + number.to_bytes(size, "little") + data[at + size :]


def swap_records(rng: random.Random, data: bytes) -> bytes:
    """Two words of two records, changed for each other: a name leads to another's code."""
    at, other = (_find_shard(rng, data) + 8 * rng.randrange(100) for _ in range(2))
    first, second = data[at : at + 24], data[other : other + 24]
    if len(first) < 24 or len(second) < 24 or abs(at - other) < 24:
        return data
    data = data[:at] + second + data[at + 24 :]
    return data[:other] + first + data[other + 24 :]


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    flip_bits,
    splice,
    truncate,
    extend,
    set_any_word,
    set_section,
    set_directory,
    set_slot,
    set_record,
    set_record,
    swap_records,
)

WIDE = b" " + b"9" * 5000 + b" "

FIELDS = (
    (0, 2),
    (2, 2),
    (4, 2),
    (6, 2),
    (8, 1),
    (9, 1),
    (10, 1),
    (12, 4),
    *((offset, 8) for offset in (16, 24, 32, 48, 56, 64)),
    (40, 4),
    (44, 4),
    (72, 8),
    (80, 8),
)
"""Of a record: what lies at which offset, and how many bytes it has."""


def _number(rng: random.Random, data: bytes) -> int:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(INTERESTING)
    if kind == 1:
        return rng.randrange(len(data) + 100)
    if kind == 2:
        return (
            get_word(data, 8 * rng.randrange(len(data) // 8 + 1)) + rng.choice((-8, -1, 1, 8))
        ) % 2**64
    return rng.getrandbits(64)


def _set(data: bytes, at: int, word: int) -> bytes:
    return set_word(data, at, word) if 0 <= at <= len(data) - 8 else data


def _find_shard(rng: random.Random, data: bytes) -> int:
    if len(data) < layout.HEADER_SIZE:
        return 0
    return section_range(data, rng.choice(("module_shards", "module_shards", "file_shards")))[0]


def _reseal(rng: random.Random, data: bytes) -> bytes:
    if len(data) < layout.HEADER_SIZE:
        return data
    if rng.random() < 0.5:
        data = set_word(data, 64, len(data))
        at = section_entry("blobs")
        if get_word(data, at) < len(data) and rng.random() < 0.5:
            data = set_word(data, at + 8, len(data) - get_word(data, at))
    return reseal(data)


def _forge(rng: random.Random) -> bytes:
    """A registry whose parcel and info are anything, and well digested."""
    extension = _extension("pkg.fast")
    parcel, info = (_garble(rng, text) for text in (extension.text or b"", INFO))
    return build_registry(
        _module("pkg", is_package=True),
        Frozen("pkg.fast", extension.blob, parcel, extension.fields),
        info=info,
    )


def _garble(rng: random.Random, text: bytes) -> bytes:
    kind = rng.randrange(6)
    at = rng.randrange(len(text) + 1)
    if kind == 0:
        return text
    if kind == 1:
        return text[:at]
    if kind == 2:
        return text[:at] + rng.choice((b"9" * 5000, b"[" * 5000, b"\0", b"\xff", b"\n", b"../"))
    if kind == 3:
        return re.sub(rng.choice((b" ", rb" \d+ ")), rng.choice((b"", b"\n", WIDE)), text)
    return flip_bits(rng, text)


def _module(name: str, **fields: object) -> Frozen:
    """A module that says its name when it runs."""
    source = f"RAN = {name!r}\n"
    return frozen(name, source, text=source.encode(), **fields)


def _compiling(name: str) -> Frozen:
    """A module with regular expressions behind its code."""
    module = _module(name)
    patterns = pack_keys([("a+", 0), ("b", 2)])
    fields = {**module.fields, "extras_size": len(patterns)}
    return replace(module, blob=module.blob + patterns, fields=fields)


def _extension(name: str) -> Frozen:
    content = b"\x7fELF" + name.encode()
    path = name.replace(".", "/") + ".so"
    line = f"module {hashlib.sha256(content).hexdigest()} {len(content)} {path}\n".encode()
    parcel = f"parcel {hashlib.sha256(line).hexdigest()}\n".encode() + line
    return Frozen(name, content, parcel, {"kind": "extension", "root": 1, "path": path})


def _namespace(name: str) -> Frozen:
    return Frozen(name, fields={"kind": "namespace", "root": 1, "path": name})


INFO = b'{"frozenfinder": "0", "asked": ["path /src"]}'
SMALL = build_registry(
    _module("pkg", is_package=True),
    _compiling("pkg.mod"),
    _module("alias", origname="pkg.mod", table="stdlib"),
    _module("core", table="bootstrap"),
    _module("tested", table="test"),
    _extension("pkg.fast"),
    Frozen("pkg.near", fields={"kind": "extension", "root": 1, "path": "pkg/near.so"}),
    _namespace("space"),
    _module("space.mod"),
    excluded("gone"),
    files=[
        data_file("pkg/data.txt", b"some data"),
        data_file("dist-1.dist-info/METADATA", b"Name: dist\n"),
    ],
    info=INFO,
)
SHARDED = build_registry(
    *[_module(f"pkg{at % 11}.mod{at}") for at in range(150)],
    *[_module(f"pkg{at}", is_package=True) for at in range(11)],
    roots=[("absolute", "/src"), ("stdlib", ""), ("registry", "lib"), ("prefix", "lib")],
)
BASES = (SMALL, SMALL, SMALL, SHARDED)
NAMES = (
    "pkg",
    "pkg.mod",
    "alias",
    "core",
    "tested",
    "pkg.fast",
    "pkg.near",
    "space",
    "space.mod",
    "gone",
    "pkg3",
)
