"""The scenarios of CPython's `test_threaded_import`, with their modules served from a registry.

    python -m programs.threaded_import circular

Raises in the main thread what a thread of a scenario raised, and AssertionError where what it holds
true is not. The standard library's modules that a scenario is about come from the registry too.
"""

import _imp
import importlib
import importlib.util
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from programs.import_graphs import Source, forget, from_registry

T = TypeVar("T")


def run_in_threads(functions: Iterable[Callable[[], T]]) -> list[T]:
    """Call each function in a thread of its own, all at once; their results in that order."""
    outcomes: list[Future[T]] = []

    def call(function: Callable[[], T], outcome: Future[T]) -> None:
        try:
            outcome.set_result(function())
        except Exception as error:  # noqa: BLE001  raised again by result()
            outcome.set_exception(error)

    threads = []
    for function in functions:
        outcomes.append(Future())
        threads.append(threading.Thread(target=call, args=(function, outcomes[-1])))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcome.result() for outcome in outcomes]


def stdlib(*names: str) -> dict[str, Source]:
    """Modules of the standard library, out of `sys.modules` and ready to be frozen."""
    sources = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        text = Path(spec.origin).read_text("utf-8")
        sources[name] = Source(text, spec.submodule_search_locations is not None)
    for name in names:
        forget([known for known in sys.modules if f"{known}.".startswith(f"{name}.")])
    return sources


def import_in_either_order(at: int) -> None:
    names = ["modulefinder", "random", "colorsys"]  # the last one from disk
    for name in names if at % 2 else reversed(names):
        importlib.import_module(name)
    assert 1 <= sys.modules["random"].randrange(1, 3) < 3


def run_parallel_init() -> None:
    """Many threads import the same modules, in two orders."""
    with from_registry(sources := stdlib("random", "modulefinder")):
        for count in (20, 50) * 3:
            forget([*sources, "colorsys"])
            run_in_threads(partial(import_in_either_order, at) for at in range(count))


class Counter:
    """Counts its calls in a way that loses some where two run at once."""

    def __init__(self) -> None:
        self.calls: list[None] = []
        self.count = 0

    def __call__(self) -> None:
        assert _imp.lock_held()
        self.calls.append(None)
        count = self.count
        time.sleep(0.01)
        self.count = count + 1


class CountingFinder:
    def __init__(self, counter: Counter) -> None:
        self.counter = counter

    def find_spec(self, *_: object) -> None:
        self.counter()


class FlushingFinder:
    """Makes importlib ask the path hooks at every import."""

    def find_spec(self, *_: object) -> None:
        sys.path_importer_cache.clear()


def run_parallel_meta_path() -> None:
    """The same, with a finder that cannot be called by two threads at once."""
    counter = Counter()
    sys.meta_path.insert(0, CountingFinder(counter))
    run_parallel_init()
    assert counter.count == len(counter.calls) > 0


def run_parallel_path_hooks() -> None:
    """The same, with a path hook that cannot be called by two threads at once."""
    counter = Counter()

    def hook(path: str) -> object:
        counter()
        raise ImportError(path)

    sys.path_hooks.insert(0, hook)  # type: ignore[arg-type]
    sys.meta_path.insert(0, FlushingFinder())
    run_parallel_init()
    assert counter.count == len(counter.calls) > 0


def run_hangers() -> None:
    """A body calls functions of the standard library in threads, and waits for them."""
    text = """
import os.path, tempfile, threading
hung = []
for function in (lambda: tempfile.TemporaryFile().close(), lambda: os.path.abspath('.')):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(10)
    if thread.is_alive():
        hung.append(function)
"""
    with from_registry({**stdlib("tempfile"), "hangers": Source(text)}):
        assert importlib.import_module("hangers").hung == []


def run_circular() -> None:
    """Two threads enter a cycle of imports at opposite ends."""
    slow = "import time\ntime.sleep(0.2)\nx = __name__\n"
    bodies = {"A": slow + "import C", "B": slow + "import D", "C": "import B", "D": "import A"}
    with from_registry({name: Source(body) for name, body in bodies.items()}):
        found = run_in_threads(partial(importlib.import_module, name) for name in "AB")
        assert [vars(module).get("x") for module in found] == ["A", "B"]


def run_side_effect() -> None:
    """A body imports in a thread, and waits for it."""
    text = """
import threading
thread = threading.Thread(target=lambda: __import__('random'))
thread.start()
thread.join()
"""
    with from_registry({**stdlib("random"), "side_effect": Source(text)}):
        importlib.import_module("side_effect")
        assert hasattr(sys.modules["random"], "randrange")


def run_concurrent_futures() -> None:
    """Many threads import a package and a module in it, over and over (bpo-43515)."""
    names = ("concurrent.futures", "concurrent.futures._base", "concurrent.futures.thread")

    def import_executor(at: int) -> None:
        executor = importlib.import_module(names[at % 2 * 2]).ThreadPoolExecutor
        assert executor.__name__ == "ThreadPoolExecutor"

    with from_registry(stdlib(*names)):
        for _ in range(50):
            run_in_threads(partial(import_executor, at) for at in range(30))
            forget(names[::2])


def run_multiprocessing_pool() -> None:
    """Threads that make pools import the parts of `multiprocessing` at once (bpo-41567)."""
    parts = sorted(path.stem for path in Path(multiprocessing.__path__[0]).glob("[!_]*.py"))
    sources = stdlib("multiprocessing", *(f"multiprocessing.{part}" for part in parts))

    def make_pool() -> None:
        with importlib.import_module("multiprocessing").Pool(1):
            pass

    with from_registry(sources):
        run_in_threads([make_pool] * 20)


SCENARIOS: dict[str, Callable[[], None]] = {
    "parallel-init": run_parallel_init,
    "parallel-meta-path": run_parallel_meta_path,
    "parallel-path-hooks": run_parallel_path_hooks,
    "hangers": run_hangers,
    "circular": run_circular,
    "side-effect": run_side_effect,
    "concurrent-futures": run_concurrent_futures,
    "multiprocessing-pool": run_multiprocessing_pool,
}


def main(argv: Sequence[str]) -> None:
    sys.setswitchinterval(1e-5)
    SCENARIOS[argv[1]]()


if __name__ == "__main__":
    main(sys.argv)
