"""Extension modules that the tests compile, and registries that hold them."""

import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from frozenfinder.native.parcel import ParcelFile, pack_parcel
from support.registries import Frozen, data_file

SOURCES = Path(__file__).with_name("extensions")
SUFFIX: str = sysconfig.get_config_var("EXT_SUFFIX")


def compile_c(source: str, output: Path, *options: str) -> Path:
    """Compile a file of `SOURCES` to a shared object; skips the test where that cannot be done."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    header = Path(sysconfig.get_path("include"), "Python.h")
    if shutil.which(compiler[0]) is None:
        compiler = ["cc"]
    if shutil.which(compiler[0]) is None:
        pytest.skip("no C compiler: neither sysconfig's CC nor 'cc' is there")
    if not header.exists():
        pytest.skip(f"no C headers: {str(header)!r} is not there")
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [*compiler, "-shared", "-fPIC", "-O1", f"-I{header.parent}", str(SOURCES / source)]
    done = subprocess.run(
        [*command, *options, "-o", str(output)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return output


def extension(
    name: str, root: Path, path: str, *, parcel: Sequence[ParcelFile] | None = None, number: int = 1
) -> Frozen:
    """The entry of an extension module below a root; embedded where it has a parcel."""
    file = root / path
    status = file.stat()
    fields: dict[str, Any] = {
        "kind": "extension",
        "is_package": path.rpartition("/")[2].startswith("__init__."),
        "root": number,
        "path": path,
        "mtime": int(status.st_mtime),
        "source_size": status.st_size,
    }
    if parcel is None:
        return Frozen(name, fields={**fields, "digest": 0})
    return Frozen(name, file.read_bytes(), pack_parcel(parcel), fields)


def embedded(name: str, root: Path, path: str, number: int = 1) -> Frozen:
    """The entry of an extension module that needs no library, embedded."""
    return extension(name, root, path, parcel=[parcel_file(root, path)], number=number)


def parcel_file(root: Path, path: str, *, is_library: bool = False) -> ParcelFile:
    content = (root / path).read_bytes()
    return ParcelFile(
        path, digest=sha256(content).hexdigest(), size=len(content), is_library=is_library
    )


def libraries(root: Path, paths: Iterable[str]) -> list[Frozen]:
    """Shared libraries as data files of a registry."""
    return [data_file(path, (root / path).read_bytes()) for path in paths]


def compile_family(root: Path) -> tuple[list[Frozen], list[Frozen]]:
    """Two extension modules that share a library, which loads another: (modules, files)."""
    shared = f"-Wl,-rpath,$ORIGIN -L{root}/family.libs"
    libs = root / "family.libs"
    compile_c("innermost.c", libs / "libinnermost.so.1", "-Wl,-soname,libinnermost.so.1")
    compile_c(
        "library.c",
        libs / "libinner.so",
        "-Wl,-soname,libinner.so",
        *shared.split(),
        "-l:libinnermost.so.1",
    )
    names = ("first", "second")
    for name in names:
        compile_c(
            "user.c",
            root / "family" / f"{name}{SUFFIX}",
            f"-DINIT=PyInit_{name}",
            f"-L{libs}",
            "-Wl,-rpath,$ORIGIN/../family.libs",
            f"-Wl,-rpath-link,{libs}",
            "-l:libinner.so",
        )
    library_paths = ["family.libs/libinnermost.so.1", "family.libs/libinner.so"]
    module_paths = {f"family.{name}": f"family/{name}{SUFFIX}" for name in names}
    parcel = [parcel_file(root, path, is_library=True) for path in library_paths]
    parcel += [parcel_file(root, path) for path in module_paths.values()]
    modules = [extension(name, root, path, parcel=parcel) for name, path in module_paths.items()]
    return modules, libraries(root, library_paths)


def files_below(folder: Path) -> list[str]:
    """The files in a folder, by their paths in it."""
    return sorted(
        str(Path(at, name).relative_to(folder))
        for at, _, names in os.walk(folder)
        for name in names
    )
