"""Tracing: run a command, and record what it and its children import, open and request.

Nothing else in a freeze executes code of the program. `recorder` runs in the traced processes.
"""

from __future__ import annotations

import ast
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from frozenfinder.closed.paths import METADATA_SUFFIXES
from frozenfinder.errors import FreezeError
from frozenfinder.freezer.compile.expressions import Key, format_key
from frozenfinder.freezer.compile.texts import Key as TextKey
from frozenfinder.freezer.compile.texts import format_text
from frozenfinder.freezer.discovery.search import Search
from frozenfinder.freezer.discovery.specs import climb
from frozenfinder.freezer.manifest import Manifest
from frozenfinder.freezer.plan import path_below

from . import recorder

_UNSEEN = "it has another version, or was started with -I, -E, -S or another PYTHONPATH"
_LIBRARIES = (".so", ".pyd", ".dll", ".dylib")


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded run; items are in the order of their first occurrence, process after process.

    `modules` are (name, file) pairs, for a namespace package (name, None); those that were loaded
    before the recorder come last. `opened` are paths that were opened for reading, existing or not.
    `distributions` are names whose metadata was requested. `unseen` are the command lines of
    interpreters that could not be recorded. `patterns` are the texts and flags of compiled regular
    expressions. `texts` are what modules compiled from text while something was imported.
    """

    modules: tuple[tuple[str, str | None], ...] = ()
    opened: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    patterns: tuple[Key, ...] = ()
    texts: tuple[TextKey, ...] = ()


def trace(command: Sequence[str]) -> Recording:
    """Run a command, and record it; its output goes to stderr.

    FreezeError if it cannot be started, fails, or runs no interpreter like this one.
    """
    shown = shlex.join(command)
    # a process that outlives the command, such as multiprocessing's, may still write its record
    with tempfile.TemporaryDirectory(
        prefix="frozenfinder-trace-", ignore_cleanup_errors=True
    ) as folder:
        home = Path(folder).resolve() / "site"
        home.mkdir()
        source = Path(recorder.__file__).read_bytes()
        (home / f"{recorder.NAME}.py").write_bytes(source)
        searched = [str(home), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(searched),
            "FROZENFINDER": "off",  # modules from a registry may have no file
        }
        try:
            done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
        except OSError as error:
            raise FreezeError(
                f"trace {shown!r}: cannot be started: {error.strerror or error}"
            ) from error
        if done.returncode:
            raise FreezeError(
                f"trace {shown!r}: {describe_status(done.returncode)}, expected exit status 0; "
                "nothing was written"
            )
        return _read(home.parent, shown)


def describe_status(status: int) -> str:
    """How a process ended, from its exit status: that, or the signal it died of."""
    if status > 0:
        return f"ended with exit status {status}"
    try:
        return f"died of {signal.Signals(-status).name}"
    except ValueError:
        return f"died of signal {-status}"


def _read(folder: Path, shown: str) -> Recording:
    notes: dict[str, dict[tuple[object, ...], None]] = {}
    tags = set()
    for file in sorted(folder.glob("*.txt")):
        lines = list(_parse(file.read_text("ascii", "replace")))
        about = next((what for kind, *what in lines if kind == "process"), [])
        tags.update(about[:1])
        if about[:1] != [sys.implementation.cache_tag]:
            lines = [("unseen", *about[2:])]
        for kind, *what in lines:
            notes.setdefault(str(kind), {}).setdefault(tuple(what))
    if sys.implementation.cache_tag not in tags:
        found = f"only {', '.join(sorted(map(str, tags)))}" if tags else "no interpreter"
        raise FreezeError(
            f"trace {shown!r}: {found} could be recorded, expected "
            f"{sys.implementation.cache_tag}, started without -I, -E and -S"
        )
    return _make_recording(notes)


def _parse(text: str) -> Iterator[tuple[object, ...]]:
    """The notes of a process; if it was killed, the last one may be incomplete and is ignored."""
    for line in text.splitlines():
        with suppress(ValueError, SyntaxError):
            yield ast.literal_eval(line)


def _make_recording(notes: dict[str, dict[tuple[object, ...], None]]) -> Recording:
    modules: dict[str, str | None] = {}
    for kind in ("import", "loaded", "before"):
        for name, origin in notes.get(kind, ()):
            modules.setdefault(str(name), None if origin is None else str(origin))
    return Recording(
        modules=tuple(modules.items()),
        opened=tuple(str(path) for (path,) in notes.get("open", ())),
        distributions=tuple(str(name) for (name,) in notes.get("distribution", ()) if name),
        patterns=tuple((text, int(str(flags))) for text, flags in notes.get("pattern", ())),  # type: ignore[misc]
        texts=tuple(
            (str(module), int(str(line)), str(text)) for module, line, text in notes.get("text", ())
        ),
        unseen=tuple(shlex.join(map(str, words)) for words in notes.get("unseen", ())),
    )


# -- from a recording to a manifest


def name_recorded(
    recording: Recording, search_path: Sequence[str]
) -> tuple[Manifest, tuple[str, ...]]:
    """A manifest that asks for everything recorded, and sentences about what it cannot ask for.

    Folders with recorded modules that `search_path` lacks are searched first.
    """
    # deferred: `packaging` and importlib.metadata are slow to import, and only traces need them
    from packaging.utils import canonicalize_name

    from frozenfinder.freezer.discovery.distributions import has_metadata

    known = Search(search_path)
    modules: dict[str, str | None] = {}
    for name, origin in recording.modules:
        modules.setdefault(name, origin)  # of two files with one name, the first counts
    located = {name: _find_top(name, origin) for name, origin in modules.items() if origin}
    tops = {top: None for top in located.values() if top and top not in known.directories}
    search = Search([*tops, *known.directories])
    names, complaints = [], []
    for name, origin in modules.items():
        found = [spec.origin for spec in search.find(name)]
        if not found:
            complaints.append(
                f"{name}: was imported from {origin!r}, where a search does not find it"
            )
        elif origin is not None and found[0] != origin and not _is_same(found[0], origin):
            complaints.append(
                f"{name}: was imported from {origin!r}, but a search finds {found[0]!r}"
            )
        else:
            names.append(name)
    data, asked = _sort_opened(recording.opened, search, {n.partition(".")[0] for n in names})
    metadata = [
        name
        for name in dict.fromkeys(map(canonicalize_name, (*asked, *recording.distributions)))
        if has_metadata(name, search.directories)
    ]
    unseen = [f"{words}: was not recorded: {_UNSEEN}" for words in recording.unseen]
    manifest = Manifest(
        recorded=tuple(names),
        searches=tuple(tops),
        data=tuple(data),
        metadata=tuple(metadata),
        patterns=tuple(map(format_key, recording.patterns)),
        texts=tuple(map(format_text, recording.texts)),
    )
    return manifest, (*complaints, *unseen)


def _find_top(name: str, origin: str) -> str | None:
    """The folder in which a search for the module's name ends at its file, or None."""
    is_package = os.path.basename(origin).partition(".")[0] == "__init__"
    top = climb(origin, name.count(".") + 1 + is_package)
    below = (path_below(origin, top) or "").partition(".")[0]
    expected = name.replace(".", "/") + ("/__init__" if is_package else "")
    return top if below == expected else None


def _is_same(found: str | None, origin: str) -> bool:
    return found is not None and os.path.realpath(found) == os.path.realpath(origin)


def _sort_opened(
    opened: Iterable[str], search: Search, tops: set[str]
) -> tuple[list[str], list[str]]:
    """The data files of packages among the paths, as globs, and the distributions of metadata."""
    data: dict[str, None] = {}
    metadata: dict[str, None] = {}
    for path in opened:
        if path.endswith(_LIBRARIES) or not os.path.isfile(path):
            continue
        for directory in search.directories:
            below = path_below(path, directory)
            top = (below or "").partition("/")[0]
            if below is None or top == below:
                continue
            if top.endswith(METADATA_SUFFIXES):
                metadata[top.rpartition(".")[0].partition("-")[0]] = None
            elif top in tops:
                data[_escape(below)] = None
    return list(data), list(metadata)


def _escape(path: str) -> str:
    """A glob that matches only this path."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)
