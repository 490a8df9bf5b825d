"""A program whose house is not in order: overlay works there, and shows no more than it must.

Each program runs as stock, with the registry installed, and where it is enabled.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.activated import HOME, Env, make_environment
from support.layers import find_boot
from support.processes import TIMEOUT

from frozenfinder.enable.files import TRIGGER, ActivationFile, Enabled


@pytest.fixture(scope="module")
def built(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Env:
    """The registry has a module that compiles a pattern, and an extension module, too."""
    env = make_environment(tmp_path_factory.mktemp("guest"))
    env.lib.joinpath("patterned.py").write_text("import re\nVALUE = re.compile('a+b').pattern\n")
    env.cli(
        "freeze", "--path", env.lib, "--package", "_decimal", "-o", env.registry, "--quiet"
    )  # fmt: skip
    return env


@pytest.fixture
def env(built: Env) -> Iterator[Env]:
    yield built
    ActivationFile(built.packages).remove()


def same(env: Env, code: str, *flags: str, served: int) -> None:
    """The program says the same each way; with the registry, that many modules are served."""
    count = (
        "\nimport sys\nfor each in sys.meta_path:"
        "\n    if type(each).__name__ == 'FrozenFinder': print('served', each.served)"
    )
    stock = env.tell(*flags, "-c", code)
    install = f"import frozenfinder; frozenfinder.install({str(env.registry)!r})\n"
    expected = f"{stock}served {served}\n"
    assert env.tell(*flags, "-c", install + code + count) == expected
    env.cli("enable", env.registry)
    assert env.tell(*flags, "-c", code + count) == expected


SEEN = "[type(each).__name__ for each in sys.meta_path if 'frozenfinder' in type(each).__module__]"
"""The finders of this package that a program sees."""

PURGE = """
import sys
for name, module in list(sys.modules.items()):
    if "site-packages" in (getattr(module, "__file__", None) or ""):
        del sys.modules[name]
sys.path[:] = [item for item in sys.path if "site-packages" not in item]
del name, module
"""

FORBID = """
import builtins
stock = builtins.__import__
def forbid(name, *rest):
    if "finder" in name:
        raise ImportError("forbidden", name=name)
    return stock(name, *rest)
builtins.__import__ = forbid
"""

SCAN = """
import gc, threading, m, m
gc.collect()
print(sum(isinstance(each, type(threading.RLock())) for each in gc.get_objects()))
"""


@pytest.mark.parametrize(
    "setup", [PURGE, FORBID, PURGE + FORBID], ids=["gone", "forbidden", "both"]
)
def test_an_extension_module_is_imported_where_this_package_is_hidden(env: Env, setup: str) -> None:
    same(env, "import m\n" + setup + "import _decimal; print(_decimal.Decimal(1))", served=2)


@pytest.mark.parametrize("setup", [PURGE, FORBID], ids=["gone", "forbidden"])
def test_patterns_are_used_where_this_package_is_hidden(env: Env, setup: str) -> None:
    code = f"import m\n{setup}import patterned, re; print(len(re._cache), patterned.VALUE)"
    same(env, code, served=2)


def test_a_program_that_logs_its_imports_sees_none_of_this_package(env: Env) -> None:
    code = """
import builtins, m
stock, names = builtins.__import__, []
def log(name, *rest):
    names.append(name)
    return stock(name, *rest)
builtins.__import__ = log
import _decimal, patterned
builtins.__import__ = stock
print([name for name in names if "frozen" in name])
"""
    same(env, code, served=3)


@pytest.mark.parametrize("enabled", [False, True], ids=["installed", "enabled"])
def test_a_second_import_of_this_package_takes_over_from_the_first(env: Env, enabled: bool) -> None:
    """It knows the finder, runs bodies under its lock, and uninstalls it."""
    path = str(env.registry)
    code = f"""
import sys, m
path = list(sys.path)
{PURGE}
sys.path[:] = path
import frozenfinder, patterned
from frozenfinder.runtime.hooks import import_lock
[finder] = frozenfinder.installed()
print(type(finder) is frozenfinder.FrozenFinder, finder.lock is import_lock, finder.served)
print(frozenfinder.install({path!r}) is finder, sys.meta_path.count(finder))
frozenfinder.uninstall()
print(frozenfinder.installed(), finder in sys.meta_path)
"""
    if enabled:
        env.cli("enable", env.registry)
    else:
        code = f"import frozenfinder; frozenfinder.install({path!r})\n{code}"
    assert env.tell("-c", code).splitlines() == ["False True 2", "True 1", "[] False"]


def test_the_collector_finds_no_rlock_of_this_package(env: Env) -> None:
    same(env, SCAN, served=1)


# -- other interpreters that read the environment's files


@pytest.fixture
def other(env: Env, tmp_path: Path) -> Env:
    """Another environment, with this package, whose interpreters read the first one's files."""
    env.cli("enable", env.registry)
    other = Env(tmp_path)
    command = [sys.executable, "-m", "venv", "--without-pip", str(other.prefix)]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    line = f"import site; site.addsitedir({str(env.packages)!a})\n"
    other.packages.joinpath("first.pth").write_text(line)
    return other


def test_an_interpreter_of_another_environment_ignores_the_file(env: Env, other: Env) -> None:
    code = f"import sys, m; print({SEEN})"
    assert other.tell("-c", code) == "[]\n"
    assert env.tell("-c", code) == "['FrozenFinder']\n"


def test_a_program_that_activates_an_environment_ignores_the_file(env: Env, other: Env) -> None:
    """As `activate_this` of virtualenv does: the prefix is set afterwards."""
    other.packages.joinpath("first.pth").unlink()
    code = f"""
import site, sys
site.addsitedir({str(env.packages)!r})
sys.prefix = {str(env.prefix)!r}
import m
print({SEEN})
"""
    assert other.tell("-c", code) == "[]\n"


def test_status_and_disable_name_the_files_that_have_no_effect(env: Env, other: Env) -> None:
    trigger = str(env.packages / TRIGGER)
    done = other.run("-m", "frozenfinder", "status")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        f"serves      no: nothing is enabled\nnot used    {trigger}, of another environment\n",
        "",
    )
    assert other.cli("disable") == (
        f"nothing was enabled\n{trigger!r} is of another environment, and has no effect here\n"
    )
    assert env.status()["serves"] is True


def test_a_file_for_another_version_is_ignored_and_status_says_so(env: Env) -> None:
    file = ActivationFile(env.packages, str(env.prefix))
    file.write(Enabled("lib.frz", {"mode": "overlay"}, "cpython-399"))
    assert env.tell("-c", f"import sys, m; print({SEEN})") == "[]\n"
    here = sys.implementation.cache_tag
    assert env.status(1)["problem"] == (
        f"it was enabled for cpython-399, this interpreter has {here}; enable a registry again"
    )


# -- what a program sees of an enabled registry


@pytest.mark.parametrize("code", ["", "import sys", "import marshal, os, time"])
def test_a_program_that_imports_no_file_sees_one_finder_more(env: Env, code: str) -> None:
    listing = f"{code}\nimport sys; print(*sorted(sys.modules), *sys.meta_path, sep='\\n')"
    stock = env.tell("-c", listing).splitlines()
    env.cli("enable", env.registry)
    more = [line for line in env.tell("-c", listing).splitlines() if line not in stock]
    assert len(more) == 1
    assert "Waiting" in more[0]


def test_modules_that_can_be_imported_are_those_of_stock(env: Env) -> None:
    code = "import pkgutil; print(*[each.name for each in pkgutil.iter_modules()])"
    stock = env.tell("-c", code)
    env.cli("enable", env.registry)
    assert env.tell("-c", code) == stock


def test_the_first_import_adds_the_run_time_half_alone(env: Env) -> None:
    code = """
import sys
before = set(sys.modules)
import m
print(*sorted(set(sys.modules) - before - {"gc", "m"}))
"""
    env.cli("enable", env.registry)
    assert set(env.tell("-c", code).split()) <= find_boot() | {"frozenfinder.activation"}


def test_a_waiting_finder_stays_where_it_is_when_it_becomes_another(env: Env) -> None:
    """Copies of the meta path, too: the object is the same."""
    code = """
import sys
class Hook:
    def find_spec(self, name, path=None, target=None):
        print("asked", name)
before = list(sys.meta_path)
sys.meta_path.insert(0, Hook())
sys.meta_path.append(Hook())
import m
assert before == sys.meta_path[1:-1]
print(type(before[-2]).__name__, before[-2].served)
sys.meta_path[:] = before
import patterned
print(before[-2].served)
"""
    env.cli("enable", env.registry)
    assert env.tell("-c", code).splitlines() == ["asked m", "FrozenFinder 1", "2"]


def test_a_package_that_is_imported_by_its_name_finds_the_registry_installed(env: Env) -> None:
    code = "import frozenfinder; print(frozenfinder.installed()[0].registry.path)"
    env.cli("enable", env.registry)
    assert env.tell("-c", code) == f"{env.registry}\n"


@pytest.mark.parametrize("setup", [PURGE, FORBID], ids=["gone", "forbidden"])
def test_the_first_import_may_come_where_this_package_is_hidden(env: Env, setup: str) -> None:
    """The program hides it before the registry is installed."""
    env.cli("enable", env.registry)
    code = f"{setup}\nimport m, _decimal, sys; print({SEEN})"
    assert env.tell("-c", code) == "['FrozenFinder']\n"


def test_at_the_end_of_the_stack_the_next_import_installs_it(env: Env) -> None:
    code = f"""
import sys
def deeper():
    try:
        deeper()
    except RecursionError:
        try:
            import m
        except RecursionError:
            pass
deeper()
import patterned
print({SEEN})
"""
    env.cli("enable", env.registry)
    assert env.tell("-c", code) == "['FrozenFinder']\n"


def test_threads_that_import_first_install_it_once(env: Env) -> None:
    code = f"""
import sys, _thread, time
done = []
def work(name):
    try:
        __import__(name)
    finally:
        done.append(name)
names = ["m", "patterned", "_decimal", "json"]
for name in names:
    _thread.start_new_thread(work, (name,))
while len(done) < len(names):
    time.sleep(0.01)
import frozenfinder
print({SEEN}, len(frozenfinder.installed()))
"""
    env.cli("enable", env.registry)
    assert env.tell("-c", code) == "['FrozenFinder'] 1\n"


# -- distributions that are upgraded below a registry in closed mode


@pytest.fixture
def upgraded(env: Env) -> Iterator[Env]:
    """The registry is enabled in closed mode, with a distribution that pip then replaces."""
    first = env.packages / "dist-1.0.dist-info"
    first.mkdir()
    first.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: dist\nVersion: 1.0\n")
    first.joinpath("RECORD").write_text("dist.py,,\ndist-1.0.dist-info/METADATA,,\n")
    env.packages.joinpath("dist.py").write_text("VALUE = 1\n")
    registry = env.prefix / "dist.frz"
    freeze = ("-m", "frozenfinder", "freeze", "--distribution", "dist", "-o", registry, "--quiet")
    env.tell(*freeze, PYTHONPATH=HOME)  # for packaging
    env.cli("enable", "--mode", "closed", registry)
    assert env.tell("-c", "import dist; print(dist.VALUE)") == "1\n"
    assert env.status()["changed"] == []
    env.packages.joinpath("dist.py").write_text("VALUE = 2\n")
    second = first.rename(env.packages / "dist-2.0.dist-info")
    yield env
    env.packages.joinpath("dist.py").unlink()
    shutil.rmtree(second)


def test_closed_mode_says_that_a_distribution_was_upgraded(upgraded: Env) -> None:
    done = upgraded.run("-c", "import dist; print(dist.VALUE)")
    assert done.stdout == "1\n"
    assert done.stderr == (
        f"frozenfinder serves dist-1.0, which {str(upgraded.packages)!r} no longer has; "
        "freeze and enable the registry again\n"
    )


def test_a_registry_in_closed_mode_that_has_gone_is_reported_once(env: Env) -> None:
    gone = shutil.copy2(env.registry, env.prefix / "gone.frz")
    env.cli("enable", "--mode", "closed", gone)
    Path(gone).unlink()
    done = env.run("-c", "pass")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"frozenfinder serves nothing: registry {str(gone)!r} does not")


def test_status_names_the_distribution_that_was_upgraded(upgraded: Env) -> None:
    done = upgraded.run("-m", "frozenfinder", "status")
    assert "changed     dist-1.0; freeze and enable again\n" in done.stdout


def test_nothing_is_said_of_another_distribution_that_is_installed(env: Env) -> None:
    env.cli("enable", "--mode", "closed", env.registry)
    other = env.packages / "other-1.0.dist-info"
    other.mkdir()
    try:
        assert env.tell("-c", "import m") == ""
    finally:
        other.rmdir()


def test_the_folder_is_not_read_where_its_time_is_the_same(upgraded: Env) -> None:
    """The time is compared for equality: what was restored to it is taken for unchanged."""
    [file] = [ActivationFile(upgraded.packages)]
    enabled = file.read()
    assert enabled is not None
    assert enabled.distributions == ["dist-1.0.dist-info"]
    os.utime(upgraded.packages, ns=(enabled.written_ns,) * 2)
    assert upgraded.tell("-c", "import dist; print(dist.VALUE)") == "1\n"
