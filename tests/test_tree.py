"""What imports would find among files, held to importlib's own `FileFinder`."""

from importlib.machinery import EXTENSION_SUFFIXES, FileFinder
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sources import write_tree

from frozenfinder.freezer.discovery.scan import LOADERS, SUFFIXES
from frozenfinder.freezer.discovery.tree import Found, Listing, classify

SO = EXTENSION_SUFFIXES[0]
KINDS = {".py": "source", ".pyc": "sourceless", SO: "extension"}


def found(listing: Listing) -> dict[str, tuple[str, str]]:
    return {module.name: (module.kind, module.path) for module in listing.modules}


def test_files_become_modules_and_folders_packages() -> None:
    listing = classify(["m.py", "p/__init__.py", "p/q/__init__.py", "p/q/r.py", "n/s.py"], SUFFIXES)
    assert sorted(listing.modules, key=lambda module: module.name) == [
        Found("m", "m.py", "source", is_package=False),
        Found("n", "n", "namespace", is_package=True),
        Found("n.s", "n/s.py", "source", is_package=False),
        Found("p", "p/__init__.py", "source", is_package=True),
        Found("p.q", "p/q/__init__.py", "source", is_package=True),
        Found("p.q.r", "p/q/r.py", "source", is_package=False),
    ]
    assert listing.files == []


@pytest.mark.parametrize(
    ("paths", "expected", "files"),
    [
        (["m.py", f"m{SO}"], {"m": ("extension", f"m{SO}")}, ["m.py"]),
        (["m.py", "m.pyc"], {"m": ("source", "m.py")}, ["m.pyc"]),
        (["m.pyc"], {"m": ("sourceless", "m.pyc")}, []),
        (["m.py", "m/__init__.py"], {"m": ("source", "m/__init__.py")}, ["m.py"]),
        ([f"m{SO}", "m/__init__.pyc"], {"m": ("sourceless", "m/__init__.pyc")}, [f"m{SO}"]),
        (["m.py", "m/n.py"], {"m": ("source", "m.py")}, ["m/n.py"]),
        (["m.txt", "m/n.txt"], {"m": ("namespace", "m")}, ["m.txt", "m/n.txt"]),
        (["a-b.py", "1.py"], {"1": ("source", "1.py"), "a-b": ("source", "a-b.py")}, []),
        (["a.b.py", ".py", "a.b/c.py"], {}, [".py", "a.b.py", "a.b/c.py"]),
        (["__init__.py"], {}, ["__init__.py"]),
    ],
)
def test_precedence_and_names(
    paths: list[str], expected: dict[str, tuple[str, str]], files: list[str]
) -> None:
    listing = classify(paths, SUFFIXES)
    assert found(listing) == expected
    assert sorted(listing.files) == files


PATHS = st.lists(
    st.builds(
        lambda folders, tail, suffix: "/".join([*folders, tail + suffix]),
        st.lists(st.sampled_from(["a", "b", "c.d"]), max_size=2),
        st.sampled_from(["a", "b", "__init__", "x.y"]),
        st.sampled_from([".py", ".pyc", SO, ".txt"]),
    ),
    max_size=12,
    unique=True,
)


@given(PATHS)
def test_every_module_is_what_the_file_finder_finds(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str]
) -> None:
    top = write_tree(tmp_path_factory.mktemp("tree"), dict.fromkeys(paths, b""))
    expected = dict(search(top, top, ""))
    listing = classify(paths, SUFFIXES)
    assert found(listing) == expected
    of_modules = {module.path for module in listing.modules}
    assert sorted(listing.files) == sorted(set(paths) - of_modules)


def search(top: Path, folder: Path, package: str) -> "list[tuple[str, tuple[str, str]]]":
    """Every module that `FileFinder` finds below a folder, asked for every name there could be."""
    results = []
    finder = FileFinder(str(folder), *LOADERS)
    for tail in sorted({path.name.partition(".")[0] for path in folder.iterdir()} - {"__init__"}):
        spec = finder.find_spec(package + tail)
        if spec is None:
            continue
        locations = list(spec.submodule_search_locations or ())
        path = Path(spec.origin or locations[0])
        suffix = path.name.removeprefix(path.name.partition(".")[0])
        kind = KINDS[suffix] if spec.loader else "namespace"
        results.append((spec.name, (kind, path.relative_to(top).as_posix())))
        for location in locations:
            results += search(top, Path(location), f"{spec.name}.")
    return results
