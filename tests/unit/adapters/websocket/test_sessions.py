"""Peers come, go and are let go, over connections in memory: no socket, and no more time than the loop's next turns."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import anyio
import pytest

from tests.builders import ACME, a_newcomer
from tests.unit.adapters.websocket.test_notifier import TERMS
from wg_orchestrator.adapters.memory.admission_records import InMemoryAdmissionRecords
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.adapters.websocket.aim import AimRule
from wg_orchestrator.adapters.websocket.arrival import Arrival, Resumption
from wg_orchestrator.adapters.websocket.connection import Listener
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier
from wg_orchestrator.adapters.websocket.proofs import Proofs, ProofTerms
from wg_orchestrator.adapters.websocket.sessions import Sessions
from wg_orchestrator.adapters.websocket.subscriber import Subscriber
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.admission_control import AdmissionControl
from wg_orchestrator.domain.endpoint import IPAddress
from wg_orchestrator.domain.errors import KeyInUse
from wg_orchestrator.domain.events import Committed, MembershipEvent
from wg_orchestrator.domain.ip_allocator import IPAllocator
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.ports import Challenger
from wg_orchestrator.domain.proof import ProofPolicy
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.grace import Grace
from wg_orchestrator.rfc6455.close import CLOSED_BY_PEER, Close
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire.close_codes import SERVICE_RESTART, SUPERSEDED, TEXT_ONLY
from wg_orchestrator.wire.subprotocol import V2


class MemoryConnection:
    """A connection that goes on by itself, as our own server's does, and tells its listener of its end once."""

    def __init__(self) -> None:
        self.sent: list[Text] = []
        self.closed_with: Close | None = None
        self.has_ended = False
        self.listener: Listener | None = None

    def local_address(self) -> IPAddress | None:
        return ip_address("198.51.100.1")

    def welcome(self, welcome: Text) -> None:
        self.sent.append(welcome)

    def send(self, notices: Notices) -> None:
        self.sent += notices.texts

    def close(self, close: Close) -> None:
        if not self.has_ended:
            self.closed_with = close
            self.end(close)

    def end(self, cause: Close) -> None:
        self.has_ended = True
        if self.listener is not None:
            self.listener.gone(cause)

    async def accept(self, subprotocol: str | None = None) -> None:
        raise AssertionError("it is open")

    async def deny(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        raise AssertionError("it is open")

    async def first_message(self) -> str | bytes:
        raise AssertionError("that was the join")

    async def flush(self) -> None:
        """It is there."""

    async def refuse(self, close: Close) -> None:
        raise AssertionError("it has joined")

    async def run(self, listener: Listener) -> None:
        if self.closed_with is not None:
            listener.gone(self.closed_with)
        self.listener = listener


class HeldRepository(InMemoryTenantRepository):
    """A store that takes its time, once it is told to."""

    def __init__(self) -> None:
        super().__init__(ip_network("100.64.0.0/10"), 100)
        self.may_commit = asyncio.Event()
        self.may_commit.set()

    async def commit(self, event: MembershipEvent) -> Committed:
        await self.may_commit.wait()
        return await super().commit(event)


class LateRepository(HeldRepository):
    """One of many nodes, which hears of what happens on the others a little later."""

    knows_nothing = 0
    """Questions for which it has not heard of anybody yet."""

    def get(self, tenant_id: TenantId) -> Tenant:
        if self.knows_nothing:
            self.knows_nothing -= 1
            return Tenant(tenant_id, IPAllocator(TERMS.network), 100)
        return super().get(tenant_id)


class House:
    def __init__(
        self,
        *,
        seconds: float = 3600,
        rate: float = 0,
        challenger: Challenger | None = None,
        policy: ProofPolicy = ProofPolicy.OFF,
        interval: float = 10.0,
    ) -> None:
        self.tenants = LateRepository()
        self.telemetry = Telemetry(100)
        peers = PeerTelemetry(self.telemetry)
        notifier = WebSocketPeerNotifier(peers, TERMS)
        self.grace = Grace(seconds)
        self.resumption = Resumption(AimRule(TERMS.network, trusts_strangers=False))
        service = MembershipService[Subscriber](self.tenants, notifier, 100)
        proofs = Proofs(challenger, ProofTerms(policy, timeout=0.05, interval=interval), peers)
        self.records = InMemoryAdmissionRecords()
        control = AdmissionControl(self.records)
        self.sessions = Sessions(
            service, notifier, peers, self.grace, self.resumption, proofs, control, rate, retry_delay=0
        )

    async def join(self, number: int) -> MemoryConnection:
        connection = MemoryConnection()
        await self.sessions.join(Arrival(ACME, a_newcomer(number), connection, "192.0.2.1"))
        return connection

    def peers(self) -> int:
        return len(self.tenants.get(ACME).stays)

    def left(self, reason: str) -> float:
        return self.telemetry.registry.get_sample_value("wg_orchestrator_leaves_total", {"reason": reason}) or 0

    @asynccontextmanager
    async def stopping(self) -> AsyncIterator[asyncio.Task[None]]:
        """From the moment that the end of `running` has begun."""
        over = asyncio.Event()

        async def run() -> None:
            async with self.sessions.running():
                await over.wait()

        running = asyncio.create_task(run())
        await asyncio.sleep(0)
        over.set()
        while self.sessions.are_open:
            await asyncio.sleep(0)
        try:
            yield running
        finally:
            self.tenants.may_commit.set()
            await running


async def turns(until: Callable[[], Any]) -> None:
    while not until():
        await asyncio.sleep(0)


async def test_at_the_end_everybody_is_closed_with_1012_and_has_left() -> None:
    house = House()
    async with house.sessions.running():
        connections = [await house.join(number) for number in range(1, 6)]
        assert house.peers() == 5
    assert [connection.closed_with for connection in connections] == [SERVICE_RESTART] * 5
    assert house.peers() == 0
    assert house.left("service restart") == 5


async def test_at_the_end_peers_are_let_go_no_faster_than_another_node_takes_them() -> None:
    house = House(rate=10)
    connections = [await house.join(number) for number in range(1, 4)]
    async with house.stopping() as running:
        await turns(lambda: any(connection.closed_with for connection in connections))
        assert [connection.closed_with for connection in connections].count(None) == 2
        house.grace.cut()
        await running
    assert [connection.closed_with for connection in connections] == [SERVICE_RESTART] * 3


async def test_a_grace_too_short_for_that_pace_has_them_go_faster() -> None:
    house = House(seconds=0, rate=1)
    connections = [await house.join(number) for number in range(1, 51)]
    async with house.sessions.running():
        pass
    assert [connection.closed_with for connection in connections] == [SERVICE_RESTART] * 50


async def test_the_end_waits_for_a_join_that_is_being_committed_and_the_peer_is_out_again() -> None:
    house = House()
    house.tenants.may_commit.clear()
    joining = asyncio.create_task(house.join(1))
    await asyncio.sleep(0)
    async with house.stopping() as running:
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.done()
        house.tenants.may_commit.set()
        connection = await joining
        assert (connection.sent, connection.closed_with) == ([], SERVICE_RESTART)
    assert house.peers() == 0


async def test_a_leave_that_the_store_holds_up_holds_up_the_end_until_the_grace_is_over() -> None:
    house = House()
    connection = await house.join(1)
    house.tenants.may_commit.clear()
    async with house.stopping() as running:
        await turns(lambda: connection.closed_with)
        assert not running.done()
        house.grace.cut()
        with anyio.fail_after(30):
            await running
        assert house.peers() == 1


async def test_a_peer_that_has_ended_by_itself_is_not_closed_again() -> None:
    house = House()
    async with house.sessions.running():
        connection = await house.join(1)
        connection.end(Close(1000, CLOSED_BY_PEER))
        await turns(lambda: house.peers() == 0)
    assert connection.closed_with is None
    assert house.left("closed by the peer") == 1


async def test_of_who_has_left_nothing_is_kept() -> None:
    house = House()
    for number in range(1, 4):
        connection = await house.join(number)
        connection.end(Close(1000, CLOSED_BY_PEER))
    await turns(lambda: house.peers() == 0)
    await turns(lambda: not house.sessions._tasks)
    assert list(house.sessions.connected) == []


async def test_text_is_ignored_and_binary_ends_the_session() -> None:
    house = House()
    connection = await house.join(1)
    assert connection.listener is not None
    connection.listener.heard("keep-alive")
    assert connection.closed_with is None
    connection.listener.heard(b"x")
    assert connection.closed_with == TEXT_ONLY
    await turns(lambda: house.peers() == 0)


async def test_who_is_refused_has_no_session() -> None:
    house = House()
    async with house.sessions.running():
        first = await house.join(1)
        with pytest.raises(KeyInUse):
            await house.join(1)
        assert first.closed_with is None
    assert house.left("service restart") == 1


async def test_who_resumes_on_a_node_that_has_not_heard_of_the_stay_yet_is_not_refused() -> None:
    house = House()
    first, again = MemoryConnection(), MemoryConnection()
    await house.sessions.join(Arrival(ACME, a_newcomer(1), first, "192.0.2.1", V2))
    welcome = json.loads(first.sent[0].payload)
    house.tenants.knows_nothing = 2  # While it is asked for the tenant's size, and for the session.
    resume = welcome["session"], welcome["revision"]
    await house.sessions.join(Arrival(ACME, a_newcomer(1), again, "192.0.2.1", V2, None, resume))
    assert json.loads(again.sent[0].payload)["session"] == welcome["session"]
    assert first.closed_with == SUPERSEDED
    assert house.peers() == 1
