"""`frozenfinder cache`: what it shows, what it removes, and what it leaves."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.compiled import files_below
from support.families import LOAD, Family
from support.trees import freeze_files

from frozenfinder.cli import UsageError
from frozenfinder.cli.cache import list_shelves, prune
from frozenfinder.native.cache import abi
from frozenfinder.native.folder import DAY, Lock


def call(family: Family, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = {"FROZENFINDER_CACHE": str(family.cache)}
    return family.python("-m", "frozenfinder", "cache", *arguments, env=env, check=False)


def tell(family: Family, *arguments: str) -> Any:
    done = call(family, *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def age(folder: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(folder, (then, then))


def test_a_cache_that_is_not_there_is_empty_and_stays_so(family: Family) -> None:
    for arguments in ((), ("--prune",)):
        done = call(family, *arguments)
        assert done.stdout.splitlines()[0] == f"{family.cache}: 0 folders, 0 files, 0 bytes"
    assert not family.cache.exists()


def test_what_was_extracted_is_shown(family: Family) -> None:
    family.load()
    size = sum((family.home / file).stat().st_size for file in files_below(family.home))
    day = time.strftime("%Y-%m-%d", time.localtime(family.home.stat().st_mtime))
    assert call(family).stdout.splitlines() == [
        f"{family.cache}: 1 folders, 4 files, {size} bytes",
        f"{size:>10}  {day}  {abi()}/{family.parcel[:16]}  family, family.libs",
    ]
    assert tell(family) == {
        "directory": str(family.cache),
        "obstacle": None,
        "kept": [
            {
                "kind": abi(),
                "name": family.parcel,
                "contents": ["family", "family.libs"],
                "files": 4,
                "size": size,
                "used": family.home.stat().st_mtime,
            }
        ],
        "removed": [],
    }


def test_a_cache_that_cannot_be_used_is_said_to_be(family: Family) -> None:
    family.load()
    family.cache.chmod(0o777)
    reason = f"{str(family.cache)!r} has mode 0777, expected 0700: others can write there"
    done = call(family, "--prune", "--unused", "0")
    lines = [f"{family.cache}: cannot be used: {reason}", "removed: 0 folders, 0 files, 0 bytes"]
    assert (done.returncode, done.stdout.splitlines()) == (0, lines)
    assert family.home.exists()


def test_only_what_is_unused_for_long_is_removed(family: Family) -> None:
    family.load()
    other = family.home.with_name("0" * 64)
    (other / "old").mkdir(parents=True)
    age(other, 31.5)
    age(family.home, 30.5)  # it may have been used half a day ago, which is noted once a day
    told = tell(family, "--prune")
    assert [shelf["name"] for shelf in told["removed"]] == ["0" * 64]
    assert [shelf["name"] for shelf in told["kept"]] == [family.parcel]
    assert sorted(path.name for path in family.home.parent.iterdir()) == [family.parcel]


def test_a_use_is_noted_once_a_day(family: Family) -> None:
    family.load()
    age(family.home, 0.9)
    before = family.home.stat().st_mtime
    family.load()
    assert family.home.stat().st_mtime == before
    age(family.home, 1.1)
    family.load()
    assert time.time() - family.home.stat().st_mtime < 0.5 * DAY


def test_no_day_at_all_removes_everything_and_the_next_load_brings_it_back(family: Family) -> None:
    family.load()
    done = call(family, "--prune", "--unused", "0")
    assert done.stdout.splitlines()[0] == f"{family.cache}: 0 folders, 0 files, 0 bytes"
    assert files_below(family.cache) == ["lock"]
    assert family.load() == []


def test_what_killed_processes_have_left_is_removed(family: Family) -> None:
    family.load()
    leftover = family.first.with_name(f"{family.first.name}.1.2.tmp")
    leftover.write_text("half")
    half_pruned = family.home.with_name(f"{family.parcel}.3.tmp")
    (half_pruned / "family").mkdir(parents=True)
    assert [shelf["name"] for shelf in tell(family)["kept"]] == [family.parcel]
    assert tell(family, "--prune")["removed"] == []
    assert not leftover.exists()
    assert not half_pruned.exists()
    assert family.first.exists()


def test_a_program_that_has_loaded_from_it_goes_on(family: Family) -> None:
    code = LOAD + "sys.stdout.flush(); sys.stdin.read(); print(family.first.call())"
    running = family.start(code)
    assert running.stdout is not None
    assert running.stdout.readline().startswith("101 201 ")
    call(family, "--prune", "--unused", "0")
    assert not family.home.exists()
    output, errors = running.communicate(timeout=60)
    assert (output.split(), errors) == (["301"], "")


USE = """
import os, sys, frozenfinder
finder = frozenfinder.install(sys.argv[1], mode="closed")
finder.lay_out("pkg")
file = os.path.join(finder.locate("pkg"), "page.tmp")
if "--fork" in sys.argv and os.fork():
    os._exit(0)
print(file, flush=True)
sys.stdin.read()
print(open(file).read(), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process can hold a folder there")
@pytest.mark.parametrize("options", [[], ["--fork"]], ids=["itself", "its fork"])
def test_data_that_a_running_program_opens_by_path_stays(
    family: Family, tmp_path: Path, options: list[str]
) -> None:
    registry = tmp_path / "pkg.frz"
    registry.write_bytes(freeze_files({"pkg/__init__.py": "", "pkg/page.tmp": "template"}))
    pipe = subprocess.PIPE
    running = subprocess.Popen(
        [sys.executable, "-c", USE, str(registry), *options],
        env={**os.environ, "FROZENFINDER_CACHE": str(family.cache)},
        stdin=pipe,
        stdout=pipe,
        encoding="utf-8",
    )
    assert running.stdout is not None
    file = Path(running.stdout.readline().strip())
    age(file.parent.parent, 40)
    told = tell(family, "--prune")
    assert [shelf["kind"] for shelf in told["kept"]] == ["data"]
    assert told["kept"][0]["contents"] == ["pkg"]
    assert told["kept"][0]["files"] == 2
    assert told["removed"] == []
    assert tell(family, "--prune", "--unused=0")["removed"] == []
    output, _ = running.communicate("", timeout=60)
    assert output == "template\n"
    assert [shelf["kind"] for shelf in tell(family, "--prune")["removed"]] == ["data"]
    assert not file.exists()


@pytest.mark.skipif(not hasattr(os, "lockf"), reason="there are no locks")
def test_nothing_is_removed_while_another_process_writes(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    family.load()
    monkeypatch.setattr("frozenfinder.native.folder.PATIENCE", 0.05)
    begun, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with Lock(str(family.cache)):
            begun.set()
            ended.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait()
    try:
        with pytest.raises(UsageError) as caught:
            prune(family.cache, list(list_shelves(family.cache)), 0)
    finally:
        ended.set()
        thread.join()
    assert str(caught.value) == (
        f"{str(family.cache)!r} is being written to: another process has held its lock for "
        "10 seconds; try again"
    )
    assert family.first.exists()


def test_what_another_process_removes_meanwhile_is_not_missed(family: Family) -> None:
    family.load()
    gone = [shelf._replace(name="1" * 64) for shelf in list_shelves(family.cache)]
    assert len(gone) == 1
    assert prune(family.cache, gone, 0) == []


@pytest.mark.parametrize("days", ["-1", "some", "1.5"])
def test_an_impossible_number_of_days_is_refused(family: Family, days: str) -> None:
    done = call(family, f"--unused={days}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"frozenfinder: argument --unused: {days!r} is not a number of days; "
        "see 'frozenfinder cache --help'\n"
    )


def test_without_a_home_there_is_no_cache(family: Family) -> None:
    env = {"HOME": "nowhere", "XDG_CACHE_HOME": "", "FROZENFINDER_CACHE": ""}
    done = family.python("-m", "frozenfinder", "cache", env=env, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "frozenfinder: no home directory was found for the cache; set FROZENFINDER_CACHE\n"
    )
