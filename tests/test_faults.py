"""Faults of the system: the short form of `faults.py`, and what it has found."""

import errno
import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import TESTS, TIMEOUT
from support.registries import build_registry, frozen

from frozenfinder.errors import RegistryError
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.system import syscalls

FAULTS = (sys.executable, "-m", "programs.faults")

linux_only = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs LD_PRELOAD and a compiler"
)
posix_only = pytest.mark.skipif(os.name != "posix", reason="descriptors are renumbered")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.frz"
    path.write_bytes(build_registry(frozen("m", "VALUE = 1")))
    path.chmod(0o644)
    return path


@pytest.mark.usefixtures("processes")
@linux_only
def test_every_call_that_fails_ends_well_or_in_a_documented_error() -> None:
    argv = [*FAULTS, "--step=7", "--kills=10", "--memory-step=311"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("FROZENFINDER", "COVERAGE"))}
    done = subprocess.run(
        argv,
        capture_output=True,
        check=False,
        cwd=TESTS,
        env=clean,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["findings"] == {"number": 0, "first": []}
    outcomes = report["outcomes"]
    for scenario in ("freeze", "extract", "lay out", "closed", "overlay"):
        struck = -(-outcomes[f"{scenario} calls"] // 7)
        ends = [name for name in outcomes if name.startswith(f"{scenario} ")]
        ends.remove(f"{scenario} calls")
        killed = outcomes[f"{scenario} killed"]
        assert struck / 2 < killed <= struck  # the last may come too late
        assert sum(outcomes[name] for name in ends) == 4 * struck + killed


@pytest.mark.parametrize("call", ["fstat", "close"])
def test_a_call_that_fails_on_opening_is_a_registry_error_or_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(syscalls, call)

    def fail(descriptor: int) -> None:
        if call == "close":
            real(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(syscalls, call, fail)
    if call == "fstat":
        with pytest.raises(RegistryError, match=r" cannot be read: Input/output error$"):
            Registry.open(file)
    else:
        registry = Registry.open(file)
        assert registry.find_entry("m") is not None
        registry.close()


@posix_only
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_descriptor_that_cannot_be_looked_at_is_not_taken_for_free(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """On a network file system whose server has forgotten the file, for one."""
    gc.collect()  # of other tests' registries, which have the highest numbers
    free = syscalls.fstat
    highest = min(os.sysconf("SC_OPEN_MAX"), 1024) - 1

    def fstat(descriptor: int) -> os.stat_result:
        if descriptor == highest:
            raise OSError(number, os.strerror(number))
        return free(descriptor)

    monkeypatch.setattr(syscalls, "fstat", fstat)
    registry = Registry.open(file)
    assert highest - 63 < registry._source._opened[1] < highest  # type: ignore[union-attr]
    registry.close()
