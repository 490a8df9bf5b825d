"""Discovery: what is found on a real file system, and what is left out and why."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from support.processes import Python
from support.sources import write_tree

from frozenfinder.errors import FreezeError
from frozenfinder.freezer import Manifest, Module, Plan, discover
from frozenfinder.freezer.discovery.anchors import find_root
from frozenfinder.freezer.discovery.discover import TEST_PACKAGES
from frozenfinder.freezer.plan import is_excluded

SO = EXTENSION_SUFFIXES[0]
STDLIB = Path(sys._stdlib_dir)  # type: ignore[attr-defined]


def names(plan: Plan) -> list[str]:
    return [module.name for module in plan.modules]


def paths(plan: Plan) -> list[str]:
    return [file.path for file in plan.files]


def reasons(plan: Plan) -> dict[str, str]:
    return {omission.name: omission.reason for omission in plan.omitted}


def by_name(plan: Plan) -> Mapping[str, Module]:
    return {module.name: module for module in plan.modules}


def error(manifest: Manifest, search_path: Iterable[Path] = ()) -> str:
    with pytest.raises(FreezeError) as caught:
        discover(manifest, list(map(str, search_path)))
    return str(caught.value)


# -- the standard library


@pytest.fixture(scope="module")
def stdlib() -> Plan:
    return discover(Manifest(stdlib=True))


def test_the_standard_library_is_there_without_its_tests(stdlib: Plan) -> None:
    found = by_name(stdlib)
    assert {"os", "json", "json.decoder", "asyncio", "encodings.utf_8", "__future__"} <= set(found)
    assert len(found) > 500
    assert {module.table for module in stdlib.modules} == {"stdlib"}
    assert not [name for name in found if is_excluded(name, TEST_PACKAGES)]
    assert not [name for name in found if name.startswith(("site-packages", "lib-dynload"))]
    json = found["json"]
    assert (json.path, json.is_package, json.why) == ("json/__init__.py", True, "stdlib")
    assert (json.root.anchor, json.root.path) == ("stdlib", "")


def test_extension_modules_of_the_standard_library_have_a_root_of_their_own(stdlib: Plan) -> None:
    if not (STDLIB / "lib-dynload").is_dir():
        pytest.skip("this interpreter has no lib-dynload")
    extensions = [module for module in stdlib.modules if module.kind == "extension"]
    assert {(m.root.anchor, m.root.path) for m in extensions} == {("stdlib", "lib-dynload")}


def test_the_tests_of_the_standard_library_are_a_table_of_their_own(stdlib: Plan) -> None:
    if not (STDLIB / "test" / "support").is_dir():
        pytest.skip("this interpreter comes without its tests")
    tested = by_name(discover(Manifest(stdlib_tests=True)))
    assert tested["test.support"].table == "test"
    assert {name for name, module in tested.items() if module.table == "stdlib"} == set(
        names(stdlib)
    )


def test_data_files_of_the_standard_library_are_those_of_its_packages(stdlib: Plan) -> None:
    folders = {path.partition("/")[0] for path in paths(stdlib)}
    assert folders
    assert folders <= set(names(stdlib))
    assert not [omission for omission in stdlib.omitted if omission.name.startswith("config-")]


def test_every_module_of_the_standard_library_is_what_an_import_finds(
    stdlib: Plan, python: Python
) -> None:
    code = """
import sys
from importlib.machinery import PathFinder
for line in sys.stdin.read().split():
    spec = PathFinder.find_spec(line)
    print(line, spec.origin or list(spec.submodule_search_locations._path)[0])
"""
    tops = {name: module for name, module in by_name(stdlib).items() if "." not in name}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        input="\n".join(tops),
        capture_output=True,
        check=True,
        text=True,
    )
    assert [line.split(" ", 1) for line in done.stdout.splitlines()] == [
        [name, module.location] for name, module in tops.items()
    ]


# -- a directory


def test_everything_below_a_directory_is_found(tmp_path: Path) -> None:
    write_tree(
        tmp_path / "lib",
        {
            "m.py": "",
            "pkg/__init__.py": "",
            "pkg/sub.py": "",
            "pkg/data/table.txt": "1",
            "space/portion.py": "",
            f"fast{SO}": b"",
            "old.pyc": b"",
            "foo-bar.py": "",
            "README.md": "",
            "pkg/__pycache__/sub.cpython-00.pyc": b"",
        },
    )
    plan = discover(Manifest(paths=(str(tmp_path / "lib"),)), [])
    kinds = {name: (module.kind, module.path) for name, module in by_name(plan).items()}
    assert kinds == {
        "fast": ("extension", f"fast{SO}"),
        "foo-bar": ("source", "foo-bar.py"),
        "m": ("source", "m.py"),
        "old": ("sourceless", "old.pyc"),
        "pkg": ("source", "pkg/__init__.py"),
        "pkg.data": ("namespace", "pkg/data"),
        "pkg.sub": ("source", "pkg/sub.py"),
        "space": ("namespace", "space"),
        "space.portion": ("source", "space/portion.py"),
    }
    assert paths(plan) == ["README.md", "pkg/data/table.txt"]
    assert plan.omitted == ()


def test_an_extension_module_wins_over_a_source_beside_it(tmp_path: Path) -> None:
    write_tree(tmp_path, {"pkg/__init__.py": "", "pkg/md.py": "", f"pkg/md{SO}": b""})
    plan = discover(Manifest(paths=(str(tmp_path),)), [])
    assert by_name(plan)["pkg.md"].kind == "extension"
    assert paths(plan) == ["pkg/md.py"]


def test_what_is_left_out_has_a_reason(tmp_path: Path) -> None:
    lib = write_tree(
        tmp_path / "lib",
        {
            ".git/config": "",
            ".hidden.py": "",
            "venv/pyvenv.cfg": "",
            "venv/lib/m.py": "",
            "app.frz": b"",
            "pkg/libfast.so.1.2": b"",
            "pkg/other.cpython-00-none.so": b"",
        },
    )
    (lib / "dangling.py").symlink_to("nowhere.py")
    (lib / "pkg" / "loop").symlink_to("..")
    os.mkfifo(lib / "pipe.py")
    plan = discover(Manifest(paths=(str(lib),)), [])
    library = "is a shared library, which is embedded only with --extensions=embed"
    assert reasons(plan) == {
        ".git": "is hidden",
        ".hidden.py": "is hidden",
        "venv": "is a virtual environment",
        "app.frz": "is a registry",
        "pkg/libfast.so.1.2": library,
        "pkg/other.cpython-00-none.so": library,
        "dangling.py": "is a symbolic link to 'nowhere.py', which does not exist",
        "pkg/loop": "is a symbolic link to a folder that contains it",
        "pipe.py": "is not a regular file",
    }
    assert names(plan) == ["pkg"]


def test_a_name_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text("")
        (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    plan = discover(Manifest(paths=(str(tmp_path),)), [])
    assert (plan.modules, plan.files) == ((), ())
    assert set(reasons(plan).values()) == {"has a name that is not UTF-8"}


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root reads it")
def test_a_folder_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    plan = discover(Manifest(paths=(str(tmp_path),)), [])
    assert reasons(plan) == {"closed": "cannot be read: Permission denied"}


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    write_tree(tmp_path, {"real/__init__.py": "", "real/m.py": ""})
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "linked").symlink_to("../real")
    plan = discover(Manifest(paths=(str(tmp_path / "lib"),)), [])
    assert names(plan) == ["linked", "linked.m"]


def test_a_path_that_is_no_directory_is_named(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text("")
    expected = "expected a directory of modules and packages"
    assert (
        error(Manifest(paths=(str(file),))) == f"path {str(file)!r}: is not a directory, {expected}"
    )
    missing = str(tmp_path / "missing")
    assert error(Manifest(paths=(missing,))) == f"path {missing!r}: does not exist, {expected}"


# -- a package


def test_a_package_is_found_with_everything_below_it(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "p/__init__.py": "",
            "p/q/__init__.py": "",
            "p/q/r.py": "",
            "p/data.txt": "",
            "other.py": "",
        },
    )
    plan = discover(Manifest(packages=("p",)), [str(tmp_path)])
    assert names(plan) == ["p", "p.q", "p.q.r"]
    assert paths(plan) == ["p/data.txt"]
    assert [root.directory for root in plan.roots] == [str(tmp_path)]


def test_a_part_of_a_package_brings_the_packages_that_it_is_in(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {"p/__init__.py": "", "p/x.py": "", "p/q/__init__.py": "", "p/q/r.py": "", "p/q/s.py": ""},
    )
    assert names(discover(Manifest(packages=("p.q",)), [str(tmp_path)])) == [
        "p",
        "p.q",
        "p.q.r",
        "p.q.s",
    ]
    assert names(discover(Manifest(packages=("p.q.r",)), [str(tmp_path)])) == ["p", "p.q", "p.q.r"]


def test_a_module_is_found_alone(tmp_path: Path) -> None:
    write_tree(tmp_path, {"m.py": "", "n.py": "", f"fast{SO}": b""})
    plan = discover(Manifest(packages=("m", "fast")), [str(tmp_path)])
    assert [(m.name, m.kind) for m in plan.modules] == [("fast", "extension"), ("m", "source")]


def test_the_portions_of_a_namespace_package_are_found_on_the_whole_path(tmp_path: Path) -> None:
    write_tree(tmp_path / "one", {"space/a.py": "", "space/deep/b.py": ""})
    write_tree(tmp_path / "two", {"space/c.py": "", "space/deep/d.py": ""})
    search_path = [str(tmp_path / "one"), str(tmp_path / "two")]
    plan = discover(Manifest(packages=("space",)), search_path)
    assert names(plan) == [
        "space",
        "space.a",
        "space.c",
        "space.deep",
        "space.deep.b",
        "space.deep.d",
    ]
    assert [root.directory for root in plan.roots] == search_path
    deep = discover(Manifest(packages=("space.deep.d",)), search_path)
    assert [(m.name, m.kind) for m in deep.modules] == [
        ("space", "namespace"),
        ("space.deep", "namespace"),
        ("space.deep.d", "source"),
    ]


def test_the_first_on_the_path_is_found_and_a_namespace_last(tmp_path: Path) -> None:
    write_tree(tmp_path / "zero", {"p/data.txt": ""})
    write_tree(tmp_path / "one", {"p.py": ""})
    write_tree(tmp_path / "two", {"p/__init__.py": ""})
    folders = [str(tmp_path / name) for name in ("zero", "one", "two")]
    plan = discover(Manifest(packages=("p",)), folders)
    assert [module.location for module in plan.modules] == [str(tmp_path / "one" / "p.py")]


def test_a_package_of_the_standard_library_keeps_its_root() -> None:
    plan = discover(Manifest(packages=("json",)))
    json = by_name(plan)["json.decoder"]
    assert (json.table, json.root.anchor, json.root.path) == ("app", "stdlib", "")


def test_nothing_is_executed(tmp_path: Path, python: Python) -> None:
    write_tree(tmp_path, {"p/__init__.py": "1/0", "p/q.py": "1/0", "n/r.py": "1/0"})
    code = """
import sys
from frozenfinder.freezer import Manifest, discover, freeze
plan = discover(Manifest(packages=('p.q', 'n')), [sys.argv[1]])
freeze(plan, sys.argv[1] + '/out.frz')
print(len(plan.modules), {'p', 'p.q', 'n'} & set(sys.modules))
"""
    assert python("-c", code, tmp_path).stdout == "4 set()\n"


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"p/__init__.py": ""})
    advice = "if it is installed elsewhere, freeze its folder with --path"
    assert error(Manifest(packages=("nope",)), [tmp_path]) == (
        f"package 'nope': not found in the 1 directories of sys.path; {advice}"
    )
    assert error(Manifest(packages=("p.nope.q",)), [tmp_path]) == (
        "package 'p.nope.q': not found in the 1 directories of sys.path (no module 'p.nope'); "
        f"{advice}"
    )
    assert error(Manifest(packages=("sys",)), [tmp_path]) == (
        "package 'sys': 'sys' is built into the interpreter, so there is no file to freeze"
    )
    assert error(Manifest(packages=("p..q",))) == "package 'p..q': is not the name of a module"


# -- a distribution


METADATA = "Metadata-Version: 2.1\nName: {0}\nVersion: 1.0\n"


def install(site: Path, name: str, files: Mapping[str, str], metadata: str = "") -> None:
    """What an installer leaves behind."""
    folder = f"{name.replace('-', '_')}-1.0.dist-info"
    everything = {**files, f"{folder}/METADATA": METADATA.format(name) + metadata}
    everything[f"{folder}/RECORD"] = "".join(
        f"{path},,\n" for path in [*everything, f"{folder}/RECORD"]
    )
    write_tree(site, everything)


def test_a_distribution_is_its_modules_its_data_and_its_metadata(tmp_path: Path) -> None:
    install(
        tmp_path / "site",
        "My-Dist",
        {
            "my/__init__.py": "",
            "my/sub.py": "",
            "my/data.txt": "",
            "../bin/my": "",
            "single.py": "",
        },
    )
    write_tree(tmp_path / "site", {"other.py": "", "my/not_recorded.py": ""})
    (tmp_path / "site" / "single.py").unlink()
    plan = discover(Manifest(distributions=("my_dist",)), [str(tmp_path / "site")])
    assert names(plan) == ["my", "my.sub"]
    assert paths(plan) == [
        "My_Dist-1.0.dist-info/METADATA",
        "My_Dist-1.0.dist-info/RECORD",
        "my/data.txt",
    ]
    assert reasons(plan) == {
        "../bin/my": "is outside the directory that the distribution is installed in",
        "single.py": "is in the distribution's RECORD but not on disk",
    }
    assert {module.why for module in plan.modules} == {"distribution My-Dist"}


def test_a_package_that_another_distribution_makes_regular_is_regular(tmp_path: Path) -> None:
    install(tmp_path, "base", {"google/__init__.py": ""})
    install(tmp_path, "plugin", {"google/cloud/storage.py": ""})
    plan = discover(Manifest(distributions=("plugin",)), [str(tmp_path)])
    assert {name: module.kind for name, module in by_name(plan).items()} == {
        "google": "source",
        "google.cloud": "namespace",
        "google.cloud.storage": "source",
    }


def with_dependencies(site: Path, *distributions: str) -> Plan:
    return discover(Manifest(distributions=distributions, with_dependencies=True), [str(site)])


def requires(*lines: str) -> str:
    return "".join(f"Requires-Dist: {line}\n" for line in lines)


def test_dependencies_are_followed_if_that_is_asked(tmp_path: Path) -> None:
    needed = requires("needed>=1 ; python_version > '3'", "optional; extra == 'more'", "lacking")
    install(tmp_path, "top", {"top.py": ""}, needed)
    install(tmp_path, "needed", {"needed.py": ""}, requires("top", "deeper (>=1)"))
    install(tmp_path, "deeper", {"deeper.py": ""})
    install(tmp_path, "optional", {"optional.py": ""})
    assert names(discover(Manifest(distributions=("top",)), [str(tmp_path)])) == ["top"]
    plan = with_dependencies(tmp_path, "top")
    assert names(plan) == ["deeper", "needed", "top"]
    assert reasons(plan) == {"lacking": "is required by 'top', but is not installed"}


def test_what_an_extra_requires_is_followed_where_the_extra_is_required(tmp_path: Path) -> None:
    install(tmp_path, "app", {"app.py": ""}, requires("Lib[Socks,a.b]"))
    extras = requires(
        "socksy; extra == 'socks'",
        "by-name; python_version > '3' and extra == 'A_B'",
        "unasked; extra == 'other'",
        "absent; extra == 'socks'",
    )
    install(tmp_path, "lib", {"lib.py": ""}, extras)
    install(tmp_path, "socksy", {"socksy.py": ""}, requires("nested[deep]"))
    install(tmp_path, "nested", {"nested.py": ""}, requires("deep ; extra == 'deep'"))
    for name in ("by-name", "unasked", "deep"):
        install(tmp_path, name, {f"{name.replace('-', '_')}.py": ""})
    plan = with_dependencies(tmp_path, "app")
    assert names(plan) == ["app", "by_name", "deep", "lib", "nested", "socksy"]
    assert reasons(plan) == {"absent": "is required by 'lib', but is not installed"}
    assert names(with_dependencies(tmp_path, "lib")) == ["lib"]


def test_an_extra_that_is_required_later_is_followed_too(tmp_path: Path) -> None:
    install(tmp_path, "lib", {"lib.py": ""}, requires("late; extra == 'late'"))
    install(tmp_path, "app", {"app.py": ""}, requires("lib[late]"))
    install(tmp_path, "late", {"late.py": ""}, requires("lib"))
    plan = with_dependencies(tmp_path, "lib", "app")
    assert names(plan) == ["app", "late", "lib"]
    assert len(plan.files) == 6


def test_an_extra_may_require_other_extras_of_its_own_distribution(tmp_path: Path) -> None:
    install(tmp_path, "app", {"app.py": ""}, requires("lib[all]"))
    extras = requires(
        "lib[one,two]; extra == 'all'",
        "first; extra == 'one'",
        "second; extra == 'two'",
        "third; extra == 'three'",
    )
    install(tmp_path, "lib", {"lib.py": ""}, extras)
    for name in ("first", "second", "third"):
        install(tmp_path, name, {f"{name}.py": ""})
    assert names(with_dependencies(tmp_path, "app")) == ["app", "first", "lib", "second"]


def test_markers_decide_what_is_required_and_not_what_is_installed(tmp_path: Path) -> None:
    lines = requires(
        "elsewhere; sys_platform == 'cp/m'",
        "earlier; python_version < '3'",
        "here; python_version >= '3.11'",
        f"same; sys_platform == '{sys.platform}'",
    )
    install(tmp_path, "top", {"top.py": ""}, lines)
    for name in ("elsewhere", "earlier", "here"):
        install(tmp_path, name, {f"{name}.py": ""})
    plan = with_dependencies(tmp_path, "top")
    assert names(plan) == ["here", "top"]
    assert reasons(plan) == {"same": "is required by 'top', but is not installed"}


def test_a_requirement_by_url_is_followed_by_its_name(tmp_path: Path) -> None:
    urls = requires(
        "lib[socks] @ https://example.org/lib-1.0.tar.gz#sha256=0 ; python_version > '3'",
        "gone @ git+https://example.org/gone@main",
    )
    install(tmp_path, "top", {"top.py": ""}, urls)
    install(tmp_path, "lib", {"lib.py": ""}, requires("socksy; extra == 'socks'"))
    install(tmp_path, "socksy", {"socksy.py": ""})
    plan = with_dependencies(tmp_path, "top")
    assert names(plan) == ["lib", "socksy", "top"]
    assert reasons(plan) == {"gone": "is required by 'top', but is not installed"}


def test_a_requirement_that_is_not_valid_is_left_out_and_named(tmp_path: Path) -> None:
    lines = ("good", "bad (>dev)", "odd; 'x' in extras")
    install(tmp_path, "top", {"top.py": ""}, requires(*lines))
    install(tmp_path, "good", {"good.py": ""})
    plan = with_dependencies(tmp_path, "top")
    assert names(plan) == ["good", "top"]
    assert reasons(plan) == {
        "bad (>dev)": (
            "is required by 'top', but is not valid: InvalidRequirement: Expected matching "
            "RIGHT_PARENTHESIS for LEFT_PARENTHESIS, after version specifier"
        ),
        "odd; 'x' in extras": (
            "is required by 'top', but is not valid: UndefinedEnvironmentName: 'extras'"
        ),
    }


EDITABLE = {
    "pip": '{"dir_info": {"editable": true}, "url": "file:///pro%20ject"}',
    "uv": '{"url":"file:///pro%20ject","dir_info":{"editable":true}}',
}


@pytest.mark.parametrize("installer", EDITABLE)
def test_an_editable_installation_is_refused(installer: str, tmp_path: Path) -> None:
    install(tmp_path, "edited", {"x.pth": ""})
    write_tree(tmp_path, {"edited-1.0.dist-info/direct_url.json": EDITABLE[installer]})
    assert error(Manifest(distributions=("edited",)), [tmp_path]) == (
        "distribution 'edited': is an editable installation, whose files are elsewhere; "
        "freeze their folder with --path"
    )


@pytest.mark.parametrize(
    "origin",
    [
        '{"url": "file:///project", "dir_info": {}}',
        '{"url": "file:///project", "dir_info": {"editable": false}}',
        '{"url": "https://example.org/x.whl", "archive_info": {"hashes": {"sha256": "0"}}}',
        '{"url": "https://example.org/x", "vcs_info": {"vcs": "git", "commit_id": "0"}}',
        "{}",
        "[1]",
        "null",
        "not JSON",
        '{"dir_info": {"editable": true}}',
        '{"url": "file:///project", "dir_info": {"editable": "true"}}',
    ],
)
def test_other_origins_and_invalid_ones_make_no_difference(origin: str, tmp_path: Path) -> None:
    install(tmp_path, "plain", {"plain.py": ""})
    write_tree(tmp_path, {"plain-1.0.dist-info/direct_url.json": origin})
    assert names(discover(Manifest(distributions=("plain",)), [str(tmp_path)])) == ["plain"]


def test_a_distribution_that_cannot_be_frozen_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"unknown-1.0.dist-info/METADATA": METADATA.format("unknown")})
    assert error(Manifest(distributions=("unknown",)), [tmp_path]) == (
        "distribution 'unknown': has no list of its files; freeze its packages with --package"
    )
    for missing in ("nope", ""):
        assert error(Manifest(distributions=(missing,)), [tmp_path]) == (
            f"distribution {missing!r}: is not installed in the 1 directories of sys.path; "
            "install it, or freeze its folder with --path"
        )


# -- all together


def test_what_is_asked_for_is_excluded_ordered_and_told(tmp_path: Path) -> None:
    app = write_tree(
        tmp_path / "app", {"m.py": "", "pkg/__init__.py": "", "pkg/tests/__init__.py": ""}
    )
    site = write_tree(tmp_path / "site", {"m.py": "", "n.py": ""})
    manifest = Manifest(
        packages=("n",), paths=(str(app),), excludes=("*.tests",), optimize=1, with_source=True
    )
    plan = discover(manifest, [str(site)])
    assert names(plan) == ["m", "n", "pkg"]
    assert [root.directory for root in plan.roots] == [str(app), str(site)]
    assert (plan.optimize, plan.with_source, plan.world) == (1, True, False)
    assert plan.asked == (
        "with-source",
        "package n",
        f"path {app}",
        "exclude *.tests",
        "optimize 1",
    )


# -- roots


def test_the_directories_of_the_standard_library_are_anchored_at_it() -> None:
    assert str(find_root(str(STDLIB))) == "<stdlib>/"
    assert str(find_root(str(STDLIB / "lib-dynload"))) == "<stdlib>/lib-dynload"


def test_what_is_installed_is_anchored_at_the_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "venv"
    (prefix / "lib").mkdir(parents=True)
    (tmp_path / "link").symlink_to("venv")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    assert str(find_root(str(prefix / "lib"))) == "<prefix>/lib"
    linked = find_root(str(tmp_path / "link" / "lib"))
    assert (str(linked), linked.directory) == ("<prefix>/lib", str(tmp_path / "link" / "lib"))
    assert str(find_root(str(tmp_path))) == str(tmp_path)
