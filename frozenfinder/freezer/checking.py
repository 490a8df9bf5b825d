"""The check of a freeze: commands run with the new registry before it is written."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

from frozenfinder.errors import FreezeError
from frozenfinder.freezer.defer.check import Checker, Notice
from frozenfinder.freezer.write.content import Content
from frozenfinder.freezer.write.output import pack, write

from .plan import Plan


def check_laziness(
    plan: Plan, content: Content, path: str, notice: Notice | None = None
) -> tuple[Plan, dict[str, str]]:
    """Run the plan's checks with its registry, and make the modules eager that differ.

    The result is the plan with these modules in its `asked`, and the reason for each. The registry
    is tried beside `path`, under another name. FreezeError as from `Checker.check`.
    """
    folder, name = os.path.split(path)
    trial = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.check")
    eager: dict[str, str] = {}
    try:
        while True:
            names = [each.name for each in content.outcomes.values() if each.code]
            write(trial, pack(plan, content.modules, content.files))
            checker = Checker(trial, names, notice=notice)
            for command in plan.checks:
                checker.check(command)
            if not checker.eager:
                return plan, eager
            content.make_eager(checker.eager)
            eager |= checker.eager
            lines = [f"eager {each}" for each in sorted(checker.eager)]
            plan = replace(plan, asked=(*plan.asked, *lines))
    finally:
        with suppress(OSError):
            os.unlink(trial)


def require_check(plan: Plan, *, unchecked: bool) -> None:
    """FreezeError for a lazy plan without a check, and for a check of a plan that is not lazy."""
    if plan.checks and not plan.lazy:
        raise FreezeError(
            "a check is for a registry in which imports wait; add --lazy, or the line 'lazy' to "
            "the manifest"
        )
    if plan.lazy and not plan.checks and not unchecked:
        raise FreezeError(
            "imports that wait may change what a program does; name commands that have to do the "
            "same with --check 'COMMAND', or give --unchecked"
        )
