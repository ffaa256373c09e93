import json
from collections.abc import Awaitable, Callable

import anyio
import pytest
from websockets.frames import Opcode

from tests.integration.service import PATIENCE, Client, RawClient, running


async def _close_frame(client: RawClient) -> None:
    client.send(Opcode.CLOSE, b"")
    assert await client.read_frame() == (Opcode.CLOSE, b"")


async def _tcp_reset(client: RawClient) -> None:
    client.reset()


async def _end_of_stream(client: RawClient) -> None:
    client.writer.write_eof()
    with anyio.fail_after(PATIENCE):
        assert await client.reader.read() == b""


async def _closed_socket(client: RawClient) -> None:
    client.writer.close()


async def _silence(client: RawClient) -> None:
    """The client reads, but answers no ping."""
    opcode, _ = await client.read_frame()
    assert opcode == Opcode.PING


async def _stopped_reading(client: RawClient) -> None:
    """The client sends frames, also a pong, and reads nothing."""
    client.send(Opcode.PONG, b"here")
    client.send(Opcode.TEXT, b"alive")


async def _protocol_violation(client: RawClient) -> None:
    client.writer.write(b"\xff\xff\xff\xff")
    assert await client.read_close() == (1002, "unknown frame type")


@pytest.mark.parametrize(
    "end",
    [_close_frame, _tcp_reset, _end_of_stream, _closed_socket, _silence, _stopped_reading, _protocol_violation],
)
async def test_a_peer_is_out_however_its_connection_ends(end: Callable[[RawClient], Awaitable[None]]) -> None:
    async with running(ping_interval=0.3, ping_timeout=1) as service:
        watcher = await Client.join(service, 1)
        peer = await RawClient.join(service, 2)
        await end(peer)
        await watcher.until(lambda roster: not roster.peers and len(watcher.messages) > 1)
        assert [list(message) for message in watcher.messages[1:]] == [
            ["display_name", "public_key", "virtual_ip"],
            ["removed_peer"],
        ]
        assert list(service.roster()) == ["100.64.0.1"]
        newcomer = await Client.join(service, 3)  # The leave was told once: the watcher's next message is this join.
        assert (await watcher.hear())["virtual_ip"] == newcomer.virtual_ip


async def test_the_address_of_a_peer_that_is_gone_is_reused_last() -> None:
    async with running(network="10.0.0.0/29") as service:
        watcher = await Client.join(service, 1)
        peers = [await Client.join(service, number) for number in (2, 3)]
        peers[0].reset()
        await watcher.until(lambda roster: "10.0.0.2" not in roster.peers and len(watcher.messages) >= 4)
        await peers[1].leave()
        await watcher.until(lambda roster: not roster.peers)
        newcomers = [(await Client.join(service, number)).virtual_ip for number in range(10, 15)]
        assert newcomers == ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3"]


async def test_a_stopping_service_tells_everyone_so_and_announces_no_leaves() -> None:
    async with running() as service:
        clients = [await Client.join(service, number) for number in range(1, 6)]
        waiting = await RawClient.open(service)
        for client in clients:
            await client.until(lambda roster: len(roster.peers) == 4)
        service.server.should_exit = True
        for client in clients:
            assert await client.closed() == (1012, "service restart")
            assert not any("removed_peer" in message for message in client.messages)
        assert await waiting.read_close() == (1012, "service restart")


async def test_a_service_stops_even_if_its_peers_ignore_it() -> None:
    async with running(close_timeout=0.2) as service:
        for number in range(1, 4):
            await RawClient.join(service, number)
        await service.stop()


async def test_a_connection_that_ends_before_it_joined_changes_nothing() -> None:
    async with running() as service:
        watcher = await Client.join(service, 1)
        for end in (_close_frame, _tcp_reset, _closed_socket, _protocol_violation):
            visitor = await RawClient.open(service)
            await end(visitor)
        newcomer = await Client.join(service, 2)
        assert (await watcher.hear())["virtual_ip"] == newcomer.virtual_ip == "100.64.0.2"


async def test_a_client_that_is_gone_before_its_welcome_has_left() -> None:
    async with running() as service:
        watcher = await Client.join(service, 1)
        visitor = await RawClient.open(service)
        visitor.send(Opcode.TEXT, json.dumps({"display_name": "x", "public_key": "x"}).encode())
        visitor.reset()
        hasty = await RawClient.open(service)
        hasty.send(Opcode.TEXT, b'{"display_name": "hasty", "public_key": "' + _KEY + b'"}')
        hasty.send(Opcode.CLOSE, b"")
        newcomer = await Client.join(service, 3)
        # The service may or may not have let the two in before they went. Both have left by now.
        await watcher.until(lambda roster: list(roster.peers) == [newcomer.virtual_ip])
        assert len(service.roster()) == 2


_KEY = b"CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
