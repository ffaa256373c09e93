"""Whole services that share a NATS server, with WebSocket clients."""

import signal
import time
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from harness.keys import a_key_text
from harness.nats_server import NatsServer
from tests.integration.nats.nodes import a_stream, quickly, until
from tests.integration.service import Client, Service, join_message, refused, running
from tests.integration.test_cli import Command
from wg_orchestrator.domain.tenant_id import TenantId


async def status(service: Service) -> int:
    async with httpx2.AsyncClient() as client:
        return (await client.get(f"http://{service.address}/readyz")).status_code


async def ready(*services: Service) -> None:
    for service in services:
        await until(service.container.tenants().is_ready)


async def test_peers_of_two_services_see_each_other(server: NatsServer) -> None:
    options: Any = {"nats_url": server.url, "nats_stream": a_stream()}
    async with running(adapt=quickly, **options) as one, running(adapt=quickly, **options) as two:
        await ready(one, two)
        assert await status(one) == 200
        first = await Client.join(one, 1)
        second = await Client.join(two, 2)
        await first.until(lambda roster: second.virtual_ip in roster.peers)
        assert second.picture() == {first.virtual_ip: a_key_text(1)}
        await second.leave()
        await first.until(lambda roster: not roster.peers)
        third = await Client.join(two, 3)
        await first.until(lambda roster: third.virtual_ip in roster.peers)
        await two.stop()
        await first.until(lambda roster: not roster.peers)
        assert await third.closed() == (1012, "service restart")


async def test_without_nats_there_is_no_joining_and_nobody_is_lost(own_server: NatsServer) -> None:
    async with running(adapt=quickly, nats_url=own_server.url) as service:
        await ready(service)
        first = await Client.join(service, 1)
        own_server.kill()
        await until(lambda: not service.container.tenants().is_ready())
        assert await status(service) == 503
        assert await refused(service, join_message(2)) == (1013, "try again later")
        own_server.start()
        await ready(service)
        second = await Client.join(service, 2)
        await first.until(lambda roster: list(roster.peers) == [second.virtual_ip])


async def test_a_client_that_is_gone_before_its_join_was_stored_leaves_nothing_behind(own_server: NatsServer) -> None:
    async with running(adapt=quickly, nats_url=own_server.url) as service:
        await ready(service)
        watcher = await Client.join(service, 1)
        own_server.pause()
        gone = await service.connect()
        await gone.send(join_message(2))
        await until(lambda: getattr(service.container.tenants().get(TenantId("acme")), "expects", False))
        gone.transport.abort()
        await until(lambda: service.metric("connections") == 1)
        own_server.resume()
        assert (await watcher.hear())["public_key"] == a_key_text(2)
        assert await watcher.hear() == {"removed_peer": "100.64.0.2"}


async def test_a_service_that_starts_without_nats_waits_for_it(own_server: NatsServer) -> None:
    own_server.kill()
    async with running(adapt=quickly, nats_url=own_server.url) as service:
        assert await status(service) == 503
        assert await refused(service, join_message(1)) == (1013, "try again later")
        own_server.start()
        await ready(service)
        assert (await Client.join(service, 1)).virtual_ip == "100.64.0.1"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
async def test_the_peers_of_a_service_that_is_killed_or_stopped_are_gone_within_ten_seconds(
    server: NatsServer, tmp_path: Path, end: signal.Signals
) -> None:
    options: Any = {"nats_url": server.url, "nats_stream": a_stream()}
    arguments = ("serve", "--host", "127.0.0.1", "--port", "0", "--nats", server.url)
    async with running(adapt=quickly, **options) as service:
        await ready(service)
        watcher = await Client.join(service, 1)
        with Command(tmp_path, *arguments, "--nats-stream", options["nats_stream"]) as other:
            address = other.line(r"ws://(127.0.0.1:\d+)/tenants/")
            remote = Service(Listening(address), service.container, None)  # type: ignore[arg-type]
            stays = await _joined(remote, 2)
            moves = await _joined(remote, 3)
            await watcher.until(lambda roster: len(roster.peers) == 2)
            other.signal(end)
            ended = time.monotonic()
            await watcher.until(lambda roster: not roster.peers)
            assert time.monotonic() - ended < 10
            moved = await Client.join(service, 3)
            assert moved.virtual_ip == moves.virtual_ip
            if end == signal.SIGSTOP:
                other.signal(signal.SIGCONT)
                assert await moves.closed() == (1013, "try again later")
                await watcher.until(lambda roster: len(roster.peers) == 2)
                assert set(watcher.picture()) == {stays.virtual_ip, moved.virtual_ip}
                await stays.until(lambda roster: set(roster.peers) == {watcher.virtual_ip, moved.virtual_ip})
            stays.websocket.transport.abort()
            moves.websocket.transport.abort()


class Listening:
    """A service that another process runs."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.should_exit = False
        self.listener = self

    def getsockname(self) -> tuple[str, int]:
        host, port = self.address.split(":")
        return host, int(port)


async def _joined(service: Service, number: int) -> Client:
    """Join as soon as the service lets anybody in."""
    with anyio.fail_after(30):
        while True:
            client = Client(await service.connect())
            await client.websocket.send(join_message(number))
            try:
                await client.hear()
            except Exception:
                await anyio.sleep(0.05)
            else:
                return client


async def test_a_stop_with_nats_hung_takes_no_longer_than_the_settings_say(own_server: NatsServer) -> None:
    async with running(adapt=quickly, nats_url=own_server.url, shutdown_timeout=1) as service:
        await ready(service)
        clients = [await Client.join(service, number) for number in range(3)]
        own_server.pause()
        began = time.monotonic()
        await service.stop()
        # One second, the time that the store always has to end, and some for a busy machine. Without this limit, a
        # leave would be tried for five.
        assert time.monotonic() - began < 4
        own_server.resume()
        assert [await client.closed() for client in clients] == [(1012, "service restart")] * 3
