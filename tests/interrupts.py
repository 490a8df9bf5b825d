"""Something that happens in the middle: an action at every line or instruction of some code."""

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
        if event == ("opcode" if self.opcodes else "line") and not self.reached:
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


def interrupt() -> None:
    """What the default handler of SIGINT does."""
    raise KeyboardInterrupt
