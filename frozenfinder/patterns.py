"""`Patterns`: the regular expressions of frozen modules, compiled when they were frozen.

A module that compiles patterns when it is imported spends more on that than on all else. What
`re` would come to is in the registry with the module's code, and goes to `re`'s own cache before
the module asks: nothing is patched, and what a cache without them would give is equal.
"""

import marshal

from frozenfinder.runtime.layout import digest
from frozenfinder.runtime.system import RE_CACHE, get_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT = 512
"""Patterns that `re` keeps (`re._MAXCACHE`); it is never filled beyond."""


class Patterns:
    """Puts frozen patterns into the cache of `re`, once that is there.

    Threads share `pending` without a lock: `append` and `pop` are atomic, and whoever pops an item
    fills the cache with it.
    """

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending: "list[bytes]" = []

    def add(self, packed: "bytes | memoryview") -> None:
        """Hand over what `freezer.patterns` packed; into the cache it goes now, or at `flush`.

        A microsecond or two for each pattern. What `seal` has not sealed is left alone.
        """
        self.pending.append(bytes(packed))
        self.flush()

    def flush(self) -> None:
        """Fill the cache of `re` with what is pending; nothing while `re` is not imported."""
        cache = getattr(get_module("re"), RE_CACHE, None)
        if type(cache) is not dict:
            return
        while self.pending:
            try:
                packed = self.pending.pop()
            except IndexError:  # another thread has it
                return
            _fill(cache, packed)


def seal(marshalled: bytes) -> bytes:
    """The packed form of patterns: with a digest of their own before them.

    That of the blob holds what is in the blob, and not where in it the patterns begin.
    """
    return digest(marshalled).to_bytes(8, "little") + marshalled


def _fill(cache: "dict[Any, Any]", packed: bytes) -> None:
    """Add what the cache lacks, as `re._compile` does, for as long as there is room.

    Another interpreter's patterns, or what `_sre` refuses, is left to `re`: it then compiles.
    """
    # deferred: built in, and imported by `re` anyway
    import _sre  # type: ignore[import-not-found]

    marshalled = packed[8:]
    if packed != seal(marshalled):
        return
    try:
        magic, patterns = marshal.loads(marshalled)
        if magic != _sre.MAGIC:
            return
        for flags, arguments in patterns:
            source, compiled_flags, code, *rest = arguments
            key = type(source), source, flags
            if key not in cache and len(cache) < LIMIT:
                code = memoryview(code).cast("I").tolist()
                cache[key] = _sre.compile(source, compiled_flags, code, *rest)
    except (EOFError, RuntimeError, TypeError, ValueError):
        return


shared = Patterns()
"""The interpreter's, for every finder: there is one cache of `re`."""
