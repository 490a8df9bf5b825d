"""`check_pins`: the checks of a pinned registry, which are remembered for an unchanged file.

Rules
  1. A check is remembered in the user's cache, as a mark of the file (`marks`): who could forge it
     could as well change the program that reads it.
  2. Only files that nobody but root and the user can change, or replace by another file, are
     remembered. Every other file is read into memory and checked in each process, so that nobody
     can change it between the check and the use.
  3. A remembered file is read in place, through the descriptor whose status was compared.
"""

import os
import stat

from frozenfinder.runtime.system import environment
from frozenfinder.trust import check_sha256, check_signature, unpack_hex

from .folder import PrivateFolder, UnusableError, check_ancestors, default_directory
from .marks import Marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.runtime.registry import Registry


def check_pins(
    registry: "Registry", sha256: "str | None", verify_key: "str | None"
) -> "bytes | None":
    """The bytes of the registry, after they were checked; None if its file was checked before.

    RegistryTrustError, ValueError (a pin is not hexadecimal), RegistryError (unreadable).
    """
    labels = []
    if sha256 is not None:
        labels.append(f"sha256-{unpack_hex(sha256, 'sha256').hex()}")
    if verify_key is not None:
        labels.append(f"ed25519-{unpack_hex(verify_key, 'verify_key').hex()}")
    memory = _open_memory(registry) if labels else None
    if memory is not None and all(memory.find(label) for label in labels):
        return None
    data = registry.read_unchecked()
    if sha256 is not None:
        check_sha256(data, sha256, registry.path)
    if verify_key is not None:
        check_signature(data, verify_key, registry.path)
    if memory is not None:
        for label in labels:
            memory.add(label)
    return data


class _Remembered:
    """The marks of one open file, in which the registry begins at byte `base`."""

    def __init__(self, marks: Marks, descriptor: int, base: int) -> None:
        self._marks = marks
        self._descriptor = descriptor
        self._base = base
        self._status = os.fstat(descriptor)

    def find(self, label: str) -> bool:
        return self._marks.find(f"{label}@{self._base}", self._status)

    def add(self, label: str) -> None:
        self._marks.add(f"{label}@{self._base}", self._status, self._descriptor)


def _open_memory(registry: "Registry") -> "_Remembered | None":
    """What is remembered of a registry's file; None if nothing may be."""
    descriptor = registry.fileno()
    if descriptor is None or not hasattr(os, "geteuid"):
        return None
    if "pins" in (environment("FROZENFINDER_WITHOUT") or "").split(","):
        return None
    directory = default_directory(environment("FROZENFINDER_CACHE"))
    try:
        if directory is None or not _is_safe(registry.path, descriptor):
            return None
        folder = PrivateFolder(directory)
        folder.check()
        return _Remembered(Marks(folder.path), descriptor, registry.offset)
    except (OSError, UnusableError):
        return None


def _is_safe(path: str, descriptor: int) -> bool:
    """Whether only root and the user can change a file, or the way to it. UnusableError, OSError.

    It is stricter than what is asked of a registry without a pin: the owner of the environment is
    another user, against whom the pin may be meant.
    """
    status = os.fstat(descriptor)
    real = os.path.realpath(path)
    check_ancestors(os.path.dirname(real))
    return (
        status.st_uid in (0, os.geteuid())
        and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        and os.path.samestat(status, os.lstat(real))
    )
