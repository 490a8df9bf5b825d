"""A program whose house is not in order: overlay works there, and shows no more than it must.

Each program runs as stock, with the registry installed, and where it is enabled.
"""

from collections.abc import Iterator

import pytest
from support.activated import Env, make_environment

from frozenfinder.enable.files import ActivationFiles


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
    ActivationFiles(built.packages).remove()


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
