"""Trust: whose registries are taken, pins and signatures, and what another user can try.

The tests of another user need root, to make files that belong to him and to be the victim.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.processes import TIMEOUT, Python, RunPython
from support.registries import build_registry, frozen, reseal, set_word

import frozenfinder
from frozenfinder import Mode
from frozenfinder.cli.commands import main
from frozenfinder.errors import FreezeError, RegistryError, RegistryTrustError
from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.freezer.write.sign import Signer
from frozenfinder.runtime import layout
from frozenfinder.runtime.registry import Registry

VICTIM, ATTACKER = 54321, 54322
PLAIN = build_registry(frozen("served_by_trust", "VALUE = 1"))
PINNED = hashlib.sha256(PLAIN).hexdigest()

posix_only = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners and permissions")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to be two users"
)


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    yield
    frozenfinder.uninstall()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.frz"
    path.write_bytes(PLAIN)
    path.chmod(0o644)
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "key.pem")


def make_key(path: Path, *, curve: bool = False) -> Path:
    """An Ed25519 key in PEM, or one that cannot sign registries."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key = ec.generate_private_key(ec.SECP256R1()) if curve else ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(
        key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    return path


def refuse(path: object, **options: object) -> str:
    """The message with which `install` refuses a registry."""
    with pytest.raises(RegistryTrustError) as caught:
        frozenfinder.install(path, **options)  # type: ignore[call-overload]
    assert frozenfinder.installed() == []
    assert isinstance(caught.value, RegistryError)
    return str(caught.value)


@posix_only
class TestOwnerAndPermissions:
    @pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o777])
    def test_a_file_that_others_can_write_to_is_refused(self, file: Path, mode: int) -> None:
        file.chmod(mode)
        assert refuse(file) == (
            f"registry '{file}' has mode {mode:04o}, so others can put code into it; "
            f'run "chmod go-w {file}", or trust it with --trusted or trusted=True'
        )

    @pytest.mark.parametrize("mode", [0o444, 0o600, 0o644, 0o755])
    def test_a_file_that_others_can_read_at_most_is_taken(self, file: Path, mode: int) -> None:
        file.chmod(mode)
        assert frozenfinder.install(file).registry is not None

    def test_looking_at_the_users_own_file_costs_no_system_call(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """But the `fstat` that opening makes anyway."""

        def fail(_: object) -> os.stat_result:
            raise AssertionError

        monkeypatch.setattr("frozenfinder.runtime.registry.syscalls.stat", fail)
        assert Registry.open(file).distrust is None

    def test_closed_mode_refuses_it_too(self, file: Path) -> None:
        file.chmod(0o666)
        assert "has mode 0666" in refuse(file, mode="closed")

    def test_an_open_registry_is_refused_too(self, file: Path) -> None:
        file.chmod(0o666)
        registry = Registry.open(file)
        file.chmod(0o644)
        assert "has mode 0666" in refuse(registry)

    def test_it_is_taken_by_who_trusts_it(self, file: Path) -> None:
        file.chmod(0o666)
        finder = frozenfinder.install(file, trusted=True)
        assert frozenfinder.installed() == [finder]

    def test_it_can_be_looked_into(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file.chmod(0o666)
        assert Registry.open(file).find_entry("served_by_trust") is not None
        assert main(["ls", str(file)]) == 0
        assert "served_by_trust" in capsys.readouterr().out

    def test_what_is_in_memory_has_no_owner(self) -> None:
        assert Registry.from_bytes(PLAIN).distrust is None

    def test_where_there_are_no_owners_everything_is_taken(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.chmod(0o666)
        monkeypatch.setattr("frozenfinder.runtime.registry._geteuid", None)
        assert Registry.open(file).distrust is None

    def test_a_freeze_writes_what_an_install_takes(self, tmp_path: Path) -> None:
        tmp_path.joinpath("mod.py").touch()
        before = os.umask(0)
        try:
            freeze(discover(Manifest(paths=(str(tmp_path),))), tmp_path / "app.frz")
        finally:
            os.umask(before)
        assert Registry.open(tmp_path / "app.frz").distrust is None

    def test_a_file_opened_again_has_to_be_as_trustworthy(self, file: Path) -> None:
        registry = Registry.open(file)
        registry.close()
        file.chmod(0o666)
        with pytest.raises(RegistryTrustError, match=r" has mode 0666, so others can put code "):
            registry.find_entry("served_by_trust")

    def test_a_trusted_file_is_opened_again_as_it_is(self, file: Path) -> None:
        file.chmod(0o666)
        registry = Registry.open(file)
        registry.close()
        assert registry.find_entry("served_by_trust") is not None


class TestPin:
    def test_the_content_that_was_pinned_is_taken(self, file: Path) -> None:
        finder = frozenfinder.install(file, sha256=PINNED.upper())
        assert finder.registry is not None
        assert finder.registry.pinned
        assert finder.registry.path == str(file)
        assert frozenfinder.install(file, sha256=PINNED) is finder

    def test_any_other_is_refused(self, file: Path) -> None:
        file.write_bytes(build_registry(frozen("other")))
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        assert refuse(file, sha256=PINNED) == (
            f"registry '{file}' has SHA-256 {found}, expected {PINNED}; get the pinned "
            "registry, or change the pin if you trust this one"
        )

    def test_it_makes_up_for_the_permissions(self, file: Path) -> None:
        file.chmod(0o666)
        assert frozenfinder.install(file, sha256=PINNED).registry is not None

    @pytest.mark.parametrize("mode", ["overlay", "closed"])
    def test_what_is_written_to_the_file_afterwards_is_not_served(
        self, file: Path, mode: Mode
    ) -> None:
        finder = frozenfinder.install(file, sha256=PINNED, mode=mode)
        assert finder.registry is not None
        file.write_bytes(b"?" * len(PLAIN))
        entry = finder.registry.find_entry("served_by_trust")
        assert entry is not None
        assert finder.registry.read_blob(entry)

    def test_bytes_and_open_registries_are_pinned_too(self) -> None:
        assert frozenfinder.install(PLAIN, sha256=PINNED).registry is not None
        frozenfinder.uninstall()
        registry = Registry.from_bytes(PLAIN)
        assert "has SHA-256" in refuse(registry, sha256="0" * 64)

    def test_a_pinned_registry_is_not_the_one_that_is_not(self, file: Path) -> None:
        registry = Registry.open(file)
        pinned = registry.pin(sha256=PINNED)
        assert registry != pinned
        assert pinned == registry.pin()

    def test_a_registry_in_a_larger_file_is_pinned_by_its_own_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "app.pyz"
        path.write_bytes(b"#!launcher" + PLAIN + b"PK")
        registry = Registry.open(path, offset=10)
        assert registry.pin(sha256=PINNED).read_unchecked() == PLAIN

    @pytest.mark.parametrize("text", ["", "ab", "x" * 64, PINNED + "00", "é" * 64])
    def test_what_is_not_hexadecimal_is_a_value_error(self, file: Path, text: str) -> None:
        for argument in ("sha256", "verify_key"):
            with pytest.raises(ValueError, match=f"^{argument} is '.*', expected 32 bytes in hex"):
                frozenfinder.install(file, **{argument: text})  # type: ignore[call-overload]

    def test_a_file_cut_short_meanwhile_is_refused(self, file: Path) -> None:
        registry = Registry.open(file)
        os.truncate(file, 400)
        with pytest.raises(RegistryError) as caught:
            registry.pin(sha256=PINNED)
        message = f"registry '{file}': has 400 bytes, its header says {len(PLAIN)}"
        assert str(caught.value) == message

    def test_a_disk_that_fails_is_told(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = Registry.open(file)

        def fail(*_: int) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("frozenfinder.runtime.registry._pread", fail)
        with pytest.raises(RegistryError) as caught:
            registry.pin()
        assert str(caught.value).endswith(": the content cannot be read: Input/output error")
        assert caught.value.offset == 0

    @pytest.mark.parametrize("missing", ["_hashlib", "_hashlib _sha2", "_hashlib _sha256"])
    def test_without_openssl_cpythons_own_sha256_does(
        self, file: Path, run_python: RunPython, missing: str
    ) -> None:
        own = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
        code = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split()))
import frozenfinder
try:
    print(frozenfinder.install(sys.argv[2], sha256=sys.argv[3]).registry.pinned)
except ImportError as error:
    print(type(error).__name__)
"""
        found = run_python(code, missing, file, PINNED).stdout
        assert found == ("ModuleNotFoundError\n" if own in missing.split() else "True\n")


@pytest.mark.skipif(
    find_spec("cryptography") is None, reason="`tox -e fast` does without cryptography"
)
class TestSignature:
    @pytest.fixture
    def signed(self, tmp_path: Path, key: Path) -> Path:
        source = tmp_path / "src"
        source.mkdir()
        source.joinpath("served_by_trust.py").write_text("VALUE = 1\n")
        plan = discover(Manifest(paths=(str(source),)))
        self.report = freeze(plan, tmp_path / "signed.frz", sign=key)
        self.again = freeze(plan, tmp_path / "again.frz", sign=key)
        freeze(plan, tmp_path / "plain.frz")
        return tmp_path / "signed.frz"

    @property
    def verify_key(self) -> str:
        assert self.report.verify_key is not None
        return self.report.verify_key

    def test_a_registry_signed_with_the_key_is_taken(self, signed: Path) -> None:
        finder = frozenfinder.install(signed, verify_key=self.verify_key, mode="closed")
        assert finder.registry is not None
        assert finder.registry.pinned

    def test_the_message_is_what_the_format_says(self, signed: Path) -> None:
        data = signed.read_bytes()
        message = b"frozenfinder registry\0" + hashlib.sha256(data[:-64]).digest()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.verify_key))
        public.verify(data[-64:], message)

    def test_signing_twice_gives_the_same_bytes(self, signed: Path, tmp_path: Path) -> None:
        assert signed.read_bytes() == tmp_path.joinpath("again.frz").read_bytes()
        assert self.again.verify_key == self.verify_key

    def test_who_asks_for_none_takes_a_signed_registry(self, signed: Path) -> None:
        assert frozenfinder.install(signed).registry is not None

    def test_a_registry_without_one_is_refused(self, signed: Path) -> None:
        plain = signed.with_name("plain.frz")
        assert refuse(plain, verify_key=self.verify_key) == (
            f"registry '{plain}' has no signature, expected one by the key {self.verify_key}; "
            "freeze it again with --sign"
        )

    def test_another_key_is_refused(self, signed: Path, tmp_path: Path) -> None:
        other = Signer(make_key(tmp_path / "other.pem")).verify_key
        assert refuse(signed, verify_key=other) == (
            f"registry '{signed}' has a signature that does not match its content and the "
            f"key {other}; it was changed, or signed with another key"
        )

    def test_any_byte_changed_is_refused(self, signed: Path) -> None:
        data = signed.read_bytes()
        for at in range(layout.HEADER_SIZE, len(data), 37):
            changed = reseal(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            if changed == data:
                continue  # it was in a digest
            with pytest.raises(RegistryError):
                Registry.from_bytes(changed).pin(verify_key=self.verify_key)

    def test_a_header_that_is_changed_is_refused(self, signed: Path) -> None:
        changed = reseal(set_word(signed.read_bytes(), 72, 99))  # the number of modules
        message = refuse(changed, verify_key=self.verify_key)
        assert message.startswith(
            "registry '<bytes>' has a signature that does not match its content "
        )

    def test_without_the_library_it_is_refused(
        self, signed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
        assert refuse(signed, verify_key=self.verify_key) == (
            f"registry '{signed}': its signature cannot be checked: import of "
            "cryptography.exceptions halted; None in sys.modules; run: pip "
            "install 'frozenfinder[sign]'"
        )

    def test_without_the_library_nothing_is_signed(
        self, key: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
        with pytest.raises(FreezeError) as caught:
            Signer(key)
        assert str(caught.value) == (
            f"key '{key}' cannot be used: import of cryptography.exceptions halted; None in "
            "sys.modules; run: pip install 'frozenfinder[sign]'"
        )

    def test_a_key_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "absent.pem"
        with pytest.raises(FreezeError) as caught:
            Signer(path)
        assert str(caught.value) == f"key '{path}' cannot be read: No such file or directory"

    def test_what_is_no_key_is_told(self, file: Path) -> None:
        with pytest.raises(FreezeError) as caught:
            Signer(file)
        assert str(caught.value) == (
            f"key '{file}' is not an unencrypted private key in PEM format; create one with: "
            "openssl genpkey -algorithm ed25519"
        )

    def test_a_key_of_another_kind_is_told(self, tmp_path: Path) -> None:
        path = make_key(tmp_path / "curve.pem", curve=True)
        with pytest.raises(FreezeError) as caught:
            Signer(path)
        assert str(caught.value).startswith(f"key '{path}' is a ")
        assert str(caught.value).endswith(
            ", expected an Ed25519 key; create one with: openssl genpkey -algorithm ed25519"
        )

    def test_a_key_that_will_not_do_leaves_the_output_alone(
        self, file: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(FreezeError):
            freeze(discover(Manifest(paths=(str(tmp_path),))), file, sign=tmp_path / "absent.pem")
        assert file.read_bytes() == PLAIN


class TestVerify:
    """What `frozenfinder verify` says of who can change a registry."""

    def test_it_prints_what_can_be_pinned(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["verify", str(file)]) == 0
        assert capsys.readouterr().out == (
            f"registry '{file}' is intact: 1 modules, 0 files, {len(PLAIN)} bytes, not signed\n"
            f"SHA-256 {PINNED}\n"
        )

    @posix_only
    def test_it_tells_that_others_can_write(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file.chmod(0o666)
        assert main(["verify", str(file)]) == 1
        assert capsys.readouterr().out.startswith(f"registry '{file}' has mode 0666, so ")

    @posix_only
    def test_it_tells_that_others_can_replace_it(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file.parent.chmod(0o777)
        assert main(["verify", str(file)]) == 1
        assert capsys.readouterr().out.startswith(
            f"registry '{file}': the folder '{file.parent}' above it is writable by everybody, so "
            "others can replace the registry\n"
        )

    @posix_only
    def test_it_looks_above_the_file_that_a_link_leads_to(
        self, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "folder"
        folder.mkdir()
        folder.joinpath("link.frz").symlink_to(file.rename(folder / "app.frz"))
        link = tmp_path / "link.frz"
        link.symlink_to(folder / "app.frz")
        folder.chmod(0o777)
        assert main(["verify", str(link)]) == 1
        assert f"the folder '{folder}' above it is writable by everybody" in capsys.readouterr().out

    @posix_only
    def test_a_pin_that_holds_makes_up_for_it(self, file: Path) -> None:
        file.chmod(0o666)
        assert main(["verify", str(file), "--sha256", PINNED]) == 0

    def test_a_pin_that_does_not_hold_is_told(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["verify", str(file), "--sha256", "0" * 64]) == 1
        assert f"has SHA-256 {PINNED}, expected {'0' * 64}; " in capsys.readouterr().out
        assert main(["verify", str(file), "--verify-key", "0" * 64, "--json"]) == 1
        assert '"exposed": [' in capsys.readouterr().out

    def test_a_pin_that_cannot_be_is_wrong_usage(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["verify", str(file), "--sha256", "ab"]) == 2
        assert "sha256 is 'ab', expected 32 bytes in hexadecimal; " in capsys.readouterr().err

    @posix_only
    def test_what_somebody_else_made_is_not_unmarshalled(
        self, file: Path, run_python: RunPython
    ) -> None:
        code = """
import sys
from frozenfinder.cli.commands import main
loads = []
sys.addaudithook(lambda event, args: event == "marshal.loads" and loads.append(bytes(args[0])))
before = len(loads)
status = main(["verify", *sys.argv[1:]])
print(status, any(b"served_by_trust" in data for data in loads))
"""
        assert run_python(code, file).stdout.splitlines()[-1] == "0 True"
        file.chmod(0o666)
        assert run_python(code, file).stdout.splitlines()[-1] == "1 False"


class TestRun:
    def test_run_takes_a_registry_as_install_does(self, file: Path, python: Python) -> None:
        run = ("-m", "frozenfinder", "run")
        done = python(*run, "--sha256", "0" * 64, file, "-c", "", check=False)
        assert (done.returncode, done.stderr.partition(", expected")[0]) == (
            2,
            f"frozenfinder: registry '{file}' has SHA-256 {PINNED}",
        )
        done = python(*run, f"--sha256={PINNED}", file, "-c", "print(1)")
        assert done.stdout == "1\n"
        done = python(*run, "--verify-key", "ab", file, "-c", "", check=False)
        assert done.returncode == 2
        assert done.stderr == (
            "frozenfinder: verify_key is 'ab', expected 32 bytes in hexadecimal; see "
            "'frozenfinder run --help'\n"
        )

    @posix_only
    def test_run_trusts_what_it_is_told_to(self, file: Path, python: Python) -> None:
        file.chmod(0o666)
        run = ("-m", "frozenfinder", "run")
        assert python(*run, file, "-c", "", check=False).returncode == 2
        assert python(*run, "--trusted", file, "-c", "print(1)").stdout == "1\n"


INSTALL = """
import sys
import frozenfinder
try:
    finder = frozenfinder.install(*sys.argv[1:], mode="closed")
    import served_by_trust
    print("ran", getattr(served_by_trust, "VALUE", None))
except ImportError as error:
    print(type(error).__name__, error)
"""


@as_root
@pytest.mark.usefixtures("processes")
class TestAnotherUser:
    """What an attacker tries so that a victim's program runs his code."""

    @pytest.fixture
    def home(self) -> Iterator[Path]:
        """The victim's folder, which everybody can reach; pytest's own folders are closed."""
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o711)
            home = Path(name) / "home"
            home.mkdir()
            os.chown(home, VICTIM, VICTIM)
            yield home

    @pytest.fixture
    def registry(self, home: Path) -> Path:
        return place(home / "app.frz", VICTIM)

    def run(self, user: int, code: str, *arguments: object, flag: str = "-s", **env: str) -> str:
        """What a fresh process prints that becomes a user's before it runs the code.

        What the code imports is imported before: the interpreter may be where only root can go.
        """
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FROZEN"))}
        setup = f"""
import sys
sys.path.append({str(Path(frozenfinder.__file__).parent.parent)!r})
import hashlib, os, shutil, subprocess
import frozenfinder
from frozenfinder.native import cache, parcel, workers
from frozenfinder.closed import finder as closed_finder
from frozenfinder.runtime import hooks
from frozenfinder import public, trust
os.setgroups([])
os.setgid({user})
os.setuid({user})
"""
        done = subprocess.run(
            [sys.executable, flag, "-c", setup + textwrap.dedent(code), *map(str, arguments)],
            env=clean | env,
            cwd="/",
            capture_output=True,
            check=False,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_the_victims_own_registry_runs(self, registry: Path) -> None:
        assert self.run(VICTIM, INSTALL, registry) == "ran 1\n"

    def test_roots_registry_runs(self, registry: Path) -> None:
        os.chown(registry, 0, 0)
        assert self.run(VICTIM, INSTALL, registry) == "ran 1\n"

    def test_a_registry_of_the_attackers_is_refused(self, registry: Path) -> None:
        os.chown(registry, ATTACKER, ATTACKER)
        assert self.run(VICTIM, INSTALL, registry) == (
            f"RegistryTrustError registry '{registry}' is owned by uid {ATTACKER}, who can put "
            f"code into it, expected root or uid {VICTIM}; freeze it again, pin its SHA-256, or "
            "install it with trusted=True\n"
        )

    def test_root_refuses_a_users_registry(self, registry: Path) -> None:
        assert "is owned by uid" in refuse(registry)

    def test_the_owner_of_the_environment_is_trusted(self, registry: Path, home: Path) -> None:
        os.chown(registry, ATTACKER, ATTACKER)
        code = f"import sys; sys.prefix = {str(home)!r}\n{INSTALL}"
        assert "is owned by uid" in self.run(VICTIM, code, registry)
        os.chown(home, ATTACKER, ATTACKER)
        assert self.run(VICTIM, code, registry) == "ran 1\n"
        assert "is owned by uid" in self.run(
            VICTIM, f"import sys; sys.prefix = '/absent'\n{INSTALL}", registry
        )

    def test_a_link_of_the_attackers_leads_to_what_is_looked_at(
        self, home: Path, registry: Path
    ) -> None:
        evil = place(home / "evil.frz", ATTACKER, "VALUE = 'evil'")
        link = home / "link.frz"
        link.symlink_to(evil)
        os.chown(link, VICTIM, VICTIM, follow_symlinks=False)
        assert "is owned by uid" in self.run(VICTIM, INSTALL, link)
        link.unlink()
        link.symlink_to(registry)
        os.chown(link, ATTACKER, ATTACKER, follow_symlinks=False)
        assert self.run(VICTIM, INSTALL, link) == "ran 1\n"

    def test_a_pipe_of_the_attackers_does_not_hold_the_victim_up(self, home: Path) -> None:
        os.mkfifo(home / "pipe.frz")
        os.chown(home / "pipe.frz", ATTACKER, ATTACKER)
        assert " is not a file, " in self.run(VICTIM, INSTALL, home / "pipe.frz")

    def test_a_race_between_check_and_use_is_lost(self, home: Path, registry: Path) -> None:
        """The path changes to the attacker's file at every call of the system that opens make."""
        evil = place(home / "evil.frz", ATTACKER, "VALUE = 'evil'")
        code = """
        import os, posix, sys
        import frozenfinder, frozenfinder.runtime.registry, frozenfinder.runtime.system
        good, evil, path = sys.argv[1:]
        def attempt(at):
            calls = 0
            if os.path.lexists(path):
                os.unlink(path)
            os.symlink(good, path)
            class System:
                def __getattr__(self, name):
                    real = getattr(posix, name)
                    def call(*args):
                        nonlocal calls
                        calls += 1
                        if calls == at:
                            os.unlink(path)
                            os.symlink(evil, path)
                        return real(*args)
                    return call if callable(real) else real
            frozenfinder.runtime.registry.syscalls = frozenfinder.runtime.system.syscalls = System()
            try:
                finder = frozenfinder.install(path, mode="closed")
                import served_by_trust
                outcome = served_by_trust.VALUE
            except ImportError as error:
                outcome = type(error).__name__
            finally:
                frozenfinder.uninstall()
                sys.modules.pop("served_by_trust", None)
            return calls, outcome
        total, outcome = attempt(-1)
        print(total > 3, outcome, *sorted({str(attempt(at)[1]) for at in range(1, total + 1)}))
        """
        found = self.run(VICTIM, code, registry, evil, home / "path.frz")
        assert found == "True 1 1 RegistryTrustError\n"

    def test_a_registry_put_in_its_place_while_its_descriptor_was_closed_is_refused(
        self, home: Path, registry: Path
    ) -> None:
        """The attacker's has the same header: he can make every digest fit."""
        forged = home / "forged.frz"
        data = registry.read_bytes()
        forged.write_bytes(data[:-1] + b"?")
        os.chown(forged, ATTACKER, ATTACKER)
        code = """
        import os, sys
        import frozenfinder
        finder = frozenfinder.install(sys.argv[1], mode="closed")
        os.closerange(3, 4096)
        os.rename(sys.argv[2], sys.argv[1])
        try:
            import served_by_trust
        except ImportError as error:
            print(type(error).__name__)
        """
        assert self.run(VICTIM, code, registry, forged) == "RegistryTrustError\n"

    @pytest.mark.parametrize("flag", ["-E", "-I"])
    def test_the_environment_says_nothing_under_the_flag(self, registry: Path, flag: str) -> None:
        code = """
        import sys
        import frozenfinder
        from frozenfinder.runtime import system
        names = ("", "_REGISTRY", "_DEBUG", "_CACHE", "_WITHOUT")
        print([system.environment("FROZENFINDER" + name) for name in names])
        print(sys.argv[1] == frozenfinder.default_registry())
        """
        names = ("", "_REGISTRY", "_DEBUG", "_CACHE", "_WITHOUT")
        env = {f"FROZENFINDER{name}": str(registry) for name in names}
        assert self.run(VICTIM, code, registry, flag=flag, **env) == f"{[None] * 5}\nFalse\n"
        assert self.run(VICTIM, code, registry, **env).endswith("\nTrue\n")

    def test_a_registry_named_by_the_environment_is_looked_at_too(self, registry: Path) -> None:
        os.chown(registry, ATTACKER, ATTACKER)
        found = self.run(VICTIM, INSTALL, FROZENFINDER_REGISTRY=str(registry))
        assert found.startswith("RegistryTrustError ")

    @pytest.mark.parametrize("way", ["owner", "mode", "link", "above"])
    def test_a_cache_that_the_attacker_can_write_to_is_not_used(self, home: Path, way: str) -> None:
        cache = home / "above" / "cache"
        cache.mkdir(parents=True)
        for folder in (cache.parent, cache):
            os.chown(folder, VICTIM, VICTIM)
            folder.chmod(0o700)
        if way == "owner":
            os.chown(cache, ATTACKER, ATTACKER)
            cache.chmod(0o777)
        elif way == "mode":
            cache.chmod(0o777)
        elif way == "link":
            cache.rmdir()
            cache.symlink_to(home)
            os.chown(cache, ATTACKER, ATTACKER, follow_symlinks=False)
        else:
            cache.parent.chmod(0o777)
        code = """
        import sys
        from frozenfinder.native.cache import ExtensionCache
        from frozenfinder.native.folder import UnusableError
        try:
            ExtensionCache(sys.argv[1]).check()
        except UnusableError as error:
            print("refused")
        """
        assert self.run(VICTIM, code, cache) == "refused\n"

    def test_a_file_that_the_attacker_put_into_the_cache_is_replaced(self, home: Path) -> None:
        """It got there before its folder was closed; its content is right when it is looked at."""
        code = """
        import hashlib, os, sys
        from frozenfinder.native.cache import ExtensionCache
        from frozenfinder.native.parcel import Parcel, ParcelFile
        class Content:
            def prepare(self):
                pass
            def read(self):
                return [b"good"]
            def matches(self, pieces):
                return b"".join(pieces) == b"good"
        digest = hashlib.sha256(b"good").hexdigest()
        file = ParcelFile(path="pkg/mod.so", digest=digest, size=4, is_library=False)
        parcel = Parcel(digest=digest, files=(file,))
        cache = ExtensionCache(sys.argv[1])
        path, = cache.provide(parcel, [(file, Content())])
        print(path, os.stat(path).st_uid, oct(os.stat(path).st_mode & 0o777))
        """
        cache = home / "cache"
        path = Path(self.run(VICTIM, code, cache).split()[0])
        path.unlink()
        path.write_bytes(b"good")
        os.chown(path, ATTACKER, ATTACKER)
        path.chmod(0o777)
        assert self.run(VICTIM, code, cache) == f"{path} {VICTIM} 0o500\n"

    def test_code_of_an_attackers_registry_is_not_frozen_again(self, home: Path) -> None:
        """It was at the output before, and names the source that is frozen, with its stamp."""
        source = home / "src"
        source.mkdir()
        module = source / "served_by_trust.py"
        module.write_text("VALUE = 'evil'\n")
        os.utime(module, (1_700_000_000, 1_700_000_000))
        output = home / "app.frz"
        plan = discover(Manifest(paths=(str(source),)))
        freeze(plan, output)
        os.chown(output, ATTACKER, ATTACKER)
        module.write_text("VALUE = 'good'\n")
        os.utime(module, (1_700_000_000, 1_700_000_000))
        report = freeze(discover(Manifest(paths=(str(source),))), output)
        assert (report.reused, report.compiled) == (0, 1)
        assert b"good" in output.read_bytes()
        assert output.stat().st_uid == os.geteuid()


def place(path: Path, user: int, source: str = "VALUE = 1") -> Path:
    """A registry that belongs to a user."""
    path.write_bytes(build_registry(frozen("served_by_trust", source)))
    path.chmod(0o644)
    os.chown(path, user, user)
    return path
