"""`Parcel`: the files that must be in the same directory for an extension module to load.

A parcel is a text. The registry stores it with an embedded extension module, where it stores the
source of a source module: `docs/reference/format.md` describes it.
"""

import sys

from frozenfinder.errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SIZE_DIGITS = 20  # as 2**64 has; int() refuses thousands of digits
_KINDS = ("module", "library")
_SEPARATORS = "/\\:" if sys.platform == "win32" else "/"


class ParcelFile:
    """A file of a parcel: its SHA-256 in hexadecimal, its size in bytes, and its path below the
    root.

    `is_library` is true for a shared library, which is a data file of the registry, and false for
    an extension module.
    """

    __slots__ = ("digest", "is_library", "path", "size")

    def __init__(self, path: str, *, digest: str, size: int, is_library: bool) -> None:
        self.path = path
        self.digest = digest
        self.size = size
        self.is_library = is_library


class Parcel:
    """Extension modules and the shared libraries beside them that they load.

    `digest` is the name of the directory with the files: the SHA-256 of the text that lists them.
    """

    __slots__ = ("digest", "files")

    def __init__(self, digest: str, files: "Sequence[ParcelFile]") -> None:
        self.digest = digest
        self.files = files


def pack_parcel(files: "Iterable[ParcelFile]") -> bytes:
    """The bytes of a parcel: one line for itself, and one for each file."""
    # deferred: only the freezer packs
    from hashlib import sha256

    lines = [f"{_KINDS[file.is_library]} {file.digest} {file.size} {file.path}\n" for file in files]
    body = "".join(lines).encode("utf-8", "surrogateescape")
    return f"parcel {sha256(body).hexdigest()}\n".encode() + body


def unpack_parcel(data: "bytes | memoryview", path: str, offset: int) -> Parcel:
    """The inverse of `pack_parcel`, for a parcel at `offset` of the registry `path`.

    No path in the result leads out of the parcel's directory. RegistryError if it is malformed.
    """
    head, *lines = str(data, "utf-8", "surrogateescape").removesuffix("\n").split("\n")
    kind, _, digest = head.partition(" ")
    if kind != "parcel" or not _is_digest(digest):
        raise _malformed(head, "'parcel' and a SHA-256", path, offset)
    return Parcel(digest, [_unpack_file(line, path, offset) for line in lines])


def _unpack_file(line: str, path: str, offset: int) -> ParcelFile:
    kind, _, rest = line.partition(" ")
    digest, _, rest = rest.partition(" ")
    size, _, file = rest.partition(" ")
    if (
        kind not in _KINDS
        or not _is_digest(digest)
        or not (size.isascii() and size.isdigit() and len(size) <= _SIZE_DIGITS)
        or not _is_below(file)
    ):
        expected = "'module' or 'library', a SHA-256, a size and a path without '.' and '..'"
        raise _malformed(line, expected, path, offset)
    return ParcelFile(file, digest=digest, size=int(size), is_library=kind == "library")


def _is_digest(text: str) -> bool:
    return len(text) == 64 and not text.strip("0123456789abcdef")


def _is_below(path: str) -> bool:
    """Whether a relative path stays below its directory."""
    for separator in _SEPARATORS:
        path = path.replace(separator, "/")
    return "\0" not in path and not {"", ".", ".."}.intersection(path.split("/"))


def _malformed(line: str, expected: str, path: str, offset: int) -> RegistryError:
    return RegistryError(
        f"registry {path!r}: the parcel at {offset} has the line {line!r}, expected {expected}",
        path=path,
        offset=offset,
    )
