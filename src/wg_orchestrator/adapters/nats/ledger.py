from collections.abc import Callable

from wg_orchestrator.adapters.nats.addresses import Addresses
from wg_orchestrator.adapters.nats.claim import Claim
from wg_orchestrator.adapters.nats.epoch import Epoch
from wg_orchestrator.adapters.nats.leases import End, Lease
from wg_orchestrator.adapters.nats.names import process_of
from wg_orchestrator.adapters.nats.snapshot import Snapshot
from wg_orchestrator.adapters.nats.states import State
from wg_orchestrator.adapters.nats.tenants import Tenants
from wg_orchestrator.domain.events import LeaveCause


class Ledger(Addresses):
    """Turns the stream's messages, in their order, into the tenants. It only keeps books and waits for nothing.

    A peer is in its tenant while the last message on its address is a claim of a node whose lease lives. A peer with a
    session stays longer: until its grace is over. From a stream that keeps one message per subject some are never seen,
    so each is taken for what it says now: whoever held the address or the key before has left. And two kinds of peers
    are kept though the stream does not say so any more: those that are connected here, whose claims this node puts
    back, and, after the store was lost, those of nodes that have yet to put theirs back.
    """

    def __init__(self, tenants: Tenants, process: str) -> None:
        super().__init__(tenants, process)
        self._epoch: Epoch | None = None

    @property
    def epoch(self) -> Epoch | None:
        """The epoch of the stream that it follows; None if it has not begun to."""
        return self._epoch

    def is_open(self) -> bool:
        """Whether newcomers may join: the stream holds the claims of all peers that are still in."""
        return self._epoch is not None and self._epoch.is_open

    # The stream's messages

    def see_epoch(self, epoch: Epoch) -> None:
        """Apply a message that opens the epoch."""
        self._epoch = epoch

    def see_claim(self, claim: Claim) -> None:
        """Apply the next message on an address."""
        self._see(claim.sequence)
        self._see_claim(claim, claim.cause)

    def see_lease(self, node: str, lease: Lease | None, sequence: int) -> None:
        """Apply the next message on a lease. None ends it, and with it all claims of its node."""
        self._see(sequence)
        if lease is None:
            if self.leases.see_end(node, End(sequence, self.now)):
                for record in self._records.of_node(node):
                    if record.last is not None:
                        self._see_claim(record.last, LeaveCause.LOST)
                # Only who is away by a node's claim is judged by the end of its lease.
                self.leases.forget_ends(lambda node: bool(self._records.of_node(node)))
            return
        if self.leases.see(node, lease):  # Its first message was replaced by a renewal before it got here.
            waiting = self._records.in_state(State.STALE) + self._records.in_state(State.UNBACKED)
            with self._tenants.unnumbered():
                for claim in [record.last for record in waiting]:
                    if claim is not None and claim.node == node:
                        self._see_claim(claim, claim.cause)
        if lease.settled:
            self._settle(node)

    def reconcile(self, snapshot: Snapshot, store_was_lost: bool, sequence: int) -> None:
        """Go on from the stream as it is at this sequence. What was missed becomes leaves, then joins."""
        self._epoch = snapshot.epoch
        self.leases = snapshot.leases_at(self.now)
        self._see(sequence)
        if store_was_lost:
            self._tenants.begin_numbers_anew()
        with self._tenants.unnumbered():
            self._reconcile(snapshot, store_was_lost)

    def _reconcile(self, snapshot: Snapshot, store_was_lost: bool) -> None:
        in_doubt = {claim.life for claim in self.claims_in(State.UNBACKED)}
        self._vacancies.clear()
        for place, record in self._records:
            claim, held = snapshot.claims.get(place), record.holder
            if held is None:
                self._records.put(place, None)
            elif claim is not None and (claim.node in self.leases or (claim.continues(held) and self._is_away(claim))):
                if not claim.continues(held):
                    self._leave(held, LeaveCause.LOST)
            elif claim is not None and claim.ends(held):
                self._leave(held, claim.cause)
            elif held.life in self._wanted or ((store_was_lost or held.life in in_doubt) and not self._is_ours(held)):
                has_left_elsewhere = not store_was_lost and held.life not in in_doubt
                self._unback(place, held, claim, has_left_elsewhere)
            else:
                self._leave(held, LeaveCause.LOST)
        claims = sorted(snapshot.claims.values(), key=lambda claim: claim.sequence)
        stand = {claim.place for claim in claims if claim.node in self.leases or self._is_away(claim)}
        new = {tenant_id for tenant_id, _ in stand if not self._tenants.has_peers(tenant_id)}
        self._tenants.recall(c.stay for c in claims if c.tenant_id in new and c.place not in stand)
        for claim in claims:
            self._see_claim(claim, claim.cause)
        for node in self.leases.settled():
            self._settle(node)
        self._tenants.forget_recalled()

    def _see(self, sequence: int) -> None:
        self._tenants.see((self._epoch.base if self._epoch else 0) + sequence)

    def _settle(self, node: str) -> None:
        """The peers whose claims this node has not put back by now have left."""
        settled = process_of(node)
        if self._records.is_any(State.UNBACKED) and settled != self.process:
            self._let_all_go(lambda process: process == settled)

    def _let_all_go(self, is_meant: Callable[[str], bool]) -> None:
        for record in self._records.in_state(State.UNBACKED):
            if record.holder is not None and is_meant(process_of(record.holder.node)):
                self._let_go(record, LeaveCause.LOST)

    def give_up_missing(self) -> None:
        """After the store was lost: stop waiting for nodes that have not come back to put their claims back."""
        if self._records.is_any(State.UNBACKED):
            back = self.leases.processes() | {self.process}
            self._let_all_go(lambda process: process not in back)
