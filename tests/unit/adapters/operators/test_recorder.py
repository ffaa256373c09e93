"""The recorder, with a history that can fail."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network

from tests.builders import a_peer, a_stay_in
from wg_orchestrator.adapters.memory.nodes import OneNode
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.adapters.operators.recorder import Recorder
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import LeaveCause, PeerJoined, PeerLeft, PeerUpdated
from wg_orchestrator.domain.history import Holding, Record
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.domain.stay import StayId
from wg_orchestrator.domain.tenant_id import TenantId


class Fragile:
    """A History that stores while it is whole."""

    def __init__(self) -> None:
        self.stored: list[Record] = []
        self.is_whole = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    async def put(self, records: Sequence[Record]) -> None:
        if not self.is_whole:
            raise Unavailable("broken")
        self.stored += records

    async def holdings(self, tenant_id: TenantId, address: VirtualIP) -> list[Holding]:
        raise NotImplementedError


class Elsewhere(OneNode):
    def is_recorded_here(self, stay_id: StayId) -> bool:
        return False


def a_repository() -> InMemoryTenantRepository:
    return InMemoryTenantRepository(ip_network("100.64.0.0/10"), 100)


async def come_and_go(tenants: InMemoryTenantRepository, number: int) -> None:
    stay = a_stay_in(tenants, a_peer(number))
    await tenants.commit(PeerJoined(stay))
    await tenants.commit(PeerUpdated(stay))
    await tenants.commit(PeerLeft(stay, LeaveCause.GRACE))


async def test_joins_and_leaves_are_stored_at_the_end_at_the_latest() -> None:
    tenants, history = a_repository(), Fragile()
    async with Recorder(history, tenants, OneNode("a"), clock=lambda: 7.0).running():
        await come_and_go(tenants, 1)
        assert history.stored == []
    assert [(one.at, one.cause) for one in history.stored] == [(7.0, None), (7.0, LeaveCause.GRACE)]


async def test_what_cannot_be_stored_waits() -> None:
    tenants, history = a_repository(), Fragile()
    history.is_whole = False
    recording = Recorder(history, tenants, OneNode("a"))
    async with recording.running():
        await come_and_go(tenants, 1)
        await recording.store()
        assert history.stored == []
        history.is_whole = True
        await come_and_go(tenants, 2)
    names = [one.stay.peer.display_name for one in history.stored]
    assert names == ["peer-1", "peer-1", "peer-2", "peer-2"]


async def test_of_too_much_that_waits_the_oldest_is_given_up() -> None:
    tenants, history = a_repository(), Fragile()
    async with Recorder(history, tenants, OneNode("a"), most_waiting=4).running():
        for number in range(1, 4):
            await come_and_go(tenants, number)
    assert [one.stay.peer.display_name for one in history.stored] == ["peer-2", "peer-2", "peer-3", "peer-3"]


async def test_what_another_node_writes_down_is_not_written_down_here() -> None:
    tenants, history = a_repository(), Fragile()
    async with Recorder(history, tenants, Elsewhere("a")).running():
        await come_and_go(tenants, 1)
    assert history.stored == []
