import json
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

from harness.keys import a_key_text
from tests.integration.service import (
    PATIENCE,
    Client,
    RawClient,
    come_and_go_until_removed,
    join_message,
    refused,
    running,
)


@pytest.mark.parametrize(
    ("first", "code", "reason"),
    [
        (b"binary", 1003, "text only"),
        (join_message(9, padding="x" * 4096), 1009, "too big"),
        ("not json", 4501, "malformed join"),
        ("[]", 4501, "malformed join"),
        (json.dumps({"display_name": "x"}), 4501, "malformed join"),
        (join_message(9, display_name=7), 4501, "malformed join"),
        (join_message(9)[:-1] + ', "display_name": "y"}', 4501, "malformed join"),
        ("[" * 4000, 4501, "malformed join"),
        (join_message(9, display_name=""), 4502, "bad display name"),
        (join_message(9, display_name="x" * 129), 4502, "bad display name"),
        (join_message(9, display_name="a\nb"), 4502, "bad display name"),
        ('{"display_name": "a\\ud800b", "public_key": "x"}', 4502, "bad display name"),
        (join_message(9, public_key="x"), 4503, "bad public key"),
        (join_message(9, public_key="A" * 43 + "="), 4503, "bad public key"),
        (join_message(1), 4004, "key in use"),
    ],
)
async def test_a_refusal_names_its_cause_and_disturbs_nobody(
    first: str | bytes, code: int, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running() as service:
        watcher = await Client.join(service, 1)
        assert await refused(service, first) == (code, reason)
        newcomer = await Client.join(service, 2)
        assert (await watcher.hear())["virtual_ip"] == newcomer.virtual_ip == "100.64.0.2"
    assert "Traceback" not in "".join(capfd.readouterr())


async def test_a_client_that_never_asks_to_join_is_closed() -> None:
    async with running(join_timeout=0.3) as service:
        client = Client(await service.connect())
        assert await client.closed() == (4001, "join timeout")


@pytest.mark.parametrize("limits", [{"max_peers_per_tenant": 2}, {"network": "10.0.0.0/30"}])
async def test_a_full_tenant_refuses_until_somebody_leaves(limits: dict[str, Any]) -> None:
    async with running(**limits) as service:
        watcher = await Client.join(service, 1)
        peer = await Client.join(service, 2)
        assert await refused(service, join_message(3)) == (4002, "tenant full")
        await peer.leave()
        await watcher.until(lambda roster: len(watcher.messages) == 3)
        await Client.join(service, 3)


async def test_no_tenants_beyond_the_limit() -> None:
    async with running(max_tenants=1) as service:
        await Client.join(service, 1)
        assert await refused(service, join_message(2), "globex") == (4005, "at capacity")
        await Client.join(service, 2)


async def test_no_connections_beyond_the_limit() -> None:
    async with running(max_connections=2) as service:
        first = await Client.join(service, 1)
        waiting = await RawClient.open(service)
        client = Client(await service.connect())
        assert await client.closed() == (4005, "at capacity")
        waiting.reset()
        await first.leave()
        with anyio.fail_after(PATIENCE):
            while await refused(service, "x") == (4005, "at capacity"):
                pass  # The service has not noticed yet that the two have gone.
        await Client.join(service, 2)


async def test_a_peer_that_left_makes_room_for_a_connection() -> None:
    async with running(max_connections=1) as service:
        for number in range(3):
            peer = await Client.join(service, number)
            assert await Client(await service.connect()).closed() == (4005, "at capacity")
            await peer.leave()


async def test_a_fault_of_the_store_is_told_logged_and_costs_nobody_else(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(max_connections=2) as service:
        watcher = await Client.join(service, 1)
        with monkeypatch.context() as patched:
            patched.setattr(service.container.tenants(), "commit", _broken)
            for number in (2, 3):
                assert await refused(service, join_message(number)) == (1011, "internal error")
        newcomer = await Client.join(service, 4)
        assert (await watcher.hear())["virtual_ip"] == newcomer.virtual_ip
    assert "the store is away" in "".join(capfd.readouterr())


async def _broken(event: object) -> None:
    raise ConnectionRefusedError("the store is away")


async def test_invalid_utf8_is_closed_before_and_after_the_join() -> None:
    async with running() as service:
        for client in (await RawClient.open(service), await RawClient.join(service, 1)):
            client.send(Opcode.TEXT, b"\xff")
            assert await client.read_close() == (1007, "invalid utf-8")


async def test_binary_and_oversized_messages_are_closed_after_the_join_too() -> None:
    async with running() as service:
        binary, big = await RawClient.join(service, 1), await RawClient.join(service, 2)
        binary.send(Opcode.BINARY, b"x")
        assert await binary.read_close() == (1003, "text only")
        big.send(Opcode.TEXT, b"x" * 4097)
        assert await big.read_close() == (1009, "too big")


@pytest.mark.parametrize(
    ("opcode", "payload", "fin"),
    [(Opcode.TEXT, b"still here", True), (Opcode.PING, b"x" * 125, True), (Opcode.CONT, b"", False)],
)
async def test_too_many_frames_are_closed(opcode: Opcode, payload: bytes, fin: bool) -> None:
    async with running(max_frame_rate=1) as service:
        client = await RawClient.join(service, 1)
        if opcode is Opcode.CONT:
            client.send(Opcode.TEXT, b"", fin=False)
        for _ in range(12):
            client.send(opcode, payload, fin=fin)
        assert await client.read_close() == (1008, "policy")


async def test_a_peer_that_stops_reading_delays_nobody_and_is_closed() -> None:
    async with running(send_buffer_size=4096, max_outbox_size=8192) as service:
        watcher = await Client.join(service, 1)
        stalled = await RawClient.join(service, 2)
        await watcher.hear()
        await come_and_go_until_removed(service, watcher, "100.64.0.2")
        assert await stalled.read_close() == (4003, "too slow")
        assert {"removed_peer": "100.64.0.2"} in watcher.messages


async def test_a_welcome_larger_than_the_outbox_is_sent() -> None:
    async with running(max_outbox_size=2048) as service:
        peers = [await Client.join(service, number) for number in range(1, 41)]
        assert len(peers[-1].roster.peers) == 39


@pytest.mark.parametrize("tenant", ["x" * 65, "a%20b", "a!b", "%C3%A4", "a%0Ab"])
async def test_a_bad_tenant_id_is_refused_before_the_websocket_opens(tenant: str) -> None:
    async with running() as service:
        with pytest.raises(InvalidStatus) as refusal:
            await service.connect(tenant)
        assert refusal.value.response.status_code == 400
        assert b"tenant id" in (refusal.value.response.body or b"")


async def test_an_unknown_path_is_refused() -> None:
    async with running() as service:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(f"ws://{service.address}/elsewhere")
        assert refusal.value.response.status_code == 403


@pytest.mark.parametrize(
    ("allowed", "origin", "welcome"),
    [
        ("", "https://evil.example", False),
        ("", "null", False),
        ("https://app.example", "https://app.example", True),
        ("https://app.example, https://b.example", "https://b.example", True),
        ("https://app.example", "https://app.example.evil", False),
        ("*", "https://evil.example", True),
    ],
)
async def test_a_browser_may_connect_from_allowed_origins_only(allowed: str, origin: str, welcome: bool) -> None:
    async with running(allowed_origins=allowed) as service:
        if welcome:
            websocket = await service.connect(origin=origin)
            await websocket.close()
        else:
            with pytest.raises(InvalidStatus) as refusal:
                await service.connect(origin=origin)
            assert refusal.value.response.status_code == 403


async def test_a_page_of_the_service_itself_may_connect() -> None:
    async with running() as service:
        websocket = await service.connect(origin=f"http://{service.address}")
        await websocket.close()


async def test_no_bad_handshake_is_answered_with_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    async with running() as service:
        for change, status in (("Version: 13", 426), ("Key: AAAAAAAAAAAAAAAAAAAAAA==", 400)):
            client = await RawClient.connect(service)
            request = (
                f"GET /tenants/acme HTTP/1.1\r\nHost: {service.address}\r\nUpgrade: websocket\r\nConnection: Upgrade"
                "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            client.writer.write(request.replace(change, change.split(":")[0] + ": 7").encode())
            with anyio.fail_after(PATIENCE):
                response = await client.reader.read()
            assert response.startswith(f"HTTP/1.1 {status}".encode())
        assert a_key_text(1) not in service.roster().values()
    assert "Traceback" not in "".join(capfd.readouterr())
