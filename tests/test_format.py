"""The page that describes the format is right: its tables, its digest and its worked example.

What decodes the example goes by the page alone, and shares nothing with `layout`.
"""

import marshal
import re
import sys
from pathlib import Path

import pytest

from frozenfinder.freezer.write import pack
from frozenfinder.runtime import layout
from frozenfinder.runtime.layout import FrozenEntry
from frozenfinder.runtime.registry import Registry

PAGE = (Path(__file__).parent.parent / "docs" / "reference" / "format.md").read_text("utf-8")

ROW = re.compile(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?){1,8})", re.MULTILINE)
"""A line of the worked example: the offset, up to eight bytes, and what they say."""

EXAMPLE = bytes.fromhex("".join(ROW.findall(PAGE)))

SOURCE = b"x = 1\n"


def rotate(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & 2**64 - 1


def turn(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    """One round of SipHash."""
    limit = 2**64
    a, c = (a + b) % limit, (c + d) % limit
    b, d = rotate(b, 13) ^ a, rotate(d, 16) ^ c
    a, c = (rotate(a, 32) + d) % limit, (c + b) % limit
    b, d = rotate(b, 17) ^ c, rotate(d, 21) ^ a
    return a, b, rotate(c, 32), d


def digest(data: bytes) -> int:
    """SipHash-1-3 of Aumasson and Bernstein, with the key that the page gives."""
    key = 0x46525A31
    a, b, c, d = (
        0x736F6D6570736575 ^ key,
        0x646F72616E646F6D,
        0x6C7967656E657261 ^ key,
        0x7465646279746573,
    )
    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        a, b, c, d = turn(a, b, c, d ^ word)
        a ^= word
    c ^= 0xFF
    for _ in range(3):
        a, b, c, d = turn(a, b, c, d)
    return a ^ b ^ c ^ d


class Dump:
    """A registry as the lines of the worked example, decoded from its first byte to its last."""

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
    ANCHORS = ("stdlib", "prefix", "registry", "absolute")
    KINDS = ("source", "sourceless", "extension", "namespace", "excluded", "data")
    TABLES = ("bootstrap", "app", "stdlib", "test")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.lines: list[str] = []
        self.sections: dict[str, tuple[int, int, int]] = {}
        self.blobs: list[tuple[str, tuple[int, int, int]]] = []
        self.header()
        self.roots()
        module_shard = self.directory("modules", "module_shards")
        file_shard = self.directory("files", "file_shards")
        self.rest_of("boot", "the range of a recorded boot")
        self.rest_of("info", "a JSON object")
        self.shard(*module_shard)
        self.shard(*file_shard)
        for what, (offset, size, expected) in self.blobs:
            if not size:
                continue
            assert self.at == self.sections["blobs"][0] + offset
            assert digest(self.take(size, what)) == expected
        assert self.at == len(data)

    def take(self, size: int, note: str) -> bytes:
        """The next bytes, with a note beside the first of them."""
        taken = self.data[self.at : self.at + size]
        assert len(taken) == size
        for at in range(0, size, 8):
            line = f"{self.at + at:04x}  {taken[at : at + 8].hex(' '):<23}  {note}"
            self.lines.append(line.rstrip())
            note = ""
        self.at += size
        return taken

    def number(self, size: int, note: str) -> int:
        """The next integer, with a note that has it in place of `{}`."""
        number = int.from_bytes(self.data[self.at : self.at + size], "little")
        self.take(size, note.format(number))
        return number

    def name_of(self, size: int, names: tuple[str, ...], note: str) -> str:
        """The next integer as what it stands for."""
        name = names[self.data[self.at]]
        assert names[self.number(size, f"{note} {{}}, {name}")] == name
        return name

    def text(self, size: int, note: str) -> str:
        text = self.data[self.at : self.at + size].decode()
        self.take(size, f"{note} {text!r}")
        return text

    def reserved(self, size: int) -> None:
        assert not any(self.take(size, "reserved"))

    def extent(self, what: str) -> tuple[int, int, int]:
        return (
            self.number(8, f"{what}: offset {{}}"),
            self.number(8, f"{what}: size {{}}"),
            self.number(8, f"{what}: digest"),
        )

    def header(self) -> None:
        assert self.take(8, "magic") == b"\x93FRZ\r\n\x1a\n"
        assert self.number(4, "format {}") == 2
        assert self.take(4, "magic number of CPython 3.13") == b"\xf3\x0d\r\n"
        assert self.number(4, "marshal version {}") == 4
        assert self.number(4, "optimisation level {}") == 0
        assert self.number(8, "flags") == 0
        assert self.take(32, "cache tag 'cpython-313'").rstrip(b"\0") == b"cpython-313"
        assert self.number(8, "size {}") == len(self.data)
        assert self.number(8, "{} modules") == 2
        assert self.number(8, "{} data files") == 0
        self.sections = {name: self.extent(name) for name in self.SECTIONS}
        self.reserved(8)
        expected = digest(self.data[: self.at])
        assert self.number(8, "digest of all before it") == expected
        assert self.at == 320

    def begin(self, name: str) -> int:
        """Where the section ends that has to begin here."""
        offset, size, expected = self.sections[name]
        assert self.at == offset
        in_pieces = name in {"module_shards", "file_shards", "blobs"}
        assert expected == (0 if in_pieces else digest(self.data[offset : offset + size]))
        return offset + size

    def roots(self) -> None:
        end = self.begin("roots")
        self.name_of(8, self.ANCHORS, "anchor")
        self.text(self.number(8, "size {}"), "path")
        assert self.at == end

    def directory(self, name: str, shards: str) -> tuple[str, int]:
        """The section of the one shard, and its size."""
        end = self.begin(name)
        offset, size, expected = self.extent("shard 0")
        start = self.sections[shards][0]
        assert (offset, size) == (0, self.sections[shards][1])
        assert digest(self.data[start : start + size]) == expected
        assert self.at == end
        return shards, size

    def rest_of(self, name: str, note: str) -> None:
        self.take(self.begin(name) - self.at, note)

    def shard(self, name: str, size: int) -> None:
        end = self.begin(name)
        start = self.at
        slots = []
        for slot in range(self.number(8, "number of slots, {}")):
            used = any(self.data[self.at : self.at + 8])
            slots.append(self.number(8, f"slot {slot}, {'the record at {}' if used else 'empty'}"))
        while self.at < end:
            record = self.at - start
            slot = digest(self.record().encode()) % len(slots)
            while slots[slot] != record:
                assert slots[slot], "no slot leads to the record"
                slot = (slot + 1) % len(slots)
        assert self.at == end == start + size

    def record(self) -> str:
        name_size, path_size, origname_size = [
            self.number(2, f"size of the {what}, {{}}")
            for what in ("name", "path", "original name")
        ]
        self.number(2, "root {}")
        self.number(1, "flags" + (", the source is embedded" if self.data[self.at] & 2 else ""))
        self.name_of(1, self.KINDS, "kind")
        self.name_of(1, self.TABLES, "table")
        self.reserved(5)
        code = self.extent("code")
        self.number(4, "seconds, {}")
        self.number(4, "size on disk, {}")
        source = self.extent("source")
        self.number(8, "state of the folder, {}")
        name = self.text(name_size, "name")
        self.text(path_size, "path")
        assert not origname_size
        self.reserved(-(name_size + path_size) % 8)
        self.blobs += [(f"code of {name!r}", code), (f"source of {name!r}", source)]
        return name


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, row by row."""
    below = PAGE.partition(f" {heading}\n")[2]
    table = re.search(r"^\|[-| ]+\|\n((?:\|.*\n)+)", below, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[1].splitlines()]


def numbered(table: list[list[str]]) -> tuple[str, ...]:
    """The names that a table numbers, in the order of their numbers."""
    names = {int(row[0]): row[1].strip("`") for row in table if row[0]}
    return tuple(names[number] for number in range(len(names)))


def test_the_example_is_what_the_freezer_writes() -> None:
    start, size, _ = layout.unpack_header(EXAMPLE, len(EXAMPLE), "").sections["blobs"]
    code = EXAMPLE[start : start + size - len(SOURCE)]
    module = FrozenEntry(
        "hi",
        path="hi.py",
        size=len(code),
        digest=layout.digest(code),
        mtime=1_700_000_000,
        source_size=len(SOURCE),
        text_offset=len(code),
        text_size=len(SOURCE),
        text_digest=layout.digest(SOURCE),
        state=1_700_000_000_123_456_789,
    )
    front = pack.pack_registry(
        magic=0x0A0D0DF3,
        marshal_version=4,
        optimize=0,
        world=False,
        cache_tag="cpython-313",
        roots=[("absolute", "/src")],
        modules=[module, FrozenEntry("gone", kind="excluded")],
        files=[],
        info=b"{}",
        boot=b"",
        blobs_size=size,
    )
    assert front + code + SOURCE == EXAMPLE


def test_the_example_decodes_byte_by_byte_as_the_page_says() -> None:
    example = PAGE.partition("## Worked example")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```text\n(.*?)^```", example, re.MULTILINE | re.DOTALL)
    assert "".join(blocks).splitlines() == Dump(EXAMPLE).lines


def test_the_example_is_a_registry() -> None:
    registry = Registry.from_bytes(EXAMPLE)
    module, gone = sorted(registry.entries(), key=lambda entry: entry.name, reverse=True)
    assert (module.name, module.path, gone.name, gone.kind) == ("hi", "hi.py", "gone", "excluded")
    assert bytes(registry.read_text(module) or b"") == SOURCE
    assert registry.roots == [("absolute", "/src")]


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="the example is for CPython 3.13")
def test_the_example_runs() -> None:
    registry = Registry.from_bytes(EXAMPLE)
    namespace: dict[str, object] = {}
    exec(registry.get_frozen_object("hi"), namespace)
    assert namespace["x"] == 1
    assert registry.find_frozen("hi", withdata=True) is not None
    assert marshal.dumps(registry.get_frozen_object("hi"))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 63, 64, 65, 255, 256, 1000])
def test_the_digest_is_what_the_page_says(size: int) -> None:
    data = bytes(at * 7 % 256 for at in range(size))
    assert layout.digest(data) == digest(data)


def test_the_page_numbers_what_is_numbered_as_layout_does() -> None:
    assert numbered(rows("The file as a whole")) == layout.SECTIONS == Dump.SECTIONS
    assert numbered(rows("Order of search")) == layout.TABLES == Dump.TABLES
    roots, record = PAGE.partition("## Roots")[2], PAGE.partition("### Record")[2]
    for text, expected in ((roots, layout.ANCHORS), (record, layout.KINDS)):
        listed = re.findall(r"^\| (\d) \| `(\w+)` \|", text, re.MULTILINE)[: len(expected)]
        assert tuple(name for _, name in listed) == expected
        assert [int(number) for number, _ in listed] == list(range(len(expected)))


@pytest.mark.parametrize(
    ("heading", "end"), [("Header", layout.HEADER_SIZE), ("Record", layout.RECORD_SIZE)]
)
def test_the_fields_of_a_table_leave_no_gap(heading: str, end: int) -> None:
    at = 0
    for offset, size, _ in rows(heading):
        if offset:
            assert int(offset) == at
        at += int(size) if size.isdigit() else 0
    assert at == end


def test_the_limits_are_those_of_layout() -> None:
    limits = dict(rows("Limits"))
    assert limits["size of a name or a path"] == f"{layout.NAME_LIMIT:,} bytes"
    assert limits["number of shards of an index"] == str(layout.MAX_SHARDS)
    assert limits["size of a cache tag"] == f"{layout.CACHE_TAG_SIZE} bytes"
