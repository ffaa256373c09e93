import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from harness.cluster import free_ports
from harness.nats_server import PATIENCE
from harness.proxy import Proxy

SOON = 0.2
"""Seconds within which data comes through if the proxy does not hold it."""


@asynccontextmanager
async def before_an_echo() -> AsyncIterator[tuple[Proxy, int]]:
    echoing = set[asyncio.StreamWriter]()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        echoing.add(writer)
        with suppress(ConnectionError):
            while data := await reader.read(1024):
                writer.write(data)
        writer.transport.abort()
        echoing.remove(writer)

    port, server_port = free_ports(2)
    server = await asyncio.start_server(echo, "127.0.0.1", server_port)
    proxy = Proxy(port, server_port)
    await proxy.restore()
    with anyio.fail_after(PATIENCE):
        yield proxy, port
        proxy.cut()
        while echoing or proxy.connections:
            await anyio.sleep(0.001)
        server.close()
        await anyio.sleep(0.01)  # asyncio closes a socket at its next turn.


async def test_data_comes_through_in_both_directions() -> None:
    async with before_an_echo() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"word")
        assert await reader.readexactly(4) == b"word"
        writer.close()


async def test_a_cut_proxy_ends_connections_and_refuses_others_until_it_is_restored() -> None:
    async with before_an_echo() as (proxy, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"word")
        await reader.readexactly(4)
        proxy.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
        await proxy.restore()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


async def test_data_that_is_sent_during_a_stall_comes_after_it_on_the_same_connection() -> None:
    async with before_an_echo() as (proxy, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        proxy.stall()
        writer.write(b"word")
        with pytest.raises(TimeoutError), anyio.fail_after(SOON):
            await reader.readexactly(1)
        await proxy.restore()
        assert await reader.readexactly(4) == b"word"
        writer.close()


async def test_a_slow_proxy_delays_data_in_each_direction() -> None:
    async with before_an_echo() as (proxy, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        proxy.slow(SOON)
        started = time.monotonic()
        writer.write(b"word")
        assert await reader.readexactly(4) == b"word"
        assert time.monotonic() - started >= 2 * SOON
        writer.close()
