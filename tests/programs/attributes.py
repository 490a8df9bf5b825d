"""Import every module that is named on standard input, and print what it and its spec look like.

Run as a program, in a fresh process: `attributes.py [REGISTRY]`. One JSON object, by module name.
"""

import importlib
import io
import json
import re
import sys
from importlib.machinery import ModuleSpec
from types import CodeType, FunctionType, ModuleType
from typing import Any

ADDRESS = re.compile(r"0x[0-9a-f]+")


def main() -> None:
    names = sys.stdin.read().split()
    finder: Any = None
    if len(sys.argv) > 1:
        import frozenfinder

        finder = frozenfinder.install(sys.argv[1])
    del sys.argv[1:]
    if "ctypes.util" not in names:
        # of Django's GIS modules every one looks for a library, and fails: a thousand runs of gcc
        import ctypes.util

        ctypes.util.find_library = lambda name: None  # noqa: ARG005
    before = set(sys.modules)
    output, sys.stdout = sys.stdout, io.StringIO()
    errors, sys.stderr = sys.stderr, io.StringIO()
    failures = {name: failure for name in names if (failure := try_import(name))}
    sys.stdout, sys.stderr = output, errors
    imported = {
        name: sys.modules[name]
        for name in names
        if name not in before and isinstance(sys.modules.get(name), ModuleType)
    }
    json.dump(
        {
            "failures": failures,
            "modules": {name: describe(module) for name, module in imported.items()},
            "served": None if finder is None else finder.served,
            "bypassed": {} if finder is None else finder.bypassed,
            "frozen": [] if finder is None else [n for n in imported if n in finder._served],
        },
        sys.stdout,
    )
    sys.stdout.flush()
    import os

    os._exit(0)  # what was imported may have left threads and exit handlers of every kind


def try_import(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001  # modules that run a program exit, or fail anyhow
        return ADDRESS.sub("0x", f"{type(error).__name__}: {error}")
    return None


def describe(module: ModuleType) -> dict[str, Any]:
    from importlib.machinery import SourceFileLoader

    spec = module.__spec__
    loader = None if spec is None else spec.loader
    path = getattr(module, "__path__", None)
    return {
        "name": module.__name__,
        "file": getattr(module, "__file__", "absent"),
        "path": None if path is None else list(path),
        "path type": type(path).__name__,
        "cached": getattr(module, "__cached__", "absent"),
        "package": getattr(module, "__package__", "absent"),
        "doc": module.__doc__,
        "loader is the spec's": getattr(module, "__loader__", None) is loader,
        "repr": ADDRESS.sub("0x", repr(module)),
        "names": sorted(vars(module)),
        "types": sorted({type(value).__name__ for value in vars(module).values()}),
        "loader type": type(loader).__name__,
        "source loader": isinstance(loader, SourceFileLoader),
        "loader state": ADDRESS.sub("0x", repr(getattr(loader, "__dict__", None))),
        "spec": None if spec is None else describe_spec(spec),  # a body may set it to None
        "co_filename": sorted(file_names(module)),
        "source file": source_file(module),
        "source": source_size(module),
        "children": children(path),
        "resources": resources(module),
    }


def describe_spec(spec: ModuleSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "origin": spec.origin,
        "has_location": spec.has_location,
        "cached": spec.cached,
        "parent": spec.parent,
        "locations": spec.submodule_search_locations and list(spec.submodule_search_locations),
        "loader_state": repr(spec.loader_state),
        "names": sorted(vars(spec)),
    }


def file_names(module: ModuleType) -> set[str]:
    """Of every code object that a function or a method of the module leads to."""
    found: set[str] = set()
    for value in list(vars(module).values()):
        # type() and not isinstance: a proxy would answer for what it stands for
        members = list(vars(value).values()) if issubclass(type(value), type) else [value]
        for member in members:
            if type(member) is FunctionType and member.__module__ == module.__name__:
                collect(member.__code__, found)
    return found


def collect(code: CodeType, found: set[str]) -> None:
    found.add(code.co_filename)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            collect(constant, found)


def source_file(module: ModuleType) -> str | None:
    import inspect

    try:
        return inspect.getsourcefile(module)
    except TypeError as error:
        return str(error)


def source_size(module: ModuleType) -> int | str:
    import inspect

    try:
        return len(inspect.getsource(module))
    except (OSError, TypeError) as error:
        return str(error)


def children(path: Any) -> list[str] | None:
    import pkgutil

    return None if path is None else [info.name for info in pkgutil.iter_modules(list(path))]


def resources(module: ModuleType) -> str | None:
    if not hasattr(module, "__path__"):
        return None
    import importlib.resources

    try:
        return ADDRESS.sub("0x", str(importlib.resources.files(module)))
    except Exception as error:  # noqa: BLE001  # whatever it is, both sides have to agree
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
