"""The picture of the package, `docs/explanation/house.svg`, and the table beside it.

    python -m programs.house

The layers and the doors are those of `support.layers`. What a layer holds is the first sentence of
its docstring. The same sources give the same picture.
"""

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path

from support.layers import BOOT, BUILD, DOORS, PACKAGE, RUN_TIME, find_layer, find_modules

PAGE = Path(__file__).parent.parent.parent / "docs/explanation/house.md"
SVG = "http://www.w3.org/2000/svg"
PICTURE = PAGE.with_suffix(".svg")
TABLE = re.compile(r"(?<=\| half \| layer \| holds \|\n\|---\|---\|---\|\n)(?:\|.*\n)*")

FLOORS = (
    ("build", "Build half, makes registries. A program that only boots never imports it.", BUILD),
    (
        "later",
        "Run-time half, imported by functions when a program needs it (__init__.py: always).",
        tuple(layer for layer in RUN_TIME if layer not in BOOT),
    ),
    ("boot", "Run-time half, imported by every boot.", BOOT),
)
"""The style, the caption and the layers of each floor, from the roof to the ground."""

WIDTH = 1040
EDGE = 20  # around the house
WALL = 720  # where the rooms end and the space for the doors begins
PADDING = 10
LINE = 17  # the height of a line of text
CHIP = 20  # the height of the box of a module
GAP = 5  # between boxes
CAPTION = 32
ROOF = 56
NAME_WIDTH = 146  # of a layer's name, left of what it holds

LETTER = 6.2  # the width of a letter of the text, at most on average
CODE_LETTER = 6.7

STYLE = """\
.house { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1c2430 }
.house .code { font: 11px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.house .layer { font-weight: bold; font-size: 12px }
.house .caption { font-weight: bold; font-size: 13px }
.house .title { font-weight: bold; font-size: 18px; text-anchor: middle }
.house .quiet { fill: #55606e }
.house .paper { fill: #ffffff }
.house .build { fill: #fdf1dc; stroke: #d9a441 }
.house .later { fill: #e3eefb; stroke: #6b9fd8 }
.house .boot { fill: #dff3e4; stroke: #5dab74 }
.house .room { fill: #ffffff }
.house .door { fill: none; stroke: #b3403a; stroke-width: 2 }
.house .head { fill: #b3403a }
.house .down { fill: none; stroke: #55606e; stroke-width: 2 }
.house .down-head { fill: #55606e }
@media (prefers-color-scheme: dark) {
  .house { fill: #e4e8ee }
  .house .quiet { fill: #a5afbc }
  .house .paper { fill: #14171c }
  .house .build { fill: #3a2d14; stroke: #a67c2d }
  .house .later { fill: #16293f; stroke: #4a7cb3 }
  .house .boot { fill: #16321f; stroke: #468a5b }
  .house .room { fill: #1b2027 }
  .house .door { stroke: #ec8079 }
  .house .head { fill: #ec8079 }
  .house .down { stroke: #a5afbc }
  .house .down-head { fill: #a5afbc }
}
"""


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    return " ".join(re.split(r"(?<=[.!?])\s|\n\n", text.strip())[0].split())


def describe(layer: str) -> list[str]:
    """What a layer holds; a folder that is no package is described by each of its modules."""
    modules = find_modules()
    paths = [modules[layer]] if layer in modules else [modules[name] for name in find_rooms(layer)]
    found = [ast.get_docstring(ast.parse(path.read_text("utf-8"))) for path in paths]
    return [first_sentence(text or "") for text in found]


def find_rooms(layer: str) -> list[str]:
    """The modules in the folder of a layer, but for the package itself."""
    return [name for name in find_modules() if find_layer(name) == layer and name != layer]


def show(layer: str) -> str:
    """The layer as a reader of the tree sees it: `closed/` or `trust.py`."""
    path = layer.replace(".", "/")
    return f"{path}/" if (PACKAGE / path).is_dir() else f"{path}.py"


class Room:
    """A layer in the picture: its name, what it holds, and its modules in rows."""

    def __init__(self, layer: str) -> None:
        self.layer = layer
        room = WALL - EDGE - 4 * PADDING - NAME_WIDTH
        width = int(room / LETTER)
        text = [line for each in describe(layer) for line in textwrap.wrap(each, width)]
        self.lines = [line.replace("`", "") for line in text]
        self.rows = list(_fill_rows(find_rooms(layer), room))
        self.height = LINE * len(self.lines) + (CHIP + GAP) * len(self.rows) + 9

    def draw(self, top: int, style: str) -> Iterator[str]:
        left = EDGE + PADDING
        yield _box(left, top, WALL - left - PADDING, self.height, f"{style} room")
        yield _text(left + PADDING, top + LINE + 2, show(self.layer), "code layer")
        start = left + PADDING + NAME_WIDTH
        for number, line in enumerate(self.lines, 1):
            yield _text(start, top + LINE * number + 2, line)
        y = top + LINE * len(self.lines) + 8
        for row in self.rows:
            x = start
            for name in row:
                width = _measure_chip(name)
                yield _box(x, y, width, CHIP, f"{style} chip")
                yield _text(x + 7, y + 14, name, "code")
                x += width + GAP
            y += CHIP + GAP


def _fill_rows(modules: Iterable[str], room: int) -> Iterator[list[str]]:
    """The modules' own names, in rows that fit."""
    row: list[str] = []
    used = 0
    for module in modules:
        name = module.rpartition(".")[2]
        if row and used + _measure_chip(name) > room:
            yield row
            row, used = [], 0
        row.append(name)
        used += _measure_chip(name) + GAP
    if row:
        yield row


def _measure_chip(name: str) -> int:
    return int(len(name) * CODE_LETTER) + 14


def _box(x: int, y: int, width: int, height: int, style: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" class="{style}"/>'


def _text(x: int, y: int, text: str, style: str = "") -> str:
    attribute = f' class="{style}"' if style else ""
    return f'<text x="{x}" y="{y}"{attribute}>{escape(text, quote=False)}</text>'


def draw() -> str:
    """The picture, as SVG."""
    lines = [*_draw_roof()]
    y = EDGE + ROOF
    tops: dict[str, tuple[int, int]] = {}  # of each layer, its top and bottom
    for style, caption, layers in FLOORS:
        rooms = [Room(layer) for layer in reversed(layers)]
        height = CAPTION + sum(room.height + GAP for room in rooms) + GAP
        lines.append(_box(EDGE, y, WALL - EDGE, height, f"floor {style}"))
        lines.append(_text(EDGE + PADDING, y + 21, caption, "caption"))
        top = y + CAPTION
        for room in rooms:
            lines += room.draw(top, "boot" if room.layer == "__init__" else style)
            tops[room.layer] = (top, top + room.height)
            top += room.height + GAP
        y += height
    lines += _draw_direction(EDGE + ROOF, tops[RUN_TIME[-1]][0] - CAPTION)
    lines += _draw_doors(tops)
    height = y + EDGE
    return "\n".join(
        [
            f'<svg class="house" viewBox="0 0 {WIDTH} {height}" xmlns="{SVG}">',
            f"<style>\n{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" rx="8" class="paper"/>',
            *lines,
            "</svg>\n",
        ]
    )


def _draw_roof() -> Iterator[str]:
    middle = (EDGE + WALL) // 2
    wall = EDGE + ROOF
    yield f'<path d="M{EDGE - 10} {wall}L{middle} {EDGE - 8}L{WALL + 10} {wall}z" class="build"/>'
    yield _text(middle, wall - 14, "frozenfinder/", "title")


def _draw_direction(top: int, bottom: int) -> Iterator[str]:
    """The arrow beside the build half: imports run down."""
    x, y = WALL + 34, bottom - 24
    yield f'<path d="M{x} {top + 8}V{y}" class="down"/>'
    yield f'<path d="M{x - 7} {y}h14l-7 12z" class="down-head"/>'
    words = (
        "Imports run down: a layer",
        "imports what is below it,",
        "and nothing above it.",
        "",
        "The exceptions are the doors,",
        "in red. Each one is an import",
        "inside a function, which runs",
        "only in programs that need it.",
    )
    for number, line in enumerate(words, 1):
        yield _text(x + 18, top + 4 + LINE * number, line, "quiet")


def _draw_doors(tops: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """An arrow from the right side of a layer up to that of each layer that it has a door to.

    The doors of one layer are evenly distributed over its height.
    """
    layers = [find_layer(target) for _, target in DOORS]
    sources = list(dict.fromkeys(find_layer(module) for module, _ in DOORS))
    for number, source in enumerate(sources):
        x = WALL + 18 + 8 * number
        start = sum(tops[source]) // 2
        yield f'<path d="M{WALL - PADDING} {start}H{x}" class="door"/>'
        for at, ((module, target), reason) in enumerate(DOORS.items()):
            if find_layer(module) == source:
                top, bottom = tops[layers[at]]
                before = layers[:at].count(layers[at])
                y = top + (bottom - top) * (2 * before + 1) // (2 * layers.count(layers[at]))
                yield f'<path d="M{x} {start}V{y}H{WALL - PADDING + 10}" class="door"/>'
                yield f'<path d="M{WALL - PADDING} {y}l12 -6v12z" class="head"/>'
                yield from _draw_reason(x + 10, y, f"{module} →", target, reason)


def _draw_reason(x: int, y: int, module: str, target: str, reason: str) -> Iterator[str]:
    lines = textwrap.wrap(f"if {reason}".replace("`", ""), int((WIDTH - x - 8) / LETTER))
    yield _text(x, y - 4, f"{module} {target}", "code")
    for number, line in enumerate(lines, 1):
        yield _text(x, y - 4 + LINE * number, line, "quiet")


def write_table() -> str:
    """The rows of the page's table, highest layer first, as in the picture."""
    halves = [("build", BUILD[::-1]), ("run time", RUN_TIME[::-1])]
    return "".join(
        f"| {half} | `{layer}` | {' '.join(describe(layer))} |\n"
        for half, layers in halves
        for layer in layers
    )


def fill_page(page: str) -> str:
    """The page with the rows of its table as they ought to be."""
    return TABLE.sub(lambda _: write_table(), page)


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    PAGE.write_text(fill_page(PAGE.read_text("utf-8")), encoding="utf-8")
