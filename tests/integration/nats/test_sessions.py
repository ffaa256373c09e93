"""Protocol v2 with several nodes: a peer can resume its session on any of them."""

import asyncio
import base64
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.keys import a_key_text
from harness.nats_server import NatsServer
from tests.integration.nats.nodes import a_stream, quickly, until
from tests.integration.nats.test_services import ready
from tests.integration.service import PATIENCE, Client, Endpoint, Service, running
from tests.integration.test_cli import Command
from tests.integration.v2_client import V2Client
from wg_orchestrator.adapters.nats.feed import FeedBroken
from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository

GRACE = 30


@asynccontextmanager
async def two_nodes(server: NatsServer, **options: Any) -> AsyncIterator[tuple[Service, Service]]:
    shared: Any = {"nats_url": server.url, "nats_stream": a_stream(), "grace": GRACE, **options}
    async with running(adapt=quickly, **shared) as one, running(adapt=quickly, **shared) as two:
        await ready(one, two)
        yield one, two


def store_of(service: Service) -> NatsTenantRepository:
    tenants = service.container.tenants()
    assert isinstance(tenants, NatsTenantRepository)
    return tenants


async def until_known(service: Service, peers: int) -> None:
    """Wait until the node knows exactly `peers` peers of `acme`."""
    await until(lambda: len(service.roster()) == peers)


async def test_a_peer_that_resumes_on_another_node_supersedes_its_connection_and_nobody_is_told(
    server: NatsServer,
) -> None:
    async with two_nodes(server) as (one, two):
        watcher, v1, peer = await V2Client.join(one, 1), await Client.join(one, 2), await V2Client.join(one, 3)
        await watcher.hear()
        await watcher.hear()
        await v1.hear()
        near = await V2Client.join(two, 4)
        await watcher.hear()
        await v1.hear()
        await peer.hear()
        again = await peer.resume(two)
        assert (again.session, again.virtual_ip) == (peer.session, peer.virtual_ip)
        assert await peer.closed() == (4505, "superseded")
        back = await again.resume(one)
        assert await again.closed() == (4505, "superseded")
        for other in (watcher, near):
            await other.told_nothing_before(back, f"back-{other.number}")
            await (near if other is watcher else watcher).hear()
        assert back.peers.keys() == {a_key_text(1), a_key_text(2), a_key_text(4)}


async def test_a_peer_that_resumes_on_another_node_is_told_what_it_missed(server: NatsServer) -> None:
    async with two_nodes(server) as (one, two):
        peer, watcher = await V2Client.join(one, 1), await V2Client.join(two, 2)
        await peer.hear()
        peer.reset()
        newcomer = await V2Client.join(one, 3)
        await newcomer.websocket.close()
        assert [(await watcher.hear())["type"] for _ in range(2)] == ["joined", "left"]
        again = await peer.resume(two)
        assert again.started_with == "resumed"
        assert [(await again.hear())["type"] for _ in range(2)] == ["joined", "left"]
        assert again.told[1:] == watcher.told[1:]


async def test_both_nodes_tell_the_same_events_with_the_same_revisions(server: NatsServer) -> None:
    async with two_nodes(server) as (one, two):
        here, there = await V2Client.join(one, 1), await V2Client.join(two, 2)
        await here.hear()
        seen = len(here.told), len(there.told)
        for number, service in ((3, one), (4, two), (5, one)):
            peer = await V2Client.join(service, number)
            await peer.say({"type": "update", "endpoints": [f"10.0.0.{number}:51820"]})
            for watcher in (here, there):
                assert [(await watcher.hear())["type"] for _ in range(2)] == ["joined", "updated"]
            if number != 4:
                await peer.websocket.close()
                for watcher in (here, there):
                    assert (await watcher.hear())["type"] == "left"
        assert here.told[seen[0] :] == there.told[seen[1] :]
        assert here.revision == there.revision
        ours = {a_key_text(1), a_key_text(2)}
        assert {key: peer for key, peer in here.peers.items() if key not in ours} == {
            key: peer for key, peer in there.peers.items() if key not in ours
        }


async def test_of_many_connections_that_resume_on_two_nodes_at_once_one_remains(server: NatsServer) -> None:
    async with two_nodes(server) as (one, two):
        watcher, peer = await V2Client.join(one, 1), await V2Client.join(one, 2)
        await watcher.hear()
        await until_known(two, 2)
        rivals = await asyncio.gather(*(peer.resume(service) for service in (one, two) * 4))
        closings = {asyncio.create_task(rival.closed()) for rival in rivals}
        waiting = closings
        with anyio.fail_after(PATIENCE):
            while len(waiting) > 1:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in closings - waiting} == {(4505, "superseded")}
        for task in waiting:
            task.cancel()
        assert one.metric("peers") + two.metric("peers") == 2
        assert len(watcher.told) == 2


async def test_when_a_node_stops_its_peers_resume_on_another_and_nobody_is_told(server: NatsServer) -> None:
    async with two_nodes(server) as (one, two):
        watcher, peers = await V2Client.join(one, 1), [await V2Client.join(two, number) for number in (2, 3)]
        for _ in peers:
            await watcher.hear()
        await two.stop()
        for peer in peers:
            assert await peer.closed() == (1012, "service restart")
        again = [await peer.resume(one) for peer in peers]
        assert [peer.started_with for peer in again] == ["resumed", "resumed"]
        await watcher.told_nothing_before(again[0], "again")


async def test_a_peer_of_a_stopped_node_that_does_not_resume_leaves_when_its_grace_is_over(server: NatsServer) -> None:
    async with two_nodes(server, grace=1) as (one, two):
        watcher, v1, peer = await V2Client.join(one, 1), await Client.join(two, 2), await V2Client.join(two, 3)
        await watcher.hear()
        await watcher.hear()
        await two.stop()
        assert (await watcher.hear())["public_key"] == a_key_text(2)
        left = await watcher.hear()
        assert (left["type"], left["public_key"]) == ("left", a_key_text(3))
        assert await v1.closed() == await peer.closed() == (1012, "service restart")
        assert list(one.roster().values()) == [a_key_text(1)]


async def test_when_a_node_is_killed_nobody_is_told_of_peers_that_resume_in_time(
    server: NatsServer, tmp_path: Path
) -> None:
    options: Any = {"nats_url": server.url, "nats_stream": a_stream(), "grace": 10}
    arguments = ("serve", "--host", "127.0.0.1", "--port", "0", "--nats", server.url, "--grace", "10")
    async with running(adapt=quickly, **options) as service:
        await ready(service)
        watcher = await V2Client.join(service, 1)
        with Command(tmp_path, *arguments, "--nats-stream", options["nats_stream"]) as other:
            address = other.line(r"ws://(127.0.0.1:\d+)/tenants/")
            await until(lambda: len(list(store_of(service)._ledger.leases)) == 2)
            remote = Endpoint(address)
            early, late = await V2Client.join(remote, 2), await V2Client.join(remote, 3)
            for _ in range(2):
                await watcher.hear()
            other.signal(signal.SIGKILL)
            early = await early.resume(service)  # Before the dead node's lease ends.
            await until(lambda: len(list(store_of(service)._ledger.leases)) == 1)
            late = await late.resume(service)  # After that.
            assert early.started_with == late.started_with == "resumed"
            assert (len(early.told), len(late.told)) == (1, 1)
            await watcher.told_nothing_before(late, "late")
            for abort in remote.at_end:
                abort()


async def test_after_a_gap_in_a_nodes_feed_its_peers_get_a_welcome_on_the_same_connection(server: NatsServer) -> None:
    async with two_nodes(server) as (one, two):
        watcher, v1, other = await V2Client.join(one, 1), await Client.join(one, 2), await V2Client.join(two, 3)
        for _ in range(2):
            await watcher.hear()
        await v1.hear()
        feed = store_of(one)._feed
        assert feed is not None
        feed._break(FeedBroken("a test"))
        await other.websocket.close()
        newcomer = await V2Client.join(two, 4)
        welcome = await watcher.hear()
        assert (welcome["type"], welcome["session"]) == ("welcome", watcher.session)
        while set(watcher.peers) != {a_key_text(2), a_key_text(4)}:
            await watcher.hear()
        await v1.until(lambda roster: set(roster.peers) == {watcher.virtual_ip, newcomer.virtual_ip})
        await newcomer.say({"type": "update", "display_name": "four"})
        assert (await watcher.hear())["peer"]["display_name"] == "four"


async def test_after_a_loss_of_the_store_revisions_agree_and_peers_resume(server: NatsServer) -> None:
    async with two_nodes(server) as (one, two):
        here, there = await V2Client.join(one, 1), await V2Client.join(two, 2)
        await here.hear()
        stores = [store_of(service) for service in (one, two)]
        epochs = [store._ledger.epoch for store in stores]
        await stores[0]._stream._ask(f"STREAM.PURGE.{stores[0]._stream._options.name}", {})
        await until(lambda: all(store._ledger.epoch != epochs[0] and store.is_ready() for store in stores))
        newcomer = await V2Client.join(two, 3)
        assert (await here.hear())["type"] == (await there.hear())["type"] == "joined"
        assert here.revision == there.revision == newcomer.revision
        again = await there.resume(one)
        assert again.started_with == "resumed"


async def test_no_secret_of_a_session_is_in_the_stream(server: NatsServer) -> None:
    async with two_nodes(server) as (one, two):
        peer = await V2Client.join(one, 1)
        await until_known(two, 1)
        again = await peer.resume(two)
        stream = store_of(one)._stream
        info = await stream._ask(f"STREAM.INFO.{stream._options.name}", {"subjects_filter": ">"})
        stored = [(await stream.last(subject))[1] for subject in info["state"]["subjects"]]
        assert any(b'"digest"' in payload for payload in stored)
        raw = base64.urlsafe_b64decode(again.session)
        for secret in (again.session.encode(), raw, base64.b64encode(raw)):
            assert not any(secret in payload for payload in stored)


async def test_without_nats_a_session_can_not_be_resumed_but_is_not_lost(own_server: NatsServer) -> None:
    async with running(adapt=quickly, nats_url=own_server.url, grace=GRACE) as service:
        await ready(service)
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        own_server.kill()
        await until(lambda: not store_of(service).is_ready())
        peer.reset()
        with pytest.raises(Exception, match="1013"):
            await peer.resume(service)
        own_server.start()
        await ready(service)
        again = await peer.resume(service)
        assert again.session == peer.session
        await watcher.told_nothing_before(again, "again")


async def test_an_update_that_waits_when_its_peer_comes_back_to_another_node_is_told(server: NatsServer) -> None:
    async with two_nodes(server, update_interval=0.3) as (one, two):
        watcher, peer = await V2Client.join(one, 1), await V2Client.join(one, 2)
        await watcher.hear()
        for port in (1, 2):
            await peer.say({"type": "update", "endpoints": [f"10.0.0.7:{port}"]})
        assert (await watcher.hear())["peer"]["endpoints"] == ["10.0.0.7:1"]
        again = await peer.resume(two)
        assert (await watcher.hear())["peer"]["endpoints"] == ["10.0.0.7:2"]
        await watcher.told_nothing_before(again, "again")
