"""Pinned registries whose check is remembered: which ones are, and that every change is noticed."""

import hashlib
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.processes import RunPython
from support.registries import build_registry, frozen

from frozenfinder.errors import RegistryError, RegistryTrustError
from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.native import marks
from frozenfinder.native.marks import MARKS
from frozenfinder.native.pins import RememberedFile
from frozenfinder.runtime.registry import Registry

# each piece is larger than all that opening and one look-up read
PLAIN = build_registry(
    frozen("served_by_pins", "VALUE = 1"),
    *[frozen(f"m{number}", f"DATA = {'x' * 40_000!r}") for number in range(8)],
)
PINNED = hashlib.sha256(PLAIN).hexdigest()

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners and permissions")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to give files away"
)


class Pinned:
    """A registry's file, which is always pinned as by a new process, and the user's cache."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.path = folder / "app.frz"
        self.path.write_bytes(PLAIN)
        self.path.chmod(0o644)

    def pin(self, path: Path | None = None, **pins: str) -> Registry:
        return Registry.open(path or self.path).pin(**(pins or {"sha256": PINNED}))

    def is_remembered(self, path: Path | None = None, **pins: str) -> bool:
        """Whether it can be pinned without being read into memory."""
        registry = self.pin(path, **pins)
        assert registry.pinned
        assert eval_value(registry) == 1
        return is_in_place(registry)


def is_in_place(registry: Registry) -> bool:
    """Whether it is read from its file, and not in memory."""
    source: object = registry._source
    return isinstance(source, RememberedFile)


def number_of(registry: Registry) -> int:
    """The descriptor of its file."""
    source: Any = registry._source
    number: int = source.descriptor if isinstance(source, RememberedFile) else source._opened[1]
    return number


def eval_value(registry: Registry) -> object:
    entry = registry.find_entry("served_by_pins")
    assert entry is not None
    scope: dict[str, object] = {}
    exec(registry.load_code(entry, registry.read_blob(entry)), scope)
    return scope["VALUE"]


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pinned:
    monkeypatch.setattr(marks, "SETTLED", -1)
    made = Pinned(tmp_path)
    monkeypatch.setenv("FROZENFINDER_CACHE", str(made.cache))
    return made


def test_the_second_start_reads_the_file_in_place(
    pinned: Pinned, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [pinned.is_remembered() for _ in range(3)] == [False, True, True]
    assert pinned.cache.joinpath(MARKS).stat().st_mode & 0o777 == 0o600
    read: list[int] = []
    pread = os.pread

    def note(descriptor: int, size: int, offset: int) -> bytes:
        data = pread(descriptor, size, offset)
        read.append(len(data))
        return data

    monkeypatch.setattr("frozenfinder.runtime.registry._pread", note)
    assert pinned.is_remembered()
    assert sum(read) < len(PLAIN) / 2


def test_a_remembered_registry_equals_one_in_memory(pinned: Pinned) -> None:
    first, second = pinned.pin(), pinned.pin()
    assert [is_in_place(each) for each in (first, second)] == [False, True]
    assert first == second
    assert second != Registry.open(pinned.path)
    assert second.distrust is None


def test_a_file_that_was_only_just_written_is_read_again(
    pinned: Pinned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "SETTLED", 60_000_000_000)
    assert [pinned.is_remembered() for _ in range(2)] == [False, False]


def rewrite(path: Path) -> None:
    """Write into the file, and give it the time that it had."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(len(PLAIN) // 2)
        file.write(b"?")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def put_another(path: Path) -> None:
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(PLAIN[:-1] + b"?")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [rewrite, put_another])
def test_a_changed_file_is_refused(pinned: Pinned, change: Callable[[Path], None]) -> None:
    assert [pinned.is_remembered() for _ in range(2)] == [False, True]
    change(pinned.path)
    found = hashlib.sha256(pinned.path.read_bytes()).hexdigest()
    for _ in range(2):
        with pytest.raises(RegistryTrustError) as caught:
            pinned.pin()
        assert str(caught.value) == (
            f"registry '{pinned.path}' has SHA-256 {found}, expected {PINNED}; get the pinned "
            "registry, or change the pin if you trust this one"
        )


def test_another_pin_is_not_remembered(pinned: Pinned) -> None:
    assert [pinned.is_remembered() for _ in range(2)] == [False, True]
    with pytest.raises(RegistryTrustError, match="has SHA-256"):
        pinned.pin(sha256="0" * 64)
    assert pinned.is_remembered()


def test_a_pin_in_capitals_is_the_same(pinned: Pinned) -> None:
    assert not pinned.is_remembered()
    assert pinned.is_remembered(sha256=PINNED.upper())


def test_a_file_behind_a_link_is_remembered(pinned: Pinned) -> None:
    link = pinned.path.with_name("link.frz")
    link.symlink_to(pinned.path)
    assert [pinned.is_remembered(link) for _ in range(2)] == [False, True]
    assert pinned.is_remembered()


def test_a_registry_without_a_pin_is_in_memory(pinned: Pinned) -> None:
    for _ in range(2):
        assert not is_in_place(Registry.open(pinned.path).pin())
    assert not pinned.cache.exists()


def test_a_registry_in_memory_is_not_remembered(pinned: Pinned) -> None:
    for _ in range(2):
        assert not is_in_place(Registry.from_bytes(PLAIN).pin(sha256=PINNED))
    assert not pinned.cache.exists()


def test_each_registry_in_a_larger_file_is_remembered_by_itself(pinned: Pinned) -> None:
    other = build_registry(frozen("other", ""))
    pinned.path.write_bytes(b"#!launcher" + PLAIN + other)
    digests = [PINNED, hashlib.sha256(other).hexdigest()]
    places = [10, 10 + len(PLAIN)]
    for at, digest in zip(places, digests, strict=True):
        for is_kept in (False, True):
            registry = Registry.open(pinned.path, offset=at).pin(sha256=digest)
            assert (is_in_place(registry)) == is_kept
    with pytest.raises(RegistryTrustError, match="has SHA-256"):
        Registry.open(pinned.path, offset=places[1]).pin(sha256=PINNED)


# -- what is never remembered


def make_sticky_writable(pinned: Pinned) -> None:
    pinned.path.parent.chmod(0o777)


def close_cache(pinned: Pinned) -> None:
    pinned.cache.mkdir()
    pinned.cache.chmod(0o777)


UNSAFE: dict[str, Callable[[Pinned], object]] = {
    "a group can write to it": lambda pinned: pinned.path.chmod(0o664),
    "everybody can write to it": lambda pinned: pinned.path.chmod(0o646),
    "everybody can write to its folder": make_sticky_writable,
    "everybody can write to the cache": close_cache,
}


@pytest.mark.parametrize("change", UNSAFE.values(), ids=UNSAFE.keys())
def test_what_others_could_change_is_in_memory(
    pinned: Pinned, change: Callable[[Pinned], object]
) -> None:
    change(pinned)
    assert [pinned.is_remembered() for _ in range(2)] == [False, False]


@as_root
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_another_user_owns_is_in_memory(pinned: Pinned, what: str) -> None:
    os.chown(pinned.path if what == "file" else pinned.path.parent, 54321, 54321)
    assert [pinned.is_remembered() for _ in range(2)] == [False, False]


def test_what_others_can_change_since_then_is_in_memory(pinned: Pinned) -> None:
    assert [pinned.is_remembered() for _ in range(2)] == [False, True]
    pinned.path.chmod(0o666)
    assert not pinned.is_remembered()


def test_a_file_that_was_replaced_after_it_was_opened_is_in_memory(pinned: Pinned) -> None:
    assert [pinned.is_remembered() for _ in range(2)] == [False, True]
    registry = Registry.open(pinned.path)
    put_another(pinned.path)
    assert not is_in_place(registry.pin(sha256=PINNED))


def test_it_can_be_switched_off(pinned: Pinned, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [pinned.is_remembered() for _ in range(2)] == [False, True]
    monkeypatch.setenv("FROZENFINDER_WITHOUT", "patterns,pins")
    assert not pinned.is_remembered()


def test_without_a_home_nothing_is_remembered(
    pinned: Pinned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FROZENFINDER_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "nowhere")
    assert [pinned.is_remembered() for _ in range(2)] == [False, False]


def test_where_ctime_is_another_thing_nothing_is_remembered(
    pinned: Pinned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows: it is the time of creation."""
    assert [pinned.is_remembered() for _ in range(2)] == [False, True]
    monkeypatch.delattr(os, "geteuid")
    assert not pinned.is_remembered()


# -- a program that closes the descriptor


def test_a_closed_descriptor_is_opened_again(pinned: Pinned) -> None:
    pinned.pin()
    registry = pinned.pin()
    os.close(number_of(registry))
    assert eval_value(registry) == 1


@pytest.mark.parametrize("change", [rewrite, put_another])
def test_a_file_that_was_changed_is_not_opened_again(
    pinned: Pinned, change: Callable[[Path], None]
) -> None:
    """Although it has the same header, which is all that counts without a pin."""
    pinned.pin()
    for registry, is_pinned in ((pinned.pin(), True), (Registry.open(pinned.path), False)):
        os.close(number_of(registry))
        change(pinned.path)
        if not is_pinned:
            assert eval_value(registry) == 1
            return
        with pytest.raises(RegistryError) as caught:
            eval_value(registry)
        assert str(caught.value) == (
            f"registry '{pinned.path}' was changed on disk after the program closed its "
            "descriptor; restart the program"
        )


# -- signatures


@pytest.mark.skipif(
    find_spec("cryptography") is None, reason="`tox -e fast` does without cryptography"
)
class TestSignature:
    @pytest.fixture
    def key(self, pinned: Pinned, tmp_path: Path) -> str:
        """The key to verify with, after `pinned.path` was signed."""
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        pem = tmp_path / "key.pem"
        private = Ed25519PrivateKey.generate()
        pem.write_bytes(
            private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        )
        source = tmp_path / "src"
        source.mkdir()
        source.joinpath("served_by_pins.py").write_text("VALUE = 1\n")
        key = freeze(discover(Manifest(paths=(str(source),))), pinned.path, sign=pem).verify_key
        assert key is not None
        return key

    def test_the_second_start_checks_no_signature(
        self, pinned: Pinned, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert not pinned.is_remembered(verify_key=key)
        monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
        assert pinned.is_remembered(verify_key=key)

    def test_a_changed_file_is_refused(self, pinned: Pinned, key: str) -> None:
        assert [pinned.is_remembered(verify_key=key) for _ in range(2)] == [False, True]
        data = bytearray(pinned.path.read_bytes())
        data[-70] ^= 1
        pinned.path.write_bytes(data)
        with pytest.raises(RegistryTrustError, match="has a signature that does not match"):
            pinned.pin(verify_key=key)

    def test_each_pin_is_checked_once(self, pinned: Pinned, key: str) -> None:
        digest = hashlib.sha256(pinned.path.read_bytes()).hexdigest()
        assert not pinned.is_remembered(sha256=digest)
        for is_kept in (False, True):
            assert pinned.is_remembered(sha256=digest, verify_key=key) == is_kept

    def test_a_key_is_not_taken_for_a_digest(self, pinned: Pinned, key: str) -> None:
        assert [pinned.is_remembered(verify_key=key) for _ in range(2)] == [False, True]
        with pytest.raises(RegistryTrustError, match="has SHA-256"):
            pinned.pin(sha256=key)


def test_processes_remember_for_each_other(tmp_path: Path, run_python: RunPython) -> None:
    """Two seconds after the file was written, as everywhere."""
    made = Pinned(tmp_path)
    os.utime(made.path, (0, 0))
    code = """
import sys, time, os
import frozenfinder
while time.time_ns() - os.stat(sys.argv[1]).st_ctime_ns < 2_100_000_000:
    time.sleep(0.05)
registry = frozenfinder.install(sys.argv[1], sha256=sys.argv[2], mode="closed").registry
import served_by_pins
print(served_by_pins.VALUE, registry.pinned, type(registry._source).__name__)
"""
    env = {"FROZENFINDER_CACHE": str(made.cache)}
    found = [run_python(code, made.path, PINNED, env=env).stdout for _ in range(2)]
    assert found == ["1 True _Memory\n", "1 True RememberedFile\n"]
