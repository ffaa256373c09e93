"""The rendezvous on sockets of 127.0.0.0/8 and ::1."""

import asyncio
import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from harness.wireguard_peer import Peer
from wg_orchestrator.adapters.rendezvous.rendezvous import Rendezvous
from wg_orchestrator.adapters.rendezvous.udp import TURN, UdpRendezvous
from wg_orchestrator.domain.endpoint import Endpoint

PATIENCE = 10.0


@contextmanager
def a_client(to: Endpoint) -> Iterator[socket.socket]:
    family = socket.AF_INET if to.address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
        client.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        yield client


async def received(client: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """The next datagram, and where it came from."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(client, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(client)
    message, source = client.recvfrom(2048)
    return message, source[:2]


@pytest.mark.parametrize(
    ("bound", "asked"), [("127.0.0.2:0", "127.0.0.2"), ("0.0.0.0:0", "127.0.0.3"), ("[::]:0", "::1")]
)
async def test_a_proof_by_udp_and_the_answer_comes_from_the_address_that_was_asked(bound: str, asked: str) -> None:
    rendezvous = Rendezvous(os.urandom(32))
    peer, told = Peer(rendezvous.public_key), asyncio.Queue[Endpoint]()
    rendezvous.claim(peer.public_key, peer.preshared_key, told.put_nowait)
    async with UdpRendezvous(rendezvous).running([Endpoint.parse(bound)]) as (at,):
        with a_client(at) as client, anyio.fail_after(PATIENCE):
            client.sendto(peer.initiation(), (asked, at.port))
            response, source = await received(client)
            assert source[0] == asked
            peer.take(response)
            client.sendto(peer.transport(), (asked, at.port))
            seen = await told.get()
            assert (str(seen.address), seen.port) == client.getsockname()[:2]


async def test_a_flood_leaves_the_loop_its_turns() -> None:
    """By a clock on which each datagram takes half a millisecond."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.0005
        return now

    rendezvous, turns = Rendezvous(os.urandom(32)), []
    async with UdpRendezvous(rendezvous, clock).running([Endpoint.parse("127.0.0.1:0")]) as (at,):
        with a_client(at) as client, anyio.fail_after(PATIENCE):
            for _ in range(100):
                client.sendto(b"garbage", ("127.0.0.1", at.port))
            while (count := rendezvous.outcomes["no message for a responder"]) < 100:
                turns.append(count)
                await asyncio.sleep(0)
    most = round(TURN / 0.0005)
    assert max(later - earlier for earlier, later in itertools.pairwise(turns)) <= most


async def test_an_address_that_can_not_be_used_is_an_error_and_leaves_nothing_open() -> None:
    rendezvous = UdpRendezvous(Rendezvous(os.urandom(32)))
    addresses = [Endpoint.parse("127.0.0.1:0"), Endpoint.parse("198.51.100.1:0")]
    with pytest.raises(OSError, match="Cannot assign"):
        async with rendezvous.running(addresses):
            pass


async def test_an_answer_that_can_not_be_delivered_stops_nothing() -> None:
    rendezvous = Rendezvous(os.urandom(32))
    peer, told = Peer(rendezvous.public_key), asyncio.Queue[Endpoint]()
    rendezvous.claim(peer.public_key, peer.preshared_key, told.put_nowait)
    async with UdpRendezvous(rendezvous).running([Endpoint.parse("127.0.0.1:0")]) as (at,):
        with anyio.fail_after(PATIENCE):
            for _ in range(3):
                with a_client(at) as gone:
                    gone.sendto(peer.initiation(), ("127.0.0.1", at.port))
            with a_client(at) as client:
                client.sendto(peer.initiation(), ("127.0.0.1", at.port))
                peer.take((await received(client))[0])
                client.sendto(peer.transport(), ("127.0.0.1", at.port))
                assert (await told.get()).port == client.getsockname()[1]
