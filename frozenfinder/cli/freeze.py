"""`frozenfinder freeze`: write a registry."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from frozenfinder.enable.piece import write_piece
from frozenfinder.freezer import (
    Manifest,
    Report,
    discover,
    freeze,
    merge_manifests,
    name_recorded,
    read_manifest,
    trace,
    write_manifest,
)
from frozenfinder.freezer.checking import require_check
from frozenfinder.freezer.manifest import EXTENSIONS
from frozenfinder.freezer.write.output import check_output
from frozenfinder.runtime.hooks import default_registry

from . import DONE, UsageError
from .commands import program_path
from .parser import EXCLUDE, MANIFEST, PACKAGE, PATH, Parser
from .progress import Progress

SUMMARY = "freeze programs, packages, distributions, directories or the standard library"
SHOWN = 5  # items of a list, at most, without --verbose


def make_parser() -> Parser:
    parser = Parser("freeze", SUMMARY)
    what = parser.add_argument_group("what to freeze; these can be combined and repeated")
    what.add_argument("--stdlib", action="store_true", help="the standard library")
    what.add_argument(
        "--tests", action="store_true", help="the standard library's tests, for install(tests=True)"
    )
    parser.add_repeated(
        what,
        (
            "--entry",
            "MOD[:FUNC]",
            "a module and all that its code imports, found without running it",
        ),
        PACKAGE,
        ("--distribution", "NAME", "an installed distribution: modules, data files, metadata"),
        ("--metadata", "NAME", "only the metadata of an installed distribution"),
        PATH,
        ("--include-data", "GLOB", "data files, by their paths relative to an item of sys.path"),
        MANIFEST,
    )
    what.add_argument(
        "--trace",
        action="store_true",
        help="run COMMAND now, and freeze what it imports and opens",
    )
    what.add_argument(
        "command", nargs="*", metavar="COMMAND", help="the command to run and record, after '--'"
    )
    what.add_argument(
        "--with-dependencies",
        action="store_true",
        help="also the installed distributions that the requested ones require",
    )
    parser.add_repeated(what, EXCLUDE, ("--search", "DIR", "look for the named modules here first"))
    _add_ways(parser)
    _add_laziness(parser)
    _add_embedding(parser)
    _add_reports(parser)
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
    parser.add_jobs(how)
    how.add_argument(
        "--sign",
        metavar="KEY",
        help="sign the registry with the Ed25519 key in this PEM file (needs frozenfinder[sign])",
    )


def _add_laziness(parser: Parser) -> None:
    how = parser.add_argument_group("for imports that wait until their names are used")
    how.add_argument(
        "--lazy",
        action="store_true",
        help="let imports wait where that cannot fail (needs frozenfinder[lazy] before 3.15)",
    )
    parser.add_repeated(
        how,
        (
            "--check",
            "COMMAND",
            (
                "a command that has to do the same with waiting imports as without; choose one "
                "that changes nothing, because it runs several times"
            ),
        ),
        ("--eager", "PATTERN", "no import waits in the modules whose names match"),
    )
    how.add_argument("--unchecked", action="store_true", help="allow --lazy without a check")


def _add_embedding(parser: Parser) -> None:
    how = parser.add_argument_group("for closed mode")
    sources = how.add_mutually_exclusive_group()
    sources.add_argument(
        "--with-source", action="store_true", help="embed the sources, for closed mode's tracebacks"
    )
    sources.add_argument(
        "--no-source", action="store_true", help="embed no sources, even if a manifest says so"
    )
    how.add_argument(
        "--strip-docstrings",
        action="store_true",
        help="leave out docstrings, for closed mode (-O 2 leaves out assertions, too)",
    )
    parser.add_repeated(
        how,
        ("--lay-out", "NAME", "a package that opens its data by path: closed mode puts it on disk"),
    )
    how.add_argument(
        "--world", action="store_true", help="closed mode imports nothing from elsewhere"
    )
    how.add_argument(
        "--extensions",
        choices=EXTENSIONS,
        default="refer",
        help="extension modules: refer to their files, or embed them and their shared libraries, "
        "for closed mode (default: refer)",
    )


def _add_reports(parser: Parser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument(
        "--write-manifest", metavar="FILE", help="write a manifest that freezes the same"
    )
    output.add_argument(
        "--report",
        choices=("table", "json", "html"),
        help="the size of each package, and more; html writes a page beside the registry",
    )
    parser.add_loudness(output)
    parser.add_json()


def make_manifest(options: argparse.Namespace) -> Manifest:
    """The manifests of the command line, merged with the other options; without the trace."""
    manifest = merge_options(
        options,
        stdlib_tests=options.tests,
        entries=tuple(options.entry),
        with_dependencies=options.with_dependencies,
        metadata=tuple(options.metadata),
        searches=tuple(options.search),
        data=tuple(options.include_data),
        lazy=options.lazy,
        eager=tuple(options.eager),
        checks=tuple(options.check),
        strip_docstrings=options.strip_docstrings,
        extensions=options.extensions,
    )
    return replace(manifest, with_source=False) if options.no_source else manifest


def merge_options(options: argparse.Namespace, **own: Any) -> Manifest:
    """The manifests of the command line, merged with the options that `freeze` and `bundle` share
    and with `own`, the fields that a command sets itself.
    """
    asked = Manifest(
        stdlib=options.stdlib,
        packages=tuple(options.package),
        distributions=tuple(options.distribution),
        paths=tuple(options.path),
        excludes=tuple(options.exclude),
        lay_out=tuple(options.lay_out),
        optimize=options.optimize,
        with_source=options.with_source,
        world=options.world,
        **own,
    )
    return merge_manifests([*map(read_manifest, options.manifest), asked])


def check_request(options: argparse.Namespace, manifest: Manifest) -> None:
    """UsageError if nothing is to be frozen, or for a command without `--trace` or vice versa."""
    if options.command and not options.trace:
        raise UsageError(
            f"unexpected argument {options.command[0]!r}; put a command to record after "
            "'--trace --'"
        )
    if options.trace and not options.command:
        raise UsageError("--trace needs a command: freeze --trace -- COMMAND")
    asked = (
        manifest.stdlib,
        manifest.stdlib_tests,
        manifest.entries,
        manifest.recorded,
        manifest.packages,
        manifest.distributions,
        manifest.metadata,
        manifest.paths,
        manifest.data,
    )
    if not options.trace and not any(asked):
        raise UsageError("nothing to freeze was given; see 'frozenfinder freeze --help'")


def find_output(options: argparse.Namespace, manifest: Manifest) -> str:
    """The path to write; UsageError if none is given and the default is for another level."""
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
    check_request(options, manifest)
    output = find_output(options, manifest)
    manifest, unseen = add_trace(options, manifest, Path(output).absolute())
    page = f"{output}.html" if options.report == "html" else None
    with Progress("following imports", quiet=options.quiet) as progress:
        plan = discover(manifest, program_path(), progress)
    Path(output).absolute().parent.mkdir(parents=True, exist_ok=True)
    require_check(plan, unchecked=options.unchecked)
    if options.write_manifest is not None and not plan.checks:
        write_manifest(options.write_manifest, manifest, plan.optimize)
    with (
        Progress("freezing", quiet=options.quiet) as progress,
        Progress("checking", quiet=options.quiet) as notice,
    ):
        report = freeze(
            replace(plan, unseen=unseen),
            output,
            jobs=options.jobs,
            progress=progress,
            sign=options.sign,
            page=page,
            notice=notice,
        )
    write_piece()
    if options.write_manifest is not None and plan.checks:
        found = tuple(each.name for each in report.made_eager)
        written = merge_manifests([manifest, Manifest(eager=found)])
        write_manifest(options.write_manifest, written, plan.optimize)
    tell(options, report, page)
    return DONE


def add_trace(
    options: argparse.Namespace, manifest: Manifest, output: Path
) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest merged with the trace, and sentences about what could not be recorded."""
    if not options.trace:
        return manifest, ()
    if output.parent.is_dir():  # a missing folder is made later, when there is content to write
        check_output(str(output))
    recording = trace(options.command)
    recorded, unseen = name_recorded(recording, [*manifest.searches, *program_path()])
    return merge_manifests([manifest, recorded]), unseen


def tell(options: argparse.Namespace, report: Report, page: str | None = None) -> None:
    """Report on stdout, in the format that the options name."""
    if options.json or options.report == "json":
        print(report.to_json())
    elif not options.quiet:
        print(summarise(report, verbose=options.verbose))
        if options.report == "table":
            print(tabulate(report))
        elif page is not None:
            print(f"Report: {page}")


def summarise(report: Report, *, verbose: bool = False) -> str:
    """The result of a freeze, in a few lines; long lists are complete if `verbose`."""
    done = "Wrote" if report.written else "Nothing changed in"
    held = f"{report.modules} modules, {report.files} files, {report.size} bytes"
    lines = [
        f"{done} {report.output}: {held}, in {report.seconds:.1f} s.",
        f"Code: {report.compiled} compiled, {report.from_pyc} from a .pyc, {report.reused} kept.",
    ]
    if report.recorded_texts:
        lines.append(f"Code from text: {report.texts} of {report.recorded_texts} recorded texts.")
    waiting = [each for each in report.laziness if each.lazy]
    if report.laziness:
        lines.append(
            f"Lazy: {sum(len(each.lazy) for each in waiting)} imported names wait, in "
            f"{len(waiting)} modules."
        )
    if report.clamped:
        lines.append(
            f"Files newer than SOURCE_DATE_EPOCH: {report.clamped}. Overlay reads them to see that "
            "they are unchanged."
        )
    if report.verify_key is not None:
        lines.append(f"Signed: install(..., verify_key={report.verify_key!r}).")
    for title, items in (
        ("Left out", [f"{each.location or each.name}: {each.reason}" for each in report.omitted]),
        ("Not recorded", list(report.unseen)),
        ("Eager", [f"{each.name}: {each.reason}" for each in report.made_eager]),
    ):
        if items:
            lines.append(f"{title}: {len(items)}.")
            lines += _shorten([f"  {item}" for item in items], verbose)
    if report.warnings and verbose:
        lines.append(f"Compiler warnings: {len(report.warnings)}.")
        lines += [f"  {name}: {warning}" for name, warning in report.warnings]
    return "\n".join(lines)


def _shorten(lines: list[str], verbose: bool) -> list[str]:
    hidden = 0 if verbose else len(lines) - SHOWN
    if hidden <= 0:
        return lines
    return [*lines[:SHOWN], f"  and {hidden} more; use -v or --json to see all"]


def tabulate(report: Report) -> str:
    """The size of each package, and which modules were recorded, static, excluded or missing."""
    width = max(len(name) for name in ("package", *(share.name for share in report.shares)))
    titles = ("modules", "code", "sources", "files", "data")
    lines = ["", f"{'package':{width}}" + "".join(f"{title:>12}" for title in titles)]
    for share in report.shares:
        numbers = (share.modules, share.code, share.source, share.files, share.data)
        lines.append(f"{share.name:{width}}" + "".join(f"{number:12,}" for number in numbers))
    for title, items in (
        ("Recorded only (hidden imports)", report.recorded_only),
        ("Static only (not imported in the recorded run)", report.static_only),
        ("Excluded", [f"{each.name}: {each.reason}" for each in report.excluded]),
        ("Imported but not found", [f"{name}, by {by}" for name, by in report.missing]),
        (
            "No import waits",
            [f"{each.name}: {each.whole}" for each in report.laziness if each.whole],
        ),
    ):
        if items:
            lines += ["", f"{title}: {len(items)}", *(f"  {item}" for item in items)]
    return "\n".join(lines)
