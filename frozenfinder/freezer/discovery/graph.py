"""The static import graph: what the modules of a program import, according to their code.

It cannot see imports by computed name (`importlib.import_module`, plugins), nor imports of
extension modules. Rules and recorded runs find these.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourcelessFileLoader
from sys import builtin_module_names, stdlib_module_names
from types import CodeType

from frozenfinder.freezer.compile.compiler import Compiler
from frozenfinder.freezer.plan import is_excluded

from .imports import Import, find_imports, find_strings
from .search import Search

_SHARED = re.compile(rb"\0([\w.]*__mypyc)\0")


class Graph:
    """The modules that were reached, those that are excluded, and those that are missing.

    `modules`, `excluded` and `missing` map each name to the name of the first module that imports
    it.
    """

    def __init__(self, search: Search, optimize: int, excludes: Sequence[str] = ()) -> None:
        self.modules: dict[str, str] = {}
        self.excluded: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self._search = search
        self._compiler = Compiler(optimize)
        self._excludes = excludes
        self._pending: list[str] = []

    def add(self, name: str, importer: str) -> bool:
        """Add the module of that name and its parent packages; False if it is not found."""
        if name in self.modules:
            return True
        if name in builtin_module_names:
            return False
        parent = name.rpartition(".")[0]
        if parent and not self.add(parent, importer):
            return False
        if is_excluded(name, self._excludes):
            self.excluded.setdefault(name, importer)
            return False
        if not self._search.find(name):
            if not parent or self._is_package(parent):
                self.missing.setdefault(name, importer)
            return False
        self.modules[name] = importer
        self._pending.append(name)
        return True

    def follow(self) -> Iterator[str]:
        """Yield the name of each added module, after its imports were added, too.

        The caller may add modules between two names; they are followed, too.
        """
        while self._pending:
            name = self._pending.pop(0)
            for spec in self._search.find(name):
                code = self.load(spec)
                if code is not None:
                    self._add_imports(name, code, spec)
                if isinstance(spec.loader, ExtensionFileLoader):
                    for shared in _find_shared(spec.origin or ""):
                        self.add(shared, name)
            yield name

    def _is_package(self, name: str) -> bool:
        return self._search.find(name)[0].submodule_search_locations is not None

    def load(self, spec: ModuleSpec) -> CodeType | None:
        """The code of a module; for an extension module, that of the source it was made from.

        mypyc and Cython leave Python sources beside the extension modules. None without code.
        """
        if spec.loader is None or spec.origin is None:
            return None
        location = spec.origin
        if isinstance(spec.loader, ExtensionFileLoader):
            folder, file = os.path.split(location)
            location = os.path.join(folder, file.partition(".")[0] + ".py")
        sourceless = isinstance(spec.loader, SourcelessFileLoader)
        return self._compiler.load(location, sourceless=sourceless)

    def _add_imports(self, name: str, code: CodeType, spec: ModuleSpec) -> None:
        is_package = spec.submodule_search_locations is not None
        package = name if is_package else name.rpartition(".")[0]
        for each in set(find_imports(code)):
            target = each.resolve(package)
            if target and not _is_test(name, target) and self.add(target, name):
                for tail in self._submodules(target, each):
                    self.add(f"{target}.{tail}", name)

    def _submodules(self, package: str, statement: Import) -> Iterable[str]:
        """Of the names that are imported from a package, those that are modules of it."""
        names: Iterable[str] = statement.names
        if "*" in names:
            names = self._find_exports(package)
        return [name for name in names if self._search.find(f"{package}.{name}")]

    def _find_exports(self, package: str) -> set[str]:
        """The possible content of a package's `__all__`: all of its strings that can be names."""
        strings: set[str] = set()
        for spec in self._search.find(package):
            code = self.load(spec)
            strings |= set() if code is None else find_strings(code)
        return {string for string in strings if string.isidentifier()}


def _is_test(importer: str, name: str) -> bool:
    """Whether a module of the standard library imports this only to test itself, or for tests.

    That is assumed for modules outside the standard library (`test` counts as outside), and for
    `doctest`. If these were followed, nearly every module would reach half of the standard library,
    and setuptools.
    """
    top, imported = importer.partition(".")[0], name.partition(".")[0]
    return top in stdlib_module_names and (
        imported not in stdlib_module_names or imported == "doctest"
    )


def _find_shared(location: str) -> list[str]:
    """The modules with the shared code of extension modules from mypyc, found by their names."""
    try:
        with open(location, "rb") as file:
            found = _SHARED.findall(file.read())
    except OSError:
        return []
    return sorted({name.decode("ascii", "replace") for name in found})
