"""The HTML page of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .html import Html, document, element, table
from .report import Report, Share


def format_page(report: Report) -> str:
    """An HTML document that loads no other files."""
    return document(report.output, *_format_parts(report))


def _format_parts(report: Report) -> Iterator[Html]:
    yield element("h1", report.output)
    yield _format_summary(report)
    for title, names in (
        ("Recorded only: hidden imports, which the code does not show", report.recorded_only),
        ("Static only: not imported in the recorded run, possibly not needed", report.static_only),
        ("Not recorded", report.unseen),
    ):
        if names:
            items = (element("li", element("code", name)) for name in names)
            yield _format_section(title, len(names), element("ul", *items))
    for title, pairs in (
        ("Excluded", [(each.name, each.reason) for each in report.excluded]),
        ("Left out", [(each.location or each.name, each.reason) for each in report.omitted]),
        ("Imported but not found", [(name, f"by {importer}") for name, importer in report.missing]),
        ("Compiler warnings", report.warnings),
    ):
        if pairs:
            rows = ([element("code", about), reason] for about, reason in pairs)
            yield _format_section(title, len(pairs), table(("name", "reason"), rows, range(0)))
    yield _format_shares(report.shares)


def _format_summary(report: Report) -> Html:
    return element(
        "p",
        f"{report.modules:,} modules and {report.files:,} data files in {report.size:,} bytes, "
        f"frozen in {report.seconds:.1f} s: {report.compiled:,} compiled, {report.from_pyc:,} from "
        "a ",
        element("code", ".pyc"),
        f", {report.reused:,} kept.",
    )


def _format_section(title: str, count: int, content: Html) -> Html:
    return element("details", element("summary", f"{title} ({count:,})"), content)


def _format_shares(shares: Sequence[Share]) -> Html:
    head = ("package", "modules", "code", "sources", "files", "data")
    largest = max((share.total for share in shares), default=0) or 1
    rows = []
    for share in shares:
        numbers = (share.modules, share.code, share.source, share.files, share.data)
        bars = (
            element("span", style=f"width:{100 * size / largest:.2f}%")
            for size in (share.code, share.source + share.data)
        )
        bar = element("div", *bars, class_="shares")
        rows.append([share.name, *(f"{number:,}" for number in numbers), bar])
    return table((*head, "bytes of code, of the rest"), rows, range(1, len(head)))
