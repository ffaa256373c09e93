from collections.abc import Callable
from dataclasses import replace

import structlog

from wg_orchestrator.adapters.nats.claim import Claim, Place, process_of
from wg_orchestrator.adapters.nats.epoch import Epoch
from wg_orchestrator.adapters.nats.records import Record, Records
from wg_orchestrator.adapters.nats.snapshot import Lease, Snapshot
from wg_orchestrator.adapters.nats.states import TRANSITIONS, Sight, State
from wg_orchestrator.adapters.nats.tenants import Tenants
from wg_orchestrator.adapters.nats.vacancies import Vacancies, key_sequence
from wg_orchestrator.domain.errors import Conflict
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.tenant_id import TenantId

logger = structlog.get_logger("wg_orchestrator.nats")


class Ledger:
    """Turns the stream's messages, in their order, into the tenants. It only keeps books and waits for nothing.

    A peer is in its tenant while the last message on its address is a claim of a node whose lease lives. From a stream
    that keeps one message per subject some are never seen, so each is taken for what it says now: whoever held the
    address or the key before has left. And two kinds of peers are kept though the stream does not say so any more:
    those that are connected here, whose claims this node puts back, and, after the store was lost, those of nodes that
    have yet to put theirs back. `states` says which states an address can be in, and how it gets from one to another.
    """

    def __init__(self, tenants: Tenants, process: str) -> None:
        self.process = process
        self.epoch: Epoch | None = None
        self.leases: dict[str, Lease] = {}
        """The leases that live, by node."""
        self._tenants = tenants
        self._records = Records()
        self.vacancies = Vacancies()
        self._wanted: set[str] = set()

    # Questions

    def holder(self, place: Place) -> Claim | None:
        """The claim of the peer that has this address; None if nobody has it."""
        record = self._records.get(place)
        return None if record is None else record.holder

    def holder_of_key(self, tenant_id: TenantId, key: PublicKey) -> Claim | None:
        record = self._records.of_key(tenant_id, key)
        return None if record is None else record.holder

    def holds(self, claim: Claim) -> bool:
        """Whether the peer of this claim is in its tenant, in this stay."""
        return (holder := self.holder(claim.place)) is not None and holder.session == claim.session

    def sequences(self, claim: Claim) -> tuple[int, int]:
        """The last messages on the subjects of the claim's key and address, as far as is known; 0 for none."""
        holder = self.holder(claim.place)
        if holder is not None and holder.session == claim.session:
            return key_sequence(holder), holder.sequence
        return self.vacancies.sequences(claim)

    def claims_in(self, state: State) -> list[Claim]:
        """The claims of all addresses in this state: those of the holders; in STALE those that have to be taken out."""
        claims = [record.holder or record.last for record in self._records.in_state(state)]
        return [claim for claim in claims if claim is not None]

    def to_put_back(self) -> list[Claim]:
        """The claims of peers that are connected here, but have no claim in the stream."""
        return [claim for claim in self.claims_in(State.UNBACKED) if self._is_ours(claim)]

    def is_open(self) -> bool:
        """Whether newcomers may join: the stream holds the claims of all peers that are still in."""
        return self.epoch is not None and self.epoch.is_open

    def is_settled(self) -> bool:
        """Whether the stream holds all claims of this process."""
        return not any(self._is_ours(claim) for claim in self.claims_in(State.UNBACKED))

    def are_all_settled(self) -> bool:
        """Whether the stream holds all claims of all nodes that have a lease."""
        return all(lease.settled for lease in self.leases.values())

    # Said by this node

    def want(self, session: str) -> None:
        """The peer of this stay is connected here, or is joining here."""
        self._wanted.add(session)

    def unwant(self, claim: Claim) -> None:
        """The peer is about to leave."""
        self._wanted.discard(claim.session)

    def disown(self, claim: Claim, cause: LeaveCause = LeaveCause.LEFT) -> None:
        """The peer is not connected here any more: its claim has to be taken out of the stream."""
        self.unwant(claim)
        record = self._records.get(claim.place)
        if record is not None and record.holder is not None and record.holder.session == claim.session:
            if record.state is State.UNBACKED:
                self._let_go(record, cause)
            else:
                self._move(claim.place, Sight.GONE, record.holder)

    def give_up_missing(self) -> None:
        """After the store was lost: stop waiting for nodes that have not come back to put their claims back."""
        if self._records.is_any(State.UNBACKED):
            back = {process_of(node) for node in self.leases} | {self.process}
            self._let_all_go(lambda process: process not in back)

    # The stream's messages

    def see_epoch(self, epoch: Epoch) -> None:
        """Apply a message that opens the epoch."""
        self.epoch = epoch

    def see_claim(self, claim: Claim) -> None:
        """Apply the next message on an address."""
        self._tenants.see(claim.sequence)
        self._see_claim(claim, claim.cause)

    def see_lease(self, node: str, lease: Lease | None, sequence: int) -> None:
        """Apply the next message on a lease. None ends it, and with it all claims of its node."""
        self._tenants.see(sequence)
        if lease is None:
            if self.leases.pop(node, None) is not None:
                for record in self._records.of_node(node):
                    if record.last is not None:
                        self._see_claim(record.last, LeaveCause.LOST)
            return
        is_news = node not in self.leases
        self.leases[node] = lease
        if is_news:  # Its first message was replaced by a renewal before it got here, unlike these claims.
            waiting = self._records.in_state(State.STALE) + self._records.in_state(State.UNBACKED)
            for claim in [record.last for record in waiting]:
                if claim is not None and claim.node == node:
                    self._see_claim(claim, claim.cause)
        if lease.settled:
            self._settle(node)

    def reconcile(self, snapshot: Snapshot, store_was_lost: bool, sequence: int) -> None:
        """Go on from the stream as it is at this sequence. What was missed becomes leaves, then joins."""
        self._tenants.see(sequence)
        self.epoch = snapshot.epoch
        self.leases = snapshot.leases
        in_doubt = {claim.session for claim in self.claims_in(State.UNBACKED)}
        self.vacancies.clear()
        for place, record in self._records:
            claim, held = snapshot.claims.get(place), record.holder
            if held is None:
                self._records.put(place, None)
            elif claim is not None and claim.node in self.leases:
                if claim.session != held.session:
                    self._leave(held, LeaveCause.LOST)
            elif held.session in self._wanted or (
                (store_was_lost or held.session in in_doubt) and not self._is_ours(held)
            ):
                self._unback(place, held, claim)
            else:
                self._leave(held, LeaveCause.LOST)
        claims = sorted(snapshot.claims.values(), key=lambda claim: claim.sequence)
        alive = {claim.tenant_id for claim in claims if claim.node in self.leases}
        new = {tenant_id for tenant_id in alive if not self._tenants.has_peers(tenant_id)}
        self._tenants.recall(c.stay for c in claims if c.tenant_id in new and c.node not in self.leases)
        for claim in claims:
            self._see_claim(claim, claim.cause)
        for node, lease in self.leases.items():
            if lease.settled:
                self._settle(node)
        self._tenants.forget_recalled()

    def _settle(self, node: str) -> None:
        """The peers whose claims this node has not put back by now have left."""
        settled = process_of(node)
        if self._records.is_any(State.UNBACKED) and settled != self.process:
            self._let_all_go(lambda process: process == settled)

    def _let_all_go(self, is_meant: Callable[[str], bool]) -> None:
        for record in self._records.in_state(State.UNBACKED):
            if record.holder is not None and is_meant(process_of(record.holder.session)):
                self._let_go(record, LeaveCause.LOST)

    def _let_go(self, record: Record, cause: LeaveCause) -> None:
        """Nobody will put this claim back: its peer leaves, and the address is as the stream says."""
        if record.holder is not None:
            self._move(record.holder.place, Sight.VOID if record.last else Sight.FREE, record.last, cause)

    # One address

    def _is_ours(self, claim: Claim) -> bool:
        return process_of(claim.session) == self.process

    def _see_claim(self, claim: Claim, cause: LeaveCause) -> None:
        sight = self._sight(claim)
        if sight not in (Sight.CLAIM, Sight.UNWANTED):
            self.vacancies.remember(claim)
        self._move(claim.place, sight, claim, cause)

    def _sight(self, claim: Claim) -> Sight:
        if claim.node in self.leases:
            return Sight.UNWANTED if self._is_ours(claim) and claim.session not in self._wanted else Sight.CLAIM
        record = self._records.get(claim.place)
        if record is not None and record.holder is not None:
            # A lease may be heard of after its claims: who is being put back is not out yet.
            is_back = record.state is State.UNBACKED and claim.node and claim.session == record.holder.session
            if record.holder.session in self._wanted or is_back:
                return Sight.LAPSE
        return Sight.VOID if claim.node else Sight.FREE

    def _move(self, place: Place, sight: Sight, claim: Claim | None, cause: LeaveCause = LeaveCause.LEFT) -> None:
        """Apply what is seen of an address; `claim` is what the stream's last message on it says."""
        record = self._records.get(place)
        state = TRANSITIONS[record.state if record else State.VACANT][sight]
        holder = record.holder if record else None
        if claim is not None and sight in (Sight.CLAIM, Sight.UNWANTED):
            last = record.last if record else None
            if last is not None and last.node not in self.leases:
                self.vacancies.cover(last, claim)
            is_same = holder is not None and (holder.session, holder.peer) == (claim.session, claim.peer)
            if is_same or self._join(claim, holder):
                self._records.put(place, Record(state, claim, claim))
        elif holder is not None and state is State.UNBACKED:
            self._unback(place, holder, claim)
        elif holder is not None and state is State.GHOST:
            self._records.put(place, Record(state, holder, claim))
        else:
            if holder is not None:
                self._leave(holder, cause)
            self._records.put(place, Record(state, None, claim) if state is State.STALE else None)

    def _join(self, claim: Claim, holder: Claim | None) -> bool:
        for rival in (holder, self.holder_of_key(claim.tenant_id, claim.peer.public_key)):
            if rival is not None and self.holds(rival):
                self._leave(rival, LeaveCause.LOST)
        try:
            self._tenants.join(claim.stay)
        except Conflict as conflict:  # Only an address that no node of this network could have claimed.
            logger.error("unusable claim", reason=str(conflict))
            return False
        return True

    def _leave(self, claim: Claim, cause: LeaveCause) -> None:
        record = self._records.get(claim.place)
        is_left_over = record is not None and record.state is State.UNBACKED and record.last is not None
        self._records.put(claim.place, Record(State.STALE, None, record.last) if record and is_left_over else None)
        self._wanted.discard(claim.session)
        self._tenants.leave(claim.stay, cause)

    def _unback(self, place: Place, holder: Claim, last: Claim | None) -> None:
        holder = replace(holder, node="", sequence=last.sequence if last else 0)
        self._records.put(place, Record(State.UNBACKED, holder, last if last and last.node else None))
