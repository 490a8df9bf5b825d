"""`frozenfinder cache`: what the cache of embedded files holds, and its pruning."""

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from frozenfinder.native.cache import (
    DAY,
    TEMPORARY,
    ExtensionCache,
    Lock,
    UnusableError,
    default_directory,
)
from frozenfinder.native.marks import MARKS
from frozenfinder.runtime.system import environment

from . import DONE, UsageError
from .commands import print_json
from .parser import Parser

SUMMARY = "show the cache of embedded extension modules, or remove what is unused"
_UNUSED = 30  # days


class Shelf(NamedTuple):
    """A folder of the cache that is used, and removed, as a whole.

    `kind` is what its files are for: extension modules of one interpreter, or data. `contents`
    names what lies in it. `used` is when it was last used, in seconds since the epoch, to a day.
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
        "--prune", action="store_true", help="remove what no program has used for some time"
    )
    parser.add_argument(
        "--unused",
        metavar="DAYS",
        type=_days,
        default=_UNUSED,
        help=f"how long that is (default: {_UNUSED}; 0: everything)",
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
        raise UsageError("there is no home directory to have a cache in; set FROZENFINDER_CACHE")
    directory = Path(ExtensionCache(found).directory)
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
    """Why extension modules would not be loaded from there; None also where nothing is yet."""
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
    """What the cache holds, by kind and name; nothing where there is none."""
    for kind in _list_folders(directory):
        for folder in _list_folders(kind):
            if folder.name.endswith(TEMPORARY):
                continue
            with suppress(FileNotFoundError):  # another process has just removed it
                files = [
                    path for path in folder.rglob("*") if path.is_file() and path.name != MARKS
                ]
                yield Shelf(
                    kind=kind.name,
                    name=folder.name,
                    contents=sorted(path.name for path in folder.iterdir() if path.name != MARKS),
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
    """Remove the shelves that were not used for so many days, and what dead processes have left.

    Programs that have loaded from them go on: what is mapped stays until they end.
    """
    before = time.time() - (unused + 1) * DAY  # a use is noted once a day
    removed = []
    with Lock(str(directory)):
        for leftover in directory.rglob(f"*{TEMPORARY}"):
            _remove(leftover)
        for shelf in shelves:
            folder = directory / shelf.kind / shelf.name
            with suppress(FileNotFoundError):
                if unused and folder.stat().st_mtime > before:
                    continue
                # under another name at once: no process finds a half of it
                out_of_sight = folder.with_name(f"{folder.name}.{os.getpid()}{TEMPORARY}")
                folder.rename(out_of_sight)
                _remove(out_of_sight)
                removed.append(shelf)
    return removed


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _summarise(shelves: list[Shelf]) -> str:
    files, size = sum(shelf.files for shelf in shelves), sum(shelf.size for shelf in shelves)
    return f"{len(shelves)} folders, {files} files, {size} bytes"


def _describe(shelf: Shelf) -> str:
    day = time.strftime("%Y-%m-%d", time.localtime(shelf.used))
    contents = ", ".join(shelf.contents)
    return f"{shelf.size:>10}  {day}  {shelf.kind}/{shelf.name[:16]}  {contents}"
