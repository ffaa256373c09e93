"""A tenant of many is written to in slices: in one order for all, and with the others' turns in between."""

import asyncio
from typing import Any

import pytest

from tests.builders import GLOBEX, a_peer
from tests.unit.adapters.websocket.test_notifier import TERMS, Members, RecordingConnection, _fail
from wg_orchestrator.adapters.websocket.notifier import Pace, WebSocketPeerNotifier
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.rfc6455.message import Notices
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire import v1
from wg_orchestrator.wire.close_codes import INTERNAL_ERROR

COST = 2.0**-13
"""Seconds that a fake write takes: 20 of them are a slice."""
CROWD = 100


class Bench:
    """A notifier whose clock goes on by what is written alone, and who was written to in which turn."""

    def __init__(self, **pace: Any) -> None:
        self.now = 1000.0
        self.writes: list[tuple[Costly, Notices]] = []
        pace = {"slice": 20 * COST, "busy": 10**9, **pace}
        self.notifier = WebSocketPeerNotifier(
            PeerTelemetry(Telemetry(100)), TERMS, Pace(**pace), clock=lambda: self.now
        )

    def crowd(self, members: Members, first: int, count: int) -> list["Costly"]:
        connections = [Costly(self) for _ in range(count)]
        for number, connection in enumerate(connections, first):
            members.come(a_peer(number), connection)
        return connections

    async def settle(self) -> None:
        while any(channel.is_scheduled for channel in self.notifier._channels.values()):
            await asyncio.sleep(0)
        self.writes.clear()


class Costly(RecordingConnection):
    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def send(self, notices: Notices) -> None:
        super().send(notices)
        self._bench.now += COST
        self._bench.writes.append((self, notices))

    def addresses(self) -> list[str]:
        """Those it was told of after its welcome, in order; who left with a minus."""
        return [
            message["virtual_ip"] if "virtual_ip" in message else f"-{message['removed_peer']}"
            for message in self.messages()[1:]
        ]


async def a_crowd(**pace: Any) -> tuple[Bench, Members, list[Costly]]:
    bench = Bench(**pace)
    members = Members(bench.notifier)
    crowd = bench.crowd(members, 1, CROWD)
    await bench.settle()
    return bench, members, crowd


async def test_no_turn_takes_longer_than_a_slice_and_one_write() -> None:
    bench, members, crowd = await a_crowd()
    members.come(a_peer(240))
    turns: list[int] = []
    while not turns or turns[-1]:
        before = len(bench.writes)
        await asyncio.sleep(0)
        turns.append(len(bench.writes) - before)
    assert turns == [20] * 5 + [0]
    assert all(connection.addresses()[-1] == "100.64.0.240" for connection in crowd)


async def test_everyone_has_one_flush_before_anyone_has_the_next() -> None:
    bench, members, crowd = await a_crowd()
    members.come(a_peer(240))
    await asyncio.sleep(0)
    members.go(a_peer(240))
    members.come(a_peer(201, "100.64.0.240"))
    flushes: list[Notices] = []
    writes = bench.writes
    while len(writes) < 2 * CROWD:
        await asyncio.sleep(0)
    for _, notices in writes:
        if notices not in flushes:
            flushes.append(notices)
    assert [notices for _, notices in writes] == [flushes[0]] * CROWD + [flushes[1]] * CROWD
    for connection in crowd:
        assert connection.addresses()[-3:] == ["100.64.0.240", "-100.64.0.240", "100.64.0.240"]


async def test_who_comes_amid_a_flush_misses_nothing_and_hears_nothing_twice() -> None:
    bench, members, _ = await a_crowd()
    members.come(a_peer(240))
    await asyncio.sleep(0)
    assert len(bench.writes) == 20
    members.come(a_peer(201))
    newcomer = Costly(bench)
    members.come(a_peer(202), newcomer)
    members.come(a_peer(203))
    await bench.settle()
    welcome = {peer["virtual_ip"] for peer in newcomer.messages()[0]["peers"]}
    assert {"100.64.0.240", "100.64.0.201"} <= welcome
    assert len(welcome) == CROWD + 2
    assert newcomer.addresses() == ["100.64.0.203"]


async def test_who_leaves_amid_a_flush_is_told_nothing_more() -> None:
    bench, members, crowd = await a_crowd()
    members.come(a_peer(240))
    await asyncio.sleep(0)
    written = {connection for connection, _ in bench.writes}
    waiting = [number for number, connection in enumerate(crowd, 1) if connection not in written]
    gone, stays = waiting[0], waiting[1:]
    told = crowd[gone - 1].addresses()
    members.go(a_peer(gone))
    await bench.settle()
    assert crowd[gone - 1].addresses() == told
    for number in stays:
        assert crowd[number - 1].addresses()[-2:] == ["100.64.0.240", f"-100.64.0.{gone}"]


async def test_a_newcomer_that_leaves_amid_its_first_flush_is_told_nothing_more() -> None:
    bench, members, _ = await a_crowd()
    newcomer = Costly(bench)
    members.come(a_peer(240), newcomer)
    members.come(a_peer(201))
    await asyncio.sleep(0)
    assert newcomer.addresses() == []
    members.go(a_peer(240))
    await bench.settle()
    assert newcomer.addresses() == []


async def test_a_small_tenant_goes_before_a_large_one() -> None:
    bench, members, crowd = await a_crowd()
    quiet = Members(bench.notifier, GLOBEX)
    (watcher,) = bench.crowd(quiet, 1, 1)
    await bench.settle()
    members.come(a_peer(240))
    await asyncio.sleep(0)
    quiet.come(a_peer(2))
    await asyncio.sleep(0)
    assert watcher.addresses() == ["100.64.0.2"]
    assert len(bench.writes) < CROWD
    await bench.settle()
    assert all(connection.addresses()[-1] == "100.64.0.240" for connection in crowd)


async def test_the_pace_of_a_busy_tenant_is_set_by_all_slices_of_a_flush() -> None:
    bench, members, crowd = await a_crowd(busy=1, factor=1000.0, longest_pause=10**6)
    (channel,) = bench.notifier._channels.values()
    channel.not_before = 0.0
    members.come(a_peer(240))
    while crowd[0].addresses()[-1:] != ["100.64.0.240"] or channel.is_scheduled:
        await asyncio.sleep(0)
    assert channel.not_before - bench.now == pytest.approx(1000 * CROWD * COST)


async def test_after_a_fault_amid_a_flush_nobody_is_told_anything_more(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, members, crowd = await a_crowd()
    members.come(a_peer(240))
    await asyncio.sleep(0)
    with monkeypatch.context() as patched:
        patched.setattr(v1, "peer_entry", _fail)
        members.come(a_peer(241))
    told = len(bench.writes)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(bench.writes) == told
    assert {connection.closed_with for connection in crowd} == {INTERNAL_ERROR}


async def test_a_tenant_that_ends_amid_its_flush_is_forgotten_and_begins_anew() -> None:
    bench, members, crowd = await a_crowd()
    members.come(a_peer(240))
    await asyncio.sleep(0)
    for number in range(1, CROWD + 1):
        members.go(a_peer(number))
    members.go(a_peer(240))
    assert bench.notifier._channels == {}
    told = [len(connection.sent) for connection in crowd]
    again = bench.crowd(Members(bench.notifier), 1, 2)
    await bench.settle()
    assert again[0].addresses() == ["100.64.0.2"]
    assert [len(connection.sent) for connection in crowd] == told
