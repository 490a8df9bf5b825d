"""`frozenfinder freeze`: write a registry."""

import argparse
import sys
from pathlib import Path

from frozenfinder.freezer import Manifest, Report, discover, freeze, merge_manifests, read_manifest
from frozenfinder.freezer.manifest import EXTENSIONS
from frozenfinder.hooks import default_registry

from . import DONE, UsageError
from .commands import program_path
from .parser import Parser
from .progress import Progress

SUMMARY = "write a registry of the standard library, packages, distributions or directories"
SHOWN = 5  # of what was left out, unless more is asked for


def make_parser() -> Parser:
    parser = Parser("freeze", SUMMARY)
    what = parser.add_argument_group("what to freeze; all can be combined and given repeatedly")
    what.add_argument("--stdlib", action="store_true", help="the standard library")
    what.add_argument(
        "--tests", action="store_true", help="the standard library's tests, in the table 'test'"
    )
    for option, metavar, text in (
        ("--package", "NAME", "a package or module that can be imported, with all below it"),
        ("--distribution", "NAME", "an installed distribution: modules, data files, metadata"),
        ("--path", "DIR", "everything below a directory"),
        ("--manifest", "FILE", "what a manifest asks for"),
    ):
        what.add_argument(option, metavar=metavar, action="append", default=[], help=text)
    what.add_argument(
        "--with-dependencies",
        action="store_true",
        help="the installed distributions that those asked for require, too",
    )
    what.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        help="leave out the modules of these names, and all below them",
    )
    _add_ways(parser)
    return parser


def _add_ways(parser: Parser) -> None:
    how = parser.add_argument_group("how")
    how.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the registry to write (default: the one that install() without an argument opens)",
    )
    how.add_argument(
        "-O",
        "--optimize",
        type=int,
        choices=(0, 1, 2),
        help="the optimisation level (default: that of this interpreter)",
    )
    how.add_argument(
        "-j", "--jobs", metavar="N", type=_positive, help="processes (default: one for each CPU)"
    )
    how.add_argument(
        "--with-source", action="store_true", help="embed the sources, for closed mode's tracebacks"
    )
    how.add_argument(
        "--world", action="store_true", help="closed mode finds nothing outside the registry"
    )
    how.add_argument(
        "--extensions",
        choices=EXTENSIONS,
        default="refer",
        help="extension modules: refer to the files where they are, or embed them, and the shared "
        "libraries, for closed mode (default: refer)",
    )
    how.add_argument(
        "--sign",
        metavar="KEY",
        help="sign the registry with the Ed25519 key in this PEM file (needs frozenfinder[sign])",
    )
    told = parser.add_argument_group("what to tell")
    told.add_argument("--quiet", action="store_true", help="nothing but errors")
    told.add_argument("-v", "--verbose", action="store_true", help="all that was left out, and why")
    parser.add_json()


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not positive")
    return int(text)


def make_manifest(options: argparse.Namespace) -> Manifest:
    """What the options ask for, added to what their manifests do; UsageError for nothing."""
    own = Manifest(
        stdlib=options.stdlib,
        stdlib_tests=options.tests,
        packages=tuple(options.package),
        distributions=tuple(options.distribution),
        with_dependencies=options.with_dependencies,
        paths=tuple(options.path),
        excludes=tuple(options.exclude),
        optimize=options.optimize,
        with_source=options.with_source,
        world=options.world,
        extensions=options.extensions,
    )
    manifest = merge_manifests([*map(read_manifest, options.manifest), own])
    if not (
        manifest.stdlib
        or manifest.stdlib_tests
        or manifest.packages
        or manifest.distributions
        or manifest.paths
    ):
        raise UsageError("nothing to freeze was asked for; see 'frozenfinder freeze --help'")
    return manifest


def find_output(options: argparse.Namespace, manifest: Manifest) -> str:
    """Where to write; UsageError where that is left open and the default would not do."""
    if options.output is not None:
        return str(options.output)
    if manifest.optimize not in (None, sys.flags.optimize):
        raise UsageError(
            f"-O {manifest.optimize} needs -o FILE: the default registry is for this "
            f"interpreter's level, {sys.flags.optimize}"
        )
    return default_registry()


def main(options: argparse.Namespace) -> int:
    manifest = make_manifest(options)
    output = find_output(options, manifest)
    plan = discover(manifest, program_path())
    Path(output).absolute().parent.mkdir(parents=True, exist_ok=True)
    with Progress("freezing", quiet=options.quiet) as progress:
        report = freeze(plan, output, jobs=options.jobs, progress=progress, sign=options.sign)
    if options.json:
        print(report.to_json())
    elif not options.quiet:
        print(summarise(report, verbose=options.verbose))
    return DONE


def summarise(report: Report, *, verbose: bool = False) -> str:
    """What a freeze came to, in a few lines unless all are asked for."""
    done = "Wrote" if report.written else "Nothing changed in"
    held = f"{report.modules} modules, {report.files} files, {report.size} bytes"
    lines = [
        f"{done} {report.output}: {held}, in {report.seconds:.1f} s.",
        f"Code: {report.compiled} compiled, {report.from_pyc} from a .pyc, {report.reused} kept.",
    ]
    if report.verify_key is not None:
        lines.append(f"Signed: install(..., verify_key={report.verify_key!r}).")
    if report.omitted:
        lines.append(f"Left out: {len(report.omitted)}.")
        lines += _shorten([f"  {each.location}: {each.reason}" for each in report.omitted], verbose)
    if report.warnings and verbose:
        lines.append(f"Warnings of the compiler: {len(report.warnings)}.")
        lines += [f"  {name}: {warning}" for name, warning in report.warnings]
    return "\n".join(lines)


def _shorten(lines: list[str], verbose: bool) -> list[str]:
    hidden = 0 if verbose else len(lines) - SHOWN
    if hidden <= 0:
        return lines
    return [*lines[:SHOWN], f"  and {hidden} more; -v or --json gives them all"]
