"""Has coverage see the frames that the loaders hide (`runtime.loader.importlib_frame`).

Coverage leaves out a frame whose file is named after importlib, as tracebacks do. In a process that
runs this first, the functions of frozenfinder keep their own file's name. They run the same code.
`branches.py` has every measured process run it.
"""

import sys
from _imp import _fix_co_filename  # type: ignore[attr-defined]


def show(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: it hears of a new function with the code, from the one that makes it."""
    if event == "function.__new__":
        maker = sys._getframe(1)
        if maker.f_code.co_name == "importlib_frame":
            _fix_co_filename(arguments[0], maker.f_code.co_filename)


sys.addaudithook(show)
