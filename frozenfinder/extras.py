"""`Extras`: what is frozen with a module's code: its regular expressions, and texts it compiles.

A module that compiles patterns when it is imported spends most of its time on that. The results
that `re` would compute are in the registry with the module's code, and go into `re`'s own cache
before the module needs them. Nothing is patched, and `re` would compute equal patterns itself.
The texts go to `frozenfinder.texts`, which is imported with the first module that has some.
"""

import marshal

from frozenfinder.runtime.layout import digest
from frozenfinder.runtime.system import RE_CACHE, environment, get_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

    from frozenfinder.texts import Texts

LIMIT = 512
"""The number of patterns that `re` keeps (`re._MAXCACHE`); its cache is never filled further."""


class Extras:
    """Puts frozen patterns into the cache of `re`, and frozen texts within reach of their modules.

    `pending` are patterns, until `re` is imported. `begun` are the texts of modules whose bodies
    have not ended, by the modules' names.

    Threads share them without a lock: each change is a single operation on a list or a dict, and
    the thread that pops an item uses it.
    """

    __slots__ = ("begun", "pending", "texts", "_without")

    def __init__(self, without: "Sequence[str]" = ()) -> None:
        self.pending: "list[tuple[int, list[Any]]]" = []
        self.begun: "dict[str, list[Any]]" = {}
        self.texts: "Texts | None" = None  # until a module with texts was executed
        self._without = without

    def add(self, name: str, packed: "bytes | memoryview") -> None:
        """Add what the freezer's `pack_extras` packed for the module, before its body runs.

        Costs one or two microseconds for each pattern. Bytes without a valid seal are ignored.
        """
        packed = bytes(packed)
        marshalled = packed[8:]
        if packed != seal(marshalled):
            return
        try:
            magic, patterns, texts = marshal.loads(marshalled)
        except (EOFError, TypeError, ValueError):
            return
        if patterns and "patterns" not in self._without:
            self.pending.append((magic, patterns))
            self.flush()
        if texts and "texts" not in self._without:
            self.begun[name] = texts

    def begin(self) -> None:
        """Note that an outermost import begins."""
        if self.texts is not None:
            self.texts.put_in()

    def end(self) -> None:
        """Note that an outermost import ends."""
        if self.texts is not None:
            self.texts.take_out()

    def flush(self) -> None:
        """Add the pending patterns to the cache of `re`; do nothing while `re` is not imported."""
        cache = getattr(get_module("re"), RE_CACHE, None)
        if type(cache) is not dict:
            return
        while self.pending:
            try:
                magic, patterns = self.pending.pop()
            except IndexError:  # another thread took it
                return
            _fill(cache, magic, patterns)

    def finish(self, module: "ModuleType", code: "CodeType", depth: int) -> None:
        """Note that a module's body has run, inside imports of that depth."""
        if self.pending:
            self.flush()  # the module may be `re`
        texts = self.begun.pop(module.__name__, None)
        if texts is None:
            return
        if self.texts is None:
            try:
                # deferred: many programs import no module that compiles text
                from frozenfinder.texts import Texts
            except ImportError:  # the program has hidden this package: modules compile themselves
                return
            self.texts = Texts()
        self.texts.add(module, code, texts)
        if depth:
            self.texts.put_in()


def seal(marshalled: bytes) -> bytes:
    """The packed form of extras: with their own digest in front.

    The digest of the blob does not guard the position at which the extras begin.
    """
    return digest(marshalled).to_bytes(8, "little") + marshalled


def _fill(cache: "dict[Any, Any]", magic: int, patterns: "list[Any]") -> None:
    """Add the patterns that the cache lacks, as `re._compile` does, as long as there is room.

    Patterns of another interpreter, or that `_sre` refuses, are ignored: `re` compiles them.
    """
    # deferred: built in, and imported by `re` anyway
    import _sre  # type: ignore[import-not-found]

    try:
        if magic != _sre.MAGIC:
            return
        for flags, arguments in patterns:
            source, compiled_flags, code, *rest = arguments
            key = type(source), source, flags
            if key not in cache and len(cache) < LIMIT:
                code = memoryview(code).cast("I").tolist()
                cache[key] = _sre.compile(source, compiled_flags, code, *rest)
    except (RuntimeError, TypeError, ValueError):
        return


shared = Extras((environment("FROZENFINDER_WITHOUT") or "").split(","))
"""The one object of this interpreter, for every finder: `re` has only one cache, and a module only
one namespace."""
