"""`Texts`: the code that modules compile from text, compiled when they were frozen.

Libraries generate functions as text, and compile it while they are imported: `dataclasses`,
`collections.namedtuple`, attrs, SQLAlchemy, `typing` for its forward references. A recorded run
says which texts, and where in which module. Their code is in the registry with that module's code.
While the outermost import of a thread runs, the module's namespace has its own `exec`, `eval` or
`compile`: a `Name`, which answers from the registry. Nothing is patched elsewhere.

Rules
  1. What was not recorded goes to the built-in function, which the module's own frame then calls:
     its flags, its namespaces, its exceptions and its frames are those of stock.
  2. The code is equal to the code that the built-in function compiles from that text, for the same
     file, mode and flags, at the same level of optimisation, without a warning. The freezer checks
     this. Each answer is a new code object.
  3. No code of the program runs below a frame of this module. Code for `exec` and `eval` is in the
     registry only if it does nothing but make functions, and `compile` runs none.
"""

import builtins
import sys
from _weakref import ref
from marshal import loads

from frozenfinder.runtime.system import environment, fix_co_filename, get_frame, get_modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType, ModuleType
    from typing import Any

    Asked = tuple[str, int, bool, int]
    """The arguments of `compile` after the file: mode, flags, dont_inherit, optimize."""

    Site = tuple[int, str, int, tuple[str, ...], Asked, dict[str, bytes]]
    """Of a call: the sum of the level of optimisation and the flags of the module's code, the
    function's name, the line, the variables of which one has the text, what is asked of `compile`,
    and the code of each text."""

_ModuleType = type(sys)
_BUILTINS: "dict[str, Any]" = builtins.__dict__
FUTURES = 0x1FE0000
"""The flags that the compiler inherits from the code that asks (`PyCF_MASK` in CPython)."""

_GENUINE: "dict[str, Callable[..., object]]" = {"exec": exec, "eval": eval, "compile": compile}
_ALONE = 2
"""The references to an object in a list, while `sys.getrefcount` counts them."""


class Name:
    """`exec`, `eval` or `compile` in the namespace of a module that was seen to call it.

    A call of an object looks up `__call__` in its type first. Here that is a property, which
    decides who gets the arguments: the built-in function, or one that has the text's code. It knows
    the text before the call from the caller's variable.
    """

    __slots__ = ("name", "_answers", "_file", "_futures")

    def __init__(self, name: str, file: str, futures: int) -> None:
        self.name = name
        self._file = file
        self._futures = futures
        self._answers: "dict[int, tuple[tuple[str, ...], Mapping[str, bytes], object]]" = {}

    def add(self, site: "Site") -> None:
        """Answer the texts of a call in the module's source."""
        _, name, line, variables, asked, texts = site
        answer: "Callable[..., object]"
        if name == "compile":
            answer = _answer_compile(texts, asked, self._futures)
        else:
            answer = _answer_run(texts, _GENUINE[name])
        self._answers[line] = variables, texts, answer

    @property
    def __call__(self) -> "Any":
        """The function that the caller shall call; NameError if the program has deleted it.

        Up to 3.12, `f_locals` keeps what the caller's variables refer to until the caller returns.
        """
        name = self.name
        try:
            frame = get_frame(1)
        except Exception:  # noqa: BLE001 - an audit hook refuses
            return _GENUINE[name]
        visible = frame.f_builtins
        try:
            genuine = visible[name]
        except KeyError:
            raise NameError(f"name {name!r} is not defined", name=name) from None
        site = self._answers.get(frame.f_lineno)
        if site is None or visible is not _BUILTINS or genuine is not _GENUINE[name]:
            return genuine
        code = frame.f_code  # of another module that has copied the name, or of a changed source
        if code.co_filename != self._file or code.co_flags & FUTURES != self._futures:
            return genuine
        variables, texts, answer = site
        known = frame.f_locals
        for variable in variables:
            text = known.get(variable)
            if type(text) is str and text in texts:
                return answer
        return genuine


def _answer_run(
    texts: "Mapping[str, bytes]", run: "Callable[..., object]"
) -> "Callable[..., object]":
    """An `exec` or `eval` of these texts; `run` is the built-in function."""

    def answer(
        source: str,
        globals: "dict[str, Any] | None" = None,  # noqa: A002 - the names that `exec` has
        locals: "Mapping[str, Any] | None" = None,  # noqa: A002
    ) -> object:
        space, names = globals, locals
        if space is None:  # the caller's: the built-in function would take those of this frame
            frame = get_frame(1)
            space = frame.f_globals
            names = frame.f_locals if names is None else names
        if isinstance(space, dict):  # the caller's: this module has built-in names of its own
            dict.setdefault(space, "__builtins__", _BUILTINS)
        sys.audit("compile", source.encode(), "<string>")
        return run(loads(texts[source]), space, names)

    return answer


def _answer_compile(
    texts: "Mapping[str, bytes]", asked: "Asked", futures: int
) -> "Callable[..., object]":
    """A `compile` of these texts that asks for this, in code that was compiled with `futures`."""

    def answer(
        source: "Any",
        filename: "Any",
        mode: str = "",
        flags: int = 0,
        dont_inherit: bool = False,
        optimize: int = -1,
        **others: "Any",
    ) -> "CodeType":
        packed = None if others else texts.get(source)
        is_asked = (mode, flags, dont_inherit, optimize) == asked
        if packed is None or not is_asked or type(filename) is not str or "\0" in filename:
            flags |= 0 if dont_inherit else futures
            code: "CodeType" = compile(source, filename, mode, flags, True, optimize, **others)
            return code
        sys.audit("compile", source.encode(), filename)
        code = loads(packed)
        fix_co_filename(code, filename)
        return code

    return answer


class Texts:
    """Puts the names into the namespaces of their modules, and takes them out.

    Threads share it without a lock. `_known` is only changed by single operations. A thread that
    puts names in takes all names out later, so when all imports are done, they are gone; a thread
    that still imports then has its texts compiled.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: "dict[str, tuple[ref[ModuleType], list[Name]]]" = {}

    def add(self, module: "ModuleType", code: "CodeType", sites: "list[Site]") -> None:
        """Add the frozen texts of a module whose code was executed."""
        if not has_columns():
            return
        file, futures = code.co_filename, code.co_flags & FUTURES
        names: "dict[str, Name]" = {}
        try:
            for site in sites:
                compiled, name, *_ = site
                if compiled == sys.flags.optimize + futures:  # bundles serve at every level
                    names.setdefault(name, Name(name, file, futures)).add(site)
        except (KeyError, TypeError, ValueError):  # another version's: the module compiles itself
            return
        self._known[module.__name__] = ref(module), list(names.values())

    def put_in(self) -> None:
        """Put the names into the namespaces; a module's own `exec`, `eval` or `compile` stays."""
        for at, names in list(self._known.values()):
            module = at()
            if module is not None:
                namespace = _namespace(module)
                for name in names:
                    namespace.setdefault(name.name, name)

    def take_out(self) -> None:
        """Take the names out of the namespaces, also of modules that have copied them."""
        for at, names in list(self._known.values()):
            module = at()
            if module is not None:
                namespace = _namespace(module)
                for name in names:
                    _take_out(namespace, name)
                del name
                for place in range(len(names)):
                    if sys.getrefcount(names[place]) > _ALONE:
                        _take_back(names[place])


def _namespace(module: "ModuleType") -> "dict[str, Any]":
    """The module's namespace; its class may compute attributes in another way."""
    namespace: "dict[str, Any]" = _ModuleType.__getattribute__(module, "__dict__")
    return namespace


def _take_out(namespace: "dict[str, Any]", name: Name) -> None:
    if namespace.get(name.name) is name:
        namespace.pop(name.name, None)


def _take_back(name: Name) -> None:
    """Take a name out of every module: `from module import *` copies it."""
    for module in list(get_modules().values()):
        if issubclass(type(module), _ModuleType):
            _take_out(_namespace(module), name)


def has_columns() -> bool:
    """Whether this interpreter's compiler notes columns: not with `-X no_debug_ranges`."""
    return "no_debug_ranges" not in sys._xoptions and not environment("PYTHONNODEBUGRANGES")
