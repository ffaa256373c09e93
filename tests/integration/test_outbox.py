"""The outbox bounds the bytes that a peer leaves unread, not the bytes that are sent at once."""

from pathlib import Path
from typing import Any

import pytest

from harness.certificates import write_certificate
from tests.integration import elsewhere
from tests.integration.service import Client, RawClient, Service, running
from wg_orchestrator.server.websocket_protocol import WebSocketProtocol

SMALL: dict[str, Any] = {"max_outbox_size": 16 * 1024, "send_buffer_size": 4096}
AT_ONCE = 300
"""Large joins, whose notices together fill more than ten outboxes."""
LARGE = AT_ONCE * 700
"""The most bytes that the notices of these joins and of their leaves can have."""


@pytest.fixture(params=["tcp", "tls"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "tcp":
        return SMALL
    certificate, key = write_certificate(tmp_path, "first")
    return {**SMALL, "tls_certificate": certificate, "tls_key": key}


async def test_who_reads_is_told_however_much_there_is_to_say_at_once(small: dict[str, Any]) -> None:
    async with running(**small) as service:
        readers = [await Client.join(service, number) for number in range(1, 4)]
        for reader in readers:
            await reader.until(lambda roster: len(roster.peers) == 2)
        for _ in range(3):
            peers = elsewhere.join(service, AT_ONCE)
            for reader in readers:
                await reader.until(lambda roster: len(roster.peers) == 2 + AT_ONCE)
            elsewhere.leave(service, peers)
            for reader in readers:
                await reader.until(lambda roster: len(roster.peers) == 2)
        assert readers[0].messages[-6 * AT_ONCE :] == readers[2].messages[-6 * AT_ONCE :]
        assert service.metric("leaves_total", reason="too slow") == 0


async def test_who_reads_nothing_is_closed_when_an_outbox_more_has_come(small: dict[str, Any]) -> None:
    async with running(**small) as service:
        watcher = await Client.join(service, 1)
        mute = await RawClient.join(service, 2)
        await watcher.hear()
        waited, flushes = [0], 0
        while not service.metric("leaves_total", reason="too slow"):
            flushes += 1
            elsewhere.come_and_go(service, AT_ONCE)
            await watcher.until(lambda _, count=flushes: len(watcher.messages) >= 2 + count * 2 * AT_ONCE)  # type: ignore[misc]
            waited.append(_waiting(service))
        # The first flush fills the outbox, the second is the last that it may take, and the third is too much. Over TLS
        # the TCP transport below buffers some more, which the outbox does not count.
        assert flushes == 3 if service.tls is None else flushes <= 5
        assert max(waited) < 2 * (SMALL["max_outbox_size"] + LARGE)
        await watcher.until(lambda roster: not roster.peers)
        assert await mute.read_close() == (4003, "too slow")


def _waiting(service: Service) -> int:
    """The bytes that wait in the process for a peer: the most of all peers."""
    peers = service.server.server_state.connections  # type: ignore[attr-defined]
    return max(one._transport.get_write_buffer_size() for one in peers if isinstance(one, WebSocketProtocol))
