from ipaddress import IPv4Address, IPv6Address, ip_address

_IPV6_SITE = 64
"""Leading bits of an IPv6 address that name a site (RFC 6177). All addresses of a site count as one source."""
RATE_WINDOW = 10.0
"""Seconds over which a rate is averaged."""


class RateBudget:
    """A token bucket (https://www.rfc-editor.org/rfc/rfc2697 has the idea): it gets `rate` tokens a second, and keeps
    at most those of ten seconds.

    The tokens of a stall come on top of that maximum. A client may have kept to its rate during the stall, and after
    it all that the client has sent is read at once.
    """

    __slots__ = ("_at", "_left", "_rate", "_stalled")

    def __init__(self, rate: float, stalled: float = 0.0) -> None:
        """`stalled` is as for `spend`. Stalls before that add nothing to this budget."""
        self._rate = rate
        self._left = max(1.0, rate * RATE_WINDOW)
        self._at = 0.0
        self._stalled = stalled

    def spend(self, now: float, stalled: float = 0.0) -> bool:
        """Take one token; False if none is left. `now` is in seconds of a monotonic clock that stands still in stalls;
        `stalled` is how many seconds it has stood still in all.
        """
        rate = self._rate
        most = max(1.0, rate * RATE_WINDOW)
        if self._left < most:  # There may be more, after a stall: it stays until it is spent.
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
        """Put back the token that was spent last."""
        self._left += 1


class SourceBudgets:
    """A RateBudget for each source. A budget that is full again is forgotten, as a new one is full, too."""

    __slots__ = ("_before", "_budgets", "_full_after", "_max_sources", "_rate", "_stall_seen", "_stalled")

    def __init__(self, rate: float, max_sources: int = 1 << 16) -> None:
        """If there are more than `max_sources`, the budget that was used longest ago is forgotten."""
        self._rate = rate
        self._max_sources = max_sources
        self._full_after = max(RATE_WINDOW, 1 / rate)
        # In the order of their last use: the latest is last.
        self._budgets: dict[str, tuple[RateBudget, float]] = {}
        # A source that is new soon after a stall gets the tokens of that stall, too: it may have sent during the stall.
        self._stalled = self._before = 0.0
        self._stall_seen = -RATE_WINDOW

    def __len__(self) -> int:
        return len(self._budgets)

    def is_spent(self, source: str, now: float) -> bool:
        """Whether `source` has no token left. It takes none."""
        if source not in self._budgets:
            return False
        is_left = self.spend(source, now)
        if is_left:
            self.give_back(source)
        return not is_left

    def spend(self, source: str, now: float, stalled: float = 0.0) -> bool:
        """Take one token of `source`; False if it has none left. See RateBudget.spend."""
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
        """Put back the token that `source` has just spent."""
        self._budgets[source][0].give_back()


def parse_source(address: str) -> IPv4Address | IPv6Address | None:
    """The address that a client connects from; None if it is not one."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed


def site_of(source: str) -> str:
    """What a client's address counts as: all addresses of an IPv6 site are one source."""
    if ":" not in source:
        return source
    address = parse_source(source)
    if isinstance(address, IPv6Address):
        return str(int(address) >> (128 - _IPV6_SITE))
    return str(address or source)
