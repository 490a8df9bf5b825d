"""`ExtensionCache`: the directory in which embedded extension modules lie, to be loaded from there.

Rules
  1. What is in the cache belongs to the user, and nobody else can write there: each directory is
     looked at before it is used, and one that is not so is not used.
  2. A file is loaded only after its content was read through an open descriptor, and was what the
     registry says: in this process, or in an earlier one, and unchanged since then (`marks`).
  3. A file is complete from the moment it has its name, and is never written to again: processes
     may have it mapped. One that is damaged is replaced.
  4. A file is never a link to another: the dynamic loader takes two names of one file for one
     library, and gives both the same C variables.

Theory of operation
  A file is at `<directory>/<abi>/<digest of its parcel>/<path below the root>`, so that shared
  libraries find each other as they did where they were installed (`$ORIGIN/../numpy.libs`).

  Processes that start at once find the same file missing. The one that gets the lock writes it, to
  a temporary name first; the others wait, and then find it. Nobody waits longer than PATIENCE, and
  where the file system has no locks nobody waits at all: the file is then written more than once,
  and whoever renames last wins, with the same content. The lock goes with its process, however
  that ends, so a temporary file that its holder meets is that of a dead process, and removed. It
  may be that of one that lost patience, too: that finds it gone, and begins again.
"""

import os
import stat
import time
from _imp import extension_suffixes

from .marks import OPEN_FLAGS, Marks, is_own_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Protocol

    from .parcel import Parcel, ParcelFile

    class Content(Protocol):
        """What a file ought to have in it."""

        def read(self) -> bytes | memoryview: ...

        def matches(self, pieces: Iterator[bytes]) -> bool:
            """Whether it is the same as what these are together."""
            ...


PATIENCE = 10.0
"""Seconds after which a process no longer waits for another that writes."""

DAY = 86400
TEMPORARY = ".tmp"

_SLICE = 0.01  # seconds between two looks at the lock
_PIECE = 1 << 16  # bytes that are read at once: larger buffers are mapped anew each time
_LOCK = "lock"


class UnusableError(Exception):
    """The cache cannot be used; the argument says why."""


def default_directory(override: "str | None") -> "str | None":
    """The directory of the user's cache, or None where the user has no home.

    `override` is the value of FROZENFINDER_CACHE.
    """
    if override:
        return override
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        base = os.environ.get(variable, "")
        if os.path.isabs(base):
            return os.path.join(base, "frozenfinder")
    home = os.path.expanduser("~")
    return os.path.join(home, ".cache", "frozenfinder") if os.path.isabs(home) else None


def abi() -> str:
    """What extension modules of this interpreter are built for: `cpython-313-x86_64-linux-gnu`."""
    return extension_suffixes()[0].strip(".").partition(".")[0]


class ExtensionCache:
    """The files below one directory, which need not exist yet."""

    def __init__(self, directory: str) -> None:
        parent, name = os.path.split(os.path.abspath(directory))
        self.directory = os.path.join(os.path.realpath(parent), name)
        self._checked: "set[str]" = set()
        self._marks: "dict[str, Marks]" = {}

    def locate(self, parcel: "Parcel", file: "ParcelFile") -> str:
        """Where a file of a parcel is, or will be."""
        return os.path.join(self.directory, abi(), parcel.digest, *file.path.split("/"))

    def provide(self, parcel: "Parcel", file: "ParcelFile", content: "Content") -> str:
        """The path of a file of a parcel, which is there and was verified.

        UnusableError, OSError (no space, no permission), and what `content` raises.
        """
        self.check()
        path = self.locate(parcel, file)
        self._make_folders(path)
        marks = self._find_marks(parcel)
        for _ in range(3):
            if _is_intact(path, file, content, marks):
                return path
            with Lock(self.directory) as held:
                if held:
                    _remove_temporaries(os.path.dirname(path))
                if not _is_intact(path, file, content, marks):
                    try:
                        _write(path, content.read())
                    except PermissionError:
                        # Windows: another process has been first, and has it loaded
                        if not _is_intact(path, file, content, marks):
                            raise
        raise UnusableError(f"{path!r} is changed by others while it is written")

    def check(self) -> None:
        """Make the directory if it is not there, and look once whether it is safe, and of use.

        UnusableError, OSError.
        """
        if self.directory in self._checked:
            return
        parent = os.path.dirname(self.directory)
        os.makedirs(parent, 0o700, exist_ok=True)
        check_ancestors(parent)
        make_folder(self.directory)
        if hasattr(os, "statvfs") and os.statvfs(self.directory).f_flag & os.ST_NOEXEC:
            raise UnusableError(f"{self.directory!r} is on a file system that is mounted noexec")
        self._checked.add(self.directory)

    def _find_marks(self, parcel: "Parcel") -> Marks:
        marks = self._marks.get(parcel.digest)
        if marks is None:
            folder = os.path.join(self.directory, abi(), parcel.digest)
            marks = self._marks[parcel.digest] = Marks(folder)
        return marks

    def _make_folders(self, path: str) -> None:
        """Make the folders that a file is in, and look once whether each is safe."""
        folder = self.directory
        below = os.path.relpath(os.path.dirname(path), folder).split(os.sep)
        for depth, name in enumerate(below):
            folder = os.path.join(folder, name)
            if folder not in self._checked:
                make_folder(folder)
                self._checked.add(folder)
                if depth == 1:
                    note_use(folder)


def check_ancestors(folder: str) -> None:
    """UnusableError where others could put another directory in the place of the cache's."""
    if not hasattr(os, "geteuid"):  # Windows: the user's own folders are nobody else's
        return
    while True:
        status = os.lstat(folder)
        if status.st_uid not in (0, os.geteuid()):
            raise UnusableError(f"{folder!r}, above it, belongs to user {status.st_uid}")
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            raise UnusableError(f"{folder!r}, above it, is writable by everybody")
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def make_folder(folder: str) -> None:
    """Make a folder, or look whether one that is there is the user's and nobody else's."""
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode):
        found = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "a file"
        raise UnusableError(f"{folder!r} is {found}, expected a directory")
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid != os.geteuid():
        raise UnusableError(f"{folder!r} belongs to user {status.st_uid}, expected {os.geteuid()}")
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise UnusableError(
            f"{folder!r} has mode {mode:04o}, expected 0700: others can write there"
        )


def note_use(folder: str) -> None:
    """Let the mtime of a parcel's folder say on which day it was last used; for pruning."""
    now = time.time()
    if now - os.stat(folder).st_mtime > DAY:
        try:
            os.utime(folder, (now, now))
        except OSError:
            pass  # read-only: what is there can be used all the same


def _is_intact(path: str, file: "ParcelFile", content: "Content", marks: Marks) -> bool:
    """Whether the file at `path` is there, a file of its own, the user's, and has that content."""
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
        if not content.matches(_read_pieces(descriptor)):
            return False
        marks.add(file.digest, status, os.fstat(descriptor))
        return True
    finally:
        os.close(descriptor)


def _read_pieces(descriptor: int) -> "Iterator[bytes]":
    while piece := os.read(descriptor, _PIECE):
        yield piece


def _write(path: str, content: "bytes | memoryview") -> None:
    """Put a file into place in one step; nothing is left behind where that fails.

    Another process may find the temporary file to be a dead one's, and remove it: then there is
    nothing at `path`.
    """
    temporary = f"{path}.{os.urandom(8).hex()}{_own_ending()}"
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
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


def _own_ending() -> str:
    """How this process' temporary files end: its threads leave each other's alone."""
    return f".{os.getpid()}{TEMPORARY}"


def _remove_temporaries(folder: str) -> None:
    for name in os.listdir(folder):
        if name.endswith(TEMPORARY) and not name.endswith(_own_ending()):
            try:
                os.unlink(os.path.join(folder, name))
            except OSError:
                pass


class Lock:
    """The right to write to a cache, which one process has at a time; `with` says whether it has.

    Threads of one process do not keep each other out.
    """

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, _LOCK)
        self._descriptor = -1

    def __enter__(self) -> bool:
        if not hasattr(os, "lockf"):
            return False
        flags = os.O_RDWR | os.O_CREAT | OPEN_FLAGS
        self._descriptor = os.open(self._path, flags, 0o600)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                os.lockf(self._descriptor, os.F_TLOCK, 0)
            except (BlockingIOError, PermissionError):
                if time.monotonic() > deadline:
                    return False
                time.sleep(_SLICE)
            except OSError:  # the file system has no locks
                return False
            else:
                return True

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        value: "BaseException | None",
        traceback: "TracebackType | None",
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
