"""`frozenfinder info`: describe a registry as a whole."""

import argparse
import json
from collections import Counter
from pathlib import Path

from frozenfinder.runtime.layout import FORMAT, TABLES, FrozenEntry
from frozenfinder.runtime.registry import Registry
from frozenfinder.runtime.roots import resolve

from . import DONE
from .commands import open_registry_or_bundle, print_json
from .ls import list_entries
from .parser import Parser

SUMMARY = "show which interpreter a registry is for, its roots, and how much it contains"


def make_parser() -> Parser:
    parser = Parser("info", SUMMARY)
    parser.add_registry()
    parser.add_json()
    return parser


def main(options: argparse.Namespace) -> int:
    registry = open_registry_or_bundle(options.registry)
    facts = gather(registry)
    if options.json:
        print_json(facts)
        return DONE
    roots = facts.pop("roots")
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):16}{_format(value)}")
    assert isinstance(roots, list)
    for number, root in enumerate(roots):
        missing = "" if root["exists"] else ", which does not exist"
        print(
            f"root {number:<11}{root['anchor']} {root['path']!r}, here {root['directory']!r}"
            f"{missing}: {root['modules']} modules, {root['files']} files"
        )
    return DONE


def _format(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True) if value else "-"
    return "-" if value is None else str(value)


def gather(registry: Registry) -> dict[str, object]:
    """The facts, as `--json` prints them."""
    header = registry.header
    modules, files = list_entries(registry), list_entries(registry, files=True)
    tables = Counter(entry.table for entry in modules)
    kinds = Counter(entry.kind for entry in modules)
    return {
        "registry": registry.path,
        "size": header.size,
        "format": FORMAT,
        "cache_tag": header.cache_tag,
        "magic": header.magic,
        "marshal_version": header.marshal_version,
        "optimize": header.optimize,
        "world": header.world,
        "mismatch": registry.mismatch,
        "modules": len(modules),
        "packages": sum(entry.is_package for entry in modules),
        "with_source": sum(e.kind == "source" and e.text_size >= 0 for e in modules),
        "embedded": sum(entry.kind == "extension" and entry.size > 0 for entry in modules),
        "with_extras": sum(entry.extras_size > 0 for entry in modules),
        "files": len(files),
        "tables": {table: tables[table] for table in TABLES if table in tables},
        "kinds": dict(sorted(kinds.items())),
        "freeze": registry.info(),
        "roots": _gather_roots(registry, modules, files),
    }


def _gather_roots(
    registry: Registry, modules: list[FrozenEntry], files: list[FrozenEntry]
) -> list[dict[str, object]]:
    module_counts = Counter(entry.root for entry in modules)
    file_counts = Counter(entry.root for entry in files)
    facts: list[dict[str, object]] = []
    for number, (anchor, path) in enumerate(registry.roots):
        directory = resolve(anchor, path, registry)
        facts.append(
            {
                "anchor": anchor,
                "path": path,
                "directory": directory,
                "exists": directory is not None and Path(directory).is_dir(),
                "modules": module_counts[number],
                "files": file_counts[number],
            }
        )
    return facts
