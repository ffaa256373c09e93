import math
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class GateLimits:
    """How much may come in at all. Times in seconds, sizes in bytes, rates a second, averaged over ten; 0: no limit."""

    max_connections: int = 100_000
    max_connections_per_source: int = 0
    max_handshake_rate: float = 2000.0
    max_handshake_rate_per_source: float = 0.0
    max_memory: int | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whom to believe where a connection comes from."""
    request_timeout: float = 5.0
    max_pending: int = 2000
    """Connections that have not made their request, and as many that have not asked to join. Of more the oldest is out:
    each takes an honest client a round trip, so that who has waited longest is the least likely to go on."""
    max_request_size: int = 16 * 1024


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one WebSocket may take. Times in seconds, sizes in bytes."""

    max_message_size: int = 4096
    max_fragments: int = 16
    max_frame_rate: float = 10.0
    """Frames of any kind a second, averaged over ten seconds."""
    max_outbox_size: int = 1024 * 1024
    """What may wait to be sent to a peer, beyond its welcome."""
    join_timeout: float = 10.0
    ping_interval: float = 10.0
    ping_timeout: float = 8.0
    close_timeout: float = 5.0


RATE_WINDOW = 10.0


class RateBudget:
    """How much more there may be: `rate` a second, and after a quiet time as many at once as in ten seconds.

    A token bucket (https://www.rfc-editor.org/rfc/rfc2697 has the idea).
    """

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = math.inf
        self._at = 0.0

    def spend(self, now: float) -> bool:
        """Take one, at `now` in seconds of a monotonic clock; False if there is none left."""
        rate = self._rate
        self._left = min(self._left + (now - self._at) * rate, max(1.0, rate * RATE_WINDOW))
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

    __slots__ = ("_budgets", "_full_after", "_max_sources", "_rate")

    def __init__(self, rate: float, max_sources: int = 1 << 16) -> None:
        """Of more than `max_sources` the one that has asked least lately is forgotten, too."""
        self._rate = rate
        self._max_sources = max_sources
        self._full_after = max(RATE_WINDOW, 1 / rate)
        # Who has asked last stands last.
        self._budgets: dict[str, tuple[RateBudget, float]] = {}

    def __len__(self) -> int:
        return len(self._budgets)

    def spend(self, source: str, now: float) -> bool:
        """Take one of that source's, at `now` in seconds of a monotonic clock; False if there is none left."""
        budget = self._budgets.pop(source)[0] if source in self._budgets else RateBudget(self._rate)
        self._budgets[source] = budget, now
        while (first := next(iter(self._budgets))) != source:
            if now - self._budgets[first][1] < self._full_after and len(self._budgets) <= self._max_sources:
                break
            del self._budgets[first]
        return budget.spend(now)

    def give_back(self, source: str) -> None:
        """Take back what that source has just spent."""
        self._budgets[source][0].give_back()
