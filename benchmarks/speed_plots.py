"""The plots of the figures that `speed.py` has written: ratios to stock, as SVG.

python benchmarks/speed_plots.py      draws them anew from what was measured

The same figures give the same bytes. The background is transparent, and every colour has a contrast
of at least 3 to white and to the dark background of the pages. Text stays text, each side has a
marker of its own, and the tables of the page have all the numbers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from speed_page import IMPORT_SIDES, WHOLE_SIDES, compare_sides

from frozenfinder.bench import Comparison

LOOKS = {
    "overlay": ("o", "#c2410c"),
    "closed": ("s", "#ea580c"),
    "enable": ("<", "#a16207"),
    "enable --fast-exit": (">", "#0d9488"),
    "run --fast-exit=off": ("^", "#db2777"),
    "run": ("v", "#9333ea"),
    "run --fast-exit=hard": ("1", "#dc2626"),
    "floor": ("_", "#777b82"),
    "zip": ("D", "#0891b2"),
    "pyinstaller": ("X", "#2563eb"),
    "pycds": ("P", "#16a34a"),
}
"""Of each side its marker and colour."""

TEXT = "#777b82"
SETTINGS = {
    "svg.hashsalt": "frozenfinder",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "lines.markersize": 5,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
}
PLOTS = (
    ("wall", "Time of the whole process, files in memory", WHOLE_SIDES),
    ("imports", "Time of the imports, files in memory", IMPORT_SIDES),
)
"""Of each what it shows, its title and its sides."""


def write(folder: Path) -> Iterator[Path]:
    """Draw the plots of all figures in a folder beside them; what was written."""
    for file in sorted(folder.glob("cpython-*.json"), key=lambda file: file.name):
        figures = json.loads(file.read_text("utf-8"))
        for field, title, sides in PLOTS:
            found = {
                name: compare_sides(workload.get("warm", {}), field)
                for name, workload in figures["workloads"].items()
            }
            plot = folder / f"{file.stem}-{field}.svg"
            draw(plot, f"{title}, Python {figures['machine']['python']}", sides, found)
            yield plot


def draw(
    file: Path, title: str, sides: Sequence[str], found: Mapping[str, Mapping[str, Comparison]]
) -> None:
    """Draw medians with their quartiles, by workload and side; stock is the line at 1."""
    shown = [side for side in sides if any(side in group for group in found.values())]
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(9, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.set_ylabel("ratio to stock, below 1 is faster")
        axes.set_xticks(range(len(found)), list(found))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(axis="y", color=TEXT, alpha=0.35, linewidth=0.5)
        axes.axhline(1, color=TEXT, linewidth=1.5)
        for number, side in enumerate(shown):
            place = (number - (len(shown) - 1) / 2) * 0.8 / len(shown)
            groups = {
                workload + place: group[side]
                for workload, group in enumerate(found.values())
                if side in group
            }
            marker, colour = LOOKS[side]
            medians = [each.ratio for each in groups.values()]
            lows = [each.low for each in groups.values()]
            highs = [each.high for each in groups.values()]
            axes.vlines(list(groups), lows, highs, colors=colour)
            axes.plot(list(groups), medians, marker, color=colour, label=side)
        if shown:
            figure.legend(loc="outside lower center", ncols=len(shown), frameon=False)
        metadata = {"Title": f"{title}: ratios to stock", "Date": None, "Creator": None}
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)


if __name__ == "__main__":
    for path in write(Path(__file__).parent.parent / "docs" / "explanation" / "speed"):
        print(f"wrote {path}")
