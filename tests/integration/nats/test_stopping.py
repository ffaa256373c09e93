"""A node that stops, and another that its peers come to."""

from contextlib import suppress
from typing import Any

import anyio
from websockets.frames import Opcode

from harness.keys import a_key_text
from harness.nats_server import NatsServer
from tests.integration.nats.nodes import a_stream, quickly, until
from tests.integration.nats.test_services import ready
from tests.integration.service import PATIENCE, Client, RawClient, Refused, Service, join_message, running
from tests.integration.test_stopping import RESTART, beginning_to_stop, kept_from_ending
from wg_orchestrator.domain.tenant_id import TenantId


async def comes_to(service: Service, number: int) -> RawClient:
    """Join. Try again until this node has heard of the leave."""
    with anyio.fail_after(PATIENCE):
        while True:
            with suppress(Refused):
                return await RawClient.join(service, number)


async def test_a_peer_that_was_closed_gets_in_elsewhere_although_another_one_is_mute(server: NatsServer) -> None:
    options: Any = {"nats_url": server.url, "nats_stream": a_stream(), "close_timeout": 3600, "shutdown_timeout": 60}
    async with running(adapt=quickly, **options) as one, running(adapt=quickly, **options) as two:
        await ready(one, two)
        peer = await Client.join(one, 1)
        async with kept_from_ending(one):
            assert await peer.closed() == RESTART
            await comes_to(two, 1)
            assert list(two.roster()) == [peer.virtual_ip]


async def test_a_join_that_nats_takes_when_the_stop_has_begun_is_answered_by_1012_and_undone(
    own_server: NatsServer,
) -> None:
    options: Any = {"nats_url": own_server.url}
    async with running(adapt=quickly, **options) as one, running(adapt=quickly, **options) as two:
        await ready(one, two)
        watcher = await Client.join(two, 1)
        await until(lambda: len(one.roster()) == 1)
        own_server.pause()
        client = await RawClient.open(one)
        client.send(Opcode.TEXT, join_message(2).encode())
        await until(lambda: getattr(one.container.tenants().get(TenantId("acme")), "expects", False))
        async with beginning_to_stop(one):
            own_server.resume()
            assert await client.read_frame() == (Opcode.CLOSE, b"\x03\xf4service restart")
            assert (await watcher.hear())["public_key"] == a_key_text(2)
            assert await watcher.hear() == {"removed_peer": "100.64.0.2"}
            await comes_to(two, 2)
