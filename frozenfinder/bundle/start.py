"""What a bundle runs before its program: it installs the registry that lies in the same file.

The bundler adds a call of `boot` to this source and compiles the whole, so it may not import what
is not loaded in every interpreter. `RunTime` imports the run-time half of frozenfinder from the
bundle, until that can serve the rest of itself.
"""

import marshal
import sys
from _frozen_importlib import ModuleSpec
from _imp import _fix_co_filename, extension_suffixes, source_hash  # type: ignore[attr-defined]
from _io import FileIO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    Table = dict[str, tuple[bool, int, int, int]]


class RunTime:
    """Finder and loader of the modules in `table`, while it is entered as a context.

    They seem to lie below the bundle's path, as those that the registry serves do. The table tells
    of each whether it is a package, and where its code is in the bundle: offset, size and digest.
    `key` is that of the digests.
    """

    def __init__(self, path: str, key: int, table: "Table") -> None:
        self._path = path
        self._key = key
        self._table = table
        self._file = FileIO(path)

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        self._file.close()

    def find_spec(self, fullname: str, *_: object) -> "ModuleSpec | None":
        if fullname not in self._table:
            return None
        is_package = self._table[fullname][0]
        separator = "\\" if sys.platform == "win32" else "/"
        parts = [self._path, *fullname.split("."), *["__init__"][: int(is_package)]]
        spec = ModuleSpec(
            fullname,
            self,  # type: ignore[arg-type]  # no Loader to the type checker
            origin=separator.join(parts) + ".py",
            is_package=is_package,
        )
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [separator.join(parts[:-1])]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """The default semantics."""

    def exec_module(self, module: "ModuleType") -> None:
        _, offset, size, digest = self._table[module.__name__]
        self._file.seek(offset)
        data = self._file.read(size)
        if int.from_bytes(source_hash(self._key, data), "little") != digest:
            sys.exit(
                f"{self._path}: is damaged between byte {offset} and {offset + size}; copy it again"
            )
        code = marshal.loads(data)
        _fix_co_filename(code, module.__file__)
        exec(code, module.__dict__)


def boot(
    path: str, *, version: str, offset: int, key: int, table: "Table", suffix: str, release: int
) -> None:
    """Install the registry at byte `offset` of the bundle `path`, if it is not yet.

    `version`, `key` and `table` are those of frozenfinder's run-time half. A bundle with extension
    modules is for interpreters that load files of that `suffix`, and one with the standard library
    for those of that `release`. SystemExit, in one line, where it cannot be.
    """
    complaint = find_complaint(suffix, release)
    if complaint:
        sys.exit(f"{path}: {complaint}")
    if getattr(sys.modules.get("frozenfinder"), "__version__", version) != version:
        for name in [name for name in sys.modules if name.partition(".")[0] == "frozenfinder"]:
            del sys.modules[name]
    with RunTime(path, key, table):
        _install(path, offset)
    # so that what is searched there next is searched in the registry
    sys.path_importer_cache.pop(path, None)


def _install(path: str, offset: int) -> None:
    from frozenfinder.errors import FrozenFinderError
    from frozenfinder.runtime.hooks import serve
    from frozenfinder.runtime.registry import Registry

    try:
        registry = Registry.open(path, offset=offset)
        # CPython's own frozen modules serve every level of optimisation, too
        registry.mismatch = None
        serve(registry, "closed")
    except FrozenFinderError as error:
        sys.exit(f"{path}: {error}")


def find_complaint(suffix: str, release: int) -> "str | None":
    """Why this interpreter may not run the bundle, or None; it has the right magic number."""
    if release and release != sys.hexversion:
        found = f"{release >> 24}.{release >> 16 & 255}.{release >> 8 & 255}"
        return (
            f"holds the standard library of Python {found}, {sys.executable} is Python "
            f"{sys.version.split()[0]}; run it with that release, or build it again"
        )
    if suffix and suffix not in extension_suffixes():
        return (
            f"holds extension modules that end in {suffix!r}, {sys.executable} loads "
            f"{', '.join(extension_suffixes())}; build it again with this interpreter"
        )
    return None


def take_over(namespace: "dict[str, object]") -> None:
    """Put a module of the registry in the place of the one of its name in the archive.

    `namespace` is that of the latter, which is being imported, or run under another name. It is
    there for processes that have the bundle on `sys.path` and have not booted from it, such as
    those that multiprocessing starts.
    """
    spec = namespace["__spec__"]
    assert isinstance(spec, ModuleSpec)
    if namespace["__name__"] == spec.name:
        del sys.modules[spec.name]
        __import__(spec.name)
        return
    for finder in sys.meta_path:
        found = finder.find_spec(spec.name, None)
        if found is not None:
            break
    assert found is not None
    loader = found.loader
    namespace.update(__spec__=found, __loader__=loader, __file__=found.origin)
    exec(loader.get_code(spec.name), namespace)  # type: ignore[union-attr]
