"""The modules of a registry in C: the arrays of `struct _frozen` that CPython imports from.

    frozen_modules.h     the header for the embedding program
    frozen_modules.c     the array for PyImport_FrozenModules, and the rows for the alias table
    frozen_modules/*.h   the marshalled code of each module, an array of bytes

CPython makes its own tables the same way (Tools/build/freeze_modules.py, Python/frozen.c). The
struct is the one in Include/cpython/import.h of the version that the registry was frozen for.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.compile.canonical import canonicalise
from frozenfinder.runtime.layout import CODE_KINDS, FrozenEntry
from frozenfinder.runtime.registry import Registry

NAME = "frozen_modules"
_ROW = 24  # bytes on a line

_HEADER = """\
/* Written by `frozenfinder emit-c`: {modules} modules that were frozen for CPython {version}. */

#ifndef FROZENFINDER_FROZEN_MODULES_H
#define FROZENFINDER_FROZEN_MODULES_H

#include <Python.h>

#if (PY_VERSION_HEX >> 16) != 0x{hexversion:04x}
#  error "these modules were frozen for CPython {version}; freeze them again"
#endif

#ifdef __cplusplus
extern "C" {{
#endif

/* Assign it to PyImport_FrozenModules. */
extern const struct _frozen frozenfinder_modules[];

/* Assigns it, and adds to the alias table if that is accessible; returns 0, or -1 without memory.
   Call it before the interpreter is initialised. */
int frozenfinder_set_modules(void);

#ifdef __cplusplus
}}
#endif
#endif
"""

_SOURCE = """\
/* Written by `frozenfinder emit-c`. */

#include "{name}.h"

#include <stdlib.h>
#include <string.h>

{includes}

const struct _frozen frozenfinder_modules[] = {{
{rows}
    {{NULL, NULL, 0, 0{end}}}
}};

/* Include/internal/pycore_import.h has these. A shared libpython does not export the pointer: then
   an alias is a separate module, and the others appear to be in the standard library's folder. */
#ifdef __ELF__
struct _module_alias {{
    const char *name;
    const char *orig;
}};
extern const struct _module_alias *_PyImport_FrozenAliases __attribute__((weak));

static const struct _module_alias aliases[] = {{
{aliases}
    {{NULL, NULL}}
}};

static int
add_aliases(void)
{{
    const size_t own = sizeof(aliases) / sizeof(aliases[0]);
    struct _module_alias *all;
    size_t count = 0;

    if (&_PyImport_FrozenAliases == NULL) {{
        return 0;
    }}
    while (_PyImport_FrozenAliases != NULL && _PyImport_FrozenAliases[count].name != NULL) {{
        count++;
    }}
    all = malloc((count + own) * sizeof(aliases[0]));
    if (all == NULL) {{
        return -1;
    }}
    if (count) {{
        memcpy(all, _PyImport_FrozenAliases, count * sizeof(aliases[0]));
    }}
    memcpy(all + count, aliases, own * sizeof(aliases[0]));
    _PyImport_FrozenAliases = all;
    return 0;
}}
#else
static int
add_aliases(void)
{{
    return 0;
}}
#endif

int
frozenfinder_set_modules(void)
{{
    PyImport_FrozenModules = frozenfinder_modules;
    return add_aliases();
}}
"""


@dataclass(frozen=True, slots=True)
class Tables:
    """The result of `emit_c`: how many rows were written, and which names were left out and why."""

    output: str
    modules: int
    left_out: tuple[tuple[str, str], ...]


def emit_c(registry: Registry, output: str | os.PathLike[str]) -> Tables:
    """Write the modules of a registry as C to the folder `output`, which is made if missing.

    FreezeError if that cannot be written, RegistryVersionError for a registry that was frozen for
    another interpreter, RegistryError for a damaged one.
    """
    if registry.mismatch is not None:
        raise registry.version_error()
    folder = os.path.abspath(output)
    entries = {entry.name: entry for entry in reversed([*registry.entries()])}
    reasons = {name: reason for name, entry in entries.items() if (reason := _refuse(entry))}
    kept = [entries[name] for name in sorted(entries.keys() - reasons.keys())]
    try:
        os.makedirs(os.path.join(folder, NAME), exist_ok=True)
        for entry in kept:
            if _has_array(entry, entries):
                _write(folder, _path(entry.name), _code(registry, entry))
        version = _version(registry)
        _write(folder, f"{NAME}.h", _header(version, len(kept)))
        _write(folder, f"{NAME}.c", _source(version, kept))
    except OSError as error:
        raise FreezeError(
            f"output {folder!r}: cannot be written: {error.strerror or error}"
        ) from error
    return Tables(folder, len(kept), tuple(sorted(reasons.items())))


def _refuse(entry: FrozenEntry) -> str | None:
    """Why a row of `struct _frozen` cannot represent the entry, or None."""
    if entry.kind == "extension":
        return "is an extension module; link it, and add it with PyImport_AppendInittab"
    if not entry.name.isascii():
        return "has a name that is not ASCII"
    if entry.table == "test":
        return "is in the table 'test'"
    return None


def _write(folder: str, path: str, text: str) -> None:
    with open(os.path.join(folder, path), "w", encoding="ascii", newline="\n") as file:
        file.write(text)


def _path(name: str) -> str:
    return f"{NAME}/{name}.h"


def _symbol(name: str) -> str:
    """The name of the array for a module's code; no two modules have the same."""
    return "M_" + name.replace("_", "_u").replace(".", "_d")


def _code(registry: Registry, entry: FrozenEntry) -> str:
    """The array for the code of a module. A namespace package becomes a package without code."""
    file = f"<frozen {entry.name}>"
    if entry.kind in CODE_KINDS:
        code = canonicalise(bytes(registry.read_blob(entry)), file)
    else:
        code = marshal.dumps(compile("", file, "exec", dont_inherit=True))
    rows = (code[at : at + _ROW] for at in range(0, len(code), _ROW))
    lines = "".join(f"    {','.join(map(str, row))},\n" for row in rows)
    return f"static const unsigned char {_symbol(entry.name)}[] = {{\n{lines}}};\n"


def _has_array(entry: FrozenEntry, names: Container[str]) -> bool:
    """Whether an entry has its own code: an alias shares the code of its original module."""
    return entry.kind != "excluded" and (
        entry.origname == entry.name or entry.origname not in names
    )


def _version(registry: Registry) -> tuple[int, int]:
    """The version of CPython in a registry's cache tag: (3, 13) for `cpython-313`."""
    digits = registry.header.cache_tag.rpartition("-")[2]
    return int(digits[0]), int(digits[1:])


def _header(version: tuple[int, int], modules: int) -> str:
    major, minor = version
    return _HEADER.format(
        modules=modules, version=f"{major}.{minor}", hexversion=major << 8 | minor
    )


def _source(version: tuple[int, int], entries: list[FrozenEntry]) -> str:
    names = {entry.name for entry in entries}
    own = [entry for entry in entries if _has_array(entry, names)]
    end = ", NULL" if version < (3, 13) else ""  # `get_code`, for modules that are not marshalled
    return _SOURCE.format(
        name=NAME,
        includes="\n".join(f'#include "{_path(entry.name)}"' for entry in own),
        rows="\n".join(f"    {{{_row(entry, names)}{end}}}," for entry in entries),
        end=end,
        aliases="\n".join(_aliases(entries)),
    )


def _row(entry: FrozenEntry, names: Container[str]) -> str:
    """The first four fields of a `struct _frozen`."""
    if entry.kind == "excluded":
        return f'"{entry.name}", NULL, 0, 0'
    symbol = _symbol(entry.name if _has_array(entry, names) else entry.origname)
    return f'"{entry.name}", {symbol}, (int)sizeof({symbol}), {int(entry.is_package)}'


def _aliases(entries: Iterable[FrozenEntry]) -> Iterator[str]:
    """The rows of `struct _module_alias`.

    CPython does not look in the standard library's folder for a module without an original name.
    """
    for entry in entries:
        if entry.origname != entry.name:
            yield f'    {{"{entry.name}", "{entry.origname}"}},'
        elif entry.table != "stdlib":
            yield f'    {{"{entry.name}", NULL}},'
