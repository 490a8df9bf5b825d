"""The registry: a file of marshalled code. Opening reads its header, and look-ups read the rest.

This is the only module that reads the file. Opening reads one block, whatever the size of the file;
the index is read a shard at a time and the blobs in windows. Every piece is checked against its
digest before it is used, in particular before `marshal.loads`, which corrupt bytes can crash.

Threads may share a `Registry`: a shard or a window is published by one assignment after it was
read. Two threads may read the same one twice, and nothing else happens.
"""

import marshal
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from _thread import allocate_lock as _allocate_lock

from frozenfinder.errors import (
    RegistryError,
    RegistryNotFoundError,
    RegistryTrustError,
    RegistryVersionError,
)
from frozenfinder.own import load_own

from . import layout
from .layout import FrozenEntry
from .system import close, make_absolute, raise_number, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike, stat_result
    from types import CodeType
    from typing import Any, Self, TypeAlias

    _Opened: TypeAlias = tuple[int, int, tuple[int, int]]  # a count, the descriptor, its file

__all__ = ["FrozenEntry", "Registry"]

# Sizes of reads, in bytes.
HEAD_SIZE = 8192  # for opening: the header, the roots and the directories nearly always fit
INDEX_WINDOW = 1 << 16  # at least, for a shard outside the last window
BLOB_WINDOW = 16384
BOOT_WINDOW = 1 << 18  # of the blobs that a recorded boot needs next


class _File:
    """The bytes of an open file, by position.

    The descriptor stays open, so a registry that is replaced on disk still serves its old content.
    The descriptor gets a high number, because some programs rely on the low ones. A program that
    closes descriptors it does not know (a daemon) may close it, and the number may then belong to
    another file: `recover` opens the path again and checks that the registry there is the same.

    Threads share it. `_opened` is replaced by one assignment. If several threads recover at once,
    the first one that enters its opening into `_successors` wins (`dict.setdefault` is atomic), and
    the others close theirs. There is no lock, because a fork would have to release it.

    `distrust` says why others can change the content of the file, or is None. It is found for the
    open file, so later changes to the path do not matter.
    """

    __slots__ = (
        "_opened",
        "_position",
        "_successors",
        "base",
        "distrust",
        "path",
        "size",
    )

    def __init__(self, path: str, base: int) -> None:
        self.path = path
        self.base = base
        self._opened: "_Opened" = (0, -1, (0, 0))
        self._successors: "dict[int, _Opened]" = {}
        self._position = _allocate_lock()  # guards the file position where there is no pread
        descriptor, status = self._open()
        self._opened = (0, descriptor, (status.st_dev, status.st_ino))
        self.distrust = _find_distrust(status, path)
        size = status.st_size
        if not 0 <= base <= size:
            raise RegistryError(
                f"registry {path!r} cannot begin at byte {base}, the file has {size} bytes",
                path=path,
            )
        self.size = size - base

    def _open(self) -> "tuple[int, stat_result]":
        path = self.path
        sys.audit("frozenfinder.open", path)
        try:
            descriptor = syscalls.open(path, OPEN_FLAGS)
        except FileNotFoundError:
            raise RegistryNotFoundError(
                f"registry {path!r} does not exist; check the path, or freeze one with: "
                f"{sys.executable or 'python'} -m frozenfinder freeze --help",
                path=path,
            ) from None
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        try:
            status = syscalls.fstat(descriptor)
            if status.st_mode & 0o170000 != 0o100000:
                kind = "a directory" if status.st_mode & 0o170000 == 0o040000 else "not a file"
                raise RegistryError(
                    f"registry {path!r} is {kind}, expected a registry file", path=path
                )
            return raise_number(descriptor), status
        except OSError as error:
            close(descriptor)
            raise self._unreadable(error) from error
        except BaseException:
            close(descriptor)
            raise

    def _unreadable(self, error: "OSError | ValueError") -> RegistryError:
        reason = getattr(error, "strerror", None) or error
        return RegistryError(f"registry {self.path!r} cannot be read: {reason}", path=self.path)

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`, or fewer at the end of the file. OSError."""
        return self._read(self._opened[1], offset, min(size, self.size - offset))

    def _read(self, descriptor: int, offset: int, size: int) -> bytes:
        offset += self.base
        data = self._pread(descriptor, size, offset)
        while len(data) < size:
            more = self._pread(descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def _pread(self, descriptor: int, size: int, offset: int) -> bytes:
        if _pread is not None:
            return _pread(descriptor, size, offset)
        with self._position:
            syscalls.lseek(descriptor, offset, 0)
            return syscalls.read(descriptor, size)

    @property
    def reopens(self) -> bool:
        """Whether opening the path again gives the same bytes: not for a part of a file."""
        return self.base == 0

    def measure(self) -> int:
        """The current number of bytes; OSError."""
        return syscalls.fstat(self._opened[1]).st_size - self.base

    def recover(self, header: bytes) -> None:
        """Open the path again if the descriptor no longer names the file.

        RegistryError if the path now has a registry with another header. The digests in a header
        guard everything after it against accidents, but not against forgery, so RegistryTrustError
        if others can write to the new file and could not write to the old one. OSError.
        """
        opened = self._opened
        if _is_open(opened):
            return
        descriptor, status = self._open()
        try:
            distrust = _find_distrust(status, self.path)
            if distrust is not None and self.distrust is None:
                raise RegistryTrustError(distrust, path=self.path)
            if self._read(descriptor, 0, len(header)) != header:
                raise RegistryError(
                    f"registry {self.path!r} was replaced on disk after the program closed its "
                    "descriptor; restart the program",
                    path=self.path,
                )
            mine = (opened[0] + 1, descriptor, (status.st_dev, status.st_ino))
            self._opened = self._successors.setdefault(opened[0], mine)
            if self._opened[1] == descriptor:
                descriptor = -1
        finally:
            if descriptor >= 0:  # it cannot be used, or another thread was faster
                close(descriptor)

    def close(self) -> None:
        opened = self._opened
        self._opened = (opened[0], -1, opened[2])
        if _is_open(opened):
            close(opened[1])

    __del__ = close


def _is_open(opened: "_Opened") -> bool:
    """Whether the descriptor is still open and still names the file that was opened."""
    _, descriptor, identity = opened
    try:
        status = syscalls.fstat(descriptor)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == identity


class _Memory:
    """The same interface for bytes in memory, which may come from a file."""

    __slots__ = ("_data", "path", "reopens", "size")

    base = 0
    distrust = None

    def __init__(self, data: bytes, path: str, reopens: bool = False) -> None:
        self._data = data
        self.path = path
        self.size = len(data)
        self.reopens = reopens

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]

    def measure(self) -> int:
        return self.size

    def recover(self, header: bytes) -> None:
        pass

    def close(self) -> None:
        pass


OPEN_FLAGS = (
    syscalls.O_RDONLY
    | getattr(syscalls, "O_BINARY", 0)
    | getattr(syscalls, "O_NONBLOCK", 0)  # opening a pipe would wait for its other end
)
_pread: "Callable[[int, int, int], bytes] | None" = getattr(
    syscalls, "pread", None
)  # not on Windows


def _find_distrust(status: "stat_result", path: str) -> "str | None":
    """Why users who are not trusted can write to a file, or None.

    Trusted are root, the current user, and the owner of the environment, who can change its
    programs anyway.
    """
    if _geteuid is None:  # Windows: st_mode and st_uid say nothing
        return None
    if status.st_mode & 0o022:
        return (
            f"registry {path!r} has mode {status.st_mode & 0o7777:04o}, so others can put code "
            f'into it; run "chmod go-w {path}", or trust it with --trusted or trusted=True'
        )
    owner = status.st_uid
    if owner in (0, _geteuid()) or owner == _find_owner(sys.prefix):
        return None
    return (
        f"registry {path!r} is owned by uid {owner}, who can put code into it, expected root or "
        f"uid {_geteuid()}; freeze it again, pin its SHA-256, or install it with trusted=True"
    )


def _find_owner(path: str) -> "int | None":
    try:
        return syscalls.stat(path).st_uid
    except (OSError, ValueError):
        return None


_geteuid: "Callable[[], int] | None" = getattr(syscalls, "geteuid", None)


class _Window:
    """The last range of the file that was read: the next look-up often needs bytes from it."""

    __slots__ = ("_content", "_path", "_size", "_source")

    def __init__(self, source: "_File | _Memory", size: int) -> None:
        self._source = source
        self._path = source.path
        self._size = size
        self._content: "tuple[int, bytes]" = (0, b"")

    def view(self, offset: int, size: int, digest: int, what: str) -> memoryview:
        """The bytes at `offset`, checked against their digest. RegistryError, OSError.

        The caller has checked that they lie within the size that the header states.
        """
        start, data = self._content
        if offset < start or offset + size > start + len(data):
            data = b""
            self.forget()  # two windows at once would raise the process's peak memory
            start, data = offset, self._source.read(offset, max(size, self._size))
            if len(data) < size:
                raise RegistryError(
                    f"registry {self._path!r}: {what} ends at {offset + size}, "
                    f"file has {self._source.measure()} bytes",
                    path=self._path,
                    offset=offset,
                )
            if size <= self._size:
                self._content = (start, data)
        view = memoryview(data)[offset - start : offset - start + size]
        layout.check(view, digest, self._path, what, offset)
        return view

    def forget(self) -> None:
        self._content = (0, b"")

    def narrow(self, size: int) -> None:
        """Read at most `size` bytes ahead from now on."""
        self._size = min(size, self._size)


class Registry:
    """A registry open for reading: tables of entries and their code. Threads may share it.

    `path` is absolute and `header` is a `layout.Header`. `roots` has (anchor, path) pairs; the
    `root` of an entry is an index into it. `mismatch` says why this interpreter may not run the
    code, and `distrust` why other users could have put code into it; each is None if there is no
    such reason. `pinned` says that it was checked, and that no other user can change it since then.
    """

    pinned = False

    def __init__(self, source: "_File | _Memory") -> None:
        self._source = source
        self.path = source.path
        self.where = f"registry {source.path!r}"
        try:
            self._head = source.read(0, HEAD_SIZE)
        except OSError as error:
            raise self._unreadable("the header", 0, error) from error
        self.header = layout.unpack_header(
            self._head, source.size, source.path, embedded=source.base > 0
        )
        self._index_window = _Window(source, INDEX_WINDOW)
        self._blob_window = _Window(source, BLOB_WINDOW)
        self._boot_window = _Window(source, BOOT_WINDOW)
        sections = self.header.sections
        begin, size, _ = layout.unpack_boot(
            self._section("boot"), sections["blobs"][1], source.path, sections["boot"][0]
        )
        self._boot = range(begin, begin + size)
        self.roots = layout.unpack_roots(self._section("roots"), source.path, sections["roots"][0])
        self.mismatch = self._find_mismatch()
        self._modules = _Index(self, "modules", "module_shards")
        self._files = _Index(self, "files", "file_shards")

    @classmethod
    def open(cls, path: "str | PathLike[str]", *, offset: int = 0) -> "Registry":
        """Open the file at `path`, in which the registry starts at byte `offset` (in a `.pyz`).

        Costs one `open` and one `pread`, for any number of entries, and a few calls that give the
        descriptor a high number. RegistryNotFoundError, RegistryVersionError (another version of
        the format), RegistryError (malformed or unreadable), TypeError. A registry for another
        interpreter can be opened: see `mismatch`.
        """
        text = syscalls.fspath(path)
        if not isinstance(text, str):
            raise TypeError(f"path of a registry should be str or os.PathLike, not {path!r}")
        return cls(_File(make_absolute(text), offset))

    @classmethod
    def from_bytes(cls, data: bytes, *, path: str = "<bytes>") -> "Registry":
        """A registry in memory; `path` names it in messages and in closed mode's `__file__`."""
        return cls(_Memory(bytes(data), path))

    def close(self) -> None:
        """Close the descriptor; a later read opens the path again."""
        self._source.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __eq__(self, other: object) -> bool:
        """Whether both have the same path and content, and are both pinned or both not.

        The other may be of another copy of this package, which the program has imported before.
        """
        return (
            type(other).__name__ == "Registry"
            and self.path == other.path  # type: ignore[attr-defined]
            and self.fingerprint == other.fingerprint  # type: ignore[attr-defined]
            and self.pinned == other.pinned  # type: ignore[attr-defined]
        )

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"<Registry {self.path!r} of {self.header.modules} modules>"

    @property
    def fingerprint(self) -> str:
        """The digest of its header in hexadecimal: registries with other content have another."""
        return self._head[layout.HEADER_SIZE - 8 : layout.HEADER_SIZE].hex()

    @property
    def distrust(self) -> "str | None":
        """Why others can change the open file, by its owner and permissions; None in memory."""
        return self._source.distrust

    @property
    def reopens(self) -> bool:
        """Whether another process can open it by its path: it is a file and not a part of one."""
        return self._source.reopens

    def _find_mismatch(self) -> "str | None":
        header = self.header
        found = (header.cache_tag, header.magic, header.marshal_version, header.optimize)
        expected = (
            str(sys.implementation.cache_tag),
            int.from_bytes(MAGIC_NUMBER, "little"),
            marshal.version,
            sys.flags.optimize,
        )
        if found == expected:
            return None
        names = ("cache tag", "magic number", "marshal version", "optimisation level")
        differing = [
            f"{name} {was}, this interpreter has {here}"
            for name, was, here in zip(names, found, expected, strict=True)
            if was != here
        ]
        return f"{self.where} was frozen for {'; '.join(differing)}"

    def version_error(self) -> RegistryVersionError:
        """The error for a registry with a `mismatch`; it says how to freeze it again."""
        option = f" -{'O' * sys.flags.optimize}" if sys.flags.optimize else ""
        return RegistryVersionError(
            f"{self.mismatch}; freeze it again with {sys.executable or 'python'}{option}; "
            "'frozenfinder info' shows how it was frozen",
            path=self.path,
        )

    def trust_error(self) -> RegistryTrustError:
        """The error for a registry with a reason for `distrust`; it says what to do."""
        return RegistryTrustError(str(self.distrust), path=self.path)

    def pin(self, *, sha256: "str | None" = None, verify_key: "str | None" = None) -> "Registry":
        """The same registry after all of it was checked, where no other user can change it.

        `sha256` is the digest that its bytes must have, and `verify_key` the Ed25519 public key
        that it must be signed with: each 32 bytes in hexadecimal. It is in memory, unless only the
        user can change the file and it is unchanged since its check. RegistryTrustError, ValueError
        (not hexadecimal), RegistryError (unreadable). The first time costs a read of the file.
        """
        # deferred: only needed to pin a registry
        source: "Any" = load_own("native.pins").check_pins(self, self._source, sha256, verify_key)
        if isinstance(source, bytes):
            source = _Memory(source, self.path, self.reopens)
        pinned = type(self)(source)
        pinned.pinned = True
        return pinned

    # -- reading

    def narrow(self, window: int) -> None:
        """From now on read at most `window` bytes at once, or one piece if that is larger.

        Windows only get smaller: at first they are INDEX_WINDOW, BLOB_WINDOW and BOOT_WINDOW bytes.
        With 0, nothing is read ahead.
        """
        for each in (self._index_window, self._blob_window, self._boot_window):
            each.narrow(window)

    def read_unchecked(self, offset: int = 0, size: "int | None" = None) -> bytes:
        """The `size` bytes at `offset`, by default all, not checked against digests; RegistryError.

        The path is opened again if the program has closed the descriptor.
        """
        if size is None:
            size = self.header.size
        try:
            self._source.recover(self._head[: layout.HEADER_SIZE])
            data = self._source.read(offset, size)
        except OSError as error:
            raise self._unreadable("the content", offset, error) from error
        if len(data) < size:
            raise self.error(f"has {offset + len(data)} bytes, its header says {self.header.size}")
        return data

    def _section(self, name: str) -> bytes:
        offset, size, digest = self.header.sections[name]
        what = f"section {name!r}"
        if offset + size <= len(self._head):
            data = self._head[offset : offset + size]
            layout.check(data, digest, self.path, what, offset)
            return data
        return bytes(self._fetch(self._index_window, offset, size, digest, what))

    def _fetch(self, window: _Window, offset: int, size: int, digest: int, what: str) -> memoryview:
        """The checked bytes at `offset` of the registry.

        After a failure it tries once more, because the program may have closed the descriptor.
        Another thread may have opened it again first.
        """
        try:
            return window.view(offset, size, digest, what)
        except (OSError, RegistryError):
            window.forget()
        try:
            self._source.recover(self._head[: layout.HEADER_SIZE])
            return window.view(offset, size, digest, what)
        except OSError as error:
            raise self._unreadable(what, offset, error) from error

    def _unreadable(self, what: str, offset: int, error: OSError) -> RegistryError:
        return self.error(f"{what} cannot be read: {error.strerror}", offset=offset)

    def error(
        self, complaint: str, name: "str | None" = None, offset: "int | None" = None
    ) -> RegistryError:
        """The RegistryError for damage in this registry; `offset` is in bytes."""
        return RegistryError(f"{self.where}: {complaint}", name=name, path=self.path, offset=offset)

    def read_blob(self, entry: FrozenEntry) -> memoryview:
        """The checked blob of `entry`: marshalled code, or the content of a data file.

        RegistryError if it is damaged. A module's regular expressions follow its code.
        """
        return self._blob(entry, entry.offset, entry.size, entry.digest, "entry")

    def read_text(self, entry: FrozenEntry) -> "memoryview | None":
        """The checked bytes of the source (or parcel) embedded with `entry`, or None.

        RegistryError if they are damaged.
        """
        if entry.text_size < 0:
            return None
        return self._blob(
            entry, entry.text_offset, entry.text_size, entry.text_digest, "source of entry"
        )

    def _blob(
        self, entry: FrozenEntry, offset: int, size: int, digest: int, what: str
    ) -> memoryview:
        if not size:
            return memoryview(b"")
        what = f"{what} {entry.name!r}"
        window = self._boot_window if offset in self._boot else self._blob_window
        try:
            at = layout.find_piece(self.header, self.path, "blobs", offset, size, what)
            return self._fetch(window, at, size, digest, what)
        except RegistryError as error:
            error.name = entry.name
            raise

    # -- looking up

    def find_entry(self, name: str, tests: bool = False) -> "FrozenEntry | None":
        """The first entry of that name in the order of the tables; table `test` only with `tests`.

        Costs a few microseconds; the first look-up in a top-level package reads its shard of the
        index. RegistryError if that is damaged.
        """
        return self._modules.find(name, tests)

    def find_file(self, path: str) -> "FrozenEntry | None":
        """The data file at `path`, relative to its root, with `/` between its parts, or None.

        RegistryError if its shard of the index is damaged.
        """
        return self._files.find(path, False)

    def find_root(self, entry: FrozenEntry) -> "tuple[layout.Anchor, str]":
        """The (anchor, path) of an entry's root; RegistryError if the registry has no such root."""
        if entry.root >= len(self.roots):
            raise self.error(
                f"entry {entry.name!r} has root number {entry.root}, "
                f"expected a number below {len(self.roots)}",
                entry.name,
            )
        return self.roots[entry.root]

    def entries(self, top: "str | None" = None) -> "Iterator[FrozenEntry]":
        """Every entry of every table, by table and name within a shard; reads the whole index.

        With `top`, only those of the shard with that top-level name, which may have others, too. It
        is a generator, and reads a shard when it gets there: a damaged one raises RegistryError
        after the entries of the shards before it, and no entry of a damaged shard is yielded.
        """
        return self._modules.entries(top)

    def files(self, top: "str | None" = None) -> "Iterator[FrozenEntry]":
        """Every data file, or with `top` those of the shard with that folder; as `entries`."""
        return self._files.entries(top)

    def file_names(self) -> "Iterator[str]":
        """The name (which is the path) of every data file; about a microsecond for each."""
        return self._files.names()

    def info(self) -> "dict[str, object]":
        """A record for people: `frozenfinder`, the freezer's version, and `asked`, manifest lines.

        RegistryError if it is damaged.
        """
        # deferred: only the command line calls it
        import json

        try:
            info = json.loads(self._section("info") or b"{}")
        except (ValueError, RecursionError) as error:
            raise self.error(f"section 'info' is not JSON: {error}") from None
        if not isinstance(info, dict):
            raise self.error("section 'info' is not a JSON object")
        return info

    # -- CPython's functions with these names, implemented in `frozen_api`

    def find_frozen(
        self, name: str, withdata: bool = False
    ) -> "tuple[memoryview | None, bool, str] | None":
        """(code or None, whether a package, original name), or None; as `_imp.find_frozen`."""
        # deferred: no boot calls it
        return load_own("frozen_api").find_frozen(  # type: ignore[no-any-return]
            self, name, withdata
        )

    def get_frozen_object(self, name: str) -> "CodeType":
        """The code object of that name, as `_imp.get_frozen_object`; ImportError without one."""
        # deferred: no boot calls it
        return load_own("frozen_api").get_frozen_object(  # type: ignore[no-any-return]
            self, name
        )

    def is_frozen(self, name: str) -> bool:
        """Whether there is such an entry with code, as `_imp.is_frozen`."""
        # deferred: no boot calls it
        return load_own("frozen_api").is_frozen(  # type: ignore[no-any-return]
            self, name
        )

    def is_frozen_package(self, name: str) -> bool:
        """Whether that entry is a package, as `_imp.is_frozen_package`; ImportError without one."""
        # deferred: no boot calls it
        return load_own("frozen_api").is_frozen_package(  # type: ignore[no-any-return]
            self, name
        )

    # -- code

    def load_code(self, entry: FrozenEntry, blob: memoryview) -> "CodeType":
        """Unmarshal a blob from `read_blob`; the result is a new code object each time.

        RegistryError, in the words of `unmarshal_frozen_code` in Python/import.c.
        """
        try:
            code = marshal.loads(blob)
        except (EOFError, MemoryError, SystemError, TypeError, ValueError) as error:
            raise self.invalid(entry) from error
        if type(code) is not _CODE_TYPE:
            raise self.invalid(entry, "frozen object {!r} is not a code object")
        return code

    def invalid(
        self, entry: FrozenEntry, words: str = "Frozen object named {!r} is invalid"
    ) -> RegistryError:
        """The error for an entry whose code cannot be used, in the words of Python/import.c."""
        offset = self.header.sections["blobs"][0] + entry.offset
        return RegistryError(
            words.format(entry.name), name=entry.name, path=self.path, offset=offset
        )


_CODE_TYPE: "type[CodeType]" = type(Registry.load_code.__code__)


class _Index:
    """One of the registry's two indexes, read a shard at a time."""

    __slots__ = ("_directory", "_registry", "_section", "_shards", "_shards_section", "_tops")

    def __init__(self, registry: Registry, section: str, shards_section: str) -> None:
        self._registry = registry
        self._section = section
        self._shards_section = shards_section
        self._directory: "list[int]" = []
        self._shards: "list[layout.Shard | None]" = []
        self._tops: "dict[str, layout.Shard]" = {}  # shards by the top-level names found in them

    def find(self, name: str, tests: bool) -> "FrozenEntry | None":
        top = layout.shard_key(name)
        try:
            shard = self._tops.get(top) or self._find_shard(top)
            entry = shard.find(name, tests)
        except UnicodeEncodeError:  # lone surrogates: no entry has such a name
            return None
        if entry is not None:
            self._tops[top] = shard
        return entry

    def _find_shard(self, top: str) -> layout.Shard:
        shards = self._shards or self._read_directory()
        number = layout.name_hash(top.encode()) & len(shards) - 1
        return shards[number] or self._read_shard(number)

    def entries(self, top: "str | None") -> "Iterator[FrozenEntry]":
        numbers = range(len(self._shards or self._read_directory()))
        if top is not None:
            number = layout.name_hash(top.encode("utf-8", "replace")) & len(numbers) - 1
            numbers = numbers[number : number + 1]
        for number in numbers:
            yield from (self._shards[number] or self._read_shard(number)).entries()

    def names(self) -> "Iterator[str]":
        for number in range(len(self._shards or self._read_directory())):
            yield from (self._shards[number] or self._read_shard(number)).names()

    def _read_directory(self) -> "list[layout.Shard | None]":
        registry = self._registry
        offset, size, _ = registry.header.sections[self._section]
        count = size // 24
        if not 0 < count <= layout.MAX_SHARDS or count & count - 1 or size % 24:
            raise registry.error(
                f"section {self._section!r} has {size} bytes, expected 24 for each shard, and a "
                f"power of two of shards up to {layout.MAX_SHARDS}",
                offset=offset,
            )
        self._directory = layout.unpack_words(registry._section(self._section))
        shards: "list[layout.Shard | None]" = [None] * count
        self._shards = shards
        return shards

    def _read_shard(self, number: int) -> layout.Shard:
        registry = self._registry
        offset, size, digest = self._directory[3 * number : 3 * number + 3]
        what = f"shard {number} of section {self._section!r}"
        section = self._shards_section
        at = layout.find_piece(registry.header, registry.path, section, offset, size, what)
        data = registry._fetch(registry._index_window, at, size, digest, what)
        shard = layout.Shard(bytes(data), registry.path, at)
        self._shards[number] = shard
        return shard
