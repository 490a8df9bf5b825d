"""The start of a bundle: it installs the registry in the same file, before the program runs.

The bundler adds a call of `boot` to this source and compiles it, so it may only import modules that
every interpreter has loaded. `RunTime` imports the run-time half of frozenfinder from the bundle,
until the installed registry can serve the rest.
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
    """Finder and loader of the modules in `table`, while it is entered as a context manager.

    The modules appear to be below the bundle's path, like those from the registry. The table says
    for each whether it is a package, and where its code is in the bundle: offset, size in bytes,
    and digest. `key` is the key of the digests.
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
            self,  # type: ignore[arg-type]  # not a Loader to the type checker
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
    """Install the registry at byte `offset` of the bundle `path`, unless it is installed already.

    `version`, `key` and `table` are those of frozenfinder's run-time half. A bundle with extension
    modules is for interpreters that load files with that `suffix`, and one with the standard
    library for the interpreter of that `release`. SystemExit with one line if it cannot be
    installed.
    """
    complaint = find_complaint(suffix, release)
    if complaint:
        sys.exit(f"{path}: {complaint}")
    if getattr(sys.modules.get("frozenfinder"), "__version__", version) != version:
        for name in [name for name in sys.modules if name.partition(".")[0] == "frozenfinder"]:
            del sys.modules[name]
    with RunTime(path, key, table):
        _install(path, offset)
    # the next search there must find the registry
    sys.path_importer_cache.pop(path, None)


def _install(path: str, offset: int) -> None:
    from frozenfinder.errors import FrozenFinderError
    from frozenfinder.runtime.hooks import serve
    from frozenfinder.runtime.registry import Registry

    try:
        registry = Registry.open(path, offset=offset)
        # like CPython's own frozen modules, it serves every level of optimisation
        registry.mismatch = None
        serve(registry, "closed")
    except FrozenFinderError as error:
        sys.exit(f"{path}: {error}")


def prepare_exit() -> None:
    """Let the process end quickly; for the program of the bundle, after `boot`."""
    from frozenfinder.fast_exit import prepare
    from frozenfinder.runtime.hooks import installed

    prepare(installed)


def find_complaint(suffix: str, release: int) -> "str | None":
    """Why this interpreter may not run the bundle, or None; it has the right magic number."""
    if release and release != sys.hexversion:
        found = f"{release >> 24}.{release >> 16 & 255}.{release >> 8 & 255}"
        return (
            f"contains the standard library of Python {found}, {sys.executable} is Python "
            f"{sys.version.split()[0]}; run it with that release, or build it again"
        )
    if suffix and suffix not in extension_suffixes():
        return (
            f"contains extension modules that end in {suffix!r}, {sys.executable} loads "
            f"{', '.join(extension_suffixes())}; build it again with this interpreter"
        )
    return None


def take_over(namespace: "dict[str, object]") -> None:
    """Replace a module in the archive by the module of that name in the registry.

    `namespace` belongs to the module in the archive, which is being imported, or run under another
    name. It exists for processes that have the bundle on `sys.path` but have not booted from it,
    such as those that multiprocessing starts.
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
