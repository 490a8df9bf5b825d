"""`PrivateFolder`: a folder of the user, in which the user's programs share files.

Rules
  1. The folder belongs to the user, and nobody else can write there. Each folder is checked before
     it is used. A folder that fails the check is not used.
  2. A file or folder with its final name is complete. It is written under a temporary name, and
     then renamed.
  3. A temporary name contains the number of the process that writes it. A process never removes a
     temporary file with its own number: another of its threads may be writing it.
  4. Nothing is removed under a name that another process may be writing. A folder is renamed first.
     So a premature removal only costs the other process a second attempt.
  5. A folder from `use` stays until the process and its forks end: `remove_unused` keeps it.

Theory of operation
  `Lock` lets one thread of one process write at a time. Between processes it uses `lockf`, which
  the kernel releases when a process ends, however it ends. So if the holder of the lock finds a
  temporary file of another process, that process is dead, and the file is removed. POSIX releases
  the lock of a process when the process closes any descriptor of the file. So a second lock,
  `_threads`, is held as long as the file is open: no other thread opens it then.

  Nobody waits longer than PATIENCE, and without file locks nobody waits at all. Then several
  processes may write the same thing; the last rename wins, with the same content. Because of rules
  3 and 4, the lock only saves work, and nothing depends on it: each interpreter of a process has
  its own `_threads`, and containers may share a folder and have the same process numbers.

  `use` keeps a descriptor of the folder open, with a shared `flock` on it. A fork inherits the
  descriptor, and with it the lock. The kernel releases the lock with the last of these processes.
  Without `flock`, or if a program closes descriptors that it does not know, only the day of the
  last use (`note_use`) protects the folder.
"""

import os
import stat
import time
from _thread import allocate_lock, get_ident

from frozenfinder.runtime.system import raise_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

PATIENCE = 10.0
"""Seconds that a process waits for another one that writes."""

ATTEMPTS = 3
"""How often a process tries if others remove what it writes or wants to use."""

DAY = 86400
TEMPORARY = ".tmp"

OPEN_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for its other end
    | getattr(os, "O_BINARY", 0)
)

_SLICE = 0.01  # seconds between two looks at a lock
_LOCK = "lock"

# Held by the thread of this interpreter that has a lock file open; renewed in a forked child.
_threads = allocate_lock()

# That thread's identifier, or None. It changes only while `_threads` is held.
_holder: "int | None" = None

# The descriptor of each folder in use, by path: it is never closed here. One assignment publishes
# an item. A second descriptor of a folder does no harm.
_used: "dict[str, int]" = {}


class UnusableError(Exception):
    """The folder cannot be used; the argument says why."""


def default_directory(override: "str | None") -> "str | None":
    """The directory of the user's cache, or None if the user has no home directory.

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


class PrivateFolder:
    """A folder of the user, at `path`; it need not exist yet. Threads may share it.

    `is_closed` says, after `check`, that other users cannot reach anything below the folder,
    whatever the permissions there are: POSIX lets them search it neither by name nor by number.
    """

    def __init__(self, directory: str) -> None:
        parent, name = os.path.split(os.path.abspath(directory))
        self.path = os.path.join(os.path.realpath(parent), name)
        self.is_closed = False
        # The folders that passed their check. Two threads may check the same one.
        self._checked: "set[str]" = set()

    def check(self) -> None:
        """Make the folder if it is missing, and check it and the folders above it once.

        UnusableError, OSError.
        """
        if self.path not in self._checked:
            parent = os.path.dirname(self.path)
            os.makedirs(parent, 0o700, exist_ok=True)
            check_ancestors(parent)
            self.is_closed = not make_folder(self.path).st_mode & 0o011
            self._checked.add(self.path)

    def make(self, *names: str, check_again: bool = False) -> str:
        """The path of the folder at these names; missing folders are made.

        Each folder on the way is checked once, and again with `check_again`. UnusableError,
        OSError.
        """
        if check_again:
            self._checked.clear()
        try:
            return self._make(names)
        except FileNotFoundError:  # another process removed a folder that was checked
            self._checked.clear()
            return self._make(names)

    def _make(self, names: "tuple[str, ...]") -> str:
        self.check()
        folder = self.path
        for name in names:
            folder = os.path.join(folder, name)
            if folder not in self._checked:
                make_folder(folder)
                self._checked.add(folder)
        return folder

    def use(self, *names: str) -> str:
        """As `make`; the folder then stays as long as this process or a fork of it lives."""
        for _ in range(ATTEMPTS):
            path = self.make(*names, check_again=True)
            if _hold(path):
                return path
            time.sleep(_SLICE)
        raise UnusableError(f"{path!r} was removed by other processes while it was used")

    def lock(self) -> "Lock":
        """The right to write, for a `with` statement; the folder must exist."""
        return Lock(self.path)


def check_ancestors(folder: str) -> None:
    """UnusableError if others could replace `folder` with another directory; OSError."""
    if not hasattr(os, "geteuid"):  # Windows: nobody else can write to the user's folders
        return
    while True:
        status = os.lstat(folder)
        if status.st_uid not in (0, os.geteuid()):
            raise UnusableError(
                f"the folder {folder!r} above it is owned by uid {status.st_uid}, expected root or "
                f"uid {os.geteuid()}"
            )
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            raise UnusableError(f"the folder {folder!r} above it is writable by everybody")
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def make_folder(folder: str) -> os.stat_result:
    """Make a folder, or check that only the user can write to an existing one; return its status.

    UnusableError, OSError.
    """
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
        return status
    if status.st_uid != os.geteuid():
        raise UnusableError(
            f"{folder!r} is owned by uid {status.st_uid}, expected uid {os.geteuid()}"
        )
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise UnusableError(
            f"{folder!r} has mode {mode:04o}, expected 0700: others can write there"
        )
    return status


def is_own_file(status: os.stat_result) -> bool:
    """Whether it is a regular file with one name, owned by the user and writable only for them."""
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        return False
    return not hasattr(os, "geteuid") or (
        status.st_uid == os.geteuid() and not status.st_mode & 0o022
    )


def note_use(folder: str) -> None:
    """Record the day of the last use in the mtime of a folder, for `remove_unused`."""
    now = time.time()
    try:
        if now - os.stat(folder).st_mtime > DAY:
            os.utime(folder, (now, now))
    except OSError:
        pass  # read-only: its files can be used anyway


def make_temporary_name(path: str) -> str:
    """A new name beside `path`, for a file or folder that this process will write."""
    return f"{path}.{os.urandom(8).hex()}{_own_ending()}"


def remove_temporaries(folder: str) -> None:
    """Remove leftovers of other processes from a folder, best effort. The caller has the lock."""
    for name in os.listdir(folder):
        if name.endswith(TEMPORARY) and not name.endswith(_own_ending()):
            remove(os.path.join(folder, name))


def remove(path: str) -> bool:
    """Remove a file, or a folder and its content; return whether the name is free now."""
    hidden = path
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return True
        if not path.endswith(_own_ending()):
            # not `path` plus an ending: a leftover may be renamed many times
            hidden = make_temporary_name(os.path.join(os.path.dirname(path), "removed"))
            os.rename(path, hidden)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    remove_tree(hidden)
    return True


def remove_tree(folder: str) -> None:
    """Remove a folder and its content, best effort; no other user can write there.

    It is for a thread that has the lock, which may import nothing: `shutil` imports much.
    """
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            path = os.path.join(parent, name)
            try:
                if name in files or os.path.islink(path):
                    os.unlink(path)
            except OSError:
                pass
        try:
            os.rmdir(parent)
        except OSError:
            pass


def remove_unused(path: str, before: float) -> bool:
    """Remove a folder that no process uses and that was last used before `before`.

    Returns whether it was removed. `before` is in seconds since the epoch. The caller has the lock.
    OSError.
    """
    descriptor = _lock_folder(path, "LOCK_EX")
    if descriptor is None:
        return False
    try:
        return os.stat(path).st_mtime <= before and remove(path)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _own_ending() -> str:
    return f".{os.getpid()}{TEMPORARY}"


def _hold(path: str) -> bool:
    """Protect a folder from being removed; False if it is being removed just now."""
    held = _used.get(path)
    if held is None or not _names(held, path):
        try:
            descriptor = _lock_folder(path, "LOCK_SH")
        except FileNotFoundError:
            return False
        if descriptor is None:
            return False
        if descriptor >= 0:
            _used[path] = raise_number(descriptor)
    return True


def _lock_folder(path: str, kind: str) -> "int | None":
    """A descriptor of the folder with a lock; -1 without file locks, None if another process has
    the lock or another folder was put in its place. OSError.
    """
    try:
        # deferred: it may be an extension module that is embedded itself
        import fcntl
    except ImportError:
        return -1
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | OPEN_FLAGS)
    try:
        fcntl.flock(descriptor, getattr(fcntl, kind) | fcntl.LOCK_NB)
        is_taken = not _names(descriptor, path)
    except BlockingIOError:
        is_taken = True
    except OSError:  # the file system has no locks
        os.close(descriptor)
        return -1
    except BaseException:
        os.close(descriptor)
        raise
    if is_taken:
        os.close(descriptor)
        return None
    return descriptor


def _names(descriptor: int, path: str) -> bool:
    """Whether a descriptor is open, and names the same folder as `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


class Lock:
    """The right to write to a folder, which one thread of one process has at a time.

    Inside the `with`, `held` says whether this thread has it, and `is_busy` whether another one has
    had it for PATIENCE seconds. Both are false if the system has no locks, or in a signal handler
    or finalizer that runs while its own thread has the lock.
    """

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, _LOCK)
        self._descriptor = -1
        self._threads: "Any" = None  # the lock that this object has taken
        self.held = False
        self.is_busy = False

    def __enter__(self) -> "Self":
        global _holder
        if not hasattr(os, "lockf") or not hasattr(os, "F_TLOCK") or _holder == get_ident():
            return self
        deadline = time.monotonic() + PATIENCE
        threads = _threads
        if not threads.acquire(timeout=PATIENCE):
            self.is_busy = True
            return self
        self._threads = threads
        _holder = get_ident()
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | OPEN_FLAGS, 0o600)
            self._lock_file(deadline)
        except BaseException:
            self._release()
            raise
        return self

    def _lock_file(self, deadline: float) -> None:
        while True:
            try:
                os.lockf(self._descriptor, os.F_TLOCK, 0)
            except (BlockingIOError, PermissionError):
                if time.monotonic() > deadline:
                    self.is_busy = True
                    return
                time.sleep(_SLICE)
            except OSError:  # the file system has no locks
                return
            else:
                self.held = True
                return

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        value: "BaseException | None",
        traceback: "TracebackType | None",
    ) -> None:
        self._release()

    def _release(self) -> None:
        global _holder
        threads, self._threads = self._threads, None
        descriptor, self._descriptor = self._descriptor, -1
        self.held = False
        if threads is None:
            return
        try:
            if descriptor >= 0:
                os.close(descriptor)
        finally:
            _holder = None
            threads.release()


def _renew_lock() -> None:
    """In a forked child, renew the lock: the thread that held it may not exist here."""
    global _threads, _holder
    _threads = allocate_lock()
    _holder = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
