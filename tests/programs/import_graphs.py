"""Random import graphs, served from a registry and by stock importlib, imported by many threads.

As a program it runs rounds of them and prints what came out, as JSON on one line:

    python -m programs.import_graphs acyclic --rounds 200
    python -m programs.import_graphs cyclic --rounds 200

A round that hangs ends the program after a minute, with a dump of every thread's stack. A kind of
error that is unknown to stock is named on stderr, with the seed that makes the same graph again:

    python -m programs.import_graphs cyclic --rounds 1 --seed 4006122213
"""

import _frozen_importlib
import argparse
import faulthandler
import importlib
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from types import CodeType, FrameType
from typing import Any, NamedTuple

from support.registries import build_registry, frozen

from frozenfinder.runtime import hooks

THREADS = 16
MODULES = 100

LONGEST_PAUSE = 0.002
"""Seconds."""

LINES = [
    (function.__code__, line)
    for function in (
        _frozen_importlib._find_and_load,  # type: ignore[attr-defined]
        _frozen_importlib._find_and_load_unlocked,  # type: ignore[attr-defined]
        _frozen_importlib._load_unlocked,  # type: ignore[attr-defined]
    )
    for line in sorted({line for _, _, line in function.__code__.co_lines() if line})
]
"""Where importlib looks at `sys.modules`, and changes it."""


class Source(NamedTuple):
    """A module to be: its text, and whether it is a package."""

    text: str
    is_package: bool = False


def pack(sources: Mapping[str, Source]) -> bytes:
    """The bytes of a registry that holds the modules' code."""
    return build_registry(
        *[frozen(name, text, is_package=package) for name, (text, package) in sources.items()]
    )


@contextmanager
def from_registry(sources: Mapping[str, Source]) -> Iterator[None]:
    """Serve the modules from a registry, and forget them afterwards."""
    finder = hooks.install(pack(sources), mode="closed")
    try:
        yield
    finally:
        hooks.uninstall(finder)
        forget(sources)


@contextmanager
def from_stock(sources: Mapping[str, Source]) -> Iterator[None]:
    """Serve the same code through importlib's own `exec_module`."""
    finder = StockFinder(sources)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        forget(sources)


class StockFinder(InspectLoader):
    """A finder and loader of sources in memory, all of importlib's making."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self.code = {
            name: compile(source.text, name, "exec", dont_inherit=True)
            for name, source in sources.items()
        }

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name not in self.sources:
            return None
        return ModuleSpec(name, self, is_package=self.sources[name].is_package)

    def get_source(self, fullname: str) -> str:
        return self.sources[fullname].text

    def get_code(self, fullname: str) -> CodeType:
        return self.code[fullname]


def forget(names: Iterable[str]) -> None:
    for name in names:
        sys.modules.pop(name, None)


PROLOGUE = """\
from importlib import import_module
from programs.import_graphs import executed
executed.append(__name__)
value = 1
"""
IMPORTS = (
    "import {0} as other\nvalue += other.value",
    "from {0} import value as more\nvalue += more",
    "value += import_module('{0}').value",
)
TOP_LEVEL_IMPORTS = (*IMPORTS, "import {0}\nvalue += {0}.value")
"""The last form is not for a module in a package: stock binds it on the package only after other
threads may have seen it complete."""

executed: list[str] = []
"""The names of the modules whose bodies were entered, in that order."""


def make_graph(rng: random.Random, *, cyclic: bool) -> dict[str, Source]:
    """Modules that import each other in every form there is, a half of them within packages.

    `total`, a module's last name, counts the ways from it down the graph.
    """
    packages = [f"package{at}" for at in range(MODULES // 10)]
    names = list(packages)
    names += [
        f"{rng.choice(packages)}.inner{at}" if at % 2 else f"outer{at}"
        for at in range(MODULES - len(packages))
    ]
    sources = {}
    for at, name in enumerate(names):
        known = [other for other in names if other != name] if cyclic else names[:at]
        wanted = rng.choice((0, 1, 1, 1, 2)) if cyclic else rng.randrange(4)
        body = [
            rng.choice(IMPORTS if "." in other else TOP_LEVEL_IMPORTS).format(other)
            for other in rng.sample(known, min(wanted, len(known)))
        ]
        text = "\n".join([PROLOGUE, *body, "total = value", ""])
        sources[name] = Source(text, name in packages)
    return sources


class Outcome(NamedTuple):
    """What came of importing every module of a graph from every thread."""

    totals: dict[str, int | None]
    executed: list[str]
    errors: Counter[str]


def import_all(
    names: list[str], rng: random.Random, threads: int = THREADS, patience: float = 60
) -> Outcome:
    """Import the modules in a random order of its own in each thread."""
    executed.clear()
    errors: list[str] = []
    barrier = threading.Barrier(threads)

    def work(order: list[str]) -> None:
        barrier.wait()
        for name in order:
            try:
                importlib.import_module(name).total  # noqa: B018  a half-made one has none
            except Exception as error:  # noqa: BLE001  their kinds are the outcome
                errors.append(type(error).__name__)

    workers = [
        threading.Thread(target=work, args=(rng.sample(names, len(names)),), daemon=True)
        for _ in range(threads)
    ]
    faulthandler.dump_traceback_later(patience, exit=True)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    faulthandler.cancel_dump_traceback_later()
    totals = {name: getattr(sys.modules.get(name), "total", None) for name in names}
    return Outcome(totals, sorted(executed), Counter(errors))


@contextmanager
def held_up(rng: random.Random) -> Iterator[None]:
    """Have the threads that start meanwhile pause, every other time, at some line of importlib.

    A thread that looks a module up in `sys.modules`, and asks whether it is being initialized only
    after it has failed, gets half a module. By itself it happens once in ten thousands of goes.
    """
    code, line = rng.choice(LINES)

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        return pause if frame.f_code is code else None

    def pause(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if frame.f_lineno == line and rng.random() < 0.5:
            time.sleep(rng.random() * LONGEST_PAUSE)
        return pause

    threading.settrace(trace)
    try:
        yield
    finally:
        threading.settrace(None)


def run_acyclic(rng: random.Random, goes: int) -> dict[str, int]:
    """One round: every module runs once, and none is seen half-made, as one thread would have it.

    Counts the errors, and the modules whose total or number of executions is not stock's.

    importlib looks for deadlocks in a record that changes meanwhile, and once in thousands of
    rounds stock sees one where there is none. A round in which that happens is counted as such.
    """
    sources = make_graph(rng, cyclic=False)
    names = list(sources)
    with from_stock(sources):
        expected = import_all(names, rng, threads=1)
    with from_registry(sources):
        # 3.15 holds a package's lock while the first import of a module in it runs, which adds
        # cycles of locks to a graph that has none: stock itself raises _DeadlockError there.
        ahead = [name for name in names if sources[name].is_package]
        if sys.version_info >= (3, 15):
            import_all(ahead, rng, threads=1)
        else:
            ahead.clear()
        found = import_all(names, rng)
        found.executed.extend(ahead)
    if found.errors["_DeadlockError"]:
        return {"false alarms": 1}
    surplus = Counter(found.executed)
    surplus.subtract(expected.executed)
    return {
        "errors": found.errors.total(),
        "not as stock": sum(found.totals[name] != expected.totals[name] for name in names),
        "not once": sum(count != 0 for count in surplus.values()),
    }


def run_cyclic(rng: random.Random, goes: int) -> dict[str, int]:
    """One round: nothing is raised of a kind that stock does not raise on the same graph.

    What stock raises depends on how its threads interleave: kinds that either raises once in
    thousands of goes are among them. So stock gets up to `goes`, with more or fewer threads, which
    are held up in every other go.
    """
    sources = make_graph(rng, cyclic=True)
    names = list(sources)
    with from_registry(sources):
        found = import_all(names, rng).errors
    unknown, gone = set(found), 0
    while unknown and gone < goes:
        threads = rng.choice((1, 2, 4, 16))
        with from_stock(sources), held_up(rng) if gone % 2 else nullcontext():
            unknown -= set(import_all(names, rng, threads=threads).errors)
        gone += 1
    if unknown:
        print(f"unknown to stock: {unknown}", file=sys.stderr)
    return {"errors": found.total(), "unknown to stock": len(unknown), "goes of stock": gone}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("acyclic", "cyclic"))
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--goes", type=int, default=3000, help="of stock, for a cyclic graph")
    parser.add_argument("--seed", type=int, default=None, help="of the first round")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    sys.setswitchinterval(1e-4)  # the shorter, the more false alarms
    run = run_acyclic if options.kind == "acyclic" else run_cyclic
    found = Counter({"false alarms": 0})
    for number in range(seed, seed + options.rounds):
        counts = run(random.Random(number), options.goes)
        found.update(counts)
        if counts.get("unknown to stock"):
            print(f"in the round with seed {number}", file=sys.stderr)
    lock = hooks.import_lock
    print(json.dumps({**found, "yielded": lock.yielded, "depth": lock.depth, "seed": seed}))


if __name__ == "__main__":
    sys.modules["programs.import_graphs"] = sys.modules["__main__"]
    main()
