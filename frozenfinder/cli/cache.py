"""`frozenfinder cache`: list the cache of embedded files, and remove unused ones."""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import NamedTuple

from frozenfinder.native.cache import ExtensionCache
from frozenfinder.native.data import COMPLETE, DATA
from frozenfinder.native.folder import (
    DAY,
    PATIENCE,
    TEMPORARY,
    Lock,
    PrivateFolder,
    UnusableError,
    default_directory,
    remove,
    remove_unused,
)
from frozenfinder.native.marks import MARKS
from frozenfinder.runtime.system import environment

from . import DONE, UsageError
from .commands import print_json
from .parser import Parser

SUMMARY = "show the cache of embedded extension modules and data, or remove unused parts"
_UNUSED = 30  # days
_LISTS = (MARKS, COMPLETE)  # what the cache itself writes into its folders


class Shelf(NamedTuple):
    """A folder of the cache that is used, and removed, as a whole.

    `kind` says what its files are for: extension modules of one interpreter, or data. `contents`
    has the names in it. `used` is when it was last used, in seconds since the epoch, to a day.
    """

    kind: str
    name: str
    contents: list[str]
    files: int
    size: int
    used: float


def make_parser() -> Parser:
    parser = Parser("cache", SUMMARY)
    parser.add_argument(
        "--prune", action="store_true", help="remove the folders that no program used lately"
    )
    parser.add_argument(
        "--unused",
        metavar="DAYS",
        type=_days,
        default=_UNUSED,
        help="with --prune, remove the folders that no program used for so many days "
        f"(default: {_UNUSED}; 0: every folder that is not in use)",
    )
    parser.add_json()
    return parser


def _days(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return int(text)


def main(options: argparse.Namespace) -> int:
    found = default_directory(environment("FROZENFINDER_CACHE"))
    if found is None:
        raise UsageError("no home directory was found for the cache; set FROZENFINDER_CACHE")
    directory = Path(PrivateFolder(found).path)
    obstacle = find_obstacle(directory)
    shelves = [] if obstacle else list(list_shelves(directory))
    can_prune = options.prune and not obstacle and directory.is_dir()
    removed = prune(directory, shelves, options.unused) if can_prune else []
    kept = [shelf for shelf in shelves if shelf not in removed]
    if options.json:
        print_json(
            {
                "directory": str(directory),
                "obstacle": obstacle,
                "kept": [shelf._asdict() for shelf in kept],
                "removed": [shelf._asdict() for shelf in removed],
            }
        )
        return DONE
    print(f"{directory}: {obstacle or _summarise(kept)}")
    for shelf in kept:
        print(_describe(shelf))
    if options.prune:
        print(f"removed: {_summarise(removed)}")
    return DONE


def find_obstacle(directory: Path) -> str | None:
    """Why extension modules would not be loaded from there; None also if nothing exists yet."""
    if not os.path.lexists(directory):
        return None
    try:
        ExtensionCache(str(directory)).check()
    except UnusableError as error:
        return f"cannot be used: {error}"
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    return None


def list_shelves(directory: Path) -> Iterator[Shelf]:
    """The folders of the cache, by kind and name; none if the cache does not exist."""
    for kind in _list_folders(directory):
        for folder in _list_folders(kind):
            if folder.name.endswith(TEMPORARY):
                continue
            with suppress(FileNotFoundError):  # another process has just removed it
                contents = [path for path in folder.iterdir() if path.name not in _LISTS]
                files = [path for path in folder.rglob("*") if path.is_file()]
                files = [path for path in files if path.parent != folder or path in contents]
                yield Shelf(
                    kind=kind.name,
                    name=folder.name,
                    contents=sorted(path.name for path in contents),
                    files=len(files),
                    size=sum(path.stat().st_size for path in files),
                    used=folder.stat().st_mtime,
                )


def _list_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except FileNotFoundError:
        return []


def prune(directory: Path, shelves: list[Shelf], unused: int) -> list[Shelf]:
    """Remove the shelves that were not used for `unused` days, and leftovers of dead processes.

    Folders that a running program uses stay. Returns what was removed. UsageError if another
    process keeps the lock for longer than `PATIENCE`.
    """
    before = time.time() - (unused + 1) * DAY if unused else inf  # a use is noted once a day
    with Lock(str(directory)) as lock:
        if lock.is_busy:
            raise UsageError(
                f"{str(directory)!r} is being written to: another process has held its lock for "
                f"{PATIENCE:.0f} seconds; try again"
            )
        for leftover in _list_leftovers(directory):
            remove(str(leftover))
        return [
            shelf
            for shelf in shelves
            if _remove_shelf(str(directory / shelf.kind / shelf.name), before)
        ]


def _remove_shelf(folder: str, before: float) -> bool:
    try:
        return remove_unused(folder, before)
    except FileNotFoundError:  # another process has just removed it
        return False


def _list_leftovers(directory: Path) -> Iterator[Path]:
    """Temporary files, in every place where the cache makes them.

    Packages are not searched: their own files may have such names.
    """
    for kind in _list_folders(directory):
        patterns = ("*", "*/*") if kind.name == DATA else ("**/*",)
        for pattern in patterns:
            yield from list(kind.glob(f"{pattern}{TEMPORARY}"))


def _summarise(shelves: list[Shelf]) -> str:
    files, size = sum(shelf.files for shelf in shelves), sum(shelf.size for shelf in shelves)
    return f"{len(shelves)} folders, {files} files, {size} bytes"


def _describe(shelf: Shelf) -> str:
    day = time.strftime("%Y-%m-%d", time.localtime(shelf.used))
    contents = ", ".join(shelf.contents)
    return f"{shelf.size:>10}  {day}  {shelf.kind}/{shelf.name[:16]}  {contents}"
