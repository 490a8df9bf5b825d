"""The files below a directory, and which modules imports would find among them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    SourceFileLoader,
    SourcelessFileLoader,
)

from frozenfinder.freezer.plan import DataFile, Module, Omission, Plan, Root, path_below
from frozenfinder.frozen_api import is_utf8

from .tree import Listing, Suffix, classify

# the result of _bootstrap_external._get_supported_file_loaders
LOADERS = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)
_KINDS = {
    ExtensionFileLoader: "extension",
    SourceFileLoader: "source",
    SourcelessFileLoader: "sourceless",
}
SUFFIXES = {
    suffix: Suffix(rank, kind)
    for rank, (suffix, kind) in enumerate(
        (suffix, _KINDS[loader]) for loader, suffixes in LOADERS for suffix in suffixes
    )
}


_SHARED_LIBRARY = re.compile(r"\.(so(\.[0-9.]+)?|pyd|dll|dylib)$", re.IGNORECASE)


@dataclass
class Scan:
    """The files below `top` without the folders `skipped`, and a list of what was left out."""

    top: str
    skipped: frozenset[str] = frozenset()
    omitted: list[Omission] = field(default_factory=list)

    def paths(self, inside: str = "") -> list[str]:
        """The paths of all files below the folder `inside`, relative to `top`."""
        paths, pending = [], [inside]
        while pending:
            folder = pending.pop()
            for entry in self._list(folder):
                path = f"{folder}/{entry.name}".lstrip("/")
                if entry.name == "__pycache__" or path in self.skipped:
                    continue
                if reason := _reason_to_omit(entry):
                    self._omit(path, reason)
                elif entry.is_dir():
                    pending.append(path)
                else:
                    paths.append(path)
        return paths

    def recorded(self, paths: Iterable[str]) -> list[str]:
        """Those of `paths` that exist, and the `__init__` files of their folders."""
        present = set()
        for path in paths:
            if "__pycache__" in path.split("/"):
                continue
            if path.startswith("../") or os.path.isabs(path):
                self._omit(path, "is outside the directory that the distribution is installed in")
            elif os.path.isfile(os.path.join(self.top, path)):
                present.add(path)
            else:
                self._omit(path, "is in the distribution's RECORD but not on disk")
        for folder in _folders(present):  # an `__init__` there may be another distribution's
            inits = [f"{folder}/__init__{suffix}" for suffix in SUFFIXES]
            present.update(path for path in inits if os.path.isfile(os.path.join(self.top, path)))
        return sorted(present)

    def plan(self, root: Root, paths: Iterable[str], *, why: str, table: str = "app") -> Plan:
        listing = self._encodable(classify(paths, SUFFIXES))
        libraries = {path for path in listing.files if _SHARED_LIBRARY.search(path)}
        return Plan(
            roots=(root,),
            modules=tuple(
                Module(found.name, root, found.path, found.kind, found.is_package, table, why=why)
                for found in listing.modules
            ),
            files=tuple(
                DataFile(path, root)
                for path in listing.files
                if path not in libraries and not path.endswith(".pyc")
            ),
            libraries=tuple(DataFile(path, root) for path in sorted(libraries)),
            omitted=tuple(self.omitted),
        )

    def _encodable(self, listing: Listing) -> Listing:
        """The listing without names that a registry cannot store."""
        for path in [*(found.path for found in listing.modules), *listing.files]:
            if not is_utf8(path):
                self._omit(path, "has a name that is not UTF-8")
        return Listing(
            [found for found in listing.modules if is_utf8(found.path)],
            [path for path in listing.files if is_utf8(path)],
        )

    def _list(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(os.path.join(self.top, folder)) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._omit(folder, f"cannot be read: {error.strerror}")
            return []
        if folder and any(entry.name == "pyvenv.cfg" for entry in listed):
            self._omit(folder, "is a virtual environment")
            return []
        return listed

    def _omit(self, path: str, reason: str) -> None:
        self.omitted.append(Omission(path, os.path.join(self.top, path), reason))


def _folders(paths: Iterable[str]) -> set[str]:
    """The folders of files, and all folders above them."""
    folders: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _reason_to_omit(entry: os.DirEntry[str]) -> str | None:
    if entry.name.startswith(".") and entry.name != ".dylibs":  # in wheels for macOS
        return "is hidden"
    if entry.name.endswith(".frz"):
        return "is a registry"
    if entry.is_dir():
        above = os.path.realpath(os.path.dirname(entry.path))
        looping = entry.is_symlink() and path_below(above, os.path.realpath(entry.path)) is not None
        return "is a symbolic link to a folder that contains it" if looping else None
    if entry.is_file():
        return None
    if entry.is_symlink():
        return f"is a symbolic link to {os.readlink(entry.path)!r}, which does not exist"
    return "is not a regular file"
