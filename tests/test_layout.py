"""The wire format: what is packed comes back, what is malformed is refused by name and place."""

import importlib.util
import os
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.registries import get_word, section_entry, set_word

from frozenfinder.errors import RegistryError, RegistryVersionError
from frozenfinder.freezer.write import pack
from frozenfinder.frozen_api import is_utf8
from frozenfinder.runtime import layout
from frozenfinder.runtime.layout import FrozenEntry, Shard

PATH = "/x/app.frz"
EXPECTED_SLOTS = "expected a power of two of slots of 8 bytes"


words = st.integers(0, 2**64 - 1)
halves = st.integers(0, 2**32 - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
paths = st.one_of(names, st.binary(max_size=40).map(os.fsdecode))
entries = st.builds(
    FrozenEntry,
    name=names,
    origname=st.one_of(st.none(), names),
    table=st.sampled_from(layout.TABLES),
    kind=st.sampled_from(layout.KINDS),
    is_package=st.booleans(),
    lay_out=st.booleans(),
    root=st.integers(0, 0xFFFF),
    path=paths,
    offset=words,
    size=words,
    digest=words,
    extras_size=halves,
    mtime=halves,
    source_size=halves,
    text_digest=words,
    check=st.sampled_from(layout.CHECKS),
    state=words,
)


def fields(entry: FrozenEntry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {name: getattr(entry, name) for name in FrozenEntry.__slots__}


def shards_of(*packed: FrozenEntry) -> list[Shard]:
    directory, body = pack.pack_index(packed)
    located = layout.unpack_words(directory)
    return [
        Shard(body[offset : offset + size], PATH)
        for offset, size in zip(located[::3], located[1::3], strict=True)
    ]


def find(shards: list[Shard], name: str, tests: bool = False) -> FrozenEntry | None:
    number = layout.name_hash(layout.shard_key(name).encode()) & len(shards) - 1
    return shards[number].find(name, tests)


def make_header(**changes: Any) -> layout.Header:
    sections = {name: (320 + 10 * at, 10, 7 * at) for at, name in enumerate(layout.SECTIONS)}
    sections["signature"] = (0, 0, 0)
    given: dict[str, Any] = {
        "magic": 0x0A0D0DF3,
        "marshal_version": 4,
        "optimize": 0,
        "world": False,
        "cache_tag": "cpython-313",
        "size": 400,
        "modules": 12,
        "files": 3,
        "sections": sections,
    }
    return layout.Header(**{**given, **changes})


def resealed(header: bytes) -> bytes:
    return header[:-8] + pack.pack_words([layout.digest(header[:-8])])


class TestWords:
    @given(st.lists(words))
    def test_words_come_back(self, given: list[int]) -> None:
        assert layout.unpack_words(pack.pack_words(given)) == given

    @given(st.lists(words))
    def test_both_byte_orders_read_the_same(self, given: list[int]) -> None:
        packed = pack.pack_words(given)
        assert layout.unpack_words_portably(packed) == given
        assert layout.unpack_words_portably(memoryview(packed)) == given

    def test_a_big_endian_machine_reads_portably(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "byteorder", "big")
        spec = importlib.util.find_spec("frozenfinder.runtime.layout")
        assert spec is not None
        assert spec.loader is not None
        fresh = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fresh)
        assert fresh.unpack_words is fresh.unpack_words_portably
        header = pack.pack_header(make_header())
        assert fresh.unpack_header(header, 400, PATH).sections == make_header().sections

    @pytest.mark.parametrize("word", [-1, 2**64])
    def test_a_word_out_of_range_is_refused(self, word: int) -> None:
        with pytest.raises(OverflowError):
            pack.pack_words([word])


class TestHeader:
    @given(magic=halves, marshal_version=halves, optimize=halves, world=st.booleans())
    def test_what_it_says_of_the_interpreter_comes_back(self, **given: Any) -> None:
        data = pack.pack_header(make_header(**given))
        unpacked = layout.unpack_header(data, 400, PATH)
        assert {name: getattr(unpacked, name) for name in given} == given

    @given(st.lists(st.tuples(st.integers(0, 80), words), min_size=8, max_size=8), st.booleans())
    def test_its_sections_come_back(self, drawn: list[tuple[int, int]], signed: bool) -> None:
        sections = {
            name: (400 - size, size, digest)
            for name, (size, digest) in zip(layout.SECTIONS[:8], drawn, strict=True)
        }
        sections["signature"] = (400 - 64, 64, 0) if signed else (0, 0, 0)
        data = pack.pack_header(make_header(sections=sections))
        assert layout.unpack_header(data, 400, PATH).sections == sections

    @pytest.mark.parametrize("signed", [False, True])
    def test_a_signature_comes_after_the_blobs(self, signed: bool) -> None:
        data = pack.pack_registry(
            magic=1,
            marshal_version=4,
            optimize=0,
            world=False,
            cache_tag="cpython-313",
            roots=[],
            modules=[],
            files=[],
            info=b"{}",
            boot=b"",
            blobs_size=1000,
            signed=signed,
        )
        end = len(data) + 1000
        size = end + layout.SIGNATURE_SIZE * signed
        header = layout.unpack_header(data, size, PATH)
        assert header.sections["blobs"] == (len(data), 1000, 0)
        where = (end, layout.SIGNATURE_SIZE, 0) if signed else (0, 0, 0)
        assert header.sections["signature"] == where

    def test_it_has_its_size_and_counts(self) -> None:
        data = pack.pack_header(make_header())
        unpacked = layout.unpack_header(data + b"more", 400, PATH)
        assert len(data) == layout.HEADER_SIZE
        assert (unpacked.size, unpacked.modules, unpacked.files) == (400, 12, 3)
        assert unpacked.cache_tag == "cpython-313"

    def test_something_may_follow_an_embedded_registry(self) -> None:
        data = pack.pack_header(make_header())
        assert layout.unpack_header(data, 1000, PATH, embedded=True).size == 400

    @pytest.mark.parametrize("size", [0, 319])
    def test_one_cut_short_is_refused(self, size: int) -> None:
        data = pack.pack_header(make_header())[:size]
        self.refuse(data, size, f"has {size} bytes, a registry has at least 320", size)

    @pytest.mark.parametrize("size", [399, 401])
    def test_another_size_than_it_says_is_refused(self, size: int) -> None:
        data = pack.pack_header(make_header())
        message = f"has {size} bytes, its header says 400; freeze it again"
        self.refuse(data, size, message, min(size, 400))

    @pytest.mark.parametrize("begin", [b"PK\3\4\r\n\x1a\n", b"\xffELF\r\n\x1a\n"])
    def test_something_else_is_refused(self, begin: bytes) -> None:
        data = begin + pack.pack_header(make_header())[8:]
        message = rf"begins with {begin!r}, a registry begins with b'\x93FRZ\r\n\x1a\n'"
        self.refuse(data, 400, message, 0)

    @pytest.mark.parametrize(("flags", "world"), [(0, False), (1, True), (2, False), (3, True)])
    def test_one_flag_says_that_there_is_nothing_outside(self, flags: int, world: bool) -> None:
        data = resealed(set_word(pack.pack_header(make_header()), 24, flags))
        assert layout.unpack_header(data, 400, PATH).world is world

    def test_the_longest_cache_tag_comes_back(self) -> None:
        data = pack.pack_header(make_header(cache_tag="x" * 32))
        assert layout.unpack_header(data, 400, PATH).cache_tag == "x" * 32

    def test_a_digest_is_compared_for_being_the_same(self) -> None:
        digest = layout.digest(b"bytes")
        layout.check(b"bytes", digest, PATH, "piece", 7)
        for other in (digest - 1, digest + 1):
            with pytest.raises(RegistryError, match=f"^registry '{PATH}': piece at 7 has digest "):
                layout.check(b"bytes", other, PATH, "piece", 7)

    def test_fields_and_options_are_given_by_name(self) -> None:
        header = make_header()
        values = [getattr(header, name) for name in layout.Header.__slots__]
        make: Any = layout.Header
        with pytest.raises(TypeError, match="positional argument"):
            make(*values)
        with pytest.raises(TypeError, match="positional argument"):
            layout.unpack_header(b"", 400, PATH, True)  # type: ignore[call-arg]

    def test_a_damaged_one_is_refused(self) -> None:
        data = set_word(pack.pack_header(make_header()), 16, 5)
        message = (
            "header at 0 has digest bb278499fb33bf03, expected 062732ebb24984da; "
            "the file is damaged, freeze it again"
        )
        self.refuse(data, 400, message, 0)

    def test_a_cache_tag_that_is_not_utf_8_is_refused(self) -> None:
        data = pack.pack_header(make_header())
        data = resealed(data[:32] + b"\xff" + data[33:])
        message = r"b'\xffpython-313' at 32 is not UTF-8: invalid start byte"
        self.refuse(data, 400, message, 32)

    def refuse(self, data: bytes, size: int, message: str, offset: int) -> None:
        with pytest.raises(RegistryError) as caught:
            layout.unpack_header(data, size, PATH)
        assert str(caught.value) == f"registry '/x/app.frz': {message}"
        assert (caught.value.path, caught.value.offset) == (PATH, offset)

    @pytest.mark.parametrize("version", [1, 3])
    def test_another_format_is_told_before_any_digest(self, version: int) -> None:
        data = pack.pack_header(make_header())
        data = set_word(data, 8, get_word(data, 8) - layout.FORMAT + version)
        with pytest.raises(RegistryVersionError) as caught:
            layout.unpack_header(data, 400, PATH)
        assert str(caught.value) == (
            f"registry '/x/app.frz': has format {version}, this frozenfinder reads format 2; "
            "freeze it again"
        )
        assert (caught.value.path, caught.value.offset) == (PATH, 8)

    @pytest.mark.parametrize(
        ("offset", "size"), [(336, 63), (337, 63), (336, 0), (320, 64), (335, 65)]
    )
    def test_a_signature_that_is_not_at_the_end_is_refused(self, offset: int, size: int) -> None:
        at = section_entry("signature")
        data = set_word(pack.pack_header(make_header()), at, offset)
        data = resealed(set_word(data, at + 8, size))
        with pytest.raises(RegistryError) as caught:
            layout.unpack_header(data, 400, PATH)
        assert str(caught.value) == (
            f"registry '/x/app.frz': section 'signature' goes from {offset} to {offset + size}, "
            "expected the last 64 bytes, or zeros if there is no signature"
        )
        assert caught.value.offset == offset

    @pytest.mark.parametrize("name", layout.SECTIONS)
    @pytest.mark.parametrize(
        ("offset", "size"),
        [(0, 10), (319, 10), (320, 81), (400, 1), (2**64 - 1, 2**64 - 1)],
    )
    def test_a_section_out_of_bounds_is_refused(self, name: str, offset: int, size: int) -> None:
        at = section_entry(name)
        data = set_word(pack.pack_header(make_header()), at, offset)
        data = resealed(set_word(data, at + 8, size))
        with pytest.raises(RegistryError) as caught:
            layout.unpack_header(data, 400, PATH)
        assert str(caught.value) == (
            f"registry '/x/app.frz': section {name!r} goes from {offset} to {offset + size}, "
            "expected between 320 and 400"
        )
        assert caught.value.offset == offset

    @pytest.mark.parametrize("name", layout.SECTIONS[:-1])
    def test_only_a_signature_may_be_nowhere(self, name: str) -> None:
        at = section_entry(name)
        data = resealed(set_word(set_word(pack.pack_header(make_header()), at, 0), at + 8, 0))
        with pytest.raises(RegistryError, match=f"section '{name}' goes from 0 to 0, expected "):
            layout.unpack_header(data, 400, PATH)

    def test_a_cache_tag_that_does_not_fit_is_not_packed(self) -> None:
        with pytest.raises(ValueError, match=r"^cache tag 'x{33}' is longer than 32 bytes$"):
            pack.pack_header(make_header(cache_tag="x" * 33))


class TestRoots:
    @given(st.lists(st.tuples(st.sampled_from(layout.ANCHORS), paths)))
    def test_roots_come_back(self, roots: list[tuple[str, str]]) -> None:
        assert layout.unpack_roots(pack.pack_roots(roots), PATH) == roots

    @pytest.mark.parametrize(
        ("data", "found", "end"),
        [
            (pack.pack_words([4, 0]), "anchor 4 and 0 bytes", 336),
            (pack.pack_words([200, 0]), "anchor 200 and 0 bytes", 336),
            (pack.pack_roots([("prefix", "lib")])[:-1], "anchor 1 and 3 bytes", 338),
            (pack.pack_words([0, 2**64 - 1]), "anchor 0 and 18446744073709551615 bytes", 336),
            (b"\0" * 8, "anchor 0 and 18446744073709551615 bytes", 328),
        ],
    )
    def test_a_malformed_root_is_refused(self, data: bytes, found: str, end: int) -> None:
        with pytest.raises(RegistryError) as caught:
            layout.unpack_roots(data, PATH, 320)
        assert str(caught.value) == (
            f"registry '/x/app.frz': root 0 at 320 has {found}, expected an anchor below 4 and an "
            f"end up to {end}"
        )
        assert (caught.value.path, caught.value.offset) == (PATH, 320)

    def test_a_malformed_root_is_told_by_number_and_place(self) -> None:
        data = pack.pack_roots([("stdlib", ""), ("prefix", "lib")]) + b"\4"
        with pytest.raises(RegistryError, match=r" root 2 at 355 has .* up to 356$") as caught:
            layout.unpack_roots(data, PATH, 320)
        assert caught.value.offset == 355
        with pytest.raises(RegistryError, match=r" root 2 at 42 has .* up to 43$") as caught:
            layout.unpack_roots(data, PATH, 7)
        assert caught.value.offset == 42

    def test_offsets_count_from_the_section_unless_it_is_said_where_that_lies(self) -> None:
        with pytest.raises(RegistryError, match="root 0 at 0 has "):
            layout.unpack_roots(b"?", PATH)
        with pytest.raises(RegistryError, match="shard at 0 has 1 bytes and claims "):
            Shard(b"?", PATH)


class TestBoot:
    @pytest.mark.parametrize("after", [b"", b"more"])
    def test_a_range_comes_back(self, after: bytes) -> None:
        packed = pack.pack_boot(8, 90, 3)
        assert layout.unpack_boot(packed + after, 98, PATH) == (8, 90, 3)

    @pytest.mark.parametrize("limit", [10**6, 10**6 + 1])
    def test_a_range_may_end_where_the_blobs_do(self, limit: int) -> None:
        packed = pack.pack_boot(400_000, 600_000, 3)
        assert layout.unpack_boot(packed, limit, PATH) == (400_000, 600_000, 3)

    def test_an_empty_section_names_nothing(self) -> None:
        assert layout.unpack_boot(b"", 0, PATH) == (0, 0, 0)

    def test_a_section_that_is_too_short_is_refused(self) -> None:
        with pytest.raises(RegistryError) as caught:
            layout.unpack_boot(b"?" * 23, 100, PATH, 400)
        assert str(caught.value) == (
            "registry '/x/app.frz': section 'boot' has 23 bytes, expected 24"
        )
        assert caught.value.offset == 400
        with pytest.raises(RegistryError) as caught:
            layout.unpack_boot(b"?", 100, PATH)
        assert caught.value.offset == 0

    def test_a_range_beyond_the_blobs_is_refused(self) -> None:
        with pytest.raises(RegistryError) as caught:
            layout.unpack_boot(pack.pack_boot(8, 90, 3), 97, PATH, 400)
        assert str(caught.value) == (
            "registry '/x/app.frz': section 'boot' names the blobs from 8 to 98, expected an "
            "end up to 97"
        )
        assert caught.value.offset == 400


class TestIndex:
    @given(st.lists(entries, max_size=20, unique_by=lambda entry: (entry.table, entry.name)))
    def test_the_first_entry_of_a_name_in_the_order_of_tables_is_found(
        self, packed: list[FrozenEntry]
    ) -> None:
        shards = shards_of(*packed)
        ordered = sorted(packed, key=lambda entry: layout.TABLES.index(entry.table))
        for name in {entry.name for entry in packed}:
            first, *_ = [entry for entry in ordered if entry.name == name]
            assert fields(find(shards, name, tests=True)) == fields(first)
            expected = None if first.table == "test" else first
            assert fields(find(shards, name)) == fields(expected)

    @given(st.lists(entries, max_size=20, unique_by=lambda entry: (entry.table, entry.name)))
    def test_entries_come_in_the_order_of_search(self, packed: list[FrozenEntry]) -> None:
        (shard,) = shards_of(*packed)
        ordered = sorted(packed, key=lambda entry: (layout.TABLES.index(entry.table), entry.name))
        assert list(map(fields, shard.entries())) == list(map(fields, ordered))

    @given(st.lists(entries, max_size=20, unique_by=lambda entry: (entry.table, entry.name)))
    def test_names_come_in_the_same_order(self, packed: list[FrozenEntry]) -> None:
        (shard,) = shards_of(*packed)
        assert list(shard.names()) == [entry.name for entry in shard.entries()]

    @given(offset=words, size=words, digest=words)
    def test_where_the_source_is_embedded_comes_back(
        self, offset: int, size: int, digest: int
    ) -> None:
        entry = FrozenEntry("m", text_offset=offset, text_size=size, text_digest=digest)
        assert fields(find(shards_of(entry), "m")) == fields(entry)

    @given(st.lists(entries, max_size=20), names)
    def test_a_name_that_is_not_there_is_not_found(
        self, packed: list[FrozenEntry], name: str
    ) -> None:
        absent = [entry for entry in packed if entry.name != name]
        assert find(shards_of(*absent), name, tests=True) is None

    def test_an_index_of_nothing_finds_nothing(self) -> None:
        assert find(shards_of(), "m") is None
        assert find(shards_of(), "") is None

    def test_a_table_answers_only_where_those_before_it_are_silent(self) -> None:
        packed = [FrozenEntry("m", table=table) for table in reversed(layout.TABLES)]
        found = []
        while packed:
            entry = find(shards_of(*packed), "m", tests=True)
            assert entry is not None
            found.append(entry.table)
            packed = [other for other in packed if other.table != entry.table]
        assert found == ["bootstrap", "app", "stdlib", "test"]

    def test_a_prefix_of_a_name_is_another_name(self) -> None:
        packed = [FrozenEntry(name, path=name) for name in ("pkg", "pkg.mod", "pkg.module")]
        shards = shards_of(*packed)
        for entry in packed:
            assert fields(find(shards, entry.name)) == fields(entry)
        for name in ("", "p", "pkg.", "pkg.mo", "pkg.modul", "pkg.modules"):
            assert find(shards, name) is None

    def test_names_that_share_a_slot_are_told_apart(self) -> None:
        # four records make 16 slots
        colliding = [f"m{at}" for at in range(200) if layout.name_hash(f"m{at}".encode()) % 16 == 5]
        *present, absent = colliding[:5]
        (shard,) = shards_of(*[FrozenEntry(name) for name in present])
        assert [entry and entry.name for entry in map(shard.find, present)] == present
        assert shard.find(absent) is None

    def test_a_name_is_none_that_goes_on_in_the_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layout, "name_hash", lambda _: 7)
        monkeypatch.setattr(pack, "name_hash", lambda _: 7)
        (shard,) = shards_of(FrozenEntry("pkg", path="module.py"))
        assert [shard.find(name) for name in ("pkgm", "pkgmodule.py", "pk")] == [None] * 3

    @pytest.mark.parametrize("count", range(1, 40))
    def test_slots_are_half_full_at_most_and_a_quarter_at_least(self, count: int) -> None:
        (shard,) = shards_of(*[FrozenEntry(f"pkg.m{at}") for at in range(count)])
        assert 2 * count < len(shard._slots) <= 4 * count

    def test_names_of_one_hash_are_told_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layout, "name_hash", lambda _: 2**64 - 1)
        monkeypatch.setattr(pack, "name_hash", lambda _: 2**64 - 1)
        present = [f"m{at}" for at in range(40)]
        (shard,) = shards_of(*map(FrozenEntry, present))
        assert [entry and entry.name for entry in map(shard.find, present)] == present
        assert shard.find("m40") is None

    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("pkg", "pkg"),
            ("pkg.sub.mod", "pkg"),
            ("pkg/sub/data.txt", "pkg"),
            ("pkg-1.0.dist-info/METADATA", "pkg-1.0.dist-info"),
            ("read.me", "read"),
            ("", ""),
        ],
    )
    def test_a_shard_has_all_of_a_top_level_package(self, name: str, key: str) -> None:
        assert layout.shard_key(name) == key

    def test_the_order_of_entries_does_not_change_the_bytes(self) -> None:
        packed = [FrozenEntry(f"pkg{at % 7}.m{at}") for at in range(1000)]
        assert pack.pack_index(packed) == pack.pack_index(packed[::-1])

    def test_a_hundred_thousand_entries_make_a_bounded_directory(self) -> None:
        packed = [
            FrozenEntry(f"pkg{at % 997}.sub.module{at}", path=f"pkg/{at}.py", offset=at)
            for at in range(100_000)
        ]
        directory, body = pack.pack_index(packed)
        assert len(directory) == 24 * layout.MAX_SHARDS
        located = layout.unpack_words(directory)
        assert sum(located[1::3]) == len(body)
        assert max(located[1::3]) < 4 * len(body) / layout.MAX_SHARDS
        shards = shards_of(*packed)
        for entry in packed:
            found = find(shards, entry.name)
            assert found is not None
            assert (found.name, found.offset) == (entry.name, entry.offset)
        assert find(shards, "pkg1.sub.module0") is None

    @pytest.mark.parametrize(
        "entry",
        [
            FrozenEntry("n" * 65536),
            FrozenEntry("m", path="n" * 65536),
            FrozenEntry("m", origname="n" * 65536),
        ],
        ids=["name", "path", "origname"],
    )
    def test_a_name_that_does_not_fit_is_not_packed(self, entry: FrozenEntry) -> None:
        message = f"^name or path of entry '{entry.name}' is longer than 65535 bytes$"
        with pytest.raises(ValueError, match=message):
            pack.pack_index([entry])

    def test_an_original_name_that_is_no_other_takes_no_bytes(self) -> None:
        same = FrozenEntry("name", origname=b"name".decode())  # equal, and another object
        assert pack.pack_index([same]) == pack.pack_index([FrozenEntry("name")])

    def test_the_test_table_is_searched_only_if_asked(self) -> None:
        (shard,) = shards_of(FrozenEntry("name", table="test"))
        assert shard.find("name") is None
        assert shard.find("name", True) is not None

    def test_the_longest_name_is_packed(self) -> None:
        longest = FrozenEntry("n" * 65535, path="p" * 65535, origname="o" * 65535)
        assert fields(find(shards_of(longest), longest.name)) == fields(longest)

    @pytest.mark.parametrize("name", ["pkg", "é", "\U0001f40d"])
    def test_what_a_name_can_be(self, name: str) -> None:
        assert is_utf8(name)
        assert not is_utf8(name + "\ud800")

    @pytest.mark.parametrize(
        "changes",
        [
            {"mtime": 2**32},
            {"source_size": 2**32},
            {"mtime": -1},
            {"root": 2**16},
            {"root": -1},
            {"offset": 2**64},
            {"size": -1},
        ],
    )
    def test_a_number_that_does_not_fit_is_not_packed(self, changes: dict[str, int]) -> None:
        with pytest.raises(OverflowError):
            pack.pack_index([FrozenEntry("m", **changes)])  # type: ignore[arg-type]


class TestMalformedShards:
    RECORD = 40  # in a shard of one record: after the count and four slots

    def pack(self, **changes: Any) -> bytes:
        return pack.pack_index([FrozenEntry("name", path="p", origname="orig", **changes)])[1]

    def refuse(self, data: bytes, message: str, offset: int) -> None:
        """Both ways to an entry refuse the shard with this message; it lies at 1000."""
        with pytest.raises(RegistryError) as caught:
            Shard(data, PATH, 1000).find("name")
        with pytest.raises(RegistryError) as again:
            Shard(data, PATH, 1000).entries()
        assert str(caught.value) == str(again.value) == f"registry '/x/app.frz': {message}"
        assert (caught.value.path, caught.value.offset) == (PATH, offset)

    @pytest.mark.parametrize("count", [0, 3, 5, 32, 64, 2**63, 2**64 - 1])
    def test_a_slot_count_that_cannot_be_is_refused(self, count: int) -> None:
        data = set_word(self.pack(), 0, count)
        self.refuse(
            data,
            f"the shard at 1000 has 136 bytes and claims {count} slots, {EXPECTED_SLOTS}",
            1000,
        )

    def test_an_empty_shard_is_refused(self) -> None:
        self.refuse(
            b"", f"the shard at 1000 has 0 bytes and claims 0 slots, {EXPECTED_SLOTS}", 1000
        )

    @pytest.mark.parametrize(("count", "size"), [(1, 8), (1, 15), (4, 39)])
    def test_a_shard_of_fewer_bytes_than_its_slots_is_refused(self, count: int, size: int) -> None:
        data = pack.pack_words([count, 0, 0, 0, 0])
        message = f"the shard at 1000 has {size} bytes and claims {count} slots, {EXPECTED_SLOTS}"
        self.refuse(data[:size], message, 1000)
        assert Shard(data[: 8 + 8 * count], PATH).entries() == []

    @pytest.mark.parametrize(
        ("word", "value", "complaint"),
        [
            (0, 4 | 0xFFFF << 16 | 4 << 32, "ends at 66663 and has kind 0 and table 1"),
            (0, 4 | 1 << 16 | 0xFFFF << 32, "ends at 66660 and has kind 0 and table 1"),
            (8, 6 << 8 | 1 << 16, "ends at 1129 and has kind 6 and table 1"),
            (8, 4 << 16, "ends at 1129 and has kind 0 and table 4"),
            (8, 200 << 16, "ends at 1129 and has kind 0 and table 200"),
            (8, 200 << 8, "ends at 1129 and has kind 200 and table 0"),
        ],
    )
    def test_a_malformed_record_is_refused(self, word: int, value: int, complaint: str) -> None:
        data = set_word(self.pack(), self.RECORD + word, value)
        message = (
            f"the record at 1040 {complaint}, expected an end up to 1136, a kind below 6 and a "
            "table below 4"
        )
        self.refuse(data, message, 1040)

    def test_a_name_that_is_not_utf_8_is_refused(self) -> None:
        data = self.pack().replace(b"nameporig", b"name\xfforig")
        assert find([Shard(data, PATH)], "name") is not None, "a path may be any bytes"
        data = self.pack().replace(b"nameporig", b"namepo\xffig")
        self.refuse(data, r"b'o\xffig' at 1125 is not UTF-8: invalid start byte", 1125)

    def test_a_record_cut_short_is_refused(self) -> None:
        data = self.pack()
        for size in range(len(data) - 7, len(data)):  # but for what fills it up
            shard = Shard(data[:size], PATH)
            assert [entry.name for entry in shard.entries()] == [*shard.names()] == ["name"]
        for size in range(self.RECORD + 1, len(data) - 7):
            with pytest.raises(RegistryError):
                Shard(data[:size], PATH).entries()

    @given(st.lists(words, min_size=4, max_size=4), names)
    def test_slots_that_point_anywhere_find_nothing_or_are_refused(
        self, slots: list[int], name: str
    ) -> None:
        data = pack.pack_words([4, *slots]) + self.pack()[self.RECORD :]
        try:
            found = Shard(data, PATH).find(name)
        except RegistryError:
            return
        assert found is None or found.name == name

    def test_slots_that_all_name_one_record_do_not_multiply_it(self) -> None:
        data = pack.pack_words([4, 40, 40, 40, 40]) + self.pack()[self.RECORD :]
        shard = Shard(data, PATH)
        assert [entry.name for entry in shard.entries()] == ["name"]
        assert shard.find("other") is None
