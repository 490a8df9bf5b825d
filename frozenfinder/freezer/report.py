"""The report of a freeze: the content of the registry, and what was left out and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

from frozenfinder.freezer.write.content import Content
from frozenfinder.freezer.write.output import Frozen

from .plan import Omission, Plan


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a top-level name in a registry: how many modules and data files it has.

    `code`, `source` and `data` are in bytes.
    """

    name: str
    modules: int = 0
    code: int = 0
    source: int = 0
    files: int = 0
    data: int = 0

    @property
    def total(self) -> int:
        return self.code + self.source + self.data


@dataclass(frozen=True, slots=True)
class LazyModule:
    """The imported names of a module that wait, and the reason for each other one.

    `whole` is the reason if none waits.
    """

    name: str
    lazy: tuple[str, ...]
    eager: tuple[tuple[str, str], ...]
    whole: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a freeze.

    Of the modules with code, `compiled` were compiled, `from_pyc` were read from a `.pyc`, and
    `reused` were taken from the previous registry. `warnings` has the names of compiled modules,
    each with a warning of the compiler. `size` is in bytes, and `written` says whether the registry
    differs from the previous file. `verify_key` is the argument that `install` needs for a signed
    registry. The files of `clamped` modules are newer than SOURCE_DATE_EPOCH, and the registry has
    that time for them. `texts` is how many of the `recorded_texts` are in the registry; modules
    compile the others themselves.

    `shares` has the largest top-level name first. `recorded_only` names modules that a recorded run
    imported but that were not found statically, and `static_only` the opposite; both are empty
    unless there were both a recorded run and entries. `missing` has imported names that were not
    found, each with a module that imports it. `unseen` has sentences about what was not recorded.

    Of a lazy registry, `laziness` has what waits in each module with source, and `made_eager` the
    modules in which nothing waits because a check differed.
    """

    output: str
    size: int
    modules: int
    files: int
    compiled: int
    from_pyc: int
    reused: int
    written: bool
    seconds: float
    omitted: tuple[Omission, ...] = ()
    excluded: tuple[Omission, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    verify_key: str | None = None
    clamped: int = 0
    texts: int = 0
    recorded_texts: int = 0

    shares: tuple[Share, ...] = ()
    recorded_only: tuple[str, ...] = ()
    static_only: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    unseen: tuple[str, ...] = ()

    laziness: tuple[LazyModule, ...] = ()
    made_eager: tuple[Omission, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def make_report(
    plan: Plan,
    content: Content,
    *,
    output: str,
    size: int,
    verify_key: str | None = None,
) -> Report:
    """The report before writing: `seconds` is 0, and `written` is True."""
    names = {frozen.entry.name for frozen in content.modules}
    recorded, reached = set(plan.boot), set(plan.reached)
    both = bool(recorded and reached)
    return Report(
        output=output,
        size=size,
        modules=len(content.modules),
        files=len(content.files),
        compiled=content.compiled,
        from_pyc=content.from_pyc,
        reused=content.reused,
        written=True,
        seconds=0.0,
        verify_key=verify_key,
        clamped=content.clamped,
        texts=content.texts,
        recorded_texts=len(plan.texts),
        omitted=(*plan.omitted, *content.omitted),
        excluded=plan.excluded,
        warnings=tuple(content.warnings),
        shares=_share(content.modules, content.files),
        recorded_only=tuple(sorted(names & recorded - reached)) if both else (),
        static_only=tuple(sorted(names & reached - recorded)) if both else (),
        missing=plan.missing,
        unseen=plan.unseen,
        laziness=tuple(
            LazyModule(each.name, each.lazy, each.eager, each.whole)
            for each in content.outcomes.values()
        ),
    )


def _share(modules: Iterable[Frozen], files: Iterable[Frozen]) -> tuple[Share, ...]:
    """The shares of the top-level names, the largest first."""
    sums: dict[str, list[int]] = {}
    for frozen in modules:
        name = frozen.entry.name.partition(".")[0]
        _add(sums, name, 1, len(frozen.blob), len(frozen.text or b""))
    for frozen in files:
        name = frozen.entry.name.partition("/")[0]
        _add(sums, name, 0, 0, 0, 1, len(frozen.blob))
    shares = [Share(name, *counts) for name, counts in sums.items()]
    return tuple(sorted(shares, key=lambda share: (-share.total, share.name)))


def _add(sums: dict[str, list[int]], name: str, *counts: int) -> None:
    totals = sums.setdefault(name, [0] * (len(fields(Share)) - 1))
    for place, count in enumerate(counts):
        totals[place] += count
