"""The wire format of a registry: every byte constant once, and pure functions that unpack it.

`docs/reference/format.md` is the normative description; `write.pack` packs. All integers are
little-endian; most are 64-bit words, because a run of words unpacks in one call. Section offsets
count from the first byte of the registry, blob offsets from the first byte of the `blobs` section,
and shard offsets from the first byte of their own section, so no part needs to know the size of a
later one.

Unpacking never trusts a number: each offset and size is checked against the available bytes before
it is used, and the only exceptions are `RegistryError` and `RegistryVersionError`. They name the
registry by `path`.
"""

import sys
from _imp import source_hash

from frozenfinder.errors import RegistryError, RegistryVersionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal, TypeAlias

    Table: TypeAlias = Literal["bootstrap", "app", "stdlib", "test"]
    Anchor: TypeAlias = Literal["stdlib", "prefix", "registry", "absolute"]
    Kind: TypeAlias = Literal["source", "sourceless", "extension", "namespace", "excluded", "data"]
    Check: TypeAlias = Literal["time", "place", "content", "never"]

# Type comments: an annotation of a module's name would run in every boot.

MAGIC = b"\x93FRZ\r\n\x1a\n"
FORMAT = 2
DIGEST_KEY = 0x46525A31  # below 2**31: `_imp.source_hash` takes a C long

HEADER_SIZE = 320
CACHE_TAG_SIZE = 32
SECTIONS = (
    "roots",
    "modules",
    "module_shards",
    "files",
    "file_shards",
    "info",
    "boot",
    "blobs",
    "signature",
)
PIECEWISE = ("module_shards", "file_shards", "blobs")  # each piece is read alone, and has a digest
UNGUARDED = (*PIECEWISE, "signature")  # the header has no digest of these sections, but 0
SIGNATURE_SIZE = 64  # of Ed25519
SIGNED_AS = b"frozenfinder registry\0"  # the start of a signed message
SECTION_WORD = 11  # the header's word where the section table starts, three words a section
WORLD = 1  # header flag: nothing outside the registry is importable in closed mode

BOOT_SIZE = 24  # bytes of the words that this format defines; others may follow
RECORD_SIZE = 80
MAX_SHARDS = 256  # bounds the directory, and so the cost of opening, for any number of entries
SHARD_TARGET = 8192  # bytes of records that a shard should have
NAME_LIMIT = 0xFFFF  # bytes of a name or a path in UTF-8

# the tables in the order of search
TABLES = ("bootstrap", "app", "stdlib", "test")  # type: tuple[Table, ...]
ANCHORS = ("stdlib", "prefix", "registry", "absolute")  # type: tuple[Anchor, ...]

# the kinds of entries in the order of their numbers, and groups of them
KINDS = ("source", "sourceless", "extension", "namespace", "excluded", "data")  # type: tuple[Kind, ...]
CODE_KINDS = ("source", "sourceless")  # the blob is marshalled code
MODULE_KINDS = ("source", "sourceless", "extension")  # served as a module
OVERLAY_KINDS = ("source", "extension")  # served by overlay, which looks at the file
BARE_KINDS = ("namespace", "excluded")  # no blob, no file

# record flags; the kind is in bits 8-15 and the table in bits 16-23
PACKAGE, TEXT, LAY_OUT = 1, 2, 4
CHECK_SHIFT = 3  # of two bits

# what shows that a source is still the frozen one, in the order of the numbers
CHECKS = ("time", "content", "never", "place")  # type: tuple[Check, ...]


def digest(data: "bytes | memoryview") -> int:
    """The 64-bit keyed hash that detects accidental damage (not forgery) of a piece."""
    return int.from_bytes(source_hash(DIGEST_KEY, data), "little")


def unpack_words_portably(data: "bytes | memoryview") -> "list[int]":
    """The 64-bit words of `data`, on a machine of either byte order."""
    return [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]


def _view_words_natively(data: "bytes | memoryview") -> "Sequence[int]":
    return memoryview(data).cast("Q")


def _unpack_words_natively(data: "bytes | memoryview") -> "list[int]":
    return memoryview(data).cast("Q").tolist()


_NATIVE = sys.byteorder == "little"
unpack_words = _unpack_words_natively if _NATIVE else unpack_words_portably
view_words = _view_words_natively if _NATIVE else unpack_words_portably  # without a copy


class Header:
    """The content of the first `HEADER_SIZE` bytes.

    `magic` is the interpreter's `.pyc` magic number as an integer. `sections` maps each name of
    `SECTIONS` to its (offset, size, digest): offset and size in bytes, digest as from `digest`. The
    digest is 0 for the sections in `UNGUARDED`: the pieces of those in `PIECEWISE` have their own
    digests, in the directory (shards) or in the entries (blobs). `size` is that of the whole
    registry in bytes; `modules` and `files` count entries.
    """

    __slots__ = (
        "magic",
        "marshal_version",
        "optimize",
        "world",
        "cache_tag",
        "size",
        "modules",
        "files",
        "sections",
    )

    def __init__(
        self,
        *,
        magic: int,
        marshal_version: int,
        optimize: int,
        world: bool,
        cache_tag: str,
        size: int,
        modules: int,
        files: int,
        sections: "dict[str, tuple[int, int, int]]",
    ) -> None:
        self.magic = magic
        self.marshal_version = marshal_version
        self.optimize = optimize
        self.world = world
        self.cache_tag = cache_tag
        self.size = size
        self.modules = modules
        self.files = files
        self.sections = sections


def unpack_header(data: bytes, size: int, path: str, *, embedded: bool = False) -> Header:
    """The header of a registry; `data` has at least its first 320 bytes.

    `size` is the number of bytes from the first one of the registry to the end of the file. Other
    bytes may follow an embedded registry, but not one that is a file of its own. The version of the
    format is checked before the digest, so that a later format gives RegistryVersionError.
    RegistryError for anything malformed.
    """
    if len(data) < HEADER_SIZE:
        complaint = f"has {len(data)} bytes, a registry has at least {HEADER_SIZE}"
        raise _error(path, complaint, len(data))
    if data[:8] != MAGIC:
        raise _error(path, f"begins with {data[:8]!r}, a registry begins with {MAGIC!r}", 0)
    words = unpack_words(data[:HEADER_SIZE])
    version = words[1] & 0xFFFFFFFF
    if version != FORMAT:
        raise RegistryVersionError(
            f"registry {path!r}: has format {version}, this frozenfinder reads format {FORMAT}; "
            "freeze it again",
            path=path,
            offset=8,
        )
    check(data[: HEADER_SIZE - 8], words[-1], path, "header", 0)
    expected = words[8]
    if size < expected or (size > expected and not embedded):
        complaint = f"has {size} bytes, its header says {expected}; freeze it again"
        raise _error(path, complaint, min(size, expected))
    table = words[SECTION_WORD:]
    sections = {
        name: (table[3 * at], table[3 * at + 1], table[3 * at + 2])
        for at, name in enumerate(SECTIONS)
    }
    _check_sections(sections, expected, path)
    return Header(
        magic=words[1] >> 32,
        marshal_version=words[2] & 0xFFFFFFFF,
        optimize=words[2] >> 32,
        world=bool(words[3] & WORLD),
        cache_tag=_text(data[32:64].rstrip(b"\0"), path, 32),
        size=expected,
        modules=words[9],
        files=words[10],
        sections=sections,
    )


def _check_sections(sections: "dict[str, tuple[int, int, int]]", limit: int, path: str) -> None:
    """RegistryError unless each section is within the registry, and a signature at its end."""
    for name, (offset, size, _) in sections.items():
        if name == "signature" and not offset and not size:
            continue  # not signed
        if offset < HEADER_SIZE or offset + size > limit:
            raise _error(
                path,
                f"section {name!r} goes from {offset} to {offset + size}, "
                f"expected between {HEADER_SIZE} and {limit}",
                offset,
            )
        if name == "signature" and (size != SIGNATURE_SIZE or offset + size != limit):
            raise _error(
                path,
                f"section {name!r} goes from {offset} to {offset + size}, "
                f"expected the last {SIGNATURE_SIZE} bytes, or zeros if there is no signature",
                offset,
            )


def check(data: "bytes | memoryview", expected: int, path: str, what: str, offset: int) -> None:
    """RegistryError unless `data`, the registry's `what` at `offset`, has the expected digest."""
    found = digest(data)
    if found != expected:
        raise _error(
            path,
            f"{what} at {offset} has digest {found:016x}, expected {expected:016x}; "
            "the file is damaged, freeze it again",
            offset,
        )


def _error(path: str, complaint: str, offset: int) -> RegistryError:
    return RegistryError(f"registry {path!r}: {complaint}", path=path, offset=offset)


class FrozenEntry:
    """One entry of a registry: `struct _frozen` and its alias (Include/cpython/import.h), and more.

    `offset`, `size` and `digest` locate the marshalled code (of a data file, the content) among the
    blobs; its last `extras_size` bytes are the module's regular expressions and texts.
    `mtime` and `source_size` are the source's stamp as in a `.pyc`: whole seconds and bytes, the
    low 32 bits of each. `root` is the number of a root of the registry, and `path` is relative to
    that root, with `/` between its parts. `origname` differs from `name` if the entry is an alias.
    `lay_out` marks a top-level package whose files closed mode writes to disk before it is
    imported. `text_offset`, `text_size` and `text_digest` locate the embedded source, or the parcel
    of an embedded extension module; the size is -1 without one. Offsets and sizes are in bytes.
    A source that is not embedded has a digest, too. `check` says what shows that the source is
    still this one: an equal "time", an equal time in the same "place" (the folder has this
    `state`), or only its "content"; else nothing does ("never"). If the time is another one, the
    content decides.
    `state` is the folder's while nothing in it was preferred to the file, as from `read_state`.
    """

    __slots__ = (
        "name",
        "origname",
        "table",
        "kind",
        "is_package",
        "lay_out",
        "root",
        "path",
        "offset",
        "size",
        "digest",
        "extras_size",
        "mtime",
        "source_size",
        "text_offset",
        "text_size",
        "text_digest",
        "check",
        "state",
    )

    def __init__(
        self,
        name: str,
        origname: "str | None" = None,
        table: "Table" = "app",
        kind: "Kind" = "source",
        is_package: bool = False,
        lay_out: bool = False,
        root: int = 0,
        path: str = "",
        offset: int = 0,
        size: int = 0,
        digest: int = 0,
        extras_size: int = 0,
        mtime: int = 0,
        source_size: int = 0,
        text_offset: int = 0,
        text_size: int = -1,
        text_digest: int = 0,
        check: "Check" = "time",
        state: int = 0,
    ) -> None:
        self.name = name
        self.origname = name if origname is None else origname
        self.table = table
        self.kind = kind
        self.is_package = is_package
        self.lay_out = lay_out
        self.root = root
        self.path = path
        self.offset = offset
        self.size = size
        self.digest = digest
        self.extras_size = extras_size
        self.mtime = mtime
        self.source_size = source_size
        self.text_offset = text_offset
        self.text_size = text_size
        self.text_digest = text_digest
        self.check = check
        self.state = state

    def __repr__(self) -> str:
        return f"<FrozenEntry {self.name!r} {self.kind} in {self.table!r}>"


def unpack_roots(data: bytes, path: str, offset: int = 0) -> "list[tuple[Anchor, str]]":
    """The roots as (anchor, path) pairs, from the section at `offset` of the registry."""
    roots: "list[tuple[Anchor, str]]" = []
    at = 0
    while at < len(data):
        anchor, size = unpack_words(data[at : at + 16].ljust(16, b"\xff"))
        end = at + 16 + size
        if anchor >= len(ANCHORS) or end > len(data):
            raise _error(
                path,
                f"root {len(roots)} at {offset + at} has anchor {anchor} and {size} bytes, "
                f"expected an anchor below {len(ANCHORS)} and an end up to {offset + len(data)}",
                offset + at,
            )
        roots.append((ANCHORS[anchor], str(data[at + 16 : end], "utf-8", "surrogateescape")))
        at = end
    return roots


def find_piece(header: Header, path: str, section: str, offset: int, size: int, what: str) -> int:
    """Where the piece at `offset` of a section begins; RegistryError unless it ends within it."""
    start, limit, _ = header.sections[section]
    if offset + size > limit:
        raise _error(
            path,
            f"{what} ends at {start + offset + size}, section {section!r} ends at {start + limit}",
            start + offset,
        )
    return start + offset


def unpack_boot(data: bytes, limit: int, path: str, at: int = 0) -> "tuple[int, int, int]":
    """The (offset, size, count) of the blobs of a recorded boot, from the section at offset `at`.

    Offset and size are in bytes; all are 0 for an empty section. RegistryError unless the range is
    within the first `limit` bytes of the blobs.
    """
    if not data:
        return 0, 0, 0
    if len(data) < BOOT_SIZE:
        raise _error(path, f"section 'boot' has {len(data)} bytes, expected {BOOT_SIZE}", at)
    offset, size, count = unpack_words(data[:BOOT_SIZE])
    if offset + size > limit:
        raise _error(
            path,
            f"section 'boot' names the blobs from {offset} to {offset + size}, "
            f"expected an end up to {limit}",
            at,
        )
    return offset, size, count


def shard_key(name: str) -> str:
    """The part of a name that decides its shard: the top-level package, or the first folder."""
    return name.partition("/" if "/" in name else ".")[0]


name_hash = digest  # decides the shard of a name, and its slot there


class Shard:
    """The bytes of one shard, whose digest the caller has checked, and look-ups by name in them.

    `offset` is its place in the registry. It never changes, so threads may share it.
    """

    __slots__ = ("_data", "_offset", "_path", "_slots")

    def __init__(self, data: bytes, path: str, offset: int = 0) -> None:
        count = int.from_bytes(data[:8], "little")
        if count & count - 1 or not count or 8 + 8 * count > len(data):
            complaint = (
                f"the shard at {offset} has {len(data)} bytes and claims {count} slots, "
                "expected a power of two of slots of 8 bytes"
            )
            raise _error(path, complaint, offset)
        self._data = data
        self._offset = offset
        self._path = path
        self._slots = view_words(memoryview(data)[8 : 8 + 8 * count])

    def find(self, name: str, tests: bool = False) -> "FrozenEntry | None":
        """The first entry of that name in the order of `TABLES`; table `test` only with `tests`.

        RegistryError if its record is malformed.
        """
        encoded = name.encode()
        data, slots = self._data, self._slots
        mask = len(slots) - 1
        slot = name_hash(encoded) & mask
        for _ in slots:
            at = slots[slot]
            if not at:
                return None
            if data.startswith(encoded, at + RECORD_SIZE):
                entry = self._unpack(at, name, len(encoded))
                if entry.name == name and (tests or entry.table != "test"):
                    return entry
            slot = slot + 1 & mask
        return None

    def entries(self) -> "list[FrozenEntry]":
        """Every entry, in the order of search. It reads the records and ignores the slots.

        RegistryError if a record is malformed; then no entry is returned.
        """
        found = []
        at = 8 + 8 * len(self._slots)
        while at < len(self._data):
            found.append(self._unpack(at))
            at += _measure_record(int.from_bytes(self._data[at : at + 8], "little"))
        return found

    def names(self) -> "Iterator[str]":
        """The name of every entry; ten times as fast as `entries`."""
        at = 8 + 8 * len(self._slots)
        while at < len(self._data):
            sizes = int.from_bytes(self._data[at : at + 8], "little")
            start = at + RECORD_SIZE
            yield self._text(start, start + (sizes & 0xFFFF))
            at += _measure_record(sizes)

    def _unpack(self, at: int, name: str = "", size: int = -1) -> FrozenEntry:
        """The entry of the record at `at`; its name is `name`, if its size is `size` bytes."""
        data = self._data
        words = unpack_words(data[at : at + RECORD_SIZE].ljust(RECORD_SIZE, b"\xff"))
        sizes, flags, offset, blob_size, digest, stamp, text_at, text_size, text_digest, state = (
            words
        )
        name_end = at + RECORD_SIZE + (sizes & 0xFFFF)
        path_end = name_end + (sizes >> 16 & 0xFFFF)
        end = path_end + (sizes >> 32 & 0xFFFF)
        kind, table = flags >> 8 & 0xFF, flags >> 16 & 0xFF
        if end > len(data) or kind >= len(KINDS) or table >= len(TABLES):
            raise self._malformed(at, end, kind, table)
        if sizes & 0xFFFF != size:
            name = self._text(at + RECORD_SIZE, name_end)
        return FrozenEntry(
            name,
            name if path_end == end else self._text(path_end, end),
            TABLES[table],
            KINDS[kind],
            flags & PACKAGE != 0,
            flags & LAY_OUT != 0,
            sizes >> 48,
            data[name_end:path_end].decode("utf-8", "surrogateescape"),
            offset,
            blob_size,
            digest,
            flags >> 32,
            stamp & 0xFFFFFFFF,
            stamp >> 32,
            text_at,
            text_size if flags & TEXT else -1,
            text_digest,
            CHECKS[flags >> CHECK_SHIFT & 3],
            state,
        )

    def _malformed(self, at: int, end: int, kind: int, table: int) -> RegistryError:
        offset = self._offset + at
        return _error(
            self._path,
            f"the record at {offset} ends at {self._offset + end} and has kind {kind} and table "
            f"{table}, expected an end up to {self._offset + len(self._data)}, a kind below "
            f"{len(KINDS)} and a table below {len(TABLES)}",
            offset,
        )

    def _text(self, start: int, end: int) -> str:
        return _text(self._data[start:end], self._path, self._offset + start)


def _measure_record(sizes: int) -> int:
    """The size in bytes of a record whose first word is `sizes`."""
    used = RECORD_SIZE + (sizes & 0xFFFF) + (sizes >> 16 & 0xFFFF) + (sizes >> 32 & 0xFFFF)
    return used + -used % 8


def _text(data: bytes, path: str, offset: int) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise _error(path, f"{data!r} at {offset} is not UTF-8: {error.reason}", offset) from None
