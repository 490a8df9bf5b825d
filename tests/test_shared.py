"""What threads share: each thing in the middle of a change, while another thread uses it.

Where the order of two threads decides, it is made: the second acts at every instruction of the
first in turn. `test_threads` has the imports themselves, `test_closed`, `test_folder` and
`test_extraction` what closed mode and the cache share.
"""

import contextlib
import gc
import re
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.at_once import at_once
from support.interrupts import at_every_event, code_of
from support.registries import build_registry, frozen
from support.sources import write_tree

import frozenfinder
from frozenfinder import FrozenFinder, Mode, Registry
from frozenfinder.closed.processes import hand_on
from frozenfinder.extras import Extras
from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.freezer.compile.expressions import pack_keys
from frozenfinder.runtime import hooks, system
from frozenfinder.runtime.collector import Collector
from frozenfinder.runtime.roots import Bypass, Roots

DATA = build_registry(frozen("m", "VALUE = 1"))


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    path, thresholds = list(sys.path), gc.get_threshold()
    before = list(sys.meta_path), list(sys.path_hooks)
    yield
    sys.path[:] = path
    gc.set_threshold(*thresholds)
    frozenfinder.uninstall()
    assert (sys.meta_path, sys.path_hooks) == before


# -- hooks


@pytest.mark.parametrize("mode", ["overlay", "closed"])
def test_threads_that_install_one_registry_get_one_finder(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has found that nothing is installed before the first one installs."""
    barrier = threading.Barrier(8)

    def wait_for_all(name: str) -> None:
        if name == "FROZENFINDER_WITHOUT":  # what it asks for last
            barrier.wait(60)

    monkeypatch.setattr(hooks, "environment", wait_for_all)
    found = at_once(lambda _: frozenfinder.install(DATA, mode=mode), range(8))
    assert len(set(map(id, found))) == 1
    assert frozenfinder.installed() == found[:1]
    assert sum(each is found[0] for each in sys.meta_path) == 1
    assert len(sys.path_hooks) == len(set(map(id, sys.path_hooks)))


def test_threads_that_install_and_uninstall_leave_nothing() -> None:
    registries = [build_registry(frozen(f"m{number}", "VALUE = 1")) for number in range(8)]

    def come_and_go(data: bytes) -> None:
        for _ in range(30):
            finder = frozenfinder.install(data, mode="closed")
            assert finder in frozenfinder.installed()
            frozenfinder.uninstall(finder)

    before = list(sys.meta_path), list(sys.path_hooks)
    at_once(come_and_go, registries)
    assert (sys.meta_path, sys.path_hooks) == before
    assert frozenfinder.installed() == []


def test_a_finalizer_may_install_and_uninstall_anywhere_in_an_installation() -> None:
    other = Registry.from_bytes(build_registry(frozen("other", "VALUE = 2")))
    registry = Registry.from_bytes(DATA)

    def come_and_go() -> None:
        frozenfinder.uninstall(frozenfinder.install(other, mode="closed"))

    codes = code_of(hooks.serve, hooks._insert, hooks.uninstall, hooks._take_out)
    before = list(sys.meta_path), list(sys.path_hooks)
    for tracer in at_every_event(come_and_go, codes, opcodes=False):
        with tracer:
            finder = frozenfinder.install(registry, mode="closed")
            frozenfinder.uninstall(finder)
        assert (sys.meta_path, sys.path_hooks) == before
        assert frozenfinder.installed() == []


def test_builds_without_a_gil_get_no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "FREE_THREADED", True)
    assert frozenfinder.install(DATA).collector is None


def test_builds_with_a_gil_get_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "FREE_THREADED", False)
    assert isinstance(frozenfinder.install(DATA).collector, Collector)


# -- the collector


def test_the_threshold_is_as_it_was_wherever_another_thread_begins_to_import() -> None:
    usual = gc.get_threshold()
    collector = Collector()
    codes = code_of(Collector.relax, Collector.restore)
    for tracer in at_every_event(collector.relax, codes, opcodes=True):
        with tracer:
            collector.relax()
            collector.restore()
        collector.restore()  # that of the other thread, which is done last
        assert gc.get_threshold() == usual


def test_the_threshold_is_as_it_was_wherever_another_thread_imports() -> None:
    usual = gc.get_threshold()
    collector = Collector()

    def import_something() -> None:
        collector.relax()
        collector.restore()

    codes = code_of(Collector.relax, Collector.restore)
    for tracer in at_every_event(import_something, codes, opcodes=True):
        with tracer:
            collector.relax()
            collector.restore()
        assert gc.get_threshold() == usual


def test_after_many_threads_the_threshold_is_as_it_was() -> None:
    usual = gc.get_threshold()
    collector = Collector()

    def import_something(_: int) -> None:
        for _ in range(300):
            collector.relax()
            collector.restore()

    at_once(import_something, range(8))
    assert gc.get_threshold() == usual


# -- patterns


def test_patterns_are_filled_in_wherever_another_thread_fills_them_in() -> None:
    extras = Extras()
    packed = pack_keys([("shared[a-z]+pattern", 0)])
    key = (str, "shared[a-z]+pattern", 0)
    cache = vars(re)["_cache"]
    for tracer in at_every_event(extras.flush, code_of(Extras), opcodes=True):
        cache.pop(key, None)
        with tracer:
            extras.add("m", packed)
        assert key in cache
        assert extras.pending == []


def test_threads_that_add_patterns_raise_nothing() -> None:
    extras = Extras()
    packed = [pack_keys([(f"shared{number}", 0)]) for number in range(8)]

    def add(each: bytes) -> None:
        for _ in range(200):
            extras.add("m", each)

    at_once(add, packed)
    assert extras.pending == []


# -- finders


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of four modules on `sys.path`, and its registry beside it."""
    source = write_tree(tmp_path / "src", {f"m{n}.py": "VALUE = 1\n" for n in range(4)})
    freeze(discover(Manifest(paths=(str(source),))), tmp_path / "app.frz")
    sys.path.insert(0, str(source))
    return source


@pytest.fixture
def finder(tree: Path) -> FrozenFinder:
    found = frozenfinder.install(tree.with_name("app.frz"))
    assert isinstance(found, FrozenFinder)
    return found


def test_what_was_bypassed_may_be_read_while_another_thread_imports(finder: FrozenFinder) -> None:
    for number in range(4):
        finder.note_bypassed(f"before{number}", "because")
    for name in finder.bypassed:
        finder.note_bypassed(f"meanwhile {name}", "because")
    assert len(finder.bypassed) == 8


def test_modules_that_threads_execute_are_each_counted(finder: FrozenFinder) -> None:
    def count(_: int) -> None:
        for _ in range(500):
            finder.note_served("m0")

    at_once(count, range(8))
    assert finder.served == 4000


def find(finder: FrozenFinder, name: str) -> ModuleSpec:
    """What `find_spec` does for importlib's own imports; Bypass if it would return None."""
    entry = finder.registry.find_entry(name)
    assert entry is not None
    return finder._find_spec(name, None, entry)


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_the_path_may_change_anywhere_while_another_thread_looks_for_a_module(
    tree: Path, finder: FrozenFinder
) -> None:
    """Then the next one that looks finds what stock finds."""
    link = tree.with_name("link")
    link.symlink_to(tree)
    for tracer in at_every_event(
        lambda: sys.path.insert(0, str(link)), code_of(Roots._find_top), opcodes=True
    ):
        finder.invalidate_caches()
        with tracer, contextlib.suppress(Bypass):
            find(finder, "m0")
        found, stock = find(finder, "m0"), PathFinder.find_spec("m0")
        assert stock is not None
        assert found.origin == stock.origin
        while str(link) in sys.path:
            sys.path.remove(str(link))


def test_threads_that_search_without_importlibs_lock_find_the_same(finder: FrozenFinder) -> None:
    def look(number: int) -> set[str | None]:
        found: set[str | None] = set()
        for _ in range(200):
            if number == 0:
                finder.invalidate_caches()
            found.add(find(finder, f"m{number % 4}").origin)
        return found

    for number, found in enumerate(at_once(look, range(8))):
        stock = PathFinder.find_spec(f"m{number % 4}")
        assert stock is not None
        assert found == {stock.origin}
    assert finder.bypassed == {}


def test_the_hooks_of_a_closed_finder_leave_the_path_to_stock(
    tree: Path, finder: FrozenFinder
) -> None:
    """Overlay need not ask for the finder of each directory then, as with stock's hooks alone."""
    closed = frozenfinder.install(DATA, mode="closed")
    assert sys.path_hooks[0] == closed.path_hook  # type: ignore[union-attr]
    find(finder, "m0")
    sys.path_importer_cache.pop(str(tree), None)
    assert finder._roots._find_details("") is not None
    find(finder, "m1")


# -- the processes of `multiprocessing`


def test_threads_that_start_processes_give_them_the_same_options(tree: Path) -> None:
    finder = frozenfinder.install(tree.with_name("app.frz"), mode="closed")
    util = SimpleNamespace(**{system.INTERPRETER_FLAGS: lambda: ["-B"]})
    hand_on(finder, util)  # type: ignore[arg-type]
    found = at_once(lambda _: getattr(util, system.INTERPRETER_FLAGS)(), range(8))
    assert found == [found[0]] * 8
    assert found[0][-2:] == ["--mode=closed", str(tree.with_name("app.frz"))]
