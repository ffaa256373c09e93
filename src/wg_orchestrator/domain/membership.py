from typing import Generic

from wg_orchestrator.domain.errors import Conflict, TenantLimitReached
from wg_orchestrator.domain.peer import DisplayName, Peer, PublicKey
from wg_orchestrator.domain.ports import PeerNotifier, Subscriber, TenantRepository
from wg_orchestrator.domain.tenant_id import TenantId


class MembershipService(Generic[Subscriber]):
    """Lets peers into tenants and out again, and has everyone told.

    To a peer that applies its welcome and then each notice in order, the tenant looks at every moment as it was at
    some moment: nothing missed, nothing twice, and all peers see one order.
    """

    def __init__(self, tenants: TenantRepository, notifier: PeerNotifier[Subscriber], max_tenants: int) -> None:
        self._tenants = tenants
        self._notifier = notifier
        self._max_tenants = max_tenants
        tenants.follow(notifier.announce)

    async def join(
        self, tenant_id: TenantId, display_name: DisplayName, public_key: PublicKey, subscriber: Subscriber
    ) -> Peer:
        """Make a newcomer part of the tenant and welcome it. Whoever joined has to `leave`, once.

        Raises KeyInUse, TenantFull or TenantLimitReached; then nothing has changed.
        """
        while True:
            tenant = self._tenants.get(tenant_id)
            if not tenant.peers and self._tenants.count() >= self._max_tenants:
                raise TenantLimitReached(f"the service holds {self._max_tenants} tenants")
            newcomer = tenant.admit(display_name, public_key)
            try:
                await self._tenants.commit(newcomer)
            except Conflict:
                continue  # Somebody else's event came first, so the tenant has changed: decide again.
            # No `await` between reading the roster and the subscription: an event in between would be lost.
            self._notifier.welcome(self._tenants.get(tenant_id), newcomer.peer, subscriber)
            return newcomer.peer

    async def leave(self, tenant_id: TenantId, peer: Peer) -> None:
        """Take `peer` out of the tenant and free its address. Does nothing if it is out already."""
        while peer in (tenant := self._tenants.get(tenant_id)):
            try:
                await self._tenants.commit(tenant.release(peer))
            except Conflict:
                continue

    def size(self, tenant_id: TenantId) -> int:
        """How many peers the tenant has."""
        return len(self._tenants.get(tenant_id).peers)
