"""CPython's own tests of extension modules, with the modules served by frozenfinder.

Run as a program: `cpython_extension_tests.py REGISTRY`. The tests are those that the interpreter's
`test` package has; each interpreter that they make has the registry installed. Prints how many ran.
"""

import importlib
import sys
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any

from test import test_import  # type: ignore[import-not-found]

import frozenfinder
from frozenfinder.runtime.loader import FrozenExtensionLoader

REGISTRY = sys.argv[1]
INSTALL = f"""
import sys
sys.path.append({str(Path(frozenfinder.__file__).parents[1])!r})
import frozenfinder
from frozenfinder.runtime.loader import FrozenExtensionLoader
finder = frozenfinder.install({REGISTRY!r})
def make_loader(name, path):
    return FrozenExtensionLoader(name, path, finder)
"""
CHECK = "assert finder.served\n"
STOCK_IMPORT = "from importlib.machinery import ExtensionFileLoader"


class Singlephase(test_import.SinglephaseInitTests):  # type: ignore[misc]
    """What becomes of single-phase modules that are loaded again, also in subinterpreters."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()  # finds the module as stock does
        snapshot = test_import.TestSinglePhaseSnapshot
        snapshot.IMPORTS += INSTALL
        snapshot.SCRIPT_BODY = CHECK + snapshot.SCRIPT_BODY
        finder: Any = frozenfinder.install(REGISTRY)

        def make_loader(name: str, path: str) -> FrozenExtensionLoader:
            return FrozenExtensionLoader(name, path, finder)

        cls.LOADER = staticmethod(make_loader)


class Subinterp(test_import.SubinterpImportTests):  # type: ignore[misc]
    """Which modules subinterpreters take."""

    @classmethod
    def setUpClass(cls) -> None:
        frozenfinder.install(REGISTRY)
        sys.modules.pop("_testmultiphase", None)  # stock has imported it for the tests' own use

    def import_script(self, *arguments: Any, **keywords: Any) -> str:
        script: str = super().import_script(*arguments, **keywords)
        renamed = script.replace(STOCK_IMPORT, "ExtensionFileLoader = make_loader")
        return INSTALL + renamed


def require_loader(module: Any, loader: type, skip: bool) -> ModuleType:
    """As `_require_loader` of CPython's tests, which knows no subclasses."""
    name = module if isinstance(module, str) else module.__name__
    found = importlib.import_module(name)
    actual: object = found.__loader__
    assert issubclass(actual if isinstance(actual, type) else type(actual), loader)
    return found


def main() -> None:
    test_import._require_loader = require_loader
    suite = unittest.TestSuite()
    for tests in (Singlephase, Subinterp):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(tests))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    finder = frozenfinder.install(REGISTRY)
    sys.stdout.write(f"{result.testsRun} {len(result.skipped)} {finder.served}\n")
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
