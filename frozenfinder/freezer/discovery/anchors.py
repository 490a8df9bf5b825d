"""Roots: how a directory of this machine is named on every other machine."""

from __future__ import annotations

import os
import sys

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.plan import Root, path_below
from frozenfinder.runtime.system import STDLIB_DIR


def find_root(path: str) -> Root:
    """The root for a directory: anchored at the standard library, else `sys.prefix`, else absolute.

    Only the directories of the standard library that are searched are anchored there: packages that
    are installed below one of them are below the prefix.
    """
    directory = os.path.abspath(path)
    stdlib = getattr(sys, STDLIB_DIR, None)
    for own in ("", "lib-dynload"):
        if stdlib and _is_same(directory, os.path.join(stdlib, own).rstrip(os.sep)):
            return Root("stdlib", own, directory)
    for spelling, prefix in (
        (directory, os.path.abspath(sys.prefix)),
        (os.path.realpath(directory), os.path.realpath(sys.prefix)),
    ):
        below = path_below(spelling, prefix)
        if below is not None:
            return Root("prefix", below, directory)
    return Root("absolute", directory, directory)


def stdlib_directory() -> str:
    directory = getattr(sys, STDLIB_DIR, None)
    if not directory:
        raise FreezeError(
            f"standard library: {sys.executable!r} does not know its directory, "
            "expected sys._stdlib_dir; freeze it with --path"
        )
    return str(directory)


def _is_same(directory: str, other: str) -> bool:
    return directory == other or os.path.realpath(directory) == os.path.realpath(other)
