"""Compilation: the canonical code of one module, from its valid `.pyc` or from its source.

A `.pyc` may be valid and yet have the code of another source. An unchecked hash-based one always
is; one with a time is if the source was edited within the same second, or by a tool that gives all
files one time. What stock imports then depends on whether the `.pyc` is still there, so the module
is to be left to stock.
"""

from __future__ import annotations

import _imp
import marshal
import os
from contextlib import suppress
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from types import CodeType
from typing import NamedTuple

from frozenfinder.runtime.layout import digest

from .canonical import canonicalise
from .warned import record_warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from frozenfinder.runtime.layout import Check

_RE = b"\x02re"  # the marshalled name
_HEADER_SIZE = 16  # of a `.pyc`: magic number, flags, and eight bytes of stamp or hash
_HASH_BASED, _CHECK_SOURCE = 1, 2  # its flags
_ATTEMPTS = 3  # tries to read a file that others are writing
_PYC_DELAY = 2  # seconds after which the compiler that wrote a `.pyc` had read the source
_FAILURES = (SyntaxError, ValueError, TypeError, EOFError, OverflowError, RecursionError)


class Task(NamedTuple):
    """A module to compile: its file, its path below its root, and whether the file is a `.pyc`."""

    location: str
    path: str
    sourceless: bool
    with_source: bool


class Compiled(NamedTuple):
    """The result for a module: `code` is None if it failed; then `reason` says why.

    `mtime` and `size` are those of the file, as in a `.pyc`: seconds and bytes. `text` is its
    content, if requested. `reused` says whether the code comes from a `.pyc`. `patterns` are the
    module's regular expressions, as from `expressions.pack`. `digest` is that of the file's
    content, and `check` says how overlay finds out that it is the same.
    """

    code: bytes | None
    mtime: int = 0
    size: int = 0
    text: bytes | None = None
    reused: bool = False
    warnings: tuple[str, ...] = ()
    reason: str | None = None
    patterns: bytes = b""
    digest: int = 0
    check: Check = "time"


class Compiler(NamedTuple):
    """How to compile; `check_hashes` has a value of the option `--check-hash-based-pycs`.

    `epoch` is SOURCE_DATE_EPOCH.
    """

    optimize: int
    check_hashes: str = _imp.check_hash_based_pycs
    strip_docstrings: bool = False
    epoch: int | None = None

    def compile(self, task: Task) -> Compiled:
        """Compile a file as it was at one moment; problems with the file are a `reason`."""
        try:
            for _ in range(_ATTEMPTS):
                before = os.stat(task.location)
                content = _read(task.location)
                compiled = self._compile(task, before, content)
                after = os.stat(task.location)
                if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                    mtime, size = stamp(after)
                    patterns = self._find_patterns(task, compiled, content)
                    return compiled._replace(
                        mtime=mtime, size=size, patterns=patterns, digest=digest(content)
                    )
        except OSError as error:
            return Compiled(None, reason=f"cannot be read: {error.strerror or error}")
        except (*_FAILURES, MemoryError) as error:
            return Compiled(None, reason=f"does not compile: {type(error).__name__}: {error}")
        return Compiled(None, reason="changed while it was being frozen")

    def _compile(self, task: Task, status: os.stat_result, content: bytes) -> Compiled:
        if task.sourceless:
            return Compiled(canonicalise(_strip_header(content), task.path), reused=True)
        text = content if task.with_source else None
        reused, check = self._reuse(task, status, content)
        if reused is not None and not self.strip_docstrings:
            return Compiled(reused, text=text, reused=True, check=check)
        with record_warnings() as caught:
            code = self._compile_source(content, task.path)
        return Compiled(
            canonicalise(marshal.dumps(code), task.path),
            text=text,
            warnings=tuple(f"{w.category.__name__}: {w.message} (line {w.lineno})" for w in caught),
            check=check,
        )

    def _find_patterns(self, task: Task, compiled: Compiled, source: bytes) -> bytes:
        if task.sourceless or compiled.code is None or _RE not in compiled.code:
            return b""
        # deferred: `ast` and `re` take longer to import than everything else here
        from .expressions import may_have_patterns, pack_patterns

        return pack_patterns(source) if may_have_patterns(compiled.code) else b""

    def _compile_source(self, source: bytes, path: str) -> CodeType:
        if not self.strip_docstrings:
            return compile(source, path, "exec", dont_inherit=True, optimize=self.optimize)
        # deferred: few freezes need it
        from .docstrings import strip

        tree = strip(source, path)
        return compile(tree, path, "exec", dont_inherit=True, optimize=self.optimize)

    def load(self, location: str, *, sourceless: bool) -> CodeType | None:
        """The code object of a module, for inspection; None if it cannot be read or compiled."""
        try:
            content = _read(location)
            if sourceless:
                data: bytes | None = _strip_header(content)
            else:
                data, _ = self._find_bytecode(location, os.stat(location), content)
            if data is not None:
                with suppress(*_FAILURES):
                    code = marshal.loads(data)
                    return code if isinstance(code, CodeType) else None
            with record_warnings():
                return compile(content, location, "exec", dont_inherit=True, optimize=self.optimize)
        except (OSError, *_FAILURES, MemoryError):
            return None

    def _reuse(
        self, task: Task, status: os.stat_result, source: bytes
    ) -> tuple[bytes | None, Check]:
        """The canonical code in the `.pyc` that `SourceLoader.get_code` would take, or None.

        And how overlay is to check the source.
        """
        data, check = self._find_bytecode(task.location, status, source)
        try:
            code = None if data is None else canonicalise(data, task.path)
        except _FAILURES:
            return None, "time"
        if code is None or check != "time" or not self._is_doubtful(task.location, status):
            return code, check
        return code, "time" if code == self._compile_anew(task, source) else "never"

    def _compile_anew(self, task: Task, source: bytes) -> bytes | None:
        try:
            with record_warnings():
                code = compile(source, task.path, "exec", dont_inherit=True, optimize=self.optimize)
            return canonicalise(marshal.dumps(code), task.path)
        except _FAILURES:
            return None

    def _is_doubtful(self, location: str, status: os.stat_result) -> bool:
        """Whether the source may have been edited after its `.pyc` was written, at its time."""
        written = os.stat(find_pyc(location, self.optimize)).st_mtime
        mtime, _ = stamp(status)
        return says_nothing(mtime, self.epoch) or written < int(status.st_mtime) + _PYC_DELAY

    def _find_bytecode(
        self, location: str, status: os.stat_result, source: bytes
    ) -> tuple[bytes | None, Check]:
        """The marshalled code in that `.pyc`, or None; and how to check the source.

        As `_classify_pyc` and the checks after it in Lib/importlib/_bootstrap_external.py.
        """
        try:
            data = _read(find_pyc(location, self.optimize))
        except (OSError, NotImplementedError):
            return None, "time"
        flags = _read_flags(data)
        if flags is None:
            return None, "time"
        if not flags & _HASH_BASED:
            mtime, size = stamp(status)
            valid = data[8:16] == mtime.to_bytes(4, "little") + size.to_bytes(4, "little")
            return data[_HEADER_SIZE:] if valid else None, "time"
        is_checked = bool(flags & _CHECK_SOURCE)
        if data[8:16] == source_hash(source):
            return data[_HEADER_SIZE:], "content" if is_checked else "time"
        compared = self.check_hashes == "always" or is_checked
        is_used = self.check_hashes == "never" or not compared
        return data[_HEADER_SIZE:] if is_used else None, "never"


def find_pyc(location: str, optimize: int) -> str:
    """The `.pyc` of a source; NotImplementedError if this interpreter has none."""
    return cache_from_source(location, optimization=optimize or "")


def has_hash(location: str, optimize: int) -> bool:
    """Whether the `.pyc` of a source is hash-based."""
    try:
        with open(find_pyc(location, optimize), "rb", buffering=0) as file:
            flags = _read_flags(file.read(_HEADER_SIZE))
    except (OSError, NotImplementedError):
        return False
    return bool(flags and flags & _HASH_BASED)


def _read_flags(data: bytes) -> int | None:
    """The flags in the header of a `.pyc`; None if it is not one for this interpreter."""
    flags = int.from_bytes(data[4:8], "little")
    known = not flags & ~(_HASH_BASED | _CHECK_SOURCE)
    return flags if data[:4] == MAGIC_NUMBER and len(data) >= _HEADER_SIZE and known else None


def stamp(status: os.stat_result) -> tuple[int, int]:
    """The mtime and size of a file as in a `.pyc`: seconds and bytes, the low 32 bits of each."""
    return int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF


_ZIP_EPOCH_END = 315_619_200  # 1980-01-02
_NPM = 499_162_500  # 1985-10-26, which npm gives to all files


def says_nothing(mtime: int, epoch: int | None = None) -> bool:
    """Whether tools give this time to every file; `epoch` is SOURCE_DATE_EPOCH."""
    return mtime <= _ZIP_EPOCH_END or mtime in (_NPM, epoch)


def _strip_header(data: bytes) -> bytes:
    if data[:4] != MAGIC_NUMBER:
        raise ValueError(f"has magic number {data[:4]!r}, this interpreter has {MAGIC_NUMBER!r}")
    return data[_HEADER_SIZE:]


def _read(location: str) -> bytes:
    with open(location, "rb", buffering=0) as file:
        return file.read()
