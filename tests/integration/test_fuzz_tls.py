"""A hostile TLS client at a real service's port: the service counts it, whatever it sends and however it cuts that."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.certificates import write_certificate
from tests.fuzzing import fuzzed
from tests.integration.bad_inputs.frames import text
from tests.integration.process import ServiceProcess, serving
from tests.integration.service import PATIENCE, handshake, join_message
from tests.tls_records import RecordClient

_MAX_PENDING = 4
_PIECES = 20_000
"""More pieces than the frame rate allows, even if the service reads several of them at once."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[ServiceProcess]:
    certificate, key = write_certificate(folder, "service")
    options: dict[str, Any] = {
        "tls_certificate": certificate,
        "tls_key": key,
        "max_pending": _MAX_PENDING,
        "request_timeout": 600,
    }
    with serving(folder, close_timeout=1, **options) as service:
        yield service
        assert service.is_alive()
        assert service.unexpected_lines() == []


_tenants = itertools.count()


@asynccontextmanager
async def member(service: ServiceProcess, folder: Path) -> AsyncIterator[RecordClient]:
    assert service.tls is not None
    client = await RecordClient.connect(service.port, service.tls, folder)
    try:
        client.writer.write(client.seal(handshake(service, f"t{next(_tenants)}")))
        assert (await client.read()).startswith(b"HTTP/1.1 101")
        client.writer.write(client.seal(text(join_message(1))))
        assert b"virtual_ip" in await client.read()
        yield client
    finally:
        client.writer.close()
        with suppress(OSError):
            await client.writer.wait_closed()


def client_hello(service: ServiceProcess) -> bytes:
    assert service.tls is not None
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        service.tls.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()


@fuzzed(10)
@given(st.lists(st.integers(0, 600), min_size=_MAX_PENDING + 1, max_size=12))
async def test_of_handshakes_that_stall_anywhere_the_oldest_are_cut_and_others_get_in(
    service: ServiceProcess, folder: Path, lengths: list[int]
) -> None:
    hello = client_hello(service)
    with ExitStack() as stack, anyio.fail_after(PATIENCE):
        held = []
        for length in lengths:
            held.append(stack.enter_context(socket.create_connection(("127.0.0.1", service.port))))
            held[-1].sendall(hello[:length])
            held[-1].setblocking(False)
        for connection in held[:-_MAX_PENDING]:
            with suppress(ConnectionResetError):
                while await asyncio.get_running_loop().sock_recv(connection, 4096):
                    pass
        async with member(service, folder):
            pass


@fuzzed(20)
@given(st.one_of(st.tuples(st.integers(1, 20), st.integers(1, 5000)), st.tuples(st.integers(1, 5000), st.just(1))))
async def test_however_little_a_member_sends_at_a_time_it_is_refused(
    service: ServiceProcess, folder: Path, sizes: tuple[int, int]
) -> None:
    """`sizes` are the bytes in each record, and the bytes in each piece that is sent."""
    record_size, piece_size = sizes
    async with member(service, folder) as client:
        heard = asyncio.create_task(_close_frame(client))
        plain = itertools.cycle(text("x" * 4000))
        sealed = b""
        for _ in range(_PIECES):
            while len(sealed) < piece_size:
                sealed += client.seal(bytes(itertools.islice(plain, record_size)))
            client.writer.write(sealed[:piece_size])
            sealed = sealed[piece_size:]
            await asyncio.sleep(0)
            if heard.done():
                break
        with anyio.fail_after(PATIENCE):
            assert await heard == b"\x88\x08\x03\xf0policy"


async def _close_frame(client: RecordClient) -> bytes:
    """Read up to a close frame, and return what came with it; empty if the connection ended without one."""
    with suppress(ConnectionError):
        while (data := await client.read()) and not data.startswith(b"\x88"):
            pass
        return data
    return b""
