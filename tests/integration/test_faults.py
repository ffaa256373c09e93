"""Faults of processes, sockets and the machine: what each one costs, and that it costs no other peer anything."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from websockets.frames import Opcode

from harness.keys import a_key_text
from tests.integration.bad_inputs.case import HANDSHAKE
from tests.integration.process import ServiceProcess, serving
from tests.integration.service import Client, RawClient, Refused, join_message
from tests.integration.test_cli import Command

REFUSED = (Refused, EOFError, ConnectionError)

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")


async def told_once(watcher: Client, service: ServiceProcess, number: int) -> None:
    """Assert that the next message to `watcher` is a newcomer's join: the message before was not sent twice."""
    newcomer = await Client.join(service, number)
    assert (await watcher.hear())["virtual_ip"] == newcomer.virtual_ip


async def test_a_stopped_client_is_out_and_comes_back_when_it_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, ping_interval=0.3, ping_timeout=2) as service:
        watcher = await Client.join(service, 1)
        with Command(tmp_path, "join", service.url(), "--public-key", a_key_text(2)) as client:
            assert (await watcher.hear())["public_key"] == a_key_text(2)
            client.signal(signal.SIGSTOP)
            assert await watcher.hear() == {"removed_peer": "100.64.0.2"}
            await told_once(watcher, service, 3)
            client.signal(signal.SIGCONT)
            assert (await watcher.hear())["virtual_ip"] == "100.64.0.2"
        assert service.unexpected_lines() == []


async def test_a_stopped_service_gives_up_no_peer_whose_pong_came_meanwhile(tmp_path: Path) -> None:
    with serving(tmp_path, ping_interval=1, ping_timeout=1) as service:
        peers = [await RawClient.join(service, number) for number in range(1, 6)]
        pings = [await _next(peer, Opcode.PING) for peer in peers]
        with service.stopped():
            for peer, ping in zip(peers, pings, strict=True):
                peer.send(Opcode.PONG, ping)
            await anyio.sleep(3)
        await _assert_all_are_in(service, peers)


async def test_a_stopped_service_gives_up_no_peer_whose_pong_comes_after(tmp_path: Path) -> None:
    """As if the service's machine and its network had been suspended."""
    with serving(tmp_path, ping_interval=1, ping_timeout=1) as service:
        peers = [await RawClient.join(service, number) for number in range(1, 6)]
        pings = [await _next(peer, Opcode.PING) for peer in peers]
        with service.stopped():
            await anyio.sleep(3)
        await RawClient.open(service, "globex")  # So the event loop has had a turn since the stop.
        for peer, ping in zip(peers, pings, strict=True):
            peer.send(Opcode.PONG, ping)
        await _assert_all_are_in(service, peers)


async def test_a_stopped_service_gives_up_no_peer_that_kept_to_its_frame_rate_meanwhile(tmp_path: Path) -> None:
    with serving(tmp_path, max_frame_rate=100) as service:
        peer = await RawClient.join(service, 1)
        for number in range(990):  # Nearly as many as it may send at once.
            peer.send(Opcode.PING, b"%d" % number)
        while await _next(peer, Opcode.PONG) != b"989":
            pass
        with service.stopped():
            for number in range(200):
                peer.send(Opcode.PING, b"%d" % number)
            await anyio.sleep(2)
        while await _next(peer, Opcode.PONG) != b"199":
            pass


async def _assert_all_are_in(service: ServiceProcess, peers: list[RawClient]) -> None:
    """Assert that no peer was told of a leave, all are pinged again, and a newcomer and all peers see each other."""
    for peer in peers:
        peer.send(Opcode.PONG, await _next(peer, Opcode.PING))
    newcomer = await Client.join(service, 50)
    assert len(newcomer.roster.peers) == len(peers)
    for peer in peers:
        notice = b""
        while a_key_text(50).encode() not in notice:
            notice = await _next(peer, Opcode.TEXT)
            assert b"removed_peer" not in notice


async def _next(peer: RawClient, wanted: Opcode) -> bytes:
    """The payload of the next frame of this kind."""
    while True:
        opcode, payload = await peer.read_frame()
        if opcode == wanted:
            return payload
        assert opcode != Opcode.CLOSE
        assert b"removed_peer" not in payload


async def test_peers_that_reset_all_at_once_are_told_once_each(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        watcher = await Client.join(service, 1)
        files = service.open_files()
        peers = [await RawClient.join(service, number) for number in range(2, 42)]
        for position, peer in enumerate(peers):
            peer.writer.write(b"\x81\xfe\x01"[: position % 4])  # Some reset in the middle of a frame.
            peer.reset()
        await watcher.until(lambda roster: not roster.peers and len(watcher.messages) > 1)
        notices = [str(message.get("removed_peer", message.get("virtual_ip"))) for message in watcher.messages[1:]]
        assert sorted(notices) == sorted(f"100.64.0.{number}" for number in range(2, 42) for _ in range(2))
        await service.open_files_settle(lambda count: count == files)
        await told_once(watcher, service, 50)
        assert service.unexpected_lines() == []


async def _connected(service: ServiceProcess) -> RawClient:
    return await RawClient.connect(service)


async def _amid_its_request(service: ServiceProcess) -> RawClient:
    client = await RawClient.connect(service)
    client.writer.write(HANDSHAKE[:60])
    return client


async def _waiting_for_the_answer(service: ServiceProcess) -> RawClient:
    client = await RawClient.connect(service)
    client.writer.write(HANDSHAKE)
    return client


async def _open(service: ServiceProcess) -> RawClient:
    return await RawClient.open(service)


async def _amid_its_join(service: ServiceProcess) -> RawClient:
    client = await RawClient.open(service)
    client.send(Opcode.TEXT, b"{", fin=False)
    client.writer.write(b"\x80\x85")
    return client


async def _waiting_for_its_welcome(service: ServiceProcess) -> RawClient:
    client = await RawClient.open(service)
    client.send(Opcode.TEXT, join_message(2).encode())
    return client


async def _joined(service: ServiceProcess) -> RawClient:
    return await RawClient.join(service, 2)


async def _closing(service: ServiceProcess) -> RawClient:
    client = await RawClient.join(service, 2)
    client.send(Opcode.BINARY, b"x")
    return client


STAGES = [
    _connected, _amid_its_request, _waiting_for_the_answer, _open, _amid_its_join, _waiting_for_its_welcome, _joined,
    _closing,
]  # fmt: skip
Stage = Callable[[ServiceProcess], Awaitable[RawClient]]


def _half_close(client: RawClient) -> None:
    client.writer.write_eof()


def _reset(client: RawClient) -> None:
    client.reset()


@pytest.mark.parametrize("end", [_half_close, _reset])
async def test_a_connection_that_ends_at_any_stage_leaves_nothing_behind(
    tmp_path: Path, end: Callable[[RawClient], None]
) -> None:
    """After a half-close the client keeps its own end of the connection open for ever."""
    with serving(tmp_path, close_timeout=1) as service:
        watcher = await Client.join(service, 1)
        files = service.open_files()
        for stage in STAGES:
            end(await stage(service))
            await service.open_files_settle(lambda count: count == files)
        newcomer = await Client.join(service, 50)
        await watcher.until(lambda roster: newcomer.virtual_ip in roster.peers)
        assert watcher.roster.peers.keys() == {newcomer.virtual_ip}
        assert service.unexpected_lines() == []


async def _crowd(service: ServiceProcess, most: int) -> list[RawClient]:
    """Peers that have joined one after the other, until the service let no more in."""
    peers: list[RawClient] = []
    while len(peers) < most:
        try:
            peers.append(await RawClient.join(service, 100 + len(peers)))
        except REFUSED:
            return peers
    raise AssertionError("there is room for everyone")


async def test_without_open_files_left_newcomers_are_turned_away_and_the_others_stay(tmp_path: Path) -> None:
    with serving(tmp_path, max_files=64, ping_interval=60) as service:
        watcher = await Client.join(service, 1)
        peers = await _crowd(service, 64)
        with pytest.raises(Refused, match=r"4005, 'at capacity'"):
            await RawClient.join(service, 2)
        for _ in range(30):  # The last of them are cut without a close frame.
            with pytest.raises(REFUSED):
                await RawClient.join(service, 2)
        await watcher.until(lambda roster: len(roster.peers) == len(peers))
        peers.pop().reset()
        await watcher.until(lambda roster: len(roster.peers) == len(peers))
        for peer in peers:
            peer.send(Opcode.PING, b"still in?")
            while (frame := await peer.read_frame())[0] == Opcode.TEXT:
                pass  # Notices of the peers that joined after this one, and of the one that left.
            assert frame == (Opcode.PONG, b"still in?")
        assert service.is_alive()
        assert service.unexpected_lines() == []


async def test_newcomers_get_in_again_once_open_files_are_given_back(tmp_path: Path) -> None:
    with serving(tmp_path, max_files=64, ping_interval=60) as service:
        watcher = await Client.join(service, 1)
        for _ in range(3):
            peers = await _crowd(service, 64)
            await watcher.until(lambda roster, peers=peers: len(roster.peers) == len(peers))  # type: ignore[misc]
            assert len(peers) > 20
            for peer in peers:
                peer.reset()
            await watcher.until(lambda roster: not roster.peers)


async def test_a_service_without_open_files_left_does_not_spin(tmp_path: Path) -> None:
    with serving(tmp_path, max_files=64, ping_interval=60) as service:
        await _crowd(service, 64)
        waiting = [asyncio.create_task(RawClient.connect(service)) for _ in range(10)]
        await asyncio.gather(*waiting)
        used = service.cpu_time()
        await anyio.sleep(1)
        assert service.cpu_time() - used < 0.5  # A service that spins uses all of the second.
