import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio

from wg_orchestrator.adapters.websocket.arrival import Arrival, Resumption
from wg_orchestrator.adapters.websocket.session import Place, Session, V2Session, place_of
from wg_orchestrator.adapters.websocket.subscriber import Subscriber
from wg_orchestrator.adapters.websocket.tasks import Tasks
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.adapters.websocket.updates import Change, Updates
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.rfc6455.close import Close


class LatestSessions:
    """The latest session of each v2 peer, whether its connection lives or has ended, and its changes on their way."""

    def __init__(
        self,
        service: MembershipService[Subscriber],
        telemetry: PeerTelemetry,
        resumption: Resumption,
        tasks: Tasks,
        stopping: asyncio.Event,
        retry_delay: float,
    ) -> None:
        """`tasks` are those that the service waits for. `stopping` is set when it stops. `retry_delay`: seconds until a
        change that could not be told is told again.
        """
        self._service = service
        self._telemetry = telemetry
        self._resumption = resumption
        self._tasks = tasks
        self._stopping = stopping
        self._retry_delay = retry_delay
        # A key is live once in a tenant.
        self._sessions: dict[Place, V2Session] = {}

    def of(self, place: Place) -> V2Session | None:
        """The latest session of this peer, if there is one."""
        return self._sessions.get(place)

    def begin(
        self,
        stay: Stay,
        arrival: Arrival,
        ended: Callable[[Session, Close], None],
        before: V2Session | None = None,
    ) -> V2Session:
        """The session of a stay on a new connection; `ended` is called when that has ended. `before` is the peer's
        latest session until then.
        """
        # What waits to be told, and when it is due, goes on over the new connection.
        goes_on = before is not None and before.stay.id == stay.id
        updates = before.updates if before is not None and goes_on else self._updates_of(stay)
        has_fixed_name = arrival.grant.display_name is not None
        session = V2Session(
            stay, arrival.connection, arrival.source, ended, self._resumption.aim, updates, has_fixed_name
        )
        self._sessions[session.place] = session
        return session

    def moved(self, session: V2Session) -> None:
        """The peer is on another connection, here or on another node, or its stay has ended."""
        if session.updates.are_done:  # Else what waits is told when it is due.
            self.forget(session)

    def forget(self, session: V2Session) -> None:
        """Nothing is to be told of it any more."""
        if self._sessions.get(session.place) is session:
            del self._sessions[session.place]

    def _updates_of(self, stay: Stay) -> Updates:
        tell, interval = partial(self._update, place_of(stay)), self._resumption.update_interval
        return Updates(tell, self._telemetry.not_told, interval)

    def _update(self, place: Place, change: Change) -> None:
        if (session := self._sessions.get(place)) is not None:
            self._tasks.start(self._tell(session, change))

    async def _tell(self, session: V2Session, change: Change) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    stay = await self._service.update(
                        session.stay, change.display_name, change.endpoints, change.is_proven
                    )
                except Unavailable:
                    with anyio.move_on_after(self._retry_delay):
                        await self._stopping.wait()
                else:
                    self._know(stay)
                    break
        except Exception:
            self._telemetry.failed("update failed", session.stay.tenant_id)
        session.updates.told()
        if not self._service.is_in(session.stay):
            self.moved(session)

    def _know(self, updated: Stay) -> None:
        """The peer is as this says, whichever connection here it lives on."""
        session = self._sessions.get(place_of(updated))
        if session is not None and session.stay.id == updated.id:
            session.stay = replace(session.stay, peer=updated.peer)
