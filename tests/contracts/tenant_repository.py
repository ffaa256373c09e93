from ipaddress import IPv4Network

import pytest

from tests.builders import ACME, GLOBEX, a_name, a_newcomer, a_peer, a_stay_in, peers_of
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.errors import Conflict, PeerLimitReached
from wg_orchestrator.domain.events import Committed, LeaveCause, MembershipEvent, PeerJoined, PeerLeft
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.ports import TenantRepository
from wg_orchestrator.domain.session import digest
from wg_orchestrator.domain.stay import Stay

SECRET = "a session's secret"
ENDPOINT = Endpoint.parse("10.0.0.7:51820")


class TenantRepositoryContract:
    """What a TenantRepository promises. Subclass it as `Test…` and supply the fixture `repository`.

    The repository under test gives every tenant `NETWORK` and room for `MAX_PEERS` peers.
    """

    NETWORK = IPv4Network("100.64.0.0/10")
    MAX_PEERS = 3

    async def test_a_tenant_that_nobody_is_in_is_empty_and_not_counted(self, repository: TenantRepository) -> None:
        assert peers_of(repository.get(ACME)) == []
        assert repository.count() == 0

    async def test_a_committed_join_is_part_of_its_tenant(self, repository: TenantRepository) -> None:
        stay = a_stay_in(repository, a_peer(1))
        await repository.commit(PeerJoined(stay))
        assert list(repository.get(ACME).stays) == [stay]
        assert repository.count() == 1

    async def test_all_tenants_with_peers_are_found(self, repository: TenantRepository) -> None:
        for tenant_id in (ACME, GLOBEX):
            await repository.commit(PeerJoined(a_stay_in(repository, a_peer(1), tenant_id)))
        await come_and_go(repository, a_peer(2))
        assert {tenant.id for tenant in repository.all()} == {ACME, GLOBEX}
        assert all(repository.get(tenant.id) is tenant for tenant in repository.all())

    async def test_an_era_has_a_name_and_goes_on(self, repository: TenantRepository) -> None:
        era = repository.era
        await come_and_go(repository, a_peer(1))
        assert era == repository.era != ""

    async def test_an_event_changes_its_own_tenant_only(self, repository: TenantRepository) -> None:
        here, there = a_stay_in(repository, a_peer(1), ACME), a_stay_in(repository, a_peer(1), GLOBEX)
        await repository.commit(PeerJoined(here))
        await repository.commit(PeerJoined(there))
        await repository.commit(PeerLeft(here, LeaveCause.LEFT))
        assert list(repository.get(ACME).stays) == []
        assert list(repository.get(GLOBEX).stays) == [there]

    async def test_a_tenant_is_forgotten_with_its_last_peer(self, repository: TenantRepository) -> None:
        await come_and_go(repository, a_peer(1))
        assert repository.count() == 0
        newcomer = repository.get(ACME).admit(repository.next_stay_id(), a_newcomer(2))
        assert newcomer.stay.peer.virtual_ip == self.NETWORK[1]

    async def test_what_get_returns_can_decide_the_next_join(self, repository: TenantRepository) -> None:
        for number in range(1, self.MAX_PEERS + 1):
            stay_id = repository.next_stay_id()
            await repository.commit(repository.get(ACME).admit(stay_id, a_newcomer(number)))
        addresses = [peer.virtual_ip for peer in peers_of(repository.get(ACME))]
        assert addresses == [self.NETWORK[number] for number in range(1, self.MAX_PEERS + 1)]
        with pytest.raises(PeerLimitReached):
            repository.get(ACME).admit(repository.next_stay_id(), a_newcomer(9))

    async def test_each_stay_has_an_id_of_its_own(self, repository: TenantRepository) -> None:
        assert len({repository.next_stay_id() for _ in range(100)}) == 100

    async def test_of_two_joins_at_one_address_only_the_first_is_committed(self, repository: TenantRepository) -> None:
        first = repository.get(ACME).admit(repository.next_stay_id(), a_newcomer(1))
        second = repository.get(ACME).admit(repository.next_stay_id(), a_newcomer(2))
        await repository.commit(first)
        with pytest.raises(Conflict):
            await repository.commit(second)
        assert list(repository.get(ACME).stays) == [first.stay]
        again = repository.get(ACME).admit(repository.next_stay_id(), a_newcomer(2))
        assert again.stay.peer.virtual_ip != first.stay.peer.virtual_ip
        await repository.commit(again)

    async def test_of_two_joins_with_one_key_only_the_first_is_committed(self, repository: TenantRepository) -> None:
        first = a_stay_in(repository, a_peer(1, "100.64.0.1"))
        await repository.commit(PeerJoined(first))
        with pytest.raises(Conflict):
            await repository.commit(PeerJoined(a_stay_in(repository, a_peer(1, "100.64.0.2"))))
        assert list(repository.get(ACME).stays) == [first]

    async def test_a_second_leave_of_a_stay_is_a_conflict(self, repository: TenantRepository) -> None:
        leaver, other = a_stay_in(repository, a_peer(1)), a_stay_in(repository, a_peer(2))
        await repository.commit(PeerJoined(leaver))
        await repository.commit(PeerJoined(other))
        await repository.commit(PeerLeft(leaver, LeaveCause.LEFT))
        with pytest.raises(Conflict):
            await repository.commit(PeerLeft(leaver, LeaveCause.LEFT))
        assert list(repository.get(ACME).stays) == [other]

    async def test_a_late_leave_does_not_end_a_later_stay_of_an_equal_peer(self, repository: TenantRepository) -> None:
        first = await come_and_go(repository, a_peer(1))
        again = a_stay_in(repository, a_peer(1))
        await repository.commit(PeerJoined(again))
        with pytest.raises(Conflict):
            await repository.commit(PeerLeft(first, LeaveCause.LEFT))
        assert list(repository.get(ACME).stays) == [again]

    async def test_followers_get_each_committed_event_once_and_in_order(self, repository: TenantRepository) -> None:
        seen: list[Committed] = []
        repository.follow(seen.append)
        one, two, three = (a_stay_in(repository, a_peer(number)) for number in (1, 2, 3))
        events: list[MembershipEvent] = [
            PeerJoined(one),
            PeerJoined(two),
            PeerLeft(one, LeaveCause.LEFT),
            PeerJoined(three),
            PeerLeft(three, LeaveCause.LEFT),
        ]
        for event in events:
            await repository.commit(event)
        assert [committed.event for committed in seen] == events

    async def test_a_commit_returns_what_the_followers_get(self, repository: TenantRepository) -> None:
        seen: list[Committed] = []
        repository.follow(seen.append)
        stay = a_stay_in(repository, a_peer(1))
        returned = [
            await repository.commit(PeerJoined(stay)),
            await repository.commit(PeerLeft(stay, LeaveCause.LEFT)),
        ]
        assert returned == seen

    async def test_revisions_rise_with_each_event_of_a_tenant(self, repository: TenantRepository) -> None:
        revisions: list[int] = []
        repository.follow(lambda committed: revisions.append(committed.revision))
        for _ in range(5):  # The tenant is forgotten each time, and its numbers go on.
            stay = a_stay_in(repository, a_peer(1))
            await repository.commit(PeerJoined(stay))
            assert repository.get(ACME).revision == revisions[-1]
            await repository.commit(PeerLeft(stay, LeaveCause.LEFT))
        assert revisions == sorted(set(revisions))
        assert len(revisions) == 10
        assert 0 < revisions[-1] < 2**53

    async def test_followers_never_get_a_refused_event(self, repository: TenantRepository) -> None:
        await repository.commit(PeerJoined(a_stay_in(repository, a_peer(1))))
        seen: list[Committed] = []
        repository.follow(seen.append)
        with pytest.raises(Conflict):
            await repository.commit(PeerJoined(a_stay_in(repository, a_peer(2, "100.64.0.1"))))
        assert seen == []

    async def test_an_event_is_applied_before_followers_get_it(self, repository: TenantRepository) -> None:
        seen: list[tuple[type[MembershipEvent], int, bool]] = []

        def look(committed: Committed) -> None:
            tenant = repository.get(committed.event.stay.tenant_id)
            seen.append((type(committed.event), len(tenant.stays), tenant.revision == committed.revision))

        repository.follow(look)
        one, two = a_stay_in(repository, a_peer(1)), a_stay_in(repository, a_peer(2))
        await repository.commit(PeerJoined(one))
        await repository.commit(PeerJoined(two))
        await repository.commit(PeerLeft(one, LeaveCause.LEFT))
        assert seen == [(PeerJoined, 1, True), (PeerJoined, 2, True), (PeerLeft, 1, True)]

    async def test_a_stay_goes_on_after_a_resumption_and_an_update(self, repository: TenantRepository) -> None:
        stay = await self.a_session(repository)
        seen: list[Committed] = []
        repository.follow(seen.append)
        resumed = repository.get(ACME).resume(stay.peer.public_key, SECRET)
        assert resumed is not None
        returned = [await repository.commit(resumed)]
        updated = repository.get(ACME).update(resumed.stay, a_name(9), (ENDPOINT,))
        assert updated is not None
        returned.append(await repository.commit(updated))
        assert returned == seen
        assert [committed.event for committed in seen] == [resumed, updated]
        assert list(repository.get(ACME).stays) == [updated.stay]
        assert (updated.stay.id, updated.stay.turn, updated.stay.session) == (stay.id, 1, stay.session)

    async def test_of_two_resumptions_of_one_turn_only_the_first_is_committed(
        self, repository: TenantRepository
    ) -> None:
        stay = await self.a_session(repository)
        first = repository.get(ACME).resume(stay.peer.public_key, SECRET)
        second = repository.get(ACME).resume(stay.peer.public_key, SECRET)
        assert first is not None
        assert second is not None
        await repository.commit(first)
        with pytest.raises(Conflict):
            await repository.commit(second)
        third = repository.get(ACME).resume(stay.peer.public_key, SECRET)
        assert third is not None
        await repository.commit(third)
        assert [held.turn for held in repository.get(ACME).stays] == [2]

    async def test_an_event_of_an_earlier_turn_is_a_conflict(self, repository: TenantRepository) -> None:
        stay = await self.a_session(repository)
        late = repository.get(ACME).update(stay, a_name(9))
        resumed = repository.get(ACME).resume(stay.peer.public_key, SECRET)
        assert late is not None
        assert resumed is not None
        await repository.commit(resumed)
        for event in (late, PeerLeft(stay, LeaveCause.LEFT)):
            with pytest.raises(Conflict):
                await repository.commit(event)
        assert list(repository.get(ACME).stays) == [resumed.stay]

    async def test_a_peer_that_has_left_can_not_resume(self, repository: TenantRepository) -> None:
        stay = await self.a_session(repository)
        resumed = repository.get(ACME).resume(stay.peer.public_key, SECRET)
        assert resumed is not None
        await repository.commit(PeerLeft(stay, LeaveCause.LEFT))
        with pytest.raises(Conflict):
            await repository.commit(resumed)
        assert list(repository.get(ACME).stays) == []

    async def a_session(self, repository: TenantRepository) -> Stay:
        """The stay of a peer that may come back with SECRET."""
        event = repository.get(ACME).admit(repository.next_stay_id(), a_newcomer(1), digest(SECRET))
        return (await repository.commit(event)).event.stay


async def come_and_go(repository: TenantRepository, peer: Peer) -> Stay:
    stay = a_stay_in(repository, peer)
    await repository.commit(PeerJoined(stay))
    await repository.commit(PeerLeft(stay, LeaveCause.LEFT))
    return stay
