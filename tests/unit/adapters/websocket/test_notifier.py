import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import ACME, a_peer, joined, left
from tests.contracts.peer_notifier import PeerNotifierContract
from wg_orchestrator.adapters.websocket.close import Close
from wg_orchestrator.adapters.websocket.messages import Message
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier


class RecordingConnection:
    """A Connection that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def welcome(self, message: Message) -> None:
        self.messages.append(message)

    def send(self, message: Message) -> None:
        self.messages.append(message)

    def close(self, close: Close) -> None:
        raise AssertionError("nobody asked for that")

    async def run(self, on_gone: Callable[[], None]) -> None:
        raise AssertionError("the notifier only writes")


class TestWebSocketPeerNotifier(PeerNotifierContract):
    @pytest.fixture
    def notifier(self) -> WebSocketPeerNotifier:
        return WebSocketPeerNotifier()

    @pytest.fixture
    def subscribe(self) -> Callable[[], RecordingConnection]:
        return RecordingConnection

    @pytest.fixture
    def seen(self) -> Callable[[RecordingConnection], list[Any]]:
        return lambda connection: [_plain(json.loads(message.text)) for message in connection.messages]


def _plain(message: dict[str, Any]) -> tuple[Any, ...]:
    if "peers" in message:
        return "welcome", message["virtual_ip"], {peer["virtual_ip"] for peer in message["peers"]}
    if "removed_peer" in message:
        return "left", message["removed_peer"]
    return "joined", message["virtual_ip"]


def test_a_notice_is_framed_once_for_everyone() -> None:
    notifier = WebSocketPeerNotifier()
    connections = [RecordingConnection() for _ in range(3)]
    for number, connection in enumerate(connections, 1):
        notifier.welcome(ACME, a_peer(number), [], connection)
    notifier.announce(joined(a_peer(9)))
    assert len({id(connection.messages[-1]) for connection in connections}) == 1


def test_a_tenant_that_nobody_is_in_costs_nothing() -> None:
    notifier = WebSocketPeerNotifier()
    notifier.welcome(ACME, a_peer(1), [], RecordingConnection())
    notifier.announce(left(a_peer(1)))
    assert notifier._connections == {}
