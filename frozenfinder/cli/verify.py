"""`frozenfinder verify`: every byte of a registry that a digest guards.

It goes by the format alone, not through `Registry`, which stops at the first damage that it meets.
"""

import argparse
import marshal
from collections.abc import Iterator
from hashlib import sha256
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType

from frozenfinder import layout
from frozenfinder.errors import RegistryError
from frozenfinder.hooks import open_registry
from frozenfinder.layout import FrozenEntry
from frozenfinder.parcel import unpack_parcel

from . import DONE, FAILED
from .commands import print_json
from .parser import Parser

SUMMARY = "check every digest of a registry"
_CODE_KINDS = ("source", "sourceless")  # what is marshalled


def make_parser() -> Parser:
    parser = Parser("verify", SUMMARY)
    parser.add_registry()
    parser.add_json()
    return parser


def main(options: argparse.Namespace) -> int:
    registry = open_registry(options.registry)
    content = Path(registry.path).read_bytes()
    damage = list(find_damage(content, registry.path))
    if options.json:
        print_json(
            {
                "registry": registry.path,
                "size": len(content),
                "intact": not damage,
                "damage": [
                    {"message": str(error), "entry": error.name, "offset": error.offset}
                    for error in damage
                ],
            }
        )
    elif damage:
        for error in damage:
            print(error)
    else:
        header = registry.header
        print(
            f"{registry.where} is intact: {header.modules} modules, {header.files} files, "
            f"{header.size} bytes"
        )
    return FAILED if damage else DONE


def find_damage(content: bytes, path: str) -> Iterator[RegistryError]:
    """Each piece of a registry that is not what it was; RegistryError if the header is not.

    Code that is intact is unmarshalled too, where this interpreter can; what is not never is.
    """
    header = layout.unpack_header(content, len(content), path)
    guarded = [name for name in layout.SECTIONS if name not in layout.PIECEWISE]
    damaged = set()
    for name in guarded:
        offset, size, digest = header.sections[name]
        try:
            layout.check(content[offset : offset + size], digest, path, f"section {name!r}", offset)
        except RegistryError as error:
            damaged.add(name)
            yield error
    loadable = header.marshal_version == marshal.version and header.magic == int.from_bytes(
        MAGIC_NUMBER, "little"
    )
    pieces = _Pieces(content, header, path)
    for directory, shards in (("modules", "module_shards"), ("files", "file_shards")):
        if directory not in damaged:
            yield from pieces.check_index(directory, shards, loadable and directory == "modules")


class _Pieces:
    """The pieces of a registry that have digests of their own."""

    def __init__(self, content: bytes, header: layout.Header, path: str) -> None:
        self._content = memoryview(content)
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
                if loadable and what == "entry" and size and entry.kind in _CODE_KINDS:
                    self._check_code(entry, read[0])
                if what == "parcel of entry" and len(read) == 2:
                    self._check_parcel(entry, *read)
            except RegistryError as error:
                error.name = entry.name
                yield error

    def _read(self, section: str, offset: int, size: int, digest: int, what: str) -> memoryview:
        start, limit, _ = self._sections[section]
        if offset + size > limit:
            raise RegistryError(
                f"registry {self._path!r}: {what} ends at {start + offset + size}, "
                f"section {section!r} ends at {start + limit}",
                path=self._path,
                offset=start + offset,
            )
        data = self._content[start + offset : start + offset + size]
        if size or digest:
            layout.check(data, digest, self._path, what, start + offset)
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
