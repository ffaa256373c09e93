from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog

from wg_orchestrator.adapters.nats.expecting import ExpectingTenant
from wg_orchestrator.domain.errors import Conflict
from wg_orchestrator.domain.events import (
    Committed,
    LeaveCause,
    MembershipEvent,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerUpdated,
)
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId

logger = structlog.get_logger("wg_orchestrator.nats")

PLACES = 2**16
"""Revisions that one message has for the events of one tenant. The end of a node is one message and many leaves."""


class Tenants:
    """Holds the tenants for the ledger, and hands their events to the followers.

    The revision of an event is the number of the message that brought it about, times PLACES, and one more for each
    event of the same tenant that the same message has brought about before it. A message's number is its sequence, and
    in a later epoch of the stream more than that. So the revision is the same on every node that has seen the tenant's
    messages one by one, and rises on every node. An event that a node finds out in another way is `unnumbered`.
    """

    def __init__(self, network: Network, max_peers_per_tenant: int) -> None:
        self._network = network
        self._max_peers = max_peers_per_tenant
        self._with_peers: dict[TenantId, ExpectingTenant] = {}
        self._opening: dict[TenantId, ExpectingTenant] = {}
        self._followers: list[Callable[[Committed], None]] = []
        self._awaited: dict[MembershipEvent, Committed | None] = {}
        self._least_revision = 0
        self._is_numbered = True

    def get(self, tenant_id: TenantId) -> ExpectingTenant:
        tenant = self._with_peers.get(tenant_id) or self._opening.get(tenant_id)
        return tenant or ExpectingTenant(tenant_id, self._network, self._max_peers)

    def all(self) -> list[Tenant]:
        """A copy of the list of all tenants that have peers."""
        return list(self._with_peers.values())

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

    def await_event(self, event: MembershipEvent) -> None:
        """Keep the place of this event, if it comes, until it is taken."""
        self._awaited[event] = None

    def take_event(self, event: MembershipEvent) -> Committed | None:
        """None: it has not come, or somebody else has waited for it, too, and has taken it."""
        return self._awaited.pop(event, None)

    # Said by the ledger

    def see(self, number: int) -> None:
        """The events that follow come from the message with this number."""
        self._least_revision = number * PLACES

    @contextmanager
    def unnumbered(self) -> Iterator[None]:
        """The events inside come from no message, or not from one message each: other nodes may number them otherwise,
        or not have them.
        """
        before, self._is_numbered = self._is_numbered, False
        try:
            yield
        finally:
            self._is_numbered = before

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

    def go_on(self, before: Stay, now: Stay) -> None:
        """The same stay goes on in another turn, or with another name or endpoints, or both, or as it was."""
        tenant = self._with_peers[now.tenant_id]
        if now.turn != before.turn:
            self._tell(self._apply(tenant, PeerResumed(replace(before, turn=now.turn))))
        if now.peer != before.peer:
            self._tell(self._apply(tenant, PeerUpdated(now)))

    def go_on_unnumbered(self, stay: Stay) -> None:
        """Have pictures given anew: nothing has changed here, but elsewhere the stay was told to have ended."""
        with self.unnumbered():
            self._tell(self._apply(self._with_peers[stay.tenant_id], PeerUpdated(stay)))

    def begin_numbers_anew(self) -> None:
        """The numbers of the messages have begun anew. A tenant that is ahead of them goes on with lower revisions."""
        for tenant in self._with_peers.values():
            if tenant.revision >= self._least_revision:
                tenant.revision = 0
                self.go_on_unnumbered(next(iter(tenant.stays)))

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
        # What is not numbered gets the message's last revision: no node has numbered anything with that.
        last = self._least_revision + PLACES - 1
        is_numbered = self._is_numbered and tenant.revision < last
        revision = max(self._least_revision, tenant.revision + 1) if is_numbered else max(last, tenant.revision)
        committed = Committed(event, revision, is_numbered)
        tenant.apply(committed)
        return committed

    def _tell(self, committed: Committed) -> None:
        if self._awaited and committed.event in self._awaited:
            self._awaited[committed.event] = committed
        for follower in self._followers:
            follower(committed)
