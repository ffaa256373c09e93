import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wg_orchestrator.adapters.websocket.absences import Absences
from wg_orchestrator.adapters.websocket.arrival import Arrival, Resumption
from wg_orchestrator.adapters.websocket.connected import Connected
from wg_orchestrator.adapters.websocket.departures import Departures
from wg_orchestrator.adapters.websocket.entrance import Entrance
from wg_orchestrator.adapters.websocket.latest import LatestSessions
from wg_orchestrator.adapters.websocket.letting_go import let_go
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier
from wg_orchestrator.adapters.websocket.proofs import Proof, Proofs
from wg_orchestrator.adapters.websocket.session import Session, V2Session
from wg_orchestrator.adapters.websocket.subscriber import Subscriber
from wg_orchestrator.adapters.websocket.tasks import Tasks
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.adapters.websocket.turnstile import Turnstile
from wg_orchestrator.domain.admission_control import AdmissionControl
from wg_orchestrator.domain.errors import KeyInUse, NotProven, Unavailable
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.session import NO_SESSION, new_session
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.grace import Grace
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.wire import close_codes as closes
from wg_orchestrator.wire.subprotocol import V1

_RIVALS = 5
"""How often a newcomer that has proven its key puts out another one that has it."""
_OUT = frozenset({closes.REVOKED, closes.STAY_OVER, closes.PUT_OUT_BY_OPERATOR})
"""The ends of connections whose peers have left, and are not on another one."""
_LARGE = 2000
"""Peers of a tenant from which on its newcomers come in one after the other."""


class Sessions:
    """Who is connected, and who is leaving: each stay begins and ends here, whatever ends its connection."""

    def __init__(
        self,
        service: MembershipService[Subscriber],
        notifier: WebSocketPeerNotifier,
        telemetry: PeerTelemetry,
        grace: Grace,
        resumption: Resumption,
        proofs: Proofs,
        control: AdmissionControl,
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
        self._resumption = resumption
        self._proofs = proofs
        self._max_release_rate = max_release_rate or math.inf
        self._retry_delay = retry_delay
        self._turnstile = Turnstile(per_turn=5000)
        self.connected = Connected(service.revision)
        """Who is connected here."""
        self._absences = Absences(resumption, telemetry, self._grace_is_over)
        self._tasks = Tasks()
        self._joining = 0
        self._has_joined = asyncio.Event()
        self._stopping = asyncio.Event()
        self._latest = LatestSessions(service, telemetry, resumption, self._tasks, self._stopping, retry_delay)
        self._departures = Departures(service, telemetry, self._stopping, retry_delay)
        self._entrance = Entrance(control, telemetry, self._tasks, self._stopping)

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
            self._proofs.stop()
            # A store that does not answer holds up the leaves. They are told by the end of this node's lease then.
            with self._grace.bounding():
                await self._let_go()
                await self._all_have_left()
            for session in self.connected:
                session.connection.close(closes.SERVICE_RESTART)

    async def join(self, arrival: Arrival) -> None:
        """Have a peer join, or resume its stay, and let its connection live, which may be over on return or go on.

        Raises what the service refuses a join by. Whatever else it raises, the peer has left or is leaving.
        """
        started = time.perf_counter()
        tenant_id = arrival.tenant_id
        proof = self._proofs.of(arrival)
        self._joining += 1
        try:
            size = self._service.size(tenant_id)
            if size >= _LARGE:
                await self._turnstile.enter(tenant_id, size)
            arrival, takes_use = await self._entrance.enter(arrival)
            try:
                session = await self._take_place(arrival, proof)
            except BaseException:
                if takes_use:
                    self._entrance.give_back(arrival)
                raise
            if takes_use:
                self._entrance.settle(arrival)
            self.connected.add(session)
            if session.stay.has_session:
                self._telemetry.session_connected()
        except BaseException:
            if proof is not None:
                proof.end()
            raise
        finally:
            self._joining -= 1
            self._has_joined.set()
        try:
            is_back = session.stay.turn > 0
            if is_back:
                self._telemetry.back(tenant_id, session.stay.peer, session.source)
            else:
                peers, took = self._service.size(tenant_id), time.perf_counter() - started
                self._telemetry.joined(session.stay, session.source, peers, took)
            if isinstance(session, V2Session):
                if is_back:
                    session.update(arrival.newcomer.display_name, arrival.endpoints)
                session.take(proof)
            await session.connection.run(session)
        except BaseException:
            session.gone(closes.INTERNAL_ERROR)
            raise

    def has(self, stay: Stay) -> bool:
        """Whether the peer of this stay is connected here, or was, and may come back."""
        return stay in self.connected or stay.id in self._absences

    async def _take_place(self, arrival: Arrival, proof: Proof | None) -> Session:
        """Give the arrival its place: the one that it resumes, or a new one. For that it may have to prove its key."""
        back = await self._resume(arrival)
        if back is not None:
            return back
        if self._proofs.are_required and not await self._proofs.given(proof):
            raise NotProven(f"{arrival.newcomer.public_key} is not proven")
        for _ in range(_RIVALS):
            try:
                return await self._come(arrival)
            except KeyInUse:  # A node may hear only now of a stay that began on another one.
                back = await self._resume(arrival)
                if back is not None:
                    return back
                if not await self._proofs.given(proof):
                    raise
                tenant_id, key = arrival.tenant_id, arrival.newcomer.public_key
                self._telemetry.taken_over(tenant_id, key, arrival.source)
                await self._service.put_out(tenant_id, key, LeaveCause.SUPERSEDED)
        raise Unavailable("the key is always in use again")

    async def _come(self, arrival: Arrival) -> Session:
        connection, source = arrival.connection, arrival.source
        if arrival.version == V1:
            stay = await self._service.join(arrival.tenant_id, arrival.newcomer, Subscriber(connection))
            return Session(stay, connection, source, self._ended)
        secret, session = new_session() if self._resumption.grace else ("", NO_SESSION)
        subscriber = Subscriber(connection, arrival.version, secret)
        stay = await self._service.join(arrival.tenant_id, arrival.newcomer, subscriber, session)
        if arrival.resume is not None:
            self._telemetry.resumed("new")
        return self._latest.begin(stay, arrival, self._ended)

    async def _resume(self, arrival: Arrival) -> V2Session | None:
        if arrival.resume is None:
            return None
        secret, revision = arrival.resume
        subscriber = Subscriber(arrival.connection, arrival.version, secret, revision)
        key = arrival.newcomer.public_key
        before = self._latest.of((arrival.tenant_id, key))
        stay = await self._service.resume(arrival.tenant_id, key, secret, subscriber)
        if stay is None:
            return None
        self._absences.end(stay.id)
        return self._latest.begin(stay, arrival, self._ended, before)

    def _ended(self, session: Session, cause: Close) -> None:
        """The session's connection has ended: have its stay end, or let the peer come back to it."""
        self.connected.discard(session)
        if session.stay.has_session:
            self._telemetry.session_disconnected()
        if isinstance(session, V2Session) and session.may_come_back(cause):
            if self._service.is_in(session.stay):
                self._let_away(session, cause.reason)
                return
            if cause not in _OUT:
                self._telemetry.moved()
                self._latest.moved(session)
                return
        self._leave(session, cause.reason, was_away=False)

    def _let_away(self, session: V2Session, reason: str) -> None:
        stay = session.stay
        self._notifier.let_away(stay)
        self._telemetry.away(stay.tenant_id, stay.peer, session.source, reason)
        self._absences.begin(session)

    def _grace_is_over(self, session: V2Session) -> None:
        if self._service.is_in(session.stay):
            self._leave(session, "grace over", was_away=True)
        else:
            self._latest.moved(session)

    def _leave(self, session: Session, reason: str, was_away: bool) -> None:
        if isinstance(session, V2Session):
            self._latest.forget(session)
            session.updates.end()
        self._tasks.start(self._departures.end(session, reason, was_away))

    async def _let_go(self) -> None:
        connections = [session.connection for session in self.connected]
        await let_go(connections, self._max_release_rate, self._grace.left())

    async def _all_have_left(self) -> None:
        while self._joining or self._tasks:
            if self._joining:
                self._has_joined.clear()
                await self._has_joined.wait()
            else:
                await self._tasks.wait()
