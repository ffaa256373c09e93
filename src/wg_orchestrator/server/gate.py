from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from wg_orchestrator.server.rates import RATE_WINDOW, RateBudget, SourceBudgets
from wg_orchestrator.settings import GateLimits

_RESERVED_FILES = 128
_FEW = 16
_IPV6_SITE = 64
"""Bits of an IPv6 address that one site holds all addresses of (RFC 6177): they count as one source."""
MAX_SOURCES = 1 << 16
"""Of how many sources the handshakes are kept apart: that takes some ten megabytes."""


@dataclass(frozen=True, slots=True)
class Denial:
    """The answer to a request that may not become a WebSocket: an HTTP status and a fixed phrase."""

    status: int
    reason: str


CUT = Denial(503, "no room for a connection")
TOO_MANY_CONNECTIONS = Denial(429, "too many connections from this address")
TOO_MANY_HANDSHAKES = Denial(429, "too many handshakes from this address")
BUSY = Denial(503, "too many handshakes")


class Gate:
    """Counts the connections to one server, and says which of them may go on.

    What it counts by is the source: the address of the client, for IPv6 its /64. Behind a trusted proxy that is the
    last address in X-Forwarded-For which is no trusted proxy's: all before it the client may have made up.
    """

    def __init__(self, limits: GateLimits, max_files: int, max_sources: int = MAX_SOURCES) -> None:
        """`max_files` is how many files the process may have open."""
        self._max_sources = max_sources
        self._limits = limits
        # The kernel gives each file the lowest number that is free, so a number says how full the table is. Those at
        # the top are kept for telling newcomers so; the last of them, for what else the process has to open.
        self._files = max_files - min(_RESERVED_FILES, max_files // 4)
        self._files_at_all = max_files - min(_RESERVED_FILES, max_files // 4) // 4
        self._connections = limits.max_connections
        self.few = max(_FEW, min(self._connections, self._files) // 16)
        """Those of one kind that do not go on, at the most, while there is a crowd."""
        self.memory_is_full = False
        self._memory = 0
        self.read_memory: Callable[[], int] | None = None
        """How many bytes of memory the process uses, if that can be known."""
        self._by_source: Counter[str] = Counter()
        self._handshakes = RateBudget(limits.max_handshake_rate)
        rate = limits.max_handshake_rate_per_source
        self._budgets = SourceBudgets(rate, max_sources) if rate else None
        # What each source has asked for, refused or not: of the last ten seconds, and half of what was before.
        self._handshakes_by_source: Counter[str] = Counter()
        self._all_handshakes = 0
        self._window_end = 0.0
        self.open = 0
        """Connections there are, WebSockets or not yet."""

    def enter(self, file: int) -> bool:
        """Count a new connection, which has this file number. False: there is not even room to tell it no."""
        self.open += 1
        return file < self._files_at_all and self.open <= self._limits.max_connections + _RESERVED_FILES

    def leave(self) -> None:
        self.open -= 1

    def is_full(self, file: int) -> bool:
        """Whether a connection with this file number is one too many."""
        return self.open > self._limits.max_connections or file >= self._files or self.memory_is_full

    def is_crowded(self, file: int) -> bool:
        """Whether a connection with this file number is among the last eighth that there is room for: then those that
        do not go on have to make room for it.
        """
        connections, files = self._connections - self._connections // 8, self._files - self._files // 8
        return self.open > connections or file >= files or self.memory_is_full

    def count(self, source: str) -> Denial | None:
        """Count a connection as that source's, until `discount`. Beyond twice the limit it is to be cut at once."""
        limit = self._limits.max_connections_per_source
        if not limit or self.trusts(source):
            return None
        group = _group(source)
        self._by_source[group] += 1
        count = self._by_source[group]
        return CUT if count > 2 * limit else TOO_MANY_CONNECTIONS if count > limit else None

    def discount(self, source: str) -> None:
        if self._limits.max_connections_per_source and not self.trusts(source):
            group = _group(source)
            self._by_source[group] -= 1
            if not self._by_source[group]:
                del self._by_source[group]

    def handshake(self, source: str, now: float, stalled: float = 0.0) -> Denial | None:
        """Count a handshake, at `now` in seconds of a monotonic clock that has stood still for `stalled` in all.

        A source may have its own rate, and is refused for nothing but what is beyond that: what it was refused costs it
        nothing. If there are too many in all, somebody has to be refused who kept to that. Those are the sources that
        have asked for at least as much as the average one lately, so that one that asks for much keeps none from
        getting in that asks for little.
        """
        if now >= self._window_end or len(self._handshakes_by_source) >= self._max_sources:
            self._window_end = now + RATE_WINDOW
            halves = {group: count // 2 for group, count in self._handshakes_by_source.items() if count > 1}
            self._handshakes_by_source = Counter(halves)
            self._all_handshakes = sum(halves.values())
        group = _group(source)
        self._handshakes_by_source[group] += 1
        self._all_handshakes += 1
        budgets = None if self._budgets is None or self.trusts(source) else self._budgets
        if budgets is not None and not budgets.spend(group, now, stalled):
            return TOO_MANY_HANDSHAKES
        if self._limits.max_handshake_rate and not self._handshakes.spend(now, stalled):
            count = self._handshakes_by_source[group]
            if count * len(self._handshakes_by_source) >= self._all_handshakes:
                if budgets is not None:
                    budgets.give_back(group)
                return BUSY
        return None

    def trusts(self, address: str) -> bool:
        """Whether what the client at `address` says of where it forwards from is believed."""
        return bool(self._limits.trusted_proxies) and self._trusts(_parse(address))

    def forwarded(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Where a request comes from that a trusted proxy forwards. None: it does not say so."""
        values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
        client = None
        for entry in reversed(",".join(values).split(",")):
            address = _parse(_without_port(entry.strip()))
            if address is None:
                break
            client = str(address)
            if not self._trusts(address):
                break
        return client

    def measure_memory(self, used: int) -> None:
        """Take note of how many bytes of memory the process uses now."""
        self._memory = used
        self.memory_is_full = 0 < (self._limits.max_memory or 0) < used

    def take_memory(self, size: int) -> None:
        """Take note of so many bytes more, as somebody may leave them waiting. If that could be too many, it is looked
        at at once: within a second welcomes may have gigabytes.
        """
        self._memory += size
        if self.read_memory is not None and 0 < (self._limits.max_memory or 0) < self._memory:
            self.measure_memory(self.read_memory())

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._limits.trusted_proxies)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _group(source: str) -> str:
    if ":" not in source:
        return source
    address = _parse(source)
    if isinstance(address, IPv6Address):
        return str(int(address) >> (128 - _IPV6_SITE))
    return str(address or source)
