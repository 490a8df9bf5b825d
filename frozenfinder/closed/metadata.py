"""The distributions of closed mode, for `importlib.metadata`."""

import re
from importlib.metadata import DistributionFinder, PathDistribution

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

    from .finder import ClosedFinder


def find_distributions(
    finder: "ClosedFinder", context: "DistributionFinder.Context | None"
) -> "Iterator[Distribution]":
    """The distributions in the registry that `context` requests: all, or those with one name.

    Yields none if `context` names directories and the registry is not among them.
    """
    asked = {} if context is None else vars(context)
    name = asked.get("name")
    wanted = _prepare(name) if name else None
    if finder.root not in asked.get("path", [finder.root]):
        return
    for folder in finder.files.metadata:
        if wanted in (None, _name_of(folder)):
            yield PathDistribution(finder.find_path(folder))


def _name_of(folder: str) -> str:
    return _prepare(folder.rpartition(".")[0].partition("-")[0])


def _prepare(name: str) -> str:
    """A name as in file names: as `Prepared.normalize` of Lib/importlib/metadata/__init__.py."""
    return re.sub(r"[-_.]+", "_", name).lower()
