from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from wg_orchestrator.adapters.nats.claim import Claim, Place, process_of
from wg_orchestrator.adapters.nats.epoch import Epoch
from wg_orchestrator.adapters.nats.expecting import ExpectingTenant
from wg_orchestrator.adapters.nats.snapshot import Lease, Snapshot
from wg_orchestrator.adapters.nats.vacancies import Vacancies, key_revision
from wg_orchestrator.domain.errors import Conflict
from wg_orchestrator.domain.events import MembershipEvent, PeerJoined, PeerLeft
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.tenant_id import TenantId

logger = structlog.get_logger("wg_orchestrator.nats")


class Ledger:
    """What the stream's messages, in their order, make of the tenants; pure bookkeeping, without a wait.

    A peer is in its tenant while the last message on its address is a claim of a node whose lease lives. From a stream
    that keeps one message per subject some are never seen, so each is taken for what it says now: whoever held the
    address or the key before has left. And two kinds of peers are kept though the stream does not say so any more:
    those that are connected here, whose claims this node puts back, and, after the store was lost, those of nodes that
    have yet to put theirs back. `unbacked` has both.
    """

    def __init__(self, network: Network, max_peers_per_tenant: int, process: str) -> None:
        self._network = network
        self._max_peers = max_peers_per_tenant
        self.process = process
        self._tenants: dict[TenantId, ExpectingTenant] = {}
        self._opening: dict[TenantId, ExpectingTenant] = {}
        self._held: dict[Place, Claim] = {}
        self._by_key: dict[tuple[TenantId, PublicKey], Place] = {}
        self._by_node: defaultdict[str, set[Place]] = defaultdict(set)
        self._vacancies = Vacancies()
        self.followers: list[Callable[[MembershipEvent], None]] = []
        self.epoch: Epoch | None = None
        self.leases: dict[str, Lease] = {}
        self.wanted: set[str] = set()
        """The sessions that live here, those of newcomers on their way included."""
        self.unbacked: dict[Place, Claim] = {}
        self.ghosts: dict[Place, Claim] = {}
        """Claims of this process that it does not want, or no longer."""
        self.stale: dict[Place, Claim] = {}
        """Claims of nodes whose lease has ended."""

    # The tenants

    def tenant(self, tenant_id: TenantId) -> ExpectingTenant:
        tenant = self._tenants.get(tenant_id) or self._opening.get(tenant_id)
        return tenant or ExpectingTenant(tenant_id, self._network, self._max_peers)

    def count(self) -> int:
        """How many tenants have peers, or expect one."""
        return len(self._tenants) + len(self._opening)

    def expect(self, event: PeerJoined) -> None:
        """See ExpectingTenant.expect."""
        tenant = self.tenant(event.tenant_id)
        tenant.expect(event)
        if event.tenant_id not in self._tenants:
            self._opening[event.tenant_id] = tenant

    def forgo(self, event: PeerJoined) -> None:
        """See ExpectingTenant.forgo."""
        tenant = self.tenant(event.tenant_id)
        tenant.forgo(event)
        if not tenant.expects:
            self._opening.pop(event.tenant_id, None)

    # What is known of an address

    def holder(self, place: Place) -> Claim | None:
        return self._held.get(place)

    def holder_of_key(self, tenant_id: TenantId, key: PublicKey) -> Claim | None:
        place = self._by_key.get((tenant_id, key))
        return None if place is None else self._held[place]

    def revisions(self, claim: Claim) -> tuple[int, int]:
        """The last messages on the subjects of the claim's key and address, as far as is known; 0 for none."""
        held = self._held.get(claim.place)
        if held is not None and held.session == claim.session:
            return key_revision(held), held.revision
        return self._vacancies.revisions(claim)

    def is_ours(self, claim: Claim) -> bool:
        return process_of(claim.session) == self.process

    def holds(self, claim: Claim) -> bool:
        """Whether the peer is in its tenant, for this one stay."""
        held = self._held.get(claim.place)
        return held is not None and held.session == claim.session

    def disown(self, claim: Claim) -> None:
        """The peer is not connected here any more: what the stream holds of it has to go."""
        self.wanted.discard(claim.session)
        held = self._held.get(claim.place)
        if held is None or held.session != claim.session:
            return
        if held.node:
            self.ghosts[held.place] = held
        else:
            self._leave(held)

    # The stream's messages

    def see_claim(self, claim: Claim) -> None:
        """Apply the next message on an address."""
        self.stale.pop(claim.place, None)
        self.ghosts.pop(claim.place, None)
        if claim.node in self.leases:
            self._claimed(claim)
        else:
            self._vacated(claim)

    def see_epoch(self, epoch: Epoch) -> None:
        """Apply a message that opens the epoch."""
        self.epoch = epoch

    def see_lease(self, node: str, lease: Lease | None) -> None:
        """Apply the next message on a lease; None is its end, and that of all claims of its node."""
        if lease is not None:
            is_news = node not in self.leases
            self.leases[node] = lease
            if is_news:  # Its first message was replaced by a renewal before it got here, unlike these claims.
                for claim in [claim for claim in self.stale.values() if claim.node == node]:
                    self.see_claim(claim)
            if lease.settled:
                self._settle(node)
        elif self.leases.pop(node, None) is not None:
            for place in list(self._by_node.get(node, ())):
                self._vacated(self._held[place])

    def reconcile(self, snapshot: Snapshot, store_was_lost: bool) -> None:
        """Go on from the stream as it is now, whatever was missed: leaves first, then joins."""
        self.epoch = snapshot.epoch
        self.leases = snapshot.leases
        in_doubt = {claim.session for claim in self.unbacked.values()}
        self.stale.clear()
        self.ghosts.clear()
        self._vacancies.clear()
        for held in list(self._held.values()):
            claim = snapshot.claims.get(held.place)
            if claim is not None and claim.node in self.leases:
                if claim.session != held.session:
                    self._leave(held)
            elif held.session in self.wanted or (
                (store_was_lost or held.session in in_doubt) and not self.is_ours(held)
            ):
                self._unback(replace(held, revision=claim.revision if claim else 0))
            else:
                self._leave(held)
        claims = sorted(snapshot.claims.values(), key=lambda claim: claim.revision)
        self._recall(claims)
        for claim in claims:
            self.see_claim(claim)
        for node, lease in self.leases.items():
            if lease.settled:
                self._settle(node)
        self._opening = {tenant_id: tenant for tenant_id, tenant in self._opening.items() if tenant.expects}

    def is_open(self) -> bool:
        """Whether newcomers may come: the stream holds the claim of everybody who is still in, or has no place left."""
        return self.epoch is not None and self.epoch.is_open

    def is_settled(self) -> bool:
        """Whether the stream holds all claims of this process."""
        return not any(map(self.is_ours, self.unbacked.values()))

    def are_all_settled(self) -> bool:
        """Whether the stream holds all claims of all nodes that have a lease."""
        return all(lease.settled for lease in self.leases.values())

    def give_up_missing(self) -> None:
        """Wait no longer for the nodes that have not come back to put back what a lost store held of theirs."""
        if self.unbacked:
            back = {process_of(node) for node in self.leases} | {self.process}
            self._let_go(lambda process: process not in back)

    def _settle(self, node: str) -> None:
        """What a node has not put back by now has left."""
        settled = process_of(node)
        if self.unbacked and settled != self.process:
            self._let_go(lambda process: process == settled)

    def _let_go(self, is_meant: Callable[[str], bool]) -> None:
        for claim in [claim for claim in self.unbacked.values() if is_meant(process_of(claim.session))]:
            self._leave(claim)

    def _recall(self, claims: Iterable[Claim]) -> None:
        """Have the tenants that are new here know who released which address, and in which order."""
        live = {claim.tenant_id for claim in claims if claim.node in self.leases} - self._tenants.keys()
        for claim in claims:
            if claim.tenant_id in live and claim.node not in self.leases:
                tenant = self._opening.setdefault(claim.tenant_id, self.tenant(claim.tenant_id))
                try:
                    tenant.apply(PeerJoined(claim.tenant_id, claim.peer))
                    tenant.apply(PeerLeft(claim.tenant_id, claim.peer))
                except Conflict as conflict:
                    logger.warning("unusable claim", reason=str(conflict))

    def _claimed(self, claim: Claim) -> None:
        held = self._held.get(claim.place)
        if held is not None and held.session == claim.session and held.peer == claim.peer:
            self._unlink(held)
            self._link(claim)
        else:
            for rival in (held, self.holder_of_key(claim.tenant_id, claim.peer.public_key)):
                if rival is not None and self._held.get(rival.place) is rival:
                    self._leave(rival)
            self._join(claim)
        if self.is_ours(claim) and claim.session not in self.wanted:
            self.ghosts[claim.place] = claim

    def _vacated(self, claim: Claim) -> None:
        if claim.node:
            self.stale[claim.place] = claim
        self._vacancies.remember(claim)
        held = self._held.get(claim.place)
        if held is None:
            return
        if held.session in self.wanted:
            self._unback(replace(held, revision=claim.revision))
        else:
            self._leave(held)

    def _join(self, claim: Claim) -> None:
        tenant = self.tenant(claim.tenant_id)
        event = PeerJoined(claim.tenant_id, claim.peer)
        try:
            tenant.apply(event)
        except Conflict as conflict:  # Only an address that no node of this network could have claimed.
            logger.error("unusable claim", reason=str(conflict))
            return
        self._opening.pop(claim.tenant_id, None)
        self._tenants[claim.tenant_id] = tenant
        self._link(claim)
        self._tell(event)

    def _leave(self, claim: Claim) -> None:
        tenant = self._tenants[claim.tenant_id]
        event = PeerLeft(claim.tenant_id, claim.peer)
        tenant.apply(event)
        if not tenant.peers:
            del self._tenants[claim.tenant_id]
            if tenant.expects:
                self._opening[claim.tenant_id] = tenant
        self._unlink(claim)
        self.wanted.discard(claim.session)
        self._tell(event)

    def _unback(self, claim: Claim) -> None:
        self._unlink(self._held[claim.place])
        self._link(replace(claim, node=""))
        self.unbacked[claim.place] = self._held[claim.place]

    def _link(self, claim: Claim) -> None:
        self._held[claim.place] = claim
        self._by_key[claim.tenant_id, claim.peer.public_key] = claim.place
        if claim.node:
            self._by_node[claim.node].add(claim.place)

    def _unlink(self, claim: Claim) -> None:
        del self._held[claim.place]
        del self._by_key[claim.tenant_id, claim.peer.public_key]
        self.unbacked.pop(claim.place, None)
        self.ghosts.pop(claim.place, None)
        if claim.node:
            places = self._by_node[claim.node]
            places.remove(claim.place)
            if not places:
                del self._by_node[claim.node]

    def _tell(self, event: MembershipEvent) -> None:
        for follower in self.followers:
            follower(event)
