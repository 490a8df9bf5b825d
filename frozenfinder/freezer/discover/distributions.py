"""Installed distributions: the files of one, and the others that it requires."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import Distribution

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.plan import Omission, Plan, path_below

from .anchors import find_root
from .scan import Scan

_REQUIREMENT = re.compile(r"\s*(?P<name>[\w.-]*\w)[^;]*;?(?P<marker>.*)", re.DOTALL)
METADATA_SUFFIXES = (".dist-info", ".egg-info")
_EXTRA = re.compile(r"\bextra\s*==")


def plan_distributions(
    names: Iterable[str], directories: Sequence[str], *, with_dependencies: bool
) -> Iterator[Plan]:
    """The plans of installed distributions and, if asked for, of the installed ones they require.

    FreezeError where one that is asked for is not there, or does not know its files.
    """
    seen: set[str] = set()
    pending = [*names]
    for name in pending:
        key = normalise(name)
        if key in seen:
            continue
        seen.add(key)
        distribution = _find(name, directories)
        if distribution is None:
            raise FreezeError(
                f"distribution {name!r}: is not installed in the {len(directories)} "
                "directories of sys.path; install it, or freeze its folder with --path"
            )
        plan = _plan_distribution(distribution)
        if with_dependencies:
            required, missing = _require(distribution, directories)
            pending += required
            plan = replace(plan, omitted=(*plan.omitted, *missing))
        yield plan


def plan_metadata(names: Iterable[str], directories: Sequence[str]) -> Iterator[Plan]:
    """The plans of the metadata alone of installed distributions, each the first of its name.

    FreezeError for one that is not there.
    """
    wanted = {normalise(name): name for name in names}
    for directory in directories if wanted else ():
        for entry in sorted(os.listdir(directory)):
            stem, dot, suffix = entry.rpartition(".")
            name = normalise(stem.partition("-")[0])
            if dot + suffix in METADATA_SUFFIXES and name in wanted:
                scan = Scan(directory)
                is_folder = os.path.isdir(os.path.join(directory, entry))
                paths = scan.paths(entry) if is_folder else [entry]
                yield replace(scan.plan(find_root(directory), paths, why=""), omitted=())
                del wanted[name]
    for name in wanted.values():
        raise FreezeError(
            f"metadata {name!r}: is not installed in the {len(directories)} directories of "
            "sys.path; install it, or leave the line out"
        )


def has_metadata(name: str, directories: Sequence[str]) -> bool:
    """Whether a distribution of that name is installed, so that `plan_metadata` finds it."""
    with suppress(FreezeError):
        return bool(list(plan_metadata([name], directories)))
    return False


def plan_owners(
    tops: Collection[str], folders: Collection[str], directories: Sequence[str]
) -> Iterator[Plan]:
    """The metadata of the distributions that have these top-level names, and their `.libs` folders.

    `folders` are those that the names were found in: an editable installation has what lies there.
    """
    for distribution in Distribution.discover(path=list(directories)):
        paths = _list_files(distribution) or []
        names = {path.partition("/")[0].partition(".")[0] for path in paths}
        source = _find_source(distribution)
        if names.isdisjoint(tops) and not any(
            source is not None and path_below(folder, source) is not None for folder in folders
        ):
            continue
        yield from plan_metadata([distribution.metadata["Name"]], directories)
        scan = Scan(os.path.abspath(str(distribution.locate_file(""))))
        inside = scan.recorded(path for path in paths if path.partition("/")[0].endswith(".libs"))
        yield replace(scan.plan(find_root(scan.top), inside, why=""), modules=(), omitted=())


def _find_source(distribution: Distribution) -> str | None:
    """The folder that an editable installation is of."""
    if not _is_editable(distribution):
        return None
    # deferred: it imports all of HTTP, for a folder of Windows
    from urllib.request import url2pathname

    url = str(json.loads(distribution.read_text("direct_url.json") or "{}").get("url", ""))
    return url2pathname(url.removeprefix("file://")) if url.startswith("file://") else None


def _find(name: str, directories: Sequence[str]) -> Distribution | None:
    if not name:
        return None
    return next(iter(Distribution.discover(name=name, path=list(directories))), None)


def _require(
    distribution: Distribution, directories: Sequence[str]
) -> tuple[list[str], list[Omission]]:
    """The installed distributions that one requires, and those that it lacks.

    What only an extra requires is neither; nor is what is not installed and may be required on
    another platform or version only.
    """
    installed, missing = [], []
    for requirement in distribution.requires or ():
        match = _REQUIREMENT.match(requirement)
        if match is None or _EXTRA.search(match["marker"]):
            continue
        if _find(match["name"], directories) is not None:
            installed.append(match["name"])
        elif not match["marker"]:
            asking = distribution.metadata["Name"]
            reason = f"is required by {asking!r}, and is not installed"
            missing.append(Omission(match["name"], "", reason))
    return installed, missing


def normalise(name: str) -> str:
    """The name as all its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _plan_distribution(distribution: Distribution) -> Plan:
    """The files that the distribution's RECORD lists."""
    name = distribution.metadata["Name"]
    if _is_editable(distribution):
        raise FreezeError(
            f"distribution {name!r}: is an editable installation, whose files lie elsewhere; "
            "freeze their folder with --path"
        )
    paths = _list_files(distribution)
    if paths is None:
        raise FreezeError(
            f"distribution {name!r}: has no list of its files; freeze its packages with --package"
        )
    scan = Scan(os.path.abspath(str(distribution.locate_file(""))))
    return scan.plan(find_root(scan.top), scan.recorded(paths), why=f"distribution {name}")


def _list_files(distribution: Distribution) -> list[str] | None:
    """The files that were installed, relative to where they were; None if that is not known.

    `Distribution.files` of some versions would not tell of those that are missing.
    """
    record = distribution.read_text("RECORD")
    if record:
        return [row[0] for row in csv.reader(record.splitlines()) if row]
    files = distribution.files
    return None if files is None else [file.as_posix() for file in files]


def _is_editable(distribution: Distribution) -> bool:
    return '"editable": true' in (distribution.read_text("direct_url.json") or "")
