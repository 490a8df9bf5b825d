"""The states of the folders that modules are in: they show that no other module was put there.

A folder's state belongs to an entry if nothing in the folder is preferred to the entry's file, or
will be without a change of that state. Overlay then need not list the folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from frozenfinder.freezer.compile.compiler import says_nothing
from frozenfinder.freezer.plan import Module
from frozenfinder.runtime.roots import find_rivals
from frozenfinder.runtime.system import STATE

_SECOND_NS = 1_000_000_000
_TICK_NS = 20_000_000  # how far a file system's clock may lag behind the system's
_COARSE_TICK_NS = 2 * _SECOND_NS  # where times are whole seconds


class States:
    """The states, each read once. The folders in `written` are going to change.

    If one of those cannot be looked at, there are no states: it may be any folder.
    """

    def __init__(self, written: Iterable[str]) -> None:
        try:
            self._written = {_identify(os.stat(each)) for each in written}
            self._has_states = True
        except OSError:
            self._has_states = False
        self._folders: dict[str, tuple[int, frozenset[str]]] = {}

    def read(self, module: Module) -> int:
        """The state to record for a module, or 0 for none."""
        if not self._has_states:
            return 0
        folder, file = os.path.split(module.location)
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = self._look(folder)
        state, names = known
        return 0 if names.intersection(find_rivals(file, module.is_package)) else state

    def _look(self, folder: str) -> tuple[int, frozenset[str]]:
        """The state of a folder, and the names in it then or later."""
        try:
            state = self._settle(folder)
            return state, frozenset(os.listdir(folder))
        except OSError:
            return 0, frozenset()

    def _settle(self, folder: str) -> int:
        """The state of a folder that did not change in this tick of the clock; else 0."""
        for _ in range(2):
            status = os.stat(folder)
            state: int = getattr(status, STATE)
            age = time.time_ns() - state
            if _identify(status) in self._written or age < 0:
                return 0
            if age > (_TICK_NS if state % _SECOND_NS else _COARSE_TICK_NS):
                return 0 if says_nothing(state // _SECOND_NS) else state
            time.sleep(2 * _TICK_NS / _SECOND_NS)
        return 0


def _identify(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
