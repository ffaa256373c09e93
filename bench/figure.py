from typing import NamedTuple


class Figure(NamedTuple):
    """What a workload measures. `key` names it in the results file."""

    key: str
    title: str
    more_is_better: bool = True

    def ratio(self, ours: float, theirs: float) -> float:
        """How many times better ours is than theirs."""
        better, worse = (ours, theirs) if self.more_is_better else (theirs, ours)
        return better / worse if worse else float("inf")


Sample = dict[str, float]
"""One repeat's values by figure key."""
