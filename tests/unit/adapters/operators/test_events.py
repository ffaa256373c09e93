"""The event log, without a connection."""

import json
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

from tests.builders import ACME, GLOBEX, a_peer, a_stay_in
from wg_orchestrator.adapters.memory.nodes import OneNode
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.adapters.operators.events import EventLog
from wg_orchestrator.domain.events import LeaveCause, PeerJoined, PeerLeft
from wg_orchestrator.domain.tenant_id import TenantId


class Log:
    def __init__(self, kept: int = 6) -> None:
        self.tenants = InMemoryTenantRepository(ip_network("100.64.0.0/10"), 100)
        self.log = EventLog(self.tenants, OneNode("node-1"), kept)

    async def happen(self, number: int, tenant_id: TenantId = ACME) -> None:
        """Two events: a peer joins, and leaves."""
        stay = a_stay_in(self.tenants, a_peer(number), tenant_id)
        await self.tenants.commit(PeerJoined(stay))
        await self.tenants.commit(PeerLeft(stay, LeaveCause.REVOKED))


async def told(stream: AsyncIterator[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Of the next part of the stream: the id, the name and the data of each event."""
    found = []
    for text in (await anext(stream)).removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in text.split("\n"))
        if "event" in fields:
            found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


async def begun(stream: AsyncIterator[str]) -> AsyncIterator[str]:
    assert await anext(stream) == "retry: 1000\n\n"
    return stream


async def test_a_reader_is_told_what_happens_from_then_on() -> None:
    log = Log()
    await log.happen(1)
    stream = await begun(log.log.read(None, None))
    await log.happen(2)
    (_, joined, data), (_, left, end) = await told(stream)
    assert (joined, data["virtual_ip"], data["node"], data["cause"]) == ("joined", "100.64.0.2", "node-1", None)
    assert (left, end["cause"], end["revision"]) == ("left", "revoked", data["revision"] + 1)


async def test_a_reader_that_is_too_slow_is_told_of_a_gap_and_goes_on() -> None:
    log = Log(kept=6)
    stream = await begun(log.log.read(None, None))
    for number in range(1, 5):
        await log.happen(number)
    assert [name for _, name, _ in await told(stream)] == ["gap"]
    await log.happen(9)
    assert [data["virtual_ip"] for _, _, data in await told(stream)] == ["100.64.0.9"] * 2


async def test_a_reader_that_keeps_up_just_so_is_told_of_no_gap() -> None:
    log = Log(kept=6)
    stream = await begun(log.log.read(None, None))
    for number in range(1, 4):
        await log.happen(number)
    assert [name for _, name, _ in await told(stream)] == ["joined", "left"] * 3


async def test_each_event_can_be_gone_on_after() -> None:
    log = Log(kept=6)
    first = await begun(log.log.read(None, None))
    for number in range(1, 4):
        await log.happen(number)
    events = await told(first)
    assert len({event_id for event_id, _, _ in events}) == 6
    for position, (event_id, _, _) in enumerate(events[:-1], 1):
        assert await told(await begun(log.log.read(event_id, None))) == events[position:]


async def test_an_event_that_is_kept_no_more_is_a_gap() -> None:
    log = Log(kept=2)
    first = await begun(log.log.read(None, None))
    await log.happen(1)
    (old, *_), *_ = await told(first)
    await log.happen(2)
    assert [name for _, name, _ in await told(await begun(log.log.read(old, None)))] == ["gap"]


async def test_other_tenants_events_are_passed_over_and_count_as_read() -> None:
    log = Log(kept=6)
    stream = await begun(log.log.read(None, GLOBEX))
    await log.happen(1)
    await log.happen(2, GLOBEX)
    assert {data["tenant"] for _, _, data in await told(stream)} == {"globex"}


async def test_another_process_knows_none_of_the_ids_of_this_one() -> None:
    log, other = Log(), Log()
    first = await begun(log.log.read(None, None))
    await log.happen(1)
    await other.happen(1)
    (known, *_), *_ = await told(first)
    assert [name for _, name, _ in await told(await begun(other.log.read(known, None)))] == ["gap"]
