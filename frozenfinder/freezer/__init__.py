"""The freezer: from a manifest to a registry.

A `Manifest` says what to freeze, `discover` finds it and makes a `Plan`, and `freeze` compiles the
modules of the plan, writes the registry and returns a `Report`. Only `trace` executes frozen code.

The names are imported when they are first used: the processes that compile import this package,
too, and need very little of it.
"""

from __future__ import annotations

import os
import time

from .lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from frozenfinder.freezer.discovery.discover import discover
    from frozenfinder.freezer.record.trace import Recording, name_recorded, trace
    from frozenfinder.freezer.write.content import Progress

    from .manifest import (
        Manifest,
        format_manifest,
        merge_manifests,
        parse_manifest,
        read_manifest,
        write_manifest,
    )
    from .plan import DataFile, Module, Omission, Plan, Root, merge
    from .report import Report, Share

__all__ = [
    "DataFile",
    "Manifest",
    "Module",
    "Omission",
    "Plan",
    "Progress",
    "Recording",
    "Report",
    "Root",
    "Share",
    "discover",
    "format_manifest",
    "freeze",
    "merge",
    "merge_manifests",
    "name_recorded",
    "parse_manifest",
    "read_manifest",
    "trace",
    "write_manifest",
]

_HOMES = {
    "DataFile": "plan",
    "Manifest": "manifest",
    "Module": "plan",
    "Omission": "plan",
    "Plan": "plan",
    "Progress": "write.content",
    "Recording": "record.trace",
    "Report": "report",
    "Root": "plan",
    "Share": "report",
    "discover": "discovery.discover",
    "format_manifest": "manifest",
    "merge": "plan",
    "merge_manifests": "manifest",
    "name_recorded": "record.trace",
    "parse_manifest": "manifest",
    "read_manifest": "manifest",
    "trace": "record.trace",
    "write_manifest": "manifest",
}


if not TYPE_CHECKING:  # a type checker would accept any name
    __getattr__, __dir__ = lazy_names(__name__, globals(), _HOMES)


def freeze(
    plan: Plan,
    output: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    sign: str | os.PathLike[str] | None = None,
    page: str | os.PathLike[str] | None = None,
    notice: Progress | None = None,
) -> Report:
    """Write the modules and files of a plan to the registry `output`; FreezeError if that fails.

    Files that cannot be compiled or read are left out and reported. For a module that was requested
    by name, that is a FreezeError. `jobs` is the number of processes, by default one for each CPU.
    `progress` is called with the number of modules that are done, the number of all modules, and
    the name of the last one. `sign` is a PEM file with the private Ed25519 key to sign with, and
    `page` a file for the report as HTML. The checks of a lazy plan are run; `notice` is called
    before each run of a command, with the number of runs. If an error is raised, nothing was
    written.
    """
    # deferred: see above
    from dataclasses import replace

    from frozenfinder.freezer.write.content import Content
    from frozenfinder.freezer.write.output import check_output, check_place, pack, write
    from frozenfinder.freezer.write.previous import Previous
    from frozenfinder.freezer.write.sign import Signer

    from .plan import Omission, anchor
    from .report import make_report

    begin = time.perf_counter()
    path = os.path.abspath(output)
    check_output(path)
    if page is not None:
        check_place(os.path.abspath(page), "a report")
    signer = None if sign is None else Signer(sign)
    plan = anchor(plan, os.path.dirname(path))
    outputs = [path] if page is None else [path, os.path.abspath(page)]
    content = Content(plan, [os.path.dirname(each) for each in outputs])
    previous = Previous(path, plan)
    try:
        content.add_modules(previous, jobs or _count_cpus(), progress)
    finally:
        previous.close()
    content.add_files()
    eager: dict[str, str] = {}
    if plan.lazy and plan.checks:
        from .checking import check_laziness

        plan, eager = check_laziness(plan, content, path, notice)
    pieces = pack(plan, content.modules, content.files, signer)
    key = None if signer is None else signer.verify_key
    report = make_report(plan, content, output=path, size=sum(map(len, pieces)), verify_key=key)
    made_eager = tuple(Omission(name, "", reason) for name, reason in sorted(eager.items()))
    report = replace(report, made_eager=made_eager)
    report = replace(report, seconds=time.perf_counter() - begin)
    if page is None:
        written = write(path, pieces)
    else:
        written = _write_with_page(path, pieces, os.path.abspath(page), report)
    return replace(report, written=written, seconds=time.perf_counter() - begin)


def _write_with_page(path: str, pieces: Sequence[bytes], page: str, report: Report) -> bool:
    """As `write`, and write the report to `page`: both or neither."""
    # deferred: see above
    from frozenfinder.freezer.write.output import replacing, sync, write

    from .page import format_page

    with replacing(page) as file:
        file.write(format_page(report).encode("utf-8", "backslashreplace"))
        sync(file)
        return write(path, pieces)


def _count_cpus() -> int:
    """How many CPUs this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
