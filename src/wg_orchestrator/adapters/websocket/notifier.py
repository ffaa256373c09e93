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
from wg_orchestrator.domain.events import Committed
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.wire import close_codes as closes


@dataclass(frozen=True, slots=True)
class Pace:
    """When notices are written. Times in seconds."""

    slice: float = 0.0005
    """For so long all tenants together write at a stretch; then whatever else there is to do has its turn."""
    factor: float = 4.0
    """A busy tenant's next flush is no sooner than this many times what its last one took."""
    longest_pause: float = 0.1
    """That a notice waits for the sake of pace."""
    busy: int = 3
    """Notices in one flush from which on a tenant is a busy one."""


class WebSocketPeerNotifier:
    """A PeerNotifier that writes to the WebSockets of each tenant.

    Notices are framed once, collected, and written to everyone as one: in a quiet tenant at the event loop's next
    turn, in a busy one at a pace that its own cost sets. So the cost of a notice falls as the load grows. Tenants take
    turns, each for a slice of time: however large one is, it does not keep the others, or the loop, waiting.

    A connection takes bytes without waiting. One that is full or broken ends itself, and its peer then leaves like any
    other. The other way round, a peer that left while its connection lives, because another node's event put it out,
    has it closed. If a fault of ours keeps a tenant's notices from going out, its members are closed with 1011: who
    comes back gets a new picture, and nobody is left with one that is wrong.
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
        """Tell nobody anything any more, as all connections are about to be closed: each picture stays as it was at
        this moment. Whoever would be welcomed is closed with 1012 instead.
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
        if not channel.is_needed():
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
        # A small one goes first: it takes no time, and a large one is not done in its first slice anyway.
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
        """Write for a slice of time, to one tenant after the other. Who has not been written to is in the next one."""
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
        """Nobody knows any more who has been told what: end everyone who might have a wrong picture."""
        self._telemetry.failed("notices failed", channel.tenant_id)
        del self._channels[channel.tenant_id]
        for recipient in channel.recipients():
            recipient.close(closes.INTERNAL_ERROR)
