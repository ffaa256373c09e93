import asyncio

import pytest

from harness.nats_server import NatsServer
from tests.builders import ACME, GLOBEX, a_key, a_newcomer, a_peer, a_stay_in
from tests.fakes import Joined, Left, Subscriber, Welcome
from tests.integration.nats.nodes import NETWORK, Node, a_stream, running, until
from wg_orchestrator.adapters.nats.connection import ConnectionOptions
from wg_orchestrator.adapters.nats.states import State
from wg_orchestrator.adapters.nats.stream import StoreUnusable
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.domain.errors import Conflict, KeyInUse, PeerLimitReached, TenantLimitReached, Unavailable
from wg_orchestrator.domain.events import PeerJoined
from wg_orchestrator.domain.session import new_session
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry.telemetry import Telemetry


async def test_peers_of_two_nodes_see_each_other_as_on_one(server: NatsServer) -> None:
    one, two = Node(server, stream := a_stream()), Node(server, stream)
    async with running(one, two):
        _, first = await one.join(1)
        second_peer, second = await two.join(2)
        await until(lambda: len(first.seen) == 2)
        assert second.seen == [Welcome(a_peer(2), (a_peer(1),))]
        assert first.seen[1:] == [Joined(a_peer(2))]
        await two.leave(second_peer)
        await until(lambda: len(first.seen) == 3)
        assert first.seen[2:] == [Left(a_peer(2))]


async def test_all_nodes_have_one_order_and_no_address_twice(server: NatsServer) -> None:
    nodes = [Node(server, stream := a_stream()), Node(server, stream), Node(server, stream)]
    async with running(*nodes):
        results = await asyncio.gather(*(node.join(3 * n + k) for n in range(40) for k, node in enumerate(nodes)))
        peers = [peer for peer, _ in results]
        assert {int(peer.virtual_ip) - int(NETWORK[0]) for peer in peers} == set(range(1, 121))
        for place, peer in enumerate(peers[:60]):
            await nodes[place % 3].leave(peer)
        await until(lambda: all(node.peers() == set(peers[60:]) for node in nodes))
        pictures = [set(subscriber.picture().values()) for _, subscriber in results[60:]]
        assert pictures == [set(peers[60:])] * 60
        # Whatever two peers were both told, they were told in the same order.
        leaves = {Left(peer) for peer in peers[:60]}
        tellings = [[told for told in subscriber.seen if told in leaves] for _, subscriber in results[60:]]
        assert tellings == [tellings[0]] * 60
        assert len(tellings[0]) == 60


async def test_of_one_key_on_two_nodes_at_once_one_gets_in(server: NatsServer) -> None:
    one, two = Node(server, stream := a_stream()), Node(server, stream)
    async with running(one, two):
        for number in range(10):
            results = await asyncio.gather(one.join(number), two.join(number), return_exceptions=True)
            assert [type(result) for result in results if isinstance(result, BaseException)] == [KeyInUse]
        await until(lambda: one.peers() == two.peers())
        assert len(one.peers()) == 10


async def test_of_two_resumptions_of_one_turn_on_two_nodes_at_once_one_is_committed(server: NatsServer) -> None:
    one, two = Node(server, stream := a_stream()), Node(server, stream)
    async with running(one, two):
        secret, session = new_session()
        await one.membership.join(ACME, a_newcomer(1), Subscriber(), session)
        await until(lambda: one.peers() == two.peers())
        for _ in range(10):
            event = one.tenants.get(ACME).resume(a_key(1), secret)
            assert event is not None
            while two.tenants.get(ACME).resume(a_key(1), secret) != event:
                await asyncio.sleep(0.005)  # It has yet to see the one before.
            results = await asyncio.gather(*(node.tenants.commit(event) for node in (one, two)), return_exceptions=True)
            assert [type(result) for result in results if isinstance(result, BaseException)] == [Conflict]


async def test_simultaneous_joins_on_one_node_need_no_lookups_in_the_stream(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(server, a_stream())
    async with running(node):
        lookups = 0
        last = node.tenants._stream.last

        async def counting(subject: str) -> tuple[int, bytes]:
            nonlocal lookups
            lookups += 1
            return await last(subject)

        monkeypatch.setattr(node.tenants._stream, "last", counting)
        await asyncio.gather(*(node.join(number) for number in range(100)))
        assert lookups == 0


async def test_a_node_that_starts_later_knows_who_is_in_and_who_was_last_at_an_address(server: NatsServer) -> None:
    one, two = Node(server, stream := a_stream()), Node(server, stream)
    async with running(one):
        peers = [(await one.join(number))[0] for number in range(1, 5)]
        await one.leave(peers[2])
        await one.leave(peers[1])
        async with running(two):
            assert two.peers() == {peers[0], peers[3]}
            again, subscriber = await two.join(2)
            assert again == peers[1]
            assert subscriber.seen == [Welcome(peers[1], (peers[0], peers[3]))]
            assert (await two.join(9))[0].virtual_ip == NETWORK[5]


async def test_what_the_stream_has_forgotten_can_be_claimed_again(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(server, a_stream(), timings=Timings(opening=0.0, vacancy_ttl=1))
    async with running(node):
        peer, _ = await node.join(1)
        await node.leave(peer)
        stream, place = node.tenants._stream, (ACME, peer.virtual_ip)
        while await stream.last(stream.subjects.peer(place)) != (0, b""):
            await asyncio.sleep(0.05)
        assert (await node.join(1))[0] == peer


async def test_tenants_with_odd_names_are_not_mixed_up(server: NatsServer) -> None:
    one, two = Node(server, stream := a_stream()), Node(server, stream)
    names = [ACME, GLOBEX, type(ACME)("."), type(ACME)(".."), type(ACME)("a.b-c_~"), type(ACME)("a-b-c_~")]
    async with running(one, two):
        for name in names:
            assert (await one.join(1, name))[0] == a_peer(1)
        await until(lambda: two.tenants.count() == len(names))
        assert all(two.peers(name) == {a_peer(1)} for name in names)


async def test_when_a_node_stops_its_peers_leave(server: NatsServer) -> None:
    one, two = Node(server, stream := a_stream()), Node(server, stream)
    async with running(one):
        _, watcher = await one.join(1)
        async with running(two):
            await two.join(2)
            await two.join(3)
            await until(lambda: len(one.peers()) == 3)
        await until(lambda: one.peers() == {a_peer(1)})
        assert watcher.seen[1:] == [Joined(a_peer(2)), Joined(a_peer(3)), Left(a_peer(2)), Left(a_peer(3))] or (
            watcher.seen[3:] == [Left(a_peer(3)), Left(a_peer(2))]
        )
        assert (await one.join(2))[0].public_key == a_key(2)
        await until(lambda: not one.tenants._ledger.claims_in(State.STALE))


async def test_to_remove_a_former_claim_does_not_remove_the_claim_that_replaced_it(server: NatsServer) -> None:
    one, two = Node(server, stream := a_stream()), Node(server, stream)
    async with running(one, two):
        peer, _ = await one.join(1)
        former = one.tenants._ledger.holder((ACME, peer.virtual_ip))
        assert former is not None
        await one.leave(peer)
        await until(lambda: not two.peers())
        assert (await two.join(1))[0] == peer
        await one.tenants._claims.vacate(former)
        await two.tenants._claims._catch_up()
        assert one.peers() == two.peers() == {peer}


async def test_a_stream_for_another_network_is_not_used(server: NatsServer) -> None:
    stream = a_stream()
    async with running(Node(server, stream)):
        options = StreamOptions(stream, "10.0.0.0/8")
        other = NatsTenantRepository(NETWORK, 9, ConnectionOptions((server.url,)), options, Telemetry(100))
        await other._connection.connect()
        with pytest.raises(StoreUnusable, match="not for network"):
            await other._stream.ensure()
        with pytest.raises(Unavailable):
            await other.commit(PeerJoined(a_stay_in(other, a_peer(1))))
        await other._connection.close()


async def test_a_node_lets_in_as_many_tenants_as_it_may_however_many_come_at_once(server: NatsServer) -> None:
    node = Node(server, a_stream(), max_tenants=5)
    async with running(node):
        tenants = [TenantId(f"tenant-{number}") for number in range(40)]
        joins = [node.join(number, tenant) for tenant in tenants for number in (1, 2)]
        results = await asyncio.gather(*joins, return_exceptions=True)
        assert node.tenants.count() == 5
        # A second peer of one of the five tenants is let in, as it adds no tenant.
        assert [type(result) for result in results].count(TenantLimitReached) == 70
        assert [len(node.peers(tenant)) for tenant in tenants] == [2] * 5 + [0] * 35


async def test_a_node_lets_in_as_many_peers_as_a_tenant_may_have_however_many_come_at_once(server: NatsServer) -> None:
    node = Node(server, a_stream(), max_peers=5)
    async with running(node):
        results = await asyncio.gather(*(node.join(number) for number in range(40)), return_exceptions=True)
        assert [type(result) for result in results].count(PeerLimitReached) == 35
        assert len(node.peers()) == 5
