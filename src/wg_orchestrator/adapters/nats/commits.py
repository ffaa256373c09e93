import asyncio
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakValueDictionary

from wg_orchestrator.adapters.nats.claim import Claim
from wg_orchestrator.adapters.nats.claims import Claims
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.stream import StoreUnusable
from wg_orchestrator.adapters.nats.tenants import Tenants
from wg_orchestrator.domain.errors import Conflict, Unavailable
from wg_orchestrator.domain.events import (
    Committed,
    MembershipEvent,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerUpdated,
    assert_never,
)
from wg_orchestrator.domain.stay import Stay, StayId


class Commits:
    """Commits events: makes the claims that they come to, and waits until the ledger has seen them."""

    def __init__(self, tenants: Tenants, ledger: Ledger, claims: Claims, ready_node: Callable[[], str]) -> None:
        """`ready_node` names the node under its present lease. It raises Unavailable if nothing can be committed."""
        self._tenants = tenants
        self._ledger = ledger
        self._claims = claims
        self._ready_node = ready_node
        self._resuming: WeakValueDictionary[StayId, asyncio.Lock] = WeakValueDictionary()

    async def commit(self, event: MembershipEvent) -> Committed:
        """See TenantRepository.commit."""
        self._tenants.await_event(event)
        try:
            match event:
                case PeerJoined():
                    await self._join(event)
                case PeerLeft():
                    await self._leave(event)
                case PeerUpdated():
                    await self._update(event.stay)
                case PeerResumed():
                    await self._resume(event.stay)
                case _:
                    assert_never(event)
        finally:
            committed = self._tenants.take_event(event)
        if committed is None:
            raise Conflict("another event of that stay came first")
        return committed

    async def _join(self, event: PeerJoined) -> None:
        claim = Claim(event.stay, self._ready_node(), 0)
        self._tenants.expect(event)
        self._ledger.want(claim.life)
        joined = False
        try:
            await self._claims.enrol(claim)
            joined = self._ledger.holds(claim)
        except (StoreUnusable, TimeoutError) as error:
            raise Unavailable("NATS is away") from error
        finally:
            self._tenants.forgo(event)
            if not joined:
                self._ledger.disown(claim)
        if not joined:
            raise Conflict(f"{event.stay.peer.virtual_ip} was claimed and lost at once")

    async def _resume(self, stay: Stay) -> None:
        # One at a time: two that resume the same turn here would make the same claim, and both take it for theirs.
        async with self._resuming.setdefault(stay.id, asyncio.Lock()):
            before, claim = self._held(replace(stay, turn=stay.turn - 1)).stay, Claim(stay, self._ready_node(), 0)
            self._ledger.want(claim.life)
            resumed = False
            try:
                await self._go_on(claim, before)
                resumed = True
            finally:
                if not resumed:
                    self._ledger.abandon(claim)

    async def _update(self, stay: Stay) -> None:
        await self._go_on(Claim(stay, self._ready_node(), 0), self._held(stay).stay)

    async def _go_on(self, claim: Claim, before: Stay) -> None:
        try:
            await self._claims.enrol(claim, before)
        except (StoreUnusable, TimeoutError) as error:
            raise Unavailable("NATS is away") from error

    async def _leave(self, event: PeerLeft) -> None:
        claim = self._held(event.stay)
        self._ledger.unwant(claim.life)
        try:
            if self._ledger.stands(claim.place) or self._ledger.is_away_elsewhere(claim.place):
                await self._claims.vacate(claim, event.cause)
        except (StoreUnusable, TimeoutError) as error:
            raise Unavailable("NATS is away") from error
        finally:
            self._ledger.disown(claim, event.cause)

    def _held(self, stay: Stay) -> Claim:
        """The claim of this turn of the stay. Raises Conflict."""
        claim = self._ledger.holder((stay.tenant_id, stay.peer.virtual_ip))
        if claim is None or claim.life != (stay.id, stay.turn):
            raise Conflict(f"{stay.peer.virtual_ip} is not held in {stay.tenant_id} by that stay")
        return claim
