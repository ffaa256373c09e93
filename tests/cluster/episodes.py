"""Episodes of a chaos run, while other clients join and leave. Each episode has a rule of its own."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import nats
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from harness.cluster import Cluster, ServiceProcess
from harness.keys import a_key_text
from harness.peer import Peer
from tests.cluster.audit import STREAM
from tests.cluster.churn import Churn
from tests.cluster.rules import Broken
from tests.cluster.witness import OURS, Witness
from tests.integration.service import Endpoint, RawClient

RETRY_DELAY = 0.02
PATIENCE = 30.0
NEWCOMERS = 6


async def mute_at_a_stop(cluster: Cluster, churn: Churn, _: Witness) -> None:
    """A service is told to stop, and one of its peers does not answer the close frame. While the service waits for that
    peer, the others, which were told to come back, are let in at other services with their keys.
    """
    service, *others = cluster.services
    first, tenant = 2_000_000 + churn.done, f"mute-{churn.done}"
    told = [peer for n in range(NEWCOMERS) if (peer := await churn.join(service, tenant, first + n)) is not None]
    mute = await RawClient.join(Endpoint(service.address), first + NEWCOMERS, tenant)
    waited_for = True

    async def listen() -> None:
        nonlocal waited_for
        try:
            while await mute.reader.read(4096):
                pass
        except ConnectionError:
            pass
        waited_for = False

    async def come_back(peer: Peer, number: int) -> None:
        await peer.gone.wait()
        if peer.code != 1012:
            raise Broken(f"{peer} was ended with {peer.code} by a service that stops")
        while (back := await churn.join(others[number % len(others)], tenant, first + number)) is None:
            if not waited_for:
                raise Broken(f"{peer} was told to come back, and its place was held for one that is mute")
            await anyio.sleep(RETRY_DELAY)
        await churn.leave(back)

    async with anyio.create_task_group() as listening:
        listening.start_soon(listen)
        service.terminate()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as returns:
                for number, peer in enumerate(told):
                    returns.start_soon(come_back, peer, number)
        mute.writer.transport.abort()
        listening.cancel_scope.cancel()
    await service.ended()
    service.start()


async def name_that_is_a_number(cluster: Cluster, churn: Churn, witness: Witness) -> None:
    """A claim in the stream has such a name. Clients that join its tenant are still let in, also a second time."""
    await _amid(cluster, churn, _a_claim(churn, witness) | {"name": 7})


async def key_that_is_a_list(cluster: Cluster, churn: Churn, witness: Witness) -> None:
    """The same for a claim with such a key."""
    await _amid(cluster, churn, _a_claim(churn, witness) | {"key": ["odd"]})


async def node_that_is_a_list(cluster: Cluster, churn: Churn, witness: Witness) -> None:
    """The same for a claim of such a node."""
    await _amid(cluster, churn, _a_claim(churn, witness) | {"node": ["odd"]})


def _a_claim(churn: Churn, witness: Witness) -> dict[str, Any]:
    """A claim as a node with a lease could write it."""
    process, node = next(
        (process, witness.node_names[process])
        for process in (witness.nodes.get(peer.name, "") for peer in churn.live)
        if process in witness.node_names
    )
    return {"name": "odd", "key": a_key_text(3_000_000), "node": node, "session": f"{process}-{10**9}"}


async def _amid(cluster: Cluster, churn: Churn, claim: dict[str, Any]) -> None:
    tenant = f"odd-{churn.done}"
    client = await nats.connect(cluster.servers[0].url, allow_reconnect=False)
    try:
        stream = client.jetstream()
        with anyio.fail_after(PATIENCE):
            epoch = await _epoch(stream)
        subject = f"{STREAM}.{epoch}.peer.{tenant}.100-64-0-13"
        await stream.publish(subject, json.dumps(claim).encode(), headers={OURS: "1"})
        for service in cluster.services:
            await _come_and_go_twice(churn, service, tenant)
        await stream.purge_stream(STREAM, subject=subject)
    finally:
        await client.close()


async def _epoch(stream: JetStreamContext) -> str:
    """The epoch of the stream. The fault before may have deleted it, and then the services make it again; or the
    servers elect a leader.
    """
    while True:
        try:
            message = await stream.get_last_msg(STREAM, f"{STREAM}.epoch")
        except (APIError, NoRespondersError, nats.errors.TimeoutError):
            await anyio.sleep(RETRY_DELAY)
        else:
            return (message.data or b"").split()[0].decode()


async def _come_and_go_twice(churn: Churn, service: ServiceProcess, tenant: str) -> None:
    key = 4_000_000 + churn.done
    for _ in range(2):
        with anyio.fail_after(PATIENCE):
            while (peer := await churn.join(service, tenant, key)) is None:
                await anyio.sleep(RETRY_DELAY)  # The leave before this join may still be on its way.
        await churn.leave(peer)


EPISODES: dict[str, Callable[[Cluster, Churn, Witness], Awaitable[None]]] = {
    episode.__name__: episode
    for episode in (mute_at_a_stop, name_that_is_a_number, key_that_is_a_list, node_that_is_a_list)
}
