import asyncio

import anyio

from wg_orchestrator.adapters.websocket.session import Session
from wg_orchestrator.adapters.websocket.subscriber import Subscriber
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.stay import Stay


class Departures:
    """Has stays end."""

    def __init__(
        self,
        service: MembershipService[Subscriber],
        telemetry: PeerTelemetry,
        stopping: asyncio.Event,
        retry_delay: float,
    ) -> None:
        """`stopping` is set when the service stops. `retry_delay`: seconds until a leave that failed is tried again."""
        self._service = service
        self._telemetry = telemetry
        self._stopping = stopping
        self._retry_delay = retry_delay

    async def end(self, session: Session, reason: str, was_away: bool) -> None:
        """Have the session's stay end, as often as that takes, until the service stops."""
        stay = session.stay
        try:
            while not await self._has_left(stay, LeaveCause.GRACE if was_away else LeaveCause.LEFT):
                if self._stopping.is_set():
                    return
                with anyio.move_on_after(self._retry_delay):
                    await self._stopping.wait()
            peers = self._service.size(stay.tenant_id)
            self._telemetry.left(stay.tenant_id, stay.peer, session.source, peers, reason, was_away)
        except Exception:
            self._telemetry.failed("leave failed", stay.tenant_id)

    async def _has_left(self, stay: Stay, cause: LeaveCause) -> bool:
        try:
            await self._service.leave(stay, cause)
        except Exception:
            self._telemetry.failed("leave failed", stay.tenant_id)
            return not self._service.is_in(stay)
        return True
