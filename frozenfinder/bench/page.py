"""The page of a measurement: one HTML file with its tables and an import waterfall of each side."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from .importtime import Import

ROWS = 120
"""How many imports a waterfall shows: the longest."""

DIFFERENCES = 20
"""How many modules are listed by what they take less or more."""

STYLE = """\
:root { color-scheme: light dark; --own: #c2410c; --whole: #94a3b8; --line: #cbd5e1; }
@media (prefers-color-scheme: dark) { :root { --own: #fb923c; --whole: #475569; --line: #334155; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
code, td, th { font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; }
td, th { border-bottom: 1px solid var(--line); padding: .2rem .8rem; text-align: right; }
td:first-child, th:first-child { text-align: left; }
.waterfall { border-top: 1px solid var(--line); font-size: 12px; line-height: 16px; }
.row { display: flex; }
.row:hover { background: color-mix(in srgb, var(--whole) 25%, transparent); }
.name { flex: 0 0 22rem; overflow: hidden; text-overflow: ellipsis; white-space: pre; }
.track { flex: 1; position: relative; }
.bar { background: var(--whole); height: 10px; min-width: 1px; position: absolute; top: 3px; }
.own { background: var(--own); height: 100%; }
.time { flex: 0 0 6rem; text-align: right; }
"""


def make_page(
    command: str, table: Sequence[Sequence[str]], sides: Mapping[str, Sequence[Import]]
) -> str:
    """The page; the first row of the table is its head. Everything is in it: it loads nothing."""
    scale = max((_end(imports) for imports in sides.values()), default=0) or 1
    waterfalls = "\n".join(_waterfall(name, imports, scale) for name, imports in sides.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>frozenfinder bench: {escape(command)}</title>
<style>
{STYLE}</style>
</head>
<body>
<h1>frozenfinder bench: <code>{escape(command)}</code></h1>
{_table(table)}
<h2>What changes most</h2>
{_table(_differences(*sides.values()))}
{waterfalls}
</body>
</html>
"""


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        cells = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _differences(stock: Sequence[Import], ours: Sequence[Import]) -> list[Sequence[str]]:
    """The modules whose own time differs most, a head first."""
    before = {each.name: each.own for each in stock}
    after = {each.name: each.own for each in ours}
    names = sorted(
        {*before, *after}, key=lambda name: (-abs(after.get(name, 0) - before.get(name, 0)), name)
    )
    rows: list[Sequence[str]] = [("module, by itself", "before", "after", "difference")]
    for name in names[:DIFFERENCES]:
        old, new = before.get(name), after.get(name)
        rows.append((name, _ms(old), _ms(new), f"{((new or 0) - (old or 0)) / 1e3:+.2f} ms"))
    return rows


def _ms(microseconds: int | None) -> str:
    return "" if microseconds is None else f"{microseconds / 1e3:.2f} ms"


def _end(imports: Iterable[Import]) -> int:
    return max((each.begin + each.whole for each in imports), default=0)


def _waterfall(name: str, imports: Sequence[Import], scale: int) -> str:
    """A side's longest imports in the order in which they began, on a common scale."""
    shortest = sorted((each.whole for each in imports), reverse=True)[:ROWS][-1:] or [0]
    shown = [each for each in imports if each.whole >= shortest[0]][:ROWS]
    rows = "\n".join(_row(each, scale) for each in shown)
    left = len(imports) - len(shown)
    rest = f", and {left} more that took less" if left else ""
    return f"""<h2>{escape(name)}: {_end(imports) / 1e3:.1f} ms in {len(imports)} imports</h2>
<div class="waterfall" data-side="{escape(name)}">
{rows}
</div>
<p>{len(shown)} imports{rest}. Bright is the module by itself, pale what it imports.</p>"""


def _row(each: Import, scale: int) -> str:
    label = "  " * each.depth + each.name
    title = f"{each.name}: {_ms(each.own)} by itself, {_ms(each.whole)} with what it imports"
    left, width = 100 * each.begin / scale, 100 * each.whole / scale
    own = 100 * each.own / each.whole if each.whole else 100
    return (
        f'<div class="row" title="{escape(title)}"><span class="name">{escape(label)}</span>'
        f'<span class="track"><div class="bar" style="left:{left:.3f}%;width:{width:.3f}%">'
        f'<div class="own" style="width:{own:.1f}%"></div></div></span>'
        f'<span class="time">{_ms(each.whole)}</span></div>'
    )
