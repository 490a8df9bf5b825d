"""An interpreter that obeys: one command on each line of its input, one account on each of output.

    python tests/programs/twin.py FOLDER [REGISTRY]

Both are JSON. Without a registry the interpreter is stock; with one it is installed in overlay. Two
of them that are given the same commands have to give the same accounts (`test_overlay_machine`).
"""

import builtins
import importlib
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any

OURS = {"FrozenLoader": "SourceFileLoader", "FrozenExtensionLoader": "ExtensionFileLoader"}
"""What stock has in the place of overlay's loaders, which a module keeps until it is executed."""


class Claimer:
    """A finder, of the meta path or of an item of `sys.path`, that has one module."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        return ModuleSpec(name, self, origin="claimed") if name == self.name else None  # type: ignore[arg-type]

    def create_module(self, _: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.VALUE = "claimed"  # type: ignore[attr-defined]


class Twin:
    """Its public methods are the commands. `names` are those of the modules that it tells of."""

    def __init__(self, folder: str, finder: Any) -> None:
        self.finder = finder
        self.names: set[str] = set()
        self.stdlib = list(sys.path[1:])
        self.meta_path = list(sys.meta_path)
        self.path_hooks = list(sys.path_hooks)
        os.chdir(folder)

    # -- what a program does

    def run(self, statement: str) -> None:
        exec(statement, {})

    def import_module(self, name: str) -> None:
        importlib.import_module(name)

    def reload(self, name: str) -> None:
        if name in sys.modules:
            importlib.reload(sys.modules[name])

    def find_spec(self, name: str) -> object:
        spec = importlib.util.find_spec(name)
        return spec and describe_spec(spec)

    def purge(self, names: Sequence[str]) -> None:
        """Forget the modules and those in them."""
        for name in [*sys.modules]:
            if any(f"{name}.".startswith(f"{each}.") for each in names):
                del sys.modules[name]

    def set_path(self, items: Sequence[str]) -> None:
        sys.path[:] = [*items, *self.stdlib]

    def chdir(self, folder: str) -> None:
        os.chdir(folder)

    def invalidate(self) -> None:
        importlib.invalidate_caches()

    def set_finders(self, first: Sequence[str], last: Sequence[str]) -> None:
        """Have finders before all others and after all others, with a module each."""
        sys.meta_path[:] = [*map(Claimer, first), *self.meta_path, *map(Claimer, last)]

    def set_hooks(self, claimed: dict[str, str], source_only: Sequence[str]) -> None:
        """Have path items searched by a finder with one module, or for source files alone."""

        def claim(item: str) -> Claimer:
            if item not in claimed:
                raise ImportError
            return Claimer(claimed[item])

        def search(item: str) -> FileFinder:
            if item not in source_only:
                raise ImportError
            return FileFinder(item, (SourceFileLoader, [".py"]))

        sys.path_hooks[:] = [claim, search, *self.path_hooks]
        sys.path_importer_cache.clear()

    # -- the account

    def obey(self, command: str, *arguments: Any) -> dict[str, object]:
        executed: list[str] = []
        builtins.executed = executed  # type: ignore[attr-defined]  # for the bodies of modules
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcome = try_out(getattr(self, command), *arguments)
        return {
            "outcome": outcome,
            "executed": executed,
            "warnings": [f"{each.category.__name__}: {each.message}" for each in caught],
            "modules": {
                name: try_out(describe, sys.modules[name])
                for name in sorted(self.names & {*sys.modules})
            },
        }

    def served(self) -> int:
        return self.finder.served if self.finder else 0


def try_out(function: Callable[..., object], *arguments: object) -> object:
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001  # whatever it is, both have to agree
        about = getattr(error, "name", None), getattr(error, "path", None)
        return [type(error).__name__, str(error), *about]


def describe(module: Any) -> dict[str, object]:
    """What a module says of itself."""
    space = vars(module)
    path = space.get("__path__")
    return {
        "names": sorted(space),
        "value": repr(space.get("VALUE")),
        "file": repr(space.get("__file__")),
        "cached": repr(space.get("__cached__")),
        "package": space.get("__package__"),
        "path": path and [type(path).__name__, *path],
        "loader": loader_name(space.get("__loader__")),
        "loader is the spec's": space.get("__loader__") is getattr(module.__spec__, "loader", None),
        "spec": module.__spec__ and describe_spec(module.__spec__),
        "code": space["function"].__code__.co_filename if "function" in space else None,
        "bound": sorted(name for name, value in space.items() if isinstance(value, ModuleType)),
    }


def describe_spec(spec: ModuleSpec) -> dict[str, object]:
    locations = spec.submodule_search_locations
    return {
        "name": spec.name,
        "origin": spec.origin,
        "has_location": spec.has_location,
        "cached": spec.cached,
        "parent": spec.parent,
        "locations": locations and [type(locations).__name__, *locations],
        "loader": loader_name(spec.loader),
        "loader's path": getattr(spec.loader, "path", None),
        "loader_state": repr(spec.loader_state),
    }


def loader_name(loader: object) -> str:
    name = type(loader).__name__
    return OURS.get(name, name)


def main(folder: str, *registry: str) -> None:
    finder = None
    if registry:
        import frozenfinder

        finder = frozenfinder.install(*registry)
    twin = Twin(folder, finder)
    twin.names.update(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        print(json.dumps(twin.obey(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
