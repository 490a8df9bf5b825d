"""Extension modules of closed mode: extracted, held in memory, or referred to."""

import errno
import importlib
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from support.at_once import at_once, dawdling_dup2
from support.compiled import SUFFIX, compile_c, compile_family, embedded, extension, parcel_file
from support.families import LIBRARIES, LOAD, MODULES, Family
from support.processes import Python, RunPython
from support.registries import Frozen, build_registry, data_file, frozen

import frozenfinder
from frozenfinder import RegistryError
from frozenfinder.closed.loader import ClosedExtensionLoader
from frozenfinder.native import memory
from frozenfinder.native.extraction import Extractor
from frozenfinder.native.parcel import ParcelFile
from frozenfinder.runtime import layout
from frozenfinder.runtime.registry import FrozenEntry, Registry

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux'")

NO_CACHE = "/dev/null/cache"
NO_CACHE_REASON = "File exists: '/dev/null'"
FILES = sorted([*MODULES, *LIBRARIES])
INSTALL = LOAD.partition("import family.first")[0]


# -- what a module looks like


def test_finding_a_module_extracts_nothing(family: Family) -> None:
    code = INSTALL + (
        "import importlib.util\n"
        "spec = importlib.util.find_spec('family.first')\n"
        "loader = spec.loader\n"
        "print(spec.origin, spec.has_location, loader.path, loader.get_code('family.first'))\n"
    )
    assert family.run(code) == [f"{family.first} True {family.first} None"]
    assert not family.cache.exists()


def test_the_file_is_the_real_one_and_its_digest_is_known(family: Family) -> None:
    code = LOAD + (
        "first = family.first\n"
        "record = finder.fixups.records()[-2]\n"
        "print(first.__spec__.origin == first.__loader__.path == first.__file__ == record.origin)\n"
        "print(record.name, record.digest, finder.served)\n"
    )
    lines = family.run(code)
    digest = sha256(family.first.read_bytes()).hexdigest()
    assert lines[-2:] == ["True", f"family.first {digest} 3"]


def test_a_loader_pickles_where_the_registry_is_installed(family: Family) -> None:
    code = LOAD + (
        "import pickle\n"
        "spec = family.first.__spec__\n"
        "again = pickle.loads(pickle.dumps(spec))\n"
        "print(again == spec, again.loader is spec.loader, again.loader == spec.loader)\n"
        "frozenfinder.uninstall()\n"
        "try:\n"
        "    pickle.loads(pickle.dumps(spec))\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    registry = str(family.registry)
    assert family.run(code)[-2:] == [
        "True False True",
        f"no loader for 'family.first': registry {registry!r} is not installed in this process",
    ]


def test_an_extension_module_can_be_a_package(tmp_path: Path, run_python: RunPython) -> None:
    init = f"pkg/__init__{SUFFIX}"
    compile_c("user.c", tmp_path / init, "-DINIT=PyInit_pkg", "-Dinner=rand")
    compile_c("user.c", tmp_path / f"pkg/sub{SUFFIX}", "-DINIT=PyInit_sub", "-Dinner=rand")
    registry = tmp_path / "pkg.frz"
    modules = [embedded("pkg", tmp_path, init), embedded("pkg.sub", tmp_path, f"pkg/sub{SUFFIX}")]
    registry.write_bytes(build_registry(*modules))
    (tmp_path / "pkg").rename(tmp_path / "moved away")
    code = INSTALL + (
        "import pkg.sub, pkgutil\n"
        "print(pkg.__path__, pkg.__package__, pkg.sub.__package__)\n"
        "print(*[(each.name, each.ispkg) for each in pkgutil.iter_modules(pkg.__path__)])\n"
    )
    env = {"FROZENFINDER_CACHE": str(tmp_path / "cache")}
    assert run_python(code, registry, env=env).stdout.splitlines() == [
        f"['{registry}/pkg'] pkg pkg",
        "('sub', False)",
    ]


def test_what_computes_the_digests_can_be_embedded_itself(
    tmp_path: Path, run_python: RunPython
) -> None:
    folder = Path(sysconfig.get_config_var("DESTSHARED") or "")
    hashes = ("_hashlib", "_sha2", "_sha256")
    names = [name for name in hashes if (folder / (name + SUFFIX)).exists()]
    if not names:
        pytest.skip("this interpreter has its hash functions built in")
    registry = tmp_path / "hash.frz"
    modules = [embedded(name, folder, name + SUFFIX) for name in names]
    registry.write_bytes(build_registry(*modules))
    code = INSTALL + (
        f"import {', '.join(names)}, hashlib\n"
        "print(hashlib.sha256(b'').hexdigest()[:8], finder.served, finder.extractor.in_memory)\n"
        f"print(*[sys.modules[name].__file__ for name in {names!r}])\n"
    )
    cache = tmp_path / "cache"
    first, second = run_python(code, registry, env={"FROZENFINDER_CACHE": str(cache)}).stdout.split(
        "\n"
    )[:2]
    assert first == f"e3b0c442 {len(names)} {{}}"
    assert all(file.startswith(str(cache)) for file in second.split())


# -- Windows


def test_folders_of_libraries_are_announced_where_that_is_needed(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[str] = []
    monkeypatch.setattr(os, "add_dll_directory", announced.append, raising=False)
    monkeypatch.setenv("FROZENFINDER_CACHE", str(family.cache))
    finder = frozenfinder.install(family.registry, mode="closed")
    assert isinstance(finder, frozenfinder.ClosedFinder)
    entry = finder.registry.find_entry("family.first")
    assert entry is not None
    try:
        assert finder.extract(entry)[0] == str(family.first)
    finally:
        frozenfinder.uninstall(finder)
    assert announced == [str(family.home / "family.libs")] * 2


# -- memory


def test_debugging_says_what_is_loaded_from_memory(family: Family) -> None:
    env = {"FROZENFINDER_CACHE": NO_CACHE, "FROZENFINDER_DEBUG": "1"}
    done = family.python("-c", LOAD, family.registry, env=env)
    assert done.stderr.splitlines() == [
        f"frozenfinder: 'family.{name}' is loaded from memory: {NO_CACHE_REASON}"
        for name in ("first", "second")
    ]


def test_a_user_without_a_home_has_modules_in_memory(family: Family) -> None:
    env = {"HOME": "nowhere", "XDG_CACHE_HOME": "", "FROZENFINDER_CACHE": ""}
    done = family.python("-c", LOAD, family.registry, env=env)
    reason = ("family.first", "no home directory was found for the cache")
    assert done.stdout.splitlines()[1] == str(reason)


def test_closing_every_descriptor_does_no_harm_to_later_imports(family: Family) -> None:
    family = replace(family, cache=Path(NO_CACHE))
    code = INSTALL + (
        "import os, family.first\n"
        "before = family.first.call()\n"
        "os.closerange(3, 4096)\n"
        "import family.second\n"
        "print(before, family.second.call(), family.first.__file__ != family.second.__file__)\n"
        "for name in 'first', 'second':\n"
        "    del sys.modules[f'family.{name}']\n"
        "import family.first, family.second\n"
        "print(family.first.call(), family.second.call())\n"
    )
    assert family.run(code) == ["101 201 True", "301 401"]


def test_a_module_imported_again_has_the_same_file_in_memory(family: Family) -> None:
    family = replace(family, cache=Path(NO_CACHE))
    code = INSTALL + (
        "import os, family.first\n"
        "path = family.first.__file__\n"
        "del sys.modules['family.first']\n"
        "import family.first\n"
        "print(family.first.__file__ == path == family.first.__spec__.origin)\n"
        "print(path.startswith('/proc/self/fd/'), family.first.call())\n"
    )
    assert family.run(code) == ["True", "True 101"]


def test_a_file_that_was_removed_is_extracted_again(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `frozenfinder cache --prune` may do while the program runs."""
    monkeypatch.setenv("FROZENFINDER_CACHE", str(family.cache))
    extractor = Extractor(Registry.open(family.registry))
    entry = extractor.registry.find_entry("family.first")
    assert entry is not None
    for _ in range(2):
        assert extractor.extract(entry)[0] == str(family.first)
        assert family.files == [name for name in FILES if "second" not in name]
        shutil.rmtree(family.home)


def test_a_file_that_is_there_is_verified_once(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROZENFINDER_CACHE", str(family.cache))
    extractor = Extractor(Registry.open(family.registry))
    entry = extractor.registry.find_entry("family.first")
    assert entry is not None
    found = extractor.extract(entry)

    def fail(path: object, *_: object) -> None:
        raise AssertionError(f"{path!r} was opened")

    monkeypatch.setattr(os, "open", fail)
    assert extractor.extract(entry) == found


@pytest.fixture
def in_memory(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Registry, FrozenEntry]]:
    """A registry, and an entry of it that is put into memory; what was put there is forgotten."""
    monkeypatch.setenv("FROZENFINDER_CACHE", NO_CACHE)
    files = memory.MemoryFiles()
    monkeypatch.setattr(memory, "memory_files", files)
    registry = Registry.open(family.registry)
    entry = registry.find_entry("family.first")
    assert entry is not None
    yield registry, entry
    for path, _ in files._held.values():
        os.close(int(path.rpartition("/")[2]))


def count_files_in_memory() -> int:
    """How many descriptors of such files this process has open."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one of the listing itself
            links.append(str(descriptor.readlink()))
    return sum(link.startswith("/memfd:") for link in links)


@linux_only
def test_threads_hold_one_file_in_memory_for_all_extractors(
    in_memory: tuple[Registry, FrozenEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files would be two libraries, with two sets of C variables."""
    registry, entry = in_memory
    make = os.memfd_create

    def dawdle(name: str, *flags: int) -> int:
        time.sleep(0.05)
        return make(name, *flags)

    monkeypatch.setattr(os, "memfd_create", dawdle)
    monkeypatch.setattr(memory, "load_libraries", lambda _: None)
    before = count_files_in_memory()
    found = at_once(lambda _: Extractor(registry).extract(entry), range(8))
    assert len({path for path, _ in found}) == 1
    (path, digest), *_ = found
    assert sha256(Path(path).read_bytes()).hexdigest() == digest
    # the module and its two libraries
    assert count_files_in_memory() == before + 3


@linux_only
def test_threads_never_lose_a_file_in_memory_to_each_other(
    in_memory: tuple[Registry, FrozenEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each looks for the highest number that is free, and takes it."""
    registry, _ = in_memory
    monkeypatch.setattr("posix.dup2", dawdling_dup2)
    entries = [registry.find_entry(f"family.{name}") for name in ("first", "second")]
    monkeypatch.setattr(memory, "load_libraries", lambda _: None)

    def extract(entry: FrozenEntry | None) -> tuple[str, str]:
        assert entry is not None
        return Extractor(registry).extract(entry)

    for path, digest in at_once(extract, entries):
        assert sha256(Path(path).read_bytes()).hexdigest() == digest


@linux_only
def test_a_failure_to_fill_a_file_in_memory_leaves_no_descriptor(
    in_memory: tuple[Registry, FrozenEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, entry = in_memory
    opened: list[int] = []

    def fail(descriptor: int, _: object) -> int:
        opened.append(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(ImportError, match="No space left on device"):
            Extractor(registry).extract(entry)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


@linux_only
def test_why_modules_are_in_memory_can_be_read_while_others_are_loaded(
    in_memory: tuple[Registry, FrozenEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, entry = in_memory
    monkeypatch.setattr(memory, "load_libraries", lambda _: None)
    extractor = Extractor(registry)
    before = extractor.in_memory
    extractor.extract(entry)
    assert before == {}
    assert extractor.in_memory == {"family.first": NO_CACHE_REASON}


# -- errors


@contextmanager
def refused(registry: Path | bytes, name: str, kind: type[ImportError]) -> Iterator[list[str]]:
    """Import a module in closed mode, which has to fail; its message is put into the list."""
    told: list[str] = []
    before = set(sys.modules)
    finder = frozenfinder.install(registry, mode="closed")
    try:
        yield told
        with pytest.raises(kind) as caught:
            importlib.import_module(name)
    finally:
        frozenfinder.uninstall(finder)
        for each in set(sys.modules) - before:
            if each.partition(".")[0] == name.partition(".")[0]:
                del sys.modules[each]
    assert type(caught.value) is kind
    assert caught.value.name == name or kind is RegistryError
    assert str(caught.value) == told[0]


def test_without_files_in_memory_the_error_says_what_to_do(
    family: Family, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("FROZENFINDER_CACHE", str(file))
    with refused(family.registry, "family.first", ImportError) as told:
        told.append(
            f"registry {str(family.registry)!r}: extension module 'family.first' cannot be put "
            f"into the cache: {str(file)!r} is a file, expected a directory; "
            "set FROZENFINDER_CACHE to a directory of your own"
        )


CIRCLE = (
    INSTALL
    + """
import os, pkg.m
print(pkg.m.call(), *finder.extractor.in_memory)
print([name for name in os.listdir(os.environ["TMPDIR"]) if name.startswith("frozenfinder-")])
"""
)


def test_libraries_that_need_each_other_can_be_in_memory(tmp_path: Path, python: Python) -> None:
    root = tmp_path / "lib"
    libs = root / "pkg.libs"
    options = ["-Wl,-rpath,$ORIGIN", f"-L{libs}"]
    compile_c("innermost.c", libs / "libinnermost.so", "-Wl,-soname,libinnermost.so")
    inner = compile_c("library.c", libs / "libinner.so", *options, "-l:libinnermost.so")
    circle = ["-Wl,--no-as-needed", "-Wl,-soname,libinnermost.so", "-l:libinner.so"]
    compile_c("innermost.c", libs / "libinnermost.so", *options, *circle)
    compile_c(
        "user.c",
        root / "pkg" / f"m{SUFFIX}",
        *("-DINIT=PyInit_m", "-Wl,-rpath,$ORIGIN/../pkg.libs", f"-Wl,-rpath-link,{libs}"),
        *(f"-L{libs}", f"-l:{inner.name}"),
    )
    registry = tmp_path / "p.frz"
    freeze = ("-m", "frozenfinder", "freeze", "--extensions=embed", "--path", root, "-o", registry)
    python(*freeze)
    root.rename(tmp_path / "moved away")
    env = {"FROZENFINDER_CACHE": NO_CACHE, "TMPDIR": str(tmp_path)}
    assert python("-c", CIRCLE, registry, env=env).stdout.splitlines() == ["101 pkg.m", "[]"]


def test_without_a_folder_for_links_libraries_are_found_by_the_names_they_give_themselves(
    family: Family, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    family = replace(family, cache=Path(NO_CACHE))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "open"))
    called, *_ = family.run()
    assert called.startswith("101 201 ")
    assert list((tmp_path / "open").iterdir()) == []


@pytest.mark.usefixtures("processes")
def test_a_library_that_is_nowhere_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_c("innermost.c", tmp_path / "libinnermost.so", "-Wl,-soname,libnowhere.so")
    compile_c("library.c", tmp_path / "libinner.so", f"-L{tmp_path}", "-l:libinnermost.so")
    (tmp_path / "libinnermost.so").unlink()
    compile_c("user.c", tmp_path / f"m{SUFFIX}", "-DINIT=PyInit_m", "-Dinner=rand")
    parcel = [
        parcel_file(tmp_path, "libinner.so", is_library=True),
        parcel_file(tmp_path, f"m{SUFFIX}"),
    ]
    module = extension("m", tmp_path, f"m{SUFFIX}", parcel=parcel)
    library = data_file("libinner.so", (tmp_path / "libinner.so").read_bytes())
    monkeypatch.setenv("FROZENFINDER_CACHE", NO_CACHE)
    with refused(build_registry(module, files=[library]), "m", ImportError) as told:
        told.append(
            "registry '<bytes>': extension module 'm' can neither be put into the cache: "
            f"{NO_CACHE_REASON}, nor loaded from memory: libnowhere.so: cannot open shared object "
            "file: No such file or directory; set FROZENFINDER_CACHE to a directory of your own"
        )


@pytest.mark.usefixtures("processes")
def test_data_that_a_module_looks_for_beside_itself_keeps_it_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_module(tmp_path)
    (tmp_path / "data.txt").write_text("data")
    parcel = [
        parcel_file(tmp_path, "data.txt", is_library=True),
        parcel_file(tmp_path, file.name),
    ]
    module = extension("m", tmp_path, file.name, parcel=parcel)
    monkeypatch.setenv("FROZENFINDER_CACHE", NO_CACHE)
    with refused(
        build_registry(module, files=[data_file("data.txt", b"data")]), "m", ImportError
    ) as told:
        told.append(
            "registry '<bytes>': extension module 'm' can neither be put into the cache: "
            f"{NO_CACHE_REASON}, nor loaded from memory: it needs 'data.txt' beside it; "
            "set FROZENFINDER_CACHE to a directory of your own"
        )


def make_module(folder: Path) -> Path:
    return compile_c("user.c", folder / f"m{SUFFIX}", "-DINIT=PyInit_m", "-Dinner=rand")


@pytest.mark.usefixtures("processes")
def test_content_that_its_parcel_does_not_list_is_never_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_module(tmp_path)
    size = file.stat().st_size
    wrong = ParcelFile(file.name, digest="5f" * 32, size=size, is_library=False)
    monkeypatch.setenv("FROZENFINDER_CACHE", str(tmp_path / "cache"))
    module = extension("m", tmp_path, file.name, parcel=[wrong])
    with refused(build_registry(module), "m", RegistryError) as told:
        told.append(
            f"registry '<bytes>': file {file.name!r} differs from its parcel, expected "
            f"{size} bytes with SHA-256 {'5f' * 32}; freeze it again"
        )
    assert list((tmp_path / "cache").rglob("*.so")) == []


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("name", ["m", "_sha2"])
def test_content_of_another_size_than_its_parcel_says_is_never_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also that of a module that computes digests, which is compared with the registry."""
    file = make_module(tmp_path)
    right = parcel_file(tmp_path, file.name)
    wrong = ParcelFile(file.name, digest=right.digest, size=right.size + 1, is_library=False)
    monkeypatch.setenv("FROZENFINDER_CACHE", str(tmp_path / "cache"))
    module = extension(name, tmp_path, file.name, parcel=[wrong])
    with (
        pytest.raises(RegistryError) as caught,
        extract(build_registry(module), name),  # an import would find a built-in module
    ):
        pass
    assert str(caught.value) == (
        f"registry '<bytes>': file {file.name!r} differs from its parcel, expected "
        f"{wrong.size} bytes with SHA-256 {wrong.digest}; freeze it again"
    )
    assert list((tmp_path / "cache").rglob("*.so")) == []


@pytest.mark.usefixtures("processes")
def test_a_damaged_file_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_module(tmp_path)
    monkeypatch.setenv("FROZENFINDER_CACHE", str(tmp_path / "cache"))
    data = bytearray(build_registry(embedded("m", tmp_path, file.name)))
    entry = Registry.from_bytes(bytes(data)).find_entry("m")
    assert entry is not None
    at = Registry.from_bytes(bytes(data)).header.sections["blobs"][0] + entry.offset
    data[at + 1000] ^= 1
    with pytest.raises(RegistryError) as caught, extract(bytes(data), "m"):
        pass
    found, expected = layout.digest(bytes(data[at : at + entry.size])), entry.digest
    assert str(caught.value) == (
        f"registry '<bytes>': entry 'm' at {at} has digest {found:016x}, expected {expected:016x}; "
        "the file is damaged, freeze it again"
    )
    assert list((tmp_path / "cache").rglob("*.so")) == []


@pytest.mark.usefixtures("processes")
def test_a_library_that_is_not_in_the_registry_is_an_error(tmp_path: Path) -> None:
    file = make_module(tmp_path)
    missing = ParcelFile("lib/libx.so", digest="5f" * 32, size=1, is_library=True)
    module = extension("m", tmp_path, file.name, parcel=[missing, parcel_file(tmp_path, file.name)])
    with refused(build_registry(module), "m", RegistryError) as told:
        told.append(
            "registry '<bytes>': a parcel lists the library 'lib/libx.so', which the registry "
            "does not contain; freeze it again"
        )


@pytest.mark.usefixtures("processes")
def test_a_parcel_that_does_not_list_its_module_is_an_error(tmp_path: Path) -> None:
    file = make_module(tmp_path)
    other = ParcelFile("n.so", digest="5f" * 32, size=1, is_library=False)
    module = extension("m", tmp_path, file.name, parcel=[other])
    with refused(build_registry(module), "m", RegistryError) as told:
        told.append(f"registry '<bytes>': the parcel of entry 'm' does not list {file.name!r}")


def test_a_library_that_is_a_module_itself_is_found(tmp_path: Path, python: Python) -> None:
    """As packages have them that link extension modules to a library without a tag."""
    root = tmp_path / "lib"
    library = compile_c("innermost.c", root / "pkg" / "libcore.so", "-Wl,-soname,libcore.so")
    options = ["-DINIT=PyInit_m", "-Dinner=innermost", f"-L{library.parent}", "-l:libcore.so"]
    compile_c("user.c", root / f"pkg/m{SUFFIX}", *options, "-Wl,-rpath,$ORIGIN")
    registry = tmp_path / "p.frz"
    freeze = ("-m", "frozenfinder", "freeze", "--extensions=embed", "--path", root, "-o", registry)
    python(*freeze)
    root.rename(tmp_path / "moved away")
    code = INSTALL + "import pkg.m\nprint(pkg.m.call())\n"
    env = {"FROZENFINDER_CACHE": str(tmp_path / "cache")}
    assert python("-c", code, registry, env=env).stdout == "100\n"


@pytest.mark.usefixtures("processes")
def test_a_file_for_another_interpreter_is_refused(tmp_path: Path) -> None:
    name = "m.cpython-300-none.so"
    make_module(tmp_path).rename(tmp_path / name)
    loads = ", ".join(importlib.machinery.EXTENSION_SUFFIXES)
    with refused(build_registry(embedded("m", tmp_path, name)), "m", ImportError) as told:
        told.append(
            "registry '<bytes>': the file of extension module 'm' ends in '.cpython-300-none.so', "
            f"this interpreter loads {loads}; freeze it again with this interpreter"
        )


# -- files that are referred to


def referring(folder: Path, **fields: object) -> Path:
    """A registry in a folder, with the module `m` of the folder `lib` beside it."""
    file = make_module(folder / "lib")
    module = extension("m", folder / "lib", file.name)
    registry = folder / "m.frz"
    roots = [("stdlib", ""), ("registry", "lib")]
    registry.write_bytes(build_registry(Frozen("m", fields=module.fields | fields), roots=roots))
    return registry


def test_a_file_beside_the_registry_is_loaded_wherever_they_are(
    tmp_path: Path, run_python: RunPython
) -> None:
    registry = referring(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    registry = tmp_path / "there" / registry.name
    os.utime(registry.parent / "lib" / f"m{SUFFIX}", (0, 0))  # as a copy has another time
    done = run_python(INSTALL + "import m; print(m.__file__, finder.served)", registry)
    assert done.stdout == f"{registry.parent}/lib/m{SUFFIX} 1\n"


@pytest.mark.usefixtures("processes")
def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    registry = referring(tmp_path, source_size=12)
    file = tmp_path / "lib" / f"m{SUFFIX}"
    with refused(registry, "m", ImportError) as told:
        told.append(
            f"registry {str(registry)!r}: the file {str(file)!r} of extension module 'm' has "
            f"{file.stat().st_size} bytes, expected 12; freeze it again"
        )


@pytest.mark.usefixtures("processes")
def test_a_file_that_is_gone_is_an_import_error(tmp_path: Path) -> None:
    registry = referring(tmp_path)
    file = tmp_path / "lib" / f"m{SUFFIX}"
    file.unlink()
    with refused(registry, "m", ImportError) as told:
        told.append(
            f"registry {str(registry)!r}: the file {str(file)!r} of extension module 'm' cannot be "
            "found: No such file or directory; freeze it again"
        )


@pytest.mark.usefixtures("processes")
def test_a_registry_in_memory_has_nothing_beside_it(tmp_path: Path) -> None:
    with refused(referring(tmp_path).read_bytes(), "m", ImportError) as told:
        told.append(
            "registry '<bytes>': the file of extension module 'm' is beside the registry, which "
            "is in memory; freeze it again with --extensions=embed"
        )


@contextmanager
def extract(registry: bytes, name: str) -> Iterator[tuple[frozenfinder.ClosedFinder, str]]:
    """A finder of the registry, and the file that it extracts for the module."""
    finder = frozenfinder.install(registry, mode="closed")
    assert isinstance(finder, frozenfinder.ClosedFinder)
    try:
        entry = finder.registry.find_entry(name)
        assert entry is not None
        yield finder, finder.extract(entry)[0]
    finally:
        frozenfinder.uninstall(finder)


@pytest.mark.usefixtures("processes")
def test_what_computes_the_digests_is_compared_with_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_module(tmp_path)
    monkeypatch.setenv("FROZENFINDER_CACHE", str(tmp_path / "cache"))
    registry = build_registry(embedded("_sha2", tmp_path, file.name))
    for _ in range(2):  # written, and found again
        with extract(registry, "_sha2") as (_, extracted):
            assert Path(extracted).read_bytes() == file.read_bytes()


@pytest.mark.usefixtures("processes")
def test_the_loader_reads_files_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_module(tmp_path)
    monkeypatch.setenv("FROZENFINDER_CACHE", str(tmp_path / "cache"))
    files = [data_file("data.txt", b"data")]
    registry = build_registry(embedded("m", tmp_path, file.name), files=files)
    with extract(registry, "m") as (finder, _):
        spec = finder.find_spec("m")
        assert spec is not None
        assert isinstance(spec.loader, ClosedExtensionLoader)
        assert spec.loader.get_data(finder.locate("data.txt")) == b"data"


def test_libraries_in_memory_are_loaded_in_the_order_in_which_they_can_be(
    tmp_path: Path, run_python: RunPython
) -> None:
    _, files = compile_family(tmp_path)
    first = f"family/first{SUFFIX}"
    parcel = [parcel_file(tmp_path, file.name, is_library=True) for file in reversed(files)]
    module = extension(
        "family.first", tmp_path, first, parcel=[*parcel, parcel_file(tmp_path, first)]
    )
    registry = tmp_path / "family.frz"
    package = frozen("family", is_package=True)
    registry.write_bytes(build_registry(package, module, files=files))
    (tmp_path / "family.libs").rename(tmp_path / "moved away")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    env = {"FROZENFINDER_CACHE": NO_CACHE, "TMPDIR": str(tmp_path / "open")}
    code = INSTALL + "import family.first\nprint(family.first.call())"
    assert run_python(code, registry, env=env).stdout == "101\n"
