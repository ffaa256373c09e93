from collections.abc import Callable

from wg_orchestrator.domain.events import MembershipEvent
from wg_orchestrator.domain.ip_allocator import IPAllocator, Network
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId


class InMemoryTenantRepository:
    """A TenantRepository for one node: `commit` is one synchronous step, so it never meets a rival."""

    def __init__(self, network: Network, max_peers_per_tenant: int) -> None:
        self._network = network
        self._max_peers_per_tenant = max_peers_per_tenant
        self._tenants: dict[TenantId, Tenant] = {}
        self._followers: list[Callable[[MembershipEvent], None]] = []

    def get(self, tenant_id: TenantId) -> Tenant:
        tenant = self._tenants.get(tenant_id)
        return tenant or Tenant(tenant_id, IPAllocator(self._network), self._max_peers_per_tenant)

    def count(self) -> int:
        return len(self._tenants)

    def follow(self, follower: Callable[[MembershipEvent], None]) -> None:
        self._followers.append(follower)

    async def commit(self, event: MembershipEvent) -> None:
        tenant = self.get(event.tenant_id)
        tenant.apply(event)
        if tenant.peers:
            self._tenants[event.tenant_id] = tenant
        else:
            del self._tenants[event.tenant_id]
        for follower in self._followers:
            follower(event)
