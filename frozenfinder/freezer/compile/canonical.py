"""The canonical marshalled form of a module's code: the same bytes for the same code.

`marshal.dumps` writes an object that it has seen before as a reference, and marks interned strings.
Both depend on more than the code: on the other strings that the process has interned, and on
whether the code was just compiled or comes from a `.pyc`. Code that was just unmarshalled, and to
which nothing else refers, is marshalled the same every time, with two exceptions that can be
recognised by their values:

- A constant that is equal to a name but does not look like one (`os.path`, and from 3.13 on the
  `__qualname__` of a nested class) is the same object as the name only if nothing had interned the
  name before.
- A frozenset that several functions use is copied for each if its strings were interned before
  (`intern_constants` in Objects/codeobject.c).

Code with one of these, up to an eighth of the standard library, is rewritten by `unify`, which
treats objects with equal values as the same. It would work for all code, at ten times the cost.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Iterable
from functools import cache
from types import CodeType
from typing import Any

from frozenfinder.runtime.system import fix_co_filename

_FLAG = 0x80  # marks an object; a reference has its number among the marked ones
_REFERENCE = ord("r")
_SINGLETONS = frozenset(b"NTF.S")
_FIXED = {**dict.fromkeys(_SINGLETONS, 0), ord("i"): 4, ord("g"): 8, ord("y"): 16}  # sizes
_LONG = ord("l")
_LENGTHS = {ord(kind): 1 if kind in "zZ" else 4 for kind in "zZaAuts"}  # bytes of strings' lengths
_INTERNED = {ord("Z"): ord("z"), ord("A"): ord("a"), ord("t"): ord("u")}  # to the plain kinds
_COUNTS = {ord(")"): 1, ord("("): 4, ord(">"): 4}  # bytes of collections' lengths
_FROZENSET = ord(">")
_SLICE = ord(":")
_CODE = ord("c")
_CODE_NUMBERS = 20  # bytes before a code object's parts
_CODE_PARTS = (8, 2)  # how many parts are before the first line's number, and how many after it
_NUMBER = -1  # the kind of objects without a type byte
_INTERNS_QUALNAMES = sys.version_info >= (3, 13)


def canonicalise(data: bytes, filename: str) -> bytes:
    """The canonical form of marshalled code, with `filename` as its `co_filename`.

    ValueError, EOFError or TypeError if `data` is not marshalled code.
    """
    _intern_characters()
    code = marshal.loads(data)
    if not isinstance(code, CodeType):
        raise TypeError(f"is a marshalled {type(code).__name__}, not code")
    fix_co_filename(code, "")  # it would not replace a name that is equal to the new one
    fix_co_filename(code, filename[:1] + filename[1:])  # a string that nothing has interned
    referred = (code,)  # at least two references, however the interpreter passes arguments
    marshalled = marshal.dumps(code)
    return unify(marshalled) if is_ambiguous(*referred) else marshalled


@cache
def _intern_characters() -> None:
    """Intern the strings that all modules share, so they are interned in every module."""
    for number in range(256):
        sys.intern(chr(number))


def is_ambiguous(code: CodeType) -> bool:
    """Whether the same code may be marshalled in more than one way, judged only by values."""
    names: set[str] = set()
    strings: set[str] = set()
    frozensets: set[frozenset[object]] = set()
    pending: list[Iterable[Any]] = [(code,)]
    while pending:
        for value in pending.pop():
            kind = type(value)
            if kind is str:
                strings.add(value)
            elif kind is CodeType:
                names.update(value.co_names, value.co_varnames, value.co_freevars)
                names.update(value.co_cellvars, (value.co_name,))
                if _INTERNS_QUALNAMES:
                    names.add(value.co_qualname)
                pending.append(value.co_consts)
            elif kind is tuple:
                pending.append(value)
            elif kind is frozenset:
                if value in frozensets:
                    return True
                frozensets.add(value)
                pending.append(value)
            elif kind is slice:
                pending.append((value.start, value.stop, value.step))
    return not _is_name_like("".join(names & strings))


def _is_name_like(text: str) -> bool:
    """As `all_name_chars` in Objects/codeobject.c, which decides which constants are interned."""
    return text.isascii() and (not text or text.replace("_", "a").isalnum())


class _Object:
    """An object in a marshalled stream: its type, the bytes that follow, and the objects in it."""

    __slots__ = ("content", "interned", "kind", "parts", "uses")

    def __init__(self, kind: int, content: bytes, parts: tuple[_Object, ...]) -> None:
        self.kind = kind
        self.content = content
        self.parts = parts
        self.uses = 0
        self.interned = False

    def value(self) -> bytes:
        """Bytes that are equal only for equal objects."""
        values = [part.value() for part in self.parts]
        return b"".join([self.kind.to_bytes(1, "little"), self.content, *values])


class _Reader:
    """Reads the output of `marshal.dumps`, with one object for all equal ones."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._marked: list[_Object] = []
        self._known: dict[tuple[object, ...], _Object] = {}

    def read_all(self) -> _Object:
        found = self._read()
        if self._at != len(self._data):
            raise ValueError(f"marshalled code ends at {self._at}, expected {len(self._data)}")
        return found

    def _read(self) -> _Object:
        at = self._at
        mark = self._data[at]
        if mark == _REFERENCE:  # more than half of all objects
            self._at = at + 5
            return self._marked[int.from_bytes(self._data[at + 1 : at + 5], "little")]
        self._at = at + 1
        kind = mark & ~_FLAG
        if not mark & _FLAG:
            return self._read_content(kind)
        place = len(self._marked)
        self._marked.append(_UNREAD)
        found = self._marked[place] = self._read_content(kind)
        return found

    def _read_content(self, kind: int) -> _Object:
        if kind in _LENGTHS:
            plain = _INTERNED.get(kind, kind)
            found = self._know(plain, self._take_sized(_LENGTHS[kind]), ())
            found.interned |= plain != kind
            return found
        if kind in _COUNTS:
            length = self._take(_COUNTS[kind])
            parts = [self._read() for _ in range(int.from_bytes(length, "little"))]
            if kind == _FROZENSET:
                parts.sort(key=_Object.value)
            return self._know(kind, length, tuple(parts))
        if kind in _FIXED:
            return self._know(kind, self._take(_FIXED[kind]), ())
        if kind == _CODE:
            return self._read_code()
        if kind == _LONG:
            return self._know(kind, self._take_sized(4, 2), ())
        if kind == _SLICE:
            return self._know(kind, b"", (self._read(), self._read(), self._read()))
        raise ValueError(f"marshalled code has type {chr(kind)!r} at {self._at - 1}")

    def _read_code(self) -> _Object:
        numbers = self._take(_CODE_NUMBERS)
        before, after = _CODE_PARTS
        parts = [self._read() for _ in range(before)]
        parts.append(_Object(_NUMBER, self._take(4), ()))
        parts += [self._read() for _ in range(after)]
        return _count(_Object(_CODE, numbers, tuple(parts)))

    def _know(self, kind: int, content: bytes, parts: tuple[_Object, ...]) -> _Object:
        key = (kind, content, parts)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _count(_Object(kind, content, parts))
        return found

    def _take(self, size: int) -> bytes:
        at = self._at
        self._at = end = at + size
        return self._data[at:end]

    def _take_sized(self, size: int, unit: int = 1) -> bytes:
        """A length of `size` bytes, and as many units."""
        at = self._at
        length = int.from_bytes(self._data[at : at + size], "little", signed=size > 1)
        self._at = end = at + size + unit * abs(length)
        return self._data[at:end]


_UNREAD = _Object(_NUMBER, b"", ())  # in place of an object that is being read


def _count(found: _Object) -> _Object:
    """Count the object among the uses of its parts."""
    for part in found.parts:
        part.uses += 1
    return found


def unify(data: bytes) -> bytes:
    """Rewrite the output of `marshal.dumps`: each value once, and interned if it is anywhere.

    ValueError for a type that code objects do not contain.
    """
    interned = {plain: kind for kind, plain in _INTERNED.items()}
    places: dict[_Object, bytes] = {}
    written: list[bytes] = []
    pending = [_Reader(data).read_all()]
    while pending:
        found = pending.pop()
        kind = interned[found.kind] if found.interned else found.kind
        if kind == _NUMBER:
            written.append(found.content)
        elif found in places:
            written.append(places[found])
        else:
            if found.uses > 1 and kind not in _SINGLETONS:
                places[found] = b"r" + len(places).to_bytes(4, "little")
                kind |= _FLAG
            written += (kind.to_bytes(1, "little"), found.content)
            pending += reversed(found.parts)
    return b"".join(written)
