from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from wg_orchestrator.domain.endpoint import IPAddress

MAX_SOURCES = 10_000
_PREFIX = 64


class Bucket:
    """Lets so many through per second, and a burst of as many."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._level, self._at = burst, now

    def takes(self, now: float) -> bool:
        """Whether one more may pass now."""
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class SourceRates:
    """A bucket for each source: an IPv4 address, or an IPv6 network of /64, which one customer has."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[IPAddress | IPv6Network, Bucket] = OrderedDict()

    def takes(self, address: IPAddress) -> bool:
        """Whether one more may pass from there. Of more than 10,000 sources, the one that has been quiet for longest is
        forgotten.
        """
        now = self._clock()
        source = IPv6Network((address, _PREFIX), strict=False) if isinstance(address, IPv6Address) else address
        bucket = self._buckets.pop(source, None) or Bucket(self._rate, self._burst, now)
        self._buckets[source] = bucket
        if len(self._buckets) > MAX_SOURCES:
            self._buckets.popitem(last=False)
        return bucket.takes(now)
