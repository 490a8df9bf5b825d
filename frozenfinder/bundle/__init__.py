"""A program and its registry in one executable file; and `emit_c`, a registry as tables in C.

`bundle` writes a program and everything it needs into one executable file. `emit_c` writes the
modules of a registry as the arrays of `struct _frozen` that CPython itself imports from.
"""

from __future__ import annotations

import os
import time

from frozenfinder.freezer.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.embed.tables import Tables, emit_c
    from frozenfinder.freezer import Plan, Report
    from frozenfinder.freezer.write.content import Progress

    from .archive import find_registry
    from .entry import Entry, find_program, parse_entry

__all__ = ["Entry", "Tables", "bundle", "emit_c", "find_program", "find_registry", "parse_entry"]

_HOMES = {
    "Entry": "entry",
    "Tables": ".embed.tables",
    "emit_c": ".embed.tables",
    "find_program": "entry",
    "find_registry": "archive",
    "parse_entry": "entry",
}


if not TYPE_CHECKING:  # a type checker would accept any name
    __getattr__, __dir__ = lazy_names(__name__, globals(), _HOMES)


def bundle(
    plan: Plan,
    entry: Entry,
    output: str | os.PathLike[str],
    *,
    python: str | None = None,
    fast_exit: bool = True,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Write the modules and files of a plan to the executable file `output`, which runs `entry`.

    Any CPython with the magic number of this one can run it, with nothing installed. `python` is
    the text after `#!` in its first line. `fast_exit` is as for `install`; `jobs` and `progress`
    are as for `freeze`. FreezeError if the plan does not contain the entry, a module that was
    requested by name cannot be compiled, or the file cannot be written.
    """
    # deferred: activation does not need them
    from dataclasses import replace

    from frozenfinder.freezer import _count_cpus
    from frozenfinder.freezer.report import make_report

    from . import archive
    from .assembly import assemble

    begin = time.perf_counter()
    path = os.path.abspath(output)
    archive.check_bundle(path)
    entry.check(plan)
    main = () if entry.function else (f"{entry.module}.__main__",)
    plan = replace(plan, named=(*plan.named, entry.module, *main))
    assembly = assemble(plan, jobs=jobs or _count_cpus(), progress=progress)
    entry.check_function(assembly.content.modules)
    size = archive.write_bundle(
        path, assembly, entry, python or archive.default_python(), fast_exit=fast_exit
    )
    report = make_report(plan, assembly.content, output=path, size=size)
    return replace(report, seconds=time.perf_counter() - begin)
