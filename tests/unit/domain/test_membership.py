from collections.abc import Callable
from ipaddress import IPv4Network, ip_address

import pytest

from tests.builders import ACME, GLOBEX, a_newcomer, a_peer, at_once, joined
from tests.fakes import Joined, Left, RecordingNotifier, Subscriber, Welcome
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.domain.errors import KeyInUse, PeerLimitReached, TenantLimitReached, Unavailable
from wg_orchestrator.domain.events import Committed, LeaveCause, MembershipEvent, PeerLeft
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant_id import TenantId


class Service:
    """The membership service on its in-memory repository, driven without an event loop."""

    def __init__(self, max_peers: int = 10, max_tenants: int = 10) -> None:
        self.tenants = InMemoryTenantRepository(IPv4Network("100.64.0.0/10"), max_peers)
        self.membership = MembershipService(self.tenants, RecordingNotifier(), max_tenants)

    def join(self, number: int, tenant_id: TenantId = ACME) -> tuple[Stay, Subscriber]:
        subscriber = Subscriber()
        return at_once(self.membership.join(tenant_id, a_newcomer(number), subscriber)), subscriber

    def leave(self, stay: Stay) -> None:
        at_once(self.membership.leave(stay))


def test_a_welcome_lists_all_peers_but_the_newcomer() -> None:
    service = Service()
    service.join(1)
    service.join(2)
    stay, newcomer = service.join(3)
    assert stay.peer == a_peer(3)
    assert newcomer.seen == [Welcome(a_peer(3), (a_peer(1), a_peer(2)))]


def test_the_others_are_told_of_a_join_and_of_a_leave_once() -> None:
    service = Service()
    _, first = service.join(1)
    second, _ = service.join(2)
    service.leave(second)
    assert first.seen[1:] == [Joined(a_peer(2)), Left(a_peer(2))]


def test_peers_of_one_tenant_are_told_nothing_of_another() -> None:
    service = Service()
    here, here_sees = service.join(1, ACME)
    there, there_sees = service.join(1, GLOBEX)
    assert here.peer == there.peer
    service.leave(here)
    assert len(here_sees.seen) == len(there_sees.seen) == 1


def test_a_refused_join_changes_nothing_and_is_announced_to_nobody() -> None:
    service = Service(max_peers=2)
    _, first = service.join(1)
    with pytest.raises(KeyInUse):
        service.join(1)
    service.join(2)
    with pytest.raises(PeerLimitReached):
        service.join(3)
    assert first.seen[1:] == [Joined(a_peer(2))]
    assert len(service.tenants.get(ACME).stays) == 2


def test_a_new_tenant_over_the_limit_is_refused_until_another_one_is_empty() -> None:
    service = Service(max_tenants=1)
    stays = [service.join(number, ACME)[0] for number in (1, 2)]
    with pytest.raises(TenantLimitReached):
        service.join(3, GLOBEX)
    for stay in stays:
        service.leave(stay)
    service.join(3, GLOBEX)


def test_a_second_leave_of_a_stay_does_nothing() -> None:
    service = Service()
    first, _ = service.join(1)
    _, second = service.join(2)
    service.leave(first)
    service.leave(first)
    assert second.seen[1:] == [Left(a_peer(1))]


def test_a_late_leave_does_not_end_a_later_stay_of_an_equal_peer() -> None:
    service = Service()
    first, _ = service.join(1)
    _, watcher = service.join(2)
    at_once(service.tenants.commit(PeerLeft(first, LeaveCause.LOST)))
    again, newcomer = service.join(1)
    assert again.peer == first.peer
    service.leave(first)
    assert service.membership.is_in(again)
    assert not newcomer.ended
    assert watcher.seen[1:] == [Left(first.peer), Joined(first.peer)]


class OvertakenRepository(InMemoryTenantRepository):
    """Before some of the commits, another node's event becomes part of the tenant."""

    def __init__(self) -> None:
        super().__init__(IPv4Network("100.64.0.0/10"), 10)
        self.overtaken_by: list[Callable[[], MembershipEvent]] = []

    async def commit(self, event: MembershipEvent) -> Committed:
        if self.overtaken_by:
            await super().commit(self.overtaken_by.pop()())
        return await super().commit(event)


def test_a_join_is_decided_again_if_other_events_are_committed_first() -> None:
    tenants = OvertakenRepository()
    membership = MembershipService(tenants, RecordingNotifier(), max_tenants=10)
    watcher, newcomer = Subscriber(), Subscriber()
    at_once(membership.join(ACME, a_newcomer(1), watcher))
    tenants.overtaken_by = [lambda: joined(a_peer(9, "100.64.0.3")), lambda: joined(a_peer(8, "100.64.0.2"))]
    stay = at_once(membership.join(ACME, a_newcomer(2), newcomer))
    assert stay.peer.virtual_ip == ip_address("100.64.0.4")
    assert newcomer.picture() == watcher.picture()
    assert len(watcher.seen) == 4


def test_a_join_is_refused_if_another_join_of_its_key_is_committed_first() -> None:
    tenants = OvertakenRepository()
    membership = MembershipService(tenants, RecordingNotifier(), max_tenants=10)
    tenants.overtaken_by = [lambda: joined(a_peer(2, "100.64.0.77"))]
    with pytest.raises(KeyInUse):
        at_once(membership.join(ACME, a_newcomer(2), Subscriber()))


def test_a_leave_is_done_if_another_leave_of_the_stay_is_committed_first() -> None:
    tenants = OvertakenRepository()
    membership = MembershipService(tenants, RecordingNotifier(), max_tenants=10)
    watcher = Subscriber()
    at_once(membership.join(ACME, a_newcomer(1), watcher))
    stay = at_once(membership.join(ACME, a_newcomer(2), Subscriber()))
    tenants.overtaken_by = [lambda: PeerLeft(stay, LeaveCause.LOST)]
    at_once(membership.leave(stay))
    assert watcher.seen[1:] == [Joined(stay.peer), Left(stay.peer)]


def test_a_newcomer_whose_stay_ends_before_its_welcome_joins_again() -> None:
    class Hasty(InMemoryTenantRepository):
        async def commit(self, event: MembershipEvent) -> Committed:
            committed = await super().commit(event)
            if event.stay.peer == a_peer(2) and not put_out:
                put_out.append(event)
                await super().commit(PeerLeft(event.stay, LeaveCause.LOST))
            return committed

    put_out: list[MembershipEvent] = []
    membership = MembershipService(Hasty(IPv4Network("100.64.0.0/10"), 10), RecordingNotifier(), max_tenants=10)
    watcher, newcomer = Subscriber(), Subscriber()
    at_once(membership.join(ACME, a_newcomer(1), watcher))
    at_once(membership.join(ACME, a_newcomer(2), newcomer))
    assert watcher.seen[1:] == [Joined(a_peer(2)), Left(a_peer(2)), Joined(a_peer(2))]
    assert newcomer.picture() == watcher.picture()


def test_a_leave_raises_nothing_if_it_can_not_be_committed_now() -> None:
    class Away(InMemoryTenantRepository):
        async def commit(self, event: MembershipEvent) -> Committed:
            if isinstance(event, PeerLeft):
                raise Unavailable
            return await super().commit(event)

    membership = MembershipService(Away(IPv4Network("100.64.0.0/10"), 10), RecordingNotifier(), max_tenants=10)
    at_once(membership.leave(at_once(membership.join(ACME, a_newcomer(1), Subscriber()))))


def test_a_join_raises_the_error_of_its_commit() -> None:
    class Broken(InMemoryTenantRepository):
        async def commit(self, event: MembershipEvent) -> Committed:
            raise ConnectionError("the store is away")

    membership = MembershipService(Broken(IPv4Network("100.64.0.0/10"), 10), RecordingNotifier(), max_tenants=10)
    with pytest.raises(ConnectionError):
        at_once(membership.join(ACME, a_newcomer(1), Subscriber()))
