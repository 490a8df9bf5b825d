"""Measuring boots: fresh processes that take turns, and comparisons of each pair of them."""

from .importtime import TimedImport, read_imports
from .page import make_page
from .processes import ProcessError, Usage, run
from .rounds import Comparison, compare, take_turns

__all__ = [
    "Comparison",
    "ProcessError",
    "TimedImport",
    "Usage",
    "compare",
    "make_page",
    "read_imports",
    "run",
    "take_turns",
]
