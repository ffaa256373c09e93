"""Sessions of well-behaved v1 clients, and how the service ends them. Each returns the listeners to be recorded."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from websockets.frames import Opcode

from tests.builders import ACME
from tests.integration.service import PATIENCE, Client, RawClient, come_and_go_until_removed, running
from tests.integration.transcripts.listener import Listener
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import LeaveCause, PeerLeft
from wg_orchestrator.rfc6455.frames import close_frame

Session = Callable[[], Awaitable[list[Listener]]]

SESSIONS: dict[str, Session] = {}


def session(function: Session) -> Session:
    SESSIONS[function.__name__.replace("_", " ")] = function
    return function


@session
async def peers_come_and_go() -> list[Listener]:
    async with running() as service:
        first = await Listener.join(service, 1)
        second = await Listener.join(service, 2, display_name='Zoë, "phone" \\ 🦊 /')
        third = await Listener.join(service, 3, display_name="Zoe\u0308")
        await first.next(2)
        await second.leave()
        await first.next()
        again = await Listener.join(service, 2)
        await first.next()
        fourth = await Listener.join(service, 4)
        await first.next()
        for listener in (third, again, fourth, first):
            await listener.leave()
    return [first, second, third, again, fourth]


@session
async def tenants_do_not_hear_of_each_other() -> list[Listener]:
    async with running() as service:
        here, there = await Listener.join(service, 1), await Listener.join(service, 1, "globex")
        await (await Listener.join(service, 2)).leave()
        await here.next(2)
        await there.leave()
        await here.leave()
    return [here, there]


@session
async def a_network_of_IPv6() -> list[Listener]:  # noqa: N802
    async with running(network="fd00:0:0:a::/64") as service:
        first = await Listener.join(service, 1)
        await (await Listener.join(service, 2)).leave()
        await first.next(2)
        await first.leave()
    return [first]


@session
async def a_welcome_whose_length_has_16_bits() -> list[Listener]:
    return [await _newcomer_to(20)]


@session
async def a_welcome_whose_length_has_64_bits() -> list[Listener]:
    return [await _newcomer_to(120)]


async def _newcomer_to(size: int) -> Listener:
    async with running() as service:
        for number in range(1, size + 1):
            await Client.join(service, number, display_name="🦊" * 128)
        newcomer = await Listener.join(service, size + 1)
        await newcomer.leave()
    return newcomer


@session
async def pings_are_answered_and_texts_are_not() -> list[Listener]:
    async with running() as service:
        listener = await Listener.join(service, 1)
        for payload in (b"", b"x" * 125):
            listener.say(payload, Opcode.PING)
        listener.say("still here")
        listener.say("", Opcode.PONG)
        await listener.next(2)
        await listener.leave(4321)
    return [listener]


@session
async def no_subprotocol_and_no_extension_is_agreed_on() -> list[Listener]:
    async with running() as service:
        listener = await Listener.join(
            service,
            1,
            "acme",
            "Sec-WebSocket-Protocol: chat, superchat",
            "Sec-WebSocket-Extensions: permessage-deflate",
        )
        await listener.leave()
    return [listener]


@session
async def plain_requests() -> list[Listener]:
    listeners = []
    async with running() as service:
        for method, target in (("GET", "/healthz"), ("GET", "/readyz"), ("HEAD", "/healthz"), ("POST", "/healthz"),
                               ("GET", "/tenants/acme"), ("GET", "/elsewhere")):  # fmt: skip
            listener = await Listener.connect(service)
            listener.client.writer.write(f"{method} {target} HTTP/1.1\r\nHost: service\r\n\r\n".encode())
            with anyio.fail_after(PATIENCE):
                await listener.client.reader.read()
            listener.client.writer.close()
            listeners.append(listener)
    return listeners


@session
async def code_1011_for_a_store_that_fails() -> list[Listener]:
    return [await _with_a_store_that_raises(ConnectionRefusedError("the store is away"))]


@session
async def code_1013_for_a_store_that_is_away() -> list[Listener]:
    return [await _with_a_store_that_raises(Unavailable("the store is away"))]


async def _with_a_store_that_raises(error: Exception) -> Listener:
    async def commit(event: object) -> None:
        raise error

    async with running() as service:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(service.container.tenants(), "commit", commit)
            listener = await Listener.join(service, 1)
        await listener.end()
    return listener


@session
async def code_1013_for_who_is_put_out() -> list[Listener]:
    async with running() as service:
        first, second = await Listener.join(service, 1), await Listener.join(service, 2)
        await first.next()
        tenants = service.container.tenants()
        stay = next(stay for stay in tenants.get(ACME).stays if str(stay.peer.virtual_ip) == "100.64.0.2")
        await tenants.commit(PeerLeft(stay, LeaveCause.LOST))
        await second.end()
        await first.next()
        await first.leave()
    return [first, second]


@session
async def code_1012_at_a_stop() -> list[Listener]:
    async with running() as service:
        joined, unjoined = await Listener.join(service, 1), await Listener.open(service)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.stop)
            tasks.start_soon(joined.end)
            tasks.start_soon(unjoined.end)
    return [joined, unjoined]


@session
async def code_4001_for_no_join() -> list[Listener]:
    async with running(join_timeout=0.1) as service:
        listener = await Listener.open(service)
        await listener.end()
    return [listener]


@session
async def code_4002_for_a_tenant_without_an_address() -> list[Listener]:
    return await _refused_after_one(network="10.0.0.0/32")


@session
async def code_4002_for_a_tenant_at_its_limit() -> list[Listener]:
    return await _refused_after_one(max_peers_per_tenant=1)


@session
async def code_4003_for_who_does_not_read() -> list[Listener]:
    async with running(send_buffer_size=4096, max_outbox_size=8192) as service:
        watcher = await Client.join(service, 1)
        stalled = Listener(await RawClient.join(service, 2))
        await watcher.hear()
        await come_and_go_until_removed(service, watcher, "100.64.0.2")
        code, reason = await stalled.client.read_close()
        # Only the close frame is recorded: how many notices come before it depends on the kernel's buffers.
        stalled.heard = stalled.heard[-len(close_frame(code, reason)) :]
    return [stalled]


@session
async def code_4004_for_a_key_that_is_live() -> list[Listener]:
    async with running() as service:
        first, second = await Listener.join(service, 1), await Listener.join(service, 1)
        await second.end()
        await first.leave()
    return [first, second]


@session
async def code_4005_for_a_tenant_too_many() -> list[Listener]:
    return await _refused_after_one(tenant="globex", max_tenants=1)


@session
async def code_4005_for_a_connection_too_many() -> list[Listener]:
    async with running(max_connections=1) as service:
        first, second = await Listener.join(service, 1), await Listener.open(service)
        await second.end()
        await first.leave()
    return [first, second]


async def _refused_after_one(tenant: str = "acme", **settings: Any) -> list[Listener]:
    async with running(**settings) as service:
        first, second = await Listener.join(service, 1), await Listener.join(service, 2, tenant)
        await second.end()
        await first.leave()
    return [first, second]
