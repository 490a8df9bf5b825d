"""`DataCache`: real files for packages of a closed registry that open their data by path.

Rules, in addition to those of `folder`
  1. A package's folder is trusted once its line is in COMPLETE. The line is written last, and names
     the folder's device and inode. A folder without a line is compared with the registry, and
     replaced if something is missing.
  2. Once a package's folder has its final name, it is not written again.

A package is at `<directory>/data/<fingerprint of the registry>/<package>`. `frozenfinder cache
--prune` keeps it while a process uses it. If the cache cannot be used, the package is in a
temporary directory, which is removed when the process that made it ends.
"""

import os
import stat

from frozenfinder.runtime.system import environment, get_module

from .folder import (
    ATTEMPTS,
    OPEN_FLAGS,
    PrivateFolder,
    UnusableError,
    default_directory,
    is_own_file,
    make_folder,
    make_temporary_name,
    note_use,
    remove,
    remove_temporaries,
    remove_tree,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.closed.paths import FrozenPath

DATA = "data"
"""The folder below the cache's directory."""

COMPLETE = ".complete"
"""The file that lists the complete packages beside it; no package has that name."""

_LIMIT = 1 << 20  # bytes of it that are read; later lines are ignored


class DataCache:
    """The real files of the packages of one registry."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        directory = default_directory(environment("FROZENFINDER_CACHE"))
        self._folder = None if directory is None else PrivateFolder(directory)

    def provide(self, package: "FrozenPath") -> str:
        """The directory that contains the package's folder, with all its readable files.

        If it was written before, this costs a few calls for each folder on the way. OSError if not
        even a temporary directory can be written.
        """
        try:
            return self._provide(package)
        except (UnusableError, OSError):
            return _provide_temporary(package)

    def _provide(self, package: "FrozenPath") -> str:
        if self._folder is None:
            raise UnusableError("no home directory was found for the cache")
        home = self._folder.use(DATA, self._fingerprint)
        note_use(home)
        target = os.path.join(home, package.name)
        for _ in range(ATTEMPTS):
            if _is_complete(package, target):
                return home
            with self._folder.lock() as lock:
                if lock.held:
                    remove_temporaries(home)
                if not _is_complete(package, target):
                    _put(package, target)
        raise UnusableError(f"{target!r} was changed by other processes while it was written")


def _provide_temporary(package: "FrozenPath") -> str:
    # deferred: only without a cache
    import tempfile

    folder = os.path.realpath(tempfile.mkdtemp(prefix="frozenfinder-"))
    _remove_at_exit(folder)
    _write(package, os.path.join(folder, package.name))
    return folder


def _remove_at_exit(folder: str) -> None:
    """Remove a folder when this process ends, but not when a fork of it ends.

    Processes that `multiprocessing` forks run its finalizers, and not always those of `atexit`.
    Their parent runs finalizers of this priority after it has joined them.
    """
    finalize = getattr(get_module("multiprocessing.util"), "Finalize", None)
    if finalize is not None:
        finalize(None, _remove_own, args=(folder, os.getpid()), exitpriority=-100)
        return
    # deferred: only without a cache
    import atexit

    atexit.register(_remove_own, folder, os.getpid())


def _remove_own(folder: str, maker: int) -> None:
    if os.getpid() == maker:
        remove_tree(folder)


def _is_complete(package: "FrozenPath", target: str) -> bool:
    """Whether a package's folder exists with all of its files. If so, list it in COMPLETE.

    UnusableError if something else is in its place.
    """
    try:
        line = _make_line(target)
    except FileNotFoundError:
        return False
    make_folder(target)
    path = os.path.join(os.path.dirname(target), COMPLETE)
    if line in _read_lines(path):
        return True
    if not _has_all(package, target):
        return False
    _append_line(path, line)
    return True


def _make_line(target: str) -> bytes:
    status = os.lstat(target)
    return os.fsencode(f"{os.path.basename(target)} {status.st_dev} {status.st_ino}")


def _read_lines(path: str) -> "list[bytes]":
    try:
        descriptor = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    except OSError:
        return []
    try:
        if is_own_file(os.fstat(descriptor)):
            return os.read(descriptor, _LIMIT).split(b"\n")[:-1]  # the last may be incomplete
    finally:
        os.close(descriptor)
    return []


def _append_line(path: str, line: bytes) -> None:
    """Best effort: without the line, the next process compares the folder again."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | OPEN_FLAGS, 0o600)
        try:
            os.write(descriptor, b"%b\n" % line)
        finally:
            os.close(descriptor)
    except OSError:
        pass


def _put(package: "FrozenPath", target: str) -> None:
    """Put the package into place in one step.

    Another process may remove the temporary folder, if it thinks that this process is dead: then
    nothing is written to `target`.
    """
    temporary = make_temporary_name(target)
    try:
        _write(package, temporary)
        if not _has_all(package, target):  # otherwise another process was faster
            remove(target)
            os.rename(temporary, target)
    except FileNotFoundError:
        pass
    except OSError:
        if not _has_all(package, target):
            raise
    finally:
        remove(temporary)


def _has_all(source: "FrozenPath", path: str) -> bool:
    """Whether each file and folder of the source exists at `path`; other files do not matter."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if not source.is_dir():
        return stat.S_ISREG(mode)
    return stat.S_ISDIR(mode) and all(
        _has_all(item, os.path.join(path, item.name)) for item in source.iterdir()
    )


def _write(source: "FrozenPath", path: str) -> None:
    if source.is_dir():
        os.mkdir(path, 0o700)
        for item in source.iterdir():
            _write(item, os.path.join(path, item.name))
    else:
        with open(path, "xb") as file:
            file.write(source.read_bytes())
            file.flush()
            os.fsync(file.fileno())  # the name may survive a power failure: so must the content
