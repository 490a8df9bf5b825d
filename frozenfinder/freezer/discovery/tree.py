"""What imports would find among the files of a directory: the rules of `FileFinder`, without I/O.

Of the files that could be one module, `FileFinder.find_spec` (Lib/importlib/_bootstrap_external.py)
takes a folder with an `__init__` first, then the suffixes in the order of its loaders, and a folder
without an `__init__` last. It never searches names with a dot. Files that no import finds are data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Suffix:
    """A suffix of module files: `rank` is its position in the order of the loaders."""

    rank: int
    kind: str


@dataclass(frozen=True, slots=True)
class Found:
    """A module: `path` is that of its file, or of the folder of a namespace package."""

    name: str
    path: str
    kind: str
    is_package: bool


@dataclass(slots=True)
class Listing:
    """The modules and the data files of a directory; paths are relative, with `/` separators."""

    modules: list[Found] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Folder:
    files: list[str] = field(default_factory=list)
    folders: dict[str, _Folder] = field(default_factory=dict)


def classify(paths: Iterable[str], suffixes: Mapping[str, Suffix]) -> Listing:
    """Separate modules from data among the files at `paths`, below a directory that is searched."""
    top = _Folder()
    for path in sorted(paths):
        *parents, file = path.split("/")
        folder = top
        for parent in parents:
            folder = folder.folders.setdefault(parent, _Folder())
        folder.files.append(file)
    listing = Listing()
    _classify_folder(top, "", "", suffixes, listing)
    return listing


def _classify_folder(
    folder: _Folder,
    location: str,
    package: str | None,
    suffixes: Mapping[str, Suffix],
    listing: Listing,
) -> None:
    """Add the files at `location`, in `package`; None if imports do not get there."""
    chosen = {} if package is None else _choose(folder.files, suffixes)
    packages = {tail: _choose(sub.files, suffixes) for tail, sub in folder.folders.items()}
    if not location:
        chosen.pop("__init__", None)  # the directory is searched, it is not a package
    for tail in [tail for tail in chosen if "__init__" in packages.get(tail, ())]:
        del chosen[tail]
    prefix = f"{package}." if package else ""
    for tail, file in chosen.items():
        if tail != "__init__":
            kind = _suffix(file, suffixes).kind
            listing.modules.append(Found(prefix + tail, location + file, kind, is_package=False))
    listing.files += [location + file for file in folder.files if file not in chosen.values()]
    for tail, sub in folder.folders.items():
        importable = package is not None and "." not in tail and tail not in chosen
        inside = f"{location}{tail}/"
        if importable:
            listing.modules.append(
                _find_package(prefix + tail, inside, packages[tail].get("__init__"), suffixes)
            )
        _classify_folder(sub, inside, prefix + tail if importable else None, suffixes, listing)


def _choose(files: Iterable[str], suffixes: Mapping[str, Suffix]) -> dict[str, str]:
    """The file that an import of each name would take."""
    ranked = sorted(
        (suffix.rank, file) for file in files if (suffix := suffixes.get(_split(file)[1]))
    )
    chosen: dict[str, str] = {}
    for _, file in ranked:
        chosen.setdefault(_split(file)[0], file)
    chosen.pop("", None)
    return chosen


def _find_package(
    name: str, location: str, init: str | None, suffixes: Mapping[str, Suffix]
) -> Found:
    if init is None:
        return Found(name, location[:-1], "namespace", is_package=True)
    return Found(name, location + init, _suffix(init, suffixes).kind, is_package=True)


def _suffix(file: str, suffixes: Mapping[str, Suffix]) -> Suffix:
    return suffixes[_split(file)[1]]


def _split(file: str) -> tuple[str, str]:
    tail, dot, rest = file.partition(".")
    return tail, dot + rest
