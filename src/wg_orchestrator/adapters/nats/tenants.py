from collections.abc import Callable, Iterable

import structlog

from wg_orchestrator.adapters.nats.expecting import ExpectingTenant
from wg_orchestrator.domain.errors import Conflict
from wg_orchestrator.domain.events import Committed, LeaveCause, MembershipEvent, PeerJoined, PeerLeft
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId

logger = structlog.get_logger("wg_orchestrator.nats")

PLACES = 2**16
"""Revisions that one message has for the events of one tenant. The end of a node is one message and many leaves."""


class Tenants:
    """Holds the tenants for the ledger, and hands their events to the followers.

    The revision of an event is the sequence of the message that brought it about, times PLACES, and one more for each
    event of the same tenant that the same message has brought about before it. So it is the same on every node that has
    seen the tenant's messages one by one, and rises on every node.
    """

    def __init__(self, network: Network, max_peers_per_tenant: int) -> None:
        self._network = network
        self._max_peers = max_peers_per_tenant
        self._with_peers: dict[TenantId, ExpectingTenant] = {}
        self._opening: dict[TenantId, ExpectingTenant] = {}
        self._followers: list[Callable[[Committed], None]] = []
        self._awaited: dict[StayId, Committed | None] = {}
        self._least_revision = 0

    def get(self, tenant_id: TenantId) -> ExpectingTenant:
        tenant = self._with_peers.get(tenant_id) or self._opening.get(tenant_id)
        return tenant or ExpectingTenant(tenant_id, self._network, self._max_peers)

    def count(self) -> int:
        """How many tenants have peers, or expect one."""
        return len(self._with_peers) + len(self._opening)

    def has_peers(self, tenant_id: TenantId) -> bool:
        return tenant_id in self._with_peers

    def follow(self, follower: Callable[[Committed], None]) -> None:
        self._followers.append(follower)

    # Expected newcomers

    def expect(self, event: PeerJoined) -> None:
        """See ExpectingTenant.expect."""
        tenant_id = event.stay.tenant_id
        tenant = self.get(tenant_id)
        tenant.expect(event)
        if tenant_id not in self._with_peers:
            self._opening[tenant_id] = tenant

    def forgo(self, event: PeerJoined) -> None:
        """See ExpectingTenant.forgo."""
        tenant = self.get(event.stay.tenant_id)
        tenant.forgo(event)
        if not tenant.expects:
            self._opening.pop(event.stay.tenant_id, None)

    # Events that a commit waits for

    def await_event(self, stay_id: StayId) -> None:
        """Keep the next event of this stay until it is taken."""
        self._awaited[stay_id] = None

    def take_event(self, stay_id: StayId) -> Committed | None:
        return self._awaited.pop(stay_id)

    # Said by the ledger

    def see(self, sequence: int) -> None:
        """The events that follow come from the message with this sequence."""
        self._least_revision = sequence * PLACES

    def join(self, stay: Stay) -> None:
        """Raises Conflict if that contradicts the tenant."""
        tenant = self.get(stay.tenant_id)
        committed = self._apply(tenant, PeerJoined(stay))
        self._opening.pop(stay.tenant_id, None)
        self._with_peers[stay.tenant_id] = tenant
        self._tell(committed)

    def leave(self, stay: Stay, cause: LeaveCause) -> None:
        tenant = self._with_peers[stay.tenant_id]
        committed = self._apply(tenant, PeerLeft(stay, cause))
        if not tenant.stays:
            del self._with_peers[stay.tenant_id]
            if tenant.expects:
                self._opening[stay.tenant_id] = tenant
        self._tell(committed)

    def recall(self, released: Iterable[Stay]) -> None:
        """Tell the tenants that are new here which peer released which address, the oldest first."""
        for stay in released:
            tenant = self._opening.setdefault(stay.tenant_id, self.get(stay.tenant_id))
            try:
                tenant.apply(Committed(PeerJoined(stay), 0))
                tenant.apply(Committed(PeerLeft(stay, LeaveCause.LEFT), 0))
            except Conflict as conflict:
                logger.warning("unusable claim", reason=str(conflict))

    def forget_recalled(self) -> None:
        """Forget the tenants that nobody has joined after all."""
        self._opening = {tenant_id: tenant for tenant_id, tenant in self._opening.items() if tenant.expects}

    def _apply(self, tenant: ExpectingTenant, event: MembershipEvent) -> Committed:
        committed = Committed(event, max(self._least_revision, tenant.revision + 1))
        tenant.apply(committed)
        return committed

    def _tell(self, committed: Committed) -> None:
        if committed.event.stay.id in self._awaited:
            self._awaited[committed.event.stay.id] = committed
        for follower in self._followers:
            follower(committed)
