"""Guards: loads of names that may not be bound yet, in the bytecode of CPython 3.11 to 3.14.

A guarded load has an entry of its own in the exception table of its code object. While the name is
not bound, the load raises NameError, and the handler behind the end of the code calls the module's
resolver, leaves the value on the stack and jumps back. Once the name is bound, the handler is never
reached, and the load is the stock instruction.

`bytecode` assembles the code: jumps, line table, exception table. The depths of the stack come from
the proof, because `bytecode` would compute those of a divided `try` from its second half.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from types import CodeType
from typing import Any

from frozenfinder.errors import FreezeError
from frozenfinder.lazy import NAME

from .proof import GUARDED, Unproved, is_apart, measure_depths, prove

_V311 = sys.version_info < (3, 12)
_NULL_FIRST = sys.version_info < (3, 13)  # the NULL of a call is below the function
_HANDLER_DEPTH = 6  # what a handler needs above the load
_FAILURES = (RuntimeError, ValueError, TypeError, AssertionError, LookupError)


def import_bytecode() -> Any:
    """The library `bytecode`; FreezeError if it is not installed."""
    try:
        # deferred: an extra, which only lazy registries need
        import bytecode  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise FreezeError(
            "lazy registries need the library 'bytecode' on Python "
            f"{sys.version_info[0]}.{sys.version_info[1]}; install it with: "
            "pip install 'frozenfinder[lazy]'"
        ) from error
    return bytecode


def guard(code: CodeType, names: Collection[str]) -> CodeType:
    """The code with a guard at each load of one of `names`, here and in everything defined in it.

    Unproved, with the names that it loads, if a code object does not come through its proof.
    """
    consts = tuple(
        guard(const, names) if isinstance(const, CodeType) else const for const in code.co_consts
    )
    if any(new is not old for new, old in zip(consts, code.co_consts, strict=True)):
        code = code.replace(co_consts=consts)
    return guard_alone(code, names)


def guard_alone(code: CodeType, names: Collection[str]) -> CodeType:
    """As `guard`, but without what is defined in the code."""
    loaded = set(names) & set(code.co_names)
    if not loaded:
        return code
    try:
        loaded = loaded.intersection(find_guarded(code))
        if not loaded:
            return code
        guarded = _assemble(code, loaded)
    except _FAILURES as error:
        raise Unproved(code, loaded, f"{type(error).__name__}: {error}") from error
    prove(code, guarded, loaded)
    return guarded


def find_guarded(code: CodeType) -> Iterator[str]:
    """The names of the code's own loads that can have a guard."""
    for each in measure_depths(code):
        if each.name in GUARDED and each.depth is not None:
            yield code.co_names[each.argument >> each.shift]


def _assemble(code: CodeType, names: Collection[str]) -> CodeType:
    """The code with guards, before its proof."""
    library = import_bytecode()
    listing = library.ConcreteBytecode.from_code(code).to_bytecode(
        conserve_exception_block_stackdepth=True
    )
    listing.argnames = list(code.co_varnames)  # all variables keep their places
    # a function takes its docstring from the first constant, so that keeps its place, too
    listing.docstring = code.co_consts[0] if code.co_consts else None
    items = list(_list_regions(library, listing))
    following = _find_following(library, items)
    depths = iter([(each.name, each.depth) for each in measure_depths(code)])
    body: list[tuple[Any, Any]] = []
    handlers: list[tuple[Any, Any]] = []
    for place, (item, region) in enumerate(items):
        if not isinstance(item, library.Instr):
            body.append((item, region))
            continue
        measured, depth = next(depths)
        if measured != item.name:
            raise ValueError(f"{item.name} was read as {measured}")
        name, with_null = _read_load(item)
        if name not in names or depth is None:
            body.append((item, region))
            continue
        handler, after = library.Label(), library.Label()
        body += [(item, library.TryBegin(handler, False, depth)), (after, region)]
        if not is_apart(following[place]):
            body.append((library.Instr("NOP", location=item.location), region))
        handlers.append((handler, region))
        written = _write_handler(library, name, with_null, after, item.location)
        handlers += [(each, region) for each in written]
    listing[:] = _write_regions(library, [*body, *handlers])
    concrete = listing.to_concrete_bytecode(compute_exception_stack_depths=False)
    size = code.co_stacksize + _HANDLER_DEPTH
    made: CodeType = concrete.to_code(stacksize=size, compute_exception_stack_depths=False)
    return made


def _list_regions(library: Any, listing: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Each instruction or label, with the start of the `try` that it is in, or None."""
    region = None
    for item in listing:
        if isinstance(item, library.TryBegin):
            region = item
        elif isinstance(item, library.TryEnd):
            region = None
        else:
            yield item, region


def _find_following(library: Any, items: list[tuple[Any, Any]]) -> list[str]:
    """For each place, the name of the next instruction."""
    names = [""] * len(items)
    name = ""
    for place in range(len(items) - 1, -1, -1):
        names[place] = name
        if isinstance(items[place][0], library.Instr):
            name = items[place][0].name
    return names


def _write_regions(library: Any, items: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    """The inverse of `_list_regions`: a region that is interrupted begins again."""
    region = begin = None
    for item, each in items:
        if isinstance(item, library.Instr) and each is not region:
            if begin is not None:
                yield library.TryEnd(begin)
            begin = None if each is None else each.copy()
            if begin is not None:
                yield begin
            region = each
        yield item
    if begin is not None:
        yield library.TryEnd(begin)


def _read_load(item: Any) -> tuple[str, bool]:
    """The name that an instruction loads, and whether it pushes a NULL, too."""
    if item.name not in GUARDED:
        return "", False
    return (item.arg, False) if isinstance(item.arg, str) else (item.arg[1], item.arg[0])


def _write_handler(
    library: Any, name: str, with_null: bool, after: Any, location: Any
) -> Iterator[Any]:
    """Call the resolver with the name and the NameError, which is on the stack.

    A result that is this error means that the name is not one of the module's: it is raised, as if
    nothing had happened.
    """

    def write(operation: str, argument: Any = None) -> Any:
        if argument is None:
            return library.Instr(operation, location=location)
        return library.Instr(operation, argument, location=location)

    failed = library.Label()
    yield write("LOAD_GLOBAL", (True, NAME))  # [error, resolver and NULL]
    yield write("LOAD_CONST", name)
    yield write("COPY", 4)
    if _V311:
        yield write("PRECALL", 2)
    yield write("CALL", 2)  # [error, value]
    yield write("COPY", 1)
    yield write("COPY", 3)
    yield write("IS_OP", 0)  # [error, value, whether the value is the error]
    yield write("POP_JUMP_FORWARD_IF_TRUE" if _V311 else "POP_JUMP_IF_TRUE", failed)
    yield write("SWAP", 2)
    yield write("POP_TOP")  # [value]
    if with_null:
        yield write("PUSH_NULL")
        if _NULL_FIRST:
            yield write("SWAP", 2)
    yield write("JUMP_BACKWARD_NO_INTERRUPT", after)
    yield failed
    yield write("POP_TOP")
    yield write("RERAISE", 0)
