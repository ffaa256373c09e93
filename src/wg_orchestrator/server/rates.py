RATE_WINDOW = 10.0


class RateBudget:
    """How much more there may be: `rate` a second, and after a quiet time as many at once as in ten seconds.

    A token bucket (https://www.rfc-editor.org/rfc/rfc2697 has the idea). A stall of ours is no quiet time: what was
    sent in it, at the rate, comes after it all at once, on top of what may come at once anyway.
    """

    __slots__ = ("_at", "_left", "_rate", "_stalled")

    def __init__(self, rate: float, stalled: float = 0.0) -> None:
        """`stalled` is as for `spend`: what was before this budget is nothing to it."""
        self._rate = rate
        self._left = max(1.0, rate * RATE_WINDOW)
        self._at = 0.0
        self._stalled = stalled

    def spend(self, now: float, stalled: float = 0.0) -> bool:
        """Take one; False if there is none left. `now` is in seconds of a monotonic clock that stands still in stalls,
        `stalled` how many seconds it has stood still in all.
        """
        rate = self._rate
        most = max(1.0, rate * RATE_WINDOW)
        if self._left < most:  # More is left of a stall.
            self._left = min(self._left + (now - self._at) * rate, most)
        if stalled > self._stalled:
            self._left += (stalled - self._stalled) * rate
            self._stalled = stalled
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Take back what was spent last."""
        self._left += 1


class SourceBudgets:
    """A RateBudget for each source. One that is full again is forgotten, as that of a new source is full."""

    __slots__ = ("_before", "_budgets", "_full_after", "_max_sources", "_rate", "_stall_seen", "_stalled")

    def __init__(self, rate: float, max_sources: int = 1 << 16) -> None:
        """Of more than `max_sources` the one that has asked least lately is forgotten, too."""
        self._rate = rate
        self._max_sources = max_sources
        self._full_after = max(RATE_WINDOW, 1 / rate)
        # Who has asked last stands last.
        self._budgets: dict[str, tuple[RateBudget, float]] = {}
        # The last stall is one for those too that are heard of only after it.
        self._stalled = self._before = 0.0
        self._stall_seen = -RATE_WINDOW

    def __len__(self) -> int:
        return len(self._budgets)

    def spend(self, source: str, now: float, stalled: float = 0.0) -> bool:
        """Take one of that source's; False if there is none left. See RateBudget.spend."""
        if stalled > self._stalled:
            self._before, self._stalled, self._stall_seen = self._stalled, stalled, now
        if source in self._budgets:
            budget = self._budgets.pop(source)[0]
        else:
            budget = RateBudget(self._rate, self._before if now - self._stall_seen < RATE_WINDOW else stalled)
        self._budgets[source] = budget, now
        while (first := next(iter(self._budgets))) != source:
            if now - self._budgets[first][1] < self._full_after and len(self._budgets) <= self._max_sources:
                break
            del self._budgets[first]
        return budget.spend(now, stalled)

    def give_back(self, source: str) -> None:
        """Take back what that source has just spent."""
        self._budgets[source][0].give_back()
