"""Programs whose imports wait: they behave as if every import had run at once."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from support.processes import Python
from support.sources import write_tree

from frozenfinder.freezer.plan import Module, Plan, Root
from frozenfinder.freezer.write.content import Content
from frozenfinder.freezer.write.previous import Previous

HAS_LAZY_IMPORTS = sys.version_info >= (3, 15)

guards_only = pytest.mark.skipif(HAS_LAZY_IMPORTS, reason="from 3.15 on, the language does this")

FILES = {
    "tool.py": (
        '"""A tool."""\n'
        "import heavy\n"
        "import pkg.deep\n"
        "from other import work, Number as N\n"
        "\n"
        "def use_heavy(x=1):\n"
        "    return heavy.double(x)\n"
        "def use_deep():\n"
        "    return pkg.deep.NAME\n"
        "def use_other():\n"
        "    return work(), N(3)\n"
        "def use_nothing():\n"
        "    return nothing_of_that_name\n"
    ),
    "heavy.py": (
        "import sys\n"
        "sys.stdout.write('heavy runs\\n')\n"
        "def double(x):\n    return 2 * x\n"
        "class Thing:\n    pass\n"
    ),
    "other.py": "class Number(int):\n    pass\ndef work():\n    return 'works'\n",
    "pkg/__init__.py": (
        "from . import deep, side\n"
        "from .side import helper\n"
        "def get_side():\n    return side.__name__, helper()\n"
    ),
    "pkg/deep.py": "NAME = 'deep'\n",
    "pkg/side.py": "def helper():\n    return 'helps'\n",
    "starred.py": "from other import work\nfrom pkg.side import helper as _helper\nOWN = 1\n",
    "listed.py": "__all__ = ['work', 'OWN']\nfrom other import work, Number\nOWN = 1\n",
    "chained.py": (
        "from other import work\n"
        "def __getattr__(name):\n"
        "    if name == 'made':\n"
        "        return 'made here'\n"
        "    raise AttributeError(f'no {name} here')\n"
    ),
    "cycle_a.py": "import cycle_b\ndef a():\n    return cycle_b.b()\ndef c():\n    return 'c'\n",
    "cycle_b.py": "import cycle_a\ndef b():\n    return cycle_a.c()\n",
    "front.py": "from back import answer\ndef ask():\n    return answer\n",
    "back.py": "import front\nanswer = 42\n",
    "pkg/__main__.py": "from other import work\ndef main():\n    print(work(), __name__)\nmain()\n",
}

INSTALL = "import frozenfinder, sys\nfinder = frozenfinder.install({registry!r}, {how})\n"


@dataclass(frozen=True)
class App:
    """A folder with the modules above, and a lazy registry of them."""

    lib: Path
    registry: Path
    python: Python

    def run(self, program: str, how: str = "", **env: str) -> CompletedProcess[str]:
        """Run a program with the registry; it ends with status 0."""
        install = INSTALL.format(registry=str(self.registry), how=how)
        path = {} if "closed" in how else {"PYTHONPATH": str(self.lib)}
        return self.python("-c", install + program, env=path | env)

    def run_stock(self, program: str) -> CompletedProcess[str]:
        return self.python("-c", "import sys\n" + program, env={"PYTHONPATH": str(self.lib)})


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, python: Python) -> App:
    root = tmp_path_factory.mktemp("app")
    lib = write_tree(root / "lib", FILES)
    registry = root / "app.frz"
    freeze = ("freeze", "--path", lib, "--lazy", "--unchecked", "--quiet", "-o", registry)
    python("-m", "frozenfinder", *freeze, env={"PYTHONPATH": str(lib)})
    return App(lib, registry, python)


OVERLAY, CLOSED = "", "mode='closed'"

SAME = {
    "a function uses its names": (
        "import tool\nprint(tool.use_heavy(), tool.use_other(), tool.use_deep())"
    ),
    "a name is read from outside": "import tool\nprint(tool.heavy.__name__, tool.N, tool.work())",
    "a name is imported from outside": "from tool import N, heavy\nprint(N, heavy.__name__)",
    "all names are imported": "from starred import *\nprint(work(), OWN, '_helper' in dir())",
    "the listed names are imported": "from listed import *\nprint(work(), 'Number' in dir())",
    "names are listed": (
        "import tool, starred\nprint([n for n in dir(tool) if n[:2] != '__'])\n"
        "print([n for n in dir(starred) if n[:2] != '__'])"
    ),
    "a name is missing": (
        "import tool\ntry: tool.missing\nexcept AttributeError as e: print(e, e.name)"
    ),
    "a name is asked for": "import tool\nprint(hasattr(tool, 'N'), getattr(tool, 'nope', 0))",
    "a global is missing": "import tool\ntry: tool.use_nothing()\nexcept NameError as e: print(e)",
    "a module's own __getattr__": (
        "import chained\nprint(chained.made, chained.work())\n"
        "try: chained.nope\nexcept AttributeError as e: print(e)\nprint(chained.made)"
    ),
    "a package's submodules": "import pkg\nprint(pkg.get_side(), pkg.deep.NAME, pkg.side.__name__)",
    "a submodule is imported": "from pkg import side, helper\nprint(side.__name__, helper())",
    "a name is deleted": (
        "import tool\ntool.use_heavy()\ndel tool.heavy\n"
        "try: tool.use_heavy()\nexcept NameError as e: print(e)"
    ),
    "a name is replaced before": (
        "import tool, types\ntool.heavy = types.SimpleNamespace(double=lambda x: 'mine')\n"
        "print(tool.use_heavy())"
    ),
    "a name is patched": (
        "import tool, unittest.mock as m\n"
        "with m.patch('tool.work', lambda: 'patched'): print(tool.use_other())\n"
        "print(tool.use_other())"
    ),
    "a cycle": "import cycle_a\nprint(cycle_a.a())\nimport cycle_b\nprint(cycle_b.b())",
    "a cycle of names": "import front\nimport back\nprint(front.ask(), back.front.__name__)",
    "a pickle by reference": (
        "import pickle, tool\nprint(pickle.loads(pickle.dumps(tool.N(4))), pickle.dumps(tool.N))"
    ),
    "the members": (
        "import inspect, tool\nprint([n for n, _ in inspect.getmembers(tool) if n[:2] != '__'])"
    ),
    "a reload": (
        "import importlib, tool, other\nold = tool.N\nimportlib.reload(other)\n"
        "print(tool.N is old)\nimportlib.reload(tool)\nprint(tool.N is old, tool.N is other.Number)"
    ),
    "a thread": (
        "import threading, tool\nfound = []\nbarrier = threading.Barrier(8)\n"
        "def use():\n    barrier.wait()\n"
        "    found.append(tool.use_other()[0] + str(tool.use_heavy()))\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "[t.start() for t in threads]\n[t.join() for t in threads]\nprint(set(found), len(found))"
    ),
    "a fork": (
        "import os, tool\nchild = os.fork()\n"
        "if not child:\n    ok = tool.use_other() == ('works', 3)\n    os._exit(7 if ok else 8)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), tool.use_deep())"
    ),
    "a module that runs as a program": (
        "import runpy\nfor name in ('__main__', 'other_name'):\n"
        "    g = runpy.run_module('pkg', run_name=name)\n    print(g['__name__'])"
    ),
}


@pytest.mark.parametrize("how", [OVERLAY, CLOSED], ids=["overlay", "closed"])
@pytest.mark.parametrize("program", SAME.values(), ids=SAME)
def test_a_program_does_what_it_does_without_a_registry(program: str, how: str, app: App) -> None:
    stock, lazy = app.run_stock(program), app.run(program, how)
    ran = "heavy runs\n"  # at another time, or never
    assert lazy.stdout.replace(ran, "") == stock.stdout.replace(ran, "")
    assert (lazy.stderr, lazy.stdout != "") == (stock.stderr, True)


LOADED = "print(sorted({'heavy', 'other', 'pkg.side', 'pkg.deep'} & {*sys.modules}))\n"


@pytest.mark.parametrize("how", [OVERLAY, CLOSED], ids=["overlay", "closed"])
def test_an_import_waits_until_its_name_is_used(how: str, app: App) -> None:
    steps = ["import tool", "tool.use_nothing", "tool.use_other()", "tool.use_heavy()"]
    program = "".join(f"{step}\n{LOADED}" for step in steps)
    assert app.run(program, how).stdout.splitlines() == [
        "[]",
        "[]",
        "['other']",
        "heavy runs",
        "['heavy', 'other']",
    ]


@pytest.mark.parametrize(
    ("how", "env"),
    [
        ("lazy=False", {}),
        ("mode='closed', lazy=False", {}),
        ("", {"FROZENFINDER_WITHOUT": "collector,lazy"}),
    ],
)
def test_the_same_registry_boots_without_waiting(how: str, env: dict[str, str], app: App) -> None:
    program = f"import tool\n{LOADED}print('__frozenfinder__' in vars(tool), finder.served > 3)"
    assert app.run(program, how, **env).stdout.splitlines() == [
        "heavy runs",
        "['heavy', 'other', 'pkg.deep', 'pkg.side']",
        "False True",
    ]


@pytest.mark.parametrize("how", [OVERLAY, CLOSED], ids=["overlay", "closed"])
def test_a_failed_import_names_the_file_and_the_line_of_its_statement(how: str, app: App) -> None:
    program = (
        "import tool, traceback\nsys.modules['other'] = None\n"
        "for _ in range(2):\n    try: tool.use_other()\n"
        "    except ImportError: print(traceback.format_exc())\n"
        "del sys.modules['other']\nprint(tool.use_other())"
    )
    done = app.run(program, how)
    assert done.stdout.count('tool.py", line 4, in <module>\n') == 2
    assert done.stdout.count('tool.py", line 11, in use_other\n') == 2
    assert (
        done.stdout.count("ModuleNotFoundError: import of other halted; None in sys.modules") == 2
    )
    assert "NameError" not in done.stdout
    assert done.stdout.endswith("('works', 3)\n")


def test_an_import_that_fails_under_try_is_caught_there(app: App) -> None:
    program = (
        "import tool\nsys.modules['heavy'] = None\n"
        "try:\n    tool.use_heavy()\nexcept ModuleNotFoundError as error:\n"
        "    print(error, error.name, error.__context__)"
    )
    assert app.run(program).stdout == "import of heavy halted; None in sys.modules heavy None\n"


@guards_only
def test_a_module_has_no_hooks_left_when_nothing_waits(app: App) -> None:
    program = (
        "import tool, chained\nprint(tool.__frozenfinder__)\n"
        "tool.use_other(), tool.use_heavy(), tool.use_deep(), chained.work\n"
        "print([n for n in ('__getattr__', '__dir__') if n in vars(tool)])\n"
        "print(chained.__getattr__.__qualname__, '__dir__' in vars(chained))\n"
        "print(tool.__frozenfinder__)"
    )
    assert app.run(program).stdout.splitlines() == [
        "<resolver of 'tool', 4 waiting>",
        "heavy runs",
        "[]",
        "__getattr__ False",
        "<resolver of 'tool', 0 waiting>",
    ]


@guards_only
def test_a_name_that_waits_is_not_in_the_dictionary(app: App) -> None:
    """The one thing that a program can see; PEP 810 has a lazy object there."""
    program = "import tool\nprint('N' in vars(tool))\ntool.N\nprint('N' in vars(tool))"
    assert app.run(program).stdout == "False\nTrue\n"


@guards_only
def test_a_module_that_begins_says_so_when_a_name_is_missing(app: App) -> None:
    program = (
        "import types, tool\nfrom frozenfinder.lazy import Resolver\n"
        "spec = types.SimpleNamespace(_initializing=True)\n"
        "r = Resolver({'__name__': 'm', '__spec__': spec}, {})\n"
        "try: r.outside('x')\nexcept AttributeError as e: print(e)"
    )
    assert app.run(program).stdout == (
        "partially initialized module 'm' has no attribute 'x' (most likely due to a circular "
        "import)\n"
    )


def test_a_trace_function_that_raises_is_heard(app: App) -> None:
    """An exception that another raises at a guarded load is no reason to import."""
    program = (
        "import tool\n"
        "def trace(frame, event, argument):\n"
        "    if event == 'line' and frame.f_code.co_name == 'use_other':\n"
        "        raise KeyError('traced')\n"
        "    return trace\n"
        "sys.settrace(trace)\n"
        "try:\n    tool.use_other()\nexcept KeyError as error:\n"
        "    sys.settrace(None)\n    print(error)\n" + LOADED
    )
    assert app.run(program).stdout == "'traced'\n[]\n"


def test_a_subinterpreter_resolves_for_itself(app: App) -> None:
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    program = (
        f"import tool, {name} as interpreters\ntool.use_other()\n"
        "code = '''import sys, frozenfinder\n"
        f"frozenfinder.install({str(app.registry)!r})\n"
        "import tool\nbefore = 'other' in sys.modules\n"
        "assert tool.use_other() == ('works', 3) and not before\n'''\n"
        "one = interpreters.create()\n"
        "failed = interpreters.run_string(one, code)\nprint(failed)"
    )
    assert app.run(program).stdout == "None\n"


def test_a_hidden_package_means_that_nothing_waits(app: App) -> None:
    program = f"sys.modules['frozenfinder.lazy'] = None\nimport tool\n{LOADED}"
    assert app.run(program).stdout.splitlines()[0] == "heavy runs"


def test_why_tells_what_waits_and_what_does_not(app: App) -> None:
    env = {"PYTHONPATH": str(app.lib)}

    def ask(name: str, *options: str) -> CompletedProcess[str]:
        where = ("--registry", str(app.registry), *options)
        return app.python("-m", "frozenfinder", "why", name, *where, env=env)

    assert ask("tool").stdout.splitlines()[1:] == ["  imports that wait: N, heavy, pkg, work"]
    assert ask("heavy").stdout.splitlines()[1:] == [
        "  imports that wait: none",
        "  sys does not wait: line 2 uses it when the module is imported",
    ]
    assert json.loads(ask("tool", "--json").stdout)["laziness"] == {
        "lazy": ["N", "heavy", "pkg", "work"],
        "eager": {},
        "whole": None,
    }
    assert json.loads(ask("json", "--json").stdout)["laziness"] is None


BUNDLED = """\
import sys
import xml.dom.minidom

def main():
    print("xml.dom.minidom" in sys.modules)
    print(xml.dom.minidom.parseString("<a/>").toxml(), "xml.dom.minidom" in sys.modules)
"""


def test_imports_wait_in_a_bundle_of_a_lazy_manifest(tmp_path: Path, python: Python) -> None:
    lib = write_tree(tmp_path / "lib", {"packed.py": BUNDLED})
    manifest, output = tmp_path / "lazy.manifest", tmp_path / "packed"
    manifest.write_text("lazy\ncheck false\n", encoding="utf-8")  # nothing here runs checks
    options = ("--manifest", manifest, "--entry", "packed:main", "--quiet", "-o", output)
    python("-m", "frozenfinder", "bundle", *options, env={"PYTHONPATH": str(lib)})
    expected = '<?xml version="1.0" ?><a/> True\n'
    assert python(output).stdout == f"False\n{expected}"
    assert python(output, env={"FROZENFINDER_WITHOUT": "lazy"}).stdout == f"True\n{expected}"


def test_imports_wait_below_run_and_in_its_children(app: App) -> None:
    program = f"import tool, subprocess, sys\n{LOADED}"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {program!r}])"
    env = {"PYTHONPATH": str(app.lib)}
    for code in (program, child):
        done = app.python("-m", "frozenfinder", "run", app.registry, "-c", code, env=env)
        assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_same_sources_give_the_same_bytes(app: App, tmp_path: Path) -> None:
    frozen = set()
    for seed in ("1", "2"):
        output = tmp_path / "again.frz"
        freeze = ("freeze", "--path", app.lib, "--lazy", "--unchecked", "--quiet", "-o", output)
        env = {"PYTHONPATH": str(app.lib), "PYTHONHASHSEED": seed}
        app.python("-m", "frozenfinder", *freeze, env=env)
        frozen.add(output.read_bytes())
        output.unlink()
    assert len(frozen) == 1


def test_a_source_that_changes_during_the_freeze_has_no_lazy_code(tmp_path: Path) -> None:
    lib = write_tree(tmp_path / "lib", {"m.py": "import n\ndef f():\n    return n\n", "n.py": ""})
    root = Root("absolute", str(lib), str(lib))
    modules = tuple(Module(name, root, f"{name}.py") for name in ("m", "n"))
    content = Content(Plan(roots=(root,), modules=modules, lazy=True))

    def edit(done: int, total: int, name: str) -> None:
        if "m" in {each.entry.name for each in content.modules}:
            write_tree(lib, {"m.py": "import n\ndef g():\n    return n, n\n"})

    previous = Previous(str(tmp_path / "none.frz"), Plan())
    content.add_modules(previous, 1, edit)
    (outcome, _) = content.outcomes.values()
    assert (outcome.lazy, outcome.whole) == ((), "its source changed while it was being frozen")
    assert not any(each.entry.extras_size for each in content.modules)


def test_an_edited_source_is_imported_as_ever(
    app: App, tmp_path: Path, cli: Callable[..., CompletedProcess[str]]
) -> None:
    lib = write_tree(tmp_path / "lib", FILES)
    registry = tmp_path / "app.frz"
    done = cli("freeze", "--path", lib, "--lazy", "--unchecked", "--quiet", "-o", registry)
    assert (done.returncode, done.stderr) == (0, "")
    write_tree(lib, {"tool.py": FILES["tool.py"] + "EDITED = True\n"})
    copy = App(lib, registry, app.python)
    assert copy.run("import tool\nprint(tool.EDITED)").stdout == "heavy runs\nTrue\n"
