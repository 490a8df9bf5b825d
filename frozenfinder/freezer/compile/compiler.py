"""Compilation: the canonical code of one module, from its valid `.pyc` or from its source."""

from __future__ import annotations

import _imp
import marshal
import os
from contextlib import suppress
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from types import CodeType
from typing import NamedTuple

from .canonical import canonicalise
from .warned import record_warnings

_RE = b"\x02re"  # the marshalled name
_HEADER_SIZE = 16  # of a `.pyc`: magic number, flags, and eight bytes of stamp or hash
_HASH_BASED, _CHECK_SOURCE = 1, 2  # its flags
_ATTEMPTS = 3  # tries to read a file that others are writing
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
    module's regular expressions, as from `expressions.pack`.
    """

    code: bytes | None
    mtime: int = 0
    size: int = 0
    text: bytes | None = None
    reused: bool = False
    warnings: tuple[str, ...] = ()
    reason: str | None = None
    patterns: bytes = b""


class Compiler(NamedTuple):
    """How to compile; `check_hashes` has a value of the option `--check-hash-based-pycs`."""

    optimize: int
    check_hashes: str = _imp.check_hash_based_pycs
    strip_docstrings: bool = False

    def compile(self, task: Task) -> Compiled:
        """Compile a file as it was at one moment; problems with the file are a `reason`."""
        try:
            for _ in range(_ATTEMPTS):
                before = os.stat(task.location)
                compiled = self._compile(task, before)
                after = os.stat(task.location)
                if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                    mtime, size = stamp(after)
                    patterns = self._find_patterns(task, compiled)
                    return compiled._replace(mtime=mtime, size=size, patterns=patterns)
        except OSError as error:
            return Compiled(None, reason=f"cannot be read: {error.strerror or error}")
        except (*_FAILURES, MemoryError) as error:
            return Compiled(None, reason=f"does not compile: {type(error).__name__}: {error}")
        return Compiled(None, reason="changed while it was being frozen")

    def _compile(self, task: Task, status: os.stat_result) -> Compiled:
        if task.sourceless:
            return Compiled(canonicalise(_read_bytecode(task.location), task.path), reused=True)
        source = _read(task.location) if task.with_source else None
        reused = None if self.strip_docstrings else self._reuse(task, status, source)
        if reused is not None:
            return Compiled(reused, text=source, reused=True)
        if source is None:
            source = _read(task.location)
        with record_warnings() as caught:
            code = self._compile_source(source, task.path)
        return Compiled(
            canonicalise(marshal.dumps(code), task.path),
            text=source if task.with_source else None,
            warnings=tuple(f"{w.category.__name__}: {w.message} (line {w.lineno})" for w in caught),
        )

    def _find_patterns(self, task: Task, compiled: Compiled) -> bytes:
        if task.sourceless or compiled.code is None or _RE not in compiled.code:
            return b""
        # deferred: `ast` and `re` take longer to import than everything else here
        from .expressions import may_have_patterns, pack_patterns

        if not may_have_patterns(compiled.code):
            return b""
        return pack_patterns(compiled.text or _read(task.location))

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
            if sourceless:
                data: bytes | None = _read_bytecode(location)
            else:
                task = Task(location, location, sourceless, with_source=False)
                data = self._find_bytecode(task, os.stat(location), None)
            if data is not None:
                with suppress(*_FAILURES):
                    code = marshal.loads(data)
                    return code if isinstance(code, CodeType) else None
            source = _read(location)
            with record_warnings():
                return compile(source, location, "exec", dont_inherit=True, optimize=self.optimize)
        except (OSError, *_FAILURES, MemoryError):
            return None

    def _reuse(self, task: Task, status: os.stat_result, source: bytes | None) -> bytes | None:
        """The canonical code in the `.pyc` that `SourceLoader.get_code` would take, or None."""
        data = self._find_bytecode(task, status, source)
        try:
            return None if data is None else canonicalise(data, task.path)
        except _FAILURES:
            return None

    def _find_bytecode(
        self, task: Task, status: os.stat_result, source: bytes | None
    ) -> bytes | None:
        """The marshalled code in that `.pyc`, or None."""
        try:
            data = _read(cache_from_source(task.location, optimization=self.optimize or ""))
        except (OSError, NotImplementedError):
            return None
        return data[_HEADER_SIZE:] if self._is_valid(data, task, status, source) else None

    def _is_valid(
        self, data: bytes, task: Task, status: os.stat_result, source: bytes | None
    ) -> bool:
        """As `_classify_pyc` and the checks after it in Lib/importlib/_bootstrap_external.py."""
        flags = int.from_bytes(data[4:8], "little")
        if data[:4] != MAGIC_NUMBER or len(data) < _HEADER_SIZE:
            return False
        if flags & ~(_HASH_BASED | _CHECK_SOURCE):
            return False
        if not flags & _HASH_BASED:
            mtime, size = stamp(status)
            return data[8:16] == mtime.to_bytes(4, "little") + size.to_bytes(4, "little")
        checked = self.check_hashes == "always" or flags & _CHECK_SOURCE
        if self.check_hashes == "never" or not checked:
            return True
        return data[8:16] == source_hash(_read(task.location) if source is None else source)


def stamp(status: os.stat_result) -> tuple[int, int]:
    """The mtime and size of a file as in a `.pyc`: seconds and bytes, the low 32 bits of each."""
    return int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF


def _read_bytecode(location: str) -> bytes:
    data = _read(location)
    if data[:4] != MAGIC_NUMBER:
        raise ValueError(f"has magic number {data[:4]!r}, this interpreter has {MAGIC_NUMBER!r}")
    return data[_HEADER_SIZE:]


def _read(location: str) -> bytes:
    with open(location, "rb", buffering=0) as file:
        return file.read()
