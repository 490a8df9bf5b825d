"""The manifest: its lines, its errors, and the way there and back."""

from pathlib import Path

import pytest

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.manifest import (
    Manifest,
    format_manifest,
    merge_manifests,
    parse_manifest,
    read_manifest,
)

WORDS = (
    "check, distribution, eager, entry, exclude, extensions, include-data, lay-out, lazy, "
    "metadata, optimize, package, path, pattern, recorded, search, stdlib, stdlib-tests, "
    "strip-docstrings, text, with-dependencies, with-source, world"
)
EVERYTHING = """\
# an application
stdlib
stdlib-tests
package flask   # by its import name
package  rich

distribution SQLAlchemy
with-dependencies
path src
path my#folder
search lib
entry app.cli:main
recorded app.plugins
metadata rich
include-data app/*.txt
lay-out app
exclude *.tests
optimize 2
strip-docstrings
with-source
world
lazy
eager app.events
check app --version
check app --help
"""


def test_every_line_asks_for_one_thing() -> None:
    assert parse_manifest(EVERYTHING, "/app") == Manifest(
        stdlib=True,
        stdlib_tests=True,
        packages=("flask", "rich"),
        distributions=("SQLAlchemy",),
        with_dependencies=True,
        paths=("/app/src", "/app/my#folder"),
        searches=("/app/lib",),
        entries=("app.cli:main",),
        recorded=("app.plugins",),
        metadata=("rich",),
        data=("app/*.txt",),
        lay_out=("app",),
        excludes=("*.tests",),
        optimize=2,
        strip_docstrings=True,
        with_source=True,
        world=True,
        lazy=True,
        eager=("app.events",),
        checks=("app --version", "app --help"),
    )


def test_an_empty_manifest_asks_for_nothing() -> None:
    assert parse_manifest("\n  # nothing\n", "/app") == Manifest()


def test_a_manifest_is_written_as_it_is_read() -> None:
    manifest = parse_manifest(EVERYTHING, "/app")
    lines = format_manifest(manifest, 2)
    assert parse_manifest("\n".join(lines), "/elsewhere") == manifest


def test_folders_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "app.txt").write_text("path ../lib\n")
    manifest = read_manifest(tmp_path / "app.txt")
    assert manifest.paths == (str(tmp_path.parent / "lib"),)


def test_manifests_add_up_and_the_last_level_counts() -> None:
    merged = merge_manifests(
        [
            Manifest(stdlib=True, packages=("a", "b"), optimize=1),
            Manifest(packages=("b", "c"), optimize=0),
            Manifest(world=True),
        ]
    )
    assert merged == Manifest(stdlib=True, packages=("a", "b", "c"), optimize=0, world=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "stdlib\nflask\n",
            f"manifest 'app.txt' line 2: begins with 'flask', expected one of {WORDS}",
        ),
        (
            "package # which?",
            "manifest 'app.txt' line 1: 'package' is followed by nothing, expected an argument",
        ),
        ("world 1", "manifest 'app.txt' line 1: 'world' is followed by '1', expected nothing"),
        (
            "optimize",
            "manifest 'app.txt' line 1: 'optimize' is followed by '', expected 0, 1 or 2",
        ),
        (
            "optimize 3",
            "manifest 'app.txt' line 1: 'optimize' is followed by '3', expected 0, 1 or 2",
        ),
    ],
)
def test_a_line_that_is_not_understood_is_named(text: str, complaint: str) -> None:
    with pytest.raises(FreezeError) as caught:
        parse_manifest(text, "/app", "app.txt")
    assert str(caught.value) == complaint


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(FreezeError) as caught:
        read_manifest(missing)
    assert str(caught.value) == f"manifest {missing!r} cannot be read: No such file or directory"
    (tmp_path / "latin").write_bytes(b"path caf\xe9\n")
    with pytest.raises(FreezeError, match="cannot be read: 'utf-8' codec can't decode byte 0xe9"):
        read_manifest(tmp_path / "latin")
