"""Rounds in which sides take turns, and comparisons of the values of two sides.

If a machine does other work, two medians may be measured under different load. The two values of
one round are measured under the same load, so the ratios within the rounds are summarised.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

_T = TypeVar("_T")


class Comparison(NamedTuple):
    """The medians of two sides, and the median and quartiles of the ratios within a round."""

    stock: float
    ours: float
    ratio: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether both quartiles are on the same side of 1."""
        return not self.low < 1 < self.high


def take_turns(
    sides: Mapping[str, Callable[[], _T]],
    rounds: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, list[_T]]:
    """The results of the sides, called in turns; which is first changes from round to round."""
    names = list(sides)
    values: dict[str, list[_T]] = {name: [] for name in names}
    for number in range(rounds):
        at = number % len(names)
        for done, name in enumerate(names[at:] + names[:at], 1):
            values[name].append(sides[name]())
            progress(number * len(names) + done, rounds * len(names))
    return values


def compare(stock: Sequence[float], ours: Sequence[float]) -> Comparison:
    """Compare values of the same rounds; there must be at least two."""
    ratios = [new / old for old, new in zip(stock, ours, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Comparison(statistics.median(stock), statistics.median(ours), middle, low, high)
