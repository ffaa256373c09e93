"""Nodes in one process, on a server of their own, with short times where only the order matters."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.nats_server import NatsServer
from tests.builders import ACME, a_peer, a_stay_in
from tests.fakes import Joined, Left
from tests.integration.nats.nodes import NETWORK, Node, a_stream, running, until
from wg_orchestrator.adapters.nats.claim import Claim, encode
from wg_orchestrator.adapters.nats.states import State
from wg_orchestrator.adapters.nats.stream import Entry
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import PeerJoined
from wg_orchestrator.domain.stay import Stay, StayId

SHORT_LEASES = Timings(lease=1.0, caution=0.2, renewal=0.2, watch=0.1, opening=0.0)
IMPATIENT = Timings(insistence=0.3, opening=0.0)


async def test_the_peers_of_a_lost_node_leave_once(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        Node(server, stream := a_stream(), timings=SHORT_LEASES),
        Node(server, stream, timings=SHORT_LEASES),
        Node(server, stream, timings=SHORT_LEASES),
    ]
    one, two, lost = nodes
    async with running(*nodes):
        _, watcher = await one.join(1)
        _, other_watcher = await two.join(2)
        for number in range(3, 13):
            await lost.join(number)
        await until(lambda: len(one.peers()) == len(two.peers()) == 12)
        await lost.tenants._connection.client.close()
        monkeypatch.setattr(lost.tenants._connection, "connect", asyncio.Event().wait)
        await until(lambda: len(one.peers()) == len(two.peers()) == 2)
        gone = [Left(a_peer(number)) for number in range(3, 13)]
        assert sorted(map(str, watcher.seen[-10:])) == sorted(map(str, gone))
        assert watcher.seen[-10:] == other_watcher.seen[-10:]
        assert not lost.tenants.is_ready()
        assert len(lost.peers()) == 12
        with pytest.raises(Unavailable):
            await lost.join(99)
        await until(
            lambda: not one.tenants._ledger.claims_in(State.STALE) and not two.tenants._ledger.claims_in(State.STALE)
        )
        assert (await one.join(3))[0] == a_peer(3)


async def test_a_node_that_comes_back_puts_its_peers_back_unless_they_are_elsewhere(server: NatsServer) -> None:
    one, two = Node(server, stream := a_stream(), timings=SHORT_LEASES), Node(server, stream, timings=SHORT_LEASES)
    async with running(one, two):
        _, watcher = await one.join(1)
        _, same_key = await two.join(2)
        _, same_address = await two.join(3)
        stays, staying = await two.join(4)
        await until(lambda: len(one.peers()) == 4)
        release = stand_still(two)
        await until(lambda: one.peers() == {a_peer(1)})
        moved, moved_subscriber = await one.join(2)
        assert moved == a_peer(2)
        await one.tenants.commit(PeerJoined(a_stay_in(one.tenants, taker := a_peer(9, "100.64.0.3"))))
        release()
        await until(lambda: one.peers() == two.peers() == {a_peer(1), moved, taker, stays})
        await until(two.tenants.is_ready)
        assert same_key.ended
        assert same_address.ended
        assert not staying.ended
        assert not moved_subscriber.ended
        assert staying.picture() == watcher.picture() == moved_subscriber.picture()
        await two.leave(stays)
        await until(lambda: one.peers() == {a_peer(1), moved, taker})
        # The connections that were ended end their peers' stays; those of their equals go on.
        await two.leave(a_peer(2))
        assert a_peer(2) in one.peers()


def stand_still(node: Node) -> Callable[[], None]:
    """Hold all that the node receives and sends, until the returned function is called."""
    transport: Any = node.tenants._connection.client._transport
    reader, writer = transport._io_reader, transport._io_writer
    reader._transport.pause_reading()
    sent: list[bytes] = []
    write, writelines = writer.write, writer.writelines
    writer.write = sent.append
    writer.writelines = sent.extend

    def release() -> None:
        writer.write, writer.writelines = write, writelines
        for data in sent:
            write(data)
        reader._transport.resume_reading()

    return release


async def test_a_claim_under_a_lease_that_has_ended_is_not_told_and_is_removed(server: NatsServer) -> None:
    node = Node(server, a_stream())
    async with running(node):
        _, watcher = await node.join(1)
        stream = node.tenants._stream
        late = Claim(Stay(StayId("dead-1"), ACME, a_peer(2)), "dead-1", 0)
        await stream.publish([Entry(stream.subjects.peer(late.place), encode(late), 0)])
        peer, _ = await node.join(3)
        await until(lambda: not node.tenants._ledger.claims_in(State.STALE))
        assert watcher.seen[1:] == [Joined(peer)]


async def test_peers_stay_and_leaves_are_made_up_for_when_nats_comes_back(
    own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is lost meanwhile, as this stream is in memory."""
    one, two = Node(own_server, stream := a_stream(), timings=IMPATIENT), Node(own_server, stream, timings=IMPATIENT)
    async with running(one, two):
        _, watcher = await one.join(1)
        leaver, _ = await one.join(2)
        _, far_watcher = await two.join(3)
        far_leaver, _ = await two.join(4)
        await until(lambda: len(one.peers()) == len(two.peers()) == 4)
        own_server.kill()
        await until(lambda: not one.tenants.is_ready() and not two.tenants.is_ready())
        with pytest.raises(Unavailable):
            await one.join(5)
        await one.leave(leaver)
        await two.leave(far_leaver)
        assert len(one.peers()) == len(two.peers()) == 4
        told = [list(watcher.seen), list(far_watcher.seen)]
        own_server.start()
        await until(lambda: one.tenants.is_ready() and two.tenants.is_ready())
        await until(lambda: one.peers() == two.peers() == {a_peer(1), a_peer(3)})
        newcomer, subscriber = await two.join(5)
        await until(lambda: newcomer in one.peers())
        for subscribed, before in zip((watcher, far_watcher), told, strict=True):
            since = subscribed.seen[len(before) :]
            assert sorted(map(str, since)) == sorted(map(str, [Left(leaver), Left(far_leaver), Joined(newcomer)]))
        assert watcher.picture() == far_watcher.picture() == subscriber.picture()
        assert not watcher.ended
        assert not far_watcher.ended
        for node in (one, two):
            assert not node.tenants._ledger.claims_in(State.UNBACKED)
            assert not node.tenants._ledger.claims_in(State.GHOST)


async def test_after_the_store_was_lost_the_peers_of_a_node_that_does_not_come_back_leave(
    own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings = replace(SHORT_LEASES, opening=1.0)
    one, two = Node(own_server, stream := a_stream(), timings=timings), Node(own_server, stream, timings=timings)
    async with running(one, two):
        await one.join(1)
        await two.join(2)
        await until(lambda: len(one.peers()) == 2)
        own_server.kill()
        monkeypatch.setattr(two.tenants._connection, "connect", asyncio.Event().wait)
        await two.tenants._connection.client.close()
        own_server.start()
        await until(lambda: one.peers() == {a_peer(1)})


async def test_a_join_without_an_answer_from_nats_is_undone(
    own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Node(own_server, stream := a_stream(), timings=IMPATIENT), Node(own_server, stream, timings=IMPATIENT)
    async with running(one, two):
        _, watcher = await two.join(1)
        own_server.pause()
        try:
            with pytest.raises(Unavailable):
                await one.join(2)
        finally:
            own_server.resume()
        await until(one.tenants.is_ready)
        await one.tenants._claims._catch_up()
        ledger = one.tenants._ledger
        await until(lambda: one.peers() == two.peers() == {a_peer(1)} and not ledger.claims_in(State.GHOST))
        assert watcher.seen[1:] in ([], [Joined(a_peer(2)), Left(a_peer(2))])
        assert (await one.join(2))[0].virtual_ip in (NETWORK[2], NETWORK[3])
