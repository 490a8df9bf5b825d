"""`enable`, `disable` and `status`: what an environment's interpreters do when they start.

The environment lies below a folder whose name needs quoting everywhere, and so does the registry.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.activated import ODD, POSIX, Env, make_environment
from support.processes import RunPython
from support.registries import build_registry, frozen, section_range

from frozenfinder import activation
from frozenfinder.cli import UsageError
from frozenfinder.cli.enable import check_is_read
from frozenfinder.enable.files import TRIGGER, ActivationFile, Enabled
from frozenfinder.runtime.registry import Registry

SERVED = """
import sys
import m
hooks = sys.modules.get("frozenfinder.runtime.hooks")
print(m.VALUE, *[(finder.mode, finder.served) for finder in hooks.installed()] if hooks else [])
"""


@pytest.fixture(scope="module")
def built(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Env:
    return make_environment(tmp_path_factory.mktemp("activation"))


@pytest.fixture
def env(built: Env) -> Iterator[Env]:
    """The environment with nothing enabled, and its registry as it was."""
    content = built.registry.read_bytes()
    yield built
    ActivationFile(built.packages).remove()
    assert built.files == set()
    built.registry.write_bytes(content)


@pytest.fixture
def enabled(env: Env) -> Env:
    env.cli("enable", env.registry)
    return env


# -- what starts


@pytest.mark.parametrize("flags", [[], ["-I"], ["-E"], ["-P"], ["-X", "frozen_modules=off"]])
def test_an_interpreter_starts_with_the_registry(enabled: Env, flags: list[str]) -> None:
    assert enabled.tell(*flags, "-c", SERVED) == "served ('overlay', 1)\n"


def test_it_is_not_loaded_where_site_is_not(enabled: Env) -> None:
    code = f"import sys; sys.path.append({str(enabled.lib)!r})\n{SERVED}"
    assert enabled.tell("-S", "-c", code) == "served\n"


def test_frozenfinder_off_starts_as_stock(enabled: Env) -> None:
    assert enabled.tell("-c", SERVED, FROZENFINDER="off") == "served\n"


def test_another_optimisation_level_starts_as_stock_without_a_word(enabled: Env) -> None:
    assert enabled.tell("-O", "-c", SERVED) == "served\n"


@pytest.mark.parametrize(("options", "told"), [([], ""), (["--fast-exit"], "hidden\n")])
def test_processes_end_fast_only_if_asked(env: Env, options: list[str], told: str) -> None:
    env.cli("enable", *options, env.registry)
    code = "import gc, os, m; gc.freeze = lambda: os.write(1, b'hidden\\n')"
    assert env.tell("-c", code) == told
    assert env.status()["problem"] is None


def test_closed_mode_needs_no_sources(env: Env) -> None:
    env.cli("enable", "--mode", "closed", env.registry)
    moved = env.lib.rename(env.root / "moved")
    try:
        assert env.tell("-c", SERVED) == "served ('closed', 1)\n"
    finally:
        moved.rename(env.lib)


def test_a_registry_outside_the_environment_is_enabled_by_its_absolute_path(env: Env) -> None:
    outside = env.root / f"{ODD}.frz"
    shutil.copy2(env.registry, outside)
    env.cli("enable", os.path.relpath(outside, env.root))
    assert env.tell("-c", SERVED) == "served ('overlay', 1)\n"
    assert env.status()["registry"] == str(outside)


@pytest.mark.skipif(not POSIX, reason="a virtual environment that finds its interpreter by a link")
def test_a_registry_below_the_prefix_moves_with_the_environment(enabled: Env) -> None:
    moved = Env(enabled.root)
    moved.prefix = enabled.prefix.rename(enabled.root / "elsewhere")
    try:
        assert moved.tell("-c", SERVED) == "served ('overlay', 1)\n"
    finally:
        moved.prefix.rename(enabled.prefix)


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_subinterpreters_have_it_too(enabled: Env, kind: str) -> None:
    code = f"""
import sys
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    new = interpreters.create({kind!r})
else:
    import _xxsubinterpreters as interpreters
    new = interpreters.create(isolated={kind == "isolated"})
failure = interpreters.run_string(new, {SERVED + "sys.stdout.flush()"!r})
assert failure is None, failure.formatted
interpreters.destroy(new)
"""
    assert enabled.tell("-c", code) == "served ('overlay', 1)\n"


@pytest.mark.parametrize("mode", ["overlay", "closed"])
def test_processes_that_a_program_starts_have_it_too(env: Env, mode: str) -> None:
    env.cli("enable", "--mode", mode, env.registry)
    code = f"""
import multiprocessing, subprocess, sys
for method in multiprocessing.get_all_start_methods():
    process = multiprocessing.get_context(method).Process(target=exec, args=({SERVED!r}, {{}}))
    process.start()
    process.join()
subprocess.run([sys.executable, "-c", {SERVED!r}])
"""
    served = re.findall(r"served \('(\w+)', [1-9]", env.tell("-c", code))
    assert served == [mode] * (4 if POSIX else 2)


# -- what could keep it from starting


def assert_starts(env: Env, stderr: str) -> None:
    """It starts as stock, with one line on stderr at most."""
    done = env.run("-c", SERVED)
    assert (done.returncode, done.stdout) == (0, "served\n")
    assert done.stderr.startswith(stderr)
    assert done.stderr.count("\n") == (1 if stderr else 0)


def test_it_starts_where_the_registry_has_gone(enabled: Env) -> None:
    content = enabled.registry.read_bytes()
    enabled.registry.unlink()
    path = str(enabled.registry)
    try:
        assert_starts(enabled, f"frozenfinder serves nothing: registry {path!r} does not exist; ")
        assert "does not exist" in enabled.status(1)["problem"]
    finally:
        enabled.registry.write_bytes(content)


def test_it_starts_where_the_registry_is_damaged(enabled: Env) -> None:
    enabled.registry.write_bytes(enabled.registry.read_bytes()[:100])
    assert_starts(enabled, "frozenfinder serves nothing: registry ")
    assert enabled.status(1)["serves"] is False


def test_it_starts_where_a_module_of_the_registry_is_damaged(enabled: Env) -> None:
    data = bytearray(enabled.registry.read_bytes())
    data[section_range(bytes(data), "blobs")[0]] ^= 1
    enabled.registry.write_bytes(data)
    done = enabled.run("-c", "import m; print(m.VALUE)")
    assert (done.returncode, done.stdout) == (0, "served\n")
    assert "RuntimeWarning: frozenfinder uses normal imports from now on: " in done.stderr


def test_it_starts_where_the_registry_is_for_another_interpreter(enabled: Env) -> None:
    enabled.registry.write_bytes(build_registry(frozen("m"), cache_tag="cpython-299"))
    assert_starts(enabled, "frozenfinder serves nothing: registry ")
    assert "was frozen for cache tag cpython-299" in enabled.status(1)["problem"]


def test_it_starts_without_a_word_where_the_package_has_gone(enabled: Env) -> None:
    package = enabled.packages / "frozenfinder"
    moved = package.rename(enabled.root / "frozenfinder moved")
    try:
        assert_starts(enabled, "")
    finally:
        moved.rename(package)


def test_warnings_that_are_errors_do_not_keep_it_from_starting(enabled: Env) -> None:
    assert enabled.tell("-W", "error", "-c", SERVED) == "served ('overlay', 1)\n"


@pytest.mark.skipif(not POSIX, reason="permissions")
def test_a_registry_that_others_can_write_to_is_not_used(enabled: Env) -> None:
    enabled.registry.chmod(0o666)
    try:
        assert_starts(enabled, "frozenfinder serves nothing: registry ")
        assert "has mode 0666" in enabled.status(1)["problem"]
        assert enabled.run("-m", "frozenfinder", "disable").returncode == 0
        enabled.cli("enable", "--trusted", enabled.registry)
        assert enabled.tell("-c", SERVED) == "served ('overlay', 1)\n"
    finally:
        enabled.registry.chmod(0o644)


def test_a_registry_that_is_not_the_one_that_was_pinned_is_not_used(env: Env) -> None:
    pin = hashlib.sha256(env.registry.read_bytes()).hexdigest()
    env.cli("enable", "--sha256", pin, env.registry)
    assert env.tell("-c", SERVED) == "served ('overlay', 1)\n"
    assert env.status()["serves"] is True
    data = bytearray(env.registry.read_bytes())
    data[-1] ^= 1
    env.registry.write_bytes(data)
    assert_starts(env, "frozenfinder serves nothing: registry ")


# -- enable, disable


def test_enable_writes_a_file_and_disable_removes_it(env: Env) -> None:
    where = f"registry {str(env.registry)!r} is enabled in overlay mode by "
    trigger = str(env.packages / TRIGGER)
    assert env.cli("enable", env.registry) == f"{where}{trigger!r}\n"
    assert env.files == {TRIGGER}
    assert env.cli("disable") == f"removed {trigger!r}\n"
    assert env.files == set()
    assert env.cli("disable") == "nothing was enabled\n"
    assert env.tell("-c", SERVED) == "served\n"


def test_enabling_again_changes_nothing(enabled: Env) -> None:
    before = {name: (enabled.packages / name).read_bytes() for name in enabled.files}
    enabled.cli("enable", enabled.registry)
    assert {name: (enabled.packages / name).read_bytes() for name in before} == before
    assert enabled.tell("-c", SERVED) == "served ('overlay', 1)\n"


def test_enabling_another_replaces_it_within_the_same_second(env: Env) -> None:
    others = [env.prefix / f"{number}.frz" for number in (1, 2)]
    code = "import frozenfinder; print([f.registry.path for f in frozenfinder.installed()])"
    for other in others:
        shutil.copy2(env.registry, other)
        ActivationFile(env.packages, str(env.prefix)).write(
            Enabled(str(other), {"mode": "overlay"})
        )
        assert env.tell("-c", code) == f"{[str(other)]}\n"


def test_files_that_cannot_be_written_are_told_in_one_line(env: Env) -> None:
    in_the_way = env.packages / TRIGGER
    in_the_way.mkdir()
    try:
        done = env.run("-m", "frozenfinder", "enable", env.registry)
    finally:
        in_the_way.rmdir()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"frozenfinder: the activation file in {str(env.packages)!r} cannot be changed: "
    )
    assert done.stderr.count("\n") == 1
    assert env.files == set()


def test_a_registry_for_another_interpreter_is_not_enabled(env: Env) -> None:
    done = env.run("-O", "-m", "frozenfinder", "enable", env.registry)
    assert (done.returncode, done.stdout) == (2, "")
    assert "was frozen for optimisation level 0, this interpreter has 1" in done.stderr
    assert env.files == set()


def test_a_package_that_interpreters_would_not_find_is_not_enabled(env: Env) -> None:
    package = env.packages / "frozenfinder"
    package.rename(env.root / "frozenfinder")  # where it is found because it is started there
    try:
        done = env.run("-m", "frozenfinder", "enable", env.registry)
    finally:
        env.root.joinpath("frozenfinder").rename(package)
    assert done.stderr == (
        "frozenfinder: interpreters of this environment cannot import frozenfinder when they "
        f"start; install it with: {env.python} -m pip install frozenfinder\n"
    )
    assert (done.returncode, env.files) == (2, set())


def test_a_directory_that_is_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        check_is_read(tmp_path)
    message = f"{str(tmp_path)!r} is not a directory whose activation file interpreters read"
    assert str(caught.value).startswith(message)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = ActivationFile(tmp_path)
    assert file.read() is None
    enabled = Enabled("/é\udcff'\"\\\n{x}.frz", {"mode": "closed"})
    file.write(enabled)
    assert file.read() == enabled
    assert file.trigger.read_bytes().isascii()
    assert file.trigger.read_text().count("\n") == 1
    assert list(tmp_path.iterdir()) == [file.trigger]
    assert file.remove()
    assert not file.remove()
    assert list(tmp_path.iterdir()) == []


# -- status


def test_status_tells_what_is_enabled(enabled: Env) -> None:
    trigger = str(enabled.packages / TRIGGER)
    assert enabled.status() == {
        "serves": True,
        "file": trigger,
        "registry": str(enabled.registry),
        "mode": "overlay",
        "frozen_for": sys.implementation.cache_tag,
        "sources": 1,
        "stale": [],
        "problem": None,
        "others": [],
        "changed": [],
    }
    assert enabled.cli("status").splitlines() == [
        f"registry    {enabled.registry}",
        "mode        overlay",
        f"enabled by  {trigger}",
        f"frozen for  {sys.implementation.cache_tag}",
        "sources     1 of 1 are unchanged",
        "serves      yes",
    ]


def test_status_tells_that_nothing_is_enabled(env: Env) -> None:
    done = env.run("-m", "frozenfinder", "status")
    assert (done.returncode, done.stdout) == (1, "serves      no: nothing is enabled\n")
    assert env.status(1)["registry"] is None


def test_status_lists_what_was_changed_since(enabled: Env) -> None:
    source = enabled.lib / "m.py"
    source.write_text("VALUE = 'changed'\n")
    try:
        assert enabled.status()["stale"] == ["m"]
        lines = enabled.cli("status").splitlines()
        assert lines[4:6] == ["sources     0 of 1 are unchanged", "stale       m"]
    finally:
        source.write_text("VALUE = 'served'\n")
        os.utime(source, (find_mtime(enabled),) * 2)
    assert enabled.status()["stale"] == []


def find_mtime(env: Env) -> int:
    entry = Registry.open(env.registry).find_entry("m")
    assert entry is not None
    return entry.mtime


def test_status_tells_what_else_keeps_it_from_serving(enabled: Env) -> None:
    assert enabled.status(1, FROZENFINDER="off")["problem"] == "FROZENFINDER=off is set"
    trigger = enabled.packages / TRIGGER
    trigger.write_text("x =")
    problem = enabled.status(1)["problem"]
    assert problem.startswith(
        f"{str(trigger)!r} was changed after 'frozenfinder enable' wrote it: "
    )


# -- `activate`


def activate(tmp_path: Path, run_python: RunPython, setup: str, **header: Any) -> tuple[str, str]:
    """What a program prints that has a registry activated, named below its `sys.prefix`."""
    (tmp_path / "lib.frz").write_bytes(build_registry(frozen("m", "VALUE = 1"), **header))
    code = f"""
import os, sys
import frozenfinder.activation
from frozenfinder import installed
sys.prefix, error = sys.argv[1], sys.stderr
{setup}
frozenfinder.activation.activate("lib.frz", mode="closed")
sys.stderr = error
print([finder.registry.path for finder in installed()])
"""
    done = run_python(code, tmp_path)
    return done.stdout.strip(), done.stderr.replace(str(tmp_path), "")


def test_a_registry_below_the_prefix_is_activated(tmp_path: Path, run_python: RunPython) -> None:
    assert activate(tmp_path, run_python, "") == (str([str(tmp_path / "lib.frz")]), "")


def test_nothing_is_activated_where_it_is_switched_off(
    tmp_path: Path, run_python: RunPython
) -> None:
    assert activate(tmp_path, run_python, "os.environ['FROZENFINDER'] = 'off'") == ("[]", "")


def test_a_registry_of_another_level_is_left_aside_in_silence(
    tmp_path: Path, run_python: RunPython
) -> None:
    assert activate(tmp_path, run_python, "", optimize=2) == ("[]", "")


def test_a_registry_of_another_interpreter_is_told_of_in_one_line(
    tmp_path: Path, run_python: RunPython
) -> None:
    printed, told = activate(tmp_path, run_python, "", marshal_version=99)
    assert printed == "[]"
    assert told.startswith(
        "frozenfinder serves nothing: registry '/lib.frz' was frozen for marshal version 99, "
    )
    assert told.count("\n") == 1


def test_without_stderr_nothing_is_told(tmp_path: Path, run_python: RunPython) -> None:
    setup = "sys.stderr = None"
    assert activate(tmp_path, run_python, setup, marshal_version=99) == ("[]", "")


def test_why_explains_the_enabled_registry(enabled: Env) -> None:
    """Without --registry: the enabled one would answer, so it is the one in question."""
    done = enabled.run("-m", "frozenfinder", "why", "m")
    assert done.stdout.startswith(
        f"m: served from registry {str(enabled.registry)!r}, overlay mode"
    )


def test_why_looks_at_another_registry_than_the_enabled_one(enabled: Env) -> None:
    other = shutil.copy2(enabled.registry, enabled.prefix / "other.frz")
    done = enabled.run("-m", "frozenfinder", "why", "--registry", other, "--mode", "closed", "m")
    assert done.stdout.startswith(f"m: served from registry {str(other)!r}, closed mode")


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_at_the_end_of_the_stack_or_the_memory_a_waiting_finder_hears_of_it(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It tries again at the next import; who does not wait is told in one line."""

    def fail(_: str) -> None:
        raise error("no more")

    monkeypatch.setattr(Registry, "open", fail)
    monkeypatch.setattr(activation, "enabled", None)
    settings = {"registry": "/lib.frz", "options": {"mode": "overlay"}}
    with pytest.raises(error, match=r"^no more$"):
        activation.activate_enabled(None, "/site-packages", repr(settings))
    assert capsys.readouterr().err == ""
    activation.activate("/lib.frz")
    assert capsys.readouterr().err == "frozenfinder serves nothing: no more\n"


def test_sources_that_were_removed_are_not_listed_as_changed(tmp_path: Path) -> None:
    settings = {"written_ns": 0, "distributions": ["lib-1.0.dist-info"]}
    assert activation.find_changed(str(tmp_path / "gone"), settings) == []
    assert activation.find_changed(str(tmp_path), settings) == ["lib-1.0"]
