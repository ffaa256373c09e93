"""A client that attacks by TLS itself: handshakes that stall, records that are cut up or carry no data."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.exceptions import InvalidStatus

from harness.certificates import write_certificate
from tests.integration.bad_inputs.frames import PING, frame, text
from tests.integration.process import serving
from tests.integration.service import PATIENCE, Client, Endpoint, handshake, join_message, refused, running
from tests.tls_records import ALERT, HANDSHAKE, KEY_UPDATE, WARNING, RecordClient

_BEGINNINGS = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
"""Beginnings of a TLS handshake: no byte, and up to the middle of a record's header or of a ClientHello."""


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    certificate, key = write_certificate(tmp_path, "service")
    return {"tls_certificate": certificate, "tls_key": key}


@contextmanager
def stalled(service: Endpoint, count: int) -> Iterator[list[socket.socket]]:
    """Connections that have sent one of _BEGINNINGS and send no more."""
    connections = []
    try:
        for number in range(count):
            connections.append(socket.create_connection(("127.0.0.1", service.port), PATIENCE))
            connections[-1].sendall(_BEGINNINGS[number % len(_BEGINNINGS)])
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def is_cut(connection: socket.socket) -> bool:
    """Return True when the service has cut the connection."""
    connection.setblocking(False)
    with anyio.fail_after(PATIENCE), suppress(ConnectionResetError):
        while await asyncio.get_running_loop().sock_recv(connection, 4096):
            pass
    return True


async def test_a_tls_handshake_that_stalls_counts_as_a_connection(tls: dict[str, Any]) -> None:
    async with running(**tls) as service:
        with stalled(service, 3):
            await Client.join(service, 1)
            assert service.metric("connections") == 4


async def test_a_tls_handshake_that_stalls_is_cut_as_any_request_is(tls: dict[str, Any]) -> None:
    async with running(request_timeout=0.3, **tls) as service:
        with stalled(service, 3) as connections:
            assert all([await is_cut(connection) for connection in connections])
        assert service.metric("refusals_total", reason="request timeout") == 3
        assert service.metric("connections") == 0


async def test_of_too_many_tls_handshakes_that_stall_the_oldest_is_cut(tls: dict[str, Any]) -> None:
    async with running(max_pending=3, request_timeout=600, **tls) as service:
        with stalled(service, 5) as connections:
            assert all([await is_cut(connection) for connection in connections[:2]])
            await Client.join(service, 1)
            assert await is_cut(connections[2])
            assert service.metric("connections") == 3


async def test_tls_handshakes_that_stall_take_the_place_of_connections(tls: dict[str, Any]) -> None:
    async with running(max_connections=2, request_timeout=600, **tls) as service:
        with stalled(service, 2):
            assert await refused(service, join_message(1)) == (4005, "at capacity")


async def test_tls_handshakes_that_stall_count_for_their_source(tls: dict[str, Any]) -> None:
    async with running(max_connections_per_source=2, request_timeout=600, **tls) as service:
        with stalled(service, 5) as connections:
            assert await is_cut(connections[4])
            connections.pop(3).close()
            with anyio.fail_after(PATIENCE):
                while service.metric("connections") > 3:
                    await asyncio.sleep(0)
            with pytest.raises(InvalidStatus, match="429"):
                await service.connect()


async def test_tls_handshakes_that_stall_leave_open_files_for_others(tls: dict[str, Any], tmp_path: Path) -> None:
    with serving(tmp_path, max_files=100, request_timeout=600, **tls) as service:
        for number in range(5):
            with stalled(service, 120):
                await Client.join(service, number)
        assert service.unexpected_lines() == []


async def test_what_is_no_tls_is_cut_and_counted(tls: dict[str, Any]) -> None:
    async with running(request_timeout=600, **tls) as service:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", b"\x16\x03\x01\xff\xff"):
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                connection.sendall(garbage)
                assert await is_cut(connection)
        with anyio.fail_after(PATIENCE):
            while service.metric("refusals_total", reason="no TLS handshake") < 3:
                await asyncio.sleep(0)
        assert service.metric("connections") == 0


@pytest.mark.parametrize("size", [1, 2])
async def test_a_tls_handshake_that_is_dribbled_is_cut_short(tls: dict[str, Any], size: int) -> None:
    """A handshake may come in as many pieces as a request: 256."""
    async with running(request_timeout=600, **tls) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(b"\x16\x03\x01\x40\x00")
            cut = asyncio.create_task(is_cut(connection))
            sent = 0
            while not cut.done() and sent < 4000:
                with suppress(ConnectionError):
                    connection.sendall(bytes(size))
                sent += 1
                await asyncio.sleep(0)
            assert await cut
        assert sent < 4000
        assert service.metric("refusals_total", reason="request too large") == 1


def _bytes_of_a_record(client: RecordClient) -> list[bytes]:
    record = client.seal(text("x" * 4000))
    return [record[at : at + 1] for at in range(len(record))]


def _records_of_a_byte(client: RecordClient) -> list[bytes]:
    return [client.seal(bytes((byte,))) for byte in text("x" * 4000)]


def _many_records_of_a_byte_at_once(client: RecordClient) -> list[bytes]:
    return [b"".join(_records_of_a_byte(client))]


def _key_updates(client: RecordClient) -> list[bytes]:
    return [client.seal(KEY_UPDATE, HANDSHAKE) for _ in range(4000)]


def _many_key_updates_at_once(client: RecordClient) -> list[bytes]:
    return [b"".join(client.seal(KEY_UPDATE, HANDSHAKE) for _ in range(4000))]


def _pings(client: RecordClient) -> list[bytes]:
    return [client.seal(frame(PING)) for _ in range(4000)]


async def _member(service: Endpoint, folder: Path) -> RecordClient:
    assert service.tls is not None
    client = await RecordClient.connect(service.port, service.tls, folder)
    service.at_end.append(lambda: client.writer.transport.abort())
    client.writer.write(client.seal(handshake(service, "acme")))
    assert (await client.read()).startswith(b"HTTP/1.1 101")
    client.writer.write(client.seal(text(join_message(1))))
    assert b"virtual_ip" in await client.read()
    return client


@pytest.mark.parametrize(
    "pieces",
    [
        _bytes_of_a_record, _records_of_a_byte, _many_records_of_a_byte_at_once, _key_updates,
        _many_key_updates_at_once, _pings,
    ],
)  # fmt: skip
async def test_a_member_that_has_too_much_read_is_refused(
    tls: dict[str, Any], tmp_path: Path, pieces: Callable[[RecordClient], list[bytes]]
) -> None:
    async with running(**tls) as service:
        member = await _member(service, tmp_path)
        heard = asyncio.create_task(_close_frame(member))
        for piece in pieces(member):
            member.writer.write(piece)
            await asyncio.sleep(0)
            if heard.done():
                break
        with anyio.fail_after(PATIENCE):
            assert await heard == b"\x88\x08\x03\xf0policy"


async def _close_frame(member: RecordClient) -> bytes:
    while (data := await member.read()) and b"\x88" not in data:
        pass
    return data[data.find(b"\x88") :]


@pytest.mark.parametrize(("content", "kind"), [(b"", 23), (WARNING, ALERT)])
async def test_a_member_that_sends_records_without_meaning_is_out(
    tls: dict[str, Any], tmp_path: Path, content: bytes, kind: int
) -> None:
    """OpenSSL accepts a few such records in a row. Then it fails, and the member gets an alert or is cut."""
    async with running(**tls) as service:
        member = await _member(service, tmp_path)
        watcher = await Client.join(service, 2)
        member.writer.write(b"".join(member.seal(content, kind) for _ in range(200)))
        assert await watcher.hear() == {"removed_peer": "100.64.0.1"}


async def test_a_member_may_renew_its_keys_now_and_then(tls: dict[str, Any], tmp_path: Path) -> None:
    async with running(**tls) as service:
        member = await _member(service, tmp_path)
        for _ in range(20):
            member.writer.write(member.seal(KEY_UPDATE, HANDSHAKE) + member.seal(frame(PING, b"?")))
            assert await member.read() == b"\x8a\x01?"
