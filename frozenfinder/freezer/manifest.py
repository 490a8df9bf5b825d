"""The manifest: a text file that says what to freeze, and reproduces a freeze exactly.

Each line asks for one thing; `#` at the start of a word starts a comment, and blank lines are
ignored. A folder is relative to the manifest's own.

    stdlib                  # the standard library
    stdlib-tests            # and its test packages, in the table `test`
    entry flask.cli:main    # a module and everything it imports, found statically
    recorded click          # one module, in the order in which a recorded run imported them
    pattern 2 '[a-z]+'      # a regular expression that it compiled: its flags, and its text
    text dataclasses:498 '' # a text that the module compiled: the line of the call, and the text
    package flask           # an importable package or module, with everything below it
    distribution SQLAlchemy # the files of an installed distribution
    with-dependencies       # and those of the installed distributions that it requires
    metadata click          # only the metadata of an installed distribution
    path src                # everything below a folder
    search src              # look for the named modules here first
    include-data certifi/*  # the data files whose paths relative to an item of `sys.path` match
    exclude *.tests         # leave out these names
    lay-out django          # a package whose files closed mode writes to disk
    optimize 1              # as `python -O` compiles
    strip-docstrings        # leave out docstrings
    with-source             # include the sources
    world                   # in closed mode nothing else can be imported
    lazy                    # imports wait until their names are used
    eager sqlalchemy*       # but not in the modules of these names
    check black --version   # a command that must do the same with and without that
    extensions embed        # include extension modules and shared libraries, not only their paths
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.compile.expressions import format_key, parse_key
from frozenfinder.freezer.compile.texts import format_text, parse_text


@dataclass(frozen=True, slots=True)
class Manifest:
    """What to freeze and how; `optimize` is None for the level of the running interpreter."""

    stdlib: bool = False
    stdlib_tests: bool = False
    entries: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    with_dependencies: bool = False
    metadata: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    lay_out: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    optimize: int | None = None
    strip_docstrings: bool = False
    with_source: bool = False
    world: bool = False
    lazy: bool = False
    eager: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    extensions: str = "refer"


_FLAGS = (
    "stdlib",
    "stdlib-tests",
    "with-dependencies",
    "strip-docstrings",
    "with-source",
    "world",
    "lazy",
)
_LISTS = {
    "search": "searches",
    "entry": "entries",
    "package": "packages",
    "distribution": "distributions",
    "metadata": "metadata",
    "path": "paths",
    "include-data": "data",
    "exclude": "excludes",
    "lay-out": "lay_out",
    "eager": "eager",
    "check": "checks",
    "recorded": "recorded",
    "pattern": "patterns",
    "text": "texts",
}
_LITERALS: dict[str, tuple[Callable[[str], str], str]] = {
    "pattern": (lambda argument: format_key(parse_key(argument)), "its flags"),
    "text": (lambda argument: format_text(parse_text(argument)), "a module with a line"),
}
"""The words whose arguments end with a literal: how to normalise them, and what comes first."""

_FOLDERS = ("path", "search")  # whose arguments are folders
_ORDERED = (*_FOLDERS, "recorded", "check")
_LEVELS = ("0", "1", "2")
EXTENSIONS = ("refer", "embed")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest from a file; FreezeError if it cannot be read or has an invalid line."""
    where = os.fspath(path)
    try:
        with open(where, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FreezeError(f"manifest {where!r} cannot be read: {reason}") from error
    return parse_manifest(text, os.path.dirname(os.path.abspath(where)), where)


def parse_manifest(text: str, folder: str, where: str = "<manifest>") -> Manifest:
    """Parse a manifest, with folders relative to `folder`; FreezeError for an invalid line."""
    lines = [_COMMENT.sub("", line).strip() for line in text.splitlines()]
    return merge_manifests(
        _parse_line(line, folder, f"manifest {where!r} line {number}")
        for number, line in enumerate(lines, 1)
        if line
    )


def _parse_line(line: str, folder: str, where: str) -> Manifest:
    word, *rest = line.split(maxsplit=1)
    argument = rest[0] if rest else ""
    if word in _FLAGS:
        if argument:
            raise FreezeError(f"{where}: {word!r} is followed by {argument!r}, expected nothing")
        return Manifest(**{word.replace("-", "_"): True})  # type: ignore[arg-type]
    if word == "optimize":
        if argument not in _LEVELS:
            raise FreezeError(f"{where}: {word!r} is followed by {argument!r}, expected 0, 1 or 2")
        return Manifest(optimize=int(argument))
    if word == "extensions":
        if argument not in EXTENSIONS:
            raise FreezeError(
                f"{where}: 'extensions' is followed by {argument!r}, expected refer or embed"
            )
        return Manifest(extensions=argument)
    if word not in _LISTS:
        known = ", ".join(sorted([*_FLAGS, *_LISTS, "extensions", "optimize"]))
        raise FreezeError(f"{where}: begins with {word!r}, expected one of {known}")
    if not argument:
        raise FreezeError(f"{where}: {word!r} is followed by nothing, expected an argument")
    return Manifest(**{_LISTS[word]: (_normalise(word, argument, folder, where),)})  # type: ignore[arg-type]


def _normalise(word: str, argument: str, folder: str, where: str) -> str:
    if word in _FOLDERS:
        return os.path.normpath(os.path.join(folder, argument))
    if word not in _LITERALS:
        return argument
    normalise, expected = _LITERALS[word]
    try:
        return normalise(argument)
    except (TypeError, ValueError) as error:
        raise FreezeError(
            f"{where}: {word!r} is followed by {argument!r}, expected {expected} and a literal"
        ) from error


def write_manifest(path: str | os.PathLike[str], manifest: Manifest, optimize: int) -> None:
    """Write a manifest that freezes the same, with folders relative to its own.

    FreezeError if the file cannot be written, or a value cannot be written as a line.
    """
    where = os.path.abspath(path)
    folder = os.path.dirname(where)

    def name_path(each: str) -> str:
        try:
            return os.path.relpath(each, folder).replace(os.sep, "/")
        except ValueError:  # on another drive of Windows
            return os.path.abspath(each)

    lines = format_manifest(manifest, optimize, name_path)
    for line in lines:
        if _COMMENT.sub("", line).split() != line.split() or line.splitlines() != [line]:
            raise FreezeError(f"manifest {where!r}: {line!r} cannot be written as one line")
    try:
        with open(where, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
    except (OSError, UnicodeEncodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FreezeError(f"manifest {where!r}: cannot be written: {reason}") from error


def merge_manifests(manifests: Iterable[Manifest]) -> Manifest:
    """One manifest that asks for everything in these; a later `optimize` wins."""
    merged: dict[str, object] = {}
    for manifest in manifests:
        for asked in fields(manifest):
            value = getattr(manifest, asked.name)
            if isinstance(value, tuple):
                before = merged.get(asked.name, ())
                assert isinstance(before, tuple)
                merged[asked.name] = tuple(dict.fromkeys((*before, *value)))
            elif value != asked.default:
                merged[asked.name] = value
    return Manifest(**merged)  # type: ignore[arg-type]


def format_manifest(
    manifest: Manifest, optimize: int, name_path: Callable[[str], str] = str
) -> tuple[str, ...]:
    """The lines of a manifest that freezes the same; `name_path` formats folders.

    Folders keep their order, because a search finds the first of several, and so do the modules of
    a recorded boot. Other names are sorted.
    """
    lines = [flag for flag in _FLAGS if getattr(manifest, flag.replace("-", "_"))]
    for word, attribute in _LISTS.items():
        write = name_path if word in _FOLDERS else str
        values = getattr(manifest, attribute)
        lines += [
            f"{word} {write(each)}" for each in (values if word in _ORDERED else sorted(values))
        ]
    if manifest.extensions != "refer":
        lines.append(f"extensions {manifest.extensions}")
    return (*lines, f"optimize {optimize}")
