"""Sessions in the ledger: a stay that outlives its connection and its node."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from tests.builders import ACME, a_name, a_peer, peers_of
from wg_orchestrator.adapters.nats.claim import Claim
from wg_orchestrator.adapters.nats.epoch import Epoch
from wg_orchestrator.adapters.nats.leases import Lease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.snapshot import Snapshot
from wg_orchestrator.adapters.nats.states import State
from wg_orchestrator.adapters.nats.tenants import PLACES, Tenants
from wg_orchestrator.domain.events import Committed, LeaveCause, PeerJoined, PeerLeft, PeerResumed, PeerUpdated
from wg_orchestrator.domain.session import NO_SESSION, digest
from wg_orchestrator.domain.stay import Stay, StayId

SESSION = digest("a secret")
LEASE = Lease(1, 0.0, settled=True)
UNSETTLED = Lease(1, 0.0, settled=False)
EPOCH = Epoch("0123456789abcdef", is_open=True, sequence=1)


class Book(Ledger):
    """A node's ledger, and the events that it has told. Three nodes have a lease: `me-1`, `you-1` and `them-1`."""

    def __init__(self, process: str = "me") -> None:
        self.tenants = Tenants(IPv4Network("100.64.0.0/10"), 100)
        super().__init__(self.tenants, process)
        self.told: list[Committed] = []
        self.tenants.follow(self.told.append)
        for node in ("me-1", "you-1", "them-1"):
            self.see_lease(node, LEASE, 1)

    def kinds(self) -> list[type]:
        return [type(committed.event) for committed in self.told]


def a_claim(number: int, sequence: int, node: str = "you-1", turn: int = 0, stay: str | None = None) -> Claim:
    """A claim of a session that began as `you-<number>`."""
    return Claim(Stay(StayId(stay or f"you-{number}"), ACME, a_peer(number), SESSION, turn), node, sequence)


def v1_claim(number: int, sequence: int, node: str = "you-1") -> Claim:
    claim = a_claim(number, sequence, node)
    return replace(claim, stay=replace(claim.stay, session=NO_SESSION))


def test_with_a_node_only_the_peers_without_a_session_leave() -> None:
    book = Book()
    book.see_claim(a_claim(1, 10))
    book.see_claim(v1_claim(2, 12))
    book.see_lease("you-1", None, 20)
    assert book.kinds() == [PeerJoined, PeerJoined, PeerLeft]
    assert peers_of(book.tenants.get(ACME)) == [a_peer(1)]
    assert [claim.peer for claim in book.claims_in(State.AWAY)] == [a_peer(1)]


def test_a_peer_that_is_away_is_to_be_taken_out_when_its_grace_is_over_and_leaves_then() -> None:
    book = Book()
    book.now = 100.0
    book.see_claim(a_claim(1, 10))
    book.see_lease("you-1", None, 20)
    book.now = 159.0
    assert book.away_for(60.0) == []
    book.now = 160.0
    (claim,) = book.away_for(60.0)
    book.see_claim(replace(claim.vacated(), sequence=30))
    assert book.kinds() == [PeerJoined, PeerLeft]
    assert book.told[-1].revision == 30 * PLACES


def test_a_session_goes_on_at_another_node_and_nobody_leaves() -> None:
    book = Book()
    book.see_claim(a_claim(1, 10))
    book.see_lease("you-1", None, 20)
    book.see_claim(a_claim(1, 22, "them-1", turn=1))
    assert book.kinds() == [PeerJoined, PeerResumed]
    assert book.claims_in(State.AWAY) == []
    book.see_lease("them-1", None, 30)
    assert book.kinds() == [PeerJoined, PeerResumed]
    assert [claim.life for claim in book.claims_in(State.AWAY)] == [("you-1", 1)]


def test_a_peer_that_was_connected_here_and_has_resumed_elsewhere_is_not_put_back() -> None:
    book = Book()
    book.want((StayId("me-7"), 0))
    book.see_claim(a_claim(1, 10, "me-1", stay="me-7"))
    book.see_claim(a_claim(1, 12, "you-1", turn=1, stay="me-7"))
    book.see_lease("you-1", None, 20)
    assert book.to_put_back() == []
    assert [claim.life for claim in book.claims_in(State.AWAY)] == [("me-7", 1)]


def test_a_peer_that_is_connected_here_is_put_back_and_nobody_is_told() -> None:
    book = Book()
    book.want((StayId("me-7"), 0))
    book.see_claim(a_claim(1, 10, "me-1", stay="me-7"))
    book.see_lease("me-1", None, 20)
    assert [claim.life for claim in book.to_put_back()] == [("me-7", 0)]
    book.see_lease("me-2", LEASE, 21)
    book.see_claim(a_claim(1, 23, "me-2", stay="me-7"))
    assert book.kinds() == [PeerJoined]


@pytest.mark.parametrize(("turn", "kinds"), [(0, []), (1, [PeerJoined])])
def test_what_comes_after_the_end_of_its_lease_begins_no_session_but_resumes_one(turn: int, kinds: list[type]) -> None:
    book = Book()
    book.see_lease("you-1", None, 20)
    book.see_claim(a_claim(1, 22, "you-1", turn=turn))
    assert book.kinds() == kinds
    assert len(book.claims_in(State.STALE if turn == 0 else State.AWAY)) == 1


def test_a_join_that_comes_too_late_is_a_ghost_and_a_resumption_is_away() -> None:
    book = Book()
    book.see_claim(a_claim(1, 10, "me-1", stay="me-1"))
    book.see_claim(a_claim(2, 12, "me-1", turn=1))
    assert [claim.peer for claim in book.claims_in(State.GHOST)] == [a_peer(1)]
    assert [claim.peer for claim in book.claims_in(State.AWAY)] == [a_peer(2)]


def test_a_ghost_with_a_session_does_not_come_back_to_life_with_the_end_of_its_lease() -> None:
    book = Book()
    book.want((StayId("me-7"), 1))
    book.see_claim(claim := a_claim(1, 10, "me-1", turn=1, stay="me-7"))
    book.disown(claim)
    book.see_lease("me-1", None, 20)
    assert [claim.life for claim in book.claims_in(State.GHOST)] == [("me-7", 1)]


def test_a_resumption_that_is_abandoned_leaves_the_peer_away() -> None:
    book = Book()
    claim = a_claim(1, 12, "me-1", turn=1)
    book.see_claim(a_claim(1, 10))
    book.want(claim.life)
    book.see_claim(claim)
    book.abandon(claim)
    assert [held.life for held in book.claims_in(State.AWAY)] == [claim.life]
    assert book.kinds() == [PeerJoined, PeerResumed]


def test_a_claim_may_say_that_a_stay_goes_on_with_another_name_in_another_turn() -> None:
    """Messages in between were replaced before they came."""
    book = Book()
    book.see_claim(a_claim(1, 10))
    later = a_claim(1, 40, "them-1", turn=4)
    peer = replace(later.peer, display_name=a_name(9))
    book.see_claim(replace(later, stay=replace(later.stay, peer=peer)))
    assert book.kinds() == [PeerJoined, PeerResumed, PeerUpdated]
    assert [committed.revision for committed in book.told[1:]] == [40 * PLACES, 40 * PLACES + 1]
    assert peers_of(book.tenants.get(ACME)) == [peer]


def test_a_snapshot_says_since_when_peers_are_away() -> None:
    book = Book()
    book.now = 1000.0
    snapshot = Snapshot({}, {"me-1": LEASE}, epoch=EPOCH)
    for claim in (a_claim(1, 10), a_claim(2, 12, "them-1"), a_claim(3, 14, "lost-1", turn=2)):
        snapshot.see_claim(claim)
    snapshot.time = 500.0
    snapshot.see_lease("you-1", None, 20)
    snapshot.time = 530.0
    snapshot.see_lease("them-1", None, 30)
    snapshot.time = 540.0
    snapshot.see_lease("lost-1", None, 0)  # The stream has forgotten it: that is longer ago than any grace.
    book.reconcile(snapshot, store_was_lost=False, sequence=50)
    assert {claim.peer for claim in book.away_for(40.0)} == {a_peer(1), a_peer(3)}
    assert {claim.peer for claim in book.away_for(10.0)} == {a_peer(1), a_peer(2), a_peer(3)}
    assert {claim.peer for claim in book.away_for(41.0)} == {a_peer(3)}


def test_all_nodes_tell_the_same_events_with_the_same_revisions() -> None:
    books = [Book(process) for process in ("me", "you", "them")]
    for process in ("me", "you", "them"):  # Each has a peer of its own, connected there.
        books[["me", "you", "them"].index(process)].want((StayId(f"{process}-5"), 0))
    others = {"me-1": "me-5", "you-1": "you-5", "them-1": "them-5"}
    for book in books:
        for number, (node, stay) in enumerate(others.items(), 1):
            book.see_claim(a_claim(number, 10 * number, node, stay=stay))
        book.see_claim(v1_claim(4, 42, "dead-0"))
        book.see_lease("gone-1", LEASE, 44)
        for number in (7, 6, 5):
            gone = Stay(StayId(f"gone-{number}"), ACME, a_peer(number))
            book.see_claim(Claim(gone, "gone-1", 60 - number))
        book.see_claim(a_claim(1, 62, "them-1", turn=1, stay="me-5"))
        book.see_lease("gone-1", None, 64)  # Three leaves in one message.
        book.see_lease("you-1", None, 65)  # Away on the others, and connected on its own.
        book.see_claim(a_claim(2, 67, "them-1", turn=1, stay="you-5"))
        book.unwant((StayId("them-5"), 0))  # Its own node has it leave.
        book.see_claim(replace(a_claim(3, 69).vacated(), sequence=69))
    first, *rest = books
    assert [PeerJoined] * 6 + [PeerResumed] + [PeerLeft] * 3 + [PeerResumed, PeerLeft] == first.kinds()
    for book in rest:
        assert book.told == first.told
    assert all(committed.is_numbered for committed in first.told)


def test_revisions_go_on_over_the_loss_of_the_store() -> None:
    book = Book()
    book.reconcile(Snapshot({}, {"you-1": LEASE}, epoch=EPOCH), store_was_lost=True, sequence=5)
    book.see_claim(a_claim(1, 70))
    begun = Epoch("fedcba9876543210", is_open=True, sequence=1, base=EPOCH.base_after(70))
    book.reconcile(Snapshot({}, {"you-2": UNSETTLED}, epoch=begun), store_was_lost=True, sequence=3)
    book.see_claim(a_claim(1, 5, "you-2"))
    book.see_claim(a_claim(2, 7, "you-2"))
    assert book.kinds() == [PeerJoined, PeerJoined]
    assert book.told[-1].revision == (begun.base + 7) * PLACES
    assert book.told[-1].is_numbered


def test_a_node_that_is_ahead_of_a_new_epoch_s_numbers_says_that_they_begin_anew() -> None:
    book = Book()
    book.reconcile(Snapshot({}, {"you-1": LEASE}, epoch=EPOCH), store_was_lost=True, sequence=5)
    book.see_claim(a_claim(1, 70))
    begun = Epoch("fedcba9876543210", is_open=True, sequence=1)
    book.reconcile(Snapshot({}, {"you-2": UNSETTLED}, epoch=begun), store_was_lost=True, sequence=3)
    assert not book.told[-1].is_numbered
    assert book.told[-1].revision == 4 * PLACES - 1  # The last one of message 3, which nobody else gives.
    book.see_claim(a_claim(2, 7, "you-2"))
    assert (book.told[-1].revision, book.told[-1].is_numbered) == (7 * PLACES, True)


def test_what_a_gap_has_hidden_is_told_without_a_number() -> None:
    book = Book()
    book.see_claim(v1_claim(1, 10))
    snapshot = Snapshot({}, {"you-1": LEASE}, epoch=EPOCH)
    snapshot.see_claim(a_claim(2, 30))
    book.reconcile(snapshot, store_was_lost=False, sequence=50)
    assert [(type(told.event), told.is_numbered) for told in book.told] == [
        (PeerJoined, True),
        (PeerLeft, False),
        (PeerJoined, False),
    ]
    # No event that another node has numbered by the same message has this revision, and the next one is above it.
    assert {told.revision for told in book.told[1:]} == {51 * PLACES - 1}
    book.see_claim(a_claim(3, 51))
    assert (book.told[-1].revision, book.told[-1].is_numbered) == (51 * PLACES, True)


def test_the_end_of_a_lease_is_remembered_while_somebody_is_away_by_it() -> None:
    book = Book()
    book.see_claim(a_claim(1, 10))
    book.see_lease("you-1", None, 20)
    book.see_lease("them-1", None, 21)
    assert book.leases.end_of("you-1") is not None
    assert book.leases.end_of("them-1") is None
    book.see_claim(replace(a_claim(1, 30).vacated(), sequence=30))
    book.see_lease("me-1", None, 40)
    assert book.leases.end_of("you-1") is None


def test_a_peer_that_has_left_elsewhere_during_a_gap_is_not_put_back() -> None:
    """It was away here. On another node it came back and left, and this node did not hear of that."""
    book = Book()
    claim = a_claim(1, 10, "me-1", stay="me-1")
    book.want(claim.life)
    book.see_claim(claim)
    snapshot = Snapshot({}, {"me-1": LEASE}, epoch=EPOCH)
    snapshot.see_claim(replace(a_claim(1, 0, "you-1", turn=1, stay="me-1").vacated(), sequence=30))
    book.reconcile(snapshot, store_was_lost=False, sequence=50)
    assert (book.kinds(), book.to_put_back()) == ([PeerJoined, PeerLeft], [])


def test_a_peer_that_has_left_elsewhere_is_out_although_its_return_there_was_never_seen() -> None:
    book = Book()
    claim = a_claim(1, 10, "me-1", stay="me-1")
    book.want(claim.life)
    book.see_claim(claim)
    book.see_claim(replace(claim.vacated(), sequence=30))
    assert (book.kinds(), book.to_put_back()) == ([PeerJoined, PeerLeft], [])


def test_a_peer_that_was_taken_out_as_lost_and_is_here_is_put_back() -> None:
    book = Book()
    claim = a_claim(1, 10, "me-1", stay="me-1")
    book.want(claim.life)
    book.see_claim(claim)
    snapshot = Snapshot({}, {"me-1": LEASE}, epoch=EPOCH)
    snapshot.see_claim(replace(claim.vacated().ending(LeaveCause.LOST), sequence=30))
    book.reconcile(snapshot, store_was_lost=False, sequence=50)
    assert book.kinds() == [PeerJoined]
    assert [claim.peer for claim in book.to_put_back()] == [a_peer(1)]


def test_a_peer_whose_lease_has_ended_is_away_elsewhere_until_its_claim_is_put_back_or_taken_out() -> None:
    book = Book()
    claim = a_claim(1, 10, "me-1", stay="me-1")
    book.want(claim.life)
    book.see_claim(claim)
    assert not book.is_away_elsewhere(claim.place)
    book.see_lease("me-1", None, 20)
    book.see_lease("me-2", LEASE, 21)
    assert book.is_away_elsewhere(claim.place)
    book.unwant(claim.life)
    book.see_claim(replace(claim.vacated(), sequence=30))
    assert (book.kinds(), book.told[-1].is_numbered) == ([PeerJoined, PeerLeft], True)
    assert not book.is_away_elsewhere(claim.place)


def test_a_v1_peer_whose_lease_has_ended_is_not_away_elsewhere_but_gone() -> None:
    book = Book()
    claim = replace(v1_claim(1, 10, "me-1"), stay=replace(v1_claim(1, 10).stay, id=StayId("me-1")))
    book.want(claim.life)
    book.see_claim(claim)
    book.see_lease("me-1", None, 20)
    assert not book.is_away_elsewhere(claim.place)
