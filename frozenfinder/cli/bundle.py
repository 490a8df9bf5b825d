"""`frozenfinder bundle`: write a program and everything it needs into one executable file."""

import argparse
from dataclasses import replace

from frozenfinder.bundle import bundle, find_program
from frozenfinder.freezer import Manifest, discover

from . import DONE, UsageError
from .commands import program_path
from .freeze import merge_options, summarise
from .parser import EXCLUDE, MANIFEST, PACKAGE, PATH, Parser
from .progress import Progress

SUMMARY = "write a program and everything it needs into one executable file"


def make_parser() -> Parser:
    parser = Parser("bundle", SUMMARY)
    program = parser.add_argument_group("the program; its distribution is bundled, too")
    which = program.add_mutually_exclusive_group(required=True)
    which.add_argument("--script", metavar="NAME", help="an installed console script")
    which.add_argument(
        "--entry", metavar="MODULE[:FUNCTION]", help="a function to call, or a module to run"
    )
    which.add_argument("-m", metavar="MODULE", dest="module", help="a module or package to run")
    what = parser.add_argument_group("what else to bundle; options with a value can be repeated")
    parser.add_repeated(
        what,
        ("--distribution", "NAME", "an installed distribution and the ones that it requires"),
        PACKAGE,
        PATH,
        MANIFEST,
        EXCLUDE,
        ("--lay-out", "PACKAGE", "write the files of this package to disk when the program runs"),
    )
    what.add_argument("--stdlib", action="store_true", help="the standard library")
    what.add_argument("--with-source", action="store_true", help="the sources (for tracebacks)")
    _add_ways(parser)
    return parser


def _add_ways(parser: Parser) -> None:
    how = parser.add_argument_group("how")
    how.add_argument("-o", "--output", metavar="FILE", required=True, help="the file to write")
    how.add_argument(
        "--python",
        metavar="LINE",
        help="the interpreter after '#!' (default: /usr/bin/env pythonX.Y)",
    )
    how.add_argument(
        "--world",
        action="store_true",
        help="import nothing from outside the bundle (needs --stdlib)",
    )
    how.add_argument(
        "-O", "--optimize", type=int, choices=(0, 1, 2), default=0, help="the optimisation level"
    )
    how.add_argument(
        "--fast-exit",
        nargs="?",
        choices=("on", "off"),
        default="on",
        const="on",
        help="end the program without the last garbage collections, unless an object is alive that "
        "has a finalizer to run (default: on)",
    )
    parser.add_jobs(how)
    output = parser.add_argument_group("output")
    parser.add_loudness(output)
    parser.add_json()


def make_manifest(options: argparse.Namespace) -> Manifest:
    """What to bundle besides the program, by the options."""
    manifest = merge_options(options, with_dependencies=True, extensions="embed")
    if manifest.world and not manifest.stdlib:
        raise UsageError("--world needs --stdlib: nothing outside the bundle can be imported")
    return manifest


def main(options: argparse.Namespace) -> int:
    path = program_path()
    asked = make_manifest(options)
    entry, manifest = find_program(
        asked,
        path,
        script=options.script,
        entry=options.entry or options.module,
    )
    plan = replace(discover(manifest, path), named=asked.packages)
    with Progress("bundling", quiet=options.quiet) as progress:
        report = bundle(
            plan,
            entry,
            options.output,
            python=options.python,
            fast_exit=options.fast_exit == "on",
            jobs=options.jobs,
            progress=progress,
        )
    if options.json:
        print(report.to_json())
    elif not options.quiet:
        print(summarise(report, verbose=options.verbose))
    return DONE
