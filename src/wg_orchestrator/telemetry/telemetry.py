"""What happens in the service, told twice: as log lines for people and as metrics for Prometheus."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.tenant_id import TenantId

logger = structlog.get_logger("wg_orchestrator")

WINDOW = 10.0
"""Seconds over which the rate of log lines is averaged, and after which a flood is summed up."""

MAX_UNREADABLE_SEEN = 10_000


@dataclass(slots=True)
class _Window:
    ends: float
    lines: int = 0


class Telemetry:
    """Counts each join, leave and refusal, and logs it in one line, as long as there are not too many of its kind.

    Beyond `max_log_rate` lines a second of one kind (an event and its reason), averaged over ten seconds, those of a
    window are summed up in one line when it is over. What a client has sent stands in a line as a quoted value only.
    The metrics count all of them; docs/operations.md lists these.
    """

    def __init__(self, max_log_rate: float) -> None:
        self._max_lines = max(1, round(max_log_rate * WINDOW))
        self._windows: dict[tuple[str, str], _Window] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # Memory, open files, CPU.
        self._peers = self._gauge("peers", "Peers that are in a tenant and connected here")
        self._joins = self._counter("joins", "Peers let in")
        self._leaves = self._counter("leaves", "Peers that were in, by why their connection ended", "reason")
        self._refusals = self._counter("refusals", "Connections refused, by reason", "reason")
        self._unreadable = self._counter(
            "unreadable_messages", "Messages in the store that are none of ours, passed over"
        )
        self._unreadable_seen: dict[tuple[str, int], None] = {}
        self._notices = self._counter("notices_sent", "Notices handed to a peer's connection: one for each receiver")
        self._bytes = self._counter("bytes_sent", "Bytes of welcomes and notices handed to connections")
        self._join_seconds = self._histogram(
            "join_seconds",
            "From a join message to its welcome",
            0.0001,
            0.0005,
            0.001,
            0.005,
            0.01,
            0.05,
            0.1,
            0.5,
            1,
            5,
        )
        self._flush_seconds = self._histogram(
            "flush_seconds",
            "To write a tenant's notices to all its peers",
            0.0001,
            0.001,
            0.005,
            0.01,
            0.05,
            0.1,
            0.5,
        )
        self._outbox_bytes = self._histogram(
            "outbox_bytes", "What waits for a peer in the process, sampled at each ping", 0, 2**10, 2**14, 2**17, 2**20
        )
        self._lag_seconds = self._histogram(
            "event_loop_lag_seconds", "How late the event loop is, ten times a second", 0.001, 0.01, 0.1, 0.5, 1, 5
        )

    def joined(self, tenant_id: TenantId, peer: Peer, source: str, peers: int, seconds: float) -> None:
        """`source` is where the peer connects from, `peers` how many the tenant has now."""
        self._peers.inc()
        self._joins.inc()
        self._join_seconds.observe(seconds)
        if self._has_line("joined"):
            logger.info("joined", tenant=tenant_id, **_peer(peer), source=source, peers=peers)

    def left(self, tenant_id: TenantId, peer: Peer, source: str, peers: int, reason: str) -> None:
        self._peers.dec()
        self._leaves.labels(reason).inc()
        if self._has_line("left", reason):
            logger.info("left", reason=reason, tenant=tenant_id, **_peer(peer), source=source, peers=peers)

    def refused(self, reason: str, source: str, tenant_id: str | None = None) -> None:
        """`reason` is one of a few fixed phrases."""
        self._refusals.labels(reason).inc()
        if self._has_line("refused", reason):
            tenant = {} if tenant_id is None else {"tenant": tenant_id}
            logger.info("refused", reason=reason, **tenant, source=source)

    def failed(self, what: str, tenant_id: TenantId) -> None:
        """An exception that is being handled is a fault of ours."""
        if self._has_line("failed", what):
            logger.exception(what, tenant=tenant_id)

    def unreadable(self, subject: str, revision: int, why: str) -> None:
        """A message in the store, which is there for as long as nobody replaces it, is none of ours."""
        if (subject, revision) in self._unreadable_seen:
            return
        self._unreadable_seen[subject, revision] = None
        if len(self._unreadable_seen) > MAX_UNREADABLE_SEEN:
            del self._unreadable_seen[next(iter(self._unreadable_seen))]
        self._unreadable.inc()
        if self._has_line("unreadable message"):
            logger.warning("unreadable message", subject=subject[:200], revision=revision, why=why)

    def welcomed(self, size: int) -> None:
        self._bytes.inc(size)

    def flushed(self, notices: int, size: int, seconds: float) -> None:
        """A tenant's notices went out: so many, of `size` bytes together, each counted once for each receiver."""
        self._notices.inc(notices)
        self._bytes.inc(size)
        self._flush_seconds.observe(seconds)

    def outbox(self, size: int) -> None:
        self._outbox_bytes.observe(size)

    def lagged(self, seconds: float) -> None:
        self._lag_seconds.observe(seconds)

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Have `value` asked for whenever the metrics are."""
        self._gauge(name, what).set_function(value)

    def sum_up(self) -> None:
        """Log what a flood left unsaid in the windows that are over. To be called about once a second."""
        now = time.monotonic()
        for kind in [kind for kind, window in self._windows.items() if window.ends <= now]:
            self._close(kind)

    def _has_line(self, event: str, reason: str = "") -> bool:
        kind, now = (event, reason), time.monotonic()
        window = self._windows.get(kind)
        if window is None or window.ends <= now:
            self._close(kind)
            window = self._windows[kind] = _Window(now + WINDOW)
        window.lines += 1
        return window.lines <= self._max_lines

    def _close(self, kind: tuple[str, str]) -> None:
        window = self._windows.pop(kind, None)
        if window is not None and window.lines > self._max_lines:
            event, reason = kind
            more = {"reason": reason} if reason else {}
            logger.warning(f"{event}, many more", **more, not_logged=window.lines - self._max_lines, seconds=WINDOW)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, "wg_orchestrator", registry=self.registry)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(name, what, namespace="wg_orchestrator", registry=self.registry)

    def _histogram(self, name: str, what: str, *buckets: float) -> Histogram:
        return Histogram(name, what, namespace="wg_orchestrator", registry=self.registry, buckets=buckets)


def _peer(peer: Peer) -> dict[str, str]:
    return {"virtual_ip": str(peer.virtual_ip), "name": peer.display_name}
