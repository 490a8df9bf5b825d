"""Measuring boots: fresh processes that take turns, and comparisons of each pair of them."""

from .importtime import Import, read_imports
from .page import make_page
from .processes import ProcessError, Usage, run
from .rounds import Comparison, compare, take_turns

__all__ = [
    "Comparison",
    "Import",
    "ProcessError",
    "Usage",
    "compare",
    "make_page",
    "read_imports",
    "run",
    "take_turns",
]
