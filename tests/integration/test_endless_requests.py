"""Clients that never stop sending, whatever the service answers: over TCP and over TLS, on a real socket."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.certificates import write_certificate
from tests.integration.service import PATIENCE, Client, RawClient, running

PLAIN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("over", ["tcp", "tls"])
@pytest.mark.parametrize(
    "beginning",
    [b"\r\n\r\nGET / HTTP/1.1\r\nX: ", PLAIN, PLAIN + PLAIN, b"POST / HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n"],
)
async def test_a_client_that_sends_for_ever_is_out_and_nobody_waits_for_it(
    tmp_path: Path, over: str, beginning: bytes
) -> None:
    options: dict[str, Any] = {"request_timeout": 1}
    if over == "tls":
        options["tls_certificate"], options["tls_key"] = write_certificate(tmp_path, "service")
    async with running(**options) as service:
        watcher = await Client.join(service, 1)
        client = await RawClient.connect(service)

        async def send_for_ever() -> None:
            client.writer.write(beginning)
            while True:
                client.writer.write(b"x" * 65536)
                await client.writer.drain()
                await asyncio.sleep(0)

        with anyio.fail_after(PATIENCE):
            with suppress(ConnectionError):
                await send_for_ever()
            while service.metric("connections") != 1:
                await asyncio.sleep(0.001)
        newcomer = await Client.join(service, 2)
        assert (await watcher.hear())["virtual_ip"] == newcomer.virtual_ip
