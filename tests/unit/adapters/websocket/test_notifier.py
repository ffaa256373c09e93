import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.builders import a_peer
from tests.contracts.peer_notifier import Members, PeerNotifierContract
from wg_orchestrator.adapters.websocket import notifier as module
from wg_orchestrator.adapters.websocket.close import Close
from wg_orchestrator.adapters.websocket.messages import Notices, Text
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier
from wg_orchestrator.telemetry import Telemetry


class RecordingConnection:
    """A Connection that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Notices] = []
        self.closed_with: Close | None = None

    def welcome(self, welcome: Text) -> None:
        self.sent.append(Notices([welcome]))

    def send(self, notices: Notices) -> None:
        self.sent.append(notices)

    def close(self, close: Close) -> None:
        self.closed_with = close

    async def run(self, on_gone: Callable[[], None]) -> None:
        raise AssertionError("the notifier only writes")

    def messages(self) -> list[dict[str, Any]]:
        for notices in self.sent:
            assert notices.wire == b"".join(text.frame for text in notices.texts) != b""
        return [json.loads(text.payload) for notices in self.sent for text in notices.texts]


async def flushed(notifier: WebSocketPeerNotifier) -> None:
    while any(channel._pending for channel in notifier._channels.values()):
        await asyncio.sleep(0)


class TestWebSocketPeerNotifier(PeerNotifierContract):
    @pytest.fixture
    def notifier(self) -> WebSocketPeerNotifier:
        return WebSocketPeerNotifier(Telemetry(100))

    @pytest.fixture
    def subscribe(self) -> Callable[[], RecordingConnection]:
        return RecordingConnection

    @pytest.fixture
    def seen(self, notifier: WebSocketPeerNotifier) -> Callable[[RecordingConnection], Awaitable[list[Any]]]:
        async def seen(connection: RecordingConnection) -> list[Any]:
            await flushed(notifier)
            ended = [] if connection.closed_with is None else [("ended",)]
            return [*(_plain(message) for message in connection.messages()), *ended]

        return seen


def _plain(message: dict[str, Any]) -> tuple[Any, ...]:
    if "peers" in message:
        return "welcome", message["virtual_ip"], {peer["virtual_ip"] for peer in message["peers"]}
    if "removed_peer" in message:
        return "left", message["removed_peer"]
    return "joined", message["virtual_ip"]


async def test_notices_that_come_together_go_out_together() -> None:
    notifier = WebSocketPeerNotifier(Telemetry(100))
    members, connections = Members(notifier), [RecordingConnection() for _ in range(3)]
    for number, connection in enumerate(connections, 1):
        members.come(a_peer(number), connection)
    await flushed(notifier)
    for number in range(10, 20):
        members.come(a_peer(number))
    await flushed(notifier)
    assert len({id(connection.sent[-1]) for connection in connections}) == 1
    assert len(connections[0].sent[-1].texts) == 10


async def test_a_quiet_tenant_is_told_at_the_loops_next_turn() -> None:
    notifier = WebSocketPeerNotifier(Telemetry(100))
    members, watcher = Members(notifier), RecordingConnection()
    members.come(a_peer(1), watcher)
    for number in range(2, 20):
        members.come(a_peer(number))
        await asyncio.sleep(0)
        assert watcher.messages()[-1]["virtual_ip"] == f"100.64.0.{number}"


async def test_a_busy_tenant_is_told_at_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", 1e9)
    monkeypatch.setattr(module, "MAX_PAUSE", 3600.0)
    notifier = WebSocketPeerNotifier(Telemetry(100))
    members, watcher = Members(notifier), RecordingConnection()
    members.come(a_peer(1), watcher)
    for number in range(2, 2 + module.BUSY):
        members.come(a_peer(number))
    await flushed(notifier)
    members.come(a_peer(100))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(watcher.messages()) == 1 + module.BUSY
    members.go(a_peer(1))
    assert notifier._channels == {}


async def test_a_tenant_that_nobody_is_connected_to_costs_nothing() -> None:
    notifier = WebSocketPeerNotifier(Telemetry(100))
    members = Members(notifier)
    members.come(a_peer(1), RecordingConnection())
    members.go(a_peer(1))
    assert notifier._channels == {}
