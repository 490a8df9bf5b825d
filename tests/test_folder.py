"""A private folder: one writer at a time, nothing half done, and nothing removed that is in use."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.at_once import at_once
from support.processes import RunPython

from frozenfinder.native import folder
from frozenfinder.native.folder import (
    TEMPORARY,
    Lock,
    PrivateFolder,
    UnusableError,
    make_temporary_name,
    remove,
    remove_temporaries,
    remove_tree,
    remove_unused,
)

pytestmark = pytest.mark.usefixtures("processes")
posix_only = pytest.mark.skipif(os.name != "posix", reason="locks and forks of POSIX")
NOW = time.time() + 86_400  # later than all that the tests use


@pytest.fixture
def private(tmp_path: Path) -> PrivateFolder:
    private = PrivateFolder(str(tmp_path / "private"))
    private.check()
    return private


# -- making and checking


def test_each_folder_on_the_way_is_made_and_checked_once(private: PrivateFolder) -> None:
    path = private.make("a", "b")
    assert path == str(Path(private.path, "a", "b"))
    Path(path).chmod(0o777)
    assert private.make("a", "b") == path


@posix_only
def test_a_folder_that_is_checked_again_may_not_be_used_any_more(private: PrivateFolder) -> None:
    path = private.make("a", "b")
    Path(path).chmod(0o777)
    with pytest.raises(UnusableError) as caught:
        private.make("a", "b", check_again=True)
    assert str(caught.value) == (f"{path!r} has mode 0777, expected 0700: others can write there")


def test_threads_make_the_same_folders_at_once(private: PrivateFolder) -> None:
    for at in range(20):
        names = (f"a{at}", "b", "c")
        paths = at_once(lambda names: private.make(*names), [names] * 4)
        assert paths == [str(Path(private.path, *names))] * 4


# -- the lock


PROBE = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
try:
    os.lockf(descriptor, os.F_TLOCK, 0)
except BlockingIOError:
    print("locked")
else:
    print("free")
"""


def ask(lock: str) -> str:
    """Whether another process finds the lock file locked."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, lock], check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout.strip()


@contextmanager
def held_by_a_thread(private: PrivateFolder) -> Iterator[None]:
    """Another thread has the lock meanwhile."""
    begun, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with private.lock() as lock:
            assert lock.held
            begun.set()
            ended.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(60)
    try:
        yield
    finally:
        ended.set()
        thread.join()


@posix_only
def test_threads_of_one_process_keep_each_other_out(private: PrivateFolder) -> None:
    inside: list[int] = []

    def write(number: int) -> bool:
        with private.lock() as lock:
            inside.append(number)
            time.sleep(0.001)
            alone = inside == [number]
            inside.remove(number)
            return lock.held and alone

    for _ in range(5):
        assert at_once(write, range(8)) == [True] * 8


@posix_only
def test_a_thread_that_waits_in_vain_does_not_open_the_door_to_other_processes(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """POSIX releases all of a process's locks on a file when it closes any descriptor of it."""
    monkeypatch.setattr(folder, "PATIENCE", 0.05)
    with held_by_a_thread(private):
        with private.lock() as lock:
            assert (lock.held, lock.is_busy) == (False, True)
        assert ask(f"{private.path}/lock") == "locked"
    assert ask(f"{private.path}/lock") == "free"


@posix_only
def test_a_thread_that_has_the_lock_does_not_wait_for_itself(private: PrivateFolder) -> None:
    """As what a signal handler imports."""
    with private.lock() as lock:
        with private.lock() as inner:
            assert (inner.held, inner.is_busy) == (False, False)
        assert lock.held
        assert ask(f"{private.path}/lock") == "locked"


@posix_only
def test_an_interrupt_while_the_lock_is_taken_leaves_it_free(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "lockf", interrupt)
        with pytest.raises(KeyboardInterrupt), private.lock():
            pass
    with private.lock() as lock:
        assert lock.held


@posix_only
def test_without_a_file_for_the_lock_the_error_leaves_it_free(private: PrivateFolder) -> None:
    missing = Lock(f"{private.path}/missing")
    with pytest.raises(FileNotFoundError), missing:
        pass
    with held_by_a_thread(private):
        pass


FORKED = """
import os, sys, threading, time
from frozenfinder.native import folder
private = folder.PrivateFolder(sys.argv[1])
private.check()
begun, ended = threading.Event(), threading.Event()
def hold():
    with private.lock():
        begun.set()
        ended.wait()
thread = threading.Thread(target=hold)
thread.start()
begun.wait()
reader, writer = os.pipe()
child = os.fork()
if not child:
    os.read(reader, 1)
    folder.PATIENCE = 5
    with private.lock() as lock:
        os._exit(10 + lock.held)
ended.set()
thread.join()
os.write(writer, b".")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@posix_only
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_while_a_thread_had_the_lock_gets_it(
    private: PrivateFolder, run_python: RunPython
) -> None:
    assert run_python(FORKED, private.path).stdout == "11\n"


# -- temporaries


def test_a_process_leaves_its_own_temporaries_alone(private: PrivateFolder) -> None:
    own = Path(make_temporary_name(f"{private.path}/own"))
    own.write_text("half")
    for name in ("file.0123.1", "folder.0123.2"):
        Path(private.path, f"{name}{TEMPORARY}").write_text("half")
    remove_temporaries(private.path)
    assert list(Path(private.path).iterdir()) == [own]


def test_a_folder_that_is_removed_has_another_name_at_once(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever fills it does not end with a half of it."""
    path = private.make("package")
    Path(path, "file").write_text("content")
    seen: list[bool] = []
    unlink = os.unlink

    def look(file: str) -> None:
        seen.append(Path(path).exists())
        unlink(file)

    monkeypatch.setattr(os, "unlink", look)
    assert remove(path)
    assert seen == [False]
    assert not [*Path(private.path).iterdir()]


def test_a_folder_is_removed_with_all_that_is_in_it(private: PrivateFolder, tmp_path: Path) -> None:
    """Links are not followed."""
    tmp_path.joinpath("kept").mkdir()
    tmp_path.joinpath("kept", "file").write_text("content")
    path = private.make("package", "inner", "empty")
    Path(path, "..", "file").write_text("content")
    Path(path, "..", "link").symlink_to(tmp_path / "kept")
    Path(path, "..", "nowhere").symlink_to(tmp_path / "missing")
    remove_tree(f"{private.path}/package")
    assert not [*Path(private.path).iterdir()]
    assert [*tmp_path.joinpath("kept").iterdir()] == [tmp_path / "kept" / "file"]


def test_what_cannot_be_removed_from_a_folder_is_left(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = private.make("package")
    for name in ("one", "two"):
        Path(path, name).write_text("content")
    unlink = os.unlink

    def refuse_one(file: str) -> None:
        if file.endswith("one"):
            raise PermissionError(13, "Permission denied", file)
        unlink(file)

    monkeypatch.setattr(os, "unlink", refuse_one)
    remove_tree(path)
    assert [each.name for each in Path(path).iterdir()] == ["one"]


@pytest.mark.parametrize(("mode", "is_closed"), [(0o700, True), (0o744, True), (0o755, False)])
def test_a_folder_is_closed_if_others_cannot_enter_it(
    private: PrivateFolder, mode: int, is_closed: bool
) -> None:
    private.make()
    Path(private.path).chmod(mode)
    private.make(check_again=True)
    assert private.is_closed == is_closed


def test_what_cannot_be_removed_stays(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = private.make("package")

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "rename", refuse)
    assert not remove(path)
    assert list(Path(private.path).iterdir()) == [Path(path)]
    assert remove(f"{path}/missing")


# -- folders in use


USING = """
import os, sys
from frozenfinder.native.folder import PrivateFolder
print(PrivateFolder(sys.argv[1]).use("data", "x"), flush=True)
if "--fork" in sys.argv and os.fork():
    os._exit(0)
sys.stdin.read()
"""


def start(private: PrivateFolder, *options: str) -> "subprocess.Popen[str]":
    """A process that uses a folder until its input ends."""
    command = [sys.executable, "-c", USING, private.path, *options]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8")
    assert process.stdout is not None
    assert process.stdout.readline() == f"{Path(private.path, 'data', 'x')}\n"
    return process


def wait_until_removed(path: str) -> None:
    """The kernel may need a moment to see that a process has ended."""
    for _ in range(1000):
        if remove_unused(path, NOW):
            return
        time.sleep(0.01)
    pytest.fail(f"{path} is still in use")


@posix_only
@pytest.mark.parametrize("options", [(), ("--fork",)], ids=["itself", "its fork"])
def test_a_folder_stays_while_a_process_uses_it(
    private: PrivateFolder, options: tuple[str, ...]
) -> None:
    path = private.make("data", "x")
    process = start(private, *options)
    if options:
        assert process.wait(60) == 0
    assert not remove_unused(path, NOW)
    assert Path(path).is_dir()
    process.communicate(timeout=60)
    wait_until_removed(path)
    assert not Path(path).exists()


@posix_only
def test_a_folder_that_was_used_lately_stays(private: PrivateFolder) -> None:
    path = private.make("data")
    assert not remove_unused(path, time.time() - 60)
    assert remove_unused(path, NOW)


@posix_only
def test_threads_use_a_folder_at_once(private: PrivateFolder) -> None:
    paths = at_once(lambda _: private.use("data", "threads"), range(8))
    assert paths == [str(Path(private.path, "data", "threads"))] * 8
    assert not remove_unused(paths[0], NOW)


@posix_only
def test_a_folder_is_used_again_after_the_program_closed_its_descriptor(
    private: PrivateFolder,
) -> None:
    path = private.use("data")
    os.close(folder._used[path])
    assert remove_unused(path, NOW)
    assert private.use("data") == path
    assert not remove_unused(path, NOW)


@posix_only
def test_a_folder_that_is_being_removed_is_made_anew(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the lock."""
    fcntl = pytest.importorskip("fcntl")
    take = fcntl.flock
    taken: list[bool] = []

    def be_late(descriptor: int, operation: int) -> None:
        if not taken:
            taken.append(remove(f"{private.path}/data"))
        take(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", be_late)
    path = private.use("data")
    assert taken == [True]
    assert not remove_unused(path, NOW)


@posix_only
def test_a_folder_that_vanishes_before_it_is_opened_is_made_anew(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, left = PrivateFolder.make, ["once"]

    def vanish(self: PrivateFolder, *names: str, check_again: bool = False) -> str:
        path = make(self, *names, check_again=check_again)
        if left:
            left.pop()
            remove(path)
        return path

    monkeypatch.setattr(PrivateFolder, "make", vanish)
    assert not remove_unused(private.use("data"), NOW)


@posix_only
def test_a_folder_that_is_removed_all_the_time_is_not_used(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UnusableError) as caught:
        private.use("data")
    path = f"{private.path}/data"
    assert str(caught.value) == f"{path!r} was removed by other processes while it was used"


@posix_only
def test_an_interrupt_while_a_folder_is_locked_leaves_no_descriptor(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    opened: list[int] = []

    def interrupt(descriptor: int, _: int) -> None:
        opened.append(descriptor)
        raise KeyboardInterrupt

    monkeypatch.setattr(fcntl, "flock", interrupt)
    with pytest.raises(KeyboardInterrupt):
        private.use("data")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


@posix_only
@pytest.mark.parametrize("reason", ["no module", "no locks"])
def test_without_locks_the_day_of_the_last_use_decides(
    private: PrivateFolder, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    if reason == "no module":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:
        fcntl = pytest.importorskip("fcntl")
        monkeypatch.setattr(fcntl, "flock", lambda *_: os.close(-1))
    path = private.use("data")
    assert not remove_unused(path, time.time() - 60)
    assert remove_unused(path, NOW)
