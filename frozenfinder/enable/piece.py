"""Writes the code of the modules that every boot imports into the `.pyc` file of `boot`."""

import marshal
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from types import CodeType
from typing import TypeAlias

from frozenfinder import __path__ as _home
from frozenfinder.freezer.compile.compiler import stamp

from .files import replace_file

_NAME = "frozenfinder.boot"
EMPTY = (("", 0, 0, None),)
"""The table in the source of `boot`."""

DEFERRED = ("extras", "closed/__init__", "closed/finder", "closed/loader")
"""The modules that many boots import, but not all."""

Piece: TypeAlias = tuple[str, int, int, CodeType | bytes]


def write_piece(home: Path = Path(_home[0])) -> bool:
    """Write it, if the package in the folder `home` lies in files that this user can write.

    Otherwise, or if Python is to write no `.pyc` files, boots read every module by itself.
    """
    source = home / "boot.py"
    if sys.dont_write_bytecode or sys.flags.optimize or not source.is_file():
        return False
    code = SourceFileLoader(_NAME, str(source)).source_to_code(source.read_bytes(), str(source))
    filled = code.replace(
        co_consts=tuple(
            tuple(find_pieces(home)) if each == EMPTY else each for each in code.co_consts
        )
    )
    header = MAGIC_NUMBER + bytes(4)
    for number in stamp(source.stat()):
        header += number.to_bytes(4, "little")
    target = Path(cache_from_source(str(source)))
    try:
        target.parent.mkdir(exist_ok=True)
        replace_file(target, header + marshal.dumps(filled))
    except OSError:
        return False
    return True


def find_pieces(home: Path) -> Iterator[Piece]:
    """The modules that boots import after `own`, with their code.

    The code of those that only some boots import is marshalled, so that the others only read it.
    """
    for name in ("__init__", "activation", "errors", "runtime/*", *DEFERRED):
        for path in sorted(home.glob(f"{name}.py")):
            status = path.stat()
            parts = path.relative_to(home.parent).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            code = SourceFileLoader(module, str(path)).get_code(module)
            assert code is not None
            yield module, *stamp(status), marshal.dumps(code) if name in DEFERRED else code
