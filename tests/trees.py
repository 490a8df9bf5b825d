"""Registries of small trees of files, built without the freezer."""

from collections.abc import Iterator, Mapping

from registries import Frozen, build_registry, data_file, frozen

Files = Mapping[str, "str | bytes"]


def freeze_files(
    files: Files, *, with_source: bool = True, namespaces: tuple[str, ...] = (), world: bool = False
) -> bytes:
    """The registry of a folder that imports are searched in: modules, and the other files as data.

    `namespaces` are the folders without an `__init__.py` that are packages all the same.
    """
    modules = list(_modules(files, with_source))
    modules += [
        Frozen(folder.replace("/", "."), fields={"kind": "namespace", "root": 1, "path": folder})
        for folder in namespaces
    ]
    return build_registry(
        *modules,
        files=[
            data_file(path, content if isinstance(content, bytes) else content.encode())
            for path, content in files.items()
            if not path.endswith(".py")
        ],
        world=world,
    )


def _modules(files: Files, with_source: bool) -> Iterator[Frozen]:
    for path, content in files.items():
        if path.endswith(".py"):
            source = content if isinstance(content, str) else content.decode()
            name = path.removesuffix(".py").replace("/", ".")
            yield frozen(
                name.removesuffix(".__init__"),
                source,
                text=source.encode() if with_source else None,
                is_package=name.endswith(".__init__"),
            )
