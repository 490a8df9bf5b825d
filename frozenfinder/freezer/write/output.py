"""Writing: the bytes of a registry from frozen modules and files, and its file.

The file is always a complete registry: it is written under another name beside the old one, and
replaces it in one step. Its bytes do not depend on the clock, the machine or the order of work.
"""

from __future__ import annotations

import json
import marshal
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import MAGIC_NUMBER
from typing import IO, NamedTuple

from frozenfinder import __version__
from frozenfinder.errors import FreezeError
from frozenfinder.freezer.plan import Plan
from frozenfinder.runtime.layout import CODE_KINDS, MAGIC, FrozenEntry, digest

from .pack import pack_boot, pack_registry
from .sign import Signer

_MODE = 0o644


class Frozen(NamedTuple):
    """An entry whose offsets are not yet set, and its blob and text."""

    entry: FrozenEntry
    blob: bytes = b""
    text: bytes | None = None


def pack(
    plan: Plan,
    modules: Sequence[Frozen],
    files: Sequence[Frozen],
    signer: Signer | None = None,
) -> list[bytes]:
    """The bytes of the registry, in pieces: the head, the code of a boot, other code, data, texts.

    It sets the offsets, sizes and digests of the entries. A signature comes last.
    """
    blobs: list[bytes] = []
    at = 0
    booted = _find_booted(plan, modules)
    first = {id(frozen) for frozen in booted}
    others = [frozen for frozen in modules if id(frozen) not in first]
    for frozen in (*booted, *others, *files):
        entry = frozen.entry
        entry.offset, entry.size = at, len(frozen.blob)
        entry.digest = digest(frozen.blob) if frozen.blob else 0
        blobs.append(frozen.blob)
        at += entry.size
    for frozen in modules:
        if frozen.text is not None:
            entry = frozen.entry
            entry.text_offset, entry.text_size = at, len(frozen.text)
            entry.text_digest = digest(frozen.text)
            blobs.append(frozen.text)
            at += entry.text_size
    head = pack_registry(
        magic=int.from_bytes(MAGIC_NUMBER, "little"),
        marshal_version=marshal.version,
        optimize=plan.optimize,
        world=plan.world,
        cache_tag=str(sys.implementation.cache_tag),
        roots=[(root.anchor, root.path) for root in plan.roots],
        modules=[frozen.entry for frozen in modules],
        files=[frozen.entry for frozen in files],
        info=pack_info(plan),
        boot=pack_boot(0, sum(len(each.blob) for each in booted), len(booted)) if booted else b"",
        blobs_size=at,
        signed=signer is not None,
    )
    signature = [] if signer is None else [signer.sign(head, *blobs)]
    return [head, *blobs, *signature]


def _find_booted(plan: Plan, modules: Sequence[Frozen]) -> list[Frozen]:
    """The modules of a recorded boot that have code, in its order."""
    by_name = {
        frozen.entry.name: frozen
        for frozen in reversed(modules)  # of two with one name, the first counts
        if frozen.entry.kind in CODE_KINDS and frozen.blob
    }
    return [by_name[name] for name in plan.boot if name in by_name]


def pack_info(plan: Plan) -> bytes:
    """The content of `Registry.info`: this version, and the lines of a manifest for the same."""
    info = {"frozenfinder": __version__, "asked": plan.asked}
    return json.dumps(info, ensure_ascii=False).encode("utf-8", "surrogateescape")


def check_output(path: str) -> None:
    """FreezeError unless a registry may be written at `path`: other files are not overwritten."""
    if not check_place(path, "a registry"):
        return
    try:
        with open(path, "rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise _unwritable(path, error) from error
    if start and start != MAGIC:
        raise FreezeError(
            f"output {path!r}: is not a registry, because it begins with {start!r}; "
            "remove it, or choose another name"
        )


def check_place(path: str, expected: str) -> bool:
    """Whether a file exists at `path`; FreezeError if it is something else, or has no folder."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(path)):
            raise FreezeError(
                f"output {path!r}: its folder does not exist; create it first"
            ) from None
        return False
    except OSError as error:
        raise _unwritable(path, error) from error
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise FreezeError(f"output {path!r}: is {kind}, expected {expected} or nothing")
    return True


def write(path: str, pieces: Sequence[bytes]) -> bool:
    """Put a file of these pieces at `path`; False if it already had this content.

    If that fails, the previous file stays, and FreezeError is raised.
    """
    try:
        if _holds(path, pieces):
            return False
    except OSError:
        pass  # not there, or not ours
    with replacing(path) as file:
        file.writelines(pieces)
    return True


def _holds(path: str, pieces: Sequence[bytes]) -> bool:
    with open(path, "rb") as file:
        return os.fstat(file.fileno()).st_size == sum(map(len, pieces)) and all(
            file.read(len(piece)) == piece for piece in pieces
        )


@contextmanager
def replacing(path: str, *, mode: int = _MODE) -> Iterator[IO[bytes]]:
    """A file beside `path`, to write in the block; at its end, the file is renamed to `path`.

    If the block raises, the file is removed. FreezeError if it cannot be written, or if the block
    raises an OSError.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(temporary, flags, mode)
        try:
            with open(descriptor, "wb") as file:
                yield file
                sync(file)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise _unwritable(path, error) from error
    _sync_folder(folder)


def sync(file: IO[bytes]) -> None:
    """Write all data to the disk; OSError if there is no space, or it fails."""
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Make the new name survive a power failure, if a directory can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unwritable(path: str, error: OSError) -> FreezeError:
    return FreezeError(f"output {path!r}: cannot be written: {error.strerror or error}")
