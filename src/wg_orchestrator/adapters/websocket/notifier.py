import asyncio
import time
from collections.abc import Callable
from functools import partial

from wg_orchestrator.adapters.websocket.connection import Connection
from wg_orchestrator.domain.events import Committed, MembershipEvent, PeerJoined, PeerLeft, assert_never
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire import close_codes as closes
from wg_orchestrator.wire import v1

PACE = 4.0
"""A busy tenant's next flush is no sooner than this many times the cost of its last one."""
MAX_PAUSE = 0.1
"""Seconds that a notice waits at the most for the sake of pace."""
BUSY = 3
"""Notices in one flush from which on a tenant is a busy one."""


class WebSocketPeerNotifier:
    """A PeerNotifier that writes to the WebSockets of each tenant.

    Notices are framed once, collected, and written to everyone in one go: in a quiet tenant at the event loop's next
    turn, in a busy one at a pace that its own cost sets. So the cost of a notice falls as the load grows, and one
    tenant's storm leaves the loop to the others in between.

    A connection takes bytes without waiting. One that is full or broken ends itself, and its peer then leaves like any
    other. The other way round, a peer that left while its connection lives, because another node's event put it out,
    has it closed. If a fault of ours keeps a tenant's notices from going out, its members are closed with 1011: who
    comes back gets a new picture, and nobody is left with one that is wrong.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._channels: dict[TenantId, _Channel] = {}
        self._telemetry = telemetry
        self._is_stopping = False

    def stop(self) -> None:
        """Tell nobody anything any more, as all connections are about to be closed: each picture stays as it was at
        this moment. Whoever would be welcomed is closed with 1012 instead.
        """
        self._is_stopping = True

    def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: Connection) -> None:
        if self._is_stopping:
            subscriber.close(closes.SERVICE_RESTART)
            return
        channel = self._channels.get(tenant.id)
        if channel is None:
            channel = self._channels[tenant.id] = _Channel(tenant, self._telemetry, partial(self._fail, tenant.id))
        channel.welcome(newcomer.peer, subscriber)

    def announce(self, committed: Committed) -> None:
        event = committed.event
        tenant_id = event.stay.tenant_id
        channel = self._channels.get(tenant_id)
        if channel is None:
            return
        try:
            if not self._is_stopping:
                channel.announce(event)
            elif isinstance(event, PeerLeft):
                channel.release(event)
        except Exception:
            self._fail(tenant_id)
            return
        if not channel.has_members():
            channel.close()
            del self._channels[tenant_id]

    def _fail(self, tenant_id: TenantId) -> None:
        """Nobody knows any more who has been told what: end everyone who might have a wrong picture."""
        self._telemetry.failed("notices failed", tenant_id)
        channel = self._channels.pop(tenant_id)
        channel.close()
        for connection in channel.connections():
            connection.close(closes.INTERNAL_ERROR)


class _Channel:
    """The notices of one tenant on their way to those of its peers that are connected here."""

    __slots__ = (
        "_entries", "_flush_handle", "_loop", "_members", "_newcomers", "_not_before", "_on_fault", "_pending",
        "_telemetry", "_tenant_id",
    )  # fmt: skip

    def __init__(self, tenant: Tenant, telemetry: Telemetry, on_fault: Callable[[], None]) -> None:
        """`on_fault` is called, in an `except` clause, when notices could not be written; then this is of no use."""
        self._telemetry = telemetry
        self._on_fault = on_fault
        self._tenant_id = tenant.id
        self._loop = asyncio.get_running_loop()
        # By public key, which is live once in a tenant. Everyone in it, encoded: a welcome only has to join these.
        self._entries: dict[str, Text] = {stay.peer.public_key.text: v1.peer_entry(stay.peer) for stay in tenant.stays}
        self._pending: list[Text] = []
        self._members: dict[str, Connection] = {}
        # Who came since the last flush, and how many of the pending notices came before it and are not for it.
        self._newcomers: dict[str, tuple[Connection, int]] = {}
        self._not_before = 0.0
        self._flush_handle: asyncio.Handle | None = None

    def has_members(self) -> bool:
        return bool(self._members or self._newcomers)

    def connections(self) -> list[Connection]:
        return [*self._members.values(), *(connection for connection, _ in self._newcomers.values())]

    def welcome(self, newcomer: Peer, connection: Connection) -> None:
        key = newcomer.public_key.text
        own = self._entries.pop(key)
        try:
            welcome = v1.welcome(newcomer, self._entries.values())
        finally:
            self._entries[key] = own
        connection.welcome(welcome)
        self._telemetry.welcomed(len(welcome.frame))
        self._newcomers[key] = connection, len(self._pending)

    def announce(self, event: MembershipEvent) -> None:
        peer = event.stay.peer
        key = peer.public_key.text
        match event:
            case PeerJoined():
                notice = self._entries[key] = v1.peer_entry(peer)
            case PeerLeft():
                self.release(event)
                del self._entries[key]
                notice = v1.peer_removal(peer)
            case _:
                assert_never(event)
        self._pending.append(notice)
        if self._flush_handle is None:
            pause = self._not_before - self._loop.time()
            schedule = self._loop.call_soon if pause <= 0 else partial(self._loop.call_later, pause)
            self._flush_handle = schedule(self._flush)

    def release(self, event: PeerLeft) -> None:
        """Tell a peer that has left nothing any more. If its connection is still there, end it."""
        key = event.stay.peer.public_key.text
        newcomer, _ = self._newcomers.pop(key, (None, 0))
        connection = self._members.pop(key, newcomer)
        if connection is not None:
            connection.close(closes.PUT_OUT[event.cause])

    def close(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()

    def _flush(self) -> None:
        started = time.perf_counter()
        self._flush_handle = None
        count = len(self._pending)
        try:
            sent, size = self._write(Notices(self._pending))
        except Exception:
            self._on_fault()
            return
        self._pending = []
        took = time.perf_counter() - started
        if count >= BUSY:
            self._not_before = self._loop.time() + min(PACE * took, MAX_PAUSE)
        self._telemetry.flushed(sent, size, took)

    def _write(self, notices: Notices) -> tuple[int, int]:
        """Write to everyone; return how many notices, and bytes, that were in all."""
        count = len(notices.texts)
        sent, size = count * len(self._members), len(notices.wire) * len(self._members)
        for connection in self._members.values():
            try:
                connection.send(notices)
            except Exception:
                self._end(connection)
        for key, (connection, already_known) in self._newcomers.items():
            self._members[key] = connection
            if already_known < count:
                news = notices.after(already_known)
                try:
                    connection.send(news)
                except Exception:
                    self._end(connection)
                sent, size = sent + count - already_known, size + len(news.wire)
        self._newcomers.clear()
        return sent, size

    def _end(self, connection: Connection) -> None:
        """An exception that is being handled has kept notices from this one peer."""
        self._telemetry.failed("notices failed", self._tenant_id)
        connection.close(closes.INTERNAL_ERROR)
