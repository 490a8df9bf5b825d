"""The proof of a code object with guards: it does what the code without them does, and no more.

Wrong bytecode crashes the interpreter, so nothing is written that was not proved. The proof reads
the finished bytes itself, and shares no code with the assembler. It shows that

- without the guards, both codes have the same instructions, arguments, positions, jumps, handlers
  and depths of the stack, and the same signature and docstring;
- each guarded load has a handler of its own, which leaves on the stack what the load leaves there
  (run with symbols in place of values), raises in the `try` that the load is in, and continues
  directly after the load;
- no instruction takes more from the stack than is there, or puts more there than there is room for.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from dis import EXTENDED_ARG, HAVE_ARGUMENT, opname, stack_effect
from dis import hasconst as _CONSTANTS  # noqa: N812
from dis import hasfree as _FREE  # noqa: N812
from dis import hasjrel as _JUMPS  # noqa: N812
from dis import haslocal as _LOCALS  # noqa: N812
from dis import hasname as _NAMES  # noqa: N812
from types import CodeType
from typing import Any

from frozenfinder.lazy import NAME

GUARDED = ("LOAD_GLOBAL", "LOAD_NAME")
"""The instructions that can have a guard."""

_NULL_FIRST = sys.version_info < (3, 13)  # the NULL of a call is below the function
_LOOKS_BEFORE = sys.version_info >= (3, 13)
"""Whether an exception that leaves a Python function is handled where the unit before its call is
(`exit_unwind` in Python/bytecodes.c)."""

_APART = (
    "BUILD_LIST",
    "BUILD_MAP",
    "BUILD_TUPLE",
    "COPY",
    "JUMP_BACKWARD",
    "JUMP_BACKWARD_NO_INTERRUPT",
    "JUMP_FORWARD",
    "LOAD_CONST",
    "LOAD_DEREF",
    "LOAD_FAST",
    "LOAD_FAST_AND_CLEAR",
    "LOAD_FAST_BORROW",
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW",
    "LOAD_FAST_CHECK",
    "LOAD_FAST_LOAD_FAST",
    "LOAD_GLOBAL",
    "LOAD_NAME",
    "LOAD_SMALL_INT",
    "NOP",
    "POP_TOP",
    "PUSH_NULL",
    "RETURN_VALUE",
    "STORE_FAST",
    "SWAP",
)
"""Instructions that call no Python function."""

_FINAL = ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "INTERPRETER_EXIT")
_ALWAYS_JUMP = ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
_NO_JUMP = ("END_ASYNC_FOR",)  # from 3.14 on it names the start of its loop, for monitoring
_SHIFTS = {
    "LOAD_GLOBAL": 1,
    "LOAD_ATTR": 1 if sys.version_info >= (3, 12) else 0,
    "LOAD_SUPER_ATTR": 2,
}
"""The bits of an argument below the number of a name."""

_PAIRS = ("LOAD_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "STORE_FAST_LOAD_FAST")
_ARGUMENTS = ("co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_name")
_SIGNATURE = (*_ARGUMENTS, "co_qualname", "co_filename", "co_firstlineno", "co_cellvars")
_VARIADIC = 0x04, 0x08  # flags of `*args` and `**kwargs`
_HAS_DOCSTRING = 0x4000000  # from 3.14 on; before, the first constant is the docstring


class Unproved(Exception):  # noqa: N818
    """A code object with guards for `names` that is not shown to be right; `reason` says why."""

    def __init__(self, code: CodeType, names: Collection[str], reason: str) -> None:
        super().__init__(f"{code.co_qualname}: {reason}")
        self.names = sorted(names)
        self.reason = reason


@dataclass(slots=True)
class Instruction:
    """One instruction: `start` to `end` are its units of two bytes, `at` that of its opcode.

    `depth` is that of the stack before it, or None if it is never reached. `target` is the unit to
    which it jumps, and `entry` the entry of the exception table around it.
    """

    name: str
    opcode: int
    argument: int
    start: int
    at: int
    end: int
    depth: int | None = None
    target: int | None = None
    entry: Region | None = None

    @property
    def shift(self) -> int:
        return _SHIFTS.get(self.name, 0)


@dataclass(frozen=True, slots=True)
class Region:
    """An entry of an exception table, in units: `start` to `end` lead to `target`."""

    start: int
    end: int
    target: int
    depth: int
    lasti: bool


def is_apart(name: str) -> bool:
    """Whether a guarded load can stand directly before an instruction of this name."""
    return not _LOOKS_BEFORE or name in _APART


def measure_depths(code: CodeType) -> list[Instruction]:
    """The instructions of a code object, with the depth of the stack before each.

    ValueError if the depths do not agree, or the tables do not fit the instructions.
    """
    found = list(_decode(code))
    by_start = {each.start: place for place, each in enumerate(found)}
    around = _spread(code)
    for each in found:
        each.entry = around.get(each.at)
        if each.entry is not None and each.entry.target not in by_start:
            raise ValueError(f"a handler is at {each.entry.target}, inside an instruction")
        if each.target is not None and each.target not in by_start:
            raise ValueError(f"{each.name} at {each.at} jumps into an instruction")
        if around and any(around.get(unit) is not each.entry for unit in range(each.at, each.end)):
            raise ValueError(f"{each.name} at {each.at} is in a `try` only in part")
    _walk(code, found, by_start)
    return found


def _decode(code: CodeType) -> Iterator[Instruction]:
    data = code.co_code
    start = argument = 0
    for at in range(0, len(data), 2):
        opcode = data[at]
        if not opcode:
            continue  # a cache of the instruction before
        argument = argument << 8 | data[at + 1]
        if opcode == EXTENDED_ARG:
            continue
        end = at + 2
        while end < len(data) and not data[end]:
            end += 2
        name = opname[opcode]
        found = Instruction(name, opcode, argument, start // 2, at // 2, end // 2)
        if opcode in _JUMPS:
            backward = "BACKWARD" in name or name in _NO_JUMP
            found.target = found.end + (-argument if backward else argument)
        yield found
        start, argument = end, 0


def _read_table(table: bytes) -> list[Region]:
    """The entries; see Objects/exception_handling_notes.txt."""
    entries = []
    numbers = _read_numbers(table)
    end = 0
    for start in numbers:
        size, target, depth = next(numbers), next(numbers), next(numbers)
        if start < end or not size:
            raise ValueError(f"the table of handlers has an entry from {start} to {start + size}")
        end = start + size
        entries.append(Region(start, end, target, depth >> 1, bool(depth & 1)))
    return entries


def _read_numbers(table: bytes) -> Iterator[int]:
    number = count = 0
    begins = True
    for at, byte in enumerate(table):
        if bool(byte & 0x80) is not (begins and not count % 4):  # the first byte of an entry
            raise ValueError(f"the table of handlers has {byte:#x} at {at}")
        number = number << 6 | byte & 0x3F
        begins = not byte & 0x40
        if begins:
            yield number
            number = 0
            count += 1
    if not begins or count % 4:
        raise ValueError("the table of handlers ends inside an entry")


def _spread(code: CodeType) -> dict[int, Region]:
    """The entry of the exception table around each unit that has one."""
    entries = _read_table(code.co_exceptiontable)
    if entries and entries[-1].end > len(code.co_code) // 2:
        raise ValueError("the last entry of the table of handlers is longer than the code")
    return {unit: entry for entry in entries for unit in range(entry.start, entry.end)}


def _walk(code: CodeType, found: list[Instruction], by_start: Mapping[int, int]) -> None:
    """Set the depths, along every path."""
    pending = [(0, 0)]
    while pending:
        place, depth = pending.pop()
        if place >= len(found):
            raise ValueError("the code has no end")
        each = found[place]
        if not 0 <= depth <= code.co_stacksize:
            raise ValueError(
                f"{each.name} at {each.at} has depth {depth}, the stack has {code.co_stacksize}"
            )
        if each.depth is None:
            each.depth = depth
            pending += _follow(each, place, depth, by_start)
        elif each.depth != depth:
            raise ValueError(
                f"{each.name} at {each.at} has depth {each.depth}, on another way {depth}"
            )


def _follow(
    each: Instruction, place: int, depth: int, by_start: Mapping[int, int]
) -> Iterator[tuple[int, int]]:
    """The places after an instruction, and the depth at each."""
    if each.entry is not None:
        if each.entry.depth > depth:
            raise ValueError(f"the handler of {each.name} at {each.at} is too deep")
        yield by_start[each.entry.target], each.entry.depth + each.entry.lasti + 1
    if each.target is not None and each.name not in _NO_JUMP:
        yield by_start[each.target], depth + _effect(each, jump=True)
    if each.name not in _FINAL and each.name not in _ALWAYS_JUMP:
        yield place + 1, depth + _effect(each, jump=False)


def _effect(each: Instruction, *, jump: bool) -> int:
    if each.name == "RETURN_GENERATOR":
        return 1  # what `send` gives to the new generator; up to 3.12 that is not counted
    argument = each.argument if each.opcode >= HAVE_ARGUMENT or each.argument else None
    return stack_effect(each.opcode, argument, jump=jump)


# -- the proof


def prove(old: CodeType, new: CodeType, names: Collection[str]) -> None:
    """Unproved unless `new` is `old` with a guard at each load of `names`."""
    try:
        _compare_signatures(old, new)
        _Proof(old, new, names).run()
    except (ValueError, LookupError) as error:
        raise Unproved(old, names, str(error)) from error


def _compare_signatures(old: CodeType, new: CodeType) -> None:
    for each in _SIGNATURE:
        if getattr(old, each) != getattr(new, each):
            raise ValueError(f"{each} is {getattr(new, each)!r}, expected {getattr(old, each)!r}")
    if old.co_freevars != new.co_freevars:
        raise ValueError(f"co_freevars is {new.co_freevars!r}, expected {old.co_freevars!r}")
    count = old.co_argcount + old.co_kwonlyargcount
    count += sum(bool(old.co_flags & flag) for flag in _VARIADIC)
    if old.co_varnames[:count] != new.co_varnames[:count]:
        raise ValueError("the arguments are in other places")
    if set(old.co_varnames) != set(new.co_varnames):
        raise ValueError("there are other local variables")
    if _find_docstring(old) != _find_docstring(new):
        raise ValueError("there is another docstring")


def _find_docstring(code: CodeType) -> str | None:
    first = code.co_consts[0] if code.co_consts else None
    if sys.version_info >= (3, 14) and not code.co_flags & _HAS_DOCSTRING:
        return None
    return first if isinstance(first, str) else None


class _Proof:
    """Goes through both codes side by side."""

    def __init__(self, old: CodeType, new: CodeType, names: Collection[str]) -> None:
        self._old, self._new, self._names = old, new, names
        self._before, self._after = measure_depths(old), measure_depths(new)
        self._old_positions = list(old.co_positions())
        self._new_positions = list(new.co_positions())
        self._units: dict[int, int] = {}  # the first unit of each old instruction, in the new code
        self._pairs: list[tuple[Instruction, Instruction]] = []
        self._loads: list[tuple[Instruction, Instruction, int]] = []
        self._nops: list[tuple[Instruction, Instruction]] = []

    def run(self) -> None:
        at = self._pair()
        for old, new in self._pairs:
            self._compare(old, new)
        for old, inserted in self._nops:
            self._compare_entries(old, inserted)
        by_start = {each.start: place for place, each in enumerate(self._after)}
        for old, load, following in self._loads:
            handler = self._find_handler(old, load)
            if at == len(self._after) or handler != self._after[at].start:
                raise ValueError(f"the handler of {load.name} at {load.at} is not the next one")
            end = self._run_handler(at, old, following, by_start)
            if any(self._positions(each) != self._positions(load) for each in self._after[at:end]):
                raise ValueError(f"the handler of {load.name} at {load.at} has another position")
            at = end
        if at != len(self._after):
            raise ValueError("more instructions follow the handlers")
        if _LOOKS_BEFORE:
            self._check_calls()

    def _pair(self) -> int:
        """Pair the instructions; return the place of the first handler."""
        at = 0
        for old in self._before:
            new = self._after[at]
            self._units[old.start] = new.start
            self._pairs.append((old, new))
            at += 1
            if not self._is_guarded(old):
                continue
            following = self._after[at]
            if following.name == "NOP" and not self._is_next_nop(old):
                self._nops.append((old, following))
                if self._positions(following) != self._positions(new):
                    raise ValueError(f"the NOP at {following.at} has another position")
                at += 1
            elif not is_apart(following.name):
                raise ValueError(f"{following.name} at {following.at} needs a NOP before it")
            self._loads.append((old, new, following.start))
        return at

    def _is_guarded(self, old: Instruction) -> bool:
        return (
            old.name in GUARDED
            and old.depth is not None
            and self._old.co_names[old.argument >> old.shift] in self._names
        )

    def _is_next_nop(self, old: Instruction) -> bool:
        return any(each.start == old.end and each.name == "NOP" for each in self._before)

    def _positions(self, each: Instruction) -> object:
        return self._new_positions[each.at]

    def _compare(self, old: Instruction, new: Instruction) -> None:
        where = f"{new.name} at {new.at}"
        if old.name != new.name or old.depth != new.depth:
            raise ValueError(
                f"{where} has depth {new.depth}, expected {old.name} at depth {old.depth}"
            )
        if old.target is not None:
            if new.target != self._units[old.target]:
                raise ValueError(f"{where} jumps to another instruction")
        elif not _is_same(_resolve(self._old, old), _resolve(self._new, new)):
            raise ValueError(f"{where} has another argument")
        if self._old_positions[old.at] != self._positions(new):
            raise ValueError(f"{where} has another position")
        if not self._is_guarded(old):
            self._compare_entries(old, new)

    def _compare_entries(self, old: Instruction, new: Instruction) -> None:
        if self._translate(old.entry) != _describe(new.entry):
            raise ValueError(f"{new.name} at {new.at} is in another `try`")

    def _translate(self, entry: Region | None) -> tuple[int, int, bool] | None:
        """The target, depth and kind of an old entry, in the new code."""
        return None if entry is None else (self._units[entry.target], entry.depth, entry.lasti)

    def _find_handler(self, old: Instruction, load: Instruction) -> int:
        entry = load.entry
        if entry is None:
            raise ValueError(f"{load.name} at {load.at} has no handler")
        if (entry.depth, entry.lasti) != (old.depth, False):
            raise ValueError(
                f"the handler of {load.name} at {load.at} begins at depth {entry.depth}, "
                f"expected {old.depth}"
            )
        return entry.target

    def _check_calls(self) -> None:
        """What calls Python functions has the same handler in the unit before it."""
        old_table, new_table = _spread(self._old), _spread(self._new)
        for old, new in self._pairs:
            if new.name in _APART or not old.at or old.depth is None:
                continue
            before, after = old_table.get(old.at - 1), new_table.get(new.at - 1)
            if self._translate(before) != _describe(after):
                raise ValueError(f"{new.name} at {new.at} is in another `try` when it calls")

    def _run_handler(
        self, at: int, load: Instruction, following: int, by_start: Mapping[int, int]
    ) -> int:
        """Run the handler of a load with symbols; return the place after it."""
        run = _Run(self._new, self._old.co_names[load.argument >> load.shift])
        pending = [(at, ["error"])]
        seen: set[int] = set()
        ends: set[str] = set()
        while pending:
            place, stack = pending.pop()
            seen.add(place)
            each = self._after[place]
            self._compare_entries(load, each)
            if each.name == "JUMP_BACKWARD_NO_INTERRUPT":
                if stack != _list_pushed(load) or each.target != following:
                    raise ValueError(f"the handler at {each.at} leaves {stack}")
                ends.add(each.name)
            elif each.name == "RERAISE":
                if stack != ["error"] or each.argument:
                    raise ValueError(f"the handler at {each.at} raises with {stack}")
                ends.add(each.name)
            else:
                if each.name != "PRECALL":  # before 3.12; it changes nothing
                    run.step(each, stack)
                pending.append((place + 1, stack))
                if each.target is not None:
                    pending.append((by_start[each.target], list(stack)))
        if len(ends) != 2:
            raise ValueError(f"the handler at {self._after[at].at} does not end in both ways")
        if seen != set(range(at, max(seen) + 1)):
            raise ValueError(f"the handler at {self._after[at].at} is not in one piece")
        return max(seen) + 1


def _list_pushed(load: Instruction) -> list[str]:
    """What a load leaves on the stack."""
    if load.name != "LOAD_GLOBAL" or not load.argument & 1:
        return ["value"]
    return ["null", "value"] if _NULL_FIRST else ["value", "null"]


def _describe(entry: Region | None) -> tuple[int, int, bool] | None:
    return None if entry is None else (entry.target, entry.depth, entry.lasti)


_CALLED = ["null", "resolver"] if _NULL_FIRST else ["resolver", "null"]


class _Run:
    """Runs the instructions of a handler on a stack of symbols; ValueError for any other."""

    def __init__(self, code: CodeType, name: str) -> None:
        self._code = code
        self._name = name

    def step(self, each: Instruction, stack: list[str]) -> None:
        argument = each.argument
        match each.name:
            case "LOAD_GLOBAL" if argument & 1 and self._code.co_names[argument >> 1] == NAME:
                stack += _CALLED
            case "LOAD_CONST" if self._code.co_consts[argument] == self._name:
                stack.append("name")
            case "PUSH_NULL":
                stack.append("null")
            case "COPY" if 0 < argument <= len(stack):
                stack.append(stack[-argument])
            case "SWAP" if 1 < argument <= len(stack):
                stack[-1], stack[-argument] = stack[-argument], stack[-1]
            case "POP_TOP" if stack:
                stack.pop()
            case "CALL" if argument == 2:
                self._take(each, stack, [*_CALLED, "name", "error"])
                stack.append("value")
            case "IS_OP" if not argument:
                self._take(each, stack, ["value", "error"])
                stack.append("failed")
            case "POP_JUMP_IF_TRUE" | "POP_JUMP_FORWARD_IF_TRUE":
                self._take(each, stack, ["failed"])
            case _:
                raise ValueError(f"{each.name} at {each.at} is no part of a handler")

    def _take(self, each: Instruction, stack: list[str], expected: list[str]) -> None:
        found = stack[-len(expected) :]
        del stack[-len(expected) :]
        if found != expected:
            raise ValueError(f"{each.name} at {each.at} takes {found}, expected {expected}")


def _resolve(code: CodeType, each: Instruction) -> tuple[str | int, Any]:
    """The meaning of an argument, whatever its number."""
    argument = each.argument
    if each.opcode in _CONSTANTS:
        return "constant", code.co_consts[argument]
    if each.opcode in _NAMES:
        low = argument & (1 << each.shift) - 1
        return low, code.co_names[argument >> each.shift]
    if each.opcode in _LOCALS or each.opcode in _FREE:
        variables = _list_variables(code)
        if "FAST" in each.name and each.name.count("FAST") > 1:
            return variables[argument >> 4], variables[argument & 15]
        return "variable", variables[argument]
    return "number", argument


def _list_variables(code: CodeType) -> list[str]:
    """The names of the fast locals, by number: cells that are arguments share their place."""
    cells = [name for name in code.co_cellvars if name not in code.co_varnames]
    return [*code.co_varnames, *cells, *code.co_freevars]


def _is_same(old: tuple[str | int, Any], new: tuple[str | int, Any]) -> bool:
    if old[0] != "constant":
        return old == new
    first, second = old[1], new[1]
    if first is second:
        return True
    if isinstance(first, CodeType) or isinstance(second, CodeType):
        return False
    try:
        return marshal.dumps(first, 0) == marshal.dumps(second, 0)
    except ValueError:
        return False


PROVED = frozenset({3495, 3531, 3571, 3627})
"""The magic numbers of CPython 3.11 to 3.14, of whose bytecode the proof knows all instructions."""
