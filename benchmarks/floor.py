"""The floor: module bodies executed from code objects that are in memory already.

No importer that runs these bodies can be faster, so the distance to it is what is left to gain.
`python floor.py IMPORTS FILE` imports, and records what was executed; `install(FILE)` serves it.
It imports only what is built in: what is imported here does not count there.
"""

import gc
import marshal
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader, PathFinder, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    Body = tuple[str, CodeType | None, list[str] | None]
    """Of a module its file, its code if it has Python code, and its path if it is a package."""


class InMemory(SourceFileLoader):
    """A `SourceFileLoader` that has the code already."""

    def __init__(self, name: str, path: str, code: "CodeType") -> None:
        self.name = name
        self.path = path
        self._code = code

    def get_code(self, fullname: str) -> "CodeType":
        return self._code


class Floor:
    """Finds what was recorded."""

    def __init__(self, bodies: "dict[str, Body]") -> None:
        self.bodies = bodies

    def find_spec(
        self, fullname: str, path: "Sequence[str] | None" = None, target: object = None
    ) -> ModuleSpec | None:
        body = self.bodies.get(fullname)
        if body is None:
            return None
        origin, code, locations = body
        if code is None:
            loader: object = ExtensionFileLoader(fullname, origin)
        else:
            loader = InMemory(fullname, origin, code)
        spec = ModuleSpec(fullname, loader, origin=origin)
        spec.submodule_search_locations = locations
        spec.has_location = True
        return spec


def install(file: str) -> None:
    """Take everything into memory, out of the collector's sight, and serve it."""
    with open(file, "rb") as stream:
        bodies = {name: tuple(body) for name, *body in marshal.loads(stream.read())}
    gc.collect()
    gc.freeze()
    sys.meta_path.insert(sys.meta_path.index(PathFinder), Floor(bodies))


def record(imports: str, file: str) -> None:
    """Import, and write down what was executed from source or was an extension module."""
    before = set(sys.modules)
    exec(imports, {})
    bodies = []
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if name in before or spec is None or spec.name != name:
            continue
        code = None
        if type(spec.loader) is SourceFileLoader:
            code = spec.loader.get_code(name)
        elif type(spec.loader) is not ExtensionFileLoader:
            continue
        path = spec.submodule_search_locations
        bodies.append((name, spec.origin, code, None if path is None else list(path)))
    with open(file, "wb") as stream:
        stream.write(marshal.dumps(bodies))


if __name__ == "__main__":
    record(*sys.argv[1:])
