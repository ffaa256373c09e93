import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from wg_orchestrator.adapters.websocket.channel import Channel
from wg_orchestrator.adapters.websocket.flush import Flushed
from wg_orchestrator.adapters.websocket.lanes import V2Terms
from wg_orchestrator.adapters.websocket.subscriber import Subscriber
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.events import Committed, PeerResumed
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.wire import close_codes as closes


@dataclass(frozen=True, slots=True)
class Pace:
    """When notices are written. Times in seconds."""

    slice: float = 0.0005
    """For which notices are written without a break, of all tenants together. Then the event loop does other work."""
    factor: float = 4.0
    """A busy tenant waits this many times as long as its last flush took, before the next one."""
    longest_pause: float = 0.1
    """The most that a notice of a busy tenant waits."""
    busy: int = 3
    """A tenant is busy if a flush has at least this many notices."""


class WebSocketPeerNotifier:
    """A PeerNotifier that writes to the WebSockets of each tenant.

    Each notice is framed once. Notices are collected and written to a peer in one write: in a quiet tenant at the event
    loop's next turn, in a busy tenant at a pace that follows from the cost of a flush. So the cost of a notice falls as
    the load grows. Tenants take turns, each for a slice of time: a large tenant does not keep the others waiting.

    A connection takes bytes without waiting. If it is full or broken it ends itself, and its peer with it. If another
    node's event puts a peer out, its connection is closed. If a fault of ours keeps a tenant's notices from going out,
    its members are closed with 1011. They come back and get a new picture, so nobody keeps a wrong one.
    """

    def __init__(
        self,
        telemetry: PeerTelemetry,
        terms: V2Terms,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._telemetry = telemetry
        self._terms = terms
        self._pace = pace or Pace()
        self._clock = clock
        self._channels: dict[TenantId, Channel] = {}
        self._queue: deque[Channel] = deque()
        self._has_turn = False
        self._is_stopping = False

    def stop(self) -> None:
        """Send no more notices: all connections are about to be closed, and each picture stays as it is now. A newcomer
        is closed with 1012 instead of welcomed.
        """
        self._is_stopping = True

    def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
        if self._is_stopping:
            subscriber.recipient.close(closes.SERVICE_RESTART)
            return
        channel = self._channels.get(tenant.id)
        if channel is None:
            channel = self._channels[tenant.id] = Channel(tenant, self._telemetry, self._terms)
        channel.welcome(tenant, newcomer, subscriber)

    def let_away(self, stay: Stay) -> None:
        """The connection that the peer of this stay lived on here has ended, and the stay has not: the peer may come
        back. Until the stay ends, what it misses is kept.
        """
        channel = self._channels.get(stay.tenant_id)
        if channel is not None:
            channel.let_away(stay)

    def announce(self, committed: Committed) -> None:
        event = committed.event
        channel = self._channels.get(event.stay.tenant_id)
        if channel is None:
            return
        try:
            if self._is_stopping:
                channel.release(event)
            else:
                channel.announce(committed)
                if channel.has_news():
                    self._schedule(channel)
        except Exception:
            self._fail(channel)
            return
        # Who resumes its stay is welcomed next, and has to find what was kept for it.
        if not channel.is_needed() and not isinstance(event, PeerResumed):
            del self._channels[channel.tenant_id]

    def _schedule(self, channel: Channel) -> None:
        if channel.is_scheduled:
            return
        channel.is_scheduled = True
        pause = channel.not_before - self._clock()
        if pause <= 0:
            self._line_up(channel)
        else:
            asyncio.get_running_loop().call_later(pause, self._line_up, channel)

    def _line_up(self, channel: Channel) -> None:
        # A smaller tenant goes first: it takes little time, and a large one needs several slices anyway.
        if self._queue and channel.size() < self._queue[0].size():
            self._queue.appendleft(channel)
        else:
            self._queue.append(channel)
        self._await_turn()

    def _await_turn(self) -> None:
        if not self._has_turn:
            self._has_turn = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Write for a slice of time, to one tenant after the other. The others have to wait for the next slice."""
        self._has_turn = False
        queue, clock = self._queue, self._clock
        until = clock() + self._pace.slice
        try:
            while queue:
                channel = queue.popleft()
                if self._channels.get(channel.tenant_id) is channel:
                    self._write(channel, until)
                if clock() >= until:
                    break
        finally:
            if queue:
                self._await_turn()

    def _write(self, channel: Channel, until: float) -> None:
        try:
            flushed = channel.write(self._clock, until)
        except Exception:
            self._fail(channel)
            return
        if flushed is None:
            self._queue.append(channel)
        else:
            self._has_flushed(channel, flushed)

    def _has_flushed(self, channel: Channel, flushed: Flushed) -> None:
        pace = self._pace
        channel.is_scheduled = False
        if flushed.count >= pace.busy:
            channel.not_before = self._clock() + min(pace.factor * flushed.took, pace.longest_pause)
        if channel.has_news():
            self._schedule(channel)
        self._telemetry.flushed(flushed.sent, flushed.size, flushed.took)

    def _fail(self, channel: Channel) -> None:
        """It is not known who has been told what: close all peers of the tenant, whose pictures may be wrong."""
        self._telemetry.failed("notices failed", channel.tenant_id)
        del self._channels[channel.tenant_id]
        for recipient in channel.recipients():
            recipient.close(closes.INTERNAL_ERROR)
