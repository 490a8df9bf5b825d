"""Parcels: the text that registries hold, and which files the freezer puts together."""

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from support.registries import Frozen as EntryToBe
from support.registries import build_registry, section_range

from frozenfinder.cli.verify import find_damage
from frozenfinder.errors import RegistryError
from frozenfinder.freezer.write.output import Frozen
from frozenfinder.freezer.write.parcels import add_parcels, make_parcels
from frozenfinder.native.parcel import Parcel, ParcelFile, pack_parcel, unpack_parcel
from frozenfinder.runtime.layout import FrozenEntry

if TYPE_CHECKING:
    from frozenfinder.runtime.layout import Kind

DIGEST = sha256(b"content").hexdigest()
LIBRARY = ParcelFile("pkg.libs/libx.so", digest=DIGEST, size=7, is_library=True)
MODULE = ParcelFile("pkg/a b.so", digest=DIGEST, size=18446744073709551615, is_library=False)


def fields(parcel: Parcel) -> list[tuple[Any, ...]]:
    return [(file.path, file.digest, file.size, file.is_library) for file in parcel.files]


def test_a_parcel_is_one_line_and_one_for_each_file() -> None:
    body = f"library {DIGEST} 7 pkg.libs/libx.so\nmodule {DIGEST} {2**64 - 1} pkg/a b.so\n"
    expected = f"parcel {sha256(body.encode()).hexdigest()}\n{body}"
    assert pack_parcel([LIBRARY, MODULE]) == expected.encode()


def test_unpacking_is_the_inverse_of_packing() -> None:
    packed = pack_parcel([LIBRARY, MODULE])
    parcel = unpack_parcel(memoryview(packed), "/x/app.frz", 0)
    assert parcel.digest == packed[7:71].decode()
    assert fields(parcel) == [
        ("pkg.libs/libx.so", DIGEST, 7, True),
        ("pkg/a b.so", DIGEST, 2**64 - 1, False),
    ]


def test_a_path_may_have_any_bytes_but_line_feeds() -> None:
    path = b"pkg/\xff \r\x0b\x85\xe2\x80\xa8.so".decode("utf-8", "surrogateescape")
    file = ParcelFile(path, digest=DIGEST, size=1, is_library=False)
    assert unpack_parcel(pack_parcel([file]), "", 0).files[0].path == path


HEAD = f"parcel {DIGEST}\n"
MALFORMED = {
    "nothing": ("", ""),
    "another kind": (f"packet {DIGEST}\n", f"packet {DIGEST}"),
    "a short digest": ("parcel 12\n", "parcel 12"),
    "a digest in capitals": (f"parcel {DIGEST.upper()}\n", f"parcel {DIGEST.upper()}"),
    "a file of another kind": (f"{HEAD}source {DIGEST} 1 x.so\n", f"source {DIGEST} 1 x.so"),
    "a file without a path": (f"{HEAD}module {DIGEST} 1\n", f"module {DIGEST} 1"),
    "a file with an empty path": (f"{HEAD}module {DIGEST} 1 \n", f"module {DIGEST} 1 "),
    "a negative size": (f"{HEAD}module {DIGEST} -1 x.so\n", f"module {DIGEST} -1 x.so"),
    "a size in other digits": (f"{HEAD}module {DIGEST} ١ x.so\n", f"module {DIGEST} ١ x.so"),
    "a path that leads up": (
        f"{HEAD}module {DIGEST} 1 a/../../b\n",
        f"module {DIGEST} 1 a/../../b",
    ),
    "an absolute path": (f"{HEAD}module {DIGEST} 1 /etc/x\n", f"module {DIGEST} 1 /etc/x"),
    "a path with a dot": (f"{HEAD}module {DIGEST} 1 ./x\n", f"module {DIGEST} 1 ./x"),
    "a path with NUL": (f"{HEAD}module {DIGEST} 1 a\0b\n", f"module {DIGEST} 1 a\0b"),
    "a line too many": (f"{HEAD}module {DIGEST} 1 x\n\n", ""),
}


@pytest.mark.parametrize(("text", "line"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_parcel_is_a_registry_error(text: str, line: str) -> None:
    with pytest.raises(RegistryError) as caught:
        unpack_parcel(text.encode(), "/x/app.frz", 640)
    expected = "'parcel' and a SHA-256"
    if text.startswith(HEAD):
        expected = "'module' or 'library', a SHA-256, a size and a path without '.' and '..'"
    message = f"registry '/x/app.frz': the parcel at 640 has the line {line!r}, expected {expected}"
    assert str(caught.value) == message
    assert (caught.value.path, caught.value.offset) == ("/x/app.frz", 640)


# -- which files come together


def together(
    objects: dict[str, bytes], libraries: tuple[str, ...] = ()
) -> dict[str, list[tuple[str, bool]]]:
    """Of each object the (path, whether a library) of the files in its parcel."""
    parcels = make_parcels(objects, libraries)
    unpacked = {path: unpack_parcel(text, "", 0) for path, text in parcels.items()}
    return {
        path: [(file.path, file.is_library) for file in parcel.files]
        for path, parcel in unpacked.items()
    }


def test_a_module_that_loads_nothing_is_alone() -> None:
    assert together({"a.so": b"", "b.so": b"a.so\0"}) == {
        "a.so": [("a.so", False)],
        "b.so": [("b.so", False)],
    }


def test_a_library_is_what_a_module_names() -> None:
    objects = {
        "pkg/a.so": b"..\0libx-12.so\0..",
        "pkg/b.so": b"libx-12.so.3\0 libx-12.so",
        "pkg.libs/libx-12.so": b"",
    }
    found = together(objects, ("pkg.libs/libx-12.so",))
    assert found["pkg/a.so"] == [("pkg.libs/libx-12.so", True), ("pkg/a.so", False)]
    assert found["pkg/b.so"] == [("pkg/b.so", False)]


def test_what_a_library_loads_comes_too_in_circles_as_well() -> None:
    objects = {"a.so": b"libx\0", "libx": b"liby\0libx\0", "liby": b"libz\0", "libz": b"libx\0"}
    expected = [("libx", True), ("liby", True), ("libz", True), ("a.so", False)]
    assert together(objects, ("libx", "liby", "libz"))["a.so"] == expected


def test_modules_that_share_a_library_share_a_parcel() -> None:
    objects = {
        "a.so": b"libx\0",
        "b.so": b"liby\0",
        "c.so": b"libx\0liby\0",
        "d.so": b"libz\0",
        **dict.fromkeys(("libx", "liby", "libz"), b""),
    }
    found = together(objects, ("libx", "liby", "libz"))
    shared = [("libx", True), ("liby", True), ("a.so", False), ("b.so", False), ("c.so", False)]
    assert found["a.so"] == found["b.so"] == found["c.so"] == shared
    assert found["d.so"] == [("libz", True), ("d.so", False)]


def test_libraries_of_one_name_all_come() -> None:
    objects = {"a.so": b"libx\0", "one/libx": b"1", "two/libx": b"2"}
    found = together(objects, ("one/libx", "two/libx"))
    assert found["a.so"] == [("one/libx", True), ("two/libx", True), ("a.so", False)]


def test_files_that_modules_look_for_beside_themselves_bring_these_together() -> None:
    objects = {"a.so": b"", "pkg/b.so": b"", "c.so": b"", "pkg/data": b"text"}
    beside = {"a.so": {"pkg/data", "missing"}, "pkg/b.so": {"pkg/data"}, "other.so": {"pkg/data"}}
    parcels = make_parcels(objects, (), beside)
    files = [file.path for file in unpack_parcel(parcels["a.so"], "", 0).files]
    assert parcels["a.so"] == parcels["pkg/b.so"] != parcels["c.so"]
    assert files == ["pkg/data", "a.so", "pkg/b.so"]


def frozen(path: str, content: bytes, kind: "Kind" = "extension", root: int = 0) -> Frozen:
    return Frozen(FrozenEntry(path, kind=kind, root=root, path=path), content)


def test_only_embedded_extension_modules_have_parcels() -> None:
    modules = [
        frozen("a.cpython-313.so", b"libx.so.1\0libm.so\0"),
        frozen("libm.so", b"as others may load it"),
        frozen("referred.so", b""),
        frozen("m.py", b"libx.so.1\0", kind="source"),
        frozen("b.so", b"libx.so.1\0", root=1),
    ]
    libraries = [frozen("libx.so.1", b"", kind="data")]
    with_parcels = add_parcels(modules, libraries)
    texts = {each.entry.path: each.text for each in with_parcels}
    assert [each._replace(text=None) for each in with_parcels] == modules
    assert texts["a.cpython-313.so"] == texts["libm.so"]
    assert fields(unpack_parcel(texts["libm.so"] or b"", "", 0)) == [
        (each.entry.path, sha256(each.blob).hexdigest(), len(each.blob), is_library)
        for each, is_library in ((modules[1], True), (libraries[0], True), (modules[0], False))
    ]
    assert (texts["referred.so"], texts["m.py"]) == (None, None)
    alone = fields(unpack_parcel(texts["b.so"] or b"", "", 0))
    assert [path for path, *_ in alone] == ["b.so"]


# -- verifying


def find_complaints(module: EntryToBe) -> list[str]:
    content = build_registry(module)
    blobs, _ = section_range(content, "blobs")
    found = [str(error) for error in find_damage(content, "/x/app.frz")]
    return [line.replace(f" at {blobs + len(module.blob)} ", " at PARCEL ") for line in found]


def test_verifying_looks_into_parcels() -> None:
    content = b"not marshalled"
    size, digest = len(content), sha256(content).hexdigest()
    file = ParcelFile("m.so", digest=digest, size=size, is_library=False)
    fields = {"kind": "extension", "path": "m.so"}
    assert find_complaints(EntryToBe("m", content, pack_parcel([file]), fields)) == []
    wrong = ParcelFile("m.so", digest=DIGEST, size=size, is_library=False)
    (complaint,) = find_complaints(EntryToBe("m", content, pack_parcel([wrong]), fields))
    assert complaint == (
        f"registry '/x/app.frz': the parcel of entry 'm' lists ({size}, {DIGEST!r}) for 'm.so', "
        f"expected ({size}, {digest!r})"
    )
    (complaint,) = find_complaints(EntryToBe("m", content, b"parcel", fields))
    assert complaint == (
        "registry '/x/app.frz': the parcel at PARCEL has the line 'parcel', "
        "expected 'parcel' and a SHA-256"
    )
