"""`Extractor`: writes embedded extension modules to files, from which they are loaded.

The file is in the user's cache. If that cannot be used, it is a file in memory (`memory`).

A file is verified by its SHA-256. The module that computes it may be an embedded extension module:
its own file is compared with the registry's bytes.

Threads extract without a lock: a thread that imports a module could wait for the lock's holder,
while the holder waits for that module. Shared data is published by one `setdefault`, so all threads
use the same file; the slower thread closes its own.
"""

import os
import sys

from frozenfinder.runtime.layout import find_piece
from frozenfinder.runtime.system import environment

from .cache import ExtensionCache
from .folder import UnusableError, default_directory
from .parcel import unpack_parcel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from frozenfinder.errors import RegistryError
    from frozenfinder.runtime.layout import FrozenEntry
    from frozenfinder.runtime.registry import Registry

    from .parcel import Parcel, ParcelFile


_HASH_MODULES = ("_hashlib", "_sha2", "_sha256")
_PIECE = 1 << 18  # bytes that are hashed and written at once: they stay in the processor's cache


class Extractor:
    """The embedded extension modules of one registry. Threads may share it."""

    def __init__(self, registry: "Registry") -> None:
        self.registry = registry
        # By the name of a module. An item is published by one assignment. Iterate over a copy.
        self._in_memory: "dict[str, str]" = {}
        directory = default_directory(environment("FROZENFINDER_CACHE"))
        self._cache = None if directory is None else ExtensionCache(directory)
        # By offset. Two threads may unpack the same parcel; parcels never change.
        self._parcels: "dict[int, Parcel]" = {}
        # Paths of files. Two threads may verify the same file.
        self._verified: "set[str]" = set()

    @property
    def in_memory(self) -> "dict[str, str]":
        """A copy: the names of modules that were loaded from memory, with the reasons."""
        return self._in_memory.copy()

    def locate(self, entry: "FrozenEntry") -> "str | None":
        """The path of the module's file in the cache; None if there is no place for a cache."""
        parcel, own = self._find_parcel(entry)
        return None if self._cache is None else self._cache.locate(parcel, own)

    def extract(self, entry: "FrozenEntry") -> "tuple[str, str]":
        """Write and verify the module's file; return its path and its SHA-256 in hexadecimal.

        ImportError if neither a cache nor memory can be used, RegistryError if the registry is
        damaged.
        """
        parcel, own = self._find_parcel(entry)
        module = EmbeddedFile(self.registry, own, entry)
        libraries = [
            EmbeddedFile(self.registry, file)
            for file in parcel.files
            if file.is_library and file is not own
        ]
        try:
            *beside, path = self._provide(parcel, [*libraries, module])
            for each in beside:
                _let_load_from(os.path.dirname(each))
            return path, own.digest
        except UnusableError as error:
            reason = str(error)
        except OSError as error:
            reason = str(error).partition("] ")[2] or str(error)
        return self._hold(entry, module, libraries, reason), own.digest

    def _find_parcel(self, entry: "FrozenEntry") -> "tuple[Parcel, ParcelFile]":
        registry = self.registry
        offset = registry.header.sections["blobs"][0] + entry.text_offset
        parcel = self._parcels.get(offset)
        if parcel is None:
            parcel = unpack_parcel(registry.read_text(entry) or b"", registry.path, offset)
            self._parcels[offset] = parcel
        for file in parcel.files:
            if file.path == entry.path:
                return parcel, file
        complaint = f"the parcel of entry {entry.name!r} does not list {entry.path!r}"
        raise registry.error(complaint, entry.name, offset)

    def _provide(self, parcel: "Parcel", sources: "list[EmbeddedFile]") -> "list[str]":
        cache = self._cache
        if cache is None:
            raise UnusableError("no home directory was found for the cache")
        paths = [cache.locate(parcel, source.file) for source in sources]
        wanted = [
            (source.file, source)
            for path, source in zip(paths, sources, strict=True)
            if path not in self._verified or not os.path.lexists(path)  # it may have been pruned
        ]
        if wanted:
            self._verified.update(cache.provide(parcel, wanted))
        return paths

    def _hold(
        self,
        entry: "FrozenEntry",
        module: "EmbeddedFile",
        libraries: "list[EmbeddedFile]",
        reason: str,
    ) -> str:
        """Load the libraries that the module needs, and return the path of a file in memory."""
        # deferred: only needed if the cache cannot be used
        from .memory import memory_files

        if not memory_files.usable:
            raise self._error(entry, f"cannot be put into the cache: {reason}")
        for each in libraries:
            if not each.is_loadable():
                complaint = f"can neither be put into the cache: {reason}, nor loaded from memory"
                raise self._error(entry, f"{complaint}: it needs {each.file.path!r} beside it")
        if entry.name not in self._in_memory:
            self._in_memory[entry.name] = reason
            if environment("FROZENFINDER_DEBUG") not in (None, "", "0") and sys.stderr:
                sys.stderr.write(f"frozenfinder: {entry.name!r} is loaded from memory: {reason}\n")
        try:
            memory_files.load(libraries)
        except OSError as error:
            complaint = (
                f"can neither be put into the cache: {reason}, nor loaded from memory: {error}"
            )
            raise self._error(entry, complaint) from error
        return memory_files.hold(module)

    def _error(self, entry: "FrozenEntry", complaint: str) -> ImportError:
        return ImportError(
            f"{self.registry.where}: extension module {entry.name!r} {complaint}; "
            "set FROZENFINDER_CACHE to a directory of your own",
            name=entry.name,
            path=self.registry.path,
        )


class EmbeddedFile:
    """A file of a module's parcel, as it is in the registry.

    `entry` is that of the module itself; the entry of a library is found when it is needed.
    """

    def __init__(
        self, registry: "Registry", file: "ParcelFile", entry: "FrozenEntry | None" = None
    ) -> None:
        self.file = file
        self._registry = registry
        self._entry = entry
        self._sha256: "Callable[[], Any] | None" = None

    def prepare(self) -> None:
        """Find the entry, and import the module that computes a SHA-256 if it is needed."""
        if not self._computes_digests():
            self._make_digest()

    def read(self) -> "Iterator[bytes | memoryview]":
        """The registry's bytes in pieces; RegistryError, after the last one, if they are not those
        of the parcel.

        Only the parcel's digest is computed: it is stronger than the registry's own.
        """
        registry, entry, file = self._registry, self._find_entry(), self.file
        if self._computes_digests():
            data = registry.read_blob(entry)
            if len(data) != file.size:
                raise self._differs()
            yield data
            return
        if entry.size != file.size:
            raise self._differs()
        computed = self._make_digest()
        begin = find_piece(
            registry.header,
            registry.path,
            "blobs",
            entry.offset,
            entry.size,
            f"entry {entry.name!r}",
        )
        for at in range(begin, begin + entry.size, _PIECE):
            piece = registry.read_unchecked(at, min(_PIECE, begin + entry.size - at))
            computed.update(piece)
            yield piece
        if computed.hexdigest() != file.digest:
            registry.read_blob(entry)  # it says so if the registry is damaged
            raise self._differs()

    def _differs(self) -> "RegistryError":
        return self._registry.error(
            f"file {self.file.path!r} differs from its parcel, expected {self.file.size} bytes "
            f"with SHA-256 {self.file.digest}; freeze it again"
        )

    def is_loadable(self) -> bool:
        """Whether it is a library (for Linux), and not a data file."""
        return bytes(self._registry.read_blob(self._find_entry())[:4]) == b"\x7fELF"

    def matches(self, pieces: "Iterable[bytes | memoryview]") -> bool:
        """Whether these pieces together have the digest that the parcel lists."""
        if self._computes_digests():
            return b"".join(pieces) == self._registry.read_blob(self._find_entry())
        computed = self._make_digest()
        for piece in pieces:
            computed.update(piece)
        digest: str = computed.hexdigest()
        return digest == self.file.digest

    def _make_digest(self) -> "Any":
        if self._sha256 is None:
            # deferred: only files without a mark need it
            from frozenfinder.trust import find_sha256

            self._sha256 = find_sha256()
        return self._sha256()

    def _computes_digests(self) -> bool:
        return self._find_entry().name in _HASH_MODULES

    def _find_entry(self) -> "FrozenEntry":
        """The entry of the file: a library is a data file, or a module that others load as one."""
        if self._entry is not None:
            return self._entry
        registry, path = self._registry, self.file.path
        folder, _, name = path.rpartition("/")
        module = f"{folder}/{name.partition('.')[0]}".lstrip("/").replace("/", ".")
        for entry in (registry.find_file(path), registry.find_entry(module)):
            if entry is not None and entry.path == path:
                self._entry = entry
                return entry
        raise registry.error(
            f"a parcel lists the library {path!r}, which the registry does not contain; "
            "freeze it again"
        )


def _let_load_from(folder: str) -> None:
    """Windows: let DLLs in a folder be found, as packages do for folders beside them."""
    add_dll_directory = getattr(os, "add_dll_directory", None)
    if add_dll_directory is not None:
        add_dll_directory(folder)
