"""The run time of lazy modules: the resolver of the names that wait in one.

The body of a lazy module leaves out import statements. Their names are not bound until they are
used: a load in a function of the module has a guard, which calls the module's resolver, and any
access from outside comes to the module's `__getattr__`. The resolver executes the import statement
itself, with its own file and line, so errors show where it stands.

The code of a lazy module is in its registry behind the usual code, which is what serves with
`install(lazy=False)` or FROZENFINDER_WITHOUT=lazy.
"""

from _thread import get_ident

from frozenfinder.runtime.system import (
    FREE_THREADED,
    INITIALIZING,
    environment,
    get_module,
    read_switches,
    syscalls,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FunctionType
    from typing import Any

    Globals = dict[str, Any]

NAME = "__frozenfinder__"
"""The name of the resolver among the globals of a lazy module."""

SEAL = b"frz-lazy"
"""The last bytes of the blob of a module that has lazy code (as `extras` knows them)."""

SIZE = 8
"""The bytes of the size of that code, which is before them."""


def join(extras: bytes, code: bytes) -> bytes:
    """What follows the usual code in the blob of a lazy module."""
    return extras + code + len(code).to_bytes(SIZE, "little") + SEAL


def split(extra: memoryview) -> "tuple[memoryview, memoryview | None]":
    """The extras that follow a module's usual code, and its lazy code, or None without one."""
    end = len(extra) - SIZE - len(SEAL)
    if end < 0 or bytes(extra[end + SIZE :]) != SEAL:
        return extra, None
    start = end - int.from_bytes(extra[end : end + SIZE], "little")
    return extra[: max(start, 0)], extra[max(start, 0) : end]


def choose(
    name: str, blob: memoryview, extra: memoryview, lazy: bool
) -> "tuple[memoryview, memoryview]":
    """The extras in `extra`, and the code of the module of that name that shall run."""
    extras, code = split(extra)
    # lazy code imports this module, which the program may have hidden
    is_there = getattr(get_module(__name__), "__dict__", None) is globals()
    if code is not None and lazy and is_there and is_used(name):
        return extras, code
    return extras, blob


def is_used(name: str) -> bool:
    """Whether the environment lets imports wait in the module of that name.

    FROZENFINDER_EAGER has the names of modules in which none waits, with commas between them;
    `name.*` stands for a package and everything below it, `*` for all.
    """
    if "lazy" in read_switches():
        return False
    eager = environment("FROZENFINDER_EAGER")
    if not eager:
        return True
    chosen = eager.split(",")
    top = name.partition(".")[0]
    return name not in chosen and f"{top}.*" not in chosen and "*" not in chosen


def begin(holder: "FunctionType") -> None:
    """Make the resolver of the module whose body calls this, and put it into its globals.

    The statements are the last constants of the code of `holder`, a function of the module, behind
    them the tuple of their names. A body that runs again, for a reload, binds the names anew.
    """
    namespace, constants = holder.__globals__, holder.__code__.co_consts
    names: "tuple[str, ...]" = constants[-1]
    statements = constants[-1 - len(names) : -1]
    for name in names:
        namespace.pop(name, None)
    resolver = Resolver(namespace, dict(zip(names, statements)))  # noqa: B905
    namespace[NAME] = resolver
    namespace["__getattr__"] = resolver.outside
    namespace["__dir__"] = resolver.listing


class Resolver:
    """Binds the waiting names of one module.

    Threads share it without a lock of its own. importlib's locks let one of them import a module,
    `setdefault` decides which value is bound, and all threads then use that one. `waiting` loses a
    name only after it was bound.
    """

    __slots__ = ("_namespace", "_own", "_resolving", "listing", "outside", "waiting")

    def __init__(self, namespace: "Globals", waiting: "dict[str, CodeType]") -> None:
        self.waiting = waiting
        self._namespace = namespace
        self._own: "Any" = None  # the module's own `__getattr__`
        # by process and thread, each of which adds only its own
        self._resolving: "set[tuple[int, int, str]]" = set()
        # the same objects each time, to recognise them among the globals
        self.outside = self._get_attribute
        self.listing = self._list_names

    def __call__(self, name: str, error: NameError) -> "Any":
        """The value of a name that a guarded load did not find, and bind it.

        If the name is not one that waits, or something else was raised, the result is `error`: the
        guard raises it again. Raises what the import statement raises.
        """
        if type(error) is not NameError or error.name != name:
            return error
        statement = self.waiting.get(name)
        if statement is not None:
            return self._resolve(name, statement)
        # another thread bound it after the load, or the program has deleted it
        return self._namespace.get(name, error)

    def _resolve(self, name: str, statement: "CodeType") -> "Any":
        namespace = self._namespace
        key = _key(name)
        outermost = key not in self._resolving
        self._resolving.add(key)
        try:
            bound: "Globals" = {}
            exec(statement, namespace, bound)
        finally:
            if outermost:
                self._resolving.discard(key)
        value = namespace.setdefault(name, bound[name])
        self.waiting.pop(name, None)
        if not self.waiting:
            self._retire()
        return value

    def _retire(self) -> None:
        """Take this off the module when nothing waits any more.

        Without a GIL, another thread may have missed the name just before it was bound, and looks
        for `__getattr__` now: there it stays.
        """
        if FREE_THREADED:
            return
        namespace = self._namespace
        if namespace.get("__getattr__") is self.outside:
            if self._own is None:
                namespace.pop("__getattr__", None)  # another thread may do the same
            else:
                namespace["__getattr__"] = self._own
        if namespace.get("__dir__") is self.listing:
            namespace.pop("__dir__", None)

    def chain(self) -> None:
        """Ask the module's own `__getattr__`, which was just defined, after this one."""
        self._own = self._namespace["__getattr__"]
        if self.waiting:
            self._namespace["__getattr__"] = self.outside

    def resolve_all(self) -> None:
        for name, statement in list(self.waiting.items()):
            if _key(name) not in self._resolving:
                self._resolve(name, statement)

    def _get_attribute(self, name: str) -> "Any":
        """The module's `__getattr__`.

        A thread that comes here for a name that it is resolving asks for the submodule in
        `from . import name`: it gets AttributeError, and importlib imports the submodule.
        """
        statement = self.waiting.get(name)
        if statement is not None and _key(name) not in self._resolving:
            return self._resolve(name, statement)
        namespace = self._namespace
        if name in namespace:  # another thread bound it
            return namespace[name]
        if name == "__all__":  # `from module import *` asks for it, and then reads the globals
            self.resolve_all()
        if self._own is not None:
            return self._own(name)
        initializing = getattr(namespace.get("__spec__"), INITIALIZING, False)
        raise AttributeError(
            f"{'partially initialized ' if initializing else ''}module "
            f"{namespace.get('__name__')!r} has no attribute {name!r}"
            f"{' (most likely due to a circular import)' if initializing else ''}",
            name=name,
            obj=get_module(namespace.get("__name__", "")),
        )

    def _list_names(self) -> "list[str]":
        """The module's `__dir__`: what `dir` would show if nothing had waited."""
        self.resolve_all()
        return sorted(name for name in self._namespace if name != NAME)

    def __repr__(self) -> str:
        return f"<resolver of {self._namespace.get('__name__')!r}, {len(self.waiting)} waiting>"


def _key(name: str) -> "tuple[int, int, str]":
    """A name that this thread resolves; a forked child has none of its parent's other threads."""
    return syscalls.getpid(), get_ident(), name
