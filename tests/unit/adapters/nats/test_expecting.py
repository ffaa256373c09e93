import random
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from tests.builders import ACME, a_key, a_name, a_newcomer, a_peer, apply, joined, left, peers_of
from wg_orchestrator.adapters.nats.expecting import ExpectingTenant
from wg_orchestrator.domain.errors import Conflict, NoAddressLeft, PeerLimitReached
from wg_orchestrator.domain.events import LeaveCause, PeerJoined
from wg_orchestrator.domain.ip_allocator import IPAllocator
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.peer import PublicKey, VirtualIP
from wg_orchestrator.domain.stay import StayId

STAY = StayId("me-1")


def a_tenant(network: str = "100.64.0.0/10", max_peers: int = 100) -> ExpectingTenant:
    return ExpectingTenant(ACME, ip_network(network), max_peers)


def test_the_address_of_an_expected_peer_is_offered_to_nobody_else() -> None:
    tenant = a_tenant()
    tenant.expect(tenant.admit(STAY, a_newcomer(1)))
    second = tenant.admit(STAY, a_newcomer(2))
    assert second.stay.peer == a_peer(2)
    tenant.expect(second)
    with pytest.raises(Conflict):
        tenant.expect(joined(a_peer(3, "100.64.0.2")))
    apply(tenant, second)
    assert peers_of(tenant) == [a_peer(2)]
    assert tenant.expects


def test_what_is_forgone_was_never_there() -> None:
    tenant = a_tenant()
    events = [tenant.admit(STAY, a_newcomer(1))]
    tenant.expect(events[0])
    for number in (2, 3):
        events.append(tenant.admit(STAY, a_newcomer(number)))
        tenant.expect(events[-1])
    tenant.forgo(events[1])
    tenant.forgo(events[0])
    tenant.forgo(events[0])
    assert tenant.admit(STAY, a_newcomer(4)).stay.peer.virtual_ip == a_peer(1).virtual_ip
    apply(tenant, joined(a_peer(5, "100.64.0.1")))
    assert tenant.admit(STAY, a_newcomer(4)).stay.peer.virtual_ip == a_peer(2).virtual_ip
    apply(tenant, joined(a_peer(6, "100.64.0.2")))
    assert tenant.admit(STAY, a_newcomer(4)).stay.peer.virtual_ip == a_peer(4).virtual_ip


def test_a_released_address_is_forgone_to_where_it_was() -> None:
    tenant = a_tenant("10.0.0.0/30")
    for number in (1, 2):
        apply(tenant, joined(a_peer(number, f"10.0.0.{number}")))
    for number in (1, 2):
        apply(tenant, left(a_peer(number, f"10.0.0.{number}")))
    taken = tenant.admit(STAY, a_newcomer(3))
    tenant.expect(taken)
    assert str(tenant.admit(STAY, a_newcomer(1)).stay.peer.virtual_ip) == "10.0.0.2"
    tenant.forgo(taken)
    assert str(tenant.admit(STAY, a_newcomer(4)).stay.peer.virtual_ip) == "10.0.0.1"
    assert str(tenant.admit(STAY, a_newcomer(1)).stay.peer.virtual_ip) == "10.0.0.1"


def test_another_nodes_peer_may_come_to_an_expected_address() -> None:
    tenant = a_tenant()
    overtaken = tenant.admit(STAY, a_newcomer(1))
    tenant.expect(overtaken)
    apply(tenant, joined(a_peer(9, "100.64.0.1")))
    apply(tenant, left(a_peer(9, "100.64.0.1")))
    later = joined(a_peer(2, "100.64.0.1"))
    tenant.expect(later)
    tenant.forgo(overtaken)
    assert tenant.admit(STAY, a_newcomer(9)).stay.peer.virtual_ip == a_peer(2).virtual_ip


def test_expected_peers_count() -> None:
    tenant = a_tenant("10.0.0.0/30", max_peers=2)
    for number in (1, 2):
        tenant.expect(tenant.admit(STAY, a_newcomer(number)))
    with pytest.raises(PeerLimitReached):
        tenant.admit(STAY, a_newcomer(3))
    narrow = a_tenant("10.0.0.1/32")
    narrow.expect(narrow.admit(STAY, a_newcomer(1)))
    with pytest.raises(NoAddressLeft):
        narrow.admit(STAY, a_newcomer(2))


def test_a_tenant_is_not_empty_while_somebody_is_expected() -> None:
    tenant = a_tenant()
    assert tenant.is_empty
    first = tenant.admit(STAY, a_newcomer(1))
    tenant.expect(first)
    assert not tenant.is_empty
    tenant.forgo(first)
    assert tenant.is_empty


def test_a_decision_costs_the_same_however_many_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0
    candidates = IPAllocator.candidates

    def counting(allocator: IPAllocator, key: PublicKey) -> Iterator[VirtualIP]:
        nonlocal looked_at
        for address in candidates(allocator, key):
            looked_at += 1
            yield address

    monkeypatch.setattr(IPAllocator, "candidates", counting)
    tenant = a_tenant(max_peers=10_000)
    for number in range(2000):
        tenant.expect(tenant.admit(STAY, a_newcomer(number)))
    assert looked_at <= 3 * 2000


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_the_next_address_is_the_first_candidate_that_nobody_is_expected_at(seed: int) -> None:
    chance = random.Random(seed)
    tenant = a_tenant("10.0.0.0/26", max_peers=1000)
    expected: list[PeerJoined] = []
    for number in range(1, 401):
        key = a_key(chance.choice([number, max(1, number - 30)]))
        if key not in {peer.public_key for peer in peers_of(tenant)}:
            spoken_for = {event.stay.peer.virtual_ip for event in expected}
            free = [one for one in tenant._addresses.candidates(key) if one not in spoken_for]
            if free:
                event = tenant.admit(STAY, Newcomer(a_name(number), key))
                assert event.stay.peer.virtual_ip == free[0]
                tenant.expect(event)
                expected.append(event)
        action = chance.random()
        if expected and action < 0.4:
            tenant.forgo(expected.pop(chance.randrange(len(expected))))
        elif expected and action < 0.8:
            event = expected.pop(chance.randrange(len(expected)))
            try:
                apply(tenant, event)
            except Conflict:  # Its key is in by now.
                tenant.forgo(event)
        elif tenant.stays and action < 0.95:
            apply(tenant, tenant.release(chance.choice(list(tenant.stays)), LeaveCause.LEFT))
