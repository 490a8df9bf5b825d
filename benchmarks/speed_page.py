"""The page of the figures that `speed.py` has written: tables, and what was hoped for.

python benchmarks/speed_page.py      writes the page anew from what was measured
"""

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sides import LABELS
from tricks import CHECKS, TRICKS, Trick

from frozenfinder.bench import Comparison, compare

Figures = dict[str, Any]

HEAD = """\
# Speed

This page compares import times with a [registry](../reference/glossary.md#registry), with stock
CPython, and with other ways to put code into one file. The command `tox -e speed` measures every
number in the tables and writes this page.

Each number is measured in fresh processes. The sides of a workload run in turn, so that other
activity on the machine affects all of them alike. A ratio is the median of the ratios to stock
within the rounds, with the quartiles in brackets. Below 1 is faster than stock. The time includes
everything that a side needs to set itself up: the import of frozenfinder, opening the registry,
reading the directory of the zip file.

| side | |
|---|---|
| `stock` | CPython as it is, with all `.pyc` files in place |
| `overlay`, `closed` | the first line of the program installs the registry |
| `run` | `python -m frozenfinder run --mode=closed`; only the whole process is comparable |
| `run --fast-exit` | the same, but the process ends without clearing every module and object |
| `floor` | the same module bodies, from code objects in memory: no importer can be faster |
| `zip` | the code of the registry as `.pyc` files in an uncompressed zip file |
| `pyinstaller` | a PyInstaller folder with its archive; only the whole process is comparable |
| `pycds` | code-data-share, a memory-mapped file of code objects; up to Python 3.12 |

The registry of a workload contains the standard library and the distribution with all its
dependencies. The modules that the imports need come first in it, in the order of import.
"""

TRIED = """\
## What limits the gain

If a target was missed, the tables of shares, of checks and of costs show why. No importer can avoid
the time that module bodies take, and no pure Python importer can avoid unmarshalling. The code in
the registry takes as long to unmarshal as that in `.pyc` files; storing equal objects only once
makes it 1 % smaller but not faster to read. Everything that a process does before its first import
and after its last one is the same for all sides except `run --fast-exit`.

The two versions were measured at the same time, each on a core of its own. Only the boots from an
empty page cache were measured one version after the other.

With `django.db.models` on 3.13, overlay needs 1.4 MB more memory than stock. Of this, 0.6 MB are
the parts of the index that were read, 0.4 MB are frozenfinder's own modules, and 0.3 MB are a
[window](../reference/glossary.md#window). To import an empty module, stock needs 297,000
instructions, overlay 250,000, closed mode 237,000, and importlib with a finder and loader that do
nothing 147,000. `run SCRIPT` spends 2 ms in `compile`, which first creates the types of `ast`.
CPython itself runs a script in a way that avoids this, and that has no Python function. These
numbers were measured once; `tox -e speed` measures the tables only.

We tried these ideas and did not keep them:

- a higher threshold for the garbage collector, without promoting objects: the collection after the
  outermost import took as long as those that it replaced;
- no digests, or no `stat`: the table shows what they cost. They keep damaged bytes away from
  `marshal`, and outdated code away from the program;
- the code of a whole boot in one marshalled tuple, in which modules share their strings:
  unmarshalling 293 modules of Django took 23 ms instead of 30, and 91 of the standard library 6.4
  ms instead of 7.4. But then no code object could be read without all the others;
- frozenfinder's own modules in one file: 67 fewer calls on files, the same number of instructions,
  and no difference in milliseconds if the files are in memory.
"""

IMPORT_SIDES = ("overlay", "closed", "floor", "zip", "pycds")
WHOLE_SIDES = ("overlay", "closed", "run", "fast_exit", "zip", "pyinstaller", "pycds")
MEMORY_SIDES = ("overlay", "closed", "run", "zip", "pyinstaller", "pycds")
OURS = ("overlay", "closed")
TABLES = (
    ("The imports, files in memory", "warm", "imports", IMPORT_SIDES),
    ("The whole process, files in memory", "warm", "wall", WHOLE_SIDES),
    ("CPU time of the whole process", "warm", "cpu", WHOLE_SIDES),
    ("Peak memory", "warm", "memory", MEMORY_SIDES),
    ("The imports, page cache empty", "cold", "imports", OURS),
    ("The whole process, page cache empty", "cold", "wall", (*OURS, "run")),
    ("The imports, each `stat` and `open` delayed by 1 ms", "slow", "imports", OURS),
    ("The whole process, each `stat` and `open` delayed by 1 ms", "slow", "wall", (*OURS, "run")),
)
"""Of each its title, and what it shows of which sides."""

UNITS = {
    "imports": ("ms", 1e3),
    "wall": ("ms", 1e3),
    "cpu": ("ms", 1e3),
    "memory": ("MB", 1 / 1024),
}
"""Of what is measured its unit on the page, and how many of them one is."""

PEERS = ("zip", "pyinstaller", "pycds")


def write(folder: Path) -> Path:
    """Write the page beside the folder; the plots in the folder are those of `speed_plots`."""
    files = sorted(folder.glob("cpython-*.json"), key=lambda file: file.name)
    parts = [HEAD]
    for file in files:
        figures: Figures = json.loads(file.read_text("utf-8"))
        parts += describe(figures, file.stem, folder.name)
    parts.append(TRIED)
    page = folder.with_suffix(".md")
    page.write_text("\n".join(parts), "utf-8")
    return page


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
            yield table(["", f"stock, {UNITS[field][0]}", *map(label, sides)], rows)
    yield from describe_calls(figures)
    yield from describe_instructions(workloads)
    yield from describe_tricks(workloads)
    yield from describe_shares(workloads)
    yield from describe_costs(figures.get("costs", {}))
    yield from describe_missing(workloads)
    yield "### Targets\n"
    yield table(["", "target", "measured"], judge(figures))


def compare_workloads(
    workloads: Figures, kind: str, field: str, sides: Sequence[str]
) -> Iterator[list[str]]:
    """A row for each workload that was measured so, and one of the medians."""
    ratios: dict[str, list[float]] = {side: [] for side in sides}
    for name, workload in workloads.items():
        found = compare_sides(workload.get(kind, {}), field, sides)
        if not found:
            continue
        stock = statistics.median(workload[kind]["stock"][field]) * UNITS[field][1]
        cells = []
        for side in sides:
            if (each := found.get(side)) is not None:
                ratios[side].append(each.ratio)
            cells.append(show(each))
        yield [name, f"{stock:.1f}", *cells]
    if any(ratios.values()):
        yield [
            "median",
            "",
            *(f"{statistics.median(each):.2f}" if each else "" for each in ratios.values()),
        ]


def compare_sides(measured: Figures, field: str, sides: Iterable[str]) -> dict[str, Comparison]:
    stock = measured.get("stock", {})
    if field not in stock:
        return {}
    return {
        side: compare(stock[field], measured[side][field]) for side in sides if side in measured
    }


def show(each: Comparison | None) -> str:
    return "" if each is None else f"{each.ratio:.2f} ({each.low:.2f} to {each.high:.2f})"


def label(side: str) -> str:
    return LABELS.get(side, side)


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
        yield table(["", "stock, millions", *map(label, WHOLE_SIDES)], rows)


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
    yield from judge_others(figures)
    for side in PEERS:
        field, ours = ("imports", "overlay") if side != "pyinstaller" else ("wall", "run")
        if values := ratios("warm", field, ours, side):
            yield [f"{ours} over `{side}`, {field}, worst", "below 1", f"{max(values):.2f}"]


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
        yield ["import and install, 100 modules", "at most 1.5 ms", f"{MEDIAN(small):.2f} ms"]
        ratio = compare(small, large).ratio
        yield ["import and install, 100,000 over 100", "at most 1.10", f"{ratio:.2f}"]


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
HOPES: tuple[tuple[str, float, str, str, tuple[str, str], Callable[[list[float]], float]], ...] = (
    ("overlay, imports, median", 0.75, "warm", "imports", ("overlay", "stock"), MEDIAN),
    ("overlay, imports, worst", 0.85, "warm", "imports", ("overlay", "stock"), max),
    ("`run`, whole process, median", 0.65, "warm", "wall", ("run", "stock"), MEDIAN),
    (
        "`run --fast-exit`, whole process, median",
        0.65,
        "warm",
        "wall",
        ("fast_exit", "stock"),
        MEDIAN,
    ),
    ("overlay over floor, imports, worst", 1.35, "warm", "imports", ("overlay", "floor"), max),
    ("overlay, imports, cold, median", 0.5, "cold", "imports", ("overlay", "stock"), MEDIAN),
    ("closed, imports, cold, median", 0.5, "cold", "imports", ("closed", "stock"), MEDIAN),
    ("overlay, imports, slow, median", 0.25, "slow", "imports", ("overlay", "stock"), MEDIAN),
    ("closed, imports, slow, median", 0.08, "slow", "imports", ("closed", "stock"), MEDIAN),
    ("overlay, memory, worst", 1.02, "warm", "memory", ("overlay", "stock"), max),
    ("closed, memory, worst", 1.02, "warm", "memory", ("closed", "stock"), max),
)
"""Of each the most that is hoped for, and what of it is measured how."""

if __name__ == "__main__":
    print(f"wrote {write(Path(__file__).parent.parent / 'docs' / 'explanation' / 'speed')}")
