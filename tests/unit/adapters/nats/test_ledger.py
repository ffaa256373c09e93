from ipaddress import IPv4Network, ip_network

import pytest

from tests.builders import ACME, GLOBEX, a_key, a_name, a_newcomer, a_peer, peers_of
from tests.fakes import Joined, Left, Told, Updated, told
from wg_orchestrator.adapters.nats.claim import Claim, ClaimReader, Place, encode
from wg_orchestrator.adapters.nats.leases import Lease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.names import Unreadable
from wg_orchestrator.adapters.nats.snapshot import Snapshot
from wg_orchestrator.adapters.nats.states import State
from wg_orchestrator.adapters.nats.subjects import Subjects
from wg_orchestrator.adapters.nats.tenants import PLACES, Tenants
from wg_orchestrator.domain.events import Committed, LeaveCause, PeerLeft
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId

STAY = StayId("me-9")
LEASE = Lease(1, 0.0, settled=True)
UNSETTLED = Lease(1, 0.0, settled=False)


class Followed(Ledger):
    """The ledger of process `me`, and what it tells. `you-1` and `them-1` are other nodes."""

    def __init__(self) -> None:
        self.tenants = Tenants(IPv4Network("100.64.0.0/10"), 100)
        super().__init__(self.tenants, "me")
        self.told: list[Told] = []
        self.committed: list[Committed] = []
        self.tenants.follow(self._hear)
        for node in ("me-1", "you-1", "them-1"):
            self.see_lease(node, LEASE, 100)

    def _hear(self, committed: Committed) -> None:
        if (news := told(committed)) is not None:
            self.told.append(news)
        self.committed.append(committed)

    def just_told(self) -> list[Told]:
        told = self.told[:]
        self.told.clear()
        return told


@pytest.fixture
def ledger() -> Followed:
    return Followed()


def a_claim(peer: Peer, sequence: int, node: str = "you-1", stay: int | None = None) -> Claim:
    process = node.partition("-")[0]
    stay_id = f"{process}-{sequence if stay is None else stay}" if node else ""
    return Claim(Stay(StayId(stay_id), ACME, peer), node, sequence)


def places(ledger: Ledger, state: State) -> set[Place]:
    return {claim.place for claim in ledger.claims_in(state)}


def snapshot(*claims: Claim, nodes: tuple[str, ...] = ("me-1", "you-1", "them-1"), settled: bool = True) -> Snapshot:
    return Snapshot({claim.place: claim for claim in claims}, dict.fromkeys(nodes, LEASE if settled else UNSETTLED))


def test_a_claim_joins_and_a_vacancy_leaves(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(1), 3, node=""))
    assert ledger.told == [Joined(a_peer(1)), Left(a_peer(1))]
    assert ledger.tenants.count() == 0


def test_who_was_at_an_address_has_left_before_the_next_one_is_there(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(2, "100.64.0.1"), 5))
    assert ledger.told[1:] == [Left(a_peer(1)), Joined(a_peer(2, "100.64.0.1"))]


def test_a_key_has_left_its_last_address_before_it_is_at_another(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(1, "100.64.0.7"), 5))
    ledger.see_claim(a_claim(a_peer(2, "100.64.0.1"), 7))
    assert ledger.told[1:] == [Left(a_peer(1)), Joined(a_peer(1, "100.64.0.7")), Joined(a_peer(2, "100.64.0.1"))]


def test_both_the_address_and_the_key_may_have_changed_hands_unseen(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(2), 3))
    ledger.see_claim(a_claim(Peer(a_name(9), a_key(1), a_peer(2).virtual_ip), 11))
    assert set(ledger.told[2:4]) == {Left(a_peer(1)), Left(a_peer(2))}
    assert ledger.told[4:] == [Joined(Peer(a_name(9), a_key(1), a_peer(2).virtual_ip))]


def test_another_stay_of_an_equal_peer_is_a_leave_and_a_join(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(1), 9, "them-1"))
    assert ledger.told[1:] == [Left(a_peer(1)), Joined(a_peer(1))]


def test_the_same_stay_under_a_new_lease_is_no_event(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1, stay=1))
    ledger.see_lease("you-2", LEASE, 100)
    ledger.see_claim(a_claim(a_peer(1), 7, "you-2", stay=1))
    ledger.see_lease("you-1", None, 100)
    assert ledger.told == [Joined(a_peer(1))]


def test_with_a_lease_all_claims_of_its_node_end_once(ledger: Followed) -> None:
    for number in (1, 2):
        ledger.see_claim(a_claim(a_peer(number), number))
    ledger.see_claim(a_claim(a_peer(3), 3, "them-1"))
    ledger.just_told()
    ledger.see_lease("you-1", None, 100)
    ledger.see_lease("you-1", None, 100)
    assert set(ledger.just_told()) == {Left(a_peer(1)), Left(a_peer(2))}
    assert places(ledger, State.STALE) == {(ACME, a_peer(1).virtual_ip), (ACME, a_peer(2).virtual_ip)}
    ledger.see_claim(a_claim(a_peer(4), 8, "you-1"))
    ledger.see_claim(a_claim(a_peer(1), 9, ""))
    assert ledger.just_told() == []


def test_a_lease_may_be_heard_of_after_its_claims(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 4, "new-1"))
    assert ledger.just_told() == []
    ledger.see_lease("new-1", LEASE, 100)
    assert ledger.just_told() == [Joined(a_peer(1))]
    assert ledger.claims_in(State.STALE) == []


def test_a_snapshot_says_which_leases_it_lacks() -> None:
    lacking = snapshot(a_claim(a_peer(1), 4, "new-1"), a_claim(a_peer(2), 5, "gone-1"), a_claim(a_peer(3), 6, ""))
    lacking.see_lease("gone-1", None, 100)
    assert lacking.missing_leases(["me-1", "old-1"]) == {"new-1", "old-1"}


def test_the_peers_that_are_connected_here_stay_when_the_lease_ends(ledger: Followed) -> None:
    ledger.want((StayId("me-1"), 0))
    ledger.see_claim(a_claim(a_peer(1), 4, "me-1", stay=1))
    ledger.see_lease("me-1", None, 100)
    ledger.see_claim(a_claim(a_peer(1), 6, ""))
    assert ledger.just_told() == [Joined(a_peer(1))]
    (orphan,) = ledger.claims_in(State.UNBACKED)
    assert ledger.sequences(orphan) == (5, 6)
    assert not ledger.is_settled()
    ledger.see_lease("me-2", UNSETTLED, 100)
    ledger.see_claim(a_claim(a_peer(1), 8, "me-2", stay=1))
    assert ledger.is_settled()
    # Nothing has changed here. But the others were told that it left and joined.
    assert ledger.just_told() == [Updated(a_peer(1))]
    assert not ledger.committed[-1].is_numbered


def test_a_peer_whose_place_was_taken_meanwhile_is_let_go(ledger: Followed) -> None:
    ledger.want((StayId("me-1"), 0))
    ledger.see_claim(a_claim(a_peer(1), 4, "me-1", stay=1))
    ledger.see_lease("me-1", None, 100)
    ledger.see_claim(a_claim(a_peer(1), 6, "you-1"))
    assert ledger.told[1:] == [Left(a_peer(1)), Joined(a_peer(1))]
    assert not ledger._wanted


def test_what_this_process_does_not_want_is_a_ghost(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 4, "me-1"))
    assert places(ledger, State.GHOST) == {(ACME, a_peer(1).virtual_ip)}
    ledger.see_claim(a_claim(a_peer(1), 6, ""))
    assert ledger.claims_in(State.GHOST) == []
    assert ledger.told == [Joined(a_peer(1)), Left(a_peer(1))]


def test_whoever_is_disowned_while_the_stream_does_not_hold_it_leaves_at_once(ledger: Followed) -> None:
    ledger.want((StayId("me-1"), 0))
    ledger.see_claim(claim := a_claim(a_peer(1), 4, "me-1", stay=1))
    ledger.see_lease("me-1", None, 100)
    ledger.disown(claim)
    ledger.disown(claim)
    assert ledger.told == [Joined(a_peer(1)), Left(a_peer(1))]


def test_a_snapshot_makes_up_for_what_was_missed(ledger: Followed) -> None:
    for number in (1, 2, 3):
        ledger.see_claim(a_claim(a_peer(number), number, stay=number))
    ledger.just_told()
    stays, moved, new = a_claim(a_peer(1), 1, stay=1), a_claim(a_peer(2, "100.64.0.3"), 20), a_claim(a_peer(4), 21)
    ledger.reconcile(snapshot(stays, a_claim(a_peer(2), 19, ""), moved, new), store_was_lost=False, sequence=200)
    told = ledger.just_told()
    assert set(told[:2]) == {Left(a_peer(2)), Left(a_peer(3))}
    assert told[2:] == [Joined(a_peer(2, "100.64.0.3")), Joined(a_peer(4))]
    ledger.reconcile(snapshot(stays, moved, new), store_was_lost=False, sequence=200)
    assert ledger.just_told() == []
    ledger.reconcile(snapshot(stays, moved, new, nodes=("me-1",)), store_was_lost=False, sequence=200)
    assert set(ledger.just_told()) == {Left(a_peer(1)), Left(a_peer(2, "100.64.0.3")), Left(a_peer(4))}


def test_after_the_loss_of_the_store_nobody_leaves_who_is_put_back(ledger: Followed) -> None:
    ledger.want((StayId("me-1"), 0))
    ledger.see_claim(a_claim(a_peer(1), 4, "me-1", stay=1))
    ledger.see_claim(a_claim(a_peer(2), 6, "you-1", stay=2))
    ledger.see_claim(a_claim(a_peer(3), 8, "them-1", stay=3))
    ledger.see_claim(a_claim(a_peer(4), 9, "you-1", stay=4))
    ledger.see_claim(a_claim(a_peer(5), 10, "me-1", stay=5))
    ledger.just_told()
    ledger.reconcile(snapshot(nodes=()), store_was_lost=True, sequence=200)
    assert ledger.just_told() == [Left(a_peer(5))]
    ledger.see_lease("you-2", UNSETTLED, 100)
    ledger.see_claim(a_claim(a_peer(2), 2, "you-2", stay=2))
    assert ledger.just_told() == []
    ledger.see_lease("you-2", LEASE, 100)
    assert ledger.just_told() == [Left(a_peer(4))]
    ledger.give_up_missing()
    assert ledger.just_told() == [Left(a_peer(3))]
    assert [peer.public_key for peer in peers_of(ledger.tenants.get(ACME))] == [a_key(1), a_key(2)]


def test_who_was_at_an_address_before_is_known_from_the_snapshot(ledger: Followed) -> None:
    gone = [a_claim(a_peer(number), 10 - number, "") for number in (2, 3)]
    ledger.reconcile(
        snapshot(a_claim(a_peer(1), 1), *gone, a_claim(a_peer(4), 12, "dead-1")), store_was_lost=False, sequence=200
    )
    assert ledger.just_told() == [Joined(a_peer(1))]
    tenant = ledger.tenants.get(ACME)
    assert tenant.admit(STAY, a_newcomer(3)).stay.peer == a_peer(3)
    assert str(tenant.admit(STAY, a_newcomer(9)).stay.peer.virtual_ip) == "100.64.0.5"
    assert ledger.sequences(a_claim(a_peer(3), 0)) == (6, 7)
    assert ledger.sequences(a_claim(a_peer(8), 0)) == (0, 0)


def test_a_tenant_on_its_way_is_one_tenant(ledger: Followed) -> None:
    first = ledger.tenants.get(GLOBEX).admit(STAY, a_newcomer(1))
    ledger.tenants.expect(first)
    second = ledger.tenants.get(GLOBEX).admit(STAY, a_newcomer(2))
    assert second.stay.peer == a_peer(2)
    ledger.tenants.forgo(first)
    assert ledger.tenants.count() == 0
    assert ledger.tenants._opening == {}


@pytest.mark.parametrize("address", ["100.64.0.1", "fd00::1"])
def test_a_claim_is_read_as_it_was_written(address: str) -> None:
    claim = Claim(Stay(StayId("you-7"), TenantId("a.b"), a_peer(1, address)), "you-1", 5)
    subjects = Subjects("wg", "0123456789abcdef")
    kind, tenant, token = subjects.split(subjects.peer(claim.place))
    assert kind == "peer"
    network = ip_network("fd00::/64" if ":" in address else "100.64.0.0/10")
    assert ClaimReader(network).read(tenant, token, encode(claim), 5) == claim


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"name":1}', b"\xff", b"null"])
def test_what_is_no_claim_is_not_read(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        ClaimReader(ip_network("100.64.0.0/10")).read("acme", "100-64-0-1", payload, 1)


def lost_with_peers_of_others(ledger: Followed) -> None:
    """The store is lost; `you` had peer 1, `them` peer 2."""
    ledger.see_claim(a_claim(a_peer(1), 1, "you-1", stay=1))
    ledger.see_claim(a_claim(a_peer(2), 3, "them-1", stay=2))
    ledger.just_told()
    ledger.reconcile(snapshot(nodes=("me-2",)), store_was_lost=True, sequence=200)


def test_another_gap_after_the_loss_of_the_store_ends_nobodys_doubt(ledger: Followed) -> None:
    lost_with_peers_of_others(ledger)
    ledger.reconcile(snapshot(nodes=("me-2", "you-2"), settled=False), store_was_lost=False, sequence=200)
    assert ledger.just_told() == []
    assert len(ledger.claims_in(State.UNBACKED)) == 2


def test_a_node_that_is_back_is_waited_for_until_it_is_settled_or_lost(ledger: Followed) -> None:
    lost_with_peers_of_others(ledger)
    ledger.see_lease("you-2", UNSETTLED, 100)
    ledger.give_up_missing()
    assert ledger.just_told() == [Left(a_peer(2))]
    assert not ledger.leases.are_all_settled()
    ledger.see_lease("you-2", None, 100)
    ledger.give_up_missing()
    assert ledger.just_told() == [Left(a_peer(1))]


def test_a_node_whose_name_begins_as_anothers_says_nothing_of_its_peers(ledger: Followed) -> None:
    lost_with_peers_of_others(ledger)
    ledger.see_lease("yo-2", LEASE, 100)
    ledger.see_lease("the-2", LEASE, 100)
    assert ledger.just_told() == []


def test_tenants_that_expect_somebody_count(ledger: Followed) -> None:
    first = ledger.tenants.get(GLOBEX).admit(STAY, a_newcomer(1))
    ledger.tenants.expect(first)
    assert ledger.tenants.count() == 1
    assert not ledger.tenants.get(GLOBEX).is_empty
    ledger.reconcile(snapshot(), store_was_lost=False, sequence=200)
    assert ledger.tenants.count() == 1
    ledger.tenants.forgo(first)
    assert ledger.tenants.count() == 0


def test_each_event_has_a_revision_and_they_rise(ledger: Followed) -> None:
    for number in (1, 2, 3):
        ledger.see_claim(a_claim(a_peer(number), 10 * number))
    ledger.see_claim(a_claim(a_peer(1), 40, node=""))
    ledger.see_lease("you-1", None, 50)
    revisions = [committed.revision for committed in ledger.committed]
    assert revisions == sorted(set(revisions))
    assert [revision // PLACES for revision in revisions] == [10, 20, 30, 40, 50, 50]


def test_the_end_of_a_node_is_many_leaves_in_the_order_of_their_addresses(ledger: Followed) -> None:
    for number in (3, 1, 2):
        ledger.see_claim(a_claim(a_peer(number), 10 * number))
    ledger.just_told()
    ledger.see_lease("you-1", None, 50)
    assert ledger.just_told() == [Left(a_peer(number)) for number in (1, 2, 3)]


def test_a_leave_says_whether_the_peer_has_left_or_was_lost(ledger: Followed) -> None:
    for number in (1, 2, 3):
        ledger.see_claim(a_claim(a_peer(number), 10 * number))
    ledger.see_claim(a_claim(a_peer(1), 40, node=""))
    ledger.see_claim(a_claim(a_peer(9, "100.64.0.2"), 42, "them-1"))
    ledger.see_lease("you-1", None, 50)
    causes = {
        committed.event.stay.peer: committed.event.cause
        for committed in ledger.committed
        if isinstance(committed.event, PeerLeft)
    }
    assert causes == {a_peer(1): LeaveCause.LEFT, a_peer(2): LeaveCause.LOST, a_peer(3): LeaveCause.LOST}


def test_a_stay_that_is_said_to_be_another_peers_by_now_has_ended(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(2, "100.64.0.1"), 3, stay=1))
    assert ledger.told[1:] == [Left(a_peer(1)), Joined(a_peer(2, "100.64.0.1"))]
    ledger.see_claim(a_claim(a_peer(2, "100.64.0.1"), 5, node=""))
    assert ledger.told[3:] == [Left(a_peer(2, "100.64.0.1"))]
    assert ledger.tenants.count() == 0
