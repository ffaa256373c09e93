from ipaddress import IPv4Network

import pytest

from tests.builders import ACME, GLOBEX, a_key, a_name, a_peer, joined, left
from wg_orchestrator.domain.errors import Conflict, PeerLimitReached
from wg_orchestrator.domain.events import MembershipEvent
from wg_orchestrator.domain.ports import TenantRepository


class TenantRepositoryContract:
    """What a TenantRepository promises. Subclass it as `Test…` and supply the fixture `repository`.

    The repository under test gives every tenant `NETWORK` and room for `MAX_PEERS` peers.
    """

    NETWORK = IPv4Network("100.64.0.0/10")
    MAX_PEERS = 3

    async def test_a_tenant_that_nobody_is_in_is_empty_and_not_counted(self, repository: TenantRepository) -> None:
        assert list(repository.get(ACME).peers) == []
        assert repository.count() == 0

    async def test_a_committed_join_is_part_of_its_tenant(self, repository: TenantRepository) -> None:
        await repository.commit(joined(a_peer(1)))
        assert list(repository.get(ACME).peers) == [a_peer(1)]
        assert repository.count() == 1

    async def test_tenants_are_apart(self, repository: TenantRepository) -> None:
        await repository.commit(joined(a_peer(1), ACME))
        await repository.commit(joined(a_peer(1), GLOBEX))
        await repository.commit(left(a_peer(1), ACME))
        assert list(repository.get(ACME).peers) == []
        assert list(repository.get(GLOBEX).peers) == [a_peer(1)]

    async def test_a_tenant_is_forgotten_with_its_last_peer(self, repository: TenantRepository) -> None:
        await repository.commit(joined(a_peer(1)))
        await repository.commit(left(a_peer(1)))
        assert repository.count() == 0
        assert repository.get(ACME).admit(a_name(2), a_key(2)).peer.virtual_ip == self.NETWORK[1]

    async def test_what_get_returns_can_decide_the_next_join(self, repository: TenantRepository) -> None:
        for number in range(1, self.MAX_PEERS + 1):
            await repository.commit(repository.get(ACME).admit(a_name(number), a_key(number)))
        addresses = [peer.virtual_ip for peer in repository.get(ACME).peers]
        assert addresses == [self.NETWORK[number] for number in range(1, self.MAX_PEERS + 1)]
        with pytest.raises(PeerLimitReached):
            repository.get(ACME).admit(a_name(9), a_key(9))

    async def test_of_two_claims_on_one_address_one_wins(self, repository: TenantRepository) -> None:
        first = repository.get(ACME).admit(a_name(1), a_key(1))
        second = repository.get(ACME).admit(a_name(2), a_key(2))
        await repository.commit(first)
        with pytest.raises(Conflict):
            await repository.commit(second)
        assert list(repository.get(ACME).peers) == [first.peer]
        again = repository.get(ACME).admit(a_name(2), a_key(2))
        assert again.peer.virtual_ip != first.peer.virtual_ip
        await repository.commit(again)

    async def test_of_two_claims_on_one_key_one_wins(self, repository: TenantRepository) -> None:
        await repository.commit(joined(a_peer(1, "100.64.0.1")))
        with pytest.raises(Conflict):
            await repository.commit(joined(a_peer(1, "100.64.0.2")))
        assert list(repository.get(ACME).peers) == [a_peer(1, "100.64.0.1")]

    async def test_a_peer_leaves_once(self, repository: TenantRepository) -> None:
        await repository.commit(joined(a_peer(1)))
        await repository.commit(joined(a_peer(2)))
        await repository.commit(left(a_peer(1)))
        with pytest.raises(Conflict):
            await repository.commit(left(a_peer(1)))
        assert list(repository.get(ACME).peers) == [a_peer(2)]

    async def test_followers_get_each_committed_event_once_and_in_order(self, repository: TenantRepository) -> None:
        seen: list[MembershipEvent] = []
        repository.follow(seen.append)
        events: list[MembershipEvent] = [
            joined(a_peer(1)),
            joined(a_peer(2)),
            left(a_peer(1)),
            joined(a_peer(3)),
            left(a_peer(3)),
        ]
        for event in events:
            await repository.commit(event)
        assert seen == events

    async def test_followers_never_get_a_refused_event(self, repository: TenantRepository) -> None:
        await repository.commit(joined(a_peer(1)))
        seen: list[MembershipEvent] = []
        repository.follow(seen.append)
        with pytest.raises(Conflict):
            await repository.commit(joined(a_peer(2, "100.64.0.1")))
        assert seen == []

    async def test_an_event_is_applied_before_followers_get_it(self, repository: TenantRepository) -> None:
        sizes: list[int] = []
        repository.follow(lambda event: sizes.append(len(repository.get(event.tenant_id).peers)))
        await repository.commit(joined(a_peer(1)))
        await repository.commit(joined(a_peer(2)))
        await repository.commit(left(a_peer(1)))
        assert sizes == [1, 2, 1]
