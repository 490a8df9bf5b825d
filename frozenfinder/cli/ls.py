"""`frozenfinder ls`: list the modules or data files in a registry."""

import argparse

from frozenfinder.runtime.layout import TABLES, FrozenEntry
from frozenfinder.runtime.registry import Registry

from . import DONE
from .commands import open_registry_or_bundle, print_json
from .parser import Parser

SUMMARY = "list the modules in a registry"


def make_parser() -> Parser:
    parser = Parser("ls", SUMMARY)
    parser.add_registry()
    parser.add_argument("--files", action="store_true", help="list the data files instead")
    parser.add_json()
    return parser


def main(options: argparse.Namespace) -> int:
    registry = open_registry_or_bundle(options.registry)
    entries = list_entries(registry, files=options.files)
    if options.json:
        held = "files" if options.files else "modules"
        print_json({"registry": registry.path, held: [describe(entry) for entry in entries]})
    elif options.files:
        for entry in entries:
            print(f"{entry.size:>10}  {entry.name}")
    else:
        for entry in entries:
            print(f"{entry.size:>10}  {entry.table:9}  {entry.kind:10}  {entry.name}")
    return DONE


def list_entries(registry: Registry, *, files: bool = False) -> list[FrozenEntry]:
    """Every module (or data file), sorted by table, in the order of search, and by name."""
    entries = registry.files() if files else registry.entries()
    return sorted(entries, key=lambda entry: (TABLES.index(entry.table), entry.name))


def describe(entry: FrozenEntry) -> dict[str, object]:
    """An entry as `--json` prints it."""
    return {
        "name": entry.name,
        "table": entry.table,
        "kind": entry.kind,
        "package": entry.is_package,
        "size": entry.size,
        "extras_size": entry.extras_size,
        "root": entry.root,
        "path": entry.path,
        "mtime": entry.mtime,
        "source_size": entry.source_size,
        "with_source": entry.kind == "source" and entry.text_size >= 0,
    }
