"""`FixupTable`: records of the extension modules that were created in this interpreter.

Rules
  1. CPython's own table (`EXTENSIONS` in Python/import.c) decides every creation. This table gets a
     record right after `_imp.create_dynamic` returns, before importlib sets attributes. CPython is
     always asked, whatever is in this table.
  2. There is one table for each interpreter: Python code cannot share objects between them.
  3. A key is (path, name), as in CPython: the spec's origin and name, or for a built-in module its
     name twice.

Theory of operation
  Python code cannot ask how a module was initialised, but the effects of creation show it:

    multi-phase                    creation does not put the module into `sys.modules`
    single-phase                   creation does
    single-phase basic             a second creation returns the contents of the first: CPython
                                   keeps a copy of the module's dict (`m_copy`), and no state
    single-phase re-initialising   a second creation runs the init function again

  Which of the two a single-phase module is becomes known only when something creates it a second
  time; until then its kind is unknown. A second creation is never provoked, because it may run the
  init function. The string under `__name__` distinguishes the two: it is the same object as after
  the first creation if the contents were copied, and a new one if they were made again.

  The snapshot corresponds to `m_copy`: a shallow copy of the module's dict after creation. It is
  kept while the kind may still be basic. There are two limits. Modules that share one definition
  share one `m_copy` in CPython, but each has its own snapshot here. And changes that other
  interpreters and loaders make to CPython's table are not seen.
"""

import sys

from frozenfinder.modules import add_module, get_module
from frozenfinder.runtime.system import check_multi_interp_extensions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

BUILTIN = "builtin"
BASIC = "single-phase basic"
REINIT = "single-phase re-initialising"
MULTI = "multi-phase"
UNKNOWN = "unknown"


class Fixup:
    """One extension module: its `name`, and `origin`, the file that it comes from.

    `kind` is one of the constants of this module. `digest` is the SHA-256 of the file in
    hexadecimal if it was verified, else None. `snapshot` is a copy of the module's dict after
    creation, or None if CPython would not copy it.
    """

    __slots__ = ("_table", "digest", "kind", "name", "origin", "snapshot")

    def __init__(
        self, table: "FixupTable", name: str, origin: str, kind: str, digest: "str | None"
    ) -> None:
        self._table = table
        self.name = name
        self.origin = origin
        self.kind = kind
        self.digest = digest
        self.snapshot: "dict[str, Any] | None" = None

    @property
    def interpreter(self) -> int:
        """The identifier of the interpreter that created it."""
        return self._table.interpreter

    def __repr__(self) -> str:
        return f"<Fixup {self.name!r} {self.kind} from {self.origin!r}>"


class FixupTable:
    """The records of one interpreter.

    importlib's lock on the module of that name protects a record: `fixup` is called with it held.
    The table changes by single assignments, so other threads may read it at any time.
    """

    __slots__ = ("_interpreter", "_records")

    def __init__(self) -> None:
        self._records: "dict[tuple[str, str], Fixup]" = {}
        self._interpreter: "int | None" = None

    @property
    def interpreter(self) -> int:
        """The identifier of this table's interpreter; 0 is the main one."""
        if self._interpreter is None:
            self._interpreter = _get_interpreter()
        return self._interpreter

    def records(self) -> "list[Fixup]":
        """A list of all records, in the order of first creation."""
        return list(self._records.values())

    def find(self, path: str, name: str) -> "Fixup | None":
        """The record of a module that CPython would create again from its table, without its file.

        None for other modules: multi-phase ones are in no table, and re-initialising ones only in
        that of the main interpreter. Mirrors `import_find_extension()` of Python/import.c, formerly
        `_PyImport_FindExtensionObject()`.
        """
        found = self._records.get((path, name))
        if found is None or found.kind == MULTI:
            return None
        if found.kind == REINIT and self.interpreter != 0:
            return None
        return found

    def fixup(
        self,
        path: str,
        name: str,
        module: object,
        previous: object = None,
        digest: "str | None" = None,
    ) -> Fixup:
        """Record `module`, which was just created under `name` from `path`; return the record.

        `previous` is the value that `sys.modules[name]` had before, and `digest` the file's SHA-256
        if it was verified. Mirrors `_PyImport_FixupExtensionObject()` of Python/import.c, later
        `update_global_state_for_extension()`.
        """
        known = self._records.get((path, name))
        if known is None or (known.kind == UNKNOWN and known.snapshot is None):
            known = Fixup(self, name, path, _classify(path, name, module, previous), digest)
            if known.kind == UNKNOWN and module is not previous:
                known.snapshot = vars(module).copy()
            self._records[path, name] = known
        elif known.kind == UNKNOWN and known.snapshot is not None:
            copied = getattr(module, "__name__", None) is known.snapshot["__name__"]
            known.kind = BASIC if copied else REINIT
            known.snapshot = known.snapshot if copied else None
        return known

    def reload(self, path: str, name: str) -> "ModuleType | None":
        """Restore the snapshot of a basic module in `sys.modules[name]`, and return the module.

        A missing module is created there. None for every other kind. It neither runs code nor sets
        import attributes. ImportError as from `check_allowed`. Mirrors
        `reload_singlephase_extension()` of Python/import.c.
        """
        found = self.find(path, name)
        if found is None or found.kind != BASIC or found.snapshot is None:
            return None
        self.check_allowed(name)
        module = add_module(name)
        vars(module).update(found.snapshot)
        return module

    def clear(self, path: "str | None" = None, name: "str | None" = None) -> None:
        """Forget one module, or all of them. Mirrors `_PyImport_ClearExtension()`."""
        if path is None or name is None:
            self._records = {}
        else:
            self._records.pop((path, name), None)

    def check_allowed(self, name: str) -> None:
        """ImportError, in CPython's words, if this interpreter refuses single-phase modules.

        It only predicts CPython's decision. On 3.12, Python code cannot read an interpreter's
        configuration; one without daemon threads is assumed to be isolated. Mirrors
        `_PyImport_CheckSubinterpIncompatibleExtensionAllowed()` of Python/import.c.
        """
        if sys.version_info >= (3, 12) and _is_refused(self):  # 3.11 checks nothing
            raise ImportError(f"module {name} does not support loading in subinterpreters")


def _classify(path: str, name: str, module: object, previous: object) -> str:
    """The kind, as far as a first creation shows it.

    If the module was in `sys.modules` before, nothing is known: a multi-phase one may return that
    module, and a single-phase one was created before this table existed.
    """
    if path == name:
        return BUILTIN
    if module is previous or get_module(name) is module:
        return UNKNOWN
    return MULTI


def _is_refused(table: FixupTable) -> bool:  # from 3.12 on
    """Whether the interpreter refuses single-phase modules: as configured, unless overridden."""
    try:
        override: int = check_multi_interp_extensions(0)
    except RuntimeError:  # the main interpreter, or any of a build without a GIL
        return table.interpreter != 0 and _is_strict(table.interpreter)
    check_multi_interp_extensions(override)
    return override > 0 if override else _is_strict(table.interpreter)


def _is_strict(interpreter: int) -> bool:
    """Whether an interpreter is configured to refuse single-phase modules."""
    if sys.version_info >= (3, 13):
        # deferred: only subinterpreters ask
        import _interpreters  # type: ignore[import-not-found]

        return bool(_interpreters.get_config(interpreter).check_multi_interp_extensions)
    # deferred: as above
    from _thread import daemon_threads_allowed  # type: ignore[attr-defined]

    return not daemon_threads_allowed()


def _get_interpreter() -> int:
    if sys.version_info >= (3, 13):
        # deferred: an extension module on many builds
        import _interpreters

        number = _interpreters.get_current()[0]
    else:  # before 3.13
        # deferred: as above
        import _xxsubinterpreters  # type: ignore[import-not-found]

        number = _xxsubinterpreters.get_current()
    return int(number)


table = FixupTable()
"""The table of this interpreter."""
