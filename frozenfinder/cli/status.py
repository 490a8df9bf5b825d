"""`frozenfinder status`: which registry is enabled here, and whether it serves modules."""

import argparse
import sys
from typing import Any, NamedTuple

from frozenfinder.activation import find_changed
from frozenfinder.enable.files import ActivationFile
from frozenfinder.errors import FrozenFinderError
from frozenfinder.runtime.finder import check_fresh
from frozenfinder.runtime.hooks import install, installed, uninstall
from frozenfinder.runtime.layout import OVERLAY_KINDS
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.roots import Bypass, resolve
from frozenfinder.runtime.system import SEPARATOR, environment, locate

from . import DONE, FAILED
from .commands import print_json
from .parser import Parser

SUMMARY = "show which registry is enabled in this environment, and whether it serves modules"


class Status(NamedTuple):
    """`problem` says why nothing is served, or is None if modules are served.

    `sources` counts the files that overlay compares, and `stale` lists the modules whose file
    differs from the frozen one; both are None if nothing is compared. `others` are the activation
    files of other environments that this interpreter imports from: they have no effect here.
    `changed` are the distributions that closed mode serves, and that site-packages no longer has.
    """

    file: str
    registry: str | None = None
    mode: str | None = None
    frozen_for: str | None = None
    sources: int | None = None
    stale: list[str] | None = None
    problem: str | None = "nothing is enabled"
    others: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def make_parser() -> Parser:
    parser = Parser("status", SUMMARY)
    parser.add_json()
    return parser


def main(options: argparse.Namespace) -> int:
    status = examine(ActivationFile.of_environment())
    serves = status.problem is None
    if options.json:
        print_json({"serves": serves, **status._asdict()})
    else:
        for line in describe(status):
            print(line)
    return DONE if serves else FAILED


def describe(status: Status) -> list[str]:
    facts: list[tuple[str, object]] = [
        ("registry", status.registry),
        ("mode", status.mode),
        ("enabled by", status.registry and status.file),
        ("frozen for", status.frozen_for),
    ]
    if status.sources is not None and status.stale is not None:
        fresh = status.sources - len(status.stale)
        facts.append(("sources", f"{fresh} of {status.sources} are unchanged"))
        facts += [("stale", name) for name in status.stale[:10]]
        if status.stale[10:]:
            facts.append(("stale", f"and {len(status.stale) - 10} more"))
    facts.append(("serves", "yes" if status.problem is None else f"no: {status.problem}"))
    facts += [("changed", f"{name}; freeze and enable again") for name in status.changed]
    facts += [("not used", f"{path}, of another environment") for path in status.others]
    return [f"{name:12}{value}" for name, value in facts if value is not None]


def examine(files: ActivationFile) -> Status:
    others = tuple(str(each.trigger) for each in files.find_others())
    status = Status(str(files.trigger), others=others)
    try:
        enabled = files.read()
    except (OSError, ValueError) as error:
        return status._replace(problem=str(error))
    if enabled is None:
        return status
    if enabled.cache_tag != sys.implementation.cache_tag:
        return status._replace(
            problem=f"it was enabled for {enabled.cache_tag}, this interpreter has "
            f"{sys.implementation.cache_tag}; enable a registry again"
        )
    mode = str(enabled.options["mode"])
    status = status._replace(registry=locate(enabled.registry), mode=mode)
    if mode == "closed":
        changed = find_changed(str(files.directory), vars(enabled))
        status = status._replace(changed=tuple(changed))
    try:
        registry = Registry.open(locate(enabled.registry))
        level = f" -{registry.header.optimize * 'O'}" if registry.header.optimize else ""
        status = status._replace(frozen_for=registry.header.cache_tag + level)
        if mode == "overlay":
            sources, stale = find_stale(registry)
            status = status._replace(sources=sources, stale=stale)
    except FrozenFinderError as error:
        return status._replace(problem=str(error))
    return status._replace(problem=find_problem(registry, enabled.options))


def find_problem(registry: Registry, options: dict[str, Any]) -> str | None:
    """Why nothing is served; this process started like any other of the environment."""
    if environment("FROZENFINDER") == "off":
        return "FROZENFINDER=off is set"
    if registry.mismatch is not None:
        return registry.mismatch
    for finder in installed():
        used = finder.registry
        same = used is not None and (used.path, used.fingerprint) == (
            registry.path,
            registry.fingerprint,
        )
        if same and finder.mode == options["mode"]:
            return None
    try:
        uninstall(install(registry, **options))
    except (FrozenFinderError, ValueError) as error:
        return str(error)
    return "this interpreter started without the registry"


def find_stale(registry: Registry) -> tuple[int, list[str]]:
    """How many files overlay compares, and the modules whose file differs from the frozen one."""
    directories = [resolve(anchor, path, registry) for anchor, path in registry.roots]
    entries = [each for each in registry.entries() if each.kind in OVERLAY_KINDS]
    stale = []
    for entry in entries:
        location = f"{directories[entry.root]}{SEPARATOR}{entry.path.replace('/', SEPARATOR)}"
        try:
            check_fresh(entry, location)
        except Bypass:
            stale.append(entry.name)
    return len(entries), stale
