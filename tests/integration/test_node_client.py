"""examples/client.mjs: a client of protocol v2 in another language, without packages."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.keys import a_key_text
from harness.proxy import Proxy
from tests.integration.service import PATIENCE, Service, running
from tests.integration.v2_client import V2Client

CLIENT = Path(__file__).parents[2] / "examples" / "client.mjs"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node: apt-get install nodejs")


class Process:
    """The client as a process, seen by its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        with anyio.fail_after(PATIENCE):
            message: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return message

    async def ended(self) -> int:
        with anyio.fail_after(PATIENCE):
            return await self.process.wait()


@asynccontextmanager
async def a_client(port: int, tenant: str = "acme", name: str = "node") -> AsyncIterator[Process]:
    assert NODE is not None
    url = f"ws://127.0.0.1:{port}/tenants/{tenant}"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        NODE, str(CLIENT), url, name, a_key_text(7), stdout=pipe, stderr=pipe
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def a_proxy(service: Service, port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port, service.port)
    await proxy.restore()
    try:
        yield proxy
    finally:
        proxy.cut()


def test_the_client_is_short() -> None:
    assert len(CLIENT.read_text().splitlines()) < 100


async def test_the_client_joins_prints_notices_and_leaves_on_sigterm() -> None:
    async with running(grace=60) as service:
        watcher = await V2Client.join(service, 1)
        async with a_client(service.port, name="Büro 🦊") as client:
            welcome = await client.hear()
            assert (welcome["type"], [peer["public_key"] for peer in welcome["peers"]]) == ("welcome", [a_key_text(1)])
            assert (await watcher.hear())["peer"]["display_name"] == "Büro 🦊"
            await watcher.say({"type": "update", "display_name": "x" * 120})
            assert (await client.hear())["peer"]["display_name"] == "x" * 120
            client.process.send_signal(signal.SIGTERM)
            assert (await watcher.hear())["type"] == "left"
            assert await client.ended() == 0


async def test_the_client_resumes_after_a_lost_connection_and_nobody_is_told(unused_tcp_port: int) -> None:
    async with running(grace=60) as service, a_proxy(service, unused_tcp_port) as proxy:
        watcher = await V2Client.join(service, 1)
        async with a_client(unused_tcp_port) as client:
            welcome = await client.hear()
            await watcher.hear()
            proxy.cut()
            late = await V2Client.join(service, 2)
            await proxy.restore()
            resumed = await client.hear()
            assert (resumed["type"], resumed["virtual_ip"]) == ("resumed", welcome["virtual_ip"])
            assert "session" not in welcome.keys() | resumed.keys(), "a secret was printed"
            assert (await client.hear())["peer"]["public_key"] == a_key_text(2)
            assert (await watcher.hear())["type"] == "joined"
            await watcher.told_nothing_before(late, "late")


async def test_the_client_ends_with_an_error_if_it_is_refused() -> None:
    async with running(grace=60) as service:
        async with a_client(service.port, name="\n") as client:
            assert await client.ended() == 1
        async with a_client(service.port, tenant="not a tenant".replace(" ", "%20")) as client:
            assert await client.ended() == 1
