"""The cache of extension modules: written once, verified always, whatever its directory is."""

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from socket import AF_UNIX, socket
from tempfile import TemporaryDirectory

import pytest
from support.at_once import at_once
from support.compiled import SUFFIX, compile_c, embedded, files_below
from support.families import LIBRARIES, LOAD, MODULES, Family
from support.processes import TESTS
from support.registries import build_registry

from frozenfinder.cli.cache import find_obstacle
from frozenfinder.native.cache import ExtensionCache, abi
from frozenfinder.native.folder import TEMPORARY, UnusableError, default_directory, make_folder
from frozenfinder.native.parcel import Parcel, ParcelFile

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NOBODY = 65534
FILES = sorted([*MODULES, *LIBRARIES])


# -- the default directory


def test_the_directory_is_below_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/users/somebody")
    assert default_directory(None) == "/users/somebody/.cache/frozenfinder"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/to/what")
    assert default_directory(None) == "/users/somebody/.cache/frozenfinder"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/somebody")
    assert default_directory("") == "/var/somebody/frozenfinder"
    assert default_directory("/elsewhere") == "/elsewhere"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "nowhere")
    assert default_directory(None) is None


def test_the_environment_is_not_read_in_isolated_mode(family: Family, tmp_path: Path) -> None:
    env = {"FROZENFINDER_CACHE": str(family.cache), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    family.python("-E", "-c", LOAD, family.registry, env=env)
    assert not family.cache.exists()
    assert (tmp_path / "xdg" / "frozenfinder" / abi()).is_dir()


# -- what lies where


def test_files_are_laid_out_as_they_were(family: Family) -> None:
    called, *_ = family.run()
    assert called == f"101 201 {family.first}"
    assert family.files == FILES
    assert sorted(path.name for path in family.cache.iterdir()) == [abi(), "lock"]


def test_what_is_in_the_cache_is_the_users_own(family: Family) -> None:
    family.load()
    for at, folders, names in os.walk(family.cache):
        for name in folders:
            assert stat.S_IMODE((Path(at) / name).lstat().st_mode) == 0o700
        for name in names:
            status = (Path(at) / name).lstat()
            assert not status.st_mode & 0o077
            assert status.st_nlink == 1
    assert stat.S_IMODE(family.cache.stat().st_mode) == 0o700


def test_the_next_process_writes_no_file_again(family: Family) -> None:
    family.load()
    before = [(family.home / file).stat() for file in FILES]
    family.load()
    after = [(family.home / file).stat() for file in FILES]
    assert [(each.st_ino, each.st_ctime_ns) for each in after] == [
        (each.st_ino, each.st_ctime_ns) for each in before
    ]


# -- many processes


READY = LOAD.replace(
    "import family.first", "print(flush=True); sys.stdin.read()\nimport family.first"
)


def test_fifty_processes_on_an_empty_cache_all_succeed(family: Family) -> None:
    processes = [family.start(READY) for _ in range(50)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
    for process in processes:  # all wait for the end of their input
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    outcomes = {process.communicate(timeout=120) for process in processes}
    assert outcomes == {(f"101 201 {family.first}\n\n", "")}
    assert family.files == FILES
    assert list((family.cache / abi()).iterdir()) == [family.home]


THREADS = """
import sys, threading, importlib, frozenfinder
finder = frozenfinder.install(sys.argv[1], mode="closed")
import family
barrier = threading.Barrier(16)
def load(name):
    barrier.wait()
    importlib.import_module(name)
names = [f"family.{name}" for name in ("first", "second")] * 8
threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(family.first.call(), family.second.call(), finder.extractor.in_memory)
"""


def test_threads_of_one_process_extract_at_once(family: Family) -> None:
    for _ in range(5):
        assert family.run(THREADS) == ["101 201 {}"]
        assert family.files == FILES
        shutil.rmtree(family.cache)


KILLED = """
import importlib, os, shutil, signal, sys
registry, here, name, step = sys.argv[1:]
sys.path.insert(0, here)
import fcntl, _hashlib, frozenfinder, frozenfinder.native.extraction
from frozenfinder.native import cache
from frozenfinder.native import folder, marks
from support.interrupts import Tracer
marks.SETTLED = -1
finder = frozenfinder.install(registry, mode="closed")
importlib.import_module(name.rpartition(".")[0] or "sys")
directory = os.environ["FROZENFINDER_CACHE"]
functions = [  # those that change something
    cache.ExtensionCache.provide,
    cache.ExtensionCache.check,
    cache._write,
    folder.PrivateFolder.check,
    folder.PrivateFolder.make,
    folder.Lock.__enter__,
    folder.Lock._lock_file,
    folder.Lock._release,
    folder.make_folder,
    folder.note_use,
    folder.remove_temporaries,
    folder.remove,
    marks.Marks.add,
]
codes = {function.__code__ for function in functions}

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def in_a_child(function):
    child = os.fork()
    if not child:
        try:
            function()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def killed():
    with Tracer(nth, die, codes, opcodes=False):
        importlib.import_module(name)
    os._exit(0)

def complete():
    importlib.import_module(name)
    assert not finder.extractor.in_memory
    assert not [name for at, _, names in os.walk(directory) for name in names if "tmp" in name]
    os._exit(0)

nth = 0
while (status := in_a_child(killed)) == -signal.SIGKILL:
    assert in_a_child(complete) == 0, nth
    shutil.rmtree(directory, ignore_errors=True)
    nth += int(step)
assert status == 0, status
print(nth)
"""


def count_kills(family: Family, module: str, step: int) -> int:
    """Kill a process at every `step`th line of an extraction, and have the next one complete it."""
    (points,) = family.run(KILLED, str(TESTS), module, str(step))
    return int(points)


def test_a_process_killed_at_any_line_leaves_the_next_one_in_order(
    family: Family, tmp_path: Path
) -> None:
    compile_c("variants.c", tmp_path / f"multi{SUFFIX}")
    registry = tmp_path / "multi.frz"
    registry.write_bytes(build_registry(embedded("multi", tmp_path, f"multi{SUFFIX}")))
    assert count_kills(replace(family, registry=registry), "multi", 1) > 80


def test_a_process_killed_between_files_leaves_the_next_one_in_order(family: Family) -> None:
    assert count_kills(family, "family.first", 11) > 200


# -- files that are not what they should be


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    rewrite(path, bytes(content))


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o700)
    path.write_bytes(content)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "another byte": flip,
    "truncated": lambda path: rewrite(path, path.read_bytes()[:-1]),
    "longer": lambda path: rewrite(path, path.read_bytes() + b"\0"),
    "empty": lambda path: rewrite(path, b""),
    "a hard link": lambda path: os.link(path, path.with_suffix(".other")),
    "a symbolic link": replace_by_link,
    "a pipe": replace_by_pipe,
    "writable by others": lambda path: path.chmod(0o722),
}
if IS_ROOT:
    DAMAGE["another user's"] = lambda path: os.chown(path, NOBODY, NOBODY)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("file", ["family/first" + SUFFIX, "family.libs/libinnermost.so.1"])
def test_a_file_that_is_not_intact_is_replaced(
    family: Family, file: str, damage: Callable[[Path], object]
) -> None:
    family.load()
    path = family.home / file
    content = path.read_bytes()
    damage(path)
    assert family.load() == []
    assert path.read_bytes() == content
    assert path.lstat().st_nlink == 1
    assert stat.S_ISREG(path.lstat().st_mode)


def test_a_mapped_file_is_not_written_to(family: Family) -> None:
    code = LOAD + "sys.stdout.flush(); sys.stdin.read(); print(family.first.call())"
    running = family.start(code)
    assert running.stdout is not None
    assert running.stdout.readline().startswith("101 201 ")
    inode = family.first.stat().st_ino
    family.first.chmod(0o722)
    assert family.load() == []
    assert family.first.stat().st_ino != inode
    output, _ = running.communicate(timeout=60)
    assert output.split() == ["301"]


def test_a_directory_in_a_files_place_is_in_the_way(family: Family) -> None:
    family.load()
    family.first.unlink()
    family.first.mkdir()
    (reason,) = family.load()
    assert reason.startswith("('family.first', \"Is a directory: ")


class Content:
    """That of a file `m.so`, whatever its digest."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def prepare(self) -> None:
        pass

    def read(self) -> list[bytes]:
        return [self.content[:2], self.content[2:]]

    def matches(self, pieces: Iterator[bytes]) -> bool:
        return b"".join(pieces) == self.content


def provide(folder: Path, content: bytes) -> str:
    file = ParcelFile("m.so", digest="5f" * 32, size=len(content), is_library=False)
    cache = ExtensionCache(str(folder))
    return cache.provide(Parcel("6e" * 32, [file]), [(file, Content(content))])[0]


def test_a_file_that_another_process_was_first_to_load_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a file that is loaded cannot be replaced."""
    replace_file = os.replace

    def be_late(source: str, target: str) -> None:
        replace_file(source, target)
        raise PermissionError(13, "Permission denied", target)

    monkeypatch.setattr(os, "replace", be_late)
    path = provide(tmp_path / "cache", b"content")
    assert Path(path).read_bytes() == b"content"


def test_a_file_that_cannot_be_replaced_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(13, "Permission denied", target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        provide(tmp_path / "cache", b"content")
    assert files_below(tmp_path / "cache") == ["lock"]


@pytest.mark.parametrize("reason", ["no such call", "no locks"])
def test_without_locks_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    if reason == "no such call":
        monkeypatch.delattr(os, "lockf")
    else:
        monkeypatch.setattr(os, "lockf", lambda *_: os.open(tmp_path, os.O_WRONLY))
    assert Path(provide(tmp_path / "cache", b"content")).read_bytes() == b"content"


def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "lockf", refuse)
    monkeypatch.setattr("frozenfinder.native.folder.PATIENCE", 0.05)
    assert Path(provide(tmp_path / "cache", b"content")).read_bytes() == b"content"


def test_a_file_that_is_changed_all_the_time_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file = os.replace

    def put_another(source: str, target: str) -> None:
        other = tmp_path / "other"
        other.write_bytes(b"y")
        other.chmod(0o500)
        replace_file(source, target)
        replace_file(other, target)

    monkeypatch.setattr(os, "replace", put_another)
    file = ParcelFile("m.so", digest="5f" * 32, size=1, is_library=False)
    cache = ExtensionCache(str(tmp_path / "cache"))
    parcel = Parcel("6e" * 32, [file])
    path = str(cache.locate(parcel, file))
    with pytest.raises(UnusableError) as caught:
        cache.provide(parcel, [(file, Content(b"x"))])
    assert str(caught.value) == f"{path!r} was changed by other processes while it was written"


# -- directories that cannot be used


def give_away(path: Path) -> None:
    if not IS_ROOT:
        pytest.skip("only root can give a directory to another user")
    os.chown(path, NOBODY, NOBODY)


def put_a_link(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def put_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


MODES = "others can write there"
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "another user's": (give_away, "'{0}' is owned by uid 65534, expected uid 0"),
    "writable by everybody": (
        lambda path: path.chmod(0o777),
        "'{0}' has mode 0777, expected 0700: " + MODES,
    ),
    "writable by the group": (
        lambda path: path.chmod(0o770),
        "'{0}' has mode 0770, expected 0700: " + MODES,
    ),
    "a symbolic link": (put_a_link, "'{0}' is a symbolic link, expected a directory"),
    "a file": (put_a_file, "'{0}' is a file, expected a directory"),
}


def loaded_from_memory(family: Family, reason: str) -> None:
    reason = reason.format(family.cache, abi())
    assert family.load() == [str((name, reason)) for name in ("family.first", "family.second")]


@pytest.mark.parametrize(("change", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_modules_are_loaded_from_memory_where_the_cache_is(
    family: Family, change: Callable[[Path], object], reason: str
) -> None:
    family.load()
    change(family.cache)
    loaded_from_memory(family, reason)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_folder_in_the_cache_is_looked_at(family: Family, depth: int) -> None:
    family.load()
    folders = [family.cache / abi(), family.home, family.home / "family.libs"]
    folder = folders[depth - 1]
    folder.chmod(0o707)
    reason = f"{str(folder)!r} has mode 0707, expected 0700: {MODES}"
    loaded_from_memory(family, reason)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_link_in_the_cache_is_followed(family: Family, depth: int) -> None:
    family.load()
    folder = [family.cache / abi(), family.home, family.home / "family.libs"][depth - 1]
    put_a_link(folder)
    loaded_from_memory(family, f"{str(folder)!r} is a symbolic link, expected a directory")


def test_a_folder_above_that_everybody_can_write_to_is_refused(family: Family) -> None:
    family = replace(family, cache=family.cache / "below")
    family.cache.parent.mkdir()
    family.cache.parent.chmod(0o777)
    loaded_from_memory(
        family, f"the folder '{family.cache.parent}' above it is writable by everybody"
    )
    family.cache.parent.chmod(0o1777)
    assert family.load() == []


def test_a_folder_above_that_is_another_users_is_refused(family: Family) -> None:
    family = replace(family, cache=family.cache / "below")
    family.cache.parent.mkdir()
    give_away(family.cache.parent)
    loaded_from_memory(
        family,
        f"the folder '{family.cache.parent}' above it is owned by uid 65534, expected root or "
        "uid 0",
    )


def test_a_folder_that_another_process_makes_first_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def be_second(path: str, mode: int) -> None:
        mkdir(path, mode)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", be_second)
    make_folder(str(tmp_path / "folder"))
    assert (tmp_path / "folder").is_dir()


OTHER_USER = """
import os, shutil, sys, tempfile, _ctypes, _hashlib
import frozenfinder, frozenfinder.native.extraction, frozenfinder.native.fixups
import frozenfinder.native.memory, frozenfinder.native.workers, frozenfinder.trust
finder = frozenfinder.install(sys.argv[1], mode="closed")
import family
if not os.geteuid():
    os.setuid(65534)
import family.first
print(family.first.call(), *finder.extractor.in_memory.items(), sep="\\n")
"""


def test_a_cache_that_belongs_to_root_is_not_another_users(family: Family) -> None:
    if not IS_ROOT:
        pytest.skip("only root can become another user")
    with TemporaryDirectory() as folder:
        family = replace(family, cache=Path(folder).resolve())
        family.cache.chmod(0o755)
        called, reason = family.run(OTHER_USER)
    assert called == "101"
    expected = f"{str(family.cache)!r} is owned by uid 0, expected uid {NOBODY}"
    assert reason == str(("family.first", expected))


def test_a_cache_that_its_user_cannot_write_to_is_not_used(family: Family) -> None:
    with TemporaryDirectory() as folder:
        family = replace(family, cache=Path(folder).resolve())
        family.cache.chmod(0o500)
        if IS_ROOT:  # who can write anywhere
            os.chown(family.cache, NOBODY, NOBODY)
        called, reason = family.run(OTHER_USER)
    assert called == "101"
    assert reason == str(("family.first", f"Permission denied: '{family.cache}/{abi()}'"))


# -- file systems


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory, mounted at `folder`."""
    if not IS_ROOT:
        pytest.skip("only root can mount a file system")
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_noexec_file_system_is_not_loaded_from(family: Family) -> None:
    with mounted(family.cache.parent, "noexec,mode=0755"):
        loaded_from_memory(family, "'{0}' is on a file system that is mounted noexec")


def test_a_full_file_system_leaves_nothing_behind(family: Family) -> None:
    with mounted(family.cache.parent, "size=16k,mode=0755"):
        loaded_from_memory(family, "No space left on device")
        assert not [path for path in files_below(family.cache) if "tmp" in path]


def test_a_read_only_file_system_serves_what_is_there(family: Family) -> None:
    with mounted(family.cache.parent, "mode=0755"):
        family.load()
        subprocess.run(["mount", "-o", "remount,ro", str(family.cache.parent)], check=True)
        assert family.load() == []


def test_an_empty_read_only_file_system_is_not_used(family: Family) -> None:
    with mounted(family.cache.parent, "ro,mode=0755"):
        loaded_from_memory(family, "Read-only file system: '{0}'")


def test_a_socket_in_a_files_place_is_in_the_way(tmp_path: Path) -> None:
    path = Path(provide(tmp_path / "cache", b"content"))
    path.unlink()
    with socket(AF_UNIX) as bound, TemporaryDirectory() as short:  # for a name of 100 bytes
        bound.bind(f"{short}/s")
        Path(short, "s").rename(path)
    with pytest.raises(OSError, match="No such device or address"):
        provide(tmp_path / "cache", b"content")


def test_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    path = Path(provide(tmp_path / "cache", b"content"))
    path.unlink()
    left = path.with_name(f"m.so.0123.1{TEMPORARY}")
    left.write_bytes(b"cont")
    provide(tmp_path / "cache", b"content")
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_folder_that_was_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    """As `frozenfinder cache --prune` may do between two modules of a parcel."""
    file = ParcelFile("m.so", digest="5f" * 32, size=7, is_library=False)
    cache = ExtensionCache(str(tmp_path / "cache"))
    parcel = Parcel("6e" * 32, [file])
    for _ in range(2):
        path = Path(cache.provide(parcel, [(file, Content(b"content"))])[0])
        assert path.read_bytes() == b"content"
        shutil.rmtree(path.parent)


def test_threads_that_provide_a_file_at_once_write_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[str] = []
    replace_file = os.replace

    def note(source: str, target: str) -> None:
        placed.append(target)
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", note)
    paths = at_once(lambda _: provide(tmp_path / "cache", b"content"), range(8))
    assert placed == paths[:1]
    assert set(paths) == {placed[0]}


CONSTANTS = ("ST_NOEXEC", "F_TLOCK", "MFD_CLOEXEC", "RTLD_NOW", "O_NOFOLLOW", "O_DIRECTORY")
WITHOUT = f"""
import os
for name in {CONSTANTS!r}:
    vars(os).pop(name, None)
"""


@pytest.mark.parametrize("cache", ["a cache", "no cache"])
def test_a_system_may_lack_constants_that_linux_has(family: Family, cache: str) -> None:
    """macOS has `statvfs`, but no ST_NOEXEC."""
    if cache == "no cache":
        family = replace(family, cache=Path("/dev/null/cache"))
    called, *reasons = family.run(WITHOUT + LOAD)
    assert called.startswith("101 201 ")
    assert any(reasons) == (cache == "no cache")


def test_the_cache_command_works_without_a_constant_that_linux_has(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    family.load()
    monkeypatch.delattr(os, "ST_NOEXEC", raising=False)
    assert find_obstacle(family.cache) is None


def test_a_writer_that_lost_its_temporary_file_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the lock may take it for a dead process' file."""
    taken: list[str] = []
    replace_file = os.replace

    def take_away(source: str, target: str) -> None:
        if not taken:
            taken.append(source)
            Path(source).unlink()
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", take_away)
    assert Path(provide(tmp_path / "cache", b"content")).read_bytes() == b"content"
    assert len(taken) == 1


def test_a_parcel_whose_day_cannot_be_noted_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(provide(tmp_path / "cache", b"content"))
    os.utime(path.parent, (0, 0))

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    assert provide(tmp_path / "cache", b"content") == str(path)
