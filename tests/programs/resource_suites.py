"""Run a test-suite of resources written elsewhere with a closed registry for its backend.

    python -m programs.resource_suites importlib_resources.tests zip
    python -m programs.resource_suites test.test_importlib.resources zip disk

Every tree of files that a test asks to have in a zip file (`zip`), or on disk (`disk`), is frozen
instead, and nothing of it is on disk. Prints, as JSON, how many tests ran, how many registries
they had, and what became of the tests that did not pass.
"""

import importlib
import importlib.abc
import io
import json
import pkgutil
import sys
import unittest
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from support.trees import Files, freeze_files

import frozenfinder
from frozenfinder.closed.finder import ClosedFinder

SETUPS = {"zip": "ZipSetup", "disk": "DiskSetup"}
ABOUT_RESOURCES = (
    "compatibilty_files",
    "contents",
    "files",
    "open",
    "path",
    "read",
    "reader",
    "resource",
)
"""The modules of 3.11, where they lie among those of the rest of importlib's tests."""

registries = 0


def install(files: Files) -> ClosedFinder:
    global registries
    registries += 1
    finder = frozenfinder.install(freeze_files(files), mode="closed")
    assert isinstance(finder, ClosedFinder)
    return finder


def freeze_tree(self: Any, tree: dict[str, Any]) -> None:
    """What stands in for a setup's `tree_on_path`; the finder goes with its other fixtures."""
    self.fixtures.callback(frozenfinder.uninstall, install(dict(flatten(tree))))


def flatten(tree: dict[str, Any], folder: str = "") -> Iterator[tuple[str, str | bytes]]:
    for name, content in tree.items():
        if isinstance(content, dict):
            yield from flatten(content, f"{folder}{name}/")
        else:
            yield folder + name, content


def freeze_zip(cls: Any) -> None:
    """The same for `setUpClass` of 3.11 and 3.12, whose zip files are there already."""
    with zipfile.ZipFile(Path(cls.ZIP_MODULE.__file__).with_name("ziptestdata.zip")) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        cls.finder = install({name: archive.read(name) for name in names})
    cls.data = importlib.import_module("ziptestdata")


def forget_zip(cls: Any) -> None:
    frozenfinder.uninstall(cls.finder)
    for name in [name for name in sys.modules if name.partition(".")[0] == "ziptestdata"]:
        del sys.modules[name]


def replace_backends(util: ModuleType, backends: list[str]) -> None:
    for backend in backends:
        if hasattr(util, "ZipSetupBase"):
            util.ZipSetupBase.setUpClass = classmethod(freeze_zip)
            util.ZipSetupBase.tearDownClass = classmethod(forget_zip)
        else:
            getattr(util, SETUPS[backend]).tree_on_path = freeze_tree


def load(suite: str, backends: list[str]) -> unittest.TestSuite:
    if suite.startswith("importlib_resources"):
        importlib.import_module(f"{suite}.compat.py312")  # what its run under pytest collects first
    replace_backends(importlib.import_module(f"{suite}.util"), backends)
    return unittest.defaultTestLoader.loadTestsFromNames(list_tests(suite))


def list_tests(suite: str) -> list[str]:
    if suite == "test.test_importlib.resources" and sys.version_info < (3, 12):
        return [f"test.test_importlib.test_{subject}" for subject in ABOUT_RESOURCES]
    package = importlib.import_module(suite)
    found = [name for _, name, _ in pkgutil.iter_modules(package.__path__)]
    return [f"{suite}.{name}" for name in found if name.startswith("test_")]


def main(suite: str, *backends: str) -> None:
    stream = io.StringIO()
    result = unittest.TextTestRunner(stream, verbosity=2).run(load(suite, list(backends)))
    account = {
        "run": result.testsRun,
        "registries": registries,
        "skipped": {test.id(): reason for test, reason in result.skipped},
        "failed": {test.id(): text for test, text in (*result.failures, *result.errors)},
    }
    json.dump(account, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
