"""An enabled environment that is copied, installed anew or packed serves its modules afterwards."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pytest
from support.activated import Env
from support.environments import copy_distribution
from test_distributions import install_with_pip

import frozenfinder

NAME = "packaging"
PROGRAM = f"""
import importlib, json, pkgutil, sys
import {NAME}
names = [each.name for each in pkgutil.walk_packages({NAME}.__path__, '{NAME}.')]
told = []
for name in sorted(['{NAME}', *names]):
    module = importlib.import_module(name)
    told.append([name, module.__file__, module.__spec__.origin, sorted(vars(module))])
print(json.dumps(told))
for finder in sys.meta_path:
    if hasattr(finder, 'bypassed'):
        print(json.dumps([finder.served, finder.bypassed]))
"""
ONE_TIME = 1_700_000_000


def build_wheel(folder: Path) -> Path:
    """The wheel of an installed distribution."""
    found = distribution(NAME)
    path = folder / f"{NAME}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in found.files or ():
            if file.suffix != ".pyc" and file.name not in ("INSTALLER", "REQUESTED"):
                wheel.write(str(file.locate()), str(file))
    return path


@pytest.fixture
def env(tmp_path: Path) -> Env:
    env = Env(tmp_path)
    command = [sys.executable, "-m", "venv", "--without-pip", str(env.prefix)]
    subprocess.run(command, check=True, timeout=120)
    shutil.copytree(Path(frozenfinder.__file__).parent, env.packages / "frozenfinder")
    copy_distribution(NAME, env.packages)
    env.cli("freeze", "--package", NAME, "-o", env.registry, "--quiet")
    env.cli("enable", env.registry)
    return env


def assert_served(env: Env, but: int = 0) -> None:
    """All modules but so many are; and the program prints what it prints without the registry."""
    stock = env.tell("-B", "-c", PROGRAM, FROZENFINDER="off").splitlines()
    ours = env.tell("-B", "-c", PROGRAM).splitlines()
    assert ours[0] == stock[0]
    modules = len(json.loads(ours[0]))
    served, bypassed = json.loads(ours[1])
    print(f"served {served} of {modules}: {served / modules:.0%}")  # noqa: T201  # with `-rP`
    assert modules > 10
    assert served == modules - but, bypassed


def copy_by_cp(env: Env) -> Env:
    copied = Env(env.root.with_name(f"{env.root.name}-copied"))
    subprocess.run(["cp", "-r", env.root, copied.root], check=True)
    env.root.rename(env.root.with_name(f"{env.root.name}-gone"))
    return copied


def give_all_one_time(env: Env, seconds: int = ONE_TIME) -> Env:
    for path in env.prefix.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (seconds, seconds))
    return env


def install_by_pip(env: Env) -> Env:
    shutil.rmtree(env.packages / NAME)
    install_with_pip(env.packages, "--upgrade", build_wheel(env.root))
    return env


def install_by_uv(env: Env, how: str) -> Env:
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", str(env.python), "--offline"]
    cache = ["--cache-dir", str(env.root / "cache"), "--link-mode", how]
    wheel = str(build_wheel(env.root))
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}
    subprocess.run(
        [*uv, "--no-index", *cache, "--reinstall", wheel],
        env=environment,
        check=True,
        capture_output=True,
        timeout=300,
    )
    if how == "symlink":
        assert (env.packages / NAME / "tags.py").is_symlink()
    return env


CHANGES: dict[str, Callable[[Env], Env]] = {
    "nothing": lambda env: env,
    "cp -r": copy_by_cp,
    "one time": give_all_one_time,
    "no time": lambda env: give_all_one_time(env, 0),
    "pip": install_by_pip,
    "uv with hard links": lambda env: install_by_uv(env, "hardlink"),
    "uv with symbolic links": lambda env: install_by_uv(env, "symlink"),
}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_environment_serves_its_modules_after(env: Env, change: Callable[[Env], Env]) -> None:
    changed = change(env)
    assert_served(changed)
    source = changed.packages / NAME / "tags.py"
    before, text = source.stat(), source.read_text()
    source.unlink()  # it may be a link
    source.write_text(text[:-1] + " ")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source.stat().st_size == before.st_size
    # a time that the kernel set shows that the source is as it was, as it does for a `.pyc`
    assert_served(changed, but=int(change is not CHANGES["nothing"]))
