"""Types for annotations in programs: the modes of `install`, and its results."""

from typing import Literal, TypeAlias

from frozenfinder.closed.finder import ClosedFinder
from frozenfinder.null_finder import NullFinder
from frozenfinder.runtime.finder import FrozenFinder

Mode: TypeAlias = Literal["overlay", "closed"]

Finder: TypeAlias = FrozenFinder | ClosedFinder | NullFinder
