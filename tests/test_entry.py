"""Entries: what the import statements of a program reach, and what goes with it."""

import json
import sys
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from support.processes import Python
from support.sources import write_tree
from test_cli import Cli, assert_refused

from frozenfinder.errors import FreezeError
from frozenfinder.freezer import Manifest, Omission, Plan, discover
from frozenfinder.freezer.discovery.imports import Import, find_imports, find_names

SUFFIX = EXTENSION_SUFFIXES[0]
APP = {
    "app/__init__.py": "from . import cli\n",
    "app/__main__.py": "import app.cli\n",
    "app/cli.py": "import tool\ndef main(): from .late import thing\n",
    "app/late.py": "import absent\n",
    "app/unused.py": "",
    "app/page.html": "<p>",
    "app/static/style.css": "p {}",
    "app/more/__init__.py": "",
    "app/more/data.txt": "",
    "tool.py": "import json.decoder\n",
    "other.py": "",
}


def names(plan: Plan, *tops: str) -> list[str]:
    """The modules of the plan with these top-level names, or all that are not the stdlib's."""
    return sorted(
        module.name
        for module in plan.modules
        if (module.name.partition(".")[0] in tops if tops else module.table == "app")
    )


def plan_of(root: Path, files: Mapping[str, str], *entries: str, **asked: object) -> Plan:
    """The plan where there is nothing but these files."""
    write_tree(root, files)
    manifest = Manifest(entries=entries, **asked)  # type: ignore[arg-type]
    return discover(manifest, [str(root)])


def error(root: Path, files: Mapping[str, str], entry: str, **asked: object) -> str:
    with pytest.raises(FreezeError) as caught:
        plan_of(root, files, entry, **asked)
    return str(caught.value)


# -- import statements


def test_every_form_of_import_is_read_wherever_it_stands() -> None:
    source = """
import a.b as c, d
from . import e, f
from ..g.h import i as j
from k import *
def function():
    from .l import m
    class Class:
        import n
try:
    import o
except ImportError:
    o = None
"""
    code = compile(source, "m.py", "exec")
    assert sorted(find_imports(code)) == [
        Import("", 1, ("e", "f")),
        Import("a.b", 0, ()),
        Import("d", 0, ()),
        Import("g.h", 2, ("i",)),
        Import("k", 0, ("*",)),
        Import("l", 1, ("m",)),
        Import("n", 0, ()),
        Import("o", 0, ()),
    ]
    assert find_names(code) == {"*", "c", "d", "e", "f", "j", "function", "o"}


@pytest.mark.parametrize("constants", [0, 300, 70_000])
def test_imports_are_read_after_any_number_of_names_and_constants(constants: int) -> None:
    source = "".join(f"n{number} = {number}.5\n" for number in range(constants))
    code = compile(f"{source}import p.q\nfrom ..r import s, t\nfrom u import *\n", "m.py", "exec")
    expected = [Import("p.q", 0, ()), Import("r", 2, ("s", "t")), Import("u", 0, ("*",))]
    assert list(find_imports(code)) == expected


@pytest.mark.skipif(sys.version_info < (3, 15), reason="there are no lazy imports before 3.15")
def test_lazy_imports_are_read_as_others_are() -> None:
    code = compile("lazy import a.b as c\nlazy from d import e\n", "m.py", "exec")
    assert list(find_imports(code)) == [Import("a.b", 0, ()), Import("d", 0, ("e",))]
    assert find_names(code) == {"c", "e"}


@pytest.mark.parametrize(
    ("level", "name", "package", "resolved"),
    [
        (0, "a.b", "p.q", "a.b"),
        (1, "", "p.q", "p.q"),
        (1, "a", "p.q", "p.q.a"),
        (2, "a.b", "p.q", "p.a.b"),
        (3, "a", "p.q", None),
        (1, "a", "", None),
    ],
)
def test_a_relative_name_is_resolved_as_by_import(
    level: int, name: str, package: str, resolved: str | None
) -> None:
    assert Import(name, level, ()).resolve(package) == resolved


# -- what is reached


def test_imports_are_followed_from_the_entry(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, APP, "app")
    assert names(plan) == ["app", "app.__main__", "app.cli", "app.late", "tool"]
    assert plan.missing == (("absent", "app.late"),)


def test_of_a_function_the_main_module_is_not_part(tmp_path: Path) -> None:
    assert names(plan_of(tmp_path, APP, "app.cli:main")) == ["app", "app.cli", "app.late", "tool"]


def test_the_standard_library_keeps_its_table_and_roots(tmp_path: Path) -> None:
    write_tree(tmp_path, {"m.py": "import wsgiref.types, sys"})
    plan = discover(Manifest(entries=("m",), excludes=("typing",)), [str(tmp_path), *sys.path])
    (found,) = [module for module in plan.modules if module.name == "wsgiref"]
    assert (found.table, found.root.anchor) == ("stdlib", "stdlib")
    assert found.path == "wsgiref/__init__.py"
    assert "sys" not in plan.reached


def test_the_standard_library_does_not_lead_to_its_tests() -> None:
    reached = discover(Manifest(entries=("multiprocessing.util", "heapq"))).reached
    assert {"doctest", "test", "test.support", "setuptools"}.isdisjoint(reached)


def test_a_star_import_brings_the_modules_that_a_package_exports(tmp_path: Path) -> None:
    files = {
        "m.py": "from package import *",
        "package/__init__.py": "__all__ = ['a', 'missing']",
        "package/a.py": "",
        "package/b.py": "",
    }
    assert names(plan_of(tmp_path, files, "m")) == ["m", "package", "package.a"]


def test_a_namespace_package_is_reached_in_all_its_portions(tmp_path: Path) -> None:
    files = {"m.py": "import space.a, space.b", "space/a.py": "", "lib/space/b.py": ""}
    write_tree(tmp_path, files)
    plan = discover(Manifest(entries=("m",)), [str(tmp_path), str(tmp_path / "lib")])
    assert names(plan) == ["m", "space", "space.a", "space.b"]


def test_a_module_without_source_and_one_that_does_not_compile_are_reached(tmp_path: Path) -> None:
    files = {"m.py": "import broken, space.inside", "broken.py": "def", "space/inside.py": ""}
    assert names(plan_of(tmp_path, files, "m")) == ["broken", "m", "space", "space.inside"]


def test_what_is_excluded_is_not_followed_and_told(tmp_path: Path) -> None:
    files = {"m.py": "import a, b", "a.py": "import c", "b.py": "", "c.py": ""}
    plan = plan_of(tmp_path, files, "m", excludes=("a",))
    assert names(plan) == ["b", "m"]
    assert plan.excluded == (Omission("a", "", "is excluded, and imported by m"),)


def test_another_folder_is_searched_first_if_that_is_asked(tmp_path: Path) -> None:
    write_tree(tmp_path / "lib", {"m.py": "import n", "n.py": ""})
    plan = plan_of(tmp_path, {"m.py": ""}, "m", searches=(str(tmp_path / "lib"),))
    assert names(plan) == ["m", "n"]


def test_of_an_extension_module_the_source_beside_it_is_read(tmp_path: Path) -> None:
    shared = "0123abcd__mypyc"
    files = {
        "m.py": "import fast",
        "fast.py": "import helper",
        f"fast{SUFFIX}": f"\0{shared}\0",
        f"{shared}{SUFFIX}": "",
        "helper.py": "",
    }
    assert names(plan_of(tmp_path, files, "m")) == [shared, "fast", "helper", "m"]


# -- what lies beside the modules


def test_data_goes_with_the_packages_that_are_reached(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, APP, "app")
    assert [file.path for file in plan.files] == ["app/page.html", "app/static/style.css"]


def test_the_metadata_of_the_distributions_that_are_reached_goes_with_them(tmp_path: Path) -> None:
    metadata = "Metadata-Version: 2.1\nName: {}\nVersion: 1\n"
    files = {
        **APP,
        "App-1.dist-info/METADATA": metadata.format("App"),
        "App-1.dist-info/RECORD": "app/__init__.py,,\nApp-1.dist-info/METADATA,,\n",
        "other-1.dist-info/METADATA": metadata.format("other"),
        "other-1.dist-info/RECORD": "other.py,,\nother-1.dist-info/METADATA,,\n",
    }
    found = [file.path for file in plan_of(tmp_path, files, "app.cli").files]
    assert [path for path in found if "dist-info" in path] == [
        "App-1.dist-info/METADATA",
        "App-1.dist-info/RECORD",
    ]


def test_data_files_are_frozen_by_their_paths(tmp_path: Path) -> None:
    files = {"app/data/a.txt": "", "app/data/b[1].txt": "", "app/c.md": "", "d.txt": ""}
    for globs, expected in (
        (("app/*.txt",), ["app/data/a.txt", "app/data/b[1].txt"]),
        (("app/data/b[[]1].txt", "d.txt"), ["app/data/b[1].txt", "d.txt"]),
    ):
        plan = discover(Manifest(data=globs), [str(write_tree(tmp_path, files))])
        assert [file.path for file in plan.files] == expected


def test_a_glob_that_no_data_file_has_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"app/m.py": ""})
    with pytest.raises(FreezeError) as caught:
        discover(Manifest(data=("app/*",)), [str(tmp_path)])
    assert str(caught.value) == (
        "include-data 'app/*': no data file below the 1 directories of sys.path matches; a path "
        "begins with a package, as in 'certifi/*.pem'"
    )


# -- rules


def test_a_rule_brings_what_it_names_and_what_that_imports(tmp_path: Path, python: Python) -> None:
    files = {
        **APP,
        "app/plugins/__init__.py": "",
        "app/plugins/one.py": "import helper_of_one",
        "helper_of_one.py": "",
        "app_rule.py": "def rule():\n    return ['package app.plugins', 'package app.gone', "
        "'include-data app/more/*', 'metadata gone', 'lay-out app']\n",
        "App-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: App\nVersion: 1\n",
        "App-1.dist-info/entry_points.txt": "[frozenfinder.rules]\napp = app_rule:rule\n",
    }
    root = write_tree(tmp_path / "lib", files)
    code = """
import sys
from frozenfinder.freezer import Manifest, discover
plan = discover(Manifest(entries=("app.cli",)))
print(*[m.name for m in plan.modules if m.table == "app"])
print(*[f.path for f in plan.files])
print(plan.lay_out)
"""
    done = python("-c", code, env={"PYTHONPATH": str(root)})
    modules, data, lay_out = done.stdout.splitlines()
    assert {"app.plugins", "app.plugins.one", "helper_of_one"} <= set(modules.split())
    assert "app/more/data.txt" in data.split()
    assert lay_out == "('app',)"


WORDS = (
    "has other lines, expected only lines that begin with package, distribution, metadata, "
    "include-data or lay-out"
)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("['world']", WORDS),
        ("1 / 0", "fails with ZeroDivisionError: division by zero"),
        ("5", "is 5, expected a list of manifest lines"),
    ],
)
def test_a_rule_that_is_none_is_named(
    tmp_path: Path, python: Python, rule: str, complaint: str
) -> None:
    files = {
        "app.py": "",
        "rule.py": f"rule = lambda: {rule}\n",
        "app-1.dist-info/METADATA": "Name: app\nVersion: 1\n",
        "app-1.dist-info/entry_points.txt": "[frozenfinder.rules]\napp = rule:rule\n",
    }
    root = write_tree(tmp_path / "lib", files)
    env = {"PYTHONPATH": str(root)}
    command = ("-m", "frozenfinder", "freeze", "--entry", "app", "-o", tmp_path / "out.frz")
    done = python(*command, env=env, check=False)
    assert_refused(done, f"rule for 'app' (rule:rule): {complaint}")


@pytest.mark.parametrize(
    ("entry", "hidden"),
    [
        ("lxml.etree", {"lxml._elementpath"}),
        ("sqlalchemy", {"sqlalchemy.dialects.sqlite.pysqlite"}),
        ("cryptography.fernet", {"_cffi_backend"}),
    ],
)
def test_the_shipped_rules_name_hidden_imports(entry: str, hidden: set[str]) -> None:
    pytest.importorskip(entry.partition(".")[0])
    assert hidden <= set(discover(Manifest(entries=(entry,))).reached)


def test_the_shipped_rules_are_enough_for_closed_mode(tmp_path: Path, python: Python) -> None:
    program = """
import dbm, sysconfig, tempfile
"x".encode("cp1252")
sysconfig.get_config_vars()
dbm.open(tempfile.mkdtemp() + "/x", "c").close()
print("done")
"""
    root = write_tree(tmp_path, {"program.py": program})
    registry = tmp_path / "out.frz"
    env = {"PYTHONPATH": str(root)}
    python("-m", "frozenfinder", "freeze", "--entry", "program", "-o", registry, env=env)
    run = ("-m", "frozenfinder", "run", "--mode", "closed", registry, "-m", "program")
    assert python(*run).stdout == "done\n"


# -- what is refused


def test_an_entry_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert error(tmp_path, APP, "app.gone:main") == (
        "entry 'app.gone:main': module 'app.gone' was not found in the 1 directories of sys.path; "
        "name a module that can be imported, or add its folder with --search"
    )


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("app.cli:gone", "module 'app.cli' defines no 'gone'"),
        ("app.cli:", "expected MODULE or MODULE:FUNCTION"),
        ("app..cli", "expected MODULE or MODULE:FUNCTION"),
        ("", "expected MODULE or MODULE:FUNCTION"),
    ],
)
def test_an_entry_that_is_no_function_is_refused(
    tmp_path: Path, entry: str, complaint: str
) -> None:
    assert error(tmp_path, APP, entry) == f"entry {entry!r}: {complaint}"


def test_an_entry_that_is_excluded_is_refused(tmp_path: Path) -> None:
    assert error(tmp_path, APP, "app", excludes=("a*",)) == "entry 'app': is excluded"


def test_an_entry_that_does_not_compile_is_refused(tmp_path: Path) -> None:
    found = error(tmp_path, {"m.py": "def"}, "m")
    assert found.startswith(f"entry 'm': {str(tmp_path / 'm.py')!r} does not compile: SyntaxError")


def test_a_name_that_a_star_or_a_function_may_bind_is_accepted(tmp_path: Path) -> None:
    files = {"a.py": "from b import *", "b.py": "", "c.py": "def __getattr__(name): ..."}
    plan_of(tmp_path, files, "a:main", "c:main.run")


def test_the_command_freezes_entries(tmp_path: Path, cli: Cli) -> None:
    root = write_tree(tmp_path / "lib", APP)
    command = ("freeze", "--entry", "app", "--exclude", "tool", "--json")
    done = cli(*command, "-o", tmp_path / "out.frz", cwd=root)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["missing"] == [["absent", "app.late"]]
    assert report["excluded"][0]["name"] == "tool"
    assert {
        key: value
        for share in report["shares"]
        for key, value in share.items()
        if share["name"] == "app" and key in ("name", "modules")
    } == {"name": "app", "modules": 4}
    assert (report["recorded_only"], report["static_only"]) == ([], [])
