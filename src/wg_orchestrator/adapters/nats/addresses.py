from dataclasses import replace

import structlog

from wg_orchestrator.adapters.nats.claim import Claim, Life, Place
from wg_orchestrator.adapters.nats.leases import Leases
from wg_orchestrator.adapters.nats.names import process_of
from wg_orchestrator.adapters.nats.records import Record, Records
from wg_orchestrator.adapters.nats.states import STANDING, TRANSITIONS, Sight, State
from wg_orchestrator.adapters.nats.tenants import Tenants
from wg_orchestrator.adapters.nats.vacancies import Vacancies, key_sequence
from wg_orchestrator.domain.errors import Conflict
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.tenant_id import TenantId

logger = structlog.get_logger("wg_orchestrator.nats")


class Addresses:
    """Who is at each address, and what follows from what is seen of one address.

    `states` says which states an address can be in, and how it gets from one to another.
    """

    def __init__(self, tenants: Tenants, process: str) -> None:
        self.process = process
        self.leases = Leases()
        self.now = 0.0
        """The ledger's clock, in seconds. It stands still while this node has no lease: nobody can come back then."""
        self._tenants = tenants
        self._records = Records()
        self._vacancies = Vacancies()
        self._wanted: set[Life] = set()

    # Questions

    def holder(self, place: Place) -> Claim | None:
        """The claim of the peer that has this address; None if nobody has it."""
        record = self._records.get(place)
        return None if record is None else record.holder

    def holder_of_key(self, tenant_id: TenantId, key: PublicKey) -> Claim | None:
        record = self._records.of_key(tenant_id, key)
        return None if record is None else record.holder

    def holds(self, claim: Claim) -> bool:
        """Whether the peer of this claim is in its tenant, in this turn of this stay."""
        return (holder := self.holder(claim.place)) is not None and holder.life == claim.life

    def stands(self, place: Place) -> bool:
        """Whether the claim of the peer that has this address is in the stream."""
        record = self._records.get(place)
        return record is not None and record.holder is not None and record.state is not State.UNBACKED

    def is_away_elsewhere(self, place: Place) -> bool:
        """Whether the other nodes take the peer that has this address for away, as the lease of its claim has ended."""
        record = self._records.get(place)
        if record is None or record.holder is None or record.last is None or record.state is not State.UNBACKED:
            return False
        return record.last.stay.id == record.holder.stay.id and self._is_away(record.last)

    def sequences(self, claim: Claim) -> tuple[int, int]:
        """The last messages on the subjects of the claim's key and address, as far as is known; 0 for none."""
        holder = self.holder(claim.place)
        if holder is not None and holder.stay.id == claim.stay.id:
            return key_sequence(holder), holder.sequence
        return self._vacancies.sequences(claim)

    def claims_in(self, state: State) -> list[Claim]:
        """The claims of all addresses in this state: those of the holders; in STALE those that have to be taken out."""
        claims = [record.holder or record.last for record in self._records.in_state(state)]
        return [claim for claim in claims if claim is not None]

    def to_put_back(self) -> list[Claim]:
        """The claims of peers that are connected here, but have no claim in the stream."""
        return [claim for claim in self.claims_in(State.UNBACKED) if self._is_ours(claim)]

    def away_for(self, seconds: float) -> list[Claim]:
        """The claims of peers that have been AWAY for at least so long."""
        records = self._records.in_state(State.AWAY)
        return [record.holder for record in records if record.holder and self.now - record.since >= seconds]

    def covered_keys(self) -> list[Claim]:
        """See Vacancies.covered_keys."""
        return self._vacancies.covered_keys()

    def forget_key(self, claim: Claim) -> None:
        """See Vacancies.forget_key."""
        self._vacancies.forget_key(claim)

    def is_settled(self) -> bool:
        """Whether the stream holds all claims of this process."""
        return not self.to_put_back()

    # Said by this node

    def want(self, life: Life) -> None:
        """The peer is connected here by this turn of its stay, or is about to be."""
        self._wanted.add(life)

    def unwant(self, life: Life) -> None:
        """The peer is about to leave."""
        self._wanted.discard(life)

    def disown(self, claim: Claim, cause: LeaveCause = LeaveCause.LEFT) -> None:
        """The stay is over: its claim has to be taken out of the stream."""
        self.unwant(claim.life)
        record = self._records.get(claim.place)
        if record is not None and record.holder is not None and record.holder.life == claim.life:
            if record.state is State.UNBACKED:
                self._let_go(record, cause)
            else:
                self._move(claim.place, Sight.GONE, record.holder.ending(cause))

    def abandon(self, claim: Claim) -> None:
        """The peer was to be connected here by this claim, and is not. If the claim gets into the stream after all, the
        peer is away.
        """
        self.unwant(claim.life)
        record = self._records.get(claim.place)
        if record is not None and record.state is State.BACKED and record.holder and record.holder.life == claim.life:
            self._see_claim(record.holder, LeaveCause.LEFT)

    def _let_go(self, record: Record, cause: LeaveCause) -> None:
        """Nobody will put this claim back: its peer leaves, and the address is as the stream says."""
        if record.holder is not None:
            with self._tenants.unnumbered():
                self._move(record.holder.place, Sight.VOID if record.last else Sight.FREE, record.last, cause)

    # One address

    def _is_ours(self, claim: Claim) -> bool:
        return process_of(claim.node) == self.process

    def _is_away(self, claim: Claim) -> bool:
        """Whether the peer of a claim whose node has no lease may still come back.

        A claim that has come after the end of its node's lease never stood. But what resumes a session goes on with
        what stood before: the peer is as much in as it was.
        """
        end = self.leases.end_of(claim.node)
        stood = end is not None and claim.sequence < end.sequence
        return claim.node != "" and claim.stay.has_session and (stood or claim.stay.turn > 0)

    def _see_claim(self, claim: Claim, cause: LeaveCause) -> None:
        sight = self._sight(claim)
        if sight not in STANDING:
            self._vacancies.remember(claim)
        self._move(claim.place, sight, claim, cause)

    def _sight(self, claim: Claim) -> Sight:
        record = self._records.get(claim.place)
        state, holder = (State.VACANT, None) if record is None else (record.state, record.holder)
        is_ghost = state is State.GHOST and holder is not None and holder.life == claim.life
        if claim.node in self.leases:
            if not self._is_ours(claim) or claim.life in self._wanted:
                return Sight.CLAIM
            return Sight.AWAY if claim.stay.turn > 0 and not is_ghost else Sight.UNWANTED
        if holder is not None and (claim.life == holder.life or not claim.continues(holder)):
            # A lease may be heard of after its claims: who is being put back is not out yet.
            is_back = state is State.UNBACKED and claim.node != "" and claim.stay.id == holder.stay.id
            if (holder.life in self._wanted or is_back) and not claim.ends(holder):
                return Sight.LAPSE
        if self._is_away(claim):
            return Sight.UNWANTED if is_ghost else Sight.AWAY
        return Sight.VOID if claim.node else Sight.FREE

    def _move(self, place: Place, sight: Sight, claim: Claim | None, cause: LeaveCause = LeaveCause.LEFT) -> None:
        """Apply what is seen of an address; `claim` is what the stream's last message on it says."""
        record = self._records.get(place)
        state = TRANSITIONS[record.state if record else State.VACANT][sight]
        holder = record.holder if record else None
        if claim is not None and sight in STANDING:
            if holder is not None and state is State.GHOST:
                claim = claim.ending(holder.cause)
            if record is not None and record.last is not None and record.last.node not in self.leases:
                self._vacancies.cover(record.last, claim)
            if self._succeed(record, claim):
                since = self._away_since(record, claim) if state is State.AWAY else 0.0
                self._records.put(place, Record(state, claim, claim, since))
        elif holder is not None and state is State.UNBACKED:
            self._unback(place, holder, claim, has_left_elsewhere=claim is None or not self._is_away(claim))
        elif holder is not None and state is State.GHOST:
            self._records.put(place, Record(state, claim, claim))
        else:
            if holder is not None:
                self._leave(holder, cause)
            self._records.put(place, Record(state, None, claim) if state is State.STALE else None)

    def _away_since(self, record: Record | None, claim: Claim) -> float:
        if record is not None and record.state is State.AWAY and record.holder and record.holder.life == claim.life:
            return record.since
        end = self.leases.end_of(claim.node)
        return self.now if end is None else end.at

    def _succeed(self, record: Record | None, claim: Claim) -> bool:
        """Have the claim's peer at its address, whoever was there. Returns whether it is."""
        holder = record.holder if record is not None else None
        if record is None or holder is None or not claim.continues(holder):
            return self._join(claim, holder)
        if holder.life != claim.life:
            self._wanted.discard(holder.life)
        self._tenants.go_on(holder.stay, claim.stay)
        if record.has_left_elsewhere:
            self._tenants.go_on_unnumbered(claim.stay)
        return True

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
        self._wanted.discard(claim.life)
        self._tenants.leave(claim.stay, cause)

    def _unback(self, place: Place, holder: Claim, last: Claim | None, has_left_elsewhere: bool) -> None:
        record = self._records.get(place)
        has_left = has_left_elsewhere or (record is not None and record.has_left_elsewhere)
        last_claim = last if last is not None and last.node else None
        holder = replace(holder, sequence=last.sequence if last else 0)
        self._records.put(place, Record(State.UNBACKED, holder, last_claim, has_left_elsewhere=has_left))
