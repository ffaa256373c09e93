from typing import Generic

from wg_orchestrator.domain.errors import Conflict, TenantLimitReached, Unavailable
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.peer import DisplayName, PublicKey
from wg_orchestrator.domain.ports import PeerNotifier, Subscriber, TenantRepository
from wg_orchestrator.domain.stay import Stay
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
    ) -> Stay:
        """Make a newcomer part of the tenant and welcome it. Whoever joined has to `leave`, once.

        Raises KeyInUse, TenantFull, TenantLimitReached or Unavailable; then nothing has changed. Whatever else it
        raises, by a fault of ours or because its task was cancelled, the newcomer is out again and the others are told.
        """
        while True:
            tenant = self._tenants.get(tenant_id)
            if tenant.is_empty and self._tenants.count() >= self._max_tenants:
                raise TenantLimitReached(f"the service holds {self._max_tenants} tenants")
            newcomer = tenant.admit(self._tenants.next_stay_id(), display_name, public_key)
            try:
                await self._tenants.commit(newcomer)
                # No `await` between reading the roster and the subscription: an event in between would be lost.
                tenant = self._tenants.get(tenant_id)
                if newcomer.stay not in tenant:
                    continue  # Another node's event has put it out again before it was welcome.
                self._notifier.welcome(tenant, newcomer.stay, subscriber)
            except Conflict:
                continue  # Somebody else's event came first, so the tenant has changed: decide again.
            except Unavailable:
                raise
            except BaseException:
                await self.leave(newcomer.stay)
                raise
            return newcomer.stay

    async def leave(self, stay: Stay, cause: LeaveCause = LeaveCause.LEFT) -> None:
        """End a stay and free its address, as soon as that can be committed. Does nothing if it has ended.

        If it raises and the peer `is_in` still, it has to be called again.
        """
        while stay in (tenant := self._tenants.get(stay.tenant_id)):
            try:
                await self._tenants.commit(tenant.release(stay, cause))
            except Conflict:
                continue
            except Unavailable:
                return  # The repository sees to it.
            return

    def is_in(self, stay: Stay) -> bool:
        return stay in self._tenants.get(stay.tenant_id)

    def size(self, tenant_id: TenantId) -> int:
        """How many peers the tenant has."""
        return len(self._tenants.get(tenant_id).stays)
