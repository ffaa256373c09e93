import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from wg_orchestrator.adapters.websocket.connection import Connection
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.adapters.websocket.turnstile import Turnstile
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.peer import DisplayName, PublicKey
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.grace import Grace
from wg_orchestrator.wire import close_codes as closes

_LARGE = 2000
"""Peers of a tenant from which on its newcomers come in one after the other."""
_TICK = 0.1
"""Seconds between two groups of peers that are let go."""


class Session:
    """A stay and the connection that it lives on: the Listener of a peer that speaks protocol v1."""

    __slots__ = ("_has_ended", "_sessions", "connection", "source", "stay")

    def __init__(self, stay: Stay, connection: Connection, source: str, sessions: "Sessions") -> None:
        self.stay = stay
        self.connection = connection
        self.source = source
        self._sessions = sessions
        self._has_ended = False

    def heard(self, message: str | bytes) -> None:
        # Text is ignored: a client may send keep-alives.
        if isinstance(message, bytes):
            self.connection.close(closes.TEXT_ONLY)

    def gone(self, reason: str) -> None:
        if not self._has_ended:  # By a fault of ours before.
            self._has_ended = True
            self._sessions.end(self, reason)


class Sessions:
    """Who is connected, and who is leaving: each stay begins and ends here, whatever ends its connection."""

    def __init__(
        self,
        service: MembershipService[Connection],
        notifier: WebSocketPeerNotifier,
        telemetry: PeerTelemetry,
        grace: Grace,
        max_release_rate: float,
        retry_delay: float = 1.0,
    ) -> None:
        """`max_release_rate`: how many peers a second are let go at the end, unless the grace is too short for that;
        0 is any number. `retry_delay`: seconds until a leave that failed is tried again.
        """
        self._service = service
        self._notifier = notifier
        self._telemetry = telemetry
        self._grace = grace
        self._max_release_rate = max_release_rate or math.inf
        self._retry_delay = retry_delay
        self._turnstile = Turnstile(per_turn=5000)
        self._connected: set[Session] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._joining = 0
        self._has_joined = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def are_open(self) -> bool:
        """Whether anybody is let in."""
        return not self._stopping.is_set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let peers in meanwhile. At the end they are let go, at the pace at which another node takes them, and have
        left; or the grace is over.
        """
        try:
            yield
        finally:
            self._grace.begin()
            self._stopping.set()
            self._notifier.stop()
            # A store that does not answer holds up the leaves. They are told by the end of this node's lease then.
            with self._grace.bounding():
                await self._let_go()
                await self._all_have_left()
            self._close(list(self._connected))

    async def join(
        self,
        tenant_id: TenantId,
        display_name: DisplayName,
        public_key: PublicKey,
        connection: Connection,
        source: str,
    ) -> None:
        """Have a peer join, and let its connection live, which may be over on return or go on.

        Raises what the service refuses a join by. Whatever else it raises, the peer has left or is leaving.
        """
        started = time.perf_counter()
        with self._under_way():
            size = self._service.size(tenant_id)
            if size >= _LARGE:
                await self._turnstile.enter(tenant_id, size)
            stay = await self._service.join(tenant_id, display_name, public_key, connection)
            session = Session(stay, connection, source, self)
            self._connected.add(session)
        try:
            peers = self._service.size(tenant_id)
            self._telemetry.joined(tenant_id, stay.peer, source, peers, time.perf_counter() - started)
            await connection.run(session)
        except BaseException:
            session.gone(closes.INTERNAL_ERROR.reason)
            raise

    def end(self, session: Session, reason: str) -> None:
        """Have the session's stay end, for that reason: its connection has ended."""
        self._connected.discard(session)
        task = asyncio.get_running_loop().create_task(self._leave(session, reason))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, session: Session, reason: str) -> None:
        stay = session.stay
        try:
            while not await self._has_left(stay):
                if self._stopping.is_set():
                    return
                with anyio.move_on_after(self._retry_delay):
                    await self._stopping.wait()
            peers = self._service.size(stay.tenant_id)
            self._telemetry.left(stay.tenant_id, stay.peer, session.source, peers, reason)
        except Exception:
            self._telemetry.failed("leave failed", stay.tenant_id)

    async def _has_left(self, stay: Stay) -> bool:
        try:
            await self._service.leave(stay)
        except Exception:
            self._telemetry.failed("leave failed", stay.tenant_id)
            return not self._service.is_in(stay)
        return True

    # The end

    async def _let_go(self) -> None:
        peers = list(self._connected)
        random.shuffle(peers)
        # In half of the time, so that the other half is for what they do then.
        rate = max(self._max_release_rate, 2 * len(peers) / max(self._grace.left(), _TICK))
        while peers:
            count = min(len(peers), math.ceil(min(rate * _TICK, len(peers))))
            self._close(peers[-count:])
            del peers[-count:]
            if peers:
                await anyio.sleep(_TICK)

    def _close(self, sessions: list[Session]) -> None:
        for session in sessions:
            session.connection.close(closes.SERVICE_RESTART)

    async def _all_have_left(self) -> None:
        while self._joining or self._leaving:
            if self._joining:
                self._has_joined.clear()
                await self._has_joined.wait()
            else:
                await asyncio.wait(self._leaving)

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        self._joining += 1
        try:
            yield
        finally:
            self._joining -= 1
            self._has_joined.set()
