"""Marks of verified files: an unchanged file is not read again, and every change shows."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from frozenfinder.native import marks
from frozenfinder.native.cache import ExtensionCache, abi
from frozenfinder.native.folder import UnusableError
from frozenfinder.native.marks import MARKS, Marks
from frozenfinder.native.parcel import Parcel, ParcelFile

GOOD = b"the content"
FILE = ParcelFile("pkg/m.so", digest="5f" * 32, size=len(GOOD), is_library=False)
PARCEL = Parcel("6e" * 32, [FILE])


class Content:
    """What the file ought to have in it, and how often it was compared."""

    def __init__(self) -> None:
        self.compared = 0

    def prepare(self) -> None:
        pass

    def read(self) -> list[bytes]:
        return [GOOD]

    def matches(self, pieces: Iterator[bytes]) -> bool:
        self.compared += 1
        return b"".join(pieces) == GOOD


class Cache:
    """A cache of one file, that every call uses as a new process does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / abi() / PARCEL.digest / FILE.path
        self.marks = folder / abi() / MARKS

    def compare(self) -> int:
        """Have the file provided; how often it was compared with what it ought to be."""
        content = Content()
        paths = ExtensionCache(str(self.folder)).provide(PARCEL, [(FILE, content)])
        assert paths == [str(self.file)]
        assert self.file.read_bytes() == GOOD
        return content.compared


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """One whose file was just written, and is marked."""
    monkeypatch.setattr(marks, "SETTLED", -1)
    cache = Cache(tmp_path / "cache")
    assert [cache.compare() for _ in range(2)] == [0, 1]
    assert cache.marks.stat().st_mode & 0o777 == 0o600
    return cache


def test_a_marked_file_is_not_read_again(cache: Cache) -> None:
    before = cache.marks.read_bytes()
    assert [cache.compare() for _ in range(3)] == [0, 0, 0]
    assert cache.marks.read_bytes() == before


def rewrite(path: Path, content: bytes) -> None:
    """Write into the file, and give it the time that it had."""
    status = path.stat()
    path.chmod(0o700)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.chmod(status.st_mode)


def put_another(path: Path) -> None:
    """Put another file of the same size and time in its place."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(GOOD.upper())
    other.chmod(0o500)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def put_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "written to": lambda path: rewrite(path, GOOD.upper()),
    "truncated": lambda path: rewrite(path, GOOD[:-1]),
    "another file": put_another,
    "a link": put_a_link,
    "a second name": lambda path: os.link(path, path.with_name("other")),
    "writable by others": lambda path: path.chmod(0o722),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_marked_file_that_was_changed_is_replaced(
    cache: Cache, change: Callable[[Path], object]
) -> None:
    change(cache.file)
    cache.compare()
    assert [cache.compare() for _ in range(2)] == [1, 0]


def test_the_same_content_in_another_file_is_read_again(cache: Cache) -> None:
    rewrite(cache.file, GOOD)
    assert [cache.compare() for _ in range(2)] == [1, 0]


def test_a_file_that_was_only_just_written_is_not_marked(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert [cache.compare() for _ in range(2)] == [0, 1]
    assert not cache.marks.exists()


def test_a_file_that_is_changed_while_it_is_read_is_not_marked(cache: Cache) -> None:
    before = cache.file.stat()
    cache.file.chmod(0o700)
    cache.marks.unlink()
    with cache.file.open("rb") as file:
        Marks(str(cache.marks.parent)).add(FILE.digest, before, file.fileno())
    assert not cache.marks.exists()


def test_a_mark_for_another_digest_is_none(cache: Cache) -> None:
    assert not Marks(str(cache.marks.parent)).find("7d" * 32, cache.file.stat())
    assert Marks(str(cache.marks.parent)).find(FILE.digest, cache.file.stat())


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "a line that is not whole": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "no text": lambda path: path.write_bytes(b"\xff\0" + path.read_bytes()),
    "nothing in it": lambda path: path.write_bytes(b""),
    "writable by others": lambda path: path.chmod(0o666),
    "a link": put_a_link,
    "too large": lambda path: path.write_bytes(b"\n" * (marks.LIMIT + 1) + path.read_bytes()),
    "a folder": put_a_folder,
}


@pytest.mark.parametrize("change", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_marks_that_cannot_be_trusted_count_for_nothing(
    cache: Cache, change: Callable[[Path], object]
) -> None:
    change(cache.marks)
    assert cache.compare() == 1


@pytest.mark.parametrize("name", ["too large", "writable by others"])
def test_marks_that_cannot_be_used_are_begun_anew(cache: Cache, name: str) -> None:
    UNUSABLE[name](cache.marks)
    assert [cache.compare() for _ in range(2)] == [1, 0]
    assert cache.marks.read_bytes().count(b"\n") == 1


def test_marks_that_cannot_be_read_count_for_nothing(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", fail)
        assert not Marks(str(cache.marks.parent)).find(FILE.digest, cache.file.stat())
    assert cache.compare() == 0


def test_where_ctime_is_another_thing_nothing_is_marked(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows: it is the time of creation, and files have no owner that could be asked for."""
    cache.marks.unlink()
    monkeypatch.delattr(os, "geteuid")
    assert [cache.compare() for _ in range(2)] == [1, 1]
    assert not cache.marks.exists()


# -- what a marked file costs


def test_a_marked_file_costs_one_look_and_the_marks_are_read_once(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    provided = ExtensionCache(str(cache.folder))
    looked: list[str] = []
    look = os.lstat
    opened: list[str] = []
    open_file = os.open

    def note_look(path: str) -> os.stat_result:
        looked.append(path)
        return look(path)

    def note_open(path: str, *arguments: int) -> int:
        opened.append(path)
        return open_file(path, *arguments)

    provided.check()
    monkeypatch.setattr(os, "lstat", note_look)
    monkeypatch.setattr(os, "open", note_open)
    for _ in range(3):
        assert provided.provide(PARCEL, [(FILE, Content())]) == [str(cache.file)]
    assert looked == [str(cache.file)] * 3
    assert opened == [str(cache.marks)]


@pytest.mark.parametrize("mode", [0o700, 0o711])
def test_folders_below_one_that_others_can_enter_are_checked(cache: Cache, mode: int) -> None:
    """Else nobody else can reach them, whatever their permissions are."""
    cache.folder.chmod(mode)
    cache.file.parent.chmod(0o777)
    if mode == 0o700:
        assert cache.compare() == 0
        return
    with pytest.raises(UnusableError) as caught:
        cache.compare()
    assert str(caught.value) == (
        f"{str(cache.file.parent)!r} has mode 0777, expected 0700: others can write there"
    )


def test_in_a_directory_that_others_can_enter_marks_count_as_well(cache: Cache) -> None:
    cache.folder.chmod(0o755)
    assert cache.compare() == 0


def test_a_file_is_on_the_disk_before_it_is_marked(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.marks.unlink()

    def fail(descriptor: int) -> None:
        assert os.path.samestat(os.fstat(descriptor), cache.file.stat())
        assert not cache.marks.exists()
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        assert cache.compare() == 1
    assert not cache.marks.exists()
    assert [cache.compare() for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EROFS])
def test_a_file_system_that_cannot_be_written_has_the_file_on_the_disk(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    cache.marks.unlink()

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    assert [cache.compare() for _ in range(2)] == [1, 0]


def test_the_marks_of_all_parcels_are_in_one_file(cache: Cache) -> None:
    other = Parcel("7f" * 32, [FILE])
    counts = []
    for _ in range(3):
        content = Content()
        ExtensionCache(str(cache.folder)).provide(other, [(FILE, content)])
        counts.append(content.compared)
    assert counts == [0, 1, 0]
    assert cache.marks.read_bytes().count(b"\n") == 2
