from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from wg_orchestrator.adapters.websocket.rates import RATE_WINDOW, RateBudget, SourceBudgets, parse_source, site_of
from wg_orchestrator.settings import GateLimits

_RESERVED_FILES = 128
_FEW = 16
MAX_SOURCES = 1 << 16
"""Sources that have a handshake counter of their own. So many counters take some ten megabytes."""


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request or a connection is refused: an HTTP status and a fixed phrase."""

    status: int
    reason: str


CUT = Denial(503, "no room for a connection")
TOO_MANY_CONNECTIONS = Denial(429, "too many connections from this address")
TOO_MANY_HANDSHAKES = Denial(429, "too many handshakes from this address")
BUSY = Denial(503, "too many handshakes")


class Gate:
    """Counts the connections to one server, and says which of them may go on.

    It counts by source: the address of the client, for IPv6 its /64. Behind a trusted proxy, the client's address is
    the last one in X-Forwarded-For that is not a trusted proxy's. The client may have made up all addresses before it.
    """

    def __init__(self, limits: GateLimits, max_files: int, max_sources: int = MAX_SOURCES) -> None:
        """`max_files` is how many files the process may have open."""
        self._max_sources = max_sources
        self._limits = limits
        # The kernel gives each file the lowest free number, so a number says how full the process's file table is. A
        # connection from `_files` on is told that there is no room. One from `_files_at_all` on is cut without an
        # answer: the last numbers are for the other files that the process has to open.
        self._files = max_files - min(_RESERVED_FILES, max_files // 4)
        self._files_at_all = max_files - min(_RESERVED_FILES, max_files // 4) // 4
        self._connections = limits.max_connections
        self.few = max(_FEW, min(self._connections, self._files) // 16)
        """Connections that may be in one stage (no request, no join, closing) while the gate is crowded."""
        self.memory_is_full = False
        self._memory = 0
        self.read_memory: Callable[[], int] | None = None
        """Returns how many bytes of memory the process uses. None: that is not measured."""
        self._by_source: Counter[str] = Counter()
        self._handshakes = RateBudget(limits.max_handshake_rate)
        rate = limits.max_handshake_rate_per_source
        self._budgets = SourceBudgets(rate, max_sources) if rate else None
        # The handshakes of each source, refused or not. All counts are halved every ten seconds.
        self._handshakes_by_source: Counter[str] = Counter()
        self._all_handshakes = 0
        self._window_end = 0.0
        self.open = 0
        """Connections that are open, WebSockets or not yet."""

    def enter(self, file: int) -> bool:
        """Count a new connection with this file number. False: there is no room even for a refusal, so cut it."""
        self.open += 1
        return file < self._files_at_all and self.open <= self._limits.max_connections + _RESERVED_FILES

    def leave(self) -> None:
        self.open -= 1

    def is_full(self, file: int) -> bool:
        """Whether there is no room for a connection with this file number, which `enter` has counted."""
        return self.open > self._limits.max_connections or file >= self._files or self.memory_is_full

    def is_crowded(self, file: int) -> bool:
        """Whether a connection with this file number has one of the last eighth of the places, or memory is full. Then
        connections that wait for their client have to make room (`ServerContext.make_room`).
        """
        connections, files = self._connections - self._connections // 8, self._files - self._files // 8
        return self.open > connections or file >= files or self.memory_is_full

    def count(self, source: str) -> Denial | None:
        """Count a connection for `source`, until `discount`. Returns why it is refused, if `source` has too many. CUT,
        for more than twice the limit: it is to be cut without an answer.
        """
        limit = self._limits.max_connections_per_source
        if not limit or self.trusts(source):
            return None
        group = site_of(source)
        self._by_source[group] += 1
        count = self._by_source[group]
        return CUT if count > 2 * limit else TOO_MANY_CONNECTIONS if count > limit else None

    def discount(self, source: str) -> None:
        if self._limits.max_connections_per_source and not self.trusts(source):
            group = site_of(source)
            self._by_source[group] -= 1
            if not self._by_source[group]:
                del self._by_source[group]

    def handshake(self, source: str, now: float, stalled: float = 0.0) -> Denial | None:
        """Count a handshake of `source`. Returns why it is refused, if it is. `now` is in seconds of a monotonic clock
        that has stood still for `stalled` seconds in all.

        There may be a rate for each source. A handshake beyond it is refused, and a refused handshake uses up nothing
        of it. If the handshakes of all sources exceed the server's rate, those sources are refused that have lately
        asked at least as often as the average source. So a source that asks often can't keep out one that asks rarely.
        """
        if now >= self._window_end or len(self._handshakes_by_source) >= self._max_sources:
            self._window_end = now + RATE_WINDOW
            halves = {group: count // 2 for group, count in self._handshakes_by_source.items() if count > 1}
            self._handshakes_by_source = Counter(halves)
            self._all_handshakes = sum(halves.values())
        group = site_of(source)
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
        """Whether `address` is a trusted proxy's, whose X-Forwarded-For is believed."""
        return bool(self._limits.trusted_proxies) and self._trusts(parse_source(address))

    def forwarded(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The client's address, from a request that a trusted proxy forwards. None: the request names none."""
        values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
        client = None
        for entry in reversed(",".join(values).split(",")):
            address = parse_source(_without_port(entry.strip()))
            if address is None:
                break
            client = str(address)
            if not self._trusts(address):
                break
        return client

    def measure_memory(self, used: int) -> None:
        """Note how many bytes of memory the process uses now."""
        self._memory = used
        self.memory_is_full = 0 < (self._limits.max_memory or 0) < used

    def take_memory(self, size: int) -> None:
        """Note `size` bytes more, which wait in the process if the client does not read. If that may exceed the limit,
        measure at once: the next regular measurement is up to a second away, and welcomes may take gigabytes by then.
        """
        self._memory += size
        if self.read_memory is not None and 0 < (self._limits.max_memory or 0) < self._memory:
            self.measure_memory(self.read_memory())

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._limits.trusted_proxies)


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
