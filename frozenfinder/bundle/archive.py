"""The file of a bundle: a zip archive that `python` runs, with the registry in it uncompressed.

#! line
registry.frz        read in place, at its offset
__start__.pyc       installs it
__main__.pyc        the program, which `python FILE` runs
__main__.py         its source, for interpreters that cannot load that: it prints an error
NAME.pyc, ...       for each top-level module, replaces itself by the one in the registry
the directory of the archive
"""

from __future__ import annotations

import marshal
import os
import stat
import sys
import zipfile
from collections.abc import Iterable
from importlib.resources import files
from importlib.util import MAGIC_NUMBER, source_hash
from typing import IO

from frozenfinder import __version__
from frozenfinder.errors import FreezeError
from frozenfinder.freezer.write.output import check_place, replacing
from frozenfinder.runtime.layout import DIGEST_KEY

from .assembly import Assembly
from .entry import Entry

REGISTRY = "registry.frz"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can store
_HEADER_SIZE = 30  # bytes of a member's header, without its name
_MODE = 0o755
_UNCHECKED = b"\x01\0\0\0"  # the flags of a hash-based `.pyc` whose source is not checked

_GUARD = """\
import sys
try:
    from _frozen_importlib_external import MAGIC_NUMBER as magic
except ImportError:
    magic = None
if magic != {magic}:
    sys.exit(
        "%s: was built for {name} {version}, this is %s %s (%s); run it with {command}"
        % (
            sys.argv[0],
            getattr(getattr(sys, "implementation", None), "name", "python"),
            sys.version.split()[0],
            sys.executable,
        )
    )
start = {{"__loader__": __loader__}}
exec(__loader__.get_code("__start__"), start)
{exit}del magic, start
"""
_FAST_EXIT = """\
start["prepare_exit"]()
"""
_FUNCTION = """\
__file__, __spec__, __package__ = __loader__.archive, None, None
from {module} import {name}
if __name__ == "__main__":
    sys.exit({function}())
"""
_MODULE = """\
if __name__ == "__main__":
    del sys
    __import__("runpy")._run_module_as_main({module!r}, False)
"""
_STAND_IN = """\
scope = {"__loader__": __loader__}
exec(__loader__.get_code("__start__"), scope)
scope["take_over"](globals())
"""


def default_python() -> str:
    """The default for the text after `#!`."""
    return f"/usr/bin/env {_command()}"


def _command() -> str:
    version = ".".join(map(str, sys.version_info[:2]))
    return f"python{version}{getattr(sys, 'abiflags', '')}"


def write_bundle(
    path: str, assembly: Assembly, entry: Entry, python: str, *, fast_exit: bool
) -> int:
    """Put the bundle at `path` in one step; return its size in bytes. FreezeError."""
    with replacing(path, mode=_MODE) as file:
        return _write(file, assembly, _main(entry, fast_exit=fast_exit), python)


def check_bundle(path: str) -> None:
    """FreezeError unless a bundle may be written at `path`: other files are not overwritten."""
    if check_place(path, "a bundle") and os.path.getsize(path) and find_registry(path) is None:
        raise FreezeError(
            f"output {path!r}: is a file but not a bundle; remove it, or choose another name"
        )


def find_registry(path: str) -> int | None:
    """The offset in bytes of the registry in a bundle; None for any other file. OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _offset(archive.getinfo(REGISTRY))
    except (zipfile.BadZipFile, KeyError):
        return None


def _offset(info: zipfile.ZipInfo) -> int:
    """Where the data of a member begins: headers that the bundler writes have no extra field."""
    return info.header_offset + _HEADER_SIZE + len(info.filename)


def _write(file: IO[bytes], assembly: Assembly, main: str, python: str) -> int:
    file.write(f"#!{python}\n".encode("utf-8", "surrogateescape"))
    with zipfile.ZipFile(file, "w") as archive:
        info = _member(REGISTRY)
        info.file_size = sum(map(len, assembly.pieces))
        with archive.open(info, "w") as member:
            for piece in assembly.pieces:
                member.write(piece)
        for name, content in _programs(assembly, main, _offset(info)):
            archive.writestr(_member(name), content)
    return file.tell()


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3  # Unix, on every platform
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


def _programs(assembly: Assembly, main: str, offset: int) -> Iterable[tuple[str, bytes]]:
    """The other members of the archive, for a registry at `offset`."""
    yield "__start__.pyc", _compile(_start(assembly, offset), "__start__.py")
    yield "__main__.py", main.encode()
    yield "__main__.pyc", _compile(main, "__main__.py")
    stand_in = _compile(_STAND_IN, "stand_in.py")
    for name, is_package in assembly.tops:
        yield f"{name}/__init__.pyc" if is_package else f"{name}.pyc", stand_in


def _start(assembly: Assembly, offset: int) -> str:
    table = {
        name: (is_package, offset + start, size, digest)
        for name, (is_package, start, size, digest) in assembly.table.items()
    }
    call = (
        f"boot(__loader__.archive, version={__version__!r}, offset={offset}, key={DIGEST_KEY}, "
        f"table={table}, suffix={assembly.suffix!r}, release={assembly.release})\n"
    )
    return files(__package__).joinpath("start.py").read_text("utf-8") + call


def _main(entry: Entry, *, fast_exit: bool) -> str:
    """The program, in syntax that every Python since 2.7 can compile."""
    guard = _GUARD.format(
        magic=repr(MAGIC_NUMBER),
        name="CPython",
        version=".".join(map(str, sys.version_info[:2])),
        command=_command(),
        exit=_FAST_EXIT if fast_exit else "",
    )
    if not entry.function:
        return guard + _MODULE.format(module=entry.module)
    name = entry.function.partition(".")[0]
    return guard + _FUNCTION.format(module=entry.module, name=name, function=entry.function)


def _compile(source: str, file: str) -> bytes:
    """The `.pyc` of one of the bundle's own sources."""
    code = compile(source, f"<bundle>/{file}", "exec", dont_inherit=True, optimize=0)
    return MAGIC_NUMBER + _UNCHECKED + source_hash(source.encode()) + marshal.dumps(code)
