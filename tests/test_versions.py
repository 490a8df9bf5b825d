"""Versions of CPython that this release does not list: pretended, in processes of their own."""

import sys
from pathlib import Path

import pytest
from support.processes import Python, RunPython
from support.registries import build_registry, frozen
from support.sources import write_tree

from frozenfinder.errors import FreezeError
from frozenfinder.freezer import Manifest, discover, freeze

PRETEND = """
import sys
from collections import namedtuple
_fields = "major minor micro releaselevel serial"
sys.version_info = namedtuple("version_info", _fields)(3, 16, 0, "final", 0)
"""
"""What makes an interpreter CPython 3.16, as far as this package can tell."""

BARE = """
import sys
from types import ModuleType

class RLock:
    '''A lock of another making.'''
    def __enter__(self): pass
    def __exit__(self, *_): pass

class Finder:
    '''A finder of another making.'''

def _strip(name, **others):
    module = ModuleType(name)
    for each, value in vars(sys.modules[name]).items():
        if not each.startswith("_") or each.startswith("__"):
            setattr(module, each, value)
    vars(module).update(others)
    return module

_stripped = {
    "_frozen_importlib": {},
    "_frozen_importlib_external": {"PathFinder": Finder},
    "_imp": {},
}
_whole = {name: sys.modules[name] for name in _stripped}
sys.modules.update({name: _strip(name, **others) for name, others in _stripped.items()})
import frozenfinder
sys.modules.update(_whole)
from frozenfinder.runtime import system
assert system.module_locks is system.fix_co_filename is None
"""
"""What takes every private name from it that this package binds when it is imported."""

UNLISTED = (
    "this release of frozenfinder supports CPython 3.11 to 3.15, this is 3.16; "
    "install a newer release, or set FROZENFINDER_UNLISTED=1 to use this one anyway"
)

pretended = pytest.mark.parametrize(
    "pretend", [PRETEND, PRETEND + BARE], ids=["3.16", "3.16 without private names"]
)
modes = pytest.mark.parametrize("mode", ["overlay", "closed"])


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with the module `m`, and its registry beside it."""
    source = write_tree(tmp_path / "src", {"m.py": "VALUE = 'served'\n"})
    freeze(discover(Manifest(paths=(str(source),))), tmp_path / "app.frz")
    return source


def registry_of(app: Path) -> Path:
    return app.with_name("app.frz")


INSTALL = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
import frozenfinder
before = list(sys.meta_path), list(sys.path_hooks)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    finder = frozenfinder.install(sys.argv[2])  # this line
[warning] = caught
print(type(finder).__name__, finder.served, finder.bypassed)
print(warning.category.__name__, warning.filename == __file__, warning.lineno)
print(warning.message)
import m, json, email.mime.text
print(m.VALUE, type(m.__spec__.loader).__name__, (sys.meta_path, sys.path_hooks) == before)
print(frozenfinder.installed() == [finder], frozenfinder.install(sys.argv[2]) is finder)
frozenfinder.uninstall()
print(frozenfinder.installed())
"""


@pretended
def test_overlay_serves_nothing_and_warns_at_the_line_that_installs(
    pretend: str, app: Path, python: Python
) -> None:
    program = write_tree(app.parent, {"program.py": pretend + INSTALL}) / "program.py"
    done = python(program, app, registry_of(app))
    line = (pretend + INSTALL).split("# this line")[0].count("\n") + 1
    assert done.stdout.splitlines() == [
        "NullFinder 0 {}",
        f"RuntimeWarning True {line}",
        f"frozenfinder serves nothing: {UNLISTED}",
        "served SourceFileLoader True",
        "True True",
        "[]",
    ]
    assert done.stderr == ""


@pretended
def test_closed_mode_refuses_in_one_sentence(
    pretend: str, app: Path, run_python: RunPython
) -> None:
    code = """
import sys, frozenfinder
try:
    frozenfinder.install(sys.argv[1], mode="closed")
except frozenfinder.RegistryVersionError as error:
    print(error)
    print(error.path == sys.argv[1], frozenfinder.installed())
"""
    done = run_python(pretend + code, registry_of(app))
    assert done.stdout.splitlines() == [UNLISTED, "True []"]


SERVE = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
import frozenfinder
warnings.simplefilter("ignore")
finder = frozenfinder.install(sys.argv[2], mode=sys.argv[3])
import m
print(type(finder).__name__, finder.served, m.VALUE)
"""


@modes
def test_an_override_serves(mode: str, app: Path, run_python: RunPython) -> None:
    env = {"FROZENFINDER_UNLISTED": "1"}
    done = run_python(PRETEND + SERVE, app, registry_of(app), mode, env=env)
    name = {"overlay": "FrozenFinder", "closed": "ClosedFinder"}[mode]
    assert done.stdout == f"{name} 1 served\n"
    assert done.stderr == ""


@pytest.mark.parametrize("value", ["0", "", "yes", "true"])
def test_only_1_overrides(value: str, app: Path, run_python: RunPython) -> None:
    env = {"FROZENFINDER_UNLISTED": value}
    done = run_python(PRETEND + SERVE, app, registry_of(app), "overlay", env=env)
    assert done.stdout == "NullFinder 0 served\n"


@pytest.mark.parametrize("flag", ["-E", "-I"])
def test_an_override_is_ignored_with_the_rest_of_the_environment(
    flag: str, app: Path, python: Python
) -> None:
    env = {"FROZENFINDER_UNLISTED": "1"}
    code = PRETEND + SERVE
    done = python(flag, "-c", code, app, registry_of(app), "overlay", env=env)
    assert done.stdout == "NullFinder 0 served\n"


@modes
def test_activation_says_in_one_line_that_it_serves_nothing(
    mode: str, app: Path, run_python: RunPython
) -> None:
    code = f"""
import sys
from frozenfinder.activation import activate
activate(sys.argv[2], mode={mode!r})
sys.path.insert(0, sys.argv[1])
import m, frozenfinder
print(m.VALUE, frozenfinder.installed())
"""
    done = run_python(PRETEND + code, app, registry_of(app))
    assert done.stdout == "served []\n"
    assert done.stderr == f"frozenfinder serves nothing: {UNLISTED}\n"


@pytest.fixture
def pretending(app: Path) -> dict[str, str]:
    """The environment of an interpreter that pretends from its start."""
    folder = write_tree(app.parent / "pretending", {"sitecustomize.py": PRETEND})
    return {"PYTHONPATH": str(folder)}


@modes
def test_run_says_in_one_line_that_it_cannot(
    mode: str, app: Path, pretending: dict[str, str], python: Python
) -> None:
    argv = ("-m", "frozenfinder", "run", f"--mode={mode}", registry_of(app), "-c", "import m")
    done = python(*argv, env=pretending, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"frozenfinder: {UNLISTED}\n"


def test_run_serves_with_the_override(
    app: Path, pretending: dict[str, str], python: Python
) -> None:
    code = "import m, frozenfinder; print(m.VALUE, frozenfinder.installed()[0].served)"
    program = write_tree(app.parent, {"program.py": code}) / "program.py"
    argv = ("-m", "frozenfinder", "run", "--mode=closed", registry_of(app), program)
    done = python(*argv, env={**pretending, "FROZENFINDER_UNLISTED": "1"})
    assert done.stdout == "served 1\n"


def test_a_bundle_says_in_one_line_that_it_cannot(
    app: Path, pretending: dict[str, str], python: Python
) -> None:
    path = app.with_name("app.pyz")
    python("-m", "frozenfinder", "bundle", "--quiet", "-o", path, "--path", app, "-m", "m")
    assert python(path).stderr == ""
    done = python(path, env=pretending, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{path}: {UNLISTED}\n"


def test_another_implementation_freezes_nothing(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = discover(Manifest(paths=(str(app),)))
    monkeypatch.setattr(sys.implementation, "name", "pypy")
    with pytest.raises(FreezeError) as caught:
        freeze(plan, app.with_name("other.frz"))
    assert str(caught.value) == (
        "frozenfinder freezes only for CPython, this is 'pypy'; run it with CPython"
    )
    assert not app.with_name("other.frz").exists()


def test_a_registry_of_another_implementation_is_refused(
    tmp_path: Path, run_python: RunPython
) -> None:
    """As PyPy refuses one of CPython: their cache tags differ."""
    path = tmp_path / "app.frz"
    path.write_bytes(build_registry(frozen("m"), cache_tag="pypy311"))
    code = """
import sys, frozenfinder
try:
    frozenfinder.install(sys.argv[1], mode="closed")
except frozenfinder.RegistryVersionError as error:
    print(error)
"""
    tag = sys.implementation.cache_tag
    assert run_python(code, path).stdout == (
        f"registry {str(path)!r} was frozen for cache tag pypy311, this interpreter has {tag}; "
        f"freeze it again with {sys.executable}; 'frozenfinder info' shows how it was frozen\n"
    )
