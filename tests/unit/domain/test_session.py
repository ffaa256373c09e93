"""Peers that come back: a peer that knows the secret goes on with its stay, in the next turn, and nobody is told."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.builders import ACME, a_key, a_name, a_newcomer, apply, at_once, peers_of
from tests.fakes import Joined, Left, RecordingNotifier, Subscriber, Updated
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.errors import Conflict, KeyInUse
from wg_orchestrator.domain.events import Committed, LeaveCause, PeerResumed, PeerUpdated
from wg_orchestrator.domain.ip_allocator import IPAllocator
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.session import NO_SESSION, digest, new_session, opens
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant import Tenant

NETWORK = ip_network("100.64.0.0/10")
SECRET, SESSION = new_session()
ENDPOINT = Endpoint.parse("10.0.0.7:51820")


def a_service() -> MembershipService[Subscriber]:
    return MembershipService(InMemoryTenantRepository(NETWORK, 100), RecordingNotifier(), 100)


def test_a_secret_opens_its_own_session_and_no_other() -> None:
    other, its = new_session()
    assert opens(SECRET, SESSION)
    assert opens(other, its)
    assert not opens(other, SESSION)
    assert not opens("", NO_SESSION)
    assert not opens("\ud800", SESSION)
    assert SESSION.find(SECRET.encode()) == -1
    assert digest(SECRET) == SESSION


def test_a_peer_that_resumes_goes_on_in_its_next_turn_and_nobody_is_told() -> None:
    service, watcher, first, second = a_service(), Subscriber(), Subscriber(), Subscriber()
    at_once(service.join(ACME, a_newcomer(1), watcher))
    stay = at_once(service.join(ACME, a_newcomer(2), first, SESSION))
    resumed = at_once(service.resume(ACME, a_key(2), SECRET, second))
    assert resumed is not None
    assert (resumed.id, resumed.peer, resumed.turn) == (stay.id, stay.peer, stay.turn + 1)
    assert first.ended
    assert second.picture().keys() == watcher.picture().keys()
    assert watcher.seen[1:] == [Joined(stay.peer)]


def test_a_late_leave_of_an_earlier_turn_does_not_end_the_stay() -> None:
    service, watcher = a_service(), Subscriber()
    at_once(service.join(ACME, a_newcomer(1), watcher))
    stay = at_once(service.join(ACME, a_newcomer(2), Subscriber(), SESSION))
    resumed = at_once(service.resume(ACME, a_key(2), SECRET, Subscriber()))
    assert resumed is not None
    at_once(service.leave(stay))
    assert not service.is_in(stay)
    assert service.is_in(resumed)
    assert service.size(ACME) == 2
    at_once(service.leave(resumed))
    assert watcher.seen[-1] == Left(stay.peer)


@pytest.mark.parametrize(
    ("key", "secret"),
    [(2, "another"), (2, ""), (1, SECRET), (3, SECRET)],
    ids=["another secret", "no secret", "another's key", "an absent key"],
)
def test_a_peer_with_another_secret_or_another_key_does_not_resume(key: int, secret: str) -> None:
    service, peer = a_service(), Subscriber()
    at_once(service.join(ACME, a_newcomer(1), Subscriber()))
    stay = at_once(service.join(ACME, a_newcomer(2), peer, SESSION))
    assert at_once(service.resume(ACME, a_key(key), secret, Subscriber())) is None
    assert service.is_in(stay)
    assert not peer.ended


def test_a_session_ends_with_its_stay() -> None:
    service = a_service()
    stay = at_once(service.join(ACME, a_newcomer(1), Subscriber(), SESSION))
    with pytest.raises(KeyInUse):
        at_once(service.join(ACME, a_newcomer(1), Subscriber(), SESSION))
    at_once(service.leave(stay))
    assert at_once(service.resume(ACME, a_key(1), SECRET, Subscriber())) is None


def test_a_peer_whose_resumption_fails_has_left() -> None:
    class Unwelcoming(RecordingNotifier):
        def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
            if newcomer.turn:
                raise ZeroDivisionError
            super().welcome(tenant, newcomer, subscriber)

    service = MembershipService(InMemoryTenantRepository(NETWORK, 100), Unwelcoming(), 100)
    watcher = Subscriber()
    at_once(service.join(ACME, a_newcomer(1), watcher))
    stay = at_once(service.join(ACME, a_newcomer(2), Subscriber(), SESSION))
    with pytest.raises(ZeroDivisionError):
        at_once(service.resume(ACME, a_key(2), SECRET, Subscriber()))
    assert service.size(ACME) == 1
    assert watcher.seen[-1] == Left(stay.peer)


def test_an_update_is_told_to_the_others_once_and_newcomers_see_it() -> None:
    service, watcher, peer, newcomer = a_service(), Subscriber(), Subscriber(), Subscriber()
    at_once(service.join(ACME, a_newcomer(1), watcher))
    stay = at_once(service.join(ACME, a_newcomer(2), peer, SESSION))
    updated = at_once(service.update(stay, a_name(9), (ENDPOINT,)))
    assert (updated.peer.display_name, updated.peer.endpoints) == (a_name(9), (ENDPOINT,))
    assert at_once(service.update(updated, a_name(9))) == updated
    assert at_once(service.update(updated, None, (ENDPOINT,))) == updated
    assert watcher.seen[1:] == [Joined(stay.peer), Updated(updated.peer)]
    assert len(peer.seen) == 1
    at_once(service.join(ACME, a_newcomer(3), newcomer))
    assert newcomer.picture()[stay.peer.virtual_ip] == updated.peer


def test_a_key_that_was_proven_stays_so_whatever_changes_later() -> None:
    service = a_service()
    stay = at_once(service.join(ACME, a_newcomer(1), Subscriber(), SESSION))
    proven = at_once(service.update(stay, is_proven=True))
    assert proven.peer == replace(stay.peer, proven=True)
    assert at_once(service.update(proven, a_name(10))).peer.proven


def test_an_update_changes_only_what_it_names() -> None:
    service = a_service()
    stay = at_once(service.join(ACME, a_newcomer(1), Subscriber(), SESSION))
    assert at_once(service.update(stay, None, (ENDPOINT,))).peer.display_name == a_name(1)
    resumed = at_once(service.resume(ACME, a_key(1), SECRET, Subscriber()))
    assert resumed is not None
    assert resumed.peer.endpoints == (ENDPOINT,)
    assert at_once(service.update(resumed, a_name(5))).peer.display_name == a_name(5)


def test_an_update_that_comes_late_loses_only_against_what_was_said_on_another_connection_since() -> None:
    service, watcher = a_service(), Subscriber()
    at_once(service.join(ACME, a_newcomer(2), watcher))
    stay = at_once(service.join(ACME, a_newcomer(1), Subscriber(), SESSION))
    resumed = at_once(service.resume(ACME, a_key(1), SECRET, Subscriber()))
    assert resumed is not None
    at_once(service.update(resumed, a_name(5)))
    late = at_once(service.update(stay, a_name(7), (ENDPOINT,)))
    assert (late.peer.display_name, late.peer.endpoints) == (a_name(5), (ENDPOINT,))
    told = len(watcher.seen)
    at_once(service.leave(late))
    assert at_once(service.update(stay, a_name(9))) == stay
    assert len(watcher.seen) == told + 1


def test_an_update_or_a_resumption_that_contradicts_the_tenant_is_a_conflict() -> None:
    tenant = Tenant(ACME, IPAllocator(NETWORK), 10)
    peer = apply(tenant, tenant.admit(StayId("1"), a_newcomer(1), SESSION)).event.stay.peer
    stay = Stay(StayId("1"), ACME, peer, SESSION)
    moved = Stay(stay.id, ACME, replace(stay.peer, virtual_ip=ip_address("100.64.0.99")), SESSION, 1)
    for event in (
        PeerResumed(stay),
        PeerResumed(Stay(StayId("2"), ACME, stay.peer, SESSION, 1)),
        PeerResumed(moved),
        PeerUpdated(Stay(StayId("2"), ACME, stay.peer, SESSION)),
        PeerUpdated(Stay(stay.id, ACME, stay.peer, SESSION, 1)),
    ):
        with pytest.raises(Conflict):
            tenant.apply(Committed(event, 7))
    assert (tenant.revision, peers_of(tenant)) == (1, [stay.peer])


def test_a_resumption_ends_all_earlier_turns_even_those_that_the_tenant_has_not_seen() -> None:
    tenant = Tenant(ACME, IPAllocator(NETWORK), 10)
    first = apply(tenant, tenant.admit(StayId("1"), a_newcomer(1), SESSION)).event.stay
    apply(tenant, PeerResumed(replace(first, turn=3)))
    assert first not in tenant
    with pytest.raises(Conflict):
        apply(tenant, PeerResumed(replace(first, turn=2)))


def test_a_peer_that_updates_keeps_its_place_in_the_order_of_joins() -> None:
    tenant = Tenant(ACME, IPAllocator(NETWORK), 10)
    stays = [apply(tenant, tenant.admit(StayId(str(n)), a_newcomer(n))).event.stay for n in range(3)]
    event = tenant.update(stays[0], a_name(9))
    assert event is not None
    apply(tenant, event)
    assert [peer.display_name for peer in peers_of(tenant)] == [a_name(9), a_name(1), a_name(2)]
    assert tenant.release(stays[0], LeaveCause.LEFT).stay.peer.display_name == a_name(9)


# Addresses


@pytest.mark.parametrize(
    ("wish", "granted"),
    [("100.64.0.77", True), ("100.64.0.1", False), ("10.0.0.1", False), ("100.64.0.0", False), ("fd00::1", False)],
)
def test_a_wish_is_granted_if_that_address_is_free_and_in_the_network(wish: str, granted: bool) -> None:
    tenant = Tenant(ACME, IPAllocator(NETWORK), 10)
    apply(tenant, tenant.admit(StayId("1"), a_newcomer(1)))
    newcomer = Newcomer(a_name(2), a_key(2), (), ip_address(wish))
    address = str(tenant.admit(StayId("2"), newcomer).stay.peer.virtual_ip)
    assert address == (wish if granted else "100.64.0.2")


def test_a_wish_takes_precedence_over_the_address_that_the_key_held_last() -> None:
    addresses = IPAllocator(NETWORK)
    first = addresses.next_for(a_key(1))
    addresses.take(first)
    addresses.release(first, a_key(1))
    assert addresses.next_for(a_key(1)) == first
    assert addresses.next_for(a_key(1), ip_address("100.64.0.50")) == ip_address("100.64.0.50")


def test_addresses_are_scattered_as_long_as_asked_and_none_is_given_twice() -> None:
    scatters = [True]
    addresses = IPAllocator(NETWORK, scatters=lambda: scatters[0])
    taken = []
    for number in range(300):
        taken.append(addresses.next_for(a_key(number)))
        addresses.take(taken[-1])
    assert len(set(taken)) == 300
    assert max(map(int, taken)) - min(map(int, taken)) > 100_000
    addresses.release(taken[0], a_key(0))
    assert addresses.next_for(a_key(0)) == taken[0]
    scatters[0] = False
    lowest = next(address for address in NETWORK.hosts() if address not in set(taken[1:]))
    assert addresses.next_for(a_key(999)) == lowest


def test_in_a_small_network_every_address_is_found_although_they_are_scattered() -> None:
    addresses = IPAllocator(ip_network("10.0.0.0/29"), scatters=lambda: True)
    for number in range(6):
        addresses.take(addresses.next_for(a_key(number)))
