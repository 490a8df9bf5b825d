"""`frozenfinder verify`: check every digest of a registry, and who can change the file.

It reads the format itself and not through `Registry`, which stops at the first damage.
"""

import argparse
import marshal
import os
from collections.abc import Iterator
from hashlib import sha256
from importlib.util import MAGIC_NUMBER
from types import CodeType

from frozenfinder.errors import RegistryError, RegistryTrustError
from frozenfinder.native.folder import UnusableError, check_ancestors
from frozenfinder.native.parcel import unpack_parcel
from frozenfinder.runtime import layout
from frozenfinder.runtime.layout import FrozenEntry
from frozenfinder.runtime.registry import Registry
from frozenfinder.trust import check_sha256, check_signature

from . import DONE, FAILED, UsageError
from .commands import open_registry_or_bundle, print_json
from .parser import Parser

SUMMARY = "check a registry for damage, and whether others can change it"


def make_parser() -> Parser:
    parser = Parser("verify", SUMMARY)
    parser.add_registry()
    parser.add_argument("--sha256", metavar="HEX", help="the SHA-256 that it must have")
    parser.add_argument(
        "--verify-key", metavar="HEX", help="the Ed25519 key that it must be signed with"
    )
    parser.add_json()
    return parser


def main(options: argparse.Namespace) -> int:
    registry = open_registry_or_bundle(options.registry)
    content = registry.read_unchecked()
    exposed = list(find_exposure(registry, content, options.sha256, options.verify_key))
    damage = list(find_damage(content, registry.path, load=not exposed))
    signed = bool(registry.header.sections["signature"][1])
    checksum = sha256(content).hexdigest()
    if options.json:
        print_json(
            {
                "registry": registry.path,
                "size": len(content),
                "sha256": checksum,
                "signed": signed,
                "intact": not damage,
                "damage": [
                    {"message": str(error), "entry": error.name, "offset": error.offset}
                    for error in damage
                ],
                "trusted": not exposed,
                "exposed": exposed,
            }
        )
    else:
        for complaint in (*damage, *exposed):
            print(complaint)
        if not damage:
            header = registry.header
            print(
                f"{registry.where} {'is not damaged' if exposed else 'is intact'}: "
                f"{header.modules} modules, {header.files} files, "
                f"{header.size} bytes, {'signed' if signed else 'not signed'}\nSHA-256 {checksum}"
            )
    return FAILED if damage or exposed else DONE


def find_exposure(
    registry: Registry, content: bytes, checksum: str | None, key: str | None
) -> Iterator[str]:
    """Why others may have changed the content: permissions of the file and above it, and the pins.

    If a pin is given and holds, permissions do not matter. UsageError if it is not hexadecimal.
    """
    try:
        if checksum is not None:
            check_sha256(content, checksum, registry.path)
        if key is not None:
            check_signature(content, key, registry.path)
    except RegistryTrustError as error:
        yield str(error)
    except ValueError as error:
        raise UsageError(f"{error}; see 'frozenfinder verify --help'") from error
    else:
        if checksum is None and key is None:
            if registry.distrust is not None:
                yield registry.distrust
            yield from _find_exposed_folders(registry)


def _find_exposed_folders(registry: Registry) -> Iterator[str]:
    for path in dict.fromkeys([registry.path, os.path.realpath(registry.path)]):
        try:
            check_ancestors(os.path.dirname(path))
        except UnusableError as error:
            yield f"{registry.where}: {error}, so others can replace the registry"


def find_damage(content: bytes, path: str, *, load: bool = True) -> Iterator[RegistryError]:
    """Yield an error for each damaged piece of a registry; raise RegistryError for its header.

    With `load`, intact code is unmarshalled, too, if it is for this interpreter. Do not pass it for
    a registry that an untrusted user may have written: crafted data can crash the process.
    """
    header = layout.unpack_header(content, len(content), path)
    guarded = [name for name in layout.SECTIONS if name not in layout.UNGUARDED]
    damaged = set()
    for name in guarded:
        offset, size, digest = header.sections[name]
        try:
            layout.check(content[offset : offset + size], digest, path, f"section {name!r}", offset)
        except RegistryError as error:
            damaged.add(name)
            yield error
    is_ours = header.magic == int.from_bytes(MAGIC_NUMBER, "little")
    loadable = load and is_ours and header.marshal_version == marshal.version
    pieces = _Pieces(content, header, path)
    for directory, shards in (("modules", "module_shards"), ("files", "file_shards")):
        if directory not in damaged:
            yield from pieces.check_index(directory, shards, loadable and directory == "modules")


class _Pieces:
    """The pieces of a registry that have their own digests."""

    def __init__(self, content: bytes, header: layout.Header, path: str) -> None:
        self._content = memoryview(content)
        self._header = header
        self._sections = header.sections
        self._path = path

    def check_index(self, directory: str, shards: str, loadable: bool) -> Iterator[RegistryError]:
        offset, size, _ = self._sections[directory]
        words = layout.unpack_words(self._content[offset : offset + size - size % 24])
        for number in range(len(words) // 3):
            at, length, digest = words[3 * number : 3 * number + 3]
            try:
                data = self._read(
                    shards, at, length, digest, f"shard {number} of section {directory!r}"
                )
                shard = layout.Shard(bytes(data), self._path, self._sections[shards][0] + at)
                entries = shard.entries()
            except RegistryError as error:
                yield error
                continue
            for entry in entries:
                yield from self._check_entry(entry, loadable)

    def _check_entry(self, entry: FrozenEntry, loadable: bool) -> Iterator[RegistryError]:
        pieces = [("entry", entry.offset, entry.size, entry.digest)]
        if entry.text_size >= 0:
            what = "parcel of entry" if entry.kind == "extension" else "source of entry"
            pieces.append((what, entry.text_offset, entry.text_size, entry.text_digest))
        read = []
        for what, offset, size, digest in pieces:
            try:
                read.append(self._read("blobs", offset, size, digest, f"{what} {entry.name!r}"))
                if loadable and what == "entry" and size and entry.kind in layout.CODE_KINDS:
                    self._check_code(entry, read[0])
                if what == "parcel of entry" and len(read) == 2:
                    self._check_parcel(entry, *read)
            except RegistryError as error:
                error.name = entry.name
                yield error

    def _read(self, section: str, offset: int, size: int, digest: int, what: str) -> memoryview:
        at = layout.find_piece(self._header, self._path, section, offset, size, what)
        data = self._content[at : at + size]
        if size or digest:
            layout.check(data, digest, self._path, what, at)
        return data

    def _check_parcel(self, entry: FrozenEntry, content: memoryview, text: memoryview) -> None:
        offset = self._sections["blobs"][0] + entry.text_offset
        listed = {
            file.path: (file.size, file.digest)
            for file in unpack_parcel(text, self._path, offset).files
        }
        found = len(content), sha256(content).hexdigest()
        if listed.get(entry.path) != found:
            raise RegistryError(
                f"registry {self._path!r}: the parcel of entry {entry.name!r} lists "
                f"{listed.get(entry.path)} for {entry.path!r}, expected {found}",
                path=self._path,
                offset=offset,
            )

    def _check_code(self, entry: FrozenEntry, data: memoryview) -> None:
        try:
            found: object = marshal.loads(data)
        except (EOFError, TypeError, ValueError) as error:
            found = error
        if not isinstance(found, CodeType):
            raise RegistryError(
                f"registry {self._path!r}: entry {entry.name!r} unmarshals to {found!r:.80}, "
                "expected a code object",
                path=self._path,
                offset=self._sections["blobs"][0] + entry.offset,
            )
