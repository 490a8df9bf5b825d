"""Import extension modules in every situation, and tell what came of it.

Run as a program: `variants.py WAY REGISTRY FILES`, where WAY is `stock`, `overlay` or `closed` and
FILES a JSON object of names and files. It prints one of names, situations and what was seen. Each
module has a process of its own, because some of them end theirs.
"""

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

CALLS: dict[str, tuple[object, ...]] = {
    "sum": (1, 2),
    "call": (),
    "count": (),
    "initialized_count": (),
    "look_up": (),
    "look_up_self": (),
    "state_initialized": (),
}
"""What modules have to be asked, with what arguments."""


class Stock:
    """Finds the modules as PathFinder would, had each a file of its own name."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        file = self.files.get(name)
        if file is None:
            return None
        loader = ExtensionFileLoader(name, file)
        return importlib.util.spec_from_file_location(name, file, loader=loader)


def install(way: str, registry: str, files: dict[str, str]) -> None:
    """Have the modules found, in the current interpreter."""
    if way == "stock":
        at = sys.meta_path.index(PathFinder)
        sys.meta_path.insert(at, Stock(files))
    else:
        import frozenfinder

        sys.path[:0] = sorted({str(Path(file).parent) for file in files.values()})
        frozenfinder.install(registry, mode=way)  # type: ignore[call-overload]
        if way == "overlay":
            sys.meta_path.append(Stock(files))  # for what importlib itself does not import


class Observer:
    """Describes modules so that descriptions of two processes compare."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def number(self, value: object) -> int:
        """The same number for the same object, and for equal floats: those are times."""
        for number, known in enumerate(self.seen):
            if known is value or (type(value) is float and value == known):
                return number
        self.seen.append(value)
        return len(self.seen) - 1

    def value(self, value: object) -> object:
        simple = isinstance(value, int | str) or value is None
        return [type(value).__name__, value if simple else self.number(value)]

    def outcome(self, function: Callable[..., object], *arguments: object) -> object:
        try:
            return self.value(function(*arguments))
        except Exception as error:  # noqa: BLE001  # whatever it is, both ways have to agree
            path = getattr(error, "path", None)
            shown = str(error).replace(str(path), "<file>")
            return [type(error).__name__, shown, getattr(error, "name", None), path is None]

    def module(self, name: str, get: Callable[[], object]) -> object:
        """What getting the module gives, and what is then in it and known of it."""
        got: list[object] = []
        outcome = self.outcome(lambda: got.append(get()))
        if not got:
            return [outcome, name in sys.modules]
        module = got[0]
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None)
        namespace = getattr(module, "__dict__", {})
        return {
            "object": self.value(module),
            "is in sys.modules": sys.modules.get(name) is module,
            "names": sorted(namespace),
            "values": [self.value(namespace[key]) for key in sorted(namespace) if key[0] != "_"],
            "name": self.value(getattr(module, "__name__", None)),
            "doc": getattr(module, "__doc__", None),
            "file is origin": getattr(module, "__file__", None) == origin,
            "loader's path is origin": getattr(spec and spec.loader, "path", None) == origin,
            "spec": [getattr(spec, "name", None), getattr(spec, "has_location", None)],
            "calls": [
                self.outcome(getattr(module, call), *arguments)
                for call, arguments in CALLS.items()
                if hasattr(module, call)
            ],
        }


def situations(name: str, observer: Observer) -> Iterator[tuple[str, object]]:
    """The module imported in every way that this interpreter allows."""

    def look(get: Callable[[], object]) -> object:
        return observer.module(name, get)

    def imported() -> object:
        return importlib.import_module(name)

    def created() -> object:
        spec = importlib.util.find_spec(name) or fail(name)
        return importlib.util.module_from_spec(spec)

    def loaded() -> object:
        """As the removed `imp.load_dynamic`: what is in `sys.modules` stays there meanwhile."""
        spec = importlib.util.find_spec(name) or fail(name)
        return importlib._bootstrap._load(spec)  # type: ignore[attr-defined]

    yield "first import", look(imported)
    yield "import of what is there", look(imported)
    yield "loaded over what is there", look(loaded)
    module = sys.modules.get(name)
    if isinstance(module, ModuleType):
        module.added = 1  # type: ignore[attr-defined]
        yield "reload", look(lambda: importlib.reload(module))
    for times in ("once", "twice"):
        sys.modules.pop(name, None)
        yield f"import after pop, {times}", look(imported)
    sys.modules.pop(name, None)
    yield "created and not executed", look(created)


def fail(name: str) -> ModuleSpec:
    raise ImportError(f"no spec for {name}")


def subinterpreters(way: str, registry: str, name: str, file: str) -> Iterator[tuple[str, object]]:
    """The same in subinterpreters, each a new one."""
    for kind in ("legacy", "isolated"):
        read, write = os.pipe()
        script = (
            "import json, os, sys\n"
            f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "import variants\n"
            f"variants.install({way!r}, {registry!r}, { ({name: file})!r})\n"
            f"seen = dict(variants.situations({name!r}, variants.Observer()))\n"
            f"with open({write}, 'w') as out:\n"
            "    json.dump(seen, out)\n"
        )
        error = run_in_subinterpreter(script, isolated=kind == "isolated")
        with os.fdopen(read) as result:
            text = result.read() if error is None else ""
        yield kind, json.loads(text) if text else error


def run_in_subinterpreter(script: str, *, isolated: bool) -> str | None:
    """Run it in a new interpreter; what was raised there, if anything."""
    if sys.version_info >= (3, 13):
        import _interpreters  # type: ignore[import-not-found]

        interpreter = _interpreters.create("isolated" if isolated else "legacy")
        raised = _interpreters.exec(interpreter, script)
        _interpreters.destroy(interpreter)
        return None if raised is None else str(raised.formatted)
    import _xxsubinterpreters  # type: ignore[import-not-found]

    interpreter = _xxsubinterpreters.create(isolated=isolated)
    try:
        _xxsubinterpreters.run_string(interpreter, script)
    except _xxsubinterpreters.RunFailedError as error:
        return str(error)
    finally:
        _xxsubinterpreters.destroy(interpreter)
    return None


def in_a_process_of_its_own(tell: Callable[[], Any]) -> Any:
    """What `tell` returns in a child, or that a signal ended it: some versions have such bugs."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(write, "w") as out:
            json.dump(tell(), out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as result:
        text = result.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(text) if status == 0 else "died" if status < 0 else f"exit status {status}"


def tell_all(way: str, registry: str, name: str, file: str) -> dict[str, object]:
    def here() -> dict[str, object]:
        install(way, registry, {name: file})
        return dict(situations(name, Observer()))

    def elsewhere() -> dict[str, object]:
        return dict(subinterpreters(way, registry, name, file))

    def both() -> dict[str, object]:
        here()
        return elsewhere()

    tables = {
        "in the main interpreter": in_a_process_of_its_own(here),
        "in subinterpreters": in_a_process_of_its_own(elsewhere),
    }
    if not Path(file).name.startswith("_testmultiphase"):
        # of multi-phase modules nothing is kept that subinterpreters could see
        tables["in subinterpreters after the main one"] = in_a_process_of_its_own(both)
    return tables


def main(arguments: Sequence[str]) -> None:
    way, registry, files_text = arguments
    files: dict[str, str] = json.loads(files_text)
    json.dump(
        {name: tell_all(way, registry, name, file) for name, file in files.items()}, sys.stdout
    )


if __name__ == "__main__":
    main(sys.argv[1:])
