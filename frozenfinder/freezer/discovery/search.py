"""Searching: what an import of a name would find in given directories. It imports nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib.machinery import FileFinder, ModuleSpec

from .scan import LOADERS


class Search:
    """A search of `directories`, in their order, that caches its results.

    It works like `PathFinder`, but does not change `sys.path_importer_cache` and `sys.modules`.
    """

    def __init__(self, directories: Iterable[object]) -> None:
        absolute = [os.path.abspath(item) for item in directories if isinstance(item, str)]
        self.directories = [each for each in dict.fromkeys(absolute) if os.path.isdir(each)]
        self._finders: dict[str, FileFinder] = {}
        self._found: dict[str, tuple[ModuleSpec, ...]] = {}

    def find(self, name: str) -> tuple[ModuleSpec, ...]:
        """The spec of a module, or those of a namespace package's portions; () if it is not found.

        A submodule is searched in the `__path__` that its package has before it is executed.
        """
        found = self._found.get(name)
        if found is None:
            parent, _, tail = name.rpartition(".")
            folders: Sequence[str] = self.directories
            if parent:
                locations = [each.submodule_search_locations for each in self.find(parent)]
                folders = [folder for each in locations for folder in each or ()]
            found = self._found[name] = tuple(self._find_in(name, folders)) if tail else ()
        return found

    def _find_in(self, name: str, folders: Iterable[str]) -> list[ModuleSpec]:
        portions = []
        for folder in folders:
            finder = self._finders.get(folder)
            if finder is None:
                finder = self._finders[folder] = FileFinder(folder, *LOADERS)
            spec = finder.find_spec(name)
            if spec is None:
                continue
            if spec.loader is not None:
                return [spec]
            portions.append(spec)
        return portions
