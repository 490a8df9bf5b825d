"""`frozenfinder diff`: the differences between two registries."""

import argparse
from dataclasses import asdict

from frozenfinder.freezer.write.difference import Change, Difference, find_difference

from . import DONE, FAILED
from .commands import open_registry_or_bundle, print_json
from .parser import Parser

SUMMARY = "show what changed from one registry to another"


def make_parser() -> Parser:
    parser = Parser("diff", SUMMARY)
    parser.add_argument("before", metavar="BEFORE", help="a registry")
    parser.add_argument("after", metavar="AFTER", help="another registry")
    parser.add_json()
    return parser


def main(options: argparse.Namespace) -> int:
    before, after = open_registry_or_bundle(options.before), open_registry_or_bundle(options.after)
    difference = find_difference(before, after)
    sizes = (before.header.size, after.header.size)
    if options.json:
        print_json({"before": before.path, "after": after.path, **asdict(difference)})
    elif difference:
        print("\n".join(describe(difference, sizes)))
    return FAILED if difference else DONE


def describe(difference: Difference, sizes: tuple[int, int]) -> list[str]:
    """A line for every change: `+` added, `-` removed, `~` changed, and the bytes."""
    lines = [f"  {name}: {before!r} -> {after!r}" for name, before, after in difference.facts]
    lines += map(_format_change, (*difference.modules, *difference.files))
    changes = [change.how[0] for change in (*difference.modules, *difference.files)]
    added, removed = changes.count("added"), changes.count("removed")
    changed = len(changes) - added - removed
    counts = f"{added} added, {removed} removed, {changed} changed"
    return [*lines, f"{counts}; {sizes[0]} -> {sizes[1]} bytes ({sizes[1] - sizes[0]:+})"]


def _format_change(change: Change) -> str:
    if change.before is None:
        return f"+ {change.name} ({change.after} bytes)"
    if change.after is None:
        return f"- {change.name} ({change.before} bytes)"
    grown = change.after - change.before
    return f"~ {change.name}: {', '.join(change.how)} ({change.after} bytes, {grown:+})"
