import asyncio
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.frames import Frame, Opcode

from harness.certificates import trusting, write_certificate
from tests.integration.service import (
    PATIENCE,
    Client,
    RawClient,
    Service,
    come_and_go_until_removed,
    handshake,
    join_message,
    refused,
    running,
)


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    """The settings for a service that speaks TLS."""
    certificate, key = write_certificate(tmp_path, "first")
    return {"tls_certificate": certificate, "tls_key": key, "tls_reload_interval": 0.1}


async def test_peers_see_each_other_over_tls_and_not_without(tls: dict[str, Any]) -> None:
    async with running(**tls) as service:
        first, second = await Client.join(service, 1), await Client.join(service, 2)
        assert (await first.hear())["virtual_ip"] == second.virtual_ip
        with pytest.raises(ssl.SSLCertVerificationError):
            await service.connect(ssl=ssl.create_default_context())
        with anyio.fail_after(PATIENCE), socket.create_connection(("127.0.0.1", service.port)) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP" not in await asyncio.to_thread(plain.recv, 4096)


def subject(client: Client) -> str:
    ((_, name),) = client.websocket.transport.get_extra_info("peercert")["subject"][0]
    return str(name)


async def test_a_renewed_certificate_is_taken_up_without_dropping_anyone(tls: dict[str, Any], tmp_path: Path) -> None:
    async with running(**tls) as service:
        before = await Client.join(service, 1)
        write_certificate(tmp_path, "second")
        service.tls = trusting(tmp_path / "cert.pem")
        after = None
        with anyio.fail_after(PATIENCE):
            while after is None:
                try:
                    after = await Client.join(service, 2)
                except ssl.SSLCertVerificationError:  # The service has not loaded the renewed certificate yet.
                    await asyncio.sleep(0.02)
        assert (subject(before), subject(after)) == ("first", "second")
        assert (await before.hear())["virtual_ip"] == after.virtual_ip
        await after.leave()
        assert await before.hear() == {"removed_peer": after.virtual_ip}


async def test_a_certificate_that_can_not_be_used_is_told_and_the_former_one_stays(
    tls: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(**tls) as service:
        (tmp_path / "cert.pem").write_text("nonsense")
        with anyio.fail_after(PATIENCE):
            said = ""
            while "certificate not renewed" not in said:
                await asyncio.sleep(0.02)
                said += "".join(capfd.readouterr())
        await Client.join(service, 1)


async def test_a_tls_handshake_that_does_not_come_to_an_end_is_cut(tls: dict[str, Any]) -> None:
    async with running(request_timeout=0.3, **tls) as service:
        for beginning in (b"", b"\x16\x03\x01\x02\x00"):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(beginning)
            with anyio.fail_after(PATIENCE):
                assert await reader.read() == b""
            writer.close()
        assert service.metric("connections") == 0


async def test_a_request_that_does_not_come_to_an_end_is_cut_over_tls(tls: dict[str, Any]) -> None:
    async with running(request_timeout=0.3, **tls) as service:
        client = await RawClient.connect(service)
        client.writer.write(b"GET /tenants/acme HTTP/1.1\r\n")
        with anyio.fail_after(PATIENCE):
            assert await client.reader.read() == b""
        assert service.metric("refusals_total", reason="request timeout") == 1


async def test_refusals_are_the_same_over_tls(tls: dict[str, Any]) -> None:
    async with running(max_connections=1, **tls) as service:
        assert await refused(service, b"binary") == (1003, "text only")
        assert await refused(service, "[]") == (4501, "malformed join")
        peer = await RawClient.join(service, 1)
        assert await refused(service, join_message(2)) == (4005, "at capacity")
        peer.writer.write(b"\xff\xff\xff\xff")
        assert await peer.read_close() == (1002, "unknown frame type")


@pytest.mark.parametrize("end", ["close frame", "end of stream", "reset", "silence"])
async def test_a_peer_is_out_however_its_connection_ends_over_tls(tls: dict[str, Any], end: str) -> None:
    async with running(ping_interval=0.3, ping_timeout=1, **tls) as service:
        watcher, peer = await Client.join(service, 1), await RawClient.join(service, 2)
        if end == "close frame":
            peer.send(Opcode.CLOSE, b"")
        elif end == "end of stream":
            peer.writer.close()
        elif end == "reset":
            peer.reset()
        await watcher.until(lambda roster: not roster.peers and len(watcher.messages) > 1)
        assert [next(iter(message)) for message in watcher.messages[1:]] == ["display_name", "removed_peer"]


def _join_and_stop_reading(service: Service, number: int) -> ssl.SSLSocket:
    assert service.tls is not None
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(PATIENCE)
    plain.connect(("127.0.0.1", service.port))
    peer = service.tls.wrap_socket(plain, server_hostname="127.0.0.1")
    peer.sendall(handshake(service, "acme"))
    assert peer.recv(4096).startswith(b"HTTP/1.1 101")
    peer.sendall(Frame(Opcode.TEXT, join_message(number).encode()).serialize(mask=True))
    assert b"virtual_ip" in peer.recv(4096)
    return peer


async def test_a_peer_that_stops_reading_is_out_over_tls(tls: dict[str, Any]) -> None:
    async with running(send_buffer_size=4096, max_outbox_size=8192, **tls) as service:
        watcher = await Client.join(service, 1)
        with await asyncio.to_thread(_join_and_stop_reading, service, 2):
            await watcher.hear()
            await come_and_go_until_removed(service, watcher, "100.64.0.2")
        assert service.metric("leaves_total", reason="too slow") == 1


async def test_a_page_of_the_service_itself_may_connect_over_tls(tls: dict[str, Any]) -> None:
    async with running(**tls) as service:
        websocket = await service.connect(origin=f"https://{service.address}")
        await websocket.send(join_message(1))
        assert json.loads(await websocket.recv())["peers"] == []
