"""A service that stops: from when on newcomers are refused, and when its peers have left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from structlog.testing import capture_logs
from websockets.frames import Opcode

from harness.keys import a_key_text
from tests.integration.actor import until
from tests.integration.service import PATIENCE, Client, RawClient, Service, handshake, join_message, running
from wg_orchestrator.domain.events import MembershipEvent

RESTART = (1012, "service restart")


@asynccontextmanager
async def beginning_to_stop(service: Service) -> AsyncIterator[None]:
    """Inside, the service accepts no new connections, and has not closed any peer yet."""
    sessions, reached, proceed = service.container.sessions(), asyncio.Event(), asyncio.Event()
    let_go = sessions._let_go

    async def held() -> None:
        reached.set()
        await proceed.wait()
        await let_go()

    sessions._let_go = held  # type: ignore[method-assign]
    stopping = asyncio.create_task(service.stop())
    try:
        with anyio.fail_after(PATIENCE):
            await reached.wait()
        yield
    finally:
        proceed.set()
        await stopping


@asynccontextmanager
async def kept_from_ending(service: Service) -> AsyncIterator[None]:
    """Inside, the service has closed all peers, and waits for one that does not answer its close frame."""
    mute = await RawClient.join(service, 999, "mute")
    stopping = asyncio.create_task(service.stop())
    try:
        assert await mute.read_close() == RESTART
        yield
        assert not stopping.done()
    finally:
        mute.writer.transport.abort()
        await stopping


async def test_who_was_closed_has_left_although_another_one_is_mute() -> None:
    async with running(close_timeout=3600, shutdown_timeout=60) as service:
        clients = [await Client.join(service, number) for number in range(1, 6)]
        async with kept_from_ending(service):
            for client in clients:
                assert await client.closed() == RESTART
            await until(lambda: service.roster() == {} == service.roster("mute"))


async def test_while_peers_wait_for_their_turn_their_pictures_stay_as_they_were() -> None:
    """A picture with some of the joins and leaves of that time, but not all, would be true at no moment."""
    async with running(close_timeout=3600, shutdown_timeout=60, max_handshake_rate=10) as service:
        clients = [await Client.join(service, number) for number in range(1, 11)]
        for client in clients:
            await client.until(lambda roster: len(roster.peers) == 9)
        told = [len(client.messages) for client in clients]
        async with beginning_to_stop(service):
            await clients[0].leave()
            await until(lambda: len(service.roster()) == 9)
        for client in clients[1:]:
            assert await client.closed() == RESTART
        assert [len(client.messages) for client in clients] == told


async def test_a_request_that_comes_when_the_stop_has_begun_is_answered_by_503() -> None:
    async with running() as service:
        client = await RawClient.connect(service)
        await until(lambda: service.metric("connections") == 1)
        with capture_logs() as lines:
            async with beginning_to_stop(service):
                client.writer.write(handshake(service, "acme"))
                with anyio.fail_after(PATIENCE):
                    assert (await client.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503")
        assert [line["reason"] for line in lines if line["event"] == "refused"] == ["service restart"]


async def test_a_join_that_comes_when_the_stop_has_begun_is_answered_by_1012() -> None:
    async with running() as service:
        client = await RawClient.open(service)
        with capture_logs() as lines:
            async with beginning_to_stop(service):
                client.send(Opcode.TEXT, join_message(1).encode())
                assert await client.read_close() == RESTART
                assert service.roster() == {}
        assert [line["reason"] for line in lines if line["event"] == "refused"] == ["service restart"]
        assert service.metric("joins_total") == 0


async def test_a_join_that_the_store_commits_when_the_stop_has_begun_is_answered_by_1012_and_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as service:
        asked, proceed, tenants = asyncio.Event(), asyncio.Event(), service.container.tenants()
        commit = tenants.commit

        async def slow(event: MembershipEvent) -> None:
            asked.set()
            await proceed.wait()
            await commit(event)

        watcher = await Client.join(service, 1)
        monkeypatch.setattr(tenants, "commit", slow)
        client = await RawClient.open(service)
        client.send(Opcode.TEXT, join_message(2).encode())
        with anyio.fail_after(PATIENCE):
            await asked.wait()
        with capture_logs() as lines:
            async with beginning_to_stop(service):
                proceed.set()
                assert await client.read_frame() == (Opcode.CLOSE, b"\x03\xf4service restart")
                await until(lambda: list(service.roster().values()) == [a_key_text(1)])
        assert await watcher.closed() == RESTART
        assert len(watcher.messages) == 1
        assert {line["reason"] for line in lines if line["event"] == "left"} == {"service restart"}
