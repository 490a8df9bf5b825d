"""`frozenfinder diff`: what it tells of two registries, and its exit status."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from test_cli import (
    FILES,
    Cli,
    answer,
    assert_refused,
    find_keys,
    read_terms,
    write_files,
)

Freeze = Callable[..., Path]


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    return write_files(tmp_path / "lib", FILES)


@pytest.fixture
def freeze(cli: Cli, lib: Path) -> Freeze:
    """Freeze the files as they are, to a file of that name."""

    def call(name: str, *options: str) -> Path:
        path = lib.parent / f"{name}.frz"
        done = cli("freeze", "--path", lib, "-o", path, *options)
        assert (done.returncode, done.stderr) == (0, "")
        return path

    return call


def touch(path: Path, seconds: int) -> None:
    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + seconds * 10**9))


def test_registries_that_hold_the_same_do_not_differ(cli: Cli, freeze: Freeze) -> None:
    done = cli("diff", freeze("a"), freeze("b"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_changed_is_told_by_name(cli: Cli, freeze: Freeze, lib: Path) -> None:
    a = freeze("a", "--with-source")
    (lib / "m.py").write_text("VALUE = 12\n")
    (lib / "new.py").touch()
    (lib / "package" / "part.py").unlink()
    (lib / "package" / "data.txt").write_text("more data\n")
    touch(lib / "package" / "__init__.py", 10)
    b = freeze("b", "--with-source")
    found = answer(cli("diff", "--json", a, b), status=1)
    assert (found["before"], found["after"], found["facts"]) == (str(a), str(b), [])
    assert {each["name"]: each["how"] for each in found["modules"]} == {
        "m": ["code", "source"],
        "new": ["added"],
        "package": ["stamp"],
        "package.part": ["removed"],
    }
    assert found["files"] == [
        {"name": "package/data.txt", "how": ["content"], "before": 5, "after": 10}
    ]
    keys = {key.replace("files[]", "modules[]") for key in find_keys(found)}
    assert keys == {term for term in read_terms("diff") if term.islower() and term[0] != "-"}


def test_a_line_tells_of_each_change(cli: Cli, freeze: Freeze, lib: Path) -> None:
    a = freeze("a")
    (lib / "package" / "data.txt").unlink()
    (lib / "package" / "page.html").write_text("<p>")
    b = freeze("b")
    done = cli("diff", a, b)
    sizes = a.stat().st_size, b.stat().st_size
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "- package/data.txt (5 bytes)",
        "+ package/page.html (3 bytes)",
        f"1 added, 1 removed, 0 changed; {sizes[0]} -> {sizes[1]} bytes ({sizes[1] - sizes[0]:+})",
    ]


def test_what_is_said_of_the_whole_differs_too(cli: Cli, freeze: Freeze) -> None:
    a, b = freeze("a"), freeze("b", "--world", "-O", "1")
    found = answer(cli("diff", "--json", a, b), status=1)
    assert found["facts"] == [
        ["optimisation level", 0, 1],
        ["world", False, True],
        ["asked for", ["optimize 0"], ["world", "optimize 1"]],
    ]


def test_what_is_no_registry_is_refused(cli: Cli, freeze: Freeze, lib: Path) -> None:
    path = lib / "m.py"
    assert_refused(
        cli("diff", freeze("a"), path),
        f"registry {str(path)!r}: has 10 bytes, a registry has at least 320",
    )
