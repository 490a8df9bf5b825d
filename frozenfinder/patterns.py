"""`Patterns`: the regular expressions of frozen modules, compiled when they were frozen.

A module that compiles patterns when it is imported spends most of its time on that. The results
that `re` would compute are in the registry with the module's code, and go into `re`'s own cache
before the module needs them. Nothing is patched, and `re` would compute equal patterns itself.
"""

import marshal

from frozenfinder.runtime.layout import digest
from frozenfinder.runtime.system import RE_CACHE, get_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from frozenfinder.runtime.finder import ServingFinder
    from frozenfinder.runtime.layout import FrozenEntry

LIMIT = 512
"""The number of patterns that `re` keeps (`re._MAXCACHE`); its cache is never filled further."""


class Patterns:
    """Puts frozen patterns into the cache of `re`, once `re` is imported.

    Threads share `pending` without a lock: `append` and `pop` are atomic, and the thread that pops
    an item adds it to the cache.
    """

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending: "list[bytes]" = []

    def add(self, packed: "bytes | memoryview") -> None:
        """Add patterns that `freezer.compile.expressions` packed to the cache, now or at `flush`.

        Costs one or two microseconds for each pattern. Bytes without a valid seal are ignored.
        """
        self.pending.append(bytes(packed))
        self.flush()

    def flush(self) -> None:
        """Add the pending patterns to the cache of `re`; do nothing while `re` is not imported."""
        cache = getattr(get_module("re"), RE_CACHE, None)
        if type(cache) is not dict:
            return
        while self.pending:
            try:
                packed = self.pending.pop()
            except IndexError:  # another thread took it
                return
            _fill(cache, packed)


def seal(marshalled: bytes) -> bytes:
    """The packed form of patterns: with their own digest in front.

    The digest of the blob does not guard the position at which the patterns begin.
    """
    return digest(marshalled).to_bytes(8, "little") + marshalled


def _fill(cache: "dict[Any, Any]", packed: bytes) -> None:
    """Add the patterns that the cache lacks, as `re._compile` does, as long as there is room.

    Patterns of another interpreter, or that `_sre` refuses, are ignored: `re` compiles them.
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
"""The one object of this interpreter, for every finder: `re` has only one cache."""


def use_extra(finder: "ServingFinder", entry: "FrozenEntry", blob: memoryview) -> memoryview:
    """Use what follows the code in the blob of a module; return the code to run.

    That is other code, if imports wait in the module: then the blob ends with a seal.
    """
    extra = blob[-entry.patterns_size :]
    if extra[-1] == _SEAL_END and bytes(extra[-8:]) == b"frz-lazy":
        try:
            # deferred: few registries are lazy
            from frozenfinder.lazy import choose
        except ImportError:  # the program has hidden it
            return blob
        extra, blob = choose(entry.name, blob, extra, finder.lazy)
        if not extra:
            return blob
    if finder.uses_patterns:
        finder.patterns = shared
        shared.add(extra)
    return blob


_SEAL_END = ord("y")  # one comparison for most blobs
