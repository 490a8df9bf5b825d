"""The registry: what it costs to open, what it answers, and what becomes of damaged ones."""

import _imp
import errno
import gc
import hashlib
import marshal
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.at_once import at_once, dawdling_dup2
from support.interrupts import at_every_event, code_of
from support.processes import Python, RunPython
from support.registries import (
    HERE,
    Frozen,
    build_registry,
    data_file,
    excluded,
    frozen,
    get_word,
    reseal,
    section_entry,
    section_range,
    set_word,
)

from frozenfinder.errors import RegistryError, RegistryNotFoundError, RegistryVersionError
from frozenfinder.freezer.write import pack
from frozenfinder.frozen_api import (
    BAD_NAME,
    DISABLED,
    EXCLUDED,
    INVALID,
    NOT_FOUND,
    OKAY,
    find_status,
)
from frozenfinder.runtime import layout, system
from frozenfinder.runtime import registry as registry_module
from frozenfinder.runtime.layout import FrozenEntry
from frozenfinder.runtime.registry import Registry

posix_only = pytest.mark.skipif(os.name != "posix", reason="a POSIX file system")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

SMALL = build_registry(
    frozen("pkg", "VALUE = 'package'", is_package=True),
    frozen("pkg.mod", "def f():\n    return 1\n", text=b"def f():\n    return 1\n"),
    frozen("alias", "VALUE = 'alias'", origname="pkg.mod", table="stdlib"),
    frozen("core", "", table="bootstrap"),
    frozen("tested", "", table="test"),
    excluded("gone"),
    Frozen("empty"),
    files=[data_file("pkg/data.txt", b"some data"), data_file("pkg/none.txt", b"")],
    info=b'{"options": ["--path", "/src"]}',
)


def contents(registry: Registry) -> list[object]:
    """All that a registry can be asked for, as values that compare."""
    read: list[object] = [registry.roots, registry.info(), registry.mismatch]
    for entry in (*registry.entries(), *registry.files()):
        read += [getattr(entry, name) for name in FrozenEntry.__slots__]
        text = registry.read_text(entry)
        read += [bytes(registry.read_blob(entry)), text and bytes(text)]
        registry.find_entry(entry.name)
    return read


def write(path: Path, data: bytes = SMALL) -> Path:
    path.write_bytes(data)
    return path


def descriptor_of(registry: Registry) -> int:
    return registry._source._opened[1]  # type: ignore[union-attr]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "app.frz")


@pytest.fixture
def opened(file: Path) -> Iterator[Registry]:
    registry = Registry.open(file)
    yield registry
    registry.close()


@pytest.fixture
def preads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of what each read of a file gave, of this test."""
    sizes = []

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        data = os.pread(descriptor, size, offset)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(registry_module, "_pread", pread)
    return sizes


def fail_to_read(*_: int) -> bytes:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def outcome(function: Callable[..., Any], *args: Any, **options: Any) -> tuple[object, ...]:
    """What a call gives or raises, as a value that compares."""
    try:
        result = function(*args, **options)
    except (ImportError, TypeError) as error:
        return type(error), str(error), getattr(error, "name", None)
    if isinstance(result, tuple) and result[0] is not None:
        result = (bytes(result[0]), *result[1:])
    if isinstance(result, CodeType):
        return result, result.co_filename
    return type(result), result


class TestReading:
    """What it costs, and that every way of reading gives the same."""

    def test_opening_and_finding_cost_the_same_for_any_number_of_modules(
        self, tmp_path: Path, preads: list[int]
    ) -> None:
        reads = []
        for count in (100, 100_000):
            items = [Frozen(f"pkg{at % 997}.m{at}", b"code") for at in range(count)]
            registry = Registry.open(write(tmp_path / f"{count}.frz", build_registry(*items)))
            assert preads == [registry_module.HEAD_SIZE]
            entry = registry.find_entry("pkg77.m77")
            assert entry is not None
            assert bytes(registry.read_blob(entry)) == b"code"
            assert registry.find_entry("pkg77.absent") is None
            reads.append(preads[:])
            preads.clear()
            registry.close()
        small, large = reads
        assert len(small) == len(large) == 3
        assert max(large) <= registry_module.INDEX_WINDOW

    def test_listing_one_package_reads_one_shard(self, tmp_path: Path, preads: list[int]) -> None:
        items = [Frozen(f"pkg{at % 97}.m{at}", b"code") for at in range(5000)]
        registry = Registry.open(write(tmp_path / "app.frz", build_registry(*items)))
        shards: list[set[str]] = []
        for number in range(10):
            top = f"pkg{number}"
            listed = {entry.name for entry in registry.entries(top)}
            assert {name for name in listed if name.startswith(f"{top}.")} == {
                f"{top}.m{at}" for at in range(number, 5000, 97)
            }
            assert len(listed) < 5000
            assert all(listed == other or listed.isdisjoint(other) for other in shards)
            shards.append(listed)
        registry = Registry.open(registry.path)
        preads.clear()
        list(registry.entries("pkg7"))
        assert len(preads) == 1
        assert len(list(registry.entries())) == 5000
        assert {entry.name for entry in registry.entries("\ud800")} <= {item.name for item in items}

    def test_a_recorded_boot_is_read_ahead(self, tmp_path: Path, preads: list[int]) -> None:
        size = 10_000
        items = [Frozen(f"m{at:02}", bytes([at]) * size) for at in range(60)]
        boot = pack.pack_boot(0, 50 * size, 50)
        registry = Registry.open(write(tmp_path / "app.frz", build_registry(*items, boot=boot)))
        entries = [registry.find_entry(item.name) for item in items]
        reads = []
        for recorded in (entries[:50], entries[50:]):
            preads.clear()
            for entry in recorded:
                assert entry is not None
                assert bytes(registry.read_blob(entry)) == bytes([int(entry.name[1:])]) * size
            reads.append(preads[:])
        assert reads[0] == [registry_module.BOOT_WINDOW] * 2
        assert registry_module.BOOT_WINDOW not in reads[1]

    def test_what_is_read_at_once(self, tmp_path: Path, preads: list[int]) -> None:
        items = [Frozen(f"pkg{at % 499}.m{at}", b"x" * 900) for at in range(3000)]
        data = build_registry(*items, boot=pack.pack_boot(0, 600_000, 667))
        registry = Registry.open(write(tmp_path / "app.frz", data))
        assert preads == [8192]

        def read(*names: str) -> list[int]:
            preads.clear()
            for name in names:
                entry = registry.find_entry(name)
                assert entry is not None
                registry.read_blob(entry)
            return preads[:]

        preads.clear()
        assert len(list(registry.entries())) == 3000
        assert set(preads) == {65536}
        assert read("pkg0.m0", "pkg1.m1") == [262144]
        assert read("pkg168.m667", "pkg169.m668") == [16384]
        assert read("pkg167.m666") == [262144], "the last blob of the recorded boot"

    def test_a_recorded_boot_may_begin_anywhere(self, tmp_path: Path, preads: list[int]) -> None:
        items = [Frozen(f"m{at:03}", b"x" * 1000) for at in range(400)]
        data = build_registry(*items, boot=pack.pack_boot(3000, 3000, 3))
        registry = Registry.open(write(tmp_path / "app.frz", data))
        for name, window in (("m002", "BLOB_WINDOW"), ("m003", "BOOT_WINDOW")):
            entry = registry.find_entry(name)
            assert entry is not None
            registry.read_blob(entry)
            assert preads[-1] == getattr(registry_module, window)

    def test_a_window_reads_what_it_does_not_hold(self, tmp_path: Path, preads: list[int]) -> None:
        data = bytes(range(100))
        file = registry_module._File(str(write(tmp_path / "bytes", data)), 0)
        window = registry_module._Window(file, 16)

        def reads(offset: int, size: int) -> int:
            before = len(preads)
            expected = data[offset : offset + size]
            assert window.view(offset, size, layout.digest(expected), "piece") == expected
            return len(preads) - before

        assert [reads(10, 8), reads(18, 8), reads(25, 1)] == [1, 0, 0]
        assert [reads(25, 2), reads(24, 3), reads(25, 15)] == [1, 1, 0]
        assert [reads(12, 4), reads(20, 12), reads(20, 16)] == [1, 1, 0]
        assert [reads(20, 17), reads(20, 16), reads(20, 16)] == [1, 1, 0], "larger is not kept"
        window.narrow(15)
        assert [reads(20, 16), reads(50, 2), reads(63, 2), reads(64, 2)] == [0, 1, 0, 1]
        window.narrow(100)
        assert [reads(10, 2), reads(24, 2)] == [1, 1], "it does not become wider"
        file.close()

    def test_it_is_read_in_pieces_that_are_no_larger_than_asked(
        self, tmp_path: Path, preads: list[int]
    ) -> None:
        items = [Frozen(f"m{at}", b"x" * 90) for at in range(300)]
        data = build_registry(*items, boot=pack.pack_boot(0, 9000, 100))
        registry = Registry.open(write(tmp_path / "app.frz", data))
        registry.narrow(100)
        preads.clear()
        for at in (0, 150, 299):
            entry = registry.find_entry(f"m{at}")
            assert entry is not None
            registry.read_blob(entry)
        assert len(preads) > 3
        assert sum(size > 100 for size in preads) <= 3, "shards, which are read as wholes"

    def test_names_that_are_not_there_are_not_remembered(self, opened: Registry) -> None:
        assert opened.find_entry("pkg") is not None
        before = len(opened._modules._tops)
        for number in range(100):
            assert opened.find_entry(f"absent{number}") is None
        assert len(opened._modules._tops) == before == 1

    @pytest.mark.parametrize("size", [7000, 7500, 8000, 20_000, 70_000])
    def test_a_section_beyond_the_head_is_read(self, size: int) -> None:
        info = b'{"text": "' + b"x" * size + b'"}'
        assert Registry.from_bytes(build_registry(info=info)).info() == {"text": "x" * size}

    def test_a_file_and_bytes_read_the_same(self, opened: Registry) -> None:
        assert contents(opened) == contents(Registry.from_bytes(SMALL))

    def test_another_process_can_open_what_has_a_file_to_itself(self, tmp_path: Path) -> None:
        whole = Registry.open(write(tmp_path / "app.frz"))
        part = Registry.open(write(tmp_path / "app.pyz", b"#" + SMALL), offset=1)
        os.utime(tmp_path / "app.frz", ns=(0, 0))
        undated = Registry.open(whole.path)
        registries = [whole, undated, part, Registry.from_bytes(SMALL)]
        assert [registry.reopens for registry in registries] == [True, True, False, False]
        assert [registry.pin().reopens for registry in registries] == [True, True, False, False]

    def test_nothing_is_read_at_the_end(self, file: Path, preads: list[int]) -> None:
        registry = Registry.open(file)
        contents(registry)
        assert 0 not in preads
        assert preads[0] == len(SMALL)
        registry.close()

    def test_short_reads_do_not_run_over_the_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = Registry.open(write(tmp_path / "app.pyz", b"#" + SMALL + b"PK" * 900), offset=1)
        monkeypatch.setattr(
            registry_module, "_pread", lambda fd, size, at: os.pread(fd, (size + 1) // 2, at)
        )
        assert registry.read_unchecked() == SMALL

    def test_the_names_of_data_files_are_listed(self) -> None:
        assert sorted(Registry.from_bytes(SMALL).file_names()) == ["pkg/data.txt", "pkg/none.txt"]

    def test_nothing_may_follow_a_registry_in_memory(self) -> None:
        with pytest.raises(RegistryError, match=r"; freeze it again$"):
            Registry.from_bytes(SMALL + b"\0")

    def test_a_closed_registry_reads_on(self, file: Path) -> None:
        for registry in (Registry.open(file), Registry.from_bytes(SMALL)):
            registry.close()
            registry.close()
            assert contents(registry) == contents(Registry.from_bytes(SMALL))

    @linux_only
    def test_a_with_statement_closes_it(self, file: Path) -> None:
        with Registry.open(file) as registry:
            assert registry.path in open_files()
        assert registry.path not in open_files()

    @linux_only
    def test_an_exception_in_a_with_statement_closes_it_and_goes_on(self, file: Path) -> None:
        with pytest.raises(KeyError, match="mine"), Registry.open(file) as registry:
            raise KeyError("mine")
        assert registry.path not in open_files()

    def test_short_reads_are_completed(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def pread(descriptor: int, size: int, offset: int) -> bytes:
            return os.pread(descriptor, min(size, 7), offset)

        monkeypatch.setattr(registry_module, "_pread", pread)
        assert contents(Registry.open(file)) == contents(Registry.from_bytes(SMALL))

    @pytest.mark.parametrize("pread", [True, False], ids=["pread", "no pread"])
    def test_threads_read_the_same(
        self, file: Path, pread: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not pread:
            monkeypatch.setattr(registry_module, "_pread", None)
        for window in ("INDEX_WINDOW", "BLOB_WINDOW"):
            monkeypatch.setattr(registry_module, window, 16)  # so that every read is one
        registry = Registry.open(file)
        expected = contents(Registry.from_bytes(SMALL))
        found: list[object] = []
        threads = [
            threading.Thread(target=lambda: found.extend(contents(registry) for _ in range(20)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [expected] * 160

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_forked_processes_read_the_same(self, file: Path, run_python: RunPython) -> None:
        code = """
import os, sys
from frozenfinder.runtime.registry import Registry
registry = Registry.open(sys.argv[1])
def read():
    registry._modules._shards = []  # every process reads the index for itself
    return [(e.name, bytes(registry.read_blob(e))) for e in registry.entries()]
children = []
for _ in range(20):
    child = os.fork()
    if not child:
        os._exit(all(len(read()) == 7 for _ in range(50)) - 1)
    children.append(child)
print({os.waitpid(child, 0)[1] for child in children})
"""
        assert run_python(code, file).stdout == "{0}\n"

    def test_a_large_blob_is_not_kept(self, tmp_path: Path) -> None:
        size = 4 * registry_module.BLOB_WINDOW
        data = build_registry(files=[data_file("large", b"x" * size)])
        registry = Registry.open(write(tmp_path / "large.frz", data))
        entry = registry.find_file("large")
        assert entry is not None
        tracemalloc.start()
        try:
            assert len(registry.read_blob(entry)) == size
            assert tracemalloc.get_traced_memory()[0] < size / 2
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("offset", [23, 1000, 4095, 4096, 4097])
    def test_a_registry_may_lie_within_a_larger_file(self, tmp_path: Path, offset: int) -> None:
        path = write(tmp_path / "app.pyz", b"#" * offset + SMALL + b"PK\5\6" * 5)
        registry = Registry.open(path, offset=offset)
        assert contents(registry) == contents(Registry.from_bytes(SMALL))
        os.truncate(path, offset + len(SMALL) - 1)
        with pytest.raises(RegistryError, match=f": has {len(SMALL) - 1} bytes, its header says "):
            Registry.open(path, offset=offset)
        write(path, b"#" * offset + SMALL)
        registry = Registry.open(path, offset=offset)
        os.truncate(path, offset + 400)
        with pytest.raises(RegistryError, match=r" ends at \d+, file has 400 bytes$"):
            registry.find_entry("pkg")

    @pytest.mark.parametrize("offset", [-1, 10**9, 2**70])
    def test_a_registry_cannot_lie_outside_the_file(self, file: Path, offset: int) -> None:
        with pytest.raises(RegistryError) as caught:
            Registry.open(file, offset=offset)
        assert str(caught.value) == (
            f"registry '{file}' cannot begin at byte {offset}, the file has {len(SMALL)} bytes"
        )

    def test_data_files_are_found_by_path(self, opened: Registry) -> None:
        entry = opened.find_file("pkg/data.txt")
        assert entry is not None
        assert bytes(opened.read_blob(entry)) == b"some data"
        assert opened.find_file("pkg") is None
        assert opened.find_file("pkg/\ud800") is None
        assert opened.find_entry("pkg/data.txt") is None

    def test_the_source_of_an_entry_is_read_where_it_was_embedded(self, opened: Registry) -> None:
        texts = {entry.name: opened.read_text(entry) for entry in opened.entries()}
        text = texts.pop("pkg.mod")
        assert text is not None
        assert bytes(text) == b"def f():\n    return 1\n"
        assert set(texts.values()) == {None}

    def test_what_has_no_bytes_needs_no_digest(self) -> None:
        where = {"offset": 10**9, "digest": 0, "text_offset": 10**9, "text_digest": 0}
        item = Frozen("m", text=b"", fields={"kind": "namespace", **where})
        registry = Registry.from_bytes(build_registry(item))
        (entry,) = registry.entries()
        text = registry.read_text(entry)
        assert text is not None
        assert bytes(registry.read_blob(entry)) == bytes(text) == b""

    def test_the_test_table_is_searched_only_if_asked(self, opened: Registry) -> None:
        assert opened.find_entry("tested") is None
        assert opened.find_entry("tested", tests=True) is not None
        assert opened.is_frozen("tested") is False


class TestOpening:
    """Paths that hold no registry."""

    def test_a_missing_file(self, tmp_path: Path) -> None:
        path = tmp_path / "absent.frz"
        with pytest.raises(RegistryNotFoundError) as caught:
            Registry.open(path)
        assert str(caught.value) == (
            f"registry '{path}' does not exist; check the path, or freeze one with: "
            f"{sys.executable} -m frozenfinder freeze --help"
        )
        assert caught.value.path == str(path)

    def test_a_directory(self, tmp_path: Path) -> None:
        message = f"registry '{tmp_path}' is a directory, expected a registry file"
        self.refuse(tmp_path, message)

    def test_an_empty_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / "empty.frz", b"")
        self.refuse(path, f"registry '{path}': has 0 bytes, a registry has at least 320")

    @posix_only
    def test_a_pipe_without_a_writer(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        path = tmp_path / "pipe"
        self.refuse(path, f"registry '{path}' is not a file, expected a registry file")

    @posix_only
    def test_a_device(self) -> None:
        self.refuse("/dev/null", "registry '/dev/null' is not a file, expected a registry file")

    @posix_only
    def test_a_file_in_place_of_a_directory(self, file: Path) -> None:
        path = file / "app.frz"
        self.refuse(path, f"registry '{path}' cannot be read: Not a directory")

    def test_a_file_on_a_failing_disk(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = Registry.open(file)
        monkeypatch.setattr(registry_module, "_pread", fail_to_read)
        message = f"registry '{file}': the header cannot be read: Input/output error"
        self.refuse(file, message)
        with pytest.raises(RegistryError) as caught:
            Registry.open(file)
        assert caught.value.offset == 0
        with pytest.raises(RegistryError) as caught:
            registry.find_entry("pkg")
        start, _ = section_range(SMALL, "module_shards")
        assert str(caught.value) == (
            f"registry '{file}': shard 0 of section 'modules' cannot be read: Input/output error"
        )
        assert (caught.value.path, caught.value.offset) == (str(file), start)

    @pytest.mark.parametrize("path", ["a\0b", "\ud800"])
    def test_a_path_that_cannot_be(self, path: str) -> None:
        with pytest.raises(RegistryError, match=r"^registry '/.*' cannot be read: "):
            Registry.open(f"/{path}")

    @posix_only
    def test_a_file_without_permission(self, file: Path, run_python: RunPython) -> None:
        code = """
import os, sys
from frozenfinder.runtime.registry import Registry, RegistryError
os.chmod(sys.argv[1], 0)
if os.getuid() == 0:
    os.setuid(65534)  # root may read it all the same
try:
    Registry.open(sys.argv[1])
except RegistryError as error:
    print(error)
"""
        message = f"registry '{file}' cannot be read: Permission denied\n"
        assert run_python(code, file).stdout == message

    def test_a_path_of_another_type(self) -> None:
        with pytest.raises(TypeError) as caught:
            Registry.open(b"app.frz")  # type: ignore[arg-type]
        message = "path of a registry should be str or os.PathLike, not b'app.frz'"
        assert str(caught.value) == message

    def test_options_are_given_by_name(self, opened: Registry) -> None:
        calls: tuple[Callable[..., object], ...] = (
            lambda: Registry.open(opened.path, 0),  # type: ignore[call-arg]
            lambda: Registry.from_bytes(SMALL, "app.frz"),  # type: ignore[call-arg]
            lambda: opened.pin("ab" * 32),  # type: ignore[call-arg]
        )
        for call in calls:
            with pytest.raises(TypeError, match="positional argument"):
                call()

    @linux_only
    def test_a_failure_leaves_no_descriptor_open(self, tmp_path: Path) -> None:
        path = write(tmp_path / "app.frz", SMALL[:-1])
        for _ in range(3):
            with pytest.raises(RegistryError):
                Registry.open(path)
        assert str(path) not in open_files()

    def test_a_relative_path_holds_after_chdir(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(file.parent)
        registry = Registry.open(file.name)
        monkeypatch.chdir("/")
        assert registry.path == str(file)
        registry.close()
        assert contents(registry) == contents(Registry.from_bytes(SMALL))

    @posix_only
    def test_a_relative_path_in_a_directory_that_is_gone(self, run_python: RunPython) -> None:
        code = """
import os, tempfile
from frozenfinder.runtime.registry import Registry, RegistryError
with tempfile.TemporaryDirectory() as gone:
    os.chdir(gone)
try:
    Registry.open("app.frz")
except RegistryError as error:
    print(str(error).partition(";")[0])
"""
        assert run_python(code).stdout == "registry 'app.frz' does not exist\n"

    def refuse(self, path: str | Path, message: str) -> None:
        with pytest.raises(RegistryError) as caught:
            Registry.open(path)
        assert str(caught.value) == message
        assert caught.value.path == str(path)


def open_files() -> list[str]:
    """What the descriptors of this process name."""
    named = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one of the listing itself
            named.append(str(descriptor.readlink()))
    return named


@posix_only
class TestDescriptor:
    """The kept descriptor, in a program that does as it likes with descriptors and files."""

    def test_it_has_a_high_number(self, opened: Registry) -> None:
        limit = min(os.sysconf("SC_OPEN_MAX"), 1024)
        assert limit - 64 <= descriptor_of(opened) < limit

    def test_it_has_the_highest_of_63_numbers_that_is_free(
        self, file: Path, run_python: RunPython
    ) -> None:
        code = """
import os, sys
from frozenfinder import Registry
limit = min(os.sysconf("SC_OPEN_MAX"), 1024)
def open_one():
    registries.append(Registry.open(sys.argv[1]))
    return registries[-1]._source._opened[1]
registries = []
print([limit - open_one() for _ in range(3)])
for number in range(limit - 63, limit - 3):
    os.dup2(0, number)
print(open_one() < limit - 64)
os.close(limit - 63)
print(limit - open_one())
"""
        assert run_python(code, file).stdout == "[1, 2, 3]\nTrue\n63\n"

    def test_it_has_another_number_where_high_ones_are_taken(self, file: Path) -> None:
        registries = [Registry.open(file) for _ in range(70)]
        numbers = {descriptor_of(registry) for registry in registries}
        assert len(numbers) == 70
        assert min(numbers) < min(os.sysconf("SC_OPEN_MAX"), 1024) // 2
        assert contents(registries[-1]) == contents(registries[0])
        for registry in registries:
            registry.close()

    @pytest.mark.parametrize("call", ["sysconf", "dup2"])
    def test_it_keeps_its_number_where_there_is_no(
        self, file: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        monkeypatch.setattr(f"posix.{call}", fail_to_read)
        with file.open() as lowest:
            number = lowest.fileno()
        registry = Registry.open(file)
        assert descriptor_of(registry) == number
        assert not os.get_inheritable(number)
        assert contents(registry) == contents(Registry.from_bytes(SMALL))

    def test_threads_that_open_at_once_have_a_number_each(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("posix.dup2", dawdling_dup2)
        registries = at_once(lambda _: Registry.open(file), range(4))
        assert len({descriptor_of(registry) for registry in registries}) == 4
        for registry in registries:
            registry.close()

    def test_threads_that_open_files_at_once_each_read_their_own(self, tmp_path: Path) -> None:
        files = {}
        for at in range(4):
            names = [f"of_{at}_{number}" for number in range(10 * at + 1)]
            file = write(tmp_path / f"{at}.frz", build_registry(*map(frozen, names)))
            files[file] = sorted(names)

        def read(file: Path) -> list[str]:
            registry = Registry.open(file)
            found = sorted(entry.name for entry in registry.entries())
            registry.close()
            return found

        for _ in range(100):
            assert at_once(read, files) == list(files.values())

    def test_it_keeps_its_number_in_a_signal_handler_that_interrupts_another_opening(
        self, file: Path
    ) -> None:
        with file.open() as lowest:
            number = lowest.fileno()
        with system.numbering:
            registry = Registry.open(file)
        assert descriptor_of(registry) == number
        registry.close()

    def test_it_has_a_high_number_in_a_child_forked_while_another_was_opened(
        self, file: Path, run_python: RunPython
    ) -> None:
        code = """
import os, sys
import frozenfinder
from frozenfinder.runtime import system
frozenfinder.install(sys.argv[1])
with system.numbering:
    child = os.fork()
    if not child:
        opened = frozenfinder.Registry.open(sys.argv[1])
        os._exit(10 + (opened._source._opened[1] > 200))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
        assert run_python(code, file).stdout == "11\n"

    @pytest.mark.parametrize("limit", [-1, 0, 512, 1023, 1024, 1 << 30])
    def test_it_is_below_the_number_of_descriptors(
        self, file: Path, monkeypatch: pytest.MonkeyPatch, limit: int
    ) -> None:
        gc.collect()  # of other tests' registries, which have the highest numbers
        monkeypatch.setattr("posix.sysconf", lambda _: limit)
        registry = Registry.open(file)
        end = limit if 0 < limit < 1024 else 1024
        assert end - 64 <= descriptor_of(registry) < end
        registry.close()

    @pytest.mark.usefixtures("processes")
    @linux_only
    def test_children_do_not_inherit_it(self, opened: Registry) -> None:
        listing = subprocess.run(
            ["ls", "-l", "/proc/self/fd"],
            close_fds=False,
            capture_output=True,
            check=True,
            text=True,
        )
        assert opened.path in open_files()
        assert opened.path not in listing.stdout

    def test_closed_by_the_program(self, opened: Registry) -> None:
        os.close(descriptor_of(opened))
        assert contents(opened) == contents(Registry.from_bytes(SMALL))

    def test_closed_with_all_others(self, file: Path, run_python: RunPython) -> None:
        code = """
import os, sys
from frozenfinder.runtime.registry import Registry
registry = Registry.open(sys.argv[1])
os.closerange(3, 4096)
print(*[entry.name for entry in registry.entries()])
os.fstat(0)
"""
        names = "core empty gone pkg pkg.mod alias tested\n"
        assert run_python(code, file).stdout == names

    def test_closed_and_found_so_by_many_threads(self, opened: Registry) -> None:
        expected = contents(Registry.from_bytes(SMALL))
        found: list[object] = []
        threads = [
            threading.Thread(target=lambda: found.append(contents(opened))) for _ in range(16)
        ]
        os.close(descriptor_of(opened))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [expected] * 16

    @linux_only
    def test_closed_and_recovered_by_threads_at_once(self, opened: Registry) -> None:
        header = opened._head[: layout.HEADER_SIZE]
        for _ in range(20):
            os.close(descriptor_of(opened))
            at_once(lambda _: opened._source.recover(header), range(16))
            assert open_files().count(opened.path) == 1

    @linux_only
    def test_recovered_wherever_another_thread_recovers_it(self, opened: Registry) -> None:
        """Its number names another file, so that each thread that opens it gets a new one."""
        source, header = opened._source, opened._head[: layout.HEADER_SIZE]
        codes = code_of(registry_module._File.recover)
        for tracer in at_every_event(lambda: source.recover(header), codes, opcodes=True):
            number = descriptor_of(opened)
            with open(os.devnull) as other:  # noqa: PTH123
                os.dup2(other.fileno(), number)
            with tracer:
                source.recover(header)
            os.close(number)
            assert open_files().count(opened.path) == 1
            assert contents(opened) == contents(Registry.from_bytes(SMALL))

    @pytest.mark.parametrize("order", ["older", "newer"])
    def test_its_number_given_to_another_file(self, tmp_path: Path, order: str) -> None:
        """One whose number in the file system is lower, and one whose is higher."""
        files = [write(tmp_path / name) for name in ("one", "two")]
        files.sort(key=lambda file: file.stat().st_ino, reverse=order == "older")
        file, other = files
        registry = Registry.open(file)
        number = descriptor_of(registry)
        with write(other, b"o" * 10_000).open("rb") as taken:
            os.dup2(taken.fileno(), number)
        assert contents(registry) == contents(Registry.from_bytes(SMALL))
        assert os.pread(number, 3, 0) == b"ooo", "the other file stays open"
        os.close(number)

    def test_its_number_given_to_another_file_before_the_end(
        self, file: Path, tmp_path: Path
    ) -> None:
        registry = Registry.open(file)
        number = descriptor_of(registry)
        with write(tmp_path / "other", b"o" * 10).open("rb") as other:
            os.dup2(other.fileno(), number)
        registry.close()
        del registry
        assert os.pread(number, 3, 0) == b"ooo", "the other file stays open"
        os.close(number)

    def test_the_file_replaced(self, opened: Registry) -> None:
        new = write(Path(opened.path + ".new"), build_registry(frozen("other")))
        new.replace(opened.path)
        assert contents(opened) == contents(Registry.from_bytes(SMALL))

    def test_the_file_unlinked(self, opened: Registry) -> None:
        Path(opened.path).unlink()
        assert contents(opened) == contents(Registry.from_bytes(SMALL))

    @pytest.mark.parametrize("replace", [True, False], ids=["replaced", "touched"])
    def test_the_file_written_the_same_while_it_was_closed(
        self, opened: Registry, replace: bool
    ) -> None:
        if replace:
            write(Path(opened.path + ".new")).replace(opened.path)
        os.utime(opened.path, ns=(0, 0))
        os.close(descriptor_of(opened))
        assert contents(opened) == contents(Registry.from_bytes(SMALL))
        number = descriptor_of(opened)
        opened.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)

    def test_the_file_replaced_by_a_shorter_one_while_it_was_closed(self, opened: Registry) -> None:
        write(Path(opened.path + ".new"), b"short").replace(opened.path)
        os.close(descriptor_of(opened))
        with pytest.raises(RegistryError, match=" was replaced on disk after the program closed "):
            contents(opened)

    def test_the_file_replaced_while_it_was_closed(self, opened: Registry) -> None:
        new = write(Path(opened.path + ".new"), build_registry(frozen("other")))
        new.replace(opened.path)
        os.close(descriptor_of(opened))
        with pytest.raises(RegistryError) as caught:
            contents(opened)
        assert str(caught.value) == (
            f"registry '{opened.path}' was replaced on disk after the program closed its "
            "descriptor; restart the program"
        )

    def test_the_file_unlinked_while_it_was_closed(self, opened: Registry) -> None:
        Path(opened.path).unlink()
        os.close(descriptor_of(opened))
        with pytest.raises(RegistryNotFoundError, match=r" does not exist; check the path, "):
            contents(opened)

    def test_the_file_truncated(self, opened: Registry) -> None:
        opened.find_entry("pkg")
        os.truncate(opened.path, len(SMALL) - 1)
        entry = opened.find_file("pkg/data.txt")
        assert entry is not None
        start, end = section_range(SMALL, "blobs")
        with pytest.raises(RegistryError) as caught:
            opened.read_blob(entry)
        assert str(caught.value) == (
            f"registry '{opened.path}': entry 'pkg/data.txt' ends at {end}, "
            f"file has {end - 1} bytes"
        )
        assert caught.value.offset == start + entry.offset
        assert caught.value.name == "pkg/data.txt"

    def test_the_registry_goes_silently_at_exit(self, file: Path, run_python: RunPython) -> None:
        code = """
import sys
import frozenfinder.runtime.registry
sys.kept = frozenfinder.runtime.registry.Registry.open(sys.argv[1])
kept = frozenfinder.runtime.registry.Registry.open(sys.argv[1])
"""
        assert run_python(code, file).stderr == ""


FROZEN = {
    "__hello__": (False, "__hello__"),
    "__hello_alias__": (False, "__hello__"),
    "__phello__": (True, "__phello__"),
    "__phello_alias__": (True, "__hello__"),
    "__phello__.spam": (False, "__phello__.spam"),
    "zipimport": (False, "zipimport"),
}
"""Modules that are frozen into every interpreter: whether a package, and the original name."""

FUNCTIONS = ("find_frozen", "get_frozen_object", "is_frozen", "is_frozen_package")


@pytest.fixture
def frozen_modules() -> Iterator[Callable[[int], None]]:
    """CPython's own frozen modules, on in any build; the call with -1 switches them off."""
    switch = _imp._override_frozen_modules_for_tests  # type: ignore[attr-defined]
    switch(1)
    yield switch
    switch(0)


def frozen_data(name: str) -> bytes:
    found = _imp.find_frozen(name, withdata=True)
    assert found is not None
    return bytes(found[0] or b"")


@pytest.mark.usefixtures("frozen_modules")
class TestAgainstImp:
    """The answers and the words of `_imp`'s functions of the same names."""

    @pytest.fixture
    def copied(self) -> Registry:
        """A registry of CPython's frozen modules."""
        items = []
        for name, (is_package, origname) in FROZEN.items():
            blob = frozen_data(name) or marshal.dumps(_imp.get_frozen_object(name))
            fields = {"is_package": is_package, "origname": origname}
            items.append(Frozen(name, blob, fields=fields))
        return Registry.from_bytes(build_registry(*items))

    @pytest.mark.parametrize("function", FUNCTIONS)
    @pytest.mark.parametrize(
        "name", [*FROZEN, "absent", "", "a\0b", "\ud800", "__phello__.", None, 3, b"os", ["os"]]
    )
    def test_the_same_answer(self, copied: Registry, name: object, function: str) -> None:
        expected = outcome(getattr(_imp, function), name)
        assert outcome(getattr(copied, function), name) == expected

    @pytest.mark.parametrize("name", [*FROZEN, "absent"])
    def test_the_same_data(self, copied: Registry, name: str) -> None:
        if name in FROZEN and not frozen_data(name):
            pytest.skip("deep-frozen: this interpreter has code objects and no data")
        expected = outcome(_imp.find_frozen, name, withdata=True)
        assert outcome(copied.find_frozen, name, withdata=True) == expected
        assert outcome(copied.find_frozen, name, True) == expected

    def test_the_data_is_read_only(self, copied: Registry) -> None:
        found = copied.find_frozen("zipimport", withdata=True)
        assert found is not None
        assert isinstance(found[0], memoryview)
        assert found[0].readonly

    def test_the_same_answer_where_there_is_no_good_code(
        self, tmp_path: Path, run_python: RunPython
    ) -> None:
        blobs = {"empty": b"", "junk": b"junk", "number": marshal.dumps(1)}
        items = [Frozen(name, blob) for name, blob in blobs.items()]
        items += [excluded("gone"), excluded("gone_package", is_package=True)]
        path = write(tmp_path / "app.frz", build_registry(*items))
        code = """
import _imp, ctypes, marshal, sys
from frozenfinder.runtime.registry import Registry

class Frozen(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("code", ctypes.c_char_p),
        ("size", ctypes.c_int),
        ("is_package", ctypes.c_int),
        *([("get_code", ctypes.c_void_p)] if sys.version_info < (3, 13) else []),
    ]

rows = [
    (b"empty", b"", 0, 0),
    (b"junk", b"junk", 4, 0),
    (b"number", marshal.dumps(1), 5, 0),
    (b"gone", None, 0, 0),
    (b"gone_package", None, 0, 1),
]
array = (Frozen * 6)(*rows)
table = ctypes.POINTER(Frozen).in_dll(ctypes.pythonapi, "PyImport_FrozenModules")
table.contents = array[0]

def answer(function, *args, **options):
    try:
        return repr(function(*args, **options))
    except (ImportError, TypeError) as error:
        return str(error)

registry = Registry.open(sys.argv[1])
for row in rows:
    name = row[0].decode()
    for function in ("find_frozen", "get_frozen_object", "is_frozen", "is_frozen_package"):
        expected = answer(getattr(_imp, function), name)
        found = answer(getattr(registry, function), name)
        print(name, function, expected, "" if found == expected else f"!= {found}")
"""
        assert run_python(code, path).stdout.splitlines() == [
            "empty find_frozen Frozen object named 'empty' is invalid ",
            "empty get_frozen_object Frozen object named 'empty' is invalid ",
            "empty is_frozen False ",
            "empty is_frozen_package Frozen object named 'empty' is invalid ",
            "junk find_frozen (None, False, 'junk') ",
            "junk get_frozen_object Frozen object named 'junk' is invalid ",
            "junk is_frozen True ",
            "junk is_frozen_package False ",
            "number find_frozen (None, False, 'number') ",
            "number get_frozen_object frozen object 'number' is not a code object ",
            "number is_frozen True ",
            "number is_frozen_package False ",
            "gone find_frozen Excluded frozen object named 'gone' ",
            "gone get_frozen_object Excluded frozen object named 'gone' ",
            "gone is_frozen False ",
            "gone is_frozen_package False ",
            "gone_package find_frozen Excluded frozen object named 'gone_package' ",
            "gone_package get_frozen_object Excluded frozen object named 'gone_package' ",
            "gone_package is_frozen False ",
            "gone_package is_frozen_package True ",
        ]

    def test_the_same_answer_while_frozen_modules_are_off(
        self, frozen_modules: Callable[[int], None]
    ) -> None:
        """`_imp` then has only its bootstrap table; a registry, where its code cannot run here.

        CPython 3.11 to 3.15 have words for it that no path of their own leads to.
        """
        frozen_modules(-1)
        items = [frozen("__hello__"), frozen("zipimport", table="bootstrap")]
        off = Registry.from_bytes(build_registry(*items, marshal_version=99))
        for name in ("__hello__", "zipimport"):
            for function in ("find_frozen", "is_frozen"):
                expected = outcome(getattr(_imp, function), name)
                assert outcome(getattr(off, function), name) == expected
        message = (
            "Frozen modules are disabled and the frozen object named '__hello__' is not essential"
        )
        for function in ("get_frozen_object", "is_frozen_package"):
            assert outcome(getattr(off, function), "__hello__") == (
                ImportError,
                message,
                "__hello__",
            )


class TestStatuses:
    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("pkg", OKAY),
            ("pkg.mod", OKAY),
            ("alias", OKAY),
            ("absent", NOT_FOUND),
            ("", NOT_FOUND),
            ("tested", NOT_FOUND),
            ("\ud800", BAD_NAME),
            ("gone", EXCLUDED),
            ("empty", INVALID),
        ],
    )
    def test_of_a_name(self, name: str, status: str) -> None:
        found, entry = find_status(Registry.from_bytes(SMALL), name)
        assert found == status
        assert (entry and entry.name) == (None if status in {NOT_FOUND, BAD_NAME} else name)

    @pytest.mark.parametrize("kind", ["extension", "namespace", "data"])
    def test_what_holds_no_code_is_not_frozen(self, kind: str) -> None:
        item = Frozen("m", b"\x7fELF", fields={"kind": kind})
        registry = Registry.from_bytes(build_registry(item))
        assert find_status(registry, "m") == (NOT_FOUND, None)
        assert registry.find_entry("m") is not None
        with pytest.raises(ImportError, match=r"^No such frozen object named 'm'$"):
            registry.get_frozen_object("m")

    def test_only_bootstrap_is_enabled_for_another_interpreter(self) -> None:
        items = [frozen("app"), frozen("boot", table="bootstrap"), excluded("gone")]
        items.append(frozen("library", table="stdlib"))
        registry = Registry.from_bytes(build_registry(*items, optimize=7))
        names = ("app", "boot", "gone", "library", "absent")
        statuses = [find_status(registry, name)[0] for name in names]
        assert statuses == [DISABLED, OKAY, DISABLED, DISABLED, NOT_FOUND]


class TestDamage:
    """Bytes that are not what the freezer wrote raise RegistryError, and nothing else."""

    def test_cut_short_anywhere(self) -> None:
        for size in range(len(SMALL)):
            with pytest.raises(RegistryError):
                Registry.from_bytes(SMALL[:size])

    def test_a_file_cut_short(self, tmp_path: Path) -> None:
        path = write(tmp_path / "app.frz", SMALL[:-1])
        with pytest.raises(RegistryError) as caught:
            Registry.open(path)
        size = len(SMALL)
        message = f"has {size - 1} bytes, its header says {size}; freeze it again"
        assert str(caught.value) == f"registry '{path}': {message}"

    def test_any_bit_flipped(self) -> None:
        for at in range(8 * len(SMALL)):
            data = bytearray(SMALL)
            data[at // 8] ^= 1 << at % 8
            with pytest.raises(RegistryError):
                contents(Registry.from_bytes(bytes(data)))

    @given(st.binary(max_size=1000), st.booleans())
    def test_random_bytes(self, data: bytes, begins_well: bool) -> None:
        head = SMALL[: layout.HEADER_SIZE] if begins_well else b""
        with pytest.raises(RegistryError):
            contents(Registry.from_bytes(head + data))

    def test_a_damaged_blob_is_told_by_name_and_place(self, tmp_path: Path) -> None:
        start, _ = section_range(SMALL, "blobs")
        path = write(tmp_path / "app.frz", SMALL[: start + 8] + b"?" + SMALL[start + 9 :])
        registry = Registry.open(path)
        entry = registry.find_entry("pkg")
        assert entry is not None
        with pytest.raises(RegistryError) as caught:
            registry.read_blob(entry)
        found = layout.digest(
            SMALL[start : start + 8] + b"?" + SMALL[start + 9 :][: entry.size - 9]
        )
        assert str(caught.value) == (
            f"registry '{path}': entry 'pkg' at {start} has digest {found:016x}, expected "
            f"{entry.digest:016x}; the file is damaged, freeze it again"
        )
        error = caught.value
        assert (error.name, error.path, error.offset) == ("pkg", str(path), start)

    def test_no_damaged_blob_reaches_marshal(self, file: Path, run_python: RunPython) -> None:
        code = """
import sys
import frozenfinder.frozen_api
from frozenfinder.errors import RegistryError
from frozenfinder.runtime.registry import Registry
loaded = []
sys.addaudithook(lambda event, args: event == "marshal.loads" and loaded.append(args))
data = open(sys.argv[1], "rb").read()
registry = Registry.from_bytes(data)
entry = registry.find_entry("pkg.mod")
start = registry.header.sections["blobs"][0] + entry.offset
refused = 0
for at in range(start, start + entry.size):
    damaged = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1:]
    try:
        Registry.from_bytes(damaged).get_frozen_object("pkg.mod")
    except RegistryError:
        refused += 1
print(refused == entry.size, len(loaded))
registry.get_frozen_object("pkg.mod")
print(len(loaded))
"""
        assert run_python(code, file).stdout == "True 0\n1\n"

    @pytest.mark.parametrize(
        ("info", "message"),
        [
            (b"[]", "is not a JSON object"),
            (b"{", "is not JSON: Expecting property name enclosed in double quotes: "),
            (b"\xff", "is not JSON: 'utf-8' codec can't decode byte 0xff in position 0: "),
            (b"[" * 100_000, "is not JSON: "),
        ],
    )
    def test_an_info_section_that_is_not_a_json_object(self, info: bytes, message: str) -> None:
        registry = Registry.from_bytes(build_registry(info=info))
        with pytest.raises(RegistryError) as caught:
            registry.info()
        assert str(caught.value).startswith(f"registry '<bytes>': section 'info' {message}")

    def test_an_empty_info_section_is_an_empty_object(self) -> None:
        assert Registry.from_bytes(build_registry(info=b"")).info() == {}

    @pytest.mark.parametrize(
        "blob", [b"", b"?", b"junk", b"\xe3" + b"\0" * 80, b"s\xff\xff\xff\x7f"]
    )
    def test_a_well_digested_blob_that_is_not_marshalled(self, blob: bytes) -> None:
        registry = Registry.from_bytes(build_registry(frozen("first"), Frozen("m", blob)))
        with pytest.raises(RegistryError) as caught:
            registry.get_frozen_object("m")
        assert str(caught.value) == "Frozen object named 'm' is invalid"
        entry = registry.find_entry("m")
        assert entry is not None
        offset = registry.header.sections["blobs"][0] + entry.offset
        error = caught.value
        assert (error.name, error.path, error.offset) == ("m", "<bytes>", offset)

    def test_a_well_digested_blob_that_is_not_code(self) -> None:
        registry = Registry.from_bytes(build_registry(Frozen("m", marshal.dumps(1))))
        with pytest.raises(RegistryError) as caught:
            registry.get_frozen_object("m")
        assert str(caught.value) == "frozen object 'm' is not a code object"


INTERESTING = st.one_of(
    st.integers(0, 2000),
    st.sampled_from([2**63, 2**64 - 1, 2**64 - 320, 2**31, 2**32, 2**48]),
    st.integers(0, 2**64 - 1),
)


class TestHostility:
    """Wild numbers under digests that fit: refused before anything is allocated for them."""

    @given(st.lists(st.tuples(st.integers(8, len(SMALL) // 8 - 1), INTERESTING), max_size=4))
    def test_any_words_replaced(self, replaced: list[tuple[int, int]]) -> None:
        data = SMALL
        for at, word in replaced:
            data = set_word(data, 8 * at, word)
        data = reseal(data)
        with Allocation(below=1_000_000), suppress(RegistryError):
            contents(Registry.from_bytes(data))

    @pytest.mark.parametrize("field", ["offset", "size", "text_offset", "text_size"])
    @pytest.mark.parametrize("value", [10_000, 2**31, 2**63, 2**64 - 1])
    def test_an_entry_out_of_bounds(self, file: Path, field: str, value: int) -> None:
        wild: dict[str, Any] = {field: value}
        registry = Registry.open(write(file, build_registry(frozen("m", text=b"text", **wild))))
        entry = registry.find_entry("m")
        assert entry is not None
        start, limit, _ = registry.header.sections["blobs"]
        read, what, offset, size = (
            (registry.read_text, "source of entry", entry.text_offset, entry.text_size)
            if field.startswith("text")
            else (registry.read_blob, "entry", entry.offset, entry.size)
        )
        with Allocation(below=100_000), pytest.raises(RegistryError) as caught:
            read(entry)
        assert str(caught.value) == (
            f"registry '{file}': {what} 'm' ends at {start + offset + size}, "
            f"section 'blobs' ends at {start + limit}"
        )
        error = caught.value
        assert (error.name, error.path, error.offset) == ("m", str(file), start + offset)

    @pytest.mark.parametrize("value", [10_000, 2**63, 2**64 - 1])
    @pytest.mark.parametrize("field", [0, 8], ids=["offset", "size"])
    def test_a_shard_out_of_bounds(self, value: int, field: int) -> None:
        at, _ = section_range(SMALL, "modules")
        registry = Registry.from_bytes(reseal(set_word(SMALL, at + field, value)))
        start, limit = section_range(SMALL, "module_shards")
        offset, size = (value, limit - start) if field == 0 else (0, value)
        with Allocation(below=100_000), pytest.raises(RegistryError) as caught:
            registry.find_entry("m")
        assert str(caught.value) == (
            f"registry '<bytes>': shard 0 of section 'modules' ends at {start + offset + size}, "
            f"section 'module_shards' ends at {limit}"
        )
        assert caught.value.offset == start + offset

    @pytest.mark.parametrize("size", [0, 23, 48 + 1, 72, 120, 24 * 512])
    def test_a_directory_that_cannot_be(self, size: int) -> None:
        data = build_registry(files=[data_file("d", b"x" * 20_000)])
        at = section_entry("modules")
        registry = Registry.from_bytes(reseal(set_word(data, at + 8, size)))
        with pytest.raises(RegistryError) as caught:
            registry.find_entry("m")
        assert str(caught.value) == (
            f"registry '<bytes>': section 'modules' has {size} bytes, expected 24 for each "
            "shard, and a power of two of shards up to 256"
        )
        assert caught.value.offset == get_word(data, at)

    def test_the_largest_directory_is_read(self) -> None:
        data = build_registry(files=[data_file("d", b"x" * 20_000)])
        registry = Registry.from_bytes(
            reseal(set_word(data, section_entry("modules") + 8, 24 * layout.MAX_SHARDS))
        )
        with pytest.raises(RegistryError, match=r": shard \d+ of section 'modules' "):
            registry.find_entry("m")

    @pytest.mark.parametrize("root", [2, 7])
    def test_an_entry_below_no_root(self, root: int) -> None:
        registry = Registry.from_bytes(build_registry(Frozen("m", fields={"root": root})))
        entry = registry.find_entry("m")
        assert entry is not None
        with pytest.raises(RegistryError) as caught:
            registry.find_root(entry)
        assert str(caught.value) == (
            f"registry '<bytes>': entry 'm' has root number {root}, expected a number below 2"
        )

    def test_a_boot_section_that_cannot_be(self) -> None:
        data = build_registry(boot=b"?" * 5)
        with pytest.raises(RegistryError, match="section 'boot' has 5 bytes") as caught:
            Registry.from_bytes(data)
        assert caught.value.offset == section_range(data, "boot")[0]

    def test_roots_that_cannot_be(self) -> None:
        start, _ = section_range(SMALL, "roots")
        with pytest.raises(RegistryError) as caught:
            Registry.from_bytes(reseal(set_word(SMALL, start, 9)))
        assert str(caught.value) == (
            f"registry '<bytes>': root 0 at {start} has anchor 9 and 0 bytes, expected an anchor "
            f"below 4 and an end up to {start + 36}"
        )
        assert caught.value.offset == start

    def test_a_blob_that_ends_beyond_the_others(self) -> None:
        items = [Frozen("a", b"x" * 100), Frozen("b", b"y" * 50, fields={"size": 100})]
        registry = Registry.from_bytes(build_registry(*items))
        entry = registry.find_entry("b")
        assert entry is not None
        with pytest.raises(RegistryError, match=r"entry 'b' ends at .*, section 'blobs' ends at "):
            registry.read_blob(entry)

    def test_a_malformed_record_is_told_by_its_place_in_the_registry(self) -> None:
        data = build_registry(*[Frozen(f"module{at}") for at in range(1000, 3000)])
        at = data.index(b"module2777") - layout.RECORD_SIZE
        registry = Registry.from_bytes(reseal(set_word(data, at + 8, 9 << 8)))
        with pytest.raises(RegistryError, match=f": the record at {at} ends at ") as caught:
            registry.find_entry("module2777")
        assert caught.value.offset == at
        assert registry.find_entry("module2776") is not None

    def test_a_slot_that_points_into_the_blobs(self) -> None:
        start, _ = section_range(SMALL, "module_shards")
        data = SMALL
        for slot in range(get_word(data, start)):
            data = set_word(data, start + 8 + 8 * slot, 1 << 40)
        registry = Registry.from_bytes(reseal(data))
        assert registry.find_entry("pkg") is None
        assert len(list(registry.entries())) == 7


class Allocation:
    """Fails where the block allocates more than so many bytes at once."""

    def __init__(self, below: int) -> None:
        self.below = below

    def __enter__(self) -> None:
        tracemalloc.start()

    def __exit__(self, *_: object) -> None:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < self.below


class TestInterpreterGuard:
    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (
                {"cache_tag": "cpython-39"},
                f"cache tag cpython-39, this interpreter has {HERE['cache_tag']}",
            ),
            ({"magic": 3439}, f"magic number 3439, this interpreter has {HERE['magic']}"),
            (
                {"marshal_version": 99},
                f"marshal version 99, this interpreter has {HERE['marshal_version']}",
            ),
            (
                {"optimize": 7},
                f"optimisation level 7, this interpreter has {HERE['optimize']}",
            ),
            (
                {"marshal_version": 99, "optimize": 7},
                (
                    f"marshal version 99, this interpreter has {HERE['marshal_version']}; "
                    f"optimisation level 7, this interpreter has {HERE['optimize']}"
                ),
            ),
        ],
    )
    def test_another_interpreter_is_told_from_this(
        self, header: dict[str, Any], message: str
    ) -> None:
        registry = Registry.from_bytes(build_registry(frozen("m"), **header), path="/x/app.frz")
        mismatch = f"registry '/x/app.frz' was frozen for {message}"
        assert registry.mismatch == mismatch
        error = registry.version_error()
        assert type(error) is RegistryVersionError
        option = f" -{'O' * sys.flags.optimize}" if sys.flags.optimize else ""
        assert str(error) == (
            f"{mismatch}; freeze it again with {sys.executable}{option}; "
            "'frozenfinder info' shows how it was frozen"
        )
        assert error.path == "/x/app.frz"

    def test_this_interpreter_is_none_other(self) -> None:
        assert Registry.from_bytes(SMALL).mismatch is None

    def test_optimised_interpreters_refuse_what_is_not(self, file: Path, python: Python) -> None:
        code = """
import sys
from frozenfinder.runtime.registry import Registry
print(sys.executable)
print(str(Registry.open(sys.argv[1]).version_error()).partition(" was ")[2])
"""
        executable, error = python("-OO", "-c", code, file).stdout.splitlines()
        assert error == (
            "frozen for optimisation level 0, this interpreter has 2; freeze it again with "
            f"{executable} -OO; 'frozenfinder info' shows how it was frozen"
        )


class TestEquality:
    def test_two_readers_of_one_file_are_equal(self, file: Path) -> None:
        first, second = Registry.open(file), Registry.open(f"{file.parent}/{file.name}")
        assert first == second
        assert hash(first) == hash(second)

    def test_other_content_or_another_path_is_not_equal(self, file: Path) -> None:
        registry = Registry.open(file)
        moved = Registry.from_bytes(SMALL)
        assert registry != moved
        assert moved != registry
        other = Registry.from_bytes(build_registry(frozen("m")), path=str(file))
        assert registry != other
        assert other != registry
        assert registry != str(file)

    def test_what_is_pinned_is_not_what_is_not(self, opened: Registry) -> None:
        pinned = opened.pin(sha256=hashlib.sha256(SMALL).hexdigest())
        assert pinned != opened
        assert opened != pinned
        assert pinned == opened.pin()

    def test_its_fingerprint_is_the_digest_of_its_header(self, opened: Registry) -> None:
        assert opened.fingerprint == SMALL[312:320].hex()

    def test_it_says_what_it_is(self, opened: Registry) -> None:
        assert repr(opened) == f"<Registry {opened.path!r} of 7 modules>"


# -- what happens meanwhile, and elsewhere


@posix_only
def test_two_that_open_a_registry_again_leave_one_descriptor(
    tmp_path: Path, run_python: RunPython
) -> None:
    """An audit hook stands for another thread: it is called when the file is about to be opened."""
    path = tmp_path / "small.frz"
    path.write_bytes(SMALL)
    code = """
import os, sys
from frozenfinder import Registry
registry = Registry.open(sys.argv[1])
others = []
def be_first(event, arguments):
    if event == "frozenfinder.open" and not others:
        others.append("")
        others[0] = registry.find_entry("core").name
def count():
    there = [f"/dev/fd/{each}" for each in os.listdir("/dev/fd")]
    return sum(os.path.samefile(each, sys.argv[1]) for each in there if os.path.exists(each))
before = count()
os.closerange(3, 1 << 16)
sys.addaudithook(be_first)
print(registry.find_entry("pkg").name, others, before, count())
"""
    assert run_python(code, path).stdout == "pkg ['core'] 1 1\n"


@posix_only
def test_a_low_limit_of_descriptors_is_kept_to(tmp_path: Path, run_python: RunPython) -> None:
    path = tmp_path / "small.frz"
    path.write_bytes(SMALL)
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from frozenfinder import Registry
print(Registry.open(sys.argv[1]).find_entry("pkg").name)
"""
    assert run_python(code, path).stdout == "pkg\n"


@posix_only
def test_an_environment_that_is_not_there_has_no_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "gone"))
    status = os.stat_result((0o100644, 1, 1, 1, 65533, 0, 1, 0, 0, 0))
    assert str(registry_module._find_distrust(status, "x")).startswith(
        "registry 'x' is owned by uid 65533, who can put code into it, expected root or uid "
    )


def test_bytes_in_memory_stay_as_many_as_they_were() -> None:
    assert registry_module._Memory(b"bytes", "memory").measure() == 5
