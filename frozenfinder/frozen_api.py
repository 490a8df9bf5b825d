"""CPython's functions for frozen modules, such as `_imp.find_frozen`, for a registry.

They mirror Python/import.c. `Registry` has methods with these names; no boot calls them.
"""

from .runtime import layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    from frozenfinder.runtime.layout import FrozenEntry
    from frozenfinder.runtime.registry import Registry

# The statuses of a look-up, as in `enum frozen_status` of Python/import.c, and CPython's messages.
OKAY = "okay"
BAD_NAME = "bad name"
NOT_FOUND = "not found"
DISABLED = "disabled"
EXCLUDED = "excluded"
INVALID = "invalid"

_WORDS = {
    BAD_NAME: "No such frozen object named {!r}",
    NOT_FOUND: "No such frozen object named {!r}",
    DISABLED: "Frozen modules are disabled and the frozen object named {!r} is not essential",
    EXCLUDED: "Excluded frozen object named {!r}",
}

_FROZEN_KINDS = (*layout.CODE_KINDS, "excluded")  # the kinds that `struct _frozen` can hold


def is_utf8(name: str) -> bool:
    """Whether a registry can hold an entry of that name: lone surrogates are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def find_status(registry: "Registry", name: str) -> "tuple[str, FrozenEntry | None]":
    """The status of a look-up, and the entry or None; as `find_frozen` in Python/import.c."""
    if not is_utf8(name):
        return BAD_NAME, None
    entry = registry.find_entry(name)
    if entry is None or entry.kind not in _FROZEN_KINDS:
        return NOT_FOUND, None
    if registry.mismatch is not None and entry.table != "bootstrap":
        return DISABLED, entry
    if entry.kind == "excluded":
        return EXCLUDED, entry
    if entry.size == 0:
        return INVALID, entry
    return OKAY, entry


def find_frozen(
    registry: "Registry", name: str, withdata: bool = False
) -> "tuple[memoryview | None, bool, str] | None":
    """(code or None, whether a package, original name), or None; as `_imp.find_frozen`.

    ImportError if the entry is excluded or invalid. With `withdata`, the code is marshalled, and
    the regular expressions of the module may follow it; else it is None.
    """
    status, entry = _look_up(registry, "find_frozen() argument 1", name)
    if entry is None or status == DISABLED:
        return None
    if status != OKAY:
        raise _error(registry, status, name, entry)
    data = registry.read_blob(entry) if withdata else None
    return data, entry.is_package, entry.origname


def get_frozen_object(registry: "Registry", name: str) -> "CodeType":
    """The code object of that name, as `_imp.get_frozen_object`; ImportError without one.

    `co_filename` is relative to the entry's root. RegistryError if it is damaged.
    """
    status, entry = _look_up(registry, "get_frozen_object() argument 1", name)
    if entry is None or status != OKAY:
        raise _error(registry, status, name, entry)
    return registry.load_code(entry, registry.read_blob(entry))


def is_frozen(registry: "Registry", name: str) -> bool:
    """Whether there is such an entry with code, as `_imp.is_frozen`."""
    return _look_up(registry, "is_frozen() argument", name)[0] == OKAY


def is_frozen_package(registry: "Registry", name: str) -> bool:
    """Whether that entry is a package, as `_imp.is_frozen_package`; ImportError without one."""
    status, entry = _look_up(registry, "is_frozen_package() argument", name)
    if entry is None or status not in (OKAY, EXCLUDED):
        raise _error(registry, status, name, entry)
    return entry.is_package


def _look_up(registry: "Registry", argument: str, name: str) -> "tuple[str, FrozenEntry | None]":
    if not isinstance(name, str):
        found = "None" if name is None else type(name).__name__
        raise TypeError(f"{argument} must be str, not {found}")
    return find_status(registry, name)


def _error(
    registry: "Registry", status: str, name: str, entry: "FrozenEntry | None"
) -> ImportError:
    """CPython's words for a status, as `set_frozen_error` in Python/import.c."""
    if status == INVALID and entry is not None:
        return registry.invalid(entry)
    return ImportError(_WORDS[status].format(name), name=name)
