from ipaddress import ip_address

import pytest

from tests.builders import a_key, a_name, a_peer, a_tenant, joined, left
from wg_orchestrator.domain.errors import Conflict, KeyInUse, NoAddressLeft, PeerLimitReached
from wg_orchestrator.domain.peer import Peer


def test_a_decision_changes_nothing() -> None:
    tenant = a_tenant()
    tenant.apply(joined(a_peer(1)))
    tenant.admit(a_name(2), a_key(2))
    tenant.release(a_peer(1))
    assert list(tenant.peers) == [a_peer(1)]


def test_a_newcomer_gets_the_next_address() -> None:
    tenant = a_tenant()
    tenant.apply(joined(a_peer(1)))
    assert tenant.admit(a_name(2), a_key(2)) == joined(a_peer(2, "100.64.0.2"))


def test_names_need_not_be_unique() -> None:
    tenant = a_tenant()
    tenant.apply(tenant.admit(a_name(1), a_key(1)))
    tenant.apply(tenant.admit(a_name(1), a_key(2)))
    assert [peer.display_name for peer in tenant.peers] == [a_name(1), a_name(1)]


def test_a_live_key_is_refused_until_its_peer_has_left() -> None:
    tenant = a_tenant()
    tenant.apply(joined(a_peer(1)))
    with pytest.raises(KeyInUse):
        tenant.admit(a_name(2), a_key(1))
    tenant.apply(left(a_peer(1)))
    assert tenant.admit(a_name(2), a_key(1)).peer.virtual_ip == ip_address("100.64.0.1")


def test_a_tenant_at_its_limit_refuses_newcomers() -> None:
    tenant = a_tenant(max_peers=1)
    tenant.apply(joined(a_peer(1)))
    with pytest.raises(PeerLimitReached):
        tenant.admit(a_name(2), a_key(2))


def test_a_network_without_a_free_address_is_an_error_of_its_own() -> None:
    tenant = a_tenant("10.0.0.0/30")
    for number in (1, 2):
        tenant.apply(tenant.admit(a_name(number), a_key(number)))
    with pytest.raises(NoAddressLeft):
        tenant.admit(a_name(3), a_key(3))


@pytest.mark.parametrize("rival", [a_peer(2, "100.64.0.1"), a_peer(1, "100.64.0.2")])
def test_an_event_that_contradicts_the_tenant_changes_nothing(rival: Peer) -> None:
    tenant = a_tenant()
    tenant.apply(joined(a_peer(1)))
    with pytest.raises(Conflict):
        tenant.apply(joined(rival))
    assert list(tenant.peers) == [a_peer(1)]
    assert tenant.admit(a_name(2), a_key(2)).peer.virtual_ip == ip_address("100.64.0.2")


def test_only_a_member_can_leave() -> None:
    tenant = a_tenant()
    tenant.apply(joined(a_peer(1)))
    stranger = a_peer(2, "100.64.0.1")
    with pytest.raises(Conflict):
        tenant.release(stranger)
    with pytest.raises(Conflict):
        tenant.apply(left(stranger))
    assert a_peer(1) in tenant
    assert stranger not in tenant
