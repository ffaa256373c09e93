"""Proofs of keys, through a real service: its WebSocket, and its rendezvous on UDP."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.prover import Owner, Prover
from tests.integration.service import Client, Service, running
from wg_orchestrator.server.cannot_start import CannotStart

REQUIRED = {"proof": "required", "join_timeout": 0.5}


@asynccontextmanager
async def proving(**options: Any) -> AsyncIterator[Service]:
    async with running(**{"rendezvous_port": 0, "grace": 30, **options}) as service:
        yield service


async def test_a_key_is_proven_and_the_others_are_told() -> None:
    owner = Owner()
    async with proving() as service:
        watcher = await Prover.join(service, Owner().keys.public)
        await watcher.hear("welcome")
        peer = await Prover.join(service, owner.keys.public)
        await peer.hear("welcome")
        host, port = await owner.answer(await peer.hear("prove"))
        assert (await peer.hear("proven"))["endpoint"] == f"{host}:{port}"
        told = (await watcher.hear("updated"))["peer"]
        # 127.0.0.1 is nobody's but one's own.
        assert (told["public_key"], told["proven"], told["endpoints"]) == (owner.keys.public, True, [])
        assert service.metric("rendezvous_datagrams_total", outcome="proven") == 1
        assert service.metric("proof_seconds_count") == 1
        assert service.metric("rendezvous_claims") == 2
        await peer.websocket.close()
        await watcher.hear("left")
        assert service.metric("rendezvous_claims") == 1


async def test_where_a_proof_is_required_who_gives_none_is_closed_with_4006() -> None:
    owner = Owner()
    async with proving(**REQUIRED) as service:
        assert await (await Prover.join(service, owner.keys.public)).closed() == 4006
        v1 = Client(await service.connect())
        await v1.websocket.send(f'{{"display_name":"old","public_key":"{Owner().keys.public}"}}')
        assert (await v1.closed())[0] == 4006
        peer = await Prover.join(service, owner.keys.public)
        await owner.answer(await peer.hear("prove"))
        await peer.hear("welcome")
        assert service.roster() != {}


async def test_without_a_rendezvous_nobody_is_asked() -> None:
    async with running() as service:
        peer = await Prover.join(service, Owner().keys.public)
        await peer.hear("welcome")
        await peer.websocket.close()
        assert [message["type"] for message in peer.told] == ["welcome"]


async def test_a_rendezvous_whose_port_is_taken_ends_the_start_and_says_so() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(CannotStart, match="for the rendezvous"):
            async with proving(rendezvous_port=other.getsockname()[1]):
                pass


def test_a_key_file_that_others_may_read_ends_the_start_with_one_line(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(Owner().keys.private)
    key.chmod(0o644)
    options = ["--port", "0", "--host", "127.0.0.1", "--rendezvous-port", "0", "--rendezvous-key", str(key)]
    words = [sys.executable, "-m", "wg_orchestrator", "serve", *options]
    answer = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (1, 1), answer.stderr
    assert "open to others" in answer.stderr
    assert key.read_text() not in answer.stderr


Owned = Callable[[Service, Owner], Awaitable[Prover | None]]


async def _absent(service: Service, owner: Owner) -> None:
    return None


async def _present(service: Service, owner: Owner) -> Prover:
    peer = await Prover.join(service, owner.keys.public)
    await peer.hear("welcome")
    return peer


async def _proven(service: Service, owner: Owner) -> Prover:
    peer = await Prover.join(service, owner.keys.public)
    await owner.answer(await peer.hear("prove"))
    await peer.hear("proven")
    return peer


async def _in_its_grace(service: Service, owner: Owner) -> None:
    peer = await _proven(service, owner)
    peer.websocket.transport.abort()


STRANGERS, AT_ONCE = 250, 125


async def _strangers_claim(service: Service, key: str) -> None:
    """So many claims of somebody else's key, with whatever they can send. None gets in."""
    places = asyncio.Semaphore(AT_ONCE)

    async def claim() -> None:
        async with places:
            stranger = await Prover.join(service, key, resume={"session": "guessed", "revision": 0})
            assert await stranger.closed() in (4004, 4006)
            assert all(message["type"] == "prove" for message in stranger.told)

    await asyncio.gather(*(claim() for _ in range(STRANGERS)))


@pytest.mark.parametrize(
    ("state", "policy"),
    [
        (_absent, "required"),
        (_present, "wanted"),
        (_proven, "wanted"),
        (_in_its_grace, "wanted"),
    ],
)
async def test_of_many_strangers_with_its_key_none_gets_in_and_the_owner_does(state: Owned, policy: str) -> None:
    owner = Owner()
    # Long enough that each says what it wants in time, on a loaded machine too.
    async with proving(proof=policy, join_timeout=2) as service:
        there = await state(service, owner)
        await _strangers_claim(service, owner.keys.public)
        if there is not None:
            assert there.websocket.close_code is None
        again = await Prover.join(service, owner.keys.public)
        await owner.answer(await again.hear("prove"))
        if not any(message["type"] == "welcome" for message in again.told):
            await again.hear("welcome")
        if there is not None:
            assert await there.closed() == 4505
        assert len(service.roster()) == 1


async def test_a_replayed_proof_counts_for_nobody() -> None:
    owner = Owner()
    async with proving(**REQUIRED) as service:
        peer = await Prover.join(service, owner.keys.public)
        await owner.answer(await peer.hear("prove"))
        await peer.hear("welcome")
        before = service.metric("rendezvous_datagrams_total", outcome="proven")
        stranger = await Prover.join(service, owner.keys.public)
        await stranger.hear("prove")
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            for _ in range(500):
                for datagram, to in owner.sent:
                    udp.sendto(datagram, to)
                await asyncio.sleep(0)
        assert await stranger.closed() == 4006
        assert service.metric("rendezvous_datagrams_total", outcome="proven") == before
        assert peer.websocket.close_code is None
