"""`Marks`: the files of one parcel that were verified, and how to see that they are unchanged.

A mark is a line with a file's SHA-256 and what the system knows of it: device, inode, size, mtime
and ctime. Whatever writes to a file sets its ctime, and no call can set it to a value of one's
choosing. A file with a mark is therefore the one that was verified.

Rules
  1. Marks lie beside the files, in a folder that the user alone can write to: whoever could forge
     one could as well change the program that reads it.
  2. A file is marked only once its ctime lies SETTLED back. Within one tick of the file system's
     clock a file could be changed and keep its ctime.
  3. A line is appended in one write. One that is not whole is no mark.
"""

import os
import time

from .folder import OPEN_FLAGS, is_own_file

MARKS = ".verified"
"""The file's name; no module and no library has it."""

SETTLED = 2_000_000_000
"""Nanoseconds: no file system that knows owners has a coarser clock."""

LIMIT = 1 << 20
"""Bytes of marks, most of them of files that are gone, at which they are begun anew."""


class Marks:
    """The marks in one folder; on Windows, where ctime is another thing, there are none."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, MARKS)
        # Read once, and published by one assignment: two threads may both read them.
        self._lines: "set[str] | None" = None

    def find(self, digest: str, status: os.stat_result) -> bool:
        """Whether the file of that status was verified to have that digest."""
        lines = self._lines
        if lines is None:
            lines = self._lines = self._read()
        return _line(digest, status) in lines

    def add(self, digest: str, before: os.stat_result, after: os.stat_result) -> None:
        """Mark a file, by its status before and after it was read; best effort."""
        line = _line(digest, after)
        settled = time.time_ns() - after.st_ctime_ns > SETTLED
        if not settled or line != _line(digest, before) or not hasattr(os, "geteuid"):
            return
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | OPEN_FLAGS
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.write(descriptor, f"{line}\n".encode())
            finally:
                os.close(descriptor)
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
                text = str(os.read(descriptor, LIMIT), "ascii", "replace")
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


def _line(digest: str, status: os.stat_result) -> str:
    return (
        f"{digest} {status.st_dev} {status.st_ino} {status.st_size} "
        f"{status.st_mtime_ns} {status.st_ctime_ns}"
    )
