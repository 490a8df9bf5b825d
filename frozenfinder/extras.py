"""`Extras`: what is frozen with a module's code: its regular expressions, and texts it compiles.

A module that compiles patterns when it is imported spends most of its time on that. The results
that `re` would compute are in the registry with the module's code, and go into `re`'s own cache
before the module needs them. Nothing is patched, and `re` would compute equal patterns itself.
The texts go to `frozenfinder.texts`, which is imported with the first module that has some.
"""

import marshal
from _thread import get_ident

from frozenfinder.own import load_own
from frozenfinder.runtime.layout import digest
from frozenfinder.runtime.system import RE_CACHE, get_module, read_switches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

    from frozenfinder.runtime.layout import FrozenEntry
    from frozenfinder.texts import Texts

LAZY = b"frz-lazy"
"""The last bytes of the blob of a module that has lazy code, as `lazy.SEAL`, which is imported only
for such a module."""

_LAST = LAZY[-1]  # one comparison for most blobs

LIMIT = 512
"""The number of patterns that `re` keeps (`re._MAXCACHE`); its cache is never filled further."""


class Extras:
    """Puts frozen patterns into the cache of `re`, and frozen texts within reach of their modules.

    `pending` are patterns, until `re` is imported. `added` are the texts of modules that were
    loaded, by name, and `begun` those of modules whose bodies run: the thread, the depth of the
    import lock before, the module, its code, and the texts. A body finds none of its own texts: it
    may list the names of its namespace.

    Threads share all three without a lock: each change is a single operation on a list or a dict.
    The thread that pops patterns adds them, and each thread removes only what it has begun.
    """

    __slots__ = ("added", "begun", "pending", "texts", "_without")

    def __init__(self, without: "Sequence[str]" = ()) -> None:
        self.pending: "list[tuple[int, list[Any]]]" = []
        self.added: "dict[str, list[Any]]" = {}
        self.begun: "list[tuple[int, int, ModuleType, CodeType, list[Any]]]" = []
        self.texts: "Texts | None" = None  # until a module with texts was executed
        self._without = without

    def use(self, entry: "FrozenEntry", blob: memoryview, lazy: bool) -> memoryview:
        """Add the extras behind the code in an entry's blob; return the code to unmarshal.

        That is the lazy code, if the blob has some, and imports may wait in the module.
        """
        extra = blob[-entry.extras_size :]
        if extra and extra[-1] == _LAST and extra[-len(LAZY) :] == LAZY:
            # deferred: few registries have lazy code
            extra, blob = load_own("lazy").choose(entry.name, blob, extra, lazy)
        self.add(entry.name, extra)
        return blob

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
            self.added[name] = texts

    def start(self, module: "ModuleType", code: "CodeType", mark: int) -> None:
        """Note that the body of a module begins, in an import lock of that depth."""
        texts = self.added.pop(module.__name__, None)
        if texts:
            self.begun.append((get_ident(), mark, module, code, texts))

    def enter(self) -> None:
        """Put the texts within reach: an outermost import begins."""
        if self.texts is not None:
            self.texts.put_in()

    def leave(self, mark: int) -> None:
        """Note that the body ends that began in an import lock of that depth."""
        if self.pending:
            self.flush()  # the module may be `re`
        if self.begun:
            self._finish(mark)
        if self.texts is not None and not mark:
            self.texts.take_out()

    def reinit(self) -> None:
        """Forget the bodies that other threads ran, in a forked child, and take out the names."""
        self.begun.clear()
        self.leave(0)

    def _finish(self, mark: int) -> None:
        thread = get_ident()
        for begun in list(self.begun):
            if begun[0] == thread and begun[1] >= mark:
                self.begun.remove(begun)
                self._add_texts(*begun[2:], mark)

    def _add_texts(
        self, module: "ModuleType", code: "CodeType", texts: "list[Any]", mark: int
    ) -> None:
        if self.texts is None:
            # deferred: many programs import no module that compiles text
            self.texts = load_own("texts").Texts()
        self.texts.add(module, code, texts)
        if mark:
            self.texts.put_in()

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


shared = Extras(read_switches())
"""The one object of this interpreter, for every finder: `re` has only one cache, and a module only
one namespace."""
