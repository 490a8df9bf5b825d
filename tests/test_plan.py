"""The plan: unions, precedence, exclusion and anchors, without a file system."""

from dataclasses import replace

import pytest

from frozenfinder.freezer.plan import (
    DataFile,
    Module,
    Omission,
    Plan,
    Root,
    anchor,
    is_excluded,
    merge,
    path_below,
)

APP = Root("absolute", "/app", "/app")
SITE = Root("prefix", "lib/site-packages", "/venv/lib/site-packages")
STDLIB = Root("stdlib", "", "/usr/lib/python")


def source(name: str, root: Root = APP, table: str = "app") -> Module:
    return Module(name, root, f"{name.replace('.', '/')}.py", table=table)


def package(name: str, root: Root = APP) -> Module:
    return Module(name, root, f"{name.replace('.', '/')}/__init__.py", is_package=True)


def namespace(name: str, root: Root = APP) -> Module:
    return Module(name, root, name.replace(".", "/"), kind="namespace", is_package=True)


def plan(
    *modules: Module, files: tuple[DataFile, ...] = (), excludes: tuple[str, ...] = ()
) -> Plan:
    roots = dict.fromkeys([*(m.root for m in modules), *(f.root for f in files)])
    return Plan(roots=tuple(roots), modules=modules, files=files, excludes=excludes)


# -- unions


def test_the_union_is_sorted_by_table_and_name() -> None:
    json = source("json", STDLIB, table="stdlib")
    merged = merge([plan(json, source("b")), plan(source("a"))])
    assert merged.modules == (source("a"), source("b"), json)


def test_the_order_of_plans_that_do_not_overlap_changes_nothing_but_the_order_of_roots() -> None:
    one, other = plan(source("a"), source("c")), plan(source("b", SITE))
    assert merge([one, other]).modules == merge([other, one]).modules


def test_what_several_plans_ask_for_is_there_once() -> None:
    merged = merge([plan(source("a")), plan(source("a"), source("b"))])
    assert merged.modules == (source("a"), source("b"))
    assert merged.omitted == ()


def test_a_plan_merges_to_itself() -> None:
    merged = merge([plan(package("p"), source("p.q"), files=(DataFile("p/data", APP),))])
    assert merge([merged]) == merged


def test_settings_add_up() -> None:
    merged = merge([Plan(optimize=1, asked=("a",)), Plan(world=True)])
    assert (merged.optimize, merged.world, merged.with_source) == (1, True, False)
    assert merged.asked == ("a",)


# -- precedence


def test_roots_that_are_searched_come_after_others_in_the_order_of_the_search() -> None:
    plans = [plan(source("a", STDLIB)), plan(source("b", SITE)), plan(source("c"))]
    merged = merge(plans, [SITE.directory, STDLIB.directory])
    assert merged.roots == (APP, SITE, STDLIB)


def test_of_two_modules_the_one_that_a_search_finds_is_kept() -> None:
    merged = merge([plan(source("m", SITE)), plan(source("m"))], ["/app", SITE.directory])
    assert merged.modules == (source("m"),)
    assert merged.omitted == (
        Omission("m", "/venv/lib/site-packages/m.py", "is shadowed by '/app/m.py'"),
    )


def test_any_module_comes_before_a_namespace_package_of_an_earlier_root() -> None:
    merged = merge(
        [plan(namespace("json"), source("json.mine")), plan(package("json", STDLIB))],
        ["/app", STDLIB.directory],
    )
    assert merged.modules == (package("json", STDLIB),)
    shadow = "is shadowed by '/usr/lib/python/json/__init__.py'"
    assert merged.omitted == (Omission("json.mine", "/app/json/mine.py", shadow),)


def test_portions_of_a_namespace_package_come_together() -> None:
    merged = merge(
        [
            plan(namespace("space"), source("space.one")),
            plan(namespace("space", SITE), source("space.two", SITE)),
        ]
    )
    assert merged.modules == (namespace("space"), source("space.one"), source("space.two", SITE))
    assert merged.omitted == ()


def test_what_is_below_a_module_that_is_no_package_is_left_out() -> None:
    merged = merge([plan(source("m")), plan(package("m", SITE), source("m.sub", SITE))])
    assert merged.modules == (source("m"),)
    assert [omission.name for omission in merged.omitted] == ["m", "m.sub"]


def test_a_module_whose_package_is_not_planned_is_kept() -> None:
    assert merge([plan(source("p.sub"))]).modules == (source("p.sub"),)


def test_of_two_tables_the_one_that_is_searched_first_has_a_module() -> None:
    tested = source("test", STDLIB, table="test")
    asked = source("test", STDLIB)
    assert merge([plan(tested), plan(asked)]).modules == (asked,)


def test_of_data_files_at_one_path_the_first_root_has_it() -> None:
    files = DataFile("data", SITE), DataFile("data", APP)
    assert merge([plan(files=files)], [SITE.directory]).files == (DataFile("data", APP),)


# -- exclusion


@pytest.mark.parametrize(
    ("name", "glob", "expected"),
    [
        ("pkg", "pkg", True),
        ("pkg.sub", "pkg", True),
        ("pkgs", "pkg", False),
        ("a.tests", "*.tests", True),
        ("a.tests.b", "*.tests", True),
        ("tests", "*.tests", False),
        ("Pkg", "pkg", False),
        ("p1", "p[0-9]", True),
    ],
)
def test_a_glob_excludes_what_it_matches_and_what_is_below(
    name: str, glob: str, *, expected: bool
) -> None:
    assert is_excluded(name, [glob]) is expected


def test_the_data_files_of_an_excluded_package_are_excluded() -> None:
    files = tuple(DataFile(path, APP) for path in ("a", "p/a", "p/q/a", "pq/a"))
    merged = merge([plan(files=files, excludes=("p",))])
    assert [file.path for file in merged.files] == ["a", "pq/a"]


def test_an_exclusion_holds_for_every_plan() -> None:
    merged = merge([plan(excludes=("a",)), plan(source("a"), source("b"))])
    assert merged.modules == (source("b"),)
    assert merged.excludes == ("a",)


# -- anchors


def test_absolute_roots_below_the_registry_become_relative_to_it() -> None:
    lib = Root("absolute", "/app/src/lib", "/app/src/lib")
    asked = replace(plan(source("m", lib), source("n")), asked=("path /app/src/lib", "optimize 0"))
    anchored = anchor(asked, "/app")
    assert [(root.anchor, root.path) for root in anchored.roots] == [
        ("registry", "src/lib"),
        ("registry", ""),
    ]
    assert [module.root for module in anchored.modules] == list(anchored.roots)
    assert [module.location for module in anchored.modules] == ["/app/src/lib/m.py", "/app/n.py"]
    assert anchored.asked == ("path <registry>/src/lib", "optimize 0")


def test_other_roots_stay_as_they_are() -> None:
    outside = plan(source("a", SITE), source("b", STDLIB), source("c"))
    assert anchor(outside, "/") != outside
    assert anchor(outside, "/ap") == outside
    assert anchor(outside, "/venv/lib") == outside


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("/a", "/a", ""),
        ("/a/b/c", "/a", "b/c"),
        ("/ab", "/a", None),
        ("/a", "/a/b", None),
        ("/a", "/", "a"),
    ],
)
def test_a_path_below_a_folder_is_relative_to_it(
    path: str, folder: str, expected: str | None
) -> None:
    assert path_below(path, folder) == expected
