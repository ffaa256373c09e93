from ipaddress import ip_network

import pytest

from tests.builders import ACME, a_key, a_name, a_peer, joined, left
from wg_orchestrator.adapters.nats.expecting import ExpectingTenant
from wg_orchestrator.domain.errors import Conflict, NoAddressLeft, PeerLimitReached


def a_tenant(network: str = "100.64.0.0/10", max_peers: int = 100) -> ExpectingTenant:
    return ExpectingTenant(ACME, ip_network(network), max_peers)


def test_the_address_of_an_expected_peer_is_offered_to_nobody_else() -> None:
    tenant = a_tenant()
    tenant.expect(tenant.admit(a_name(1), a_key(1)))
    second = tenant.admit(a_name(2), a_key(2))
    assert second == joined(a_peer(2))
    tenant.expect(second)
    with pytest.raises(Conflict):
        tenant.expect(joined(a_peer(3, "100.64.0.2")))
    tenant.apply(second)
    assert list(tenant.peers) == [a_peer(2)]
    assert tenant.expects


def test_what_is_forgone_was_never_there() -> None:
    tenant = a_tenant()
    events = [tenant.admit(a_name(1), a_key(1))]
    tenant.expect(events[0])
    for number in (2, 3):
        events.append(tenant.admit(a_name(number), a_key(number)))
        tenant.expect(events[-1])
    tenant.forgo(events[1])
    tenant.forgo(events[0])
    tenant.forgo(events[0])
    assert tenant.admit(a_name(4), a_key(4)).peer.virtual_ip == a_peer(1).virtual_ip
    tenant.apply(joined(a_peer(5, "100.64.0.1")))
    assert tenant.admit(a_name(4), a_key(4)).peer.virtual_ip == a_peer(2).virtual_ip
    tenant.apply(joined(a_peer(6, "100.64.0.2")))
    assert tenant.admit(a_name(4), a_key(4)).peer.virtual_ip == a_peer(4).virtual_ip


def test_a_released_address_is_forgone_to_where_it_was() -> None:
    tenant = a_tenant("10.0.0.0/30")
    for number in (1, 2):
        tenant.apply(joined(a_peer(number, f"10.0.0.{number}")))
    for number in (1, 2):
        tenant.apply(left(a_peer(number, f"10.0.0.{number}")))
    taken = tenant.admit(a_name(3), a_key(3))
    tenant.expect(taken)
    assert str(tenant.admit(a_name(1), a_key(1)).peer.virtual_ip) == "10.0.0.2"
    tenant.forgo(taken)
    assert str(tenant.admit(a_name(4), a_key(4)).peer.virtual_ip) == "10.0.0.1"
    assert str(tenant.admit(a_name(1), a_key(1)).peer.virtual_ip) == "10.0.0.1"


def test_another_nodes_peer_may_come_to_an_expected_address() -> None:
    tenant = a_tenant()
    overtaken = tenant.admit(a_name(1), a_key(1))
    tenant.expect(overtaken)
    tenant.apply(joined(a_peer(9, "100.64.0.1")))
    tenant.apply(left(a_peer(9, "100.64.0.1")))
    later = joined(a_peer(2, "100.64.0.1"))
    tenant.expect(later)
    tenant.forgo(overtaken)
    assert tenant.admit(a_name(9), a_key(9)).peer.virtual_ip == a_peer(2).virtual_ip


def test_expected_peers_count() -> None:
    tenant = a_tenant("10.0.0.0/30", max_peers=2)
    for number in (1, 2):
        tenant.expect(tenant.admit(a_name(number), a_key(number)))
    with pytest.raises(PeerLimitReached):
        tenant.admit(a_name(3), a_key(3))
    narrow = a_tenant("10.0.0.1/32")
    narrow.expect(narrow.admit(a_name(1), a_key(1)))
    with pytest.raises(NoAddressLeft):
        narrow.admit(a_name(2), a_key(2))
