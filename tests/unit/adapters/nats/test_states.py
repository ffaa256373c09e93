"""The table of states against a ledger: each state is brought about, and shown all that can be seen in it."""

from collections.abc import Callable
from ipaddress import IPv4Network

import pytest

from tests.builders import ACME, a_peer
from wg_orchestrator.adapters.nats.claim import Claim
from wg_orchestrator.adapters.nats.leases import Lease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.snapshot import Snapshot
from wg_orchestrator.adapters.nats.states import PRESENT, TRANSITIONS, Sight, State
from wg_orchestrator.adapters.nats.tenants import Tenants
from wg_orchestrator.domain.session import NO_SESSION, digest
from wg_orchestrator.domain.stay import Stay, StayId

LEASE = Lease(1, 0.0, settled=False)
SESSION = digest("a session's secret")


class Address:
    """One address in the ledger of process `me`, whose present lease is `me-1`; `you-1` is another node's."""

    def __init__(self) -> None:
        self.tenants = Tenants(IPv4Network("100.64.0.0/10"), 100)
        self.ledger = Ledger(self.tenants, "me")
        self._sequence = 10
        for node in ("me-1", "you-1"):
            self.ledger.see_lease(node, LEASE, 1)

    def state(self) -> State:
        states = [state for state in State if self.ledger.claims_in(state)]
        return states[0] if states else State.VACANT

    @property
    def is_present(self) -> bool:
        return bool(self.tenants.get(ACME).stays)

    def claim(self, node: str, stay: str, peer: int = 1, turn: int | None = None) -> None:
        """A claim of a session, if it has a turn."""
        self._sequence += 2
        session = NO_SESSION if turn is None else SESSION
        held = Stay(StayId(stay), ACME, a_peer(peer, "100.64.0.1"), session, turn or 0)
        self.last = Claim(held, node, self._sequence)
        self.ledger.see_claim(self.last)

    def end_lease(self, node: str) -> None:
        self._sequence += 1
        self.ledger.see_lease(node, None, self._sequence)


def vacant(address: Address) -> None:
    pass


def backed(address: Address) -> None:
    address.ledger.want((StayId("me-1"), 0))
    address.claim("me-1", "me-1")


def ghost(address: Address) -> None:
    backed(address)
    address.ledger.disown(address.last)


def unbacked(address: Address) -> None:
    backed(address)
    address.end_lease("me-1")
    address.ledger.see_lease("me-2", LEASE, 50)


def away(address: Address) -> None:
    address.ledger.see_lease("them-1", LEASE, 60)
    address.claim("them-1", "them-1", turn=3)
    address.end_lease("them-1")


def stale(address: Address) -> None:
    address.claim("dead-1", "dead-1")


STATES: dict[State, Callable[[Address], None]] = {
    State.VACANT: vacant,
    State.BACKED: backed,
    State.GHOST: ghost,
    State.UNBACKED: unbacked,
    State.AWAY: away,
    State.STALE: stale,
}
SIGHTS: dict[Sight, Callable[[Address], None]] = {
    Sight.CLAIM: lambda address: address.claim("you-1", "you-9", 2),
    Sight.UNWANTED: lambda address: address.claim("me-2" if "me-2" in address.ledger.leases else "me-1", "me-9", 2),
    Sight.AWAY: lambda address: address.claim("gone-1", "gone-1", 2, turn=1),
    Sight.VOID: lambda address: address.claim("gone-1", "gone-1", 2),
    Sight.FREE: lambda address: address.claim("", "", 2),
    Sight.LAPSE: lambda address: address.claim("gone-1", "gone-1", 2),
    Sight.GONE: lambda address: address.ledger.disown(address.last),
}


def shown(state: State, sight: Sight) -> Address:
    address = Address()
    STATES[state](address)
    assert address.state() is state
    if sight in (Sight.VOID, Sight.FREE, Sight.AWAY) and state in (State.BACKED, State.UNBACKED):
        address.ledger.unwant(address.ledger.claims_in(state)[0].life)  # Else it would be a lapse.
    SIGHTS[sight](address)
    return address


@pytest.mark.parametrize(("state", "sight"), [(state, sight) for state, row in TRANSITIONS.items() for sight in row])
def test_what_is_seen_of_an_address_does_what_the_table_says(state: State, sight: Sight) -> None:
    address = shown(state, sight)
    assert address.state() is TRANSITIONS[state][sight]
    assert address.is_present == (address.state() in PRESENT)


def test_every_state_has_a_row_and_leads_to_a_state_that_can_be_left() -> None:
    assert TRANSITIONS.keys() == set(State) == STATES.keys()
    assert SIGHTS.keys() == set(Sight)
    assert {state for row in TRANSITIONS.values() for state in row.values()} == set(State)


def test_only_who_is_present_can_lapse_or_go() -> None:
    assert {state for state in State if Sight.LAPSE in TRANSITIONS[state]} <= PRESENT
    assert {state for state in State if Sight.GONE in TRANSITIONS[state]} <= PRESENT
    assert {
        state for state in State if {Sight.CLAIM, Sight.UNWANTED, Sight.VOID, Sight.FREE} <= TRANSITIONS[state].keys()
    } == (set(State))


def test_who_left_is_forgotten_here_and_cleared_in_the_stream_however_it_went() -> None:
    """An unbacked peer whose connection ends: what is left at its address is what the stream says."""
    for claims, expected in ((False, State.VACANT), (True, State.STALE)):
        address = Address()
        backed(address)
        if claims:
            address.end_lease("me-1")
        else:
            address.claim("", "")
        assert address.state() is State.UNBACKED
        address.ledger.disown(address.ledger.claims_in(State.UNBACKED)[0])
        assert address.state() is expected
        assert not address.is_present


def test_a_key_whose_address_was_taken_before_its_void_claim_was_cleared_is_cleared_too() -> None:
    address = Address()
    stale(address)
    void = address.last
    address.claim("you-1", "you-9", 2)
    assert address.ledger.covered_keys() == [void]
    address.ledger.forget_key(void)
    assert address.ledger.covered_keys() == []


def test_a_peer_that_is_being_put_back_is_in_although_its_node_s_lease_was_not_heard_of() -> None:
    """After the store was lost: a renewal may have replaced a lease's first message before it got here."""
    address = Address()
    address.claim("you-1", "you-7")

    address.ledger.reconcile(Snapshot(leases={"me-2": LEASE}), store_was_lost=True, sequence=60)
    assert address.state() is State.UNBACKED
    address._sequence = 60
    address.claim("you-2", "you-7")
    assert address.is_present
    address.ledger.see_lease("you-2", LEASE, 70)
    assert address.state() is State.BACKED
