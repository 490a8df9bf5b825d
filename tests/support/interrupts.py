"""Something that happens in the middle: an action at every line or instruction of some code."""

import dis
import inspect
import sys
from collections.abc import Callable, Iterator
from itertools import count
from types import CodeType, FrameType
from typing import Any, Self


class Tracer:
    """A context in which `action` is called once, at the nth event in one of the `codes`.

    An event is a line, or with `opcodes` an instruction. `reached` says whether there was an nth.
    """

    def __init__(
        self, nth: int, action: Callable[[], object], codes: set[CodeType], *, opcodes: bool
    ) -> None:
        self.left = nth
        self.action = action
        self.codes = codes
        self.opcodes = opcodes
        self.reached = False

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> "Tracer | None":
        if frame.f_code not in self.codes:
            return None
        frame.f_trace_opcodes = self.opcodes
        wanted = event == "line"
        if self.opcodes:
            # 3.14 and later leave NOT_TAKEN out of exception tables: nothing is raised there
            instruction = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            wanted = event == "opcode" and instruction != "NOT_TAKEN"
        if wanted and not self.reached:
            self.left -= 1
            if self.left < 0:
                self.reached = True
                self.action()
        return self

    def __enter__(self) -> Self:
        self.before = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)


def at_every_event(
    action: Callable[[], object], codes: set[CodeType], *, opcodes: bool
) -> Iterator[Tracer]:
    """A tracer for each event of what is run under every one of them."""
    # the instructions of a code object are traced from its second run on, on 3.12
    yield Tracer(sys.maxsize, action, codes, opcodes=opcodes)
    for nth in count():
        tracer = Tracer(nth, action, codes, opcodes=opcodes)
        yield tracer
        if not tracer.reached:
            assert nth >= 20
            return


def code_of(*functions: object) -> set[CodeType]:
    """The code objects of the functions; of a class or a module, those of every function in it."""
    found = set()
    for function in functions:
        if inspect.isfunction(function):
            found.add(function.__code__)
        else:
            found |= {each.__code__ for each in vars(function).values() if inspect.isfunction(each)}
    return found


def interrupt() -> None:
    """What the default handler of SIGINT does."""
    raise KeyboardInterrupt
