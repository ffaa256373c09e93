"""Proofs with several nodes: each has a rendezvous of its own, and what is proven at one holds at all."""

from typing import Any

import pytest

from harness.nats_server import NatsServer
from tests.integration.nats.test_sessions import two_nodes
from tests.integration.prover import Owner, Prover
from tests.integration.service import Client, Service

PROVING: dict[str, Any] = {"rendezvous_port": 0, "join_timeout": 0.5}


async def proven_at(service: Service, owner: Owner) -> Prover:
    peer = await Prover.join(service, owner.keys.public)
    prove = await peer.hear("prove")
    await owner.answer(prove)
    await peer.hear("proven")
    if not any(message["type"] == "welcome" for message in peer.told):
        await peer.hear("welcome")
    return peer


async def test_what_is_proven_at_one_node_holds_at_all(server: NatsServer) -> None:
    owner = Owner()
    async with two_nodes(server, **PROVING) as (one, two):
        watcher = await Prover.join(two, Owner().keys.public)
        await watcher.hear("welcome")
        peer = await proven_at(one, owner)
        await watcher.hear("joined")
        assert (await watcher.hear("updated"))["peer"]["proven"]
        # So it does after the peer has gone on at the other node.
        place = next(message for message in peer.told if message["type"] == "welcome")
        resume = {"session": place["session"], "revision": place["revision"]}
        await Prover.join(two, owner.keys.public, resume=resume)
        assert await peer.closed() == 4505
        late = await Prover.join(one, Owner().keys.public)
        entries = {entry["public_key"]: entry for entry in (await late.hear("welcome"))["peers"]}
        assert entries[owner.keys.public]["proven"]


@pytest.mark.parametrize("version", [1, 2])
async def test_the_owner_takes_its_key_from_a_stranger_at_the_other_node(server: NatsServer, version: int) -> None:
    owner = Owner()
    async with two_nodes(server, **PROVING) as (one, two):
        watcher = await Prover.join(two, Owner().keys.public)
        await watcher.hear("welcome")
        stranger: Client | Prover
        if version == 1:
            stranger = Client(await one.connect())
            await stranger.websocket.send(f'{{"display_name":"old","public_key":"{owner.keys.public}"}}')
        else:
            stranger = await Prover.join(one, owner.keys.public)
        address = (await watcher.hear("joined"))["peer"]["virtual_ip"]
        await proven_at(two, owner)
        closed = await stranger.closed()
        assert (closed if isinstance(closed, int) else closed[0]) == 4505
        await watcher.hear("left")
        assert (await watcher.hear("joined"))["peer"]["virtual_ip"] == address
        for service in (one, two):
            assert len(service.roster()) == 2


async def test_strangers_at_the_other_node_do_not_get_a_key_that_is_live(server: NatsServer) -> None:
    owner = Owner()
    async with two_nodes(server, **PROVING) as (one, two):
        peer = await proven_at(one, owner)
        strangers = [await Prover.join(service, owner.keys.public) for service in (two, one) * 50]
        for stranger in strangers:
            assert await stranger.closed() == 4004
        assert peer.websocket.close_code is None
