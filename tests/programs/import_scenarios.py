"""The four ways in which a lock held around module bodies deadlocks with importlib's locks.

    python -m programs.import_scenarios s2            with the import lock as it is
    python -m programs.import_scenarios s2 --plain    with one that is waited for like any RLock

Prints, as JSON, how often a waiter went on without the lock. Exit status 3 after two seconds (with
--plain) or a minute means that the threads which it then prints hang.
"""

import _frozen_importlib
import argparse
import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from frozenfinder.runtime.hooks import import_lock
from frozenfinder.runtime.lock import ImportLock
from programs.import_graphs import Source, from_registry, from_stock

HUNG = 3

PROLOGUE = """\
import os, threading
from importlib import import_module
from programs.import_scenarios import awaited, executed, import_lock, locked, until
from programs.import_scenarios import waits_for_import_lock
executed.append(__name__)
"""
executed: list[str] = []
threads: list[threading.Thread] = []


def until(condition: Callable[[], object]) -> None:
    for _ in range(60_000):
        if condition():
            return
        time.sleep(0.001)
    raise TimeoutError


def get_module_lock(name: str) -> Any:
    """The lock that importlib has for the module at the moment, or None."""
    reference = _frozen_importlib._module_locks.get(name)  # type: ignore[attr-defined]
    return reference and reference()


def locked(name: str) -> bool:
    """Whether a thread holds importlib's lock on the module."""
    return getattr(get_module_lock(name), "owner", None) is not None


def awaited(name: str) -> bool:
    """Whether a thread waits for importlib's lock on the module."""
    return bool(getattr(get_module_lock(name), "waiters", None))


def waits_for_import_lock(name: str) -> bool:
    """Whether the thread of that name waits for the import lock."""
    waiters = find_waiters()
    return any(thread.ident in waiters for thread in threads if thread.name == name)


def find_waiters() -> set[int]:
    """The identifiers of the threads that wait for the import lock."""
    return {
        thread
        for thread, top in sys._current_frames().items()
        if any(frame.f_code is ImportLock._wait.__code__ for frame, _ in traceback.walk_stack(top))
    }


def wait_plainly(self: ImportLock, _timeout: float) -> bool:
    """What an RLock does."""
    me = threading.get_ident()
    while self._holds.setdefault(0, me) != me:
        time.sleep(0.001)
    return True


def start(name: str, function: Callable[[], object]) -> None:
    threads.append(threading.Thread(target=function, name=name, daemon=True))
    threads[-1].start()


def modules(**bodies: str) -> dict[str, Source]:
    return {name: Source(f"{PROLOGUE}{body}\n") for name, body in bodies.items()}


class Pausing:
    """A finder that holds up the execution of one module, once importlib has taken its lock."""

    def __init__(self, name: str, condition: Callable[[], object]) -> None:
        self.name = name
        self.condition = condition

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name != self.name:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, None)
            if spec is not None:
                self.loader: Any = spec.loader
                spec.loader = self  # type: ignore[assignment]
                return spec
        return None

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave it to importlib."""

    def exec_module(self, module: ModuleType) -> None:
        until(self.condition)
        self.loader.exec_module(module)


def run_s1(order: str, form: str) -> None:
    """The holder of the import lock imports a module whose lock the waiter for it holds.

    `order` says who waits first, `form` how modules are imported.
    """
    wait = {
        "waiter-first": "until(lambda: waits_for_import_lock('waiter'))",
        "holder-first": "until(lambda: locked('b'))",
    }[order]
    import_b = {"statement": "import b", "import_module": "import_module('b')"}[form]
    if order == "holder-first":
        sys.meta_path.insert(0, Pausing("b", lambda: awaited("b")))
    with from_registry(modules(a=f"{wait}\n{import_b}", b="")):
        start("holder", lambda: importlib.import_module("a"))
        until(lambda: import_lock.owner)
        start("waiter", lambda: exec(import_b, {"import_module": importlib.import_module}))
        join()


def run_s2() -> None:
    """A body starts a thread that imports, and joins it."""
    body = """
thread = threading.Thread(target=lambda: import_module('b'), daemon=True)
thread.start()
thread.join()
"""
    with from_registry(modules(a=body, b="")):
        start("holder", lambda: importlib.import_module("a"))
        join()


class Locking:
    """A finder that takes the import lock for one module, as `find_spec` here never does."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "c" and import_lock.acquire():
            import_lock.release()


def run_s3() -> None:
    """A finder waits for the import lock; importlib calls it under `_imp`'s lock."""
    sys.meta_path.insert(0, Locking())
    bodies = modules(a="until(lambda: waits_for_import_lock('waiter'))\nimport b", b="", c="")
    with from_registry(bodies):
        start("holder", lambda: importlib.import_module("a"))
        until(lambda: import_lock.owner)
        start("waiter", lambda: importlib.import_module("c"))
        join()


def give_back() -> None:
    if import_lock.held():
        import_lock.release()


def run_s4() -> None:
    """A fork waits for the import lock, in a thread that holds the lock of a module."""
    body = """
until(lambda: awaited('forking'))
child = os.fork()
if not child:
    os._exit(0)
os.waitpid(child, 0)
"""
    os.register_at_fork(
        before=import_lock.acquire, after_in_parent=give_back, after_in_child=give_back
    )
    with from_stock(modules(forking=body)), from_registry(modules(a="import forking")):
        start("waiter", lambda: importlib.import_module("forking"))
        until(lambda: locked("forking"))
        start("holder", lambda: importlib.import_module("a"))
        join()


patience = 60.0


def join() -> None:
    """Wait for the threads; end the process where they hang."""
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    hung = [thread.name for thread in threads if thread.is_alive()]
    if hung:
        print(json.dumps({"hung": sorted(hung), "waiters": len(find_waiters())}), flush=True)
        os._exit(HUNG)


SCENARIOS: dict[str, Callable[[], None]] = {
    f"s1-{order}-{form}": lambda order=order, form=form: run_s1(order, form)
    for order in ("waiter-first", "holder-first")
    for form in ("statement", "import_module")
} | {"s2": run_s2, "s3": run_s3, "s4": run_s4}


def main() -> None:
    global patience
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    if options.plain:
        patience = 2
        ImportLock._wait = wait_plainly  # type: ignore[assignment, method-assign]
    SCENARIOS[options.scenario]()
    outcome = {
        "executed": sorted(executed),
        "yielded": {reason: often for reason, often in import_lock.yielded.items() if often},
        "owner": import_lock.owner,
    }
    print(json.dumps(outcome))


if __name__ == "__main__":
    sys.modules["programs.import_scenarios"] = sys.modules["__main__"]
    main()
