"""The operators' API of three nodes: whichever is asked, the answer is for all of them."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from harness.nats_server import PATIENCE, NatsServer
from tests.integration.nats.nodes import a_stream, quickly, until
from tests.integration.process import serving
from tests.integration.service import Client, Service, running
from tests.integration.v2_client import V2Client

NAMES = ["node-0", "node-1", "node-2"]


@pytest.fixture
def options(server: NatsServer) -> dict[str, Any]:
    return {"nats_url": server.url, "nats_stream": a_stream(), "admin_port": 0}


@pytest.fixture
async def services(options: dict[str, Any]) -> AsyncIterator[list[Service]]:
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(running(adapt=quickly, node_name=name, **options)) for name in NAMES
        ]
        for service in services:
            await until(partial(bool, service.container.readiness()))
            await until(partial(knows_all, service))
        yield services


def knows_all(service: Service) -> bool:
    return len(service.container.nodes().nodes()) == len(NAMES)


async def ask(service: Service, path: str) -> Any:
    address = service.server.admin_address  # type: ignore[attr-defined]
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        response = await client.get(f"http://{address}/v1/{path}")
    assert response.status_code == 200, response.text
    return response.json()


def has_revision(service: Service, revision: int) -> bool:
    return bool(service.container.tenants().get("acme").revision == revision)


async def test_each_node_answers_for_all(services: list[Service]) -> None:
    old = await Client.join(services[0], 1)
    new = [await V2Client.join(service, 2 + n) for n, service in enumerate(services)]
    while len(new[0].peers) < 3:
        await new[0].hear()
    await new[0].say({"type": "applied", "revision": new[0].revision})
    for service in services:
        await until(partial(has_revision, service, new[0].revision))
        with anyio.fail_after(PATIENCE):
            while (tenant := await ask(service, "tenants/acme"))["applied"]["by"] != 1:
                await anyio.sleep(0.02)
        assert tenant["nodes"] == {"answered": NAMES, "silent": []}
        assert (tenant["peers"], tenant["applied"]["of"]) == (4, 3)
        assert {one["display_name"] for one in tenant["applied"]["behind"]} == {"peer-3", "peer-4"}
        peers = (await ask(service, "tenants/acme/peers"))["peers"]
        nodes = {one["display_name"]: one["node"] for one in peers}
        assert nodes == {"peer-1": "node-0", "peer-2": "node-0", "peer-3": "node-1", "peer-4": "node-2"}
        with anyio.fail_after(PATIENCE):
            while [one["peers"] for one in (await ask(service, "nodes"))["nodes"]] != [2, 1, 1]:
                await anyio.sleep(0.05)
    address = services[2].server.admin_address  # type: ignore[attr-defined]
    async with httpx2.AsyncClient() as client:
        gone = await client.delete(f"http://{address}/v1/tenants/acme/peers/{old.virtual_ip}")
    assert gone.status_code == 204
    assert await old.closed() == (1008, "put out")


async def test_a_node_that_has_stopped_is_down_and_nobody_waits_for_it(services: list[Service]) -> None:
    await services[2].stop()
    await until(lambda: state(services[0], "node-2") == "down")
    assert (await ask(services[0], "tenants"))["nodes"] == {"answered": NAMES[:2], "silent": []}


def state(service: Service, name: str) -> str:
    return next(str(node.state.value) for node in service.container.nodes().nodes() if node.name == name)


async def test_a_node_that_stands_still_is_named_and_every_answer_comes_in_two_seconds(
    services: list[Service], options: dict[str, Any], tmp_path: Path
) -> None:
    with serving(tmp_path, node_name="node-3", **options) as process:
        await Client.join(services[0], 1)
        for service in services:
            await until(partial(is_known, service, "node-3"))
            await until(partial(has_tenants, service))
        with process.stopped():
            await until(lambda: state(services[0], "node-3") == "silent")
            for service, path in (
                (services[0], "tenants"),
                (services[1], "tenants/acme"),
                (services[2], "tenants/acme/peers"),
                (services[2], "nodes"),
                (services[2], "revocations"),
            ):
                began = time.monotonic()
                answer = await ask(service, path)
                # An answer that waited for the node would not come before that goes on.
                assert time.monotonic() - began < PATIENCE / 2
                if path.startswith("tenants"):
                    assert answer["nodes"] == {"answered": NAMES, "silent": ["node-3"]}
        await until(lambda: state(services[0], "node-3") == "up")
        assert (await ask(services[1], "tenants"))["nodes"]["silent"] == []


def has_tenants(service: Service) -> bool:
    return bool(service.container.tenants().count() == 1)


def is_known(service: Service, name: str) -> bool:
    return any(node.name == name for node in service.container.nodes().nodes())
