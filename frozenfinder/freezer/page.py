"""The report as a page of HTML that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from .report import Report, Share

_STYLE = """\
:root { color-scheme: light dark; --line: #8884; --bar: #3b82f6; --data: #f59e0b; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .5rem; text-align: left; }
td { overflow-wrap: anywhere; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { display: flex; height: .7rem; min-width: 8rem; }
.bar span { background: var(--bar); }
.bar span + span { background: var(--data); }
table { margin-top: 1rem; }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
code { font-size: .9em; }
"""
_DOCUMENT = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def format_page(report: Report) -> str:
    """A whole document; what it names is escaped."""
    body = [_format_summary(report)]
    for title, names in (
        ("Recorded only: hidden imports, which the code does not tell", report.recorded_only),
        ("Static only: not imported in the recorded run, perhaps droppable", report.static_only),
        ("Not recorded", report.unseen),
    ):
        body += _format_names(title, names)
    for title, pairs in (
        ("Excluded", [(each.name, each.reason) for each in report.excluded]),
        ("Left out", [(each.location or each.name, each.reason) for each in report.omitted]),
        ("Imported and not found", [(name, f"by {importer}") for name, importer in report.missing]),
        ("Warnings of the compiler", report.warnings),
    ):
        body += _format_pairs(title, pairs)
    body += _format_shares(report.shares)
    return _DOCUMENT.format(title=escape(report.output), style=_STYLE, body="\n".join(body))


def _format_summary(report: Report) -> str:
    return (
        f"<p>{report.modules:,} modules and {report.files:,} data files in {report.size:,} bytes, "
        f"frozen in {report.seconds:.1f} s: {report.compiled:,} compiled, {report.from_pyc:,} from "
        f"a <code>.pyc</code>, {report.reused:,} kept.</p>"
    )


def _format_shares(shares: Sequence[Share]) -> Iterator[str]:
    largest = max((share.total for share in shares), default=0) or 1
    yield "<table><thead><tr><th>package</th>"
    for title in ("modules", "code", "sources", "files", "data"):
        yield f'<th class="number">{title}</th>'
    yield "<th>bytes of code, of the rest</th></tr></thead><tbody>"
    for share in shares:
        cells = (share.modules, share.code, share.source, share.files, share.data)
        numbers = "".join(f'<td class="number">{number:,}</td>' for number in cells)
        widths = (share.code, share.source + share.data)
        bars = "".join(f'<span style="width:{100 * n / largest:.2f}%"></span>' for n in widths)
        bar = f'<td><div class="bar">{bars}</div></td>'
        yield f"<tr><td>{escape(share.name)}</td>{numbers}{bar}</tr>"
    yield "</tbody></table>"


def _format_names(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"<details><summary>{escape(title)} ({len(items):,})</summary><ul>"
        yield from (f"<li><code>{escape(item)}</code></li>" for item in items)
        yield "</ul></details>"


def _format_pairs(title: str, pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    if pairs:
        yield f"<details><summary>{escape(title)} ({len(pairs):,})</summary><table><tbody>"
        for what, why in pairs:
            yield f"<tr><td><code>{escape(what)}</code></td><td>{escape(why)}</td></tr>"
        yield "</tbody></table></details>"
