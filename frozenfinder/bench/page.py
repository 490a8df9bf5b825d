"""The page of a measurement: its tables, and an import waterfall of each side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from frozenfinder.freezer.html import Html, document, element, table

from .importtime import TimedImport

ROWS = 120
"""How many imports a waterfall shows: the longest ones."""

DIFFERENCES = 20
"""How many modules the table of differences lists."""


def make_page(
    command: str, figures: Sequence[Sequence[str]], sides: Mapping[str, Sequence[TimedImport]]
) -> str:
    """An HTML document that loads no other files; the first row of `figures` has the titles."""
    scale = max((_end(imports) for imports in sides.values()), default=0) or 1
    return document(
        f"frozenfinder bench: {command}",
        element("h1", "frozenfinder bench: ", element("code", command)),
        _table(figures),
        element("h2", "Largest differences"),
        _table(_differences(*sides.values())),
        *(part for name, imports in sides.items() for part in _waterfall(name, imports, scale)),
    )


def _table(rows: Sequence[Sequence[str]]) -> Html:
    """A table whose first row has the titles and whose first column has names."""
    head, *others = rows
    return table(head, others, range(1, len(head)))


def _differences(stock: Sequence[TimedImport], ours: Sequence[TimedImport]) -> list[Sequence[str]]:
    """The modules whose own time differs most; the first row has the titles."""
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


def _end(imports: Iterable[TimedImport]) -> int:
    return max((each.begin + each.whole for each in imports), default=0)


def _waterfall(name: str, imports: Sequence[TimedImport], scale: int) -> Iterator[Html]:
    """The longest imports of a side in the order in which they began, on a common scale."""
    shortest = sorted((each.whole for each in imports), reverse=True)[:ROWS][-1:] or [0]
    shown = [each for each in imports if each.whole >= shortest[0]][:ROWS]
    left = len(imports) - len(shown)
    rest = f", and {left} shorter ones" if left else ""
    yield element("h2", f"{name}: {_end(imports) / 1e3:.1f} ms in {len(imports)} imports")
    rows = (_row(each, scale) for each in shown)
    yield element("div", *rows, class_="waterfall", data_side=name)
    yield element(
        "p",
        f"{len(shown)} imports{rest}. Bright: the module itself. Pale: what it imports.",
    )


def _row(each: TimedImport, scale: int) -> Html:
    title = f"{each.name}: {_ms(each.own)} by itself, {_ms(each.whole)} with what it imports"
    left, width = 100 * each.begin / scale, 100 * each.whole / scale
    own = 100 * each.own / each.whole if each.whole else 100
    bar = element(
        "div",
        element("div", class_="own", style=f"width:{own:.1f}%"),
        class_="bar",
        style=f"left:{left:.3f}%;width:{width:.3f}%",
    )
    return element(
        "div",
        element("span", "  " * each.depth + each.name, class_="name"),
        element("div", bar, class_="track"),
        element("span", _ms(each.whole), class_="time"),
        class_="row",
        title=title,
    )
