"""The pages of the figures that `speed.py` and `commands.py` have written.

python benchmarks/speed_page.py      writes the pages anew from what was measured

Each version of Python has a page of all its tables. The pages about speed and bundles and README
have the tables that sum them up, between `<!-- table: NAME -->` and `<!-- end of table -->`; the
words around them are written by hand.
"""

import json
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sides import BUNDLES, ENABLES, RUNS
from tricks import CHECKS, TRICKS, Trick

from frozenfinder.bench import Comparison, compare

Figures = dict[str, Any]
Row = tuple[list[str], dict[str, str]]
"""The first cells of a row, and by side the others."""

IMPORT_SIDES = ("overlay", "closed", "floor", "zip", "pycds")
WHOLE_SIDES = (*ENABLES, "overlay", "closed", *RUNS, "zip", "pyinstaller", "pycds")
KINDS = {
    "warm": "files in memory",
    "no-pyc": "no `.pyc` files",
    "cold": "page cache empty",
    "slow": "each `stat` and `open` delayed by 1 ms",
}
"""The parts of the benchmark that the same tables show."""

PLOTTED = ("wall", "imports")
TABLES = (
    *((f"The whole process, {words}", kind, "wall", WHOLE_SIDES) for kind, words in KINDS.items()),
    ("CPU time of the whole process, files in memory", "warm", "cpu", WHOLE_SIDES),
    *((f"The imports, {words}", kind, "imports", IMPORT_SIDES) for kind, words in KINDS.items()),
    ("Peak memory, files in memory", "warm", "memory", WHOLE_SIDES),
)
"""Of each its title, and what it shows of which sides. A side that nobody measured is no column."""

COMMAND_PEERS = ("zipapp", "shiv", "pex", "pex --venv", "pyinstaller")
COMMAND_SIDES = (*ENABLES, *RUNS, *BUNDLES, *COMMAND_PEERS)
BUNDLE_PEERS = ("stock", "shiv", "pex --venv", "pex", "zipapp", "pyinstaller")
MODES = {"compiled": "every `.pyc` file is there", "no-pyc": "no `.pyc` files"}
"""Those of `commands.py`."""

UNITS = {
    "imports": ("ms", 1e3),
    "wall": ("ms", 1e3),
    "cpu": ("ms", 1e3),
    "memory": ("MB", 1 / 1024),
}
"""Of what is measured its unit on the page, and how many of them one is."""


def write(folder: Path) -> Iterator[Path]:
    """Write all tables; the plots in the folder are those of `speed_plots`. What was written."""
    for file in find_figures(folder):
        page = file.with_suffix(".md")
        page.write_text("\n".join(describe(read(file), file.stem)), "utf-8")
        yield page
    tables = read_tables(folder)
    for page in find_marked(folder):
        page.write_text(fill(page.read_text("utf-8"), tables), "utf-8")
        yield page


def find_marked(folder: Path) -> list[Path]:
    """The pages with marked tables."""
    explanation = folder.parent
    return [
        explanation / "speed.md",
        explanation / "bundles.md",
        explanation.parent.parent / "README.md",
    ]


def find_figures(folder: Path) -> list[Path]:
    """The files of figures, of the newest version first."""
    return sorted(folder.glob("cpython-*.json"), key=lambda file: file.name, reverse=True)


def read(file: Path) -> Figures:
    figures: Figures = json.loads(file.read_text("utf-8"))
    return figures


def read_tables(folder: Path) -> dict[str, str]:
    """The tables that sum all figures up, by name."""
    return summarise({find_version(file.stem): read(file) for file in find_figures(folder)})


def find_version(stem: str) -> str:
    """Of `cpython-313` it is 3.13."""
    tag = stem.removeprefix("cpython-")
    return f"{tag[0]}.{tag[1:]}"


def fill(text: str, tables: Mapping[str, str]) -> str:
    """The text with its marked tables renewed; without figures for it, one stays. KeyError."""
    pattern = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(?=<!-- end of table -->)", re.DOTALL)

    def renew(found: re.Match[str]) -> str:
        table = tables[found[2]]
        return f"{found[1]}\n{table}\n" if table else found[0]

    return pattern.sub(renew, text)


def summarise(measured: Mapping[str, Figures]) -> dict[str, str]:
    """The marked tables by name, from the figures by version, newest first."""
    newest = dict(list(measured.items())[:1])
    first = (*ENABLES, "overlay", *RUNS[:2])
    return {
        "whole": tabulate([""], sum_up(measured, "wall"), WHOLE_SIDES),
        "imports": tabulate([""], sum_up(measured, "imports"), IMPORT_SIDES),
        "commands": tabulate([""], sum_up_commands(measured), COMMAND_SIDES),
        "bundles": tabulate(["", "MB", "shiv, MB"], compare_bundles(measured), BUNDLE_PEERS),
        "first": tabulate([""], [*sum_up_commands(newest), *sum_up(newest, "wall")], first),
    }


def sum_up(measured: Mapping[str, Figures], field: str) -> list[Row]:
    """Of each part and version the medians of all workloads, with the least and the greatest."""
    rows = []
    for kind, words in KINDS.items():
        for version, figures in measured.items():
            workloads = figures["workloads"].values()
            found = [compare_sides(each.get(kind, {}), field) for each in workloads]
            cells = spread(found, statistics.median)
            if cells:
                count = sum(map(bool, found))
                rows.append(([f"{count} imports, {words}, {version}: median"], cells))
    return rows


def sum_up_commands(measured: Mapping[str, Figures]) -> list[Row]:
    """Of each mode and version the geometric means of all commands."""
    rows = []
    for mode, words in MODES.items():
        for version, figures in measured.items():
            programs = figures.get("commands", {}).get("programs", {}).values()
            found = [compare_sides(each.get(mode, {}), "wall") for each in programs]
            cells = spread(found, statistics.geometric_mean)
            if cells:
                what = f"{len(found)} commands, {words}, {version}: geometric mean"
                rows.append(([what], cells))
    return rows


def compare_bundles(measured: Mapping[str, Figures]) -> list[Row]:
    """Of each version and command the sizes, and the time of the bundle over that of each peer."""
    rows: list[Row] = []
    for version, figures in measured.items():
        for name, program in figures.get("commands", {}).get("programs", {}).items():
            times = {side: each["wall"] for side, each in program.get("compiled", {}).items()}
            if "bundle" in times:
                sizes = [program["sizes"].get(side) for side in ("bundle", "shiv")]
                shown = ["" if size is None else f"{size / 1e6:.1f}" for size in sizes]
                cells = {side: show(compare(each, times["bundle"])) for side, each in times.items()}
                rows.append(([f"{name}, {version}", *shown], cells))
    return rows


def spread(
    found: Iterable[Mapping[str, Comparison]], middle: Callable[[list[float]], float]
) -> dict[str, str]:
    """By side the middle of its ratios to stock, with the least and the greatest."""
    ratios: dict[str, list[float]] = {}
    for each in found:
        for side, comparison in each.items():
            ratios.setdefault(side, []).append(comparison.ratio)
    return {
        side: f"{middle(each):.2f} ({min(each):.2f} to {max(each):.2f})"
        for side, each in ratios.items()
    }


def tabulate(head: Sequence[str], rows: Sequence[Row], sides: Iterable[str]) -> str:
    """A table of the sides of which a row has something; the first columns have a head."""
    if not rows:
        return ""
    shown = [side for side in sides if any(side in cells for _, cells in rows)]
    lines = ([*first, *(cells.get(side, "") for side in shown)] for first, cells in rows)
    return table([*head, *(f"`{side}`" for side in shown)], lines)


def describe(figures: Figures, stem: str) -> Iterator[str]:
    """The page of one version of Python."""
    yield f"# All figures of Python {find_version(stem)}\n"
    yield "`tox -e speed,commands` writes this page. [Speed](../speed.md) explains it.\n"
    if "commands" in figures:
        yield "## Commands\n"
        yield from describe_commands(figures["commands"])
    workloads = figures["workloads"]
    if workloads:
        yield "## Imports\n"
        yield describe_machine(figures["machine"], figures["pairs"])
    for title, kind, field, sides in TABLES:
        rows = compare_workloads(workloads, kind, field)
        if rows:
            yield f"### {title}\n"
            if kind == "warm" and field in PLOTTED:
                yield f"![{title}, by workload and side]({stem}-{field}.svg)\n"
            yield tabulate(["", f"stock, {UNITS[field][0]}"], rows, sides)
    yield from describe_calls(figures)
    yield from describe_instructions(workloads)
    yield from describe_tricks(workloads)
    yield from describe_shares(workloads)
    yield from describe_costs(figures.get("costs", {}))
    yield from describe_missing(workloads)
    if judged := list(judge(figures)):
        yield "### Targets\n"
        yield table(["", "target", "measured"], judged)


def describe_machine(machine: Figures, rounds: int) -> str:
    return (
        f"Python {machine['python']}, {machine['system']}, {machine['processor']}, "
        f"{machine['cpus']} CPUs, load before {machine['load']:.1f}; {rounds} rounds.\n"
    )


def describe_commands(commands: Figures) -> Iterator[str]:
    """The tables of `commands.py`."""
    programs: Figures = commands["programs"]
    yield describe_machine(commands["machine"], commands["rounds"])
    for mode, words in MODES.items():
        for field, what in (("wall", "The whole process"), ("cpu", "CPU time")):
            rows = compare_workloads(programs, mode, field, statistics.geometric_mean)
            if rows:
                yield f"### {what}, {words}\n"
                yield tabulate(["", "stock, ms"], rows, COMMAND_SIDES)
        measured = {name: each[mode] for name, each in programs.items() if mode in each}
        if measured:
            yield f"### The first run, ms, {words}\n"
            yield tabulate([""], describe_first_runs(measured), ("stock", *COMMAND_SIDES))
    rows = [
        ([name], {side: f"{size / 1e6:.1f}" for side, size in each["sizes"].items()})
        for name, each in programs.items()
    ]
    if any(cells for _, cells in rows):
        yield "### The size of one file, MB\n"
        yield tabulate([""], rows, COMMAND_SIDES)
    yield from describe_missing(programs)


def describe_first_runs(measured: Figures) -> list[Row]:
    """Of each command the first run with empty caches, which is one run, and no median."""
    return [
        ([name], {side: f"{each['first'] * 1e3:.0f}" for side, each in sides.items()})
        for name, sides in measured.items()
    ]


def compare_workloads(
    workloads: Figures,
    kind: str,
    field: str,
    middle: Callable[[list[float]], float] = statistics.median,
) -> list[Row]:
    """A row for each workload that was measured so, and one of them all."""
    rows: list[Row] = []
    found = {name: compare_sides(each.get(kind, {}), field) for name, each in workloads.items()}
    for name, compared in found.items():
        if compared:
            stock = statistics.median(workloads[name][kind]["stock"][field]) * UNITS[field][1]
            rows.append(
                ([name, f"{stock:.1f}"], {side: show(each) for side, each in compared.items()})
            )
    if rows:
        title = "median" if middle is statistics.median else "geometric mean"
        rows.append(([title, ""], spread(found.values(), middle)))
    return rows


def compare_sides(measured: Figures, field: str) -> dict[str, Comparison]:
    """By side what was measured of it beside stock."""
    stock = measured.get("stock", {})
    if field not in stock:
        return {}
    return {
        side: compare(stock[field], each[field])
        for side, each in measured.items()
        if side != "stock"
    }


def show(each: Comparison) -> str:
    return f"{each.ratio:.2f} ({each.low:.2f} to {each.high:.2f})"


def describe_calls(figures: Figures) -> Iterator[str]:
    """System calls, and for each module that was served those on files."""
    sides = ("stock", "overlay", "closed", "floor", "zip")
    rows = []
    for name, workload in figures["workloads"].items():
        row = []
        for side in sides:
            each = calls_each(figures, name, side)
            calls = workload.get("calls", {}).get(side)
            row.append("" if each is None else f"{calls['all']} / {calls['files']} / {each:.1f}")
        if any(row):
            rows.append([name, *row])
    if rows:
        yield "### System calls\n"
        yield (
            "All calls / calls on files / calls on files for each served module, without those of\n"
            "`python -c pass`. Most of the calls of `floor` are made by module bodies.\n"
        )
        yield table(["", *sides], rows)


def describe_instructions(workloads: Figures) -> Iterator[str]:
    rows: list[Row] = []
    for name, workload in workloads.items():
        counts = workload.get("instructions", {})
        if "stock" in counts:
            ratios = {side: f"{count / counts['stock']:.2f}" for side, count in counts.items()}
            rows.append(([name, f"{counts['stock'] / 1e6:.0f}"], ratios))
    if rows:
        yield "### Instructions of the whole process\n"
        yield tabulate(["", "stock, millions"], rows, WHOLE_SIDES)


def describe_tricks(workloads: Figures) -> Iterator[str]:
    """What overlay is without each of its tricks, over what it is with all of them."""
    measured = {
        name: each for name, each in workloads.items() if "overlay" in each.get("tricks", ())
    }
    if not measured:
        return
    yield "### What each optimisation saves, and what each check costs\n"
    yield (
        "Overlay without this part, divided by overlay with it: import time / instructions of the\n"
        "whole process outside the kernel / system calls on files. Above 1, the part saves that\n"
        "much; below 1, it costs that much.\n"
    )
    rows = (
        [trick.what, describe_switch(trick), *(weigh(each, trick) for each in measured.values())]
        for trick in (*TRICKS, *CHECKS)
    )
    yield table(["", "switched off by", *measured], rows)


def describe_switch(trick: Trick) -> str:
    if trick.registry == "unordered":
        return f"`freeze` without `--trace`; both without `{trick.switch}`"
    if trick.switch:
        return f"`FROZENFINDER_WITHOUT={trick.switch}`"
    return "a patch of the benchmark" if trick.patch else "a registry of one shard"


def weigh(workload: Figures, trick: Trick) -> str:
    """The ratios of times, of instructions and of calls, without a trick over with it."""
    times = workload["tricks"]
    if trick.name not in times or trick.beside not in times:
        return ""  # measured before there was this trick
    shown = [show(compare(times[trick.beside]["imports"], times[trick.name]["imports"]))]
    instructions = workload.get("instructions", {})
    files = {side: each["files"] for side, each in workload.get("calls", {}).items()}
    for counts, digits in ((instructions, 3), (files, 2)):
        if trick.name in counts and trick.beside in counts:
            shown.append(f"{counts[trick.name] / counts[trick.beside]:.{digits}f}")
    return " / ".join(shown)


def describe_shares(workloads: Figures) -> Iterator[str]:
    rows = []
    for name, workload in workloads.items():
        warm, unmarshal = workload.get("warm", {}), workload.get("unmarshal")
        if isinstance(unmarshal, list) and {"stock", "overlay", "floor"} <= warm.keys():
            stock, overlay, bodies = (
                statistics.median(warm[side]["imports"]) for side in ("stock", "overlay", "floor")
            )
            loading = statistics.median(unmarshal)
            shares = (stock, bodies, loading, overlay - bodies - loading, stock - overlay)
            rows.append([name, *(f"{share * 1e3:.1f}" for share in shares)])
    if rows:
        yield "### Where the time of the imports goes\n"
        yield (
            "Milliseconds for stock; for the module bodies (the floor); for unmarshalling their\n"
            "code, which takes overlay as long as stock; and for everything else in overlay.\n"
        )
        yield table(["", "stock", "bodies", "unmarshalling", "everything else", "saved"], rows)


def describe_costs(costs: Figures) -> Iterator[str]:
    """Installing, starting, and the lock."""
    if not costs:
        return
    installing = {name: statistics.median(each) for name, each in costs["install"].items()}
    larger = compare(costs["install"]["small"], costs["install"]["large"])
    starting, lock = costs["start"], costs["lock"]
    yield "### The cost for a program that imports nothing\n"
    rows = (
        ["`import json`, for comparison", f"{installing['json']:.2f} ms"],
        ["`import frozenfinder` and `install()`, 100 modules", f"{installing['small']:.2f} ms"],
        ["the same, minimum", f"{min(costs['install']['small']):.2f} ms"],
        ["100,000 modules over 100", show(larger)],
        ["the start of `python -c pass`, CPU time, minimum", f"{starting['stock']:.1f} ms"],
        ["the same with a registry enabled", f"{starting['enabled']:.1f} ms"],
        ["the import lock, for a module", f"{lock['outermost'] - lock['without']:.0f} ns"],
        ["the same inside another import", f"{lock['nested'] - lock['without']:.0f} ns"],
    )
    yield table(["", ""], rows)


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
            if field in measured.get(side, ()) and field in measured.get(to, ()):
                found.append(compare(measured[to][field], measured[side][field]).ratio)
        return found

    for what, limit, kind, field, (side, to), summary in HOPES:
        if values := ratios(kind, field, side, to):
            yield [what, f"at most {limit:.2f}", f"{summary(values):.2f}"]
    yield from judge_commands(figures.get("commands", {}).get("programs", {}))
    yield from judge_others(figures)
    for ours, peer, field in RIVALS:
        if values := ratios("warm", field, ours, peer):
            yield [f"`{ours}` over `{peer}`, {field}, worst", "below 1", f"{max(values):.2f}"]


def judge_commands(programs: Figures) -> Iterator[list[str]]:
    """The quick end of real commands, and bundles of them."""
    found = [compare_sides(each.get("compiled", {}), "wall") for each in programs.values()]
    for side, limit, name, middle in COMMAND_HOPES:
        if values := [each[side].ratio for each in found if side in each]:
            yield [f"commands, `{side}`, {name}", f"at most {limit:.2f}", f"{middle(values):.2f}"]


def judge_others(figures: Figures) -> Iterator[list[str]]:
    """What is no ratio of rounds to stock: calls on files, and the cost of installing."""
    for side, limit in (("overlay", 1.2), ("closed", 0.2)):
        pairs = [
            (each, calls_each(figures, name, "floor"))
            for name in figures["workloads"]
            if (each := calls_each(figures, name, side))
        ]
        if pairs:
            what = f"{side}, calls on files for each served module, median"
            yield [what, f"at most {limit:.2f}", f"{MEDIAN([each for each, _ in pairs]):.2f}"]
        if own := [each - floor for each, floor in pairs if floor]:
            yield [
                "the same without those of `floor`",
                f"at most {limit:.2f}",
                f"{MEDIAN(own):.2f}",
            ]
    if costs := figures.get("costs"):
        small, large = costs["install"]["small"], costs["install"]["large"]
        yield ["import and install, 100 modules", "at most 1.2 ms", f"{MEDIAN(small):.2f} ms"]
        ratio = compare(small, large).ratio
        yield ["import and install, 100,000 over 100", "at most 1.10", f"{ratio:.2f}"]
        starting = costs["start"]
        added = starting["enabled"] - starting["stock"]
        yield ["`python -c pass` with a registry enabled", "at most 0.5 ms more", f"{added:.1f} ms"]


def calls_each(figures: Figures, workload: str, side: str) -> float | None:
    """The calls on files for each module that overlay serves, over those of `python -c pass`."""
    measured = figures["workloads"][workload]
    served = measured.get("warm", {}).get("overlay", {}).get("served", [0])[0]
    calls = measured.get("calls", {}).get(side)
    nothing = figures.get("nothing", {}).get("files")
    if nothing is None or not calls or not served:
        return None
    each: float = (calls["files"] - nothing) / served
    return each


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


MEDIAN = statistics.median
Middle = Callable[[list[float]], float]
HOPES: tuple[tuple[str, float, str, str, tuple[str, str], Middle], ...] = (
    ("`enable`, whole process, median", 0.88, "warm", "wall", ("enable", "stock"), MEDIAN),
    ("`enable`, whole process, worst", 0.95, "warm", "wall", ("enable", "stock"), max),
    (
        "`enable --fast-exit`, whole process, median",
        0.68,
        "warm",
        "wall",
        (ENABLES[1], "stock"),
        MEDIAN,
    ),
    ("`run`, whole process, median", 0.66, "warm", "wall", ("run", "stock"), MEDIAN),
    ("overlay, imports, median", 0.78, "warm", "imports", ("overlay", "stock"), MEDIAN),
    ("overlay, imports, worst", 0.95, "warm", "imports", ("overlay", "stock"), max),
    (
        "closed over overlay, imports, median",
        0.95,
        "warm",
        "imports",
        ("closed", "overlay"),
        MEDIAN,
    ),
    ("overlay over floor, imports, worst", 1.35, "warm", "imports", ("overlay", "floor"), max),
    ("overlay, imports, cold, median", 0.7, "cold", "imports", ("overlay", "stock"), MEDIAN),
    ("closed, imports, cold, median", 0.7, "cold", "imports", ("closed", "stock"), MEDIAN),
    ("overlay, imports, slow, median", 0.25, "slow", "imports", ("overlay", "stock"), MEDIAN),
    ("closed, imports, slow, median", 0.12, "slow", "imports", ("closed", "stock"), MEDIAN),
    ("overlay, memory, worst", 1.03, "warm", "memory", ("overlay", "stock"), max),
    ("closed, memory, worst", 1.03, "warm", "memory", ("closed", "stock"), max),
)
"""Of each the most that is hoped for, and what of it is measured how."""

COMMAND_HOPES: tuple[tuple[str, float, str, Middle], ...] = (
    ("run", 0.65, "geometric mean", statistics.geometric_mean),
    ("bundle", 0.85, "median", MEDIAN),
    ("bundle", 1.0, "worst", max),
)
RIVALS = (
    ("overlay", "zip", "imports"),
    ("overlay", "pycds", "imports"),
    ("overlay", "pycds", "wall"),
    ("run", "pyinstaller", "wall"),
)
"""Ours, a peer, and what of both is compared."""

if __name__ == "__main__":
    for path in write(Path(__file__).parent.parent / "docs" / "explanation" / "speed"):
        print(f"wrote {path}")
