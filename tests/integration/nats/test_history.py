"""Who held an address, when, as several nodes write it down in one stream."""

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from harness.nats_server import PATIENCE, NatsServer
from tests.builders import ACME
from tests.contracts.history import ADDRESS, FIRST, SECOND, HistoryContract
from tests.integration.nats.nodes import QUICK, a_stream
from tests.integration.process import ServiceProcess, serving
from tests.integration.service import Client
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions
from wg_orchestrator.adapters.nats.history import NatsHistory
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.history import Record


@asynccontextmanager
async def on(server: NatsServer, stream: str, is_ready: bool = False) -> AsyncIterator[NatsHistory]:
    """One that knows of nobody who is in."""
    tenants = InMemoryTenantRepository(IPv4Network("100.64.0.0/10"), 100)
    connection = Connection(ConnectionOptions((server.url,)), QUICK)
    await connection.connect()
    yield NatsHistory(connection, StreamOptions(stream, "any"), 30, tenants, lambda: is_ready, QUICK)
    await connection.close()


@pytest.fixture
def stream() -> str:
    return a_stream()


class TestNatsHistory(HistoryContract):
    @pytest.fixture
    async def history(self, server: NatsServer, stream: str) -> AsyncIterator[NatsHistory]:
        async with on(server, stream) as history:
            yield history

    @pytest.fixture
    async def other(self, server: NatsServer, stream: str) -> AsyncIterator[NatsHistory]:
        async with on(server, stream) as other:
            yield other


async def test_who_is_gone_without_a_record_is_ended_once_and_by_the_next_holder_at_the_latest(
    server: NatsServer, stream: str
) -> None:
    async with on(server, stream) as unsure, on(server, stream, is_ready=True) as sure:
        now = time.time()
        await unsure.put([Record(FIRST, now - 100), Record(SECOND, now - 50)])
        assert [one.until for one in await unsure.holdings(ACME, ADDRESS)] == [None, None]
        first, second = await sure.holdings(ACME, ADDRESS)
        assert (first.until, first.cause) == (now - 50, "lost")
        assert second.until is not None
        assert now <= second.until <= time.time()
        # It is written down: who asks later gets the same answer. Only who was there knows better.
        with anyio.fail_after(PATIENCE):
            while await unsure.holdings(ACME, ADDRESS) != [first, second]:
                await anyio.sleep(0.02)
        await unsure.put([Record(SECOND, now - 1, LeaveCause.LEFT)])
        _, second = await sure.holdings(ACME, ADDRESS)
        assert (second.until, second.cause) == (now - 1, "left")


async def test_while_nats_is_away_it_says_so_and_afterwards_all_is_there(own_server: NatsServer, stream: str) -> None:
    async with on(own_server, stream) as history:
        await history.put([Record(FIRST, 1_800_000_000.0)])
        own_server.kill()
        with pytest.raises(Unavailable):
            await history.put([Record(SECOND, 1_800_000_001.0)])
        with pytest.raises(Unavailable):
            await history.holdings(ACME, ADDRESS)
        own_server.start()
        await until_stored(history, Record(SECOND, 1_800_000_001.0))
        assert [one.stay for one in await history.holdings(ACME, ADDRESS)] == [FIRST.id, SECOND.id]


async def until_stored(history: NatsHistory, record: Record) -> None:
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                await history.put([record])
                return
            except Unavailable:
                await anyio.sleep(0.05)


async def joined_once_ready(service: ServiceProcess, number: int) -> Client:
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        with anyio.fail_after(PATIENCE):
            while (await client.get(f"http://{service.address}/readyz")).status_code != 200:
                await anyio.sleep(0.05)
    return await Client.join(service, number)


async def first_holder(api: str, address: str) -> dict[str, Any]:
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        answer = await client.get(f"{api}/v1/tenants/acme/history", params={"virtual_ip": address})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["holders"][0]
    return found


async def test_of_a_node_that_was_killed_the_others_write_down_that_its_peers_left(
    server: NatsServer, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"nats_url": server.url, "nats_stream": a_stream(), "admin_port": 0}
    with ExitStack() as stack:
        services = []
        for number in range(3):
            (folder := tmp_path / str(number)).mkdir()
            services.append(stack.enter_context(serving(folder, node_name=f"node-{number}", **options)))
        peers = [await joined_once_ready(service, number) for number, service in enumerate(services, 1)]
        api = services[1].admin_url()
        await anyio.sleep(1.1)  # What the node has not written down by then may be lost.
        services[0].kill()
        with anyio.fail_after(PATIENCE):
            while (held := await first_holder(api, peers[0].virtual_ip))["to"] is None:
                await anyio.sleep(0.1)
        assert (held["display_name"], held["cause"]) == ("peer-1", "lost")
        await peers[2].leave()
        for service in services[1:]:
            with anyio.fail_after(PATIENCE):
                while (await first_holder(service.admin_url(), peers[2].virtual_ip))["cause"] != "left":
                    await anyio.sleep(0.1)
            assert (await first_holder(service.admin_url(), peers[1].virtual_ip))["to"] is None
