"""`check_pins`: the checks of a pinned registry, which are remembered for an unchanged file.

Rules
  1. A check is remembered in the user's cache, as a mark of the file (`marks`): who could forge it
     could as well change the program that reads it.
  2. Only files that nobody but root and the user can change, or replace by another file, are
     remembered. Every other file is read into memory and checked in each process, so that nobody
     can change it between the check and the use.
  3. A remembered file is read in place, through the descriptor whose status was compared. If the
     program has closed the descriptor, the file is opened again only if it has the same status.
"""

import os
import stat

from frozenfinder.errors import RegistryError
from frozenfinder.runtime.system import environment, read_switches
from frozenfinder.trust import check_sha256, check_signature, unpack_hex

from .folder import PrivateFolder, UnusableError, check_ancestors, default_directory
from .marks import Marks, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from frozenfinder.runtime.registry import Registry

    Source = Any  # the open file of a registry, or its bytes in memory


def check_pins(
    registry: "Registry", source: "Source", sha256: "str | None", verify_key: "str | None"
) -> "bytes | RememberedFile":
    """The bytes of the registry, after they were checked; or its file, if it was checked before.

    `source` is where the registry reads from. RegistryTrustError, ValueError (a pin is not
    hexadecimal), RegistryError (unreadable).
    """
    labels = []
    if sha256 is not None:
        labels.append(f"sha256-{unpack_hex(sha256, 'sha256').hex()}@{source.base}")
    if verify_key is not None:
        labels.append(f"ed25519-{unpack_hex(verify_key, 'verify_key').hex()}@{source.base}")
    file, marks = (_find_marks(source) if labels else None) or (None, None)
    if file and marks and all(marks.find(label, file.status) for label in labels):
        return file
    data = registry.read_unchecked()
    if sha256 is not None:
        check_sha256(data, sha256, registry.path)
    if verify_key is not None:
        check_signature(data, verify_key, registry.path)
    if file and marks:
        for label in labels:
            marks.add(label, file.status, file.descriptor)
    return data


class RememberedFile:
    """The open file of a registry, in the place of `source`, and its `status` when it was made.

    Threads may share it: nothing changes.
    """

    def __init__(self, source: "Source") -> None:
        self._source = source
        self.status = os.fstat(self.descriptor)
        self.base: int = source.base
        self.distrust: "str | None" = source.distrust
        self.path: str = source.path
        self.reopens: bool = source.reopens
        self.size: int = source.size
        self.read = source.read
        self.measure = source.measure
        self.close = source.close

    @property
    def descriptor(self) -> int:
        number: int = self._source.descriptor
        return number

    def recover(self, header: bytes) -> None:
        """As that of `source`; RegistryError if the file at the path was changed. OSError."""
        self._source.recover(header)
        if describe(os.fstat(self.descriptor)) != describe(self.status):
            self.close()
            raise RegistryError(
                f"registry {self.path!r} was changed on disk after the program closed its "
                "descriptor; restart the program",
                path=self.path,
            )


def _find_marks(source: "Source") -> "tuple[RememberedFile, Marks] | None":
    """The file that a registry reads from, and the marks in the cache; None to remember nothing."""
    if not hasattr(source, "descriptor") or not hasattr(os, "geteuid"):
        return None
    if "pins" in read_switches():
        return None
    directory = default_directory(environment("FROZENFINDER_CACHE"))
    try:
        file = RememberedFile(source)
        if directory is None or not _is_safe(file):
            return None
        folder = PrivateFolder(directory)
        folder.check()
        return file, Marks(folder.path)
    except (OSError, UnusableError):
        return None


def _is_safe(file: RememberedFile) -> bool:
    """Whether only root and the user can change a file, or the way to it. UnusableError, OSError.

    It is stricter than what is asked of a registry without a pin: the owner of the environment is
    another user, against whom the pin may be meant.
    """
    status = file.status
    path = os.path.realpath(file.path)
    check_ancestors(os.path.dirname(path))
    return (
        status.st_uid in (0, os.geteuid())
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        and os.path.samestat(status, os.lstat(path))
    )
