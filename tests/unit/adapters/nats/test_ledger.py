from ipaddress import IPv4Network, ip_network

import pytest

from tests.builders import ACME, GLOBEX, a_key, a_name, a_peer, joined, left
from wg_orchestrator.adapters.nats.claim import Claim, ClaimReader, Subjects, Unreadable, encode
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.snapshot import Lease, Snapshot
from wg_orchestrator.domain.events import MembershipEvent
from wg_orchestrator.domain.peer import Peer

LEASE = Lease(1, 0.0, settled=True)
UNSETTLED = Lease(1, 0.0, settled=False)


class Followed(Ledger):
    """The ledger of process `me`, and what it tells. `you-1` and `them-1` are other nodes."""

    def __init__(self) -> None:
        super().__init__(IPv4Network("100.64.0.0/10"), 100, "me")
        self.told: list[MembershipEvent] = []
        self.followers.append(self.told.append)
        for node in ("me-1", "you-1", "them-1"):
            self.see_lease(node, LEASE)

    def just_told(self) -> list[MembershipEvent]:
        told = self.told[:]
        self.told.clear()
        return told


@pytest.fixture
def ledger() -> Followed:
    return Followed()


def a_claim(peer: Peer, revision: int, node: str = "you-1", stay: int | None = None) -> Claim:
    process = node.partition("-")[0]
    return Claim(ACME, peer, node, f"{process}-{revision if stay is None else stay}" if node else "", revision)


def snapshot(*claims: Claim, nodes: tuple[str, ...] = ("me-1", "you-1", "them-1"), settled: bool = True) -> Snapshot:
    return Snapshot({claim.place: claim for claim in claims}, dict.fromkeys(nodes, LEASE if settled else UNSETTLED))


def test_a_claim_joins_and_a_vacancy_leaves(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(1), 3, node=""))
    assert ledger.told == [joined(a_peer(1)), left(a_peer(1))]
    assert ledger.count() == 0


def test_who_was_at_an_address_has_left_before_the_next_one_is_there(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(2, "100.64.0.1"), 5))
    assert ledger.told[1:] == [left(a_peer(1)), joined(a_peer(2, "100.64.0.1"))]


def test_a_key_has_left_its_last_address_before_it_is_at_another(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(1, "100.64.0.7"), 5))
    ledger.see_claim(a_claim(a_peer(2, "100.64.0.1"), 7))
    assert ledger.told[1:] == [left(a_peer(1)), joined(a_peer(1, "100.64.0.7")), joined(a_peer(2, "100.64.0.1"))]


def test_both_the_address_and_the_key_may_have_changed_hands_unseen(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(2), 3))
    ledger.see_claim(a_claim(Peer(a_name(9), a_key(1), a_peer(2).virtual_ip), 11))
    assert set(ledger.told[2:4]) == {left(a_peer(1)), left(a_peer(2))}
    assert ledger.told[4:] == [joined(Peer(a_name(9), a_key(1), a_peer(2).virtual_ip))]


def test_another_stay_of_an_equal_peer_is_a_leave_and_a_join(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(1), 9, "them-1"))
    assert ledger.told[1:] == [left(a_peer(1)), joined(a_peer(1))]


def test_the_same_stay_under_a_new_lease_is_no_event(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1, stay=1))
    ledger.see_lease("you-2", LEASE)
    ledger.see_claim(a_claim(a_peer(1), 7, "you-2", stay=1))
    ledger.see_lease("you-1", None)
    assert ledger.told == [joined(a_peer(1))]


def test_with_a_lease_all_claims_of_its_node_end_once(ledger: Followed) -> None:
    for number in (1, 2):
        ledger.see_claim(a_claim(a_peer(number), number))
    ledger.see_claim(a_claim(a_peer(3), 3, "them-1"))
    ledger.just_told()
    ledger.see_lease("you-1", None)
    ledger.see_lease("you-1", None)
    assert set(ledger.just_told()) == {left(a_peer(1)), left(a_peer(2))}
    assert set(ledger.stale) == {(ACME, a_peer(1).virtual_ip), (ACME, a_peer(2).virtual_ip)}
    ledger.see_claim(a_claim(a_peer(4), 8, "you-1"))
    ledger.see_claim(a_claim(a_peer(1), 9, ""))
    assert ledger.just_told() == []


def test_a_lease_may_be_heard_of_after_its_claims(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 4, "new-1"))
    assert ledger.just_told() == []
    ledger.see_lease("new-1", LEASE)
    assert ledger.just_told() == [joined(a_peer(1))]
    assert ledger.stale == {}


def test_a_snapshot_says_which_leases_it_lacks() -> None:
    lacking = snapshot(a_claim(a_peer(1), 4, "new-1"), a_claim(a_peer(2), 5, "gone-1"), a_claim(a_peer(3), 6, ""))
    lacking.see_lease("gone-1", None)
    assert lacking.missing_leases(["me-1", "old-1"]) == {"new-1", "old-1"}


def test_the_peers_that_are_connected_here_stay_when_the_lease_ends(ledger: Followed) -> None:
    ledger.wanted |= {"me-1"}
    ledger.see_claim(a_claim(a_peer(1), 4, "me-1", stay=1))
    ledger.see_lease("me-1", None)
    ledger.see_claim(a_claim(a_peer(1), 6, ""))
    assert ledger.just_told() == [joined(a_peer(1))]
    (orphan,) = ledger.unbacked.values()
    assert ledger.revisions(orphan) == (5, 6)
    assert not ledger.is_settled()
    ledger.see_lease("me-2", UNSETTLED)
    ledger.see_claim(a_claim(a_peer(1), 8, "me-2", stay=1))
    assert ledger.is_settled()
    assert ledger.just_told() == []


def test_a_peer_whose_place_was_taken_meanwhile_is_let_go(ledger: Followed) -> None:
    ledger.wanted |= {"me-1"}
    ledger.see_claim(a_claim(a_peer(1), 4, "me-1", stay=1))
    ledger.see_lease("me-1", None)
    ledger.see_claim(a_claim(a_peer(1), 6, "you-1"))
    assert ledger.told[1:] == [left(a_peer(1)), joined(a_peer(1))]
    assert ledger.wanted == set()


def test_what_this_process_does_not_want_is_a_ghost(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 4, "me-1"))
    assert set(ledger.ghosts) == {(ACME, a_peer(1).virtual_ip)}
    ledger.see_claim(a_claim(a_peer(1), 6, ""))
    assert ledger.ghosts == {}
    assert ledger.told == [joined(a_peer(1)), left(a_peer(1))]


def test_whoever_is_disowned_while_the_stream_does_not_hold_it_leaves_at_once(ledger: Followed) -> None:
    ledger.wanted |= {"me-1"}
    ledger.see_claim(claim := a_claim(a_peer(1), 4, "me-1", stay=1))
    ledger.see_lease("me-1", None)
    ledger.disown(claim)
    ledger.disown(claim)
    assert ledger.told == [joined(a_peer(1)), left(a_peer(1))]


def test_a_snapshot_makes_up_for_what_was_missed(ledger: Followed) -> None:
    for number in (1, 2, 3):
        ledger.see_claim(a_claim(a_peer(number), number, stay=number))
    ledger.just_told()
    stays, moved, new = a_claim(a_peer(1), 1, stay=1), a_claim(a_peer(2, "100.64.0.3"), 20), a_claim(a_peer(4), 21)
    ledger.reconcile(snapshot(stays, a_claim(a_peer(2), 19, ""), moved, new), store_was_lost=False)
    told = ledger.just_told()
    assert set(told[:2]) == {left(a_peer(2)), left(a_peer(3))}
    assert told[2:] == [joined(a_peer(2, "100.64.0.3")), joined(a_peer(4))]
    ledger.reconcile(snapshot(stays, moved, new), store_was_lost=False)
    assert ledger.just_told() == []
    ledger.reconcile(snapshot(stays, moved, new, nodes=("me-1",)), store_was_lost=False)
    assert set(ledger.just_told()) == {left(a_peer(1)), left(a_peer(2, "100.64.0.3")), left(a_peer(4))}


def test_after_the_loss_of_the_store_nobody_leaves_who_is_put_back(ledger: Followed) -> None:
    ledger.wanted |= {"me-1"}
    ledger.see_claim(a_claim(a_peer(1), 4, "me-1", stay=1))
    ledger.see_claim(a_claim(a_peer(2), 6, "you-1", stay=2))
    ledger.see_claim(a_claim(a_peer(3), 8, "them-1", stay=3))
    ledger.see_claim(a_claim(a_peer(4), 9, "you-1", stay=4))
    ledger.see_claim(a_claim(a_peer(5), 10, "me-1", stay=5))
    ledger.just_told()
    ledger.reconcile(snapshot(nodes=()), store_was_lost=True)
    assert ledger.just_told() == [left(a_peer(5))]
    ledger.see_lease("you-2", UNSETTLED)
    ledger.see_claim(a_claim(a_peer(2), 2, "you-2", stay=2))
    assert ledger.just_told() == []
    ledger.see_lease("you-2", LEASE)
    assert ledger.just_told() == [left(a_peer(4))]
    ledger.give_up_missing()
    assert ledger.just_told() == [left(a_peer(3))]
    assert [peer.public_key for peer in ledger.tenant(ACME).peers] == [a_key(2), a_key(1)] or ledger.unbacked


def test_who_was_at_an_address_before_is_known_from_the_snapshot(ledger: Followed) -> None:
    gone = [a_claim(a_peer(number), 10 - number, "") for number in (2, 3)]
    ledger.reconcile(snapshot(a_claim(a_peer(1), 1), *gone, a_claim(a_peer(4), 12, "dead-1")), store_was_lost=False)
    assert ledger.just_told() == [joined(a_peer(1))]
    tenant = ledger.tenant(ACME)
    assert tenant.admit(a_name(3), a_key(3)).peer == a_peer(3)
    assert str(tenant.admit(a_name(9), a_key(9)).peer.virtual_ip) == "100.64.0.5"
    assert ledger.revisions(a_claim(a_peer(3), 0)) == (6, 7)
    assert ledger.revisions(a_claim(a_peer(8), 0)) == (0, 0)


def test_a_tenant_on_its_way_is_one_tenant(ledger: Followed) -> None:
    first = ledger.tenant(GLOBEX).admit(a_name(1), a_key(1))
    ledger.expect(first)
    second = ledger.tenant(GLOBEX).admit(a_name(2), a_key(2))
    assert second.peer == a_peer(2)
    ledger.forgo(first)
    assert ledger.count() == 0
    assert ledger._opening == {}


@pytest.mark.parametrize("address", ["100.64.0.1", "fd00::1"])
def test_a_claim_is_read_as_it_was_written(address: str) -> None:
    claim = Claim(type(ACME)("a.b"), a_peer(1, address), "you-1", "you-7", 5)
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
    ledger.reconcile(snapshot(nodes=("me-2",)), store_was_lost=True)


def test_another_gap_after_the_loss_of_the_store_ends_nobodys_doubt(ledger: Followed) -> None:
    lost_with_peers_of_others(ledger)
    ledger.reconcile(snapshot(nodes=("me-2", "you-2"), settled=False), store_was_lost=False)
    assert ledger.just_told() == []
    assert len(ledger.unbacked) == 2


def test_a_node_that_is_back_is_waited_for_until_it_is_settled_or_lost(ledger: Followed) -> None:
    lost_with_peers_of_others(ledger)
    ledger.see_lease("you-2", UNSETTLED)
    ledger.give_up_missing()
    assert ledger.just_told() == [left(a_peer(2))]
    assert not ledger.are_all_settled()
    ledger.see_lease("you-2", None)
    ledger.give_up_missing()
    assert ledger.just_told() == [left(a_peer(1))]


def test_a_node_whose_name_begins_as_anothers_says_nothing_of_its_peers(ledger: Followed) -> None:
    lost_with_peers_of_others(ledger)
    ledger.see_lease("yo-2", LEASE)
    ledger.see_lease("the-2", LEASE)
    assert ledger.just_told() == []


def test_tenants_that_expect_somebody_count(ledger: Followed) -> None:
    first = ledger.tenant(GLOBEX).admit(a_name(1), a_key(1))
    ledger.expect(first)
    assert ledger.count() == 1
    assert not ledger.tenant(GLOBEX).is_empty
    ledger.reconcile(snapshot(), store_was_lost=False)
    assert ledger.count() == 1
    ledger.forgo(first)
    assert ledger.count() == 0


def test_a_stay_that_is_said_to_be_another_peers_by_now_has_ended(ledger: Followed) -> None:
    ledger.see_claim(a_claim(a_peer(1), 1))
    ledger.see_claim(a_claim(a_peer(2, "100.64.0.1"), 3, stay=1))
    assert ledger.told[1:] == [left(a_peer(1)), joined(a_peer(2, "100.64.0.1"))]
    ledger.see_claim(a_claim(a_peer(2, "100.64.0.1"), 5, node=""))
    assert ledger.told[3:] == [left(a_peer(2, "100.64.0.1"))]
    assert ledger.count() == 0
