"""`ExtensionCache`: the directory from which embedded extension modules are loaded.

Rules, in addition to those of `folder`
  1. A file is loaded only after its content was read through an open descriptor and matched the
     registry: in this process, or in an earlier one if it is unchanged since then (`marks`). A file
     that this process wrote itself, from content that matched, need not be read again.
  2. Once a file has its final name, it is never written again: processes may have mapped it. A
     damaged file is replaced.
  3. A file is never a hard link to another: the dynamic loader treats two names of one file as the
     same library, and gives both the same C variables.
  4. Rule 1 of `folder` is kept without a look at each folder if other users cannot enter the
     directory: a file with a mark then costs one `lstat`.

A file is at `<directory>/<abi>/<digest of its parcel>/<path below the root>`, so that shared
libraries find each other as they did where they were installed (`$ORIGIN/../numpy.libs`). The marks
of all parcels are in one file beside them, which a process reads once.
"""

import os
from _imp import extension_suffixes

from .folder import (
    ATTEMPTS,
    OPEN_FLAGS,
    PrivateFolder,
    UnusableError,
    is_own_file,
    make_temporary_name,
    note_use,
    remove,
    remove_temporaries,
)
from .marks import Marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Protocol

    from .parcel import Parcel, ParcelFile

    class FileSource(Protocol):
        """The content of a file, from the registry."""

        def prepare(self) -> None:
            """Import what the other methods need: they are called in threads and under the lock."""
            ...

        def read(self) -> Iterable[bytes | memoryview]:
            """The content in pieces. It raises after the last piece if they do not match."""
            ...

        def matches(self, pieces: Iterator[bytes]) -> bool:
            """Whether these pieces together are the content."""
            ...


_PIECE = 1 << 16  # bytes read at once: larger buffers would be mapped again each time


def abi() -> str:
    """The ABI of this interpreter's extension modules: `cpython-313-x86_64-linux-gnu`."""
    return extension_suffixes()[0].strip(".").partition(".")[0]


class ExtensionCache:
    """The files below one directory, which need not exist yet. Threads may share it."""

    def __init__(self, directory: str) -> None:
        self.folder = PrivateFolder(directory)
        self._home = os.path.join(self.folder.path, abi())
        self._marks = Marks(self._home)
        self._is_usable = False  # two threads may both check
        # Digests of the parcels whose use was noted. Two threads may both note one.
        self._noted: "set[str]" = set()

    def locate(self, parcel: "Parcel", file: "ParcelFile") -> str:
        """Where a file of a parcel is, or will be."""
        return os.path.join(self._home, parcel.digest, *file.path.split("/"))

    def provide(
        self, parcel: "Parcel", wanted: "Sequence[tuple[ParcelFile, FileSource]]"
    ) -> "list[str]":
        """Write the files of a parcel that are missing, verify all, and return their paths.

        Several files are hashed and written at once. UnusableError, OSError (no space, no
        permission), and the exceptions of the sources.
        """
        self.check()
        files = [
            _CachedFile(self.locate(parcel, file), file, source, self._marks)
            for file, source in wanted
        ]
        if parcel.digest not in self._noted:
            note_use(os.path.join(self._home, parcel.digest))
            self._noted.add(parcel.digest)
        left = files
        if self.folder.is_closed:
            left = [each for each in files if not each.is_marked()]
        if left:
            self._provide(parcel, left)
        return [each.path for each in files]

    def _provide(self, parcel: "Parcel", left: "list[_CachedFile]") -> None:
        # deferred: only files without a mark need it
        from .workers import call_all

        folders = {each.folder: (abi(), parcel.digest, *each.folder) for each in left}
        for names in folders.values():
            self.folder.make(*names)

        def find_others(files: "list[_CachedFile]") -> "list[_CachedFile]":
            """Those of the files that are not intact."""
            intact = call_all([each.is_intact for each in files])
            return [each for each, is_intact in zip(files, intact, strict=True) if not is_intact]

        left = sorted(left, key=lambda each: -each.file.size)  # so that threads end together
        for each in left:
            each.source.prepare()
        for _ in range(ATTEMPTS):
            left = find_others(left)
            if not left:
                return
            with self.folder.lock() as lock:
                for names in folders.values():
                    folder = self.folder.make(*names, check_again=True)
                    if lock.held:
                        remove_temporaries(folder)
                left = find_others(left)
                call_all([each.write for each in left])
        raise UnusableError(f"{left[0].path!r} was changed by other processes while it was written")

    def check(self) -> None:
        """Make the directory if it is missing, and check once whether modules load from there.

        UnusableError, OSError.
        """
        if not self._is_usable:
            self.folder.check()
            if _is_noexec(self.folder.path):
                raise UnusableError(
                    f"{self.folder.path!r} is on a file system that is mounted noexec"
                )
            self._is_usable = True


class _CachedFile:
    """A file that is, or will be, at `path`. One thread uses it at a time."""

    __slots__ = ("_marks", "_written", "file", "path", "source")

    def __init__(self, path: str, file: "ParcelFile", source: "FileSource", marks: Marks) -> None:
        self._marks = marks
        self.path = path
        self.file = file
        self.source = source
        self._written: "tuple[int, ...] | None" = None  # the file that this process wrote

    @property
    def folder(self) -> "tuple[str, ...]":
        """The names of the folders below the parcel's."""
        return tuple(self.file.path.split("/")[:-1])

    def is_marked(self) -> bool:
        """Whether the file has a mark. A link, or a file of other users, has none."""
        try:
            return self._marks.find(self.file.digest, os.lstat(self.path))
        except OSError:
            return False

    def is_intact(self) -> bool:
        """Whether the file exists, belongs to the user, is no link, and has its content."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | OPEN_FLAGS)
        except FileNotFoundError:
            return False
        except OSError:
            if os.path.islink(self.path):
                return False
            raise
        try:
            status = os.fstat(descriptor)
            if not is_own_file(status) or status.st_size != self.file.size:
                return False
            if _identify(status) == self._written or self._marks.find(self.file.digest, status):
                return True
            if not self.source.matches(_read_pieces(descriptor)):
                return False
            self._marks.add(self.file.digest, status, descriptor)
            return True
        finally:
            os.close(descriptor)

    def write(self) -> None:
        try:
            self._written = _write(self.path, self.source.read())
        except PermissionError:
            # Windows: another process was faster, and has loaded it
            if not self.is_intact():
                raise


def _identify(status: os.stat_result) -> "tuple[int, ...]":
    """What stays the same when a file is renamed, which sets its ctime."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_pieces(descriptor: int) -> "Iterator[bytes]":
    while piece := os.read(descriptor, _PIECE):
        yield piece


def _write(path: str, content: "Iterable[bytes | memoryview]") -> "tuple[int, ...] | None":
    """Put a file into place in one step, and identify it; leave nothing behind if that fails.

    Another process may remove the temporary file, if it thinks that this process is dead: then
    nothing is written to `path`. It is not forced to the disk, which could take seconds: a file
    without a mark is read before it is used, whatever a power failure has left of it.
    """
    temporary = make_temporary_name(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o500)
    try:
        try:
            for piece in content:
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
            written = _identify(os.fstat(descriptor))
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except FileNotFoundError:
        return None
    except BaseException:
        remove(temporary)
        raise
    return written


def _is_noexec(folder: str) -> bool:
    """Whether the system says that nothing can be executed from there."""
    noexec = getattr(os, "ST_NOEXEC", 0)  # only Linux has the constant; macOS has the call
    return noexec != 0 and bool(os.statvfs(folder).f_flag & noexec)
