"""`Marks`: which files were verified, and how to see that they are unchanged.

A mark is a line with a file's SHA-256 (or another label that says what was verified, without
spaces) and its status: device, inode, size, mtime and ctime. Each
write to a file sets its ctime, as do a new owner, new permissions and a second name; no call can
set it to a chosen value. So a file that matches its mark is unchanged since it was verified.

Rules
  1. Marks are in a folder that only the user can write to: whoever could forge a mark could as well
     change the program that reads it.
  2. A file is marked only if its ctime is older than SETTLED. Within one tick of the file system's
     clock, a file could change and keep its ctime.
  3. The content is on the disk before the mark is written: a power failure must not leave the mark
     of a file whose content is lost.
  4. A line is appended in one write. An incomplete line is not a mark.
"""

import os
import time
from errno import EINVAL, EROFS

from .folder import OPEN_FLAGS, is_own_file

MARKS = ".verified"
"""The file's name; no parcel has this name."""

SETTLED = 2_000_000_000
"""Nanoseconds: no file system with owners has a coarser clock."""

LIMIT = 1 << 20
"""Bytes of marks: a larger file is deleted, because most of its marks are of removed files."""


class Marks:
    """The marks in one folder. There are none on Windows, where ctime has another meaning."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, MARKS)
        # Read once, and published by one assignment: two threads may both read them.
        self._lines: "set[str] | None" = None

    def find(self, digest: str, status: os.stat_result) -> bool:
        """Whether a file with that status was verified to have that digest."""
        lines = self._lines
        if lines is None:
            lines = self._lines = self._read()
        return _line(digest, status) in lines

    def add(self, digest: str, before: os.stat_result, descriptor: int) -> None:
        """Mark an open file if its status is what it was before it was read; best effort."""
        after = os.fstat(descriptor)
        line = _line(digest, after)
        settled = time.time_ns() - after.st_ctime_ns > SETTLED
        if not settled or line != _line(digest, before) or not hasattr(os, "geteuid"):
            return
        try:
            _force(descriptor)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | OPEN_FLAGS
            marks = os.open(self._path, flags, 0o600)
            try:
                os.write(marks, f"{line}\n".encode())
            finally:
                os.close(marks)
        except OSError:
            pass  # read-only, or full: the next process verifies again

    def _read(self) -> "set[str]":
        try:
            descriptor = os.open(self._path, os.O_RDONLY | OPEN_FLAGS)
        except OSError:
            return set()
        try:
            status = os.fstat(descriptor)
            if is_own_file(status) and status.st_size <= LIMIT:
                text = str(os.read(descriptor, status.st_size), "ascii", "replace")
                return set(text.split("\n")[:-1])
        except OSError:
            return set()
        finally:
            os.close(descriptor)
        try:
            os.unlink(self._path)
        except OSError:
            pass
        return set()


def _force(descriptor: int) -> None:
    """Force a file's content to the disk; OSError. A file system that cannot be written has it."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (EINVAL, EROFS):
            raise


def _line(digest: str, status: os.stat_result) -> str:
    return f"{digest} {describe(status)}"


def describe(status: os.stat_result) -> str:
    """The status of a file as a mark has it: it is another one after every change."""
    return (
        f"{status.st_dev} {status.st_ino} {status.st_size} "
        f"{status.st_mtime_ns} {status.st_ctime_ns}"
    )
