"""Extension modules under our loaders: what comes of an import is what comes of it under stock."""

import json
import re
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from compiled import SUFFIX, compile_c, embedded, extension
from conftest import Python
from registries import Frozen, build_registry

HERE = Path(__file__).parent
DYNLOAD = Path(sysconfig.get_config_var("DESTSHARED") or "")

Table = dict[str, Any]


# -- every kind of module, in every situation


def exported_modules(file: Path) -> list[str]:
    """The names of the modules that a shared object has init functions for."""
    symbols = re.findall(rb"\0Py(?:Init|ModExport)(U?)_(\w+)(?=\0)", file.read_bytes())
    return sorted({decode_symbol(name.decode(), bool(encoded)) for encoded, name in symbols})


def decode_symbol(name: str, encoded: bool) -> str:
    """As `get_encoded_name` of Python/importdl.c encodes it."""
    if not encoded:
        return name
    plain, _, rest = name.rpartition("_")
    return (f"{plain}-{rest}" if plain else rest).encode().decode("punycode")


def find_suite(suite: str, folder: Path) -> Path:
    """The file that has the modules, in a folder that it can be imported from."""
    if suite == "compiled":
        return compile_c("variants.c", folder / f"basic{SUFFIX}", "-Wall", "-Werror")
    if suite == "_testsinglephase" and sys.version_info < (3, 12):
        pytest.skip("3.11 has no _testsinglephase")
    file = DYNLOAD / f"{suite}{SUFFIX}"
    if not file.exists():
        pytest.skip(f"this interpreter comes without {suite}")
    return file


def freeze(path: Path, folder: Path, entries: Iterable[Frozen]) -> Path:
    roots = [("stdlib", ""), ("absolute", str(folder))]
    path.write_bytes(build_registry(*entries, roots=roots))
    return path


class Variants:
    """The modules of one file, frozen in both ways."""

    def __init__(self, suite: str, folder: Path, python: Python) -> None:
        self.file = find_suite(suite, folder)
        self.names = exported_modules(self.file)
        self.python = python
        home, name = self.file.parent, self.file.name
        self.cache = folder / "cache"
        self.referring = freeze(
            folder / "referring.frz", home, [extension(each, home, name) for each in self.names]
        )
        self.embedding = freeze(
            folder / "embedding.frz", home, [embedded(each, home, name) for each in self.names]
        )

    def tabulate(self, way: str, registry: Path | None = None) -> Table:
        """What was seen, by module and situation; files are shown by their names alone."""
        files = {name: str(self.file) for name in self.names}
        done = self.python(
            HERE / "variants.py",
            way,
            str(registry),
            json.dumps(files),
            env={"FROZENFINDER_CACHE": str(self.cache)},
            timeout=600,
        )
        table: Table = json.loads(re.sub(r"/[^ '\"]*/", "", done.stdout))
        return table


def differences(ours: Table, stock: Table) -> Table:
    """The cells that differ, as (ours, stock)."""
    found: Table = {}
    for key in {*ours, *stock}:
        one, other = ours.get(key), stock.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            if inner := differences(one, other):
                found[key] = inner
        elif one != other:
            found[key] = (one, other)
    return found


@pytest.mark.parametrize("suite", ["_testsinglephase", "_testmultiphase", "compiled"])
def test_every_import_gives_what_stock_gives(suite: str, tmp_path: Path, python: Python) -> None:
    variants = Variants(suite, tmp_path, python)
    stock = variants.tabulate("stock")
    check_coverage(stock)
    assert differences(variants.tabulate("overlay", variants.referring), stock) == {}
    assert differences(variants.tabulate("closed", variants.embedding), stock) == {}


def check_coverage(stock: Table) -> None:
    """A table in which nothing was imported would compare as well."""
    imported = [name for name in stock if "object" in get_cell(stock[name], "first import")]
    assert len(imported) >= 4
    refused = [str(stock[name]["in subinterpreters"]["isolated"]) for name in imported]
    words = "does not support loading in subinterpreters"
    assert any(words in cells for cells in refused) == (sys.version_info >= (3, 12))


def get_cell(cells: Table, situation: str) -> Any:
    main = cells["in the main interpreter"]
    return main[situation] if isinstance(main, dict) else ()


# -- CPython's own tests


def test_cpythons_own_tests_pass(tmp_path: Path, python: Python) -> None:
    pytest.importorskip("test.test_import", reason="this interpreter comes without its tests")
    if sys.version_info < (3, 12):
        pytest.skip("3.11 has no _testsinglephase and no tests with it")
    names = ["_testsinglephase", "_testmultiphase"]
    for name in names:
        find_suite(name, tmp_path)
    entries = [extension(name, DYNLOAD, f"{name}{SUFFIX}") for name in names]
    registry = freeze(tmp_path / "tests.frz", DYNLOAD, entries)
    done = python(HERE / "cpython_extension_tests.py", registry, env={"PYTHONPATH": str(HERE)})
    ran, skipped, served = map(int, done.stdout.split()[-3:])
    assert ran - skipped >= 15
    assert served > 0
