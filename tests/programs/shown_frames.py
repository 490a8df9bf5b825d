"""Has coverage see the frames that the loaders hide (`runtime.loader.importlib_frame`).

Coverage leaves out a frame whose file is named after importlib, as tracebacks do. In a process that
runs this first, the functions of frozenfinder keep their own file's name. They run the same code.
`branches.py` has every measured process run it.
"""

import sys
from _imp import _fix_co_filename  # type: ignore[attr-defined]


def show(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: it hears of the new code of a function before the function has it."""
    if event == "object.__setattr__" and arguments[1] == "__code__":
        function, _, code = arguments
        if function.__module__.startswith("frozenfinder."):
            before = function.__code__  # type: ignore[attr-defined]
            _fix_co_filename(code, before.co_filename)


sys.addaudithook(show)
