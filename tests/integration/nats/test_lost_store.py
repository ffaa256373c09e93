"""Nodes whose store is lost under them: nobody is told of a false leave, and no address is held twice."""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import free_ports
from harness.nats_server import NatsServer
from tests.builders import ACME, a_peer
from tests.integration.nats.nodes import QUICK, Node, a_stream, running, until
from tests.integration.nats.test_faults import stand_still
from tests.integration.nats.test_services import _joined, ready
from tests.integration.process import serving
from tests.integration.service import Client, join_message, refused
from tests.integration.service import running as running_service
from wg_orchestrator.adapters.nats.claim import encode
from wg_orchestrator.adapters.nats.states import State
from wg_orchestrator.adapters.nats.stream import Entry, Refused
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.domain.errors import NoAddressLeft, Unavailable


async def delete(node: Node, stream: str) -> None:
    await node.tenants._stream._ask(f"STREAM.DELETE.{stream}", {})


def leaves(client: Client) -> list[Any]:
    return [message for message in client.messages if "removed_peer" in message]


async def test_a_service_that_was_stopped_while_the_store_was_lost_keeps_its_peers(
    server: NatsServer, tmp_path: Path
) -> None:
    stream = a_stream()
    options: Any = {"nats_url": server.url, "nats_stream": stream, "network": "10.0.0.0/29"}
    async with running_service(**options) as one, running_service(**options) as two:
        with serving(tmp_path, **options) as stopped:
            clients = [await _joined(service, number) for number, service in enumerate([one, two, stopped] * 2)]  # type: ignore[arg-type]
            for client in clients:
                await client.until(lambda roster: len(roster.peers) == 5)
            tenants = [service.container.tenants() for service in (one, two)]
            with stopped.stopped():
                await tenants[0]._stream._ask(f"STREAM.DELETE.{stream}", {})
                await until(
                    lambda: all(len(store._ledger.claims_in(State.UNBACKED)) >= 2 and store._feed for store in tenants)
                )
            await ready(one, two)
            await until(lambda: not any(store._ledger.claims_in(State.UNBACKED) for store in tenants))
            assert await refused(one, join_message(9)) == (4002, "tenant full")
            assert [leaves(client) for client in clients] == [[]] * 6
            assert [len(client.roster.peers) for client in clients] == [5] * 6


async def test_no_newcomer_gets_in_before_the_former_peers_are_back(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = IPv4Network("10.0.0.0/29")
    one = Node(server, stream := a_stream(), network=network)
    fresh = Node(server, stream, network=network)
    async with running(one):
        before = [await one.join(number) for number in range(5)]
        for node in (one, fresh):
            node.tenants._lease._timings = Timings(opening=1000.0)
        release = stand_still(one)
        await fresh.tenants._connection.connect()
        await delete(fresh, stream)
        async with fresh.tenants.running():
            await until(lambda: fresh.tenants._lease.node is not None)
            with pytest.raises(Unavailable):
                await fresh.join(9)
            release()
            await until(lambda: len(fresh.peers()) == 5)
            await until(fresh.tenants._ledger.leases.are_all_settled)
            for node in (one, fresh):
                with pytest.raises(Unavailable):
                    await node.join(9)
            for node in (one, fresh):
                node.tenants._lease._timings = QUICK
            await until(lambda: fresh.tenants.is_ready() and one.tenants.is_ready())
            newcomer, _ = await fresh.join(9)
            with pytest.raises(NoAddressLeft):
                await fresh.join(10)
            assert fresh.peers() == {newcomer, *(peer for peer, _ in before)}
            assert not any(subscriber.ended for _, subscriber in before)


async def test_a_store_that_is_emptied_while_nodes_read_it_is_filled_again(server: NatsServer) -> None:
    one, two = Node(server, stream := a_stream()), Node(server, stream)
    late = Node(server, stream)
    async with running(one, two):
        _, watcher = await one.join(1)
        await two.join(2)
        await until(lambda: len(one.peers()) == len(two.peers()) == 2)
        await one.tenants._stream._ask(f"STREAM.PURGE.{stream}", {})
        epoch = one.tenants._ledger.epoch
        await until(lambda: one.tenants._ledger.epoch != epoch and two.tenants._ledger.epoch != epoch)
        async with running(late):
            assert late.peers() == one.peers() == two.peers() == {a_peer(1), a_peer(2)}
        assert len(watcher.seen) == 2


async def test_a_message_for_a_lost_store_changes_nothing_in_the_next_one(server: NatsServer) -> None:
    node = Node(server, stream := a_stream())
    async with running(node):
        peer, watcher = await node.join(1)
        former, subjects = node.tenants._ledger.holder((ACME, peer.virtual_ip)), node.tenants._stream.subjects
        assert former is not None
        await delete(node, stream)
        await until(lambda: node.tenants._stream.subjects is not subjects and node.tenants.is_ready())
        await until(lambda: not node.tenants._ledger.claims_in(State.UNBACKED))
        for after in range(20):
            try:
                await node.tenants._stream.publish([Entry(subjects.peer(former.place), encode(former), after)])
            except Refused:
                continue
        await node.tenants._claims.vacate(former)
        await node.tenants._claims._catch_up()
        assert node.peers() == {peer}
        assert len(watcher.seen) == 1
        assert await node.join(2)


async def test_a_join_under_way_while_the_store_is_lost_happens_once_or_not_at_all(server: NatsServer) -> None:
    node = Node(server, stream := a_stream())
    async with running(node):
        _, watcher = await node.join(1)
        await delete(node, stream)
        with pytest.raises(Unavailable):
            await node.join(2)
        await until(node.tenants.is_ready)
        peer, _ = await node.join(2)
        assert node.peers() == {a_peer(1), peer}
        assert set(watcher.picture().values()) == node.peers()


async def test_a_node_whose_lease_ended_long_ago_does_not_take_that_for_a_loss(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(server, a_stream())
    async with running(node):
        peer, subscriber = await node.join(1)
        stream, ledger = node.tenants._stream, node.tenants._ledger
        epoch, old = ledger.epoch, node.tenants._lease.node
        assert old is not None
        monkeypatch.setattr(node.tenants._lease, "_is_fresh", lambda: False)
        await stream._ask(f"STREAM.PURGE.{stream._options.name}", {"filter": stream.subjects.node(old)})
        await until(lambda: node.tenants._lease.node not in (None, old) and node.tenants.is_ready())
        assert ledger.epoch == epoch
        assert node.peers() == {peer}
        assert not subscriber.ended


async def test_a_cluster_that_comes_back_with_its_stream_but_without_its_messages_is_a_lost_store(
    tmp_path: Path,
) -> None:
    """The servers keep the stream's settings on their disks, and what it holds in memory."""
    ports = free_ports(6)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[3:])
    servers = [
        NatsServer(
            tmp_path / str(number),
            f"nats-{number}",
            ports[number],
            f'cluster {{ name: "test", listen: "127.0.0.1:{ports[3 + number]}", routes: [{routes}] }}',
        )
        for number in range(3)
    ]
    nodes = [Node(server, "lost", replicas=3) for server in servers[:2]]
    try:
        for server in servers:
            server.start()
        async with running(*nodes):
            joined = [await node.join(number) for number, node in enumerate(nodes * 2)]
            await until(lambda: all(len(node.peers()) == 4 for node in nodes))
            epoch = nodes[0].tenants._ledger.epoch
            told = [list(subscriber.seen) for _, subscriber in joined]
            for server in servers:
                server.kill()
            await until(lambda: not any(node.tenants._feed for node in nodes))
            for server in servers:
                server.start()
            await until(lambda: all(node.tenants.is_ready() for node in nodes))
            assert nodes[0].tenants._ledger.epoch != epoch
            await until(lambda: not any(node.tenants._ledger.claims_in(State.UNBACKED) for node in nodes))
            assert [subscriber.seen for _, subscriber in joined] == told
            assert all(node.peers() == {peer for peer, _ in joined} for node in nodes)
            newcomer, _ = await nodes[1].join(9)
            await until(lambda: newcomer in nodes[0].peers())
    finally:
        for server in servers:
            server.kill()
