"""Which paths and hosts the peers' port answers for. A request for any other is refused, counted and logged."""

import asyncio

import anyio
import httpx2
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

from tests.integration.service import PATIENCE, Client, RawClient, Service, join_message, running


async def eventually(service: Service, name: str, value: float, **labels: str) -> None:
    with anyio.fail_after(PATIENCE):
        while service.metric(name, **labels) != value:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/", "/healthz/", "/tenants/acme", "/docs/oauth2-redirect"]
)
async def test_a_plain_request_for_what_there_is_not_is_refused_counted_and_logged(path: str) -> None:
    with capture_logs() as lines:
        async with running() as service, httpx2.AsyncClient(timeout=PATIENCE) as web:
            assert (await web.get(f"http://{service.address}{path}")).status_code == 404
            assert service.metric("refusals_total", reason="nothing at this path") == 1
    refusals = [line for line in lines if line["event"] == "refused"]
    assert [(line["reason"], line["source"]) for line in refusals] == [("nothing at this path", "127.0.0.1")]


@pytest.mark.parametrize("path", ["/elsewhere", "/tenants", "/tenants/acme/", "/healthz", "/"])
async def test_a_websocket_at_an_unknown_path_is_refused_counted_and_logged(path: str) -> None:
    with capture_logs() as lines:
        async with running() as service:
            with pytest.raises(InvalidStatus) as refusal:
                await connect(f"ws://{service.address}{path}")
            assert refusal.value.response.status_code == 403
            assert service.metric("refusals_total", reason="nothing at this path") == 1
    assert [line["reason"] for line in lines if line["event"] == "refused"] == ["nothing at this path"]


async def test_the_client_behind_a_trusted_proxy_is_the_source_of_a_plain_request_too() -> None:
    with capture_logs() as lines:
        async with running(trusted_proxies="127.0.0.0/8") as service, httpx2.AsyncClient(timeout=PATIENCE) as web:
            await web.get(f"http://{service.address}/x", headers={"X-Forwarded-For": "192.0.2.7"})
    assert [line["source"] for line in lines if line["event"] == "refused"] == ["192.0.2.7"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_peer_closed_for_a_binary_message_is_said_to_have_left_for_that(at_once: bool) -> None:
    async with running() as service:
        client = await RawClient.open(service)
        client.send(Opcode.TEXT, join_message(1).encode())
        if not at_once:
            await client.read_frame()
        client.send(Opcode.BINARY, b"x")
        assert await client.read_close() == (1003, "text only")
        await eventually(service, "leaves_total", 1, reason="text only")


@pytest.mark.parametrize(
    ("allowed", "host", "welcome"),
    [
        ("", "anything.example", True),
        ("wg.example", "wg.example", True),
        ("wg.example", "WG.example.:8000", True),
        ("wg.example, wg2.example", "wg2.example:443", True),
        ("127.0.0.1", "127.0.0.1:8000", True),
        ("::1", "[::1]:8000", True),
        ("wg.example", "evil.example", False),
        ("wg.example", "wg.example.evil", False),
        ("wg.example", "x.wg.example", False),
        ("wg.example", "evil.example:wg.example", False),
        ("wg.example", "127.0.0.1", False),
        ("wg.example", "", False),
    ],
)
async def test_a_websocket_is_opened_by_the_services_names_only(allowed: str, host: str, welcome: bool) -> None:
    async with running(allowed_hosts=allowed) as service:
        client = await RawClient.connect(service)
        client.writer.write(
            f"GET /tenants/acme HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        with anyio.fail_after(PATIENCE):
            head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101" if welcome else b"HTTP/1.1 421")
        assert service.metric("refusals_total", reason="host not allowed") == (not welcome)


async def test_a_page_whose_own_name_leads_to_the_services_address_is_refused() -> None:
    async with running(allowed_hosts="127.0.0.1") as service:
        own = await service.connect(origin=f"http://{service.address}")
        await own.close()
        rebound = {"Host": f"evil.example:{service.port}", "Origin": f"http://evil.example:{service.port}"}
        client = await RawClient.connect(service)
        fields = "".join(f"{name}: {value}\r\n" for name, value in rebound.items())
        client.writer.write(
            f"GET /tenants/acme HTTP/1.1\r\n{fields}Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        with anyio.fail_after(PATIENCE):
            assert (await client.reader.readline()).startswith(b"HTTP/1.1 421")


async def test_a_probe_by_address_is_answered_whatever_the_services_names_are() -> None:
    async with running(allowed_hosts="wg.example") as service, httpx2.AsyncClient(timeout=PATIENCE) as web:
        for path in ("/healthz", "/readyz"):
            assert (await web.get(f"http://{service.address}{path}")).status_code == 200


async def test_peers_join_by_an_allowed_name() -> None:
    async with running(allowed_hosts="127.0.0.1") as service:
        first, second = await Client.join(service, 1), await Client.join(service, 2)
        assert (await first.hear())["virtual_ip"] == second.virtual_ip
