"""The freezer: from what is asked for to a registry.

A `Manifest` says what to freeze, `discover` finds it and makes a `Plan`, and `freeze` compiles what
is planned, writes the registry and reports. Nothing that is frozen is executed.

What is here is imported when it is first asked for: the processes that compile import this package
too, and need next to nothing of it.
"""

from __future__ import annotations

import os
import time
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .content import Progress
    from .discovery import discover
    from .manifest import Manifest, format_manifest, merge_manifests, parse_manifest, read_manifest
    from .plan import DataFile, Module, Omission, Plan, Root, merge
    from .report import Report

__all__ = [
    "DataFile",
    "Manifest",
    "Module",
    "Omission",
    "Plan",
    "Report",
    "Root",
    "discover",
    "format_manifest",
    "freeze",
    "merge",
    "merge_manifests",
    "parse_manifest",
    "read_manifest",
]

_HOMES = {
    "DataFile": "plan",
    "Manifest": "manifest",
    "Module": "plan",
    "Omission": "plan",
    "Plan": "plan",
    "Report": "report",
    "Root": "plan",
    "discover": "discovery",
    "format_manifest": "manifest",
    "merge": "plan",
    "merge_manifests": "manifest",
    "parse_manifest": "manifest",
    "read_manifest": "manifest",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def freeze(
    plan: Plan,
    output: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    sign: str | os.PathLike[str] | None = None,
) -> Report:
    """Freeze what is planned to the file `output`; FreezeError if it cannot be written.

    What cannot be compiled or read is left out and reported. `jobs` is the number of processes, by
    default one for each CPU. `progress` is called with how many modules are done, of how many, and
    the name of the last. `sign` is a PEM file with the Ed25519 key to sign with.
    """
    # deferred: see above
    from .content import Content
    from .plan import anchor
    from .previous import Previous
    from .report import Report
    from .sign import Signer
    from .write import check_output, pack, write

    begin = time.perf_counter()
    path = os.path.abspath(output)
    check_output(path)
    signer = None if sign is None else Signer(sign)
    plan = anchor(plan, os.path.dirname(path))
    content = Content(plan)
    previous = Previous(path, plan)
    try:
        content.add_modules(previous, jobs or _count_cpus(), progress)
    finally:
        previous.close()
    content.add_files()
    pieces = pack(plan, content.modules, content.files, signer)
    written = write(path, pieces, plan.scanned_ns)
    return Report(
        output=path,
        size=sum(map(len, pieces)),
        modules=len(content.modules),
        files=len(content.files),
        compiled=content.compiled,
        from_pyc=content.from_pyc,
        reused=content.reused,
        written=written,
        verify_key=None if signer is None else signer.verify_key,
        seconds=time.perf_counter() - begin,
        omitted=(*plan.omitted, *content.omitted),
        warnings=tuple(content.warnings),
    )


def _count_cpus() -> int:
    """How many CPUs this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
