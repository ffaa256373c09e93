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
from wg_orchestrator.domain.nodes import Note
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry.telemetry import Telemetry


class Log:
    def __init__(self, kept: int = 6, nodes: "Told | None" = None) -> None:
        self.tenants = InMemoryTenantRepository(ip_network("100.64.0.0/10"), 100)
        self.nodes = OneNode("node-1") if nodes is None else nodes
        self.telemetry = Telemetry(100)
        self.log = EventLog(self.tenants, self.nodes, self.telemetry, kept)

    async def happen(self, number: int, tenant_id: TenantId = ACME) -> None:
        """Two events: a peer joins, and leaves."""
        stay = a_stay_in(self.tenants, a_peer(number), tenant_id)
        await self.tenants.commit(PeerJoined(stay))
        await self.tenants.commit(PeerLeft(stay, LeaveCause.REVOKED))


class Told(OneNode):
    """One of several nodes, with notes that others tell."""

    def tell(self, by: str, number: int, kind: Any = "refused", node: str = "node-2") -> None:
        for hearer in self._hearers:
            hearer(Note(by, number, kind, 1_800_000_000, node, cause=f"{by}{number}"))


async def told(stream: AsyncIterator[bytes]) -> list[tuple[str, str, dict[str, Any]]]:
    """Of the next part of the stream: the id, the name and the data of each event."""
    found = []
    for text in (await anext(stream)).decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in text.split("\n"))
        if "event" in fields:
            found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


async def begun(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    assert (await anext(stream)).startswith(b"retry: 1000\n")
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


async def test_who_is_refused_is_told_of_as_it_is_logged() -> None:
    log = Log()
    stream, of_globex = await begun(log.log.read(None, None)), await begun(log.log.read(None, GLOBEX))
    log.telemetry.info("refused", "bad token", source="192.0.2.1", tenant="acme")
    log.telemetry.info("joined", tenant="acme")
    log.telemetry.info("refused", "policy", source="192.0.2.1")
    (_, name, data), (_, _, other) = await told(stream)
    assert (name, data["tenant"], data["cause"], data["node"]) == ("refused", "acme", "bad token", "node-1")
    assert (other["tenant"], other["cause"], other["revision"]) == (None, "policy", None)
    assert set(data) == {
        "at", "tenant", "revision", "display_name", "public_key", "virtual_ip", "cause", "node",
    }  # fmt: skip
    await log.happen(1, GLOBEX)
    assert {data["tenant"] for _, _, data in await told(of_globex)} == {"globex"}


def kinds(events: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    return [data["cause"] if name == "refused" else name for _, name, data in events]


async def test_a_reader_goes_on_where_notes_are_in_another_order_and_misses_none_and_gets_none_twice() -> None:
    here, there = Told("node-1"), Told("node-3")
    one, two = Log(kept=20, nodes=here), Log(kept=20, nodes=there)
    two.tenants.era = one.tenants.era  # As on NATS: the same events, in the same order, on both.
    await one.happen(7)
    await two.happen(7)
    reader = await begun(one.log.read(None, None))
    here.tell("a", 1)
    await one.happen(1)
    here.tell("b", 1)
    there.tell("b", 1)
    await two.happen(1)
    there.tell("a", 1)
    there.tell("a", 2)
    await two.happen(2)
    seen = await told(reader)
    assert kinds(seen) == ["a1", "joined", "left", "b1"]
    for count, (last_id, _, _) in enumerate(seen, 1):
        before, rest = kinds(seen[:count]), kinds(await told(await begun(two.log.read(last_id, None))))
        members = [kind for kind in before + rest if kind in ("joined", "left")]
        assert members == ["joined", "left", "joined", "left"]
        assert sorted(kind for kind in before + rest if kind not in members) == ["a1", "a2", "b1"]


async def test_a_note_that_comes_late_here_is_not_told_again_and_no_id_forgets_it() -> None:
    here, there = Told("node-1"), Told("node-3")
    one, two = Log(kept=20, nodes=here), Log(kept=20, nodes=there)
    two.tenants.era = one.tenants.era
    reader = await begun(one.log.read(None, None))
    await one.happen(1)
    here.tell("b", 1)
    (*_, (last_id, _, _)) = await told(reader)
    await two.happen(1)
    again = await begun(two.log.read(last_id, None))
    await two.happen(2)
    (*_, (later, _, _)) = events = await told(again)
    assert kinds(events) == ["joined", "left"]
    there.tell("b", 1)
    there.tell("a", 1)
    assert kinds(await told(again)) == ["a1"]
    # The id of an event before the note was heard of here says that the reader has it.
    third = await begun(two.log.read(later, None))
    assert kinds(await told(third)) == ["a1"]


async def test_a_note_that_was_lost_on_its_way_is_a_gap() -> None:
    nodes = Told("node-1")
    log = Log(nodes=nodes)
    stream = await begun(log.log.read(None, None))
    for number in (1, 2, 4):
        nodes.tell("a", number)
    assert kinds(await told(stream)) == ["a1", "a2", "gap", "a4"]


async def test_a_node_that_two_find_down_is_told_of_once() -> None:
    nodes = Told("node-1")
    log = Log(nodes=nodes)
    stream = await begun(log.log.read(None, None))
    nodes.tell("a", 1, "node_down")
    nodes.tell("b", 1, "node_down")
    nodes.tell("c", 1, "node_up")
    nodes.tell("a", 2, "node_down")
    assert [name for _, name, _ in await told(stream)] == ["node_down", "node_up", "node_down"]


async def test_who_breaks_off_before_the_first_event_goes_on_from_the_beginning() -> None:
    log, other = Log(), Log()
    beginning = (await anext(log.log.read(None, None))).decode().removesuffix("\n\n").rpartition("id: ")[2]
    await log.happen(1)
    await other.happen(1)
    assert kinds(await told(await begun(log.log.read(beginning, None)))) == ["joined", "left"]
    assert kinds(await told(await begun(other.log.read(beginning, None)))) == ["gap"]


async def test_an_id_that_is_none_is_a_gap() -> None:
    log = Log()
    await log.happen(1)
    for wrong in ("nonsense", "|", "x|y", "|a.b", "\u00fc" * 100):
        assert [name for _, name, _ in await told(await begun(log.log.read(wrong, None)))] == ["gap"]
