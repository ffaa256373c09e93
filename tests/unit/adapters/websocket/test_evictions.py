"""Peers that may not be in any more are put out, whenever that turns out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.builders import ACME, a_newcomer
from tests.grants import KEY_REVOKED, NOW, REVOKED
from tests.unit.adapters.websocket.test_sessions import House, MemoryConnection, turns
from wg_orchestrator.adapters.websocket.arrival import Arrival
from wg_orchestrator.adapters.websocket.evictions import Evictions
from wg_orchestrator.adapters.websocket.receipts import Receipts
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.admission import Grant
from wg_orchestrator.domain.admission_control import AdmissionControl
from wg_orchestrator.domain.stay import InvitationId
from wg_orchestrator.rfc6455.close import CLOSED_BY_PEER, Close
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire.close_codes import PUT_OUT_BY_OPERATOR, STAY_OVER
from wg_orchestrator.wire.close_codes import REVOKED as CLOSED_REVOKED
from wg_orchestrator.wire.subprotocol import V2


class Clock:
    now = float(NOW)

    def __call__(self) -> float:
        return self.now


class GuardedHouse(House):
    """A House whose peers are put out."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        telemetry, service = PeerTelemetry(Telemetry(100)), self.sessions._service
        control = AdmissionControl(self.records, self.clock)
        receipts = Receipts(self.records, self.sessions.connected, telemetry, "node", self.clock)
        self.evictions = Evictions(service, self.tenants, control, self.sessions, receipts, telemetry, self.clock)

    @asynccontextmanager
    async def guarded(self) -> AsyncIterator[None]:
        async with self.evictions.running():
            yield

    async def come(self, number: int, grant: Grant, version: str = V2) -> MemoryConnection:
        connection = MemoryConnection()
        await self.sessions.join(Arrival(ACME, a_newcomer(number), connection, "192.0.2.1", version, grant=grant))
        return connection


BY_IT = Grant(InvitationId("once"))


async def test_who_is_revoked_while_its_join_is_committed_is_put_out_at_once() -> None:
    house = GuardedHouse()
    async with house.guarded():
        house.tenants.may_commit.clear()
        coming = asyncio.create_task(house.come(1, BY_IT))
        await asyncio.sleep(0)
        await house.records.revoke(REVOKED)
        house.tenants.may_commit.set()
        connection = await coming
        await turns(lambda: connection.closed_with == CLOSED_REVOKED)
        await turns(lambda: not house.tenants.get(ACME).stays)


async def test_who_is_away_is_out_when_it_is_revoked() -> None:
    house = GuardedHouse()
    async with house.guarded():
        connection = await house.come(1, BY_IT)
        connection.end(CLOSED_REVOKED)  # Whatever ends it.
        await house.records.revoke(KEY_REVOKED)
        await turns(lambda: not house.tenants.get(ACME).stays)


async def test_a_stay_ends_at_its_time_and_not_before() -> None:
    house = GuardedHouse()
    async with house.guarded():
        connection = await house.come(1, replace(BY_IT, stay=0x7FFF_FFFF))
        other = await house.come(2, BY_IT)
        (stay, _) = house.tenants.get(ACME).stays
        assert stay.until is not None
        house.clock.now = stay.until - 0.5
        house.evictions._has_next.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert connection.closed_with is None
        house.clock.now = stay.until
        house.evictions._has_next.set()
        await turns(lambda: connection.closed_with == STAY_OVER)
        assert other.closed_with is None


async def test_what_fails_is_tried_again() -> None:
    house = GuardedHouse()
    async with house.guarded():
        connection = await house.come(1, BY_IT)
        real, faults = house.tenants.commit, iter([True])

        async def fails_once(event: object) -> object:
            if next(faults, False):
                raise RuntimeError("a fault of ours")
            return await real(event)  # type: ignore[arg-type]

        house.tenants.commit = fails_once  # type: ignore[method-assign, assignment]
        await house.records.revoke(REVOKED)
        await turns(lambda: connection.closed_with == CLOSED_REVOKED)


async def test_a_receipt_waits_for_nobody_who_has_left_by_itself() -> None:
    house = GuardedHouse()
    async with house.guarded():
        first, second = await house.come(1, BY_IT), await house.come(2, BY_IT)
        house.tenants.may_commit.clear()
        await house.records.revoke(REVOKED)  # Nobody can be put out now.
        first.end(Close(1000, CLOSED_BY_PEER))
        house.tenants.may_commit.set()
        await turns(lambda: second.closed_with == CLOSED_REVOKED and not house.tenants.get(ACME).stays)
        while not (said := await house.records.reports(REVOKED.id)) or said[0].since is None:
            await asyncio.sleep(0.01)
        assert said[0].put_out <= 2


def test_only_who_was_put_out_by_an_operator_may_come_back() -> None:
    assert [close.code for close in (CLOSED_REVOKED, STAY_OVER, PUT_OUT_BY_OPERATOR)] == [4506, 4508, 4509]
