"""The page of the figures that `speed.py` has written: tables, plots, and what was hoped for.

python benchmarks/speed_page.py      writes the page anew from what was measured
"""

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sides import SIDES

from frozenfinder.bench import Comparison, compare

Figures = dict[str, Any]

HEAD = """\
# Speed

What importing takes with a registry, beside stock and beside other ways of having code in one file.
This page is written by `tox -e speed`, a command that measures everything on it.

Each figure is of fresh processes. The sides of a workload take turns, so that what else the machine
does meets them all, and a ratio is the median of the ratios to stock within the rounds; behind it
are its quartiles. Below 1 is faster than stock. All that a side needs to be set up is included:
frozenfinder's own import, the opening of the registry, the directory of the zip file.

| side | |
|---|---|
| `stock` | CPython as it is, with every `.pyc` in its place |
| `overlay`, `closed` | the program's first line installs the registry |
| `run` | `python -m frozenfinder run --mode=closed`; only the whole process compares |
| `floor` | the same bodies, from code objects in memory: no importer can be faster |
| `zip` | the registry's code as `.pyc` files in a zip file that is not compressed |
| `pyinstaller` | PyInstaller's folder with its archive; only the whole process compares |
| `pycds` | code-data-share, a mapped file of code objects; up to Python 3.12 |

The registry of a workload has the standard library and the distribution with all that it depends
on. What the imports need lies first in it, in the order in which they need it.
"""

TRIED = """\
## What stands in the way

Where a figure is not what was hoped for, this is what is known of the reason. The figures here were
taken one by one on 3.13, on a machine with other work to do; they tell proportions.

Of the 150 ms of CPU time that stock needs for `django.db.models`, bodies take about 95, with the
collector's share of 5 in them. Unmarshalling takes 24, of the registry's code as of the `.pyc`
files': writing equal objects once makes the blobs 1 % smaller and no quicker to read. This is the
largest part of what lies between overlay and the floor, and nothing in pure Python avoids it.

| what | it costs | or saves |
|---|---|---|
| frozenfinder's own import, 12 modules | 2 ms for each process | |
| the digest of each blob, which keeps damaged bytes from `marshal` | 3 ms for 289 modules | |
| one `stat` for each module, which keeps overlay's promise | 0.4 ms for 319 modules | |
| the collector's threshold raised, and promotion after it | | 5 % of the CPU time |
| regular expressions compiled when they were frozen | 0.6 ms for 79 of Flask's 88 | 9 ms |
| look-ups that remember the shard and decode less | 2.5 µs each | 2 µs each |
| code of a recorded boot read in windows of 256 KB | | all but one read for about 13 modules |
| `run --fast-exit` | | 50 of 194 ms of a process |

Raising the threshold alone saved nothing: the collection after the outermost import took as long.
"""

IMPORT_SIDES = ("overlay", "closed", "floor", "zip", "pycds")
WHOLE_SIDES = ("overlay", "closed", "run", "zip", "pyinstaller", "pycds")
OURS = ("overlay", "closed")
TABLES = (
    ("The imports, files in memory", "warm", "imports", IMPORT_SIDES),
    ("The whole process, files in memory", "warm", "wall", WHOLE_SIDES),
    ("CPU time of the whole process", "warm", "cpu", WHOLE_SIDES),
    ("The imports, page cache empty", "cold", "imports", OURS),
    ("The whole process, page cache empty", "cold", "wall", (*OURS, "run")),
    ("The imports, a millisecond for each look at a file", "slow", "imports", OURS),
    ("The whole process, a millisecond for each look at a file", "slow", "wall", (*OURS, "run")),
)
"""Of each its title, and what it shows of which sides."""

PEERS = ("zip", "pyinstaller", "pycds")


def write(folder: Path) -> Iterator[Path]:
    """Write the page beside the folder, and the plots into it; what was written."""
    files = sorted(folder.glob("cpython-*.json"), key=lambda file: file.name)
    parts = [HEAD]
    for file in files:
        figures: Figures = json.loads(file.read_text("utf-8"))
        parts += describe(figures, file.stem, folder.name)
        for kind in ("imports", "wall"):
            plot = folder / f"{file.stem}-{kind}.svg"
            plot.write_text(draw(figures, kind), "utf-8")
            yield plot
    parts.append(TRIED)
    page = folder.with_suffix(".md")
    page.write_text("\n".join(parts), "utf-8")
    yield page


def describe(figures: Figures, stem: str, folder: str) -> Iterator[str]:
    """The part of the page that is about one version of Python."""
    machine = figures["machine"]
    yield f"## Python {machine['python']}\n"
    yield (
        f"{machine['system']}, {machine['processor']}, {machine['cpus']} CPUs, load before "
        f"{machine['load']:.1f}; {figures['pairs']} rounds.\n"
    )
    workloads = figures["workloads"]
    for title, kind, field, sides in TABLES:
        rows = list(compare_workloads(workloads, kind, field, sides))
        if rows:
            yield f"### {title}\n"
            if kind == "warm" and field in ("imports", "wall"):
                yield f"![{title}, by workload and side]({folder}/{stem}-{field}.svg)\n"
            yield table(["", "stock, ms", *sides], rows)
    yield from describe_calls(figures)
    yield from describe_instructions(workloads)
    yield from describe_missing(workloads)
    yield "### What was hoped for\n"
    yield table(["", "hoped for", "measured"], judge(figures))


def compare_workloads(
    workloads: Figures, kind: str, field: str, sides: Sequence[str]
) -> Iterator[list[str]]:
    """A row for each workload that was measured so, and one of the medians."""
    ratios: dict[str, list[float]] = {side: [] for side in sides}
    for name, workload in workloads.items():
        found = compare_sides(workload.get(kind, {}), field, sides)
        if not found:
            continue
        stock = statistics.median(workload[kind]["stock"][field]) * 1e3
        cells = []
        for side in sides:
            if (each := found.get(side)) is not None:
                ratios[side].append(each.ratio)
            cells.append(
                "" if each is None else f"{each.ratio:.2f} ({each.low:.2f} to {each.high:.2f})"
            )
        yield [name, f"{stock:.1f}", *cells]
    if any(ratios.values()):
        yield [
            "median",
            "",
            *(f"{statistics.median(each):.2f}" if each else "" for each in ratios.values()),
        ]


def compare_sides(measured: Figures, field: str, sides: Iterable[str]) -> dict[str, Comparison]:
    stock = measured.get("stock")
    if stock is None:
        return {}
    return {
        side: compare(stock[field], measured[side][field]) for side in sides if side in measured
    }


def describe_calls(figures: Figures) -> Iterator[str]:
    """System calls for each module that was served, over those of `python -c pass`."""
    nothing = figures.get("nothing", {}).get("files")
    rows = []
    for name, workload in figures["workloads"].items():
        calls = workload.get("calls", {})
        if nothing is None or "stock" not in calls:
            continue
        row = [name]
        served = workload["warm"]["overlay"]["served"][0] if "overlay" in workload["warm"] else 0
        for side in ("stock", "overlay", "closed", "zip"):
            if side in calls:
                each = (calls[side]["files"] - nothing) / (served or 1)
                row.append(f"{calls[side]['all']} / {calls[side]['files']} / {each:.1f}")
            else:
                row.append("")
        rows.append(row)
    if rows:
        yield "### System calls\n"
        yield (
            "All of them, those on files, and these for each served module, without those of "
            "`python -c pass`.\n"
        )
        yield table(["", "stock", "overlay", "closed", "zip"], rows)


def describe_instructions(workloads: Figures) -> Iterator[str]:
    rows = []
    for name, workload in workloads.items():
        counts = workload.get("instructions", {})
        if "stock" in counts:
            ratios = (
                f"{counts[side] / counts['stock']:.2f}" if side in counts else ""
                for side in WHOLE_SIDES
            )
            rows.append([name, f"{counts['stock'] / 1e6:.0f}", *ratios])
    if rows:
        yield "### Instructions of the whole process\n"
        yield table(["", "stock, millions", *WHOLE_SIDES], rows)


def describe_missing(workloads: Figures) -> Iterator[str]:
    """Which sides could not take part, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, workload in workloads.items():
        for side, reason in workload["unavailable"].items():
            reasons.setdefault((side, reason), []).append(name)
    if reasons:
        yield "Not measured:\n"
        for (side, reason), names in reasons.items():
            where = "" if len(names) == len(workloads) else f" with {', '.join(names)}"
            yield f"- `{side}`{where}: {reason}"
        yield ""


def judge(figures: Figures) -> Iterator[list[str]]:
    """What was hoped for, and what was measured of it."""
    workloads: Mapping[str, Figures] = figures["workloads"]

    def ratios(kind: str, field: str, side: str, to: str = "stock") -> list[float]:
        found = []
        for workload in workloads.values():
            measured = workload.get(kind, {})
            if side in measured and to in measured:
                found.append(compare(measured[to][field], measured[side][field]).ratio)
        return found

    for what, limit, kind, field, (side, to), summary in HOPES:
        if values := ratios(kind, field, side, to):
            yield [what, f"at most {limit:.2f}", f"{summary(values):.2f}"]
    for side in PEERS:
        field, ours = ("imports", "overlay") if side != "pyinstaller" else ("wall", "run")
        if values := ratios("warm", field, ours, side):
            yield [f"{ours} over `{side}`, {field}, worst", "below 1", f"{max(values):.2f}"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


MEDIAN = statistics.median
HOPES: tuple[tuple[str, float, str, str, tuple[str, str], Callable[[list[float]], float]], ...] = (
    ("overlay, imports, median", 0.75, "warm", "imports", ("overlay", "stock"), MEDIAN),
    ("overlay, imports, worst", 0.85, "warm", "imports", ("overlay", "stock"), max),
    ("`run`, whole process, median", 0.65, "warm", "wall", ("run", "stock"), MEDIAN),
    ("overlay over floor, imports, worst", 1.35, "warm", "imports", ("overlay", "floor"), max),
    ("overlay, imports, cold, median", 0.5, "cold", "imports", ("overlay", "stock"), MEDIAN),
    ("closed, imports, cold, median", 0.5, "cold", "imports", ("closed", "stock"), MEDIAN),
    ("overlay, imports, slow, median", 0.25, "slow", "imports", ("overlay", "stock"), MEDIAN),
    ("closed, imports, slow, median", 0.08, "slow", "imports", ("closed", "stock"), MEDIAN),
)
"""Of each the most that is hoped for, and what of it is measured how."""

COLOURS = {
    "overlay": "#c2410c",
    "closed": "#ea580c",
    "run": "#fdba74",
    "floor": "#64748b",
    "zip": "#0891b2",
    "pyinstaller": "#4f46e5",
    "pycds": "#16a34a",
}
BAR, GAP, LEFT, WIDTH, HEIGHT = 12, 14, 44, 880, 300


def draw(figures: Figures, field: str) -> str:
    """Bars of the ratios to stock, which is a line at 1; the quartiles are lines on the bars."""
    sides = IMPORT_SIDES if field == "imports" else WHOLE_SIDES
    found = {
        name: compare_sides(workload.get("warm", {}), field, sides)
        for name, workload in figures["workloads"].items()
    }
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
            shapes.append(text(x + 14, HEIGHT - 11, side, "start"))
            x += 30 + 8 * len(side)
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


if __name__ == "__main__":
    for path in write(Path(__file__).parent.parent / "docs" / "explanation" / "speed"):
        print(f"wrote {path}")
