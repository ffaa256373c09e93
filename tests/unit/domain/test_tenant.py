from ipaddress import ip_address

import pytest

from tests.builders import a_key, a_name, a_newcomer, a_peer, a_stay, a_tenant, apply, joined, left, peers_of
from wg_orchestrator.domain.errors import Conflict, KeyInUse, NoAddressLeft, PeerLimitReached
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.stay import StayId

STAY = StayId("7")


def test_a_decision_changes_nothing() -> None:
    tenant = a_tenant()
    apply(tenant, joined(a_peer(1)))
    tenant.admit(STAY, a_newcomer(2))
    tenant.release(a_stay(a_peer(1)), LeaveCause.LEFT)
    assert peers_of(tenant) == [a_peer(1)]


def test_a_newcomer_gets_the_next_address() -> None:
    tenant = a_tenant()
    apply(tenant, joined(a_peer(1)))
    assert tenant.admit(STAY, a_newcomer(2)).stay.peer == a_peer(2, "100.64.0.2")


def test_names_need_not_be_unique() -> None:
    tenant = a_tenant()
    apply(tenant, tenant.admit(STAY, a_newcomer(1)))
    apply(tenant, tenant.admit(STAY, Newcomer(a_name(1), a_key(2))))
    assert [peer.display_name for peer in peers_of(tenant)] == [a_name(1), a_name(1)]


def test_a_live_key_is_refused_until_its_peer_has_left() -> None:
    tenant = a_tenant()
    apply(tenant, joined(a_peer(1)))
    with pytest.raises(KeyInUse):
        tenant.admit(STAY, Newcomer(a_name(2), a_key(1)))
    apply(tenant, left(a_peer(1)))
    assert tenant.admit(STAY, Newcomer(a_name(2), a_key(1))).stay.peer.virtual_ip == ip_address("100.64.0.1")


def test_a_tenant_at_its_limit_refuses_newcomers() -> None:
    tenant = a_tenant(max_peers=1)
    apply(tenant, joined(a_peer(1)))
    with pytest.raises(PeerLimitReached):
        tenant.admit(STAY, a_newcomer(2))


def test_a_tenant_without_a_free_address_refuses_newcomers() -> None:
    tenant = a_tenant("10.0.0.0/30")
    for number in (1, 2):
        apply(tenant, tenant.admit(STAY, a_newcomer(number)))
    with pytest.raises(NoAddressLeft):
        tenant.admit(STAY, a_newcomer(3))


@pytest.mark.parametrize("rival", [a_peer(2, "100.64.0.1"), a_peer(1, "100.64.0.2")])
def test_an_event_that_contradicts_the_tenant_changes_nothing(rival: Peer) -> None:
    tenant = a_tenant()
    apply(tenant, joined(a_peer(1)))
    with pytest.raises(Conflict):
        apply(tenant, joined(rival))
    assert peers_of(tenant) == [a_peer(1)]
    assert tenant.admit(STAY, a_newcomer(2)).stay.peer.virtual_ip == ip_address("100.64.0.2")


def test_only_a_member_can_leave() -> None:
    tenant = a_tenant()
    apply(tenant, joined(a_peer(1)))
    stranger = a_peer(2, "100.64.0.1")
    with pytest.raises(Conflict):
        tenant.release(a_stay(stranger), LeaveCause.LEFT)
    with pytest.raises(Conflict):
        apply(tenant, left(stranger))
    assert a_stay(a_peer(1)) in tenant
    assert a_stay(stranger) not in tenant


def test_another_stay_of_an_equal_peer_is_not_in_the_tenant_and_can_not_end() -> None:
    tenant = a_tenant()
    apply(tenant, joined(a_peer(1), number=2))
    assert a_stay(a_peer(1), number=1) not in tenant
    with pytest.raises(Conflict):
        tenant.release(a_stay(a_peer(1), number=1), LeaveCause.LEFT)
    with pytest.raises(Conflict):
        apply(tenant, left(a_peer(1), number=1))


def test_a_tenant_knows_the_revision_of_its_last_event() -> None:
    tenant = a_tenant()
    assert tenant.revision == 0
    apply(tenant, joined(a_peer(1)))
    assert apply(tenant, left(a_peer(1))).revision == tenant.revision == 2
    with pytest.raises(Conflict):
        apply(tenant, left(a_peer(1)))
    assert tenant.revision == 2
