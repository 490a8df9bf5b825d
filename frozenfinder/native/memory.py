"""`MemoryFiles`: embedded files that cannot be put into the cache (Linux only).

Each is a file in memory, whose descriptor stays open as long as the process lives: the dynamic
loader identifies a library by the name that it was opened with, and would take the next file with
the same number for the same library. Shared libraries that a module needs are loaded first, through
temporary links with the same layout as the files: the libraries find each other by their paths, and
the module finds them by the names that they contain.
"""

import os

from frozenfinder.runtime.system import raise_number

from .folder import UnusableError, check_ancestors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .extraction import EmbeddedFile


class MemoryFiles:
    """Files in memory, each with a path that is valid as long as the process lives.

    All registries share one object: a library in two files would be two libraries.
    """

    def __init__(self) -> None:
        # The path and the inode of a file, by its digest and the path of the file that it replaces
        # ("" for the first one). Items are published by `setdefault`, and never change.
        self._held: "dict[tuple[str, str], tuple[str, int]]" = {}
        # Descriptors. A thread adds a number while it has the descriptor open.
        self._numbers: "set[int]" = set()
        # Digests. Two threads may load the same file: the dynamic loader loads it once.
        self._loaded: "set[str]" = set()

    @property
    def usable(self) -> bool:
        return hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")

    def hold(self, source: "EmbeddedFile") -> str:
        """The path of a file with that content, which is made at the first call."""
        before, held = "", self._held.get((source.file.digest, ""))
        while held is not None:
            path, inode = held
            if _find_inode(path) == inode:
                return path
            before, held = path, self._held.get((source.file.digest, path))
        descriptor = self._make(source)
        path = f"/proc/self/fd/{descriptor}"
        made = path, _find_inode(path)
        if self._held.setdefault((source.file.digest, before), made) is made:
            return path
        os.close(descriptor)  # another thread was faster; nobody has seen this path
        return self.hold(source)

    def _make(self, source: "EmbeddedFile") -> int:
        """A descriptor of a new file with that content, with a number that no file here had."""
        descriptor = os.memfd_create(source.file.path.rpartition("/")[2][:200])
        try:
            for piece in source.read():
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
        except BaseException:
            os.close(descriptor)
            raise
        return self._renumber(descriptor)

    def load(self, libraries: "list[EmbeddedFile]") -> None:
        """Load shared libraries, which may need each other; OSError."""
        missing = [each for each in libraries if each.file.digest not in self._loaded]
        if missing:
            load_libraries({each.file.path: self.hold(each) for each in missing})
            self._loaded.update(each.file.digest for each in missing)

    def _renumber(self, descriptor: int) -> int:
        """Give a descriptor a number that no file here had: the program may have closed a file."""
        given_up = []
        descriptor = raise_number(descriptor)
        while descriptor in self._numbers:
            given_up.append(descriptor)
            descriptor = os.dup(descriptor)
        self._numbers.add(descriptor)
        for number in given_up:
            os.close(number)
        return descriptor


memory_files = MemoryFiles()  # the descriptors belong to the process, not to a registry


def _find_inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def load_libraries(files: "dict[str, str]") -> None:
    """Load libraries; `files` maps the paths where they belong to those where they are. OSError.

    Without a folder for links, they find each other only by the names that they contain.
    """
    # deferred: only needed if the cache cannot be used
    import shutil

    folder = _make_private_folder()
    if folder is None:
        _load_in_any_order(list(files.values()))
        return
    try:
        links = []
        for path, target in files.items():
            link = os.path.join(folder, path)
            os.makedirs(os.path.dirname(link), 0o700, exist_ok=True)
            os.symlink(target, link)
            links.append(link)
        _load_in_any_order(links)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_private_folder() -> "str | None":
    """A temporary folder that only the user can write to, or None if none can be made."""
    # deferred: as above
    import tempfile

    try:
        parent = os.path.realpath(tempfile.gettempdir())
        check_ancestors(parent)
        return tempfile.mkdtemp(prefix="frozenfinder-", dir=parent)
    except (OSError, UnusableError):
        return None


def _load_in_any_order(paths: "list[str]") -> None:
    """Load libraries; those that fail are tried again after the others. OSError."""
    # deferred: as above
    from _ctypes import dlopen

    while paths:
        failed: "list[str]" = []
        for path in paths:
            try:
                dlopen(path, getattr(os, "RTLD_NOW", 2))
            except OSError:
                if len(failed) == len(paths) - 1:
                    raise
                failed.append(path)
        paths = failed
