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
        self.fault: Exception | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    async def put(self, records: Sequence[Record]) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
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


async def test_what_the_history_fails_at_holds_up_nothing_that_comes_after_it() -> None:
    tenants, history = a_repository(), Fragile()
    recording = Recorder(history, tenants, OneNode("a"))
    async with recording.running():
        history.fault = RuntimeError("a fault of ours")
        await come_and_go(tenants, 1)
        await recording.store()
        await come_and_go(tenants, 2)
    assert [one.stay.peer.display_name for one in history.stored] == ["peer-2", "peer-2"]


class Slow(Fragile):
    """One while which stores, something else happens."""

    def __init__(self, tenants: InMemoryTenantRepository) -> None:
        super().__init__()
        self._tenants = tenants
        self.batches: list[int] = []

    async def put(self, records: Sequence[Record]) -> None:
        self.batches.append(len(records))
        if len(self.batches) < 5:
            await come_and_go(self._tenants, 100 + len(self.batches))
        await super().put(records)


async def test_what_comes_while_a_batch_is_stored_waits_for_the_next_one() -> None:
    tenants = a_repository()
    history = Slow(tenants)
    recording = Recorder(history, tenants, OneNode("a"))
    await come_and_go(tenants, 1)
    await recording.store()
    assert history.batches == [2]
    await recording.store()
    assert history.batches == [2, 2]
