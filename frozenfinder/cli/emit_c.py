"""`frozenfinder emit-c`: write the modules of a registry as C, for programs that embed CPython."""

import argparse
from dataclasses import asdict

from frozenfinder.bundle import emit_c

from . import DONE
from .commands import open_registry_or_bundle, print_json
from .parser import Parser

SUMMARY = "write the modules of a registry as C tables of struct _frozen"


def make_parser() -> Parser:
    parser = Parser("emit-c", SUMMARY)
    parser.add_argument("registry", metavar="FILE", help="the registry")
    parser.add_argument(
        "-o", "--output", metavar="DIR", required=True, help="the folder to write to"
    )
    parser.add_json()
    return parser


def main(options: argparse.Namespace) -> int:
    tables = emit_c(open_registry_or_bundle(options.registry), options.output)
    if options.json:
        print_json(asdict(tables))
        return DONE
    print(f"Wrote {tables.output}: {tables.modules} modules.")
    if tables.left_out:
        print(f"Left out: {len(tables.left_out)}.")
    for name, reason in tables.left_out:
        print(f"  {name}: {reason}")
    return DONE
