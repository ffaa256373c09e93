from collections.abc import Callable
from secrets import token_hex

from wg_orchestrator.domain.events import Committed, MembershipEvent
from wg_orchestrator.domain.ip_allocator import IPAllocator, Network
from wg_orchestrator.domain.stay import StayId
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId


class InMemoryTenantRepository:
    """A TenantRepository for one node: `commit` is one synchronous step, so it never meets a rival."""

    def __init__(
        self, network: Network, max_peers_per_tenant: int, scatters: Callable[[], bool] = lambda: False
    ) -> None:
        """`scatters`: whether newcomers get addresses at random places, as nobody knows yet whose the lowest ones are
        that come back.
        """
        self._network = network
        self._max_peers_per_tenant = max_peers_per_tenant
        self._scatters = scatters
        self._tenants: dict[TenantId, Tenant] = {}
        self._followers: list[Callable[[Committed], None]] = []
        self._stays = 0
        # One count for all tenants: a tenant that is forgotten and comes again goes on with higher ones.
        self._revision = 0
        self.era = token_hex(8)

    def get(self, tenant_id: TenantId) -> Tenant:
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            addresses = IPAllocator(self._network, scatters=self._scatters)
            tenant = Tenant(tenant_id, addresses, self._max_peers_per_tenant)
        return tenant

    def all(self) -> list[Tenant]:
        return list(self._tenants.values())

    def count(self) -> int:
        return len(self._tenants)

    def next_stay_id(self) -> StayId:
        self._stays += 1
        return StayId(str(self._stays))

    def follow(self, follower: Callable[[Committed], None]) -> None:
        self._followers.append(follower)

    async def commit(self, event: MembershipEvent) -> Committed:
        tenant_id = event.stay.tenant_id
        tenant = self.get(tenant_id)
        committed = Committed(event, self._revision + 1)
        tenant.apply(committed)
        self._revision += 1
        if tenant.stays:
            self._tenants[tenant_id] = tenant
        else:
            del self._tenants[tenant_id]
        for follower in self._followers:
            follower(committed)
        return committed
