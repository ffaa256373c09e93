import asyncio
import time
from functools import partial

from wg_orchestrator.adapters.websocket import close as closes
from wg_orchestrator.adapters.websocket import messages
from wg_orchestrator.adapters.websocket.connection import Connection
from wg_orchestrator.adapters.websocket.messages import Notices, Text
from wg_orchestrator.domain.events import MembershipEvent, PeerJoined
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry import Telemetry

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
    has it closed.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._channels: dict[TenantId, _Channel] = {}
        self._telemetry = telemetry

    def welcome(self, tenant: Tenant, newcomer: Peer, subscriber: Connection) -> None:
        channel = self._channels.get(tenant.id)
        if channel is None:
            channel = self._channels[tenant.id] = _Channel(tenant, self._telemetry)
        channel.welcome(newcomer, subscriber)

    def announce(self, event: MembershipEvent) -> None:
        channel = self._channels.get(event.tenant_id)
        if channel is None:
            return
        channel.announce(event)
        if not channel.has_members():
            channel.close()
            del self._channels[event.tenant_id]


class _Channel:
    """The notices of one tenant on their way to those of its peers that are connected here."""

    __slots__ = (
        "_entries", "_flush_handle", "_loop", "_members", "_newcomers", "_not_before", "_pending", "_telemetry",
    )  # fmt: skip

    def __init__(self, tenant: Tenant, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._loop = asyncio.get_running_loop()
        # By public key, which is live once in a tenant. Everyone in it, encoded: a welcome only has to join these.
        self._entries: dict[str, Text] = {peer.public_key.text: messages.peer_entry(peer) for peer in tenant.peers}
        self._pending: list[Text] = []
        self._members: dict[str, Connection] = {}
        # Who came since the last flush, and how many of the pending notices came before it and are not for it.
        self._newcomers: dict[str, tuple[Connection, int]] = {}
        self._not_before = 0.0
        self._flush_handle: asyncio.Handle | None = None

    def has_members(self) -> bool:
        return bool(self._members or self._newcomers)

    def welcome(self, newcomer: Peer, connection: Connection) -> None:
        key = newcomer.public_key.text
        own = self._entries.pop(key)
        welcome = messages.welcome(newcomer, self._entries.values())
        connection.welcome(welcome)
        self._telemetry.welcomed(len(welcome.frame))
        self._entries[key] = own
        self._newcomers[key] = connection, len(self._pending)

    def announce(self, event: MembershipEvent) -> None:
        key = event.peer.public_key.text
        if isinstance(event, PeerJoined):
            notice = self._entries[key] = messages.peer_entry(event.peer)
        else:
            del self._entries[key]
            newcomer, _ = self._newcomers.pop(key, (None, 0))
            connection = self._members.pop(key, newcomer)
            if connection is not None:
                connection.close(closes.TRY_AGAIN_LATER)
            notice = messages.peer_removal(event.peer)
        self._pending.append(notice)
        if self._flush_handle is None:
            pause = self._not_before - self._loop.time()
            schedule = self._loop.call_soon if pause <= 0 else partial(self._loop.call_later, pause)
            self._flush_handle = schedule(self._flush)

    def close(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()

    def _flush(self) -> None:
        started = time.perf_counter()
        self._flush_handle = None
        count = len(self._pending)
        notices = Notices(self._pending)
        sent, size = count * len(self._members), len(notices.wire) * len(self._members)
        for connection in self._members.values():
            connection.send(notices)
        for key, (connection, already_known) in self._newcomers.items():
            self._members[key] = connection
            if already_known < count:
                news = notices.after(already_known)
                connection.send(news)
                sent, size = sent + count - already_known, size + len(news.wire)
        self._pending = []
        self._newcomers.clear()
        took = time.perf_counter() - started
        self._telemetry.flushed(sent, size, took)
        if count >= BUSY:
            self._not_before = self._loop.time() + min(PACE * took, MAX_PAUSE)
