"""The plots of the figures that `speed.py` has written: bars of ratios to stock, as SVG."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from sides import LABELS, SIDES

from frozenfinder.bench import Comparison

COLOURS = {
    "overlay": "#c2410c",
    "closed": "#ea580c",
    "run": "#fdba74",
    "fast_exit": "#fbbf24",
    "floor": "#64748b",
    "zip": "#0891b2",
    "pyinstaller": "#4f46e5",
    "pycds": "#16a34a",
}
BAR, GAP, LEFT, WIDTH, HEIGHT = 12, 14, 44, 880, 300


def draw(sides: Sequence[str], found: Mapping[str, Mapping[str, Comparison]]) -> str:
    """Bars by workload and side; stock is a line at 1, the quartiles are lines on the bars."""
    highest = max((each.high for group in found.values() for each in group.values()), default=1)
    top = min(max(1.2, highest), 2.0)

    def y(ratio: float) -> float:
        return HEIGHT - 60 - (HEIGHT - 90) * min(ratio, top) / top

    shapes = list(draw_axis(y, top))
    x = LEFT + GAP
    for name, group in found.items():
        begin = x
        for side, each in group.items():
            shapes.append(draw_bar(x, y, side, each, f"{name}, {SIDES[side]}"))
            x += BAR
        shapes.append(text((begin + x) / 2, HEIGHT - 44, name, "middle"))
        x += GAP
    x = LEFT
    for side in sides:
        if any(side in group for group in found.values()):
            shapes.append(
                f'<rect x="{x}" y="{HEIGHT - 20}" width="10" height="10" fill="{COLOURS[side]}"/>'
            )
            shown = LABELS.get(side, side)
            shapes.append(text(x + 14, HEIGHT - 11, shown, "start"))
            x += 30 + 8 * len(shown)
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="#64748b">\n{body}\n</svg>\n'
    )


def draw_axis(y: Callable[[float], float], top: float) -> Iterator[str]:
    for step in range(int(top / 0.25) + 1):
        ratio = step * 0.25
        stroke, width = ("#94a3b8", 1.5) if ratio == 1 else ("#cbd5e1", 0.5)
        yield (
            f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y(ratio):.1f}" y2="{y(ratio):.1f}" '
            f'stroke="{stroke}" stroke-width="{width}"/>'
        )
        yield text(LEFT - 6, y(ratio) + 4, f"{ratio:.2f}", "end")


def draw_bar(x: float, y: Callable[[float], float], side: str, each: Comparison, title: str) -> str:
    middle = x + BAR / 2 - 1
    return (
        f"<g><title>{escape(title)}: {each.ratio:.2f} ({each.low:.2f} to {each.high:.2f})</title>"
        f'<rect x="{x}" y="{y(each.ratio):.1f}" width="{BAR - 2}" '
        f'height="{y(0) - y(each.ratio):.1f}" fill="{COLOURS[side]}"/>'
        f'<line x1="{middle}" x2="{middle}" y1="{y(each.low):.1f}" y2="{y(each.high):.1f}" '
        'stroke="#0f172a"/></g>'
    )


def text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
