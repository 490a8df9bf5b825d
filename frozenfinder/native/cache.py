"""`ExtensionCache`: the directory from which embedded extension modules are loaded.

Rules, in addition to those of `folder`
  1. A file is loaded only after its content was read through an open descriptor and matched the
     registry: in this process, or in an earlier one if it is unchanged since then (`marks`).
  2. Once a file has its final name, it is never written again: processes may have mapped it. A
     damaged file is replaced.
  3. A file is never a hard link to another: the dynamic loader treats two names of one file as the
     same library, and gives both the same C variables.

A file is at `<directory>/<abi>/<digest of its parcel>/<path below the root>`, so that shared
libraries find each other as they did where they were installed (`$ORIGIN/../numpy.libs`).
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
    from collections.abc import Iterator
    from typing import Protocol

    from .parcel import Parcel, ParcelFile

    class FileSource(Protocol):
        """The content of a file, from the registry."""

        def prepare(self) -> None:
            """Import what the other methods need: no import may happen while the lock is held."""
            ...

        def read(self) -> bytes | memoryview: ...

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
        self._is_usable = False  # two threads may both check
        # The marks of each parcel. One `setdefault` publishes an item.
        self._marks: "dict[str, Marks]" = {}

    def locate(self, parcel: "Parcel", file: "ParcelFile") -> str:
        """Where a file of a parcel is, or will be."""
        return os.path.join(self.folder.path, abi(), parcel.digest, *file.path.split("/"))

    def provide(self, parcel: "Parcel", file: "ParcelFile", source: "FileSource") -> str:
        """Write a file of a parcel if it is missing, verify it, and return its path.

        UnusableError, OSError (no space, no permission), and the exceptions of `source`.
        """
        self.check()
        names = (abi(), parcel.digest, *file.path.split("/")[:-1])
        folder = self.folder.make(*names)
        path = self.locate(parcel, file)
        marks = self._find_marks(parcel)
        for _ in range(ATTEMPTS):
            if _is_intact(path, file, source, marks):
                return path
            source.prepare()
            with self.folder.lock() as lock:
                self.folder.make(*names, check_again=True)
                if lock.held:
                    remove_temporaries(folder)
                if not _is_intact(path, file, source, marks):
                    try:
                        _write(path, source.read())
                    except PermissionError:
                        # Windows: another process was faster, and has loaded it
                        if not _is_intact(path, file, source, marks):
                            raise
        raise UnusableError(f"{path!r} was changed by other processes while it was written")

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

    def _find_marks(self, parcel: "Parcel") -> Marks:
        marks = self._marks.get(parcel.digest)
        if marks is None:
            folder = os.path.join(self.folder.path, abi(), parcel.digest)
            note_use(folder)
            marks = self._marks.setdefault(parcel.digest, Marks(folder))
        return marks


def _is_intact(path: str, file: "ParcelFile", source: "FileSource", marks: Marks) -> bool:
    """Whether the file at `path` exists, belongs to the user, is no link, and has that content."""
    try:
        descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    except FileNotFoundError:
        return False
    except OSError:
        if os.path.islink(path):
            return False
        raise
    try:
        status = os.fstat(descriptor)
        if not is_own_file(status) or status.st_size != file.size:
            return False
        if marks.find(file.digest, status):
            return True
        if not source.matches(_read_pieces(descriptor)):
            return False
        marks.add(file.digest, status, os.fstat(descriptor))
        return True
    finally:
        os.close(descriptor)


def _read_pieces(descriptor: int) -> "Iterator[bytes]":
    while piece := os.read(descriptor, _PIECE):
        yield piece


def _write(path: str, content: "bytes | memoryview") -> None:
    """Put a file into place in one step; leave nothing behind if that fails.

    Another process may remove the temporary file, if it thinks that this process is dead: then
    nothing is written to `path`.
    """
    temporary = make_temporary_name(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o500)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except FileNotFoundError:
        pass
    except BaseException:
        remove(temporary)
        raise


def _is_noexec(folder: str) -> bool:
    """Whether the system says that nothing can be executed from there."""
    noexec = getattr(os, "ST_NOEXEC", 0)  # only Linux has the constant; macOS has the call
    return noexec != 0 and bool(os.statvfs(folder).f_flag & noexec)
