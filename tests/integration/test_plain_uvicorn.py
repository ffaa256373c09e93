"""The same application under uvicorn's own WebSocket class, without our protocol class."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn
from dependency_injector import providers
from websockets.exceptions import InvalidStatus

from harness.invitations import Inviter, bearer
from tests.integration import elsewhere
from tests.integration.prover import Owner, Prover
from tests.integration.service import PATIENCE, Client, RawClient, Service, come_and_go_until_removed, refused
from tests.integration.v2_client import V2Client
from wg_orchestrator.app import create_app
from wg_orchestrator.container import Container
from wg_orchestrator.settings import Settings


class PlainServer(uvicorn.Server):
    def __init__(self, container: Container) -> None:
        config = uvicorn.Config(
            create_app(container), ws="websockets-sansio", ws_per_message_deflate=False, log_config=None
        )
        super().__init__(config)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.ready = asyncio.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Service]:
    container = Container(settings=providers.Object(Settings(max_outbox_size=32768, close_timeout=1, **settings)))
    server = PlainServer(container)
    running = asyncio.create_task(server.serve([server.listener]))
    await server.ready.wait()
    service = Service(server, container, running)
    try:
        yield service
    finally:
        for abort in service.at_end:
            abort()
        await service.stop()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as service:
        yield service


async def test_a_v2_peer_comes_back_to_its_place_and_hears_what_it_missed() -> None:
    async with serving(grace=30) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        await peer.say({"type": "update", "endpoints": ["10.0.0.7:51820"]})
        assert (await watcher.hear())["peer"]["endpoints"] == ["10.0.0.7:51820"]
        peer.reset()
        third = await V2Client.join(service, 3)
        back = await peer.resume(service)
        assert (back.started_with, back.virtual_ip) == ("resumed", peer.virtual_ip)
        assert (await back.hear())["peer"]["virtual_ip"] == third.virtual_ip
        await watcher.hear()
        await watcher.told_nothing_before(third, "renamed")


async def test_a_v2_peer_that_says_goodbye_has_left() -> None:
    async with serving(grace=30) as service:
        watcher, peer = await V2Client.join(service, 1), await V2Client.join(service, 2)
        await watcher.hear()
        await peer.websocket.close()
        assert (await watcher.hear())["type"] == "left"


async def test_a_key_can_be_proven_before_the_welcome_and_after_it() -> None:
    owner = Owner()
    async with serving(rendezvous_port=0, host="127.0.0.1") as service:
        stranger = await Prover.join(service, owner.keys.public)
        await stranger.hear("welcome")
        peer = await Prover.join(service, owner.keys.public)
        await owner.answer(await peer.hear("prove"))
        await peer.hear("proven")
        await peer.hear("welcome")
        assert await stranger.closed() == 4505


async def test_peers_see_each_other_come_and_go(service: Service) -> None:
    first, second = await Client.join(service, 1), await Client.join(service, 2)
    assert (await first.hear())["virtual_ip"] == second.virtual_ip
    await second.leave()
    assert await first.hear() == {"removed_peer": "100.64.0.2"}
    third = await Client.join(service, 3)
    await first.hear()
    third.reset()
    assert await first.hear() == {"removed_peer": "100.64.0.3"}


async def test_100_clients_join_at_the_same_moment(service: Service) -> None:
    clients = await asyncio.gather(*(Client.join(service, number) for number in range(100)))
    await asyncio.gather(*(client.until(lambda roster: len(roster.peers) == 99) for client in clients))
    truth = service.roster()
    assert len(truth) == 100
    for client in clients:
        assert client.picture() | {client.virtual_ip: truth[client.virtual_ip]} == truth


async def test_a_refusal_has_its_close_code(service: Service) -> None:
    assert await refused(service, "{") == (4501, "malformed join")


async def test_a_peer_that_stops_reading_delays_nobody_and_is_out(service: Service) -> None:
    watcher = await Client.join(service, 1)
    await RawClient.join(service, 2)
    await watcher.hear()
    await come_and_go_until_removed(service, watcher, "100.64.0.2")


async def test_who_reads_is_told_however_much_there_is_to_say_at_once(service: Service) -> None:
    reader = await Client.join(service, 1)
    for _ in range(3):
        peers = elsewhere.join(service, 300)
        await reader.until(lambda roster: len(roster.peers) == 300)
        elsewhere.leave(service, peers)
        await reader.until(lambda roster: not roster.peers)


async def test_a_stopping_service_announces_no_leaves(service: Service) -> None:
    clients = [await Client.join(service, number) for number in range(1, 6)]
    late = await service.connect()
    service.server.should_exit = True
    for client in clients:
        code, _ = await client.closed()
        assert code == 1012
        assert not any("removed_peer" in message for message in client.messages)
    with anyio.fail_after(PATIENCE):
        await late.wait_closed()


async def test_only_who_is_invited_comes_in(tmp_path: Path) -> None:
    inviter = Inviter()
    async with serving(invitation_keys=inviter.write_keys(tmp_path / "keys")) as service:
        for headers, challenge in ((None, "Bearer"), (bearer("x"), 'Bearer error="invalid_token"')):
            with pytest.raises(InvalidStatus) as refusal:
                await service.connect(additional_headers=headers)
            assert refusal.value.response.status_code == 401
            assert refusal.value.response.headers["www-authenticate"] == challenge
        await Client.join(service, 1, headers=bearer(inviter.token()))
