"""Programs that treat importlib, `sys`, `time` or the stack as few do, stock beside overlay.

Each runs as stock, with the registry installed at its top, and where it is enabled.
"""

import re
from collections.abc import Iterator

import pytest
from support.activated import Env, make_environment

from frozenfinder.enable.files import ActivationFile

FILES = {
    "pkg/__init__.py": "VALUE = 'package'\n",
    "pkg/sub.py": "VALUE = 'submodule'\n",
    "stack.py": """
import inspect
for frame in inspect.stack():
    if "frozen importlib" in frame.filename:
        print(frame.filename, frame.lineno, frame.function)
""",
    "lasts.py": """
import pathlib, sys, threading
folder = pathlib.Path(sys.path[0])
import rival
threading.Event().wait(1.1)
folder.joinpath("late.py").write_text("VALUE = 'new'")
import late
print(late.VALUE)
""",
    "late.py": "VALUE = 'old'\n",
    "rival.py": "",
}


@pytest.fixture(scope="module")
def built(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Env:
    env = make_environment(tmp_path_factory.mktemp("broken"))
    for name, text in FILES.items():
        env.lib.joinpath(name).parent.mkdir(exist_ok=True)
        env.lib.joinpath(name).write_text(text)
    env.cli("freeze", "--path", env.lib, "-o", env.registry, "--quiet")
    env.tell("-c", "import m, pkg.sub, stack, rival, late")  # stock has its .pyc files, too
    return env


@pytest.fixture
def env(built: Env) -> Iterator[Env]:
    yield built
    ActivationFile(built.packages).remove()


def same(env: Env, code: str, *flags: str) -> str:
    """What the program says each way: its status, its output and its errors are equal."""
    install = f"import frozenfinder; frozenfinder.install({str(env.registry)!r})\n"
    first = "import sys, copy, pickle\n"
    stock = env.run(*flags, "-c", "pass\n" + first + code)
    outcome = stock.returncode, stock.stdout, stock.stderr
    installed = env.run(*flags, "-c", install + first + code)
    assert (installed.returncode, installed.stdout, installed.stderr) == outcome
    env.cli("enable", env.registry)
    enabled = env.run(*flags, "-c", "pass\n" + first + code)
    assert (enabled.returncode, enabled.stdout, enabled.stderr) == outcome
    return stock.stdout


def same_enabled(env: Env, code: str) -> str:
    """As `same`, for a program that does something before the first import."""
    stock = env.run("-c", code)
    env.cli("enable", env.registry)
    enabled = env.run("-c", code)
    assert (enabled.returncode, enabled.stdout, enabled.stderr) == (
        stock.returncode,
        stock.stdout,
        stock.stderr,
    )
    return stock.stdout


DEEP = """
import m
del sys.modules["m"]
def deeper(depth):
    if depth:
        return deeper(depth - 1)
    import m, pkg.sub
    return m.VALUE, pkg.sub.VALUE
for depth in range(999, 0, -1):
    try:
        found = deeper(depth)
    except RecursionError:
        continue
    break
print(depth, found)
"""


def test_the_deepest_import_is_as_deep_as_with_stock(env: Env) -> None:
    assert "('served', 'submodule')" in same(env, DEEP)


def test_the_deepest_body_is_as_deep_as_with_stock(env: Env) -> None:
    code = """
import m, pkg
def deeper(depth):
    if depth:
        return deeper(depth - 1)
    import pkg.sub
for depth in range(900, 999):
    sys.modules.pop("pkg.sub", None)
    try:
        deeper(depth)
    except RecursionError:
        break
print(depth)
import pkg.sub
print(pkg.sub.VALUE)
"""
    assert same(env, code).endswith("\nsubmodule\n")


@pytest.mark.parametrize("copied", ["copy.copy", "copy.deepcopy", "list"])
def test_copies_of_the_meta_path_are_equal_to_it_and_serve(env: Env, copied: str) -> None:
    code = f"""
same = {copied}(sys.meta_path)
print(same == sys.meta_path, {copied}(sys.meta_path[-2]) is sys.meta_path[-2]
      if {copied} is not list else True)
sys.meta_path = same
import m
print(m.VALUE)
"""
    assert same(env, code) == "True True\nserved\n"


def test_the_meta_path_is_pickled_by_reference(env: Env) -> None:
    code = "print(pickle.loads(pickle.dumps(sys.meta_path)) == sys.meta_path)"
    assert same(env, code) == "True\n"


def test_a_pickle_of_a_finder_is_none_where_it_is_not_installed(env: Env) -> None:
    code = f"""
import pickle, frozenfinder
finder = frozenfinder.install({str(env.registry)!r})
dumped = pickle.dumps(finder)
frozenfinder.uninstall()
print(pickle.loads(dumped))
"""
    assert env.tell("-c", code) == "None\n"


TYPES = {
    "the cache logs": """
class Log(dict):
    def __getitem__(self, key):
        print("get", key)
        return super().__getitem__(key)
    def __setitem__(self, key, value):
        print("set", key)
        super().__setitem__(key, value)
sys.path_importer_cache = Log(sys.path_importer_cache)
""",
    "the path logs": """
class Log(list):
    def __iter__(self):
        print("read")
        return super().__iter__()
sys.path = Log(sys.path)
""",
    "the path can be read once": """
import pkg
pkg.__path__ = iter([*pkg.__path__])
""",
    "the path is a dictionary": "sys.path = dict.fromkeys(sys.path)",
    "the path is a tuple": "sys.path = tuple(sys.path)",
}


@pytest.mark.parametrize("setup", TYPES.values(), ids=TYPES)
def test_a_path_or_cache_of_another_type_is_read_as_by_stock(env: Env, setup: str) -> None:
    code = """
try:
    import m, pkg.sub
    print(m.VALUE, pkg.sub.VALUE)
    import pkg.missing
except ImportError as error:
    print(error)
"""
    # the modules that the package itself imports fill the cache earlier
    assert "served submodule" in same_enabled(env, "import sys, m\n" + setup + code)


def test_frames_of_importlib_are_on_its_own_lines(env: Env) -> None:
    assert "exec_module\n" in same(env, "import stack")


STOP = """
import time
stopped = time.monotonic()
for module in list(sys.modules.values()):
    for name, value in list(vars(module).items()):
        if value in (time.monotonic, time.perf_counter) and module is not time:
            setattr(module, name, lambda: stopped)
time.monotonic = time.perf_counter = time.time = lambda: stopped
"""


def test_a_stopped_clock_does_not_keep_a_long_import_from_seeing_files(env: Env) -> None:
    """As freezegun does it."""
    new = env.root / "new"
    new.mkdir(exist_ok=True)
    code = f"""
import pathlib, threading
pathlib.Path({str(new)!r}, "late.py").unlink(missing_ok=True)
sys.path.insert(0, {str(new)!r})
import m
{STOP}
import lasts
"""
    assert same(env, code) == "new\n"


PURGE = """
import sys
for name in list(sys.modules):
    if name not in ("sys", "builtins", "__main__"):
        del sys.modules[name]
import m, pkg.sub
print(m.VALUE, pkg.sub.VALUE)
"""


def test_all_of_sys_modules_may_be_removed_before_the_first_import(env: Env) -> None:
    assert same_enabled(env, PURGE) == "served submodule\n"


def test_the_first_import_shows_none_of_ours_to_a_replaced_import(env: Env) -> None:
    code = """
import builtins
stock, names = builtins.__import__, []
def log(name, globals=None, *rest):
    names.append((name, globals and globals.get("__name__")))
    return stock(name, globals, *rest)
builtins.__import__ = log
import m
builtins.__import__ = stock
print([each for each in names if "frozen" not in (each[1] or "") or "frozenfinder" in each[1]])
"""
    assert same_enabled(env, code) == "[('m', '__main__')]\n"


def test_an_error_in_the_waiting_finder_costs_no_import(env: Env) -> None:
    code = """
import sys
if type(sys.meta_path[-2]).__name__ == "Waiting":
    sys.meta_path[-2]._enabled = None,
import m
print(m.VALUE)
"""
    assert env.tell("-c", code) == "served\n"
    env.cli("enable", env.registry)
    done = env.run("-c", code)
    assert (done.returncode, done.stdout) == (0, "served\n")
    assert re.fullmatch(r"frozenfinder serves nothing: TypeError\(.+\)\n", done.stderr)
