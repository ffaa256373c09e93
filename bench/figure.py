import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One figure that a workload measures. `key` names it in the results file."""

    key: str
    title: str
    more_is_better: bool = True
    least: float | None = None
    """Target: at least this share of the first server's value, for each other server."""
    most_more: float | None = None
    """Target: at most this much more than the first server's value, for each other server."""

    def ratio(self, ours: float, theirs: float) -> float:
        """How many times better ours is than theirs."""
        better, worse = (ours, theirs) if self.more_is_better else (theirs, ours)
        return better / worse if worse else float("inf")


Sample = dict[str, float]
"""One repeat's values by figure key."""


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th percentile. Neither is beyond the largest value."""
    centiles = statistics.quantiles(values, n=100, method="inclusive")
    return centiles[49], centiles[98]
