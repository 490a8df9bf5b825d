"""The manifest: what a freeze is asked for, as a text file that reproduces it exactly.

One line asks for one thing; `#` at the start of a word starts a comment, and blank lines are
nothing. A folder is relative to the manifest's own.

    stdlib                  # the standard library
    stdlib-tests            # and its test packages, in the table `test`
    entry flask.cli:main    # what a module imports, as far as the code says, and what that imports
    recorded click          # one module, in the order in which a recorded run imported them
    pattern 2 '[a-z]+'      # a regular expression that it compiled: its flags, and its text
    package flask           # a package or module that can be imported, with everything below it
    distribution SQLAlchemy # the files of an installed distribution
    with-dependencies       # and those of the installed distributions that it requires
    metadata click          # the metadata alone of an installed distribution
    path src                # everything below a folder
    search src              # look here first for what is named
    include-data certifi/*  # the data files whose paths below a folder of `sys.path` match
    exclude *.tests         # but nothing of these names
    lay-out django          # a package that closed mode has to give real files
    optimize 1              # as `python -O` compiles
    strip-docstrings        # no docstrings
    with-source             # the sources too
    world                   # in closed mode nothing else can be imported
    extensions embed        # extension modules and shared libraries too, not only where they are
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.compile.expressions import format_key, parse_key


@dataclass(frozen=True, slots=True)
class Manifest:
    """What to freeze and how; `optimize` is None for the level of the interpreter that freezes."""

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
    optimize: int | None = None
    strip_docstrings: bool = False
    with_source: bool = False
    world: bool = False
    extensions: str = "refer"


_FLAGS = (
    "stdlib",
    "stdlib-tests",
    "with-dependencies",
    "strip-docstrings",
    "with-source",
    "world",
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
    "recorded": "recorded",
    "pattern": "patterns",
}
_FOLDERS = ("path", "search")  # whose arguments are folders
_ORDERED = (*_FOLDERS, "recorded")
_LEVELS = ("0", "1", "2")
EXTENSIONS = ("refer", "embed")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest from a file; FreezeError where it cannot be read or does not say how."""
    where = os.fspath(path)
    try:
        with open(where, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FreezeError(f"manifest {where!r} cannot be read: {reason}") from error
    return parse_manifest(text, os.path.dirname(os.path.abspath(where)), where)


def parse_manifest(text: str, folder: str, where: str = "<manifest>") -> Manifest:
    """The manifest that `text` is, with folders relative to `folder`; FreezeError as above."""
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
    if word != "pattern":
        return argument
    try:
        return format_key(parse_key(argument))
    except (TypeError, ValueError) as error:
        raise FreezeError(
            f"{where}: 'pattern' is followed by {argument!r}, expected its flags and a literal"
        ) from error


def write_manifest(path: str | os.PathLike[str], manifest: Manifest, optimize: int) -> None:
    """Write a manifest that asks for the same, folders relative to its own.

    FreezeError where it cannot be written, or cannot say what is asked for.
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
    """One manifest that asks for all that these ask for; a later `optimize` wins."""
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
    """The lines of a manifest that asks for the same; `name_path` says how folders are written.

    Folders keep their order, in which a search finds what lies in several, and so does a recorded
    boot. That of other names says nothing.
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
