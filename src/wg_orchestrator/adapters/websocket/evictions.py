import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import anyio

from wg_orchestrator.adapters.websocket.receipts import Receipts
from wg_orchestrator.adapters.websocket.sessions import Sessions
from wg_orchestrator.adapters.websocket.subscriber import Subscriber
from wg_orchestrator.adapters.websocket.tasks import Tasks
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.admission import Revocation, RevocationId
from wg_orchestrator.domain.admission_control import AdmissionControl
from wg_orchestrator.domain.events import (
    Committed,
    LeaveCause,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerUpdated,
    assert_never,
)
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.ports import TenantRepository
from wg_orchestrator.domain.stay import Stay

_OTHERS = 2.0
"""Seconds that the node which a peer is connected to has to put it out, before another one does."""
_AGAIN = 1.0
"""Seconds until it is tried again to put out a peer."""
_AT_ONCE = 64
"""Peers that are put out at the same time."""
_LONGEST_WAIT = 3600.0


class Evictions:
    """Puts out whoever may not be in any more: who came by an invitation that is revoked, whose key is revoked, or
    whose stay is over.

    Each node looks at the peers of all nodes, as one that dies can't put out its own. But the node that a peer is
    connected to does it first.
    """

    def __init__(
        self,
        service: MembershipService[Subscriber],
        tenants: TenantRepository,
        control: AdmissionControl,
        sessions: Sessions,
        receipts: Receipts,
        telemetry: PeerTelemetry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives seconds since 1970."""
        self._service = service
        self._tenants = tenants
        self._control = control
        self._sessions = sessions
        self._receipts = receipts
        self._telemetry = telemetry
        self._clock = clock
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._tasks = Tasks()
        # When stays end: the time, a number that makes each one different, and the stay.
        self._ends: list[tuple[float, int, Stay]] = []
        self._count = 0
        self._has_next = asyncio.Event()
        tenants.follow(self._see)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Put out peers meanwhile."""
        self._control.follow(self._revoked)
        ending = asyncio.create_task(self._end_stays())
        try:
            async with self._receipts.running():
                yield
        finally:
            ending.cancel()
            self._tasks.cancel()
            await asyncio.wait([ending])
            await self._tasks.wait()

    def _see(self, committed: Committed) -> None:
        """Whoever has joined may have been revoked meanwhile."""
        event = committed.event
        match event:
            case PeerJoined():
                stay = event.stay
                if stay.until is not None:
                    self._count += 1
                    heapq.heappush(self._ends, (float(stay.until), self._count, stay))
                    self._has_next.set()
                if self._control.end_of(stay) is not None:
                    self._put_out_soon(stay)
            case PeerLeft():
                self._receipts.left(committed, event.cause is LeaveCause.REVOKED)
            case PeerUpdated() | PeerResumed():
                pass
            case _:
                assert_never(event)

    def _revoked(self, _: RevocationId, revocation: Revocation | None) -> None:
        if revocation is None or revocation.is_over(self._clock()):
            return
        stays = list(self._against(revocation))
        self._receipts.begin(revocation, stays)
        for stay in stays:
            self._put_out_soon(stay)

    def _against(self, revocation: Revocation) -> Iterator[Stay]:
        key = revocation.public_key
        for tenant in self._tenants.all():
            if key is None:
                yield from (stay for stay in tenant.stays if revocation.covers(stay))
            elif (held := tenant.stay_of(key)) is not None and revocation.covers(held):
                yield held

    def _put_out_soon(self, stay: Stay) -> None:
        self._tasks.start(self._put_out(stay))

    async def _put_out(self, stay: Stay) -> None:
        if not self._sessions.has(stay):
            await asyncio.sleep(_OTHERS)
        while self._is_in(stay) and (cause := self._control.end_of(stay)) is not None:
            self._receipts.tries(stay)
            try:
                async with self._limiter:
                    put_out = await self._service.put_out(stay.tenant_id, stay.peer.public_key, cause)
                if put_out is not None and not self._is_in(stay):
                    self._receipts.count(put_out)
                    self._telemetry.put_out(put_out, cause.value)
                    return
            except Exception:
                self._telemetry.failed("not put out", stay.tenant_id)
            finally:
                self._receipts.has_tried(stay)
            await asyncio.sleep(_AGAIN)

    def _is_in(self, stay: Stay) -> bool:
        return self._tenants.get(stay.tenant_id).goes_on(stay)

    async def _end_stays(self) -> None:
        while True:
            wait = _LONGEST_WAIT
            while self._ends and (wait := self._ends[0][0] - self._clock()) <= 0:
                _, _, stay = heapq.heappop(self._ends)
                if self._is_in(stay):
                    self._put_out_soon(stay)
            self._has_next.clear()
            with anyio.move_on_after(min(wait, _LONGEST_WAIT)):
                await self._has_next.wait()
