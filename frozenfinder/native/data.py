"""`DataCache`: real files for packages of a closed registry that open their data by path.

Rules
  1. As those of `cache`: what is in the cache belongs to the user, and nobody else can write there.
  2. A package's folder is complete from the moment it has its name, and is not written to again.

A package is at `<directory>/data/<fingerprint of the registry>/<package>`. Where that cannot be, it
is in a temporary directory that goes with the process.
"""

import os
import shutil
import tempfile

from frozenfinder.runtime.system import environment

from .cache import Lock, UnusableError, check_ancestors, default_directory, make_folder, note_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.closed.paths import FrozenPath

_TEMPORARY = ".unfinished-"


class DataCache:
    """The real files of the packages of one registry."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._directory = default_directory(environment("FROZENFINDER_CACHE"))

    def provide(self, package: "FrozenPath") -> str:
        """The directory in which the package's folder lies, with all that can be read of it.

        One `lstat` for each folder on the way where it was written before. OSError where there is
        not even a temporary directory.
        """
        try:
            return self._provide(package)
        except (UnusableError, OSError):
            return _provide_temporary(package)

    def _provide(self, package: "FrozenPath") -> str:
        if self._directory is None:
            raise UnusableError("there is no home directory to have a cache in")
        folder = os.path.realpath(os.path.dirname(os.path.abspath(self._directory)))
        os.makedirs(folder, 0o700, exist_ok=True)
        check_ancestors(folder)
        for name in (os.path.basename(self._directory), "data", self._fingerprint):
            folder = os.path.join(folder, name)
            make_folder(folder)
        target = os.path.join(folder, package.name)
        if not os.path.lexists(target):
            with Lock(self._directory) as held:
                if held:
                    _remove_unfinished(folder)
                _write_folder(package, folder)
        make_folder(target)
        note_use(folder)
        return folder


def _provide_temporary(package: "FrozenPath") -> str:
    # deferred: only without a cache
    import atexit

    folder = os.path.realpath(tempfile.mkdtemp(prefix="frozenfinder-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _write(package, os.path.join(folder, package.name))
    return folder


def _write_folder(package: "FrozenPath", folder: str) -> None:
    """Put the package into `folder` in one step, unless another process has done so meanwhile."""
    target = os.path.join(folder, package.name)
    if os.path.lexists(target):
        return
    unfinished = os.path.join(folder, f"{_TEMPORARY}{os.urandom(8).hex()}")
    try:
        _write(package, unfinished)
        os.rename(unfinished, target)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not isinstance(error, OSError) or not os.path.lexists(target):
            raise


def _write(source: "FrozenPath", path: str) -> None:
    if source.is_dir():
        os.mkdir(path, 0o700)
        for item in source.iterdir():
            _write(item, os.path.join(path, item.name))
    else:
        with open(path, "xb") as file:
            file.write(source.read_bytes())
            file.flush()
            os.fsync(file.fileno())  # a name that survives a power failure promises the content


def _remove_unfinished(folder: str) -> None:
    """Remove what a process that was killed has left; to be called with the lock held."""
    for name in os.listdir(folder):
        if name.startswith(_TEMPORARY):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
