"""Registries of small trees of files, built without the freezer."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import frozenfinder
from frozenfinder.closed.finder import ClosedFinder
from support.registries import Frozen, build_registry, data_file, frozen

Files = Mapping[str, "str | bytes"]


def freeze_files(files: Files, *, with_source: bool = True, world: bool = False) -> bytes:
    """The registry of a folder that imports are searched in, as the freezer makes it.

    `.py` files become modules, other files data, and folders without an `__init__.py` namespaces.
    """
    contents = {
        path: content if isinstance(content, bytes) else content.encode()
        for path, content in files.items()
    }
    sources = {path: content for path, content in contents.items() if path.endswith(".py")}
    return build_registry(
        *(_module(path, content, with_source) for path, content in sources.items()),
        *(
            _namespace(folder)
            for folder in _folders(contents)
            if f"{folder}/__init__.py" not in sources
        ),
        files=[data_file(path, contents[path]) for path in contents if path not in sources],
        world=world,
    )


@contextmanager
def closed(
    files: Files, *, with_source: bool = True, world: bool = False, path: Path | None = None
) -> Iterator[ClosedFinder]:
    """A closed registry of these files, installed; what it served is forgotten at the end.

    It is in memory, unless `path` says where to write it.
    """
    before = set(sys.modules)
    registry = freeze_files(files, with_source=with_source, world=world)
    if path is not None:
        path.write_bytes(registry)
    finder = frozenfinder.install(path or registry, mode="closed")
    assert isinstance(finder, ClosedFinder)
    try:
        yield finder
    finally:
        frozenfinder.uninstall(finder)
        tops = {path.partition("/")[0].removesuffix(".py") for path in files}
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in tops:
                del sys.modules[name]


def _module(path: str, source: bytes, with_source: bool) -> Frozen:
    name = path.removesuffix(".py").replace("/", ".")
    return frozen(
        name.removesuffix(".__init__"),
        source.decode(),
        text=source if with_source else None,
        is_package=name.endswith(".__init__"),
    )


def _namespace(folder: str) -> Frozen:
    fields = {"kind": "namespace", "is_package": True, "root": 1, "path": folder}
    return Frozen(folder.replace("/", "."), fields=fields)


def _folders(paths: Mapping[str, bytes]) -> Iterator[str]:
    """Every folder on the way to one of the paths that an import could name."""
    folders = set()
    for path in paths:
        *parents, _ = path.split("/")
        for depth in range(1, len(parents) + 1):
            folders.add("/".join(parents[:depth]))
    return (folder for folder in sorted(folders) if folder.replace("/", "").isidentifier())
