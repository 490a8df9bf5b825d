"""Installed distributions: their files, and the distributions that they require."""

from __future__ import annotations

import csv
import json
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import Distribution
from urllib.parse import urlsplit

from packaging.direct_url import DirectUrl, DirectUrlValidationError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from frozenfinder.closed.paths import METADATA_SUFFIXES
from frozenfinder.errors import FreezeError
from frozenfinder.freezer.plan import Omission, Plan, path_below

from .anchors import find_root
from .scan import Scan

_ORIGIN = "direct_url.json"  # where a distribution was installed from
_ITSELF = frozenset([""])  # the extra for requirements that need no extra


def plan_distributions(
    names: Iterable[str], directories: Sequence[str], *, with_dependencies: bool
) -> Iterator[Plan]:
    """The plans of installed distributions and, if requested, of the installed ones they require.

    FreezeError if one is not installed, is editable, or has no list of its files.
    """
    followed: dict[str, set[str]] = {}  # by distribution, the extras that were followed
    pending = deque((name, _ITSELF) for name in names)
    while pending:
        name, extras = pending.popleft()
        known = followed.setdefault(canonicalize_name(name), set())
        if extras <= known:
            continue
        distribution = _find(name, directories)
        if distribution is None:
            raise FreezeError(
                f"distribution {name!r}: is not installed in the {len(directories)} "
                "directories of sys.path; install it, or freeze its folder with --path"
            )
        plan = Plan() if known else _plan_distribution(distribution)
        if with_dependencies:
            required, omitted = _require(distribution, extras - known, directories)
            pending += required
            plan = replace(plan, omitted=(*plan.omitted, *omitted))
        known |= extras
        yield plan


def plan_metadata(names: Iterable[str], directories: Sequence[str]) -> Iterator[Plan]:
    """The plans of only the metadata of installed distributions, each the first with its name.

    FreezeError if one is not installed.
    """
    wanted = {canonicalize_name(name): name for name in names}
    for directory in directories if wanted else ():
        for entry in sorted(os.listdir(directory)):
            stem, dot, suffix = entry.rpartition(".")
            name = canonicalize_name(stem.partition("-")[0])
            if dot + suffix in METADATA_SUFFIXES and name in wanted:
                scan = Scan(directory)
                is_folder = os.path.isdir(os.path.join(directory, entry))
                paths = scan.paths(entry) if is_folder else [entry]
                yield replace(scan.plan(find_root(directory), paths, why=""), omitted=())
                del wanted[name]
    for missing in wanted.values():
        raise FreezeError(
            f"metadata {missing!r}: is not installed in the {len(directories)} directories of "
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
    """The metadata of the distributions with these top-level names, and their `.libs` folders.

    `folders` are the folders in which the names were found: they may belong to an editable
    installation.
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
    """The folder of an editable installation; None for any other one.

    An invalid `direct_url.json` is ignored.
    """
    try:
        origin = DirectUrl.from_dict(dict(json.loads(distribution.read_text(_ORIGIN) or "{}")))
    except (ValueError, TypeError, DirectUrlValidationError):
        return None
    if origin.dir_info is None or not origin.dir_info.editable:
        return None
    # deferred: it imports all of HTTP, for folders on Windows
    from urllib.request import url2pathname

    return url2pathname(urlsplit(origin.url).path)


def _find(name: str, directories: Sequence[str]) -> Distribution | None:
    if not name:
        return None
    return next(iter(Distribution.discover(name=name, path=list(directories))), None)


def _require(
    distribution: Distribution, extras: Collection[str], directories: Sequence[str]
) -> tuple[list[tuple[str, frozenset[str]]], list[Omission]]:
    """The requirements of a distribution with any of the extras: installed ones, and omissions.

    Each installed one has the extras that are required of it. The markers are evaluated for the
    running interpreter, which is the one that the registry is for.
    """
    asking = distribution.metadata["Name"]
    installed, omitted = [], []
    for line in distribution.requires or ():
        try:
            requirement = Requirement(line)
            if not _holds(requirement, extras):
                continue
        except (ValueError, KeyError) as error:  # from `packaging`, about the line or its marker
            fault = f"{type(error).__name__}: {error}".partition("\n")[0]
            omitted.append(
                Omission(line, "", f"is required by {asking!r}, but is not valid: {fault}")
            )
            continue
        if _find(requirement.name, directories) is None:
            reason = f"is required by {asking!r}, but is not installed"
            omitted.append(Omission(requirement.name, "", reason))
        else:
            wanted = _ITSELF.union(map(canonicalize_name, requirement.extras))
            installed.append((requirement.name, wanted))
    return installed, omitted


def _holds(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def _plan_distribution(distribution: Distribution) -> Plan:
    """The plan for the files in the distribution's RECORD."""
    name = distribution.metadata["Name"]
    if _find_source(distribution) is not None:
        raise FreezeError(
            f"distribution {name!r}: is an editable installation, whose files are elsewhere; "
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
    """The installed files, relative to the directory of the distribution; None if unknown.

    `Distribution.files` leaves out missing files in some versions.
    """
    record = distribution.read_text("RECORD")
    if record:
        return [row[0] for row in csv.reader(record.splitlines()) if row]
    files = distribution.files
    return None if files is None else [file.as_posix() for file in files]
