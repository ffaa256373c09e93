"""If a join fails, whatever the cause, the peer is not left in the tenant."""

import asyncio
from ipaddress import IPv4Network

import pytest

from tests.builders import ACME, a_key, a_newcomer, at_once, peers_of
from tests.fakes import RecordingNotifier, Subscriber
from tests.faults import Faults, Planted
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.domain.events import Committed, MembershipEvent
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.tenant import Tenant

PLACES = [
    (InMemoryTenantRepository, "get"),
    (InMemoryTenantRepository, "next_stay_id"),
    (InMemoryTenantRepository, "commit"),
    (Tenant, "admit"),
    (Tenant, "release"),
    (RecordingNotifier, "welcome"),
    (RecordingNotifier, "announce"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("others", [0, 2])
def test_a_join_that_fails_at_any_call_leaves_no_peer_behind(
    others: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults(monkeypatch, PLACES, after=after)
    struck = set()
    for nth in range(100):
        faults.disarm()
        tenants = InMemoryTenantRepository(IPv4Network("100.64.0.0/10"), 10)
        membership = MembershipService(tenants, RecordingNotifier(), max_tenants=10)
        for number in range(1, 1 + others):
            at_once(membership.join(ACME, a_newcomer(number), Subscriber()))
        roster = list(tenants.get(ACME).stays)
        faults.arm(nth)
        try:
            at_once(membership.join(ACME, a_newcomer(9), Subscriber()))
        except Planted:
            faults.disarm()
            assert list(tenants.get(ACME).stays) == roster, faults.struck
            assert at_once(membership.join(ACME, a_newcomer(9), Subscriber())).peer.public_key == a_key(9)
            struck.add(faults.struck)
        else:
            break
    assert struck == {f"{owner.__name__}.{name}" for owner, name in PLACES if name != "release"}


def test_the_others_are_told_that_a_newcomer_whose_welcome_fails_came_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults(monkeypatch, [(RecordingNotifier, "welcome")], after=False)
    tenants = InMemoryTenantRepository(IPv4Network("100.64.0.0/10"), 10)
    membership = MembershipService(tenants, RecordingNotifier(), max_tenants=10)
    watcher = Subscriber()
    at_once(membership.join(ACME, a_newcomer(1), watcher))
    faults.arm(0)
    with pytest.raises(Planted):
        at_once(membership.join(ACME, a_newcomer(2), Subscriber()))
    assert len(watcher.seen) == 3
    assert list(watcher.picture().values()) == peers_of(tenants.get(ACME))


def test_a_join_that_is_cancelled_while_it_is_committed_leaves_no_peer_behind() -> None:
    class Slow(InMemoryTenantRepository):
        async def commit(self, event: MembershipEvent) -> Committed:
            committed = await super().commit(event)
            await asyncio.sleep(0)
            return committed

    async def cancelled_join() -> None:
        tenants = Slow(IPv4Network("100.64.0.0/10"), 10)
        membership = MembershipService(tenants, RecordingNotifier(), max_tenants=10)
        joining = asyncio.create_task(membership.join(ACME, a_newcomer(1), Subscriber()))
        await asyncio.sleep(0)
        assert len(tenants.get(ACME).stays) == 1
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        assert list(tenants.get(ACME).stays) == []

    asyncio.run(cancelled_join())
