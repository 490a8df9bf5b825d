"""HTML pages that load no other files: elements, style, and the whole document.

Text is escaped when it becomes part of an element. Only the results of `element` are treated as
HTML, so a page cannot forget to escape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """\
:root {
  color-scheme: light dark;
  --line: #8884; --bar: #3b82f6; --data: #f59e0b; --own: #c2410c; --whole: #94a3b8;
}
@media (prefers-color-scheme: dark) { :root { --own: #fb923c; --whole: #475569; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
code { font-size: .9em; }
table { border-collapse: collapse; margin-top: 1rem; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .5rem; text-align: left; }
td { overflow-wrap: anywhere; }
.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
.shares { display: flex; height: .7rem; min-width: 16rem; }
.shares span { background: var(--bar); }
.shares span + span { background: var(--data); }
.waterfall { border-top: 1px solid var(--line); font-size: 12px; line-height: 16px; }
.row { display: flex; }
.row:hover { background: color-mix(in srgb, var(--whole) 25%, transparent); }
.name { flex: 0 0 22rem; overflow: hidden; text-overflow: ellipsis; white-space: pre; }
.track { flex: 1; position: relative; }
.bar { background: var(--whole); height: 10px; min-width: 1px; position: absolute; top: 3px; }
.own { background: var(--own); height: 100%; }
.time { flex: 0 0 6rem; text-align: right; }
"""


class Html(str):
    """Text that is already HTML; `element` makes it."""

    __slots__ = ()


def element(name: str, *content: str, **attributes: str) -> Html:
    """An element. Content that is not `Html` is escaped, and so are attributes.

    The name of an attribute may end with an underscore if it is a Python keyword, and has
    underscores instead of hyphens.
    """
    settings = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    inner = "".join(each if isinstance(each, Html) else escape(each) for each in content)
    return Html(f"<{name}{settings}>{inner}</{name}>")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: range) -> Html:
    """A table; `numbers` are the columns with numbers."""
    return element(
        "table",
        element("thead", _row("th", head, numbers)),
        element("tbody", *(_row("td", row, numbers) for row in rows)),
    )


def _row(kind: str, cells: Iterable[str], numbers: range) -> Html:
    return element(
        "tr",
        *(
            element(kind, cell, class_="number") if column in numbers else element(kind, cell)
            for column, cell in enumerate(cells)
        ),
    )


def document(title: str, *body: Html) -> str:
    """A complete document."""
    parts = "\n".join(body)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
{element("title", title)}
<style>
{_STYLE}</style>
</head>
<body>
{parts}
</body>
</html>
"""
