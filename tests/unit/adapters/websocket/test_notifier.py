import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from tests.builders import a_peer, a_stay, a_tenant, apply, joined, left
from tests.contracts.peer_notifier import Members as ContractMembers
from tests.contracts.peer_notifier import PeerNotifierContract
from wg_orchestrator.adapters.websocket.connection import Recipient
from wg_orchestrator.adapters.websocket.lanes import V2Terms
from wg_orchestrator.adapters.websocket.notifier import Pace, WebSocketPeerNotifier
from wg_orchestrator.adapters.websocket.subscriber import Subscriber
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.events import PeerResumed, PeerUpdated
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire import v1
from wg_orchestrator.wire.close_codes import INTERNAL_ERROR, SERVICE_RESTART, TRY_AGAIN_LATER
from wg_orchestrator.wire.subprotocol import V2

TERMS = V2Terms(ip_network("100.64.0.0/10"))


class RecordingConnection:
    """A Recipient that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[Notices] = []
        self.closed_with: Close | None = None

    def welcome(self, welcome: Text) -> None:
        self.sent.append(Notices([welcome]))

    def send(self, notices: Notices) -> None:
        self.sent.append(notices)

    def close(self, close: Close) -> None:
        self.closed_with = close

    def messages(self) -> list[dict[str, Any]]:
        for notices in self.sent:
            assert notices.wire == b"".join(text.frame for text in notices.texts) != b""
        return [json.loads(text.payload) for notices in self.sent for text in notices.texts]


class Members(ContractMembers):
    """The same, where each peer's connection speaks v1."""

    def come(self, peer: Peer, subscriber: Recipient | None = None) -> None:
        super().come(peer, None if subscriber is None else Subscriber(subscriber))


async def flushed(notifier: WebSocketPeerNotifier) -> None:
    while any(channel.is_scheduled for channel in notifier._channels.values()):
        await asyncio.sleep(0)


class TestWebSocketPeerNotifier(PeerNotifierContract):
    @pytest.fixture
    def notifier(self) -> WebSocketPeerNotifier:
        return WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS)

    @pytest.fixture
    def subscribe(self) -> Callable[[], Subscriber]:
        return lambda: Subscriber(RecordingConnection())

    @pytest.fixture
    def seen(self, notifier: WebSocketPeerNotifier) -> Callable[[Subscriber], Awaitable[list[Any]]]:
        async def seen(subscriber: Subscriber) -> list[Any]:
            await flushed(notifier)
            connection = subscriber.recipient
            assert isinstance(connection, RecordingConnection)
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
    notifier = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS)
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
    notifier = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS)
    members, watcher = Members(notifier), RecordingConnection()
    members.come(a_peer(1), watcher)
    for number in range(2, 20):
        members.come(a_peer(number))
        await asyncio.sleep(0)
        assert watcher.messages()[-1]["virtual_ip"] == f"100.64.0.{number}"


async def test_a_busy_tenant_is_told_at_a_pace() -> None:
    pace = Pace(factor=1e9, longest_pause=3600.0)
    notifier = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS, pace)
    members, watcher = Members(notifier), RecordingConnection()
    members.come(a_peer(1), watcher)
    for number in range(2, 2 + pace.busy):
        members.come(a_peer(number))
    await flushed(notifier)
    members.come(a_peer(100))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(watcher.messages()) == 1 + pace.busy
    members.go(a_peer(1))
    assert notifier._channels == {}


async def test_who_is_away_is_written_to_no_more_and_the_tenant_is_kept_until_it_leaves() -> None:
    notifier = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS)
    members, away = ContractMembers(notifier), RecordingConnection()
    members.come(a_peer(1), Subscriber(away, V2, "secret"))
    await flushed(notifier)
    notifier.let_away(a_stay(a_peer(1)))
    members.come(a_peer(2))
    await flushed(notifier)
    assert [message["type"] for message in away.messages()] == ["welcome"]
    assert len(notifier._channels) == 1
    members.go(a_peer(1))
    assert (notifier._channels, away.closed_with) == ({}, None)


async def test_an_event_that_is_not_numbered_is_the_whole_picture_for_those_that_go_by_revisions() -> None:
    notifier, tenant = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS), a_tenant()
    recent, old = [RecordingConnection() for _ in range(2)], RecordingConnection()

    def come(number: int, subscriber: Subscriber | None = None, is_numbered: bool = True) -> None:
        event = joined(a_peer(number))
        notifier.announce(replace(apply(tenant, event), is_numbered=is_numbered))
        if subscriber is not None:
            notifier.welcome(tenant, event.stay, subscriber)

    come(1, Subscriber(recent[0], V2, "first"))
    come(2, Subscriber(recent[1], V2, "second"))
    come(3, Subscriber(old))
    await flushed(notifier)
    heard = [len(connection.messages()) for connection in recent]
    come(4)  # Waits to be told when the next one comes, and is in the picture then.
    come(5, is_numbered=False)
    notifier.announce(apply(tenant, left(a_peer(4))))
    await flushed(notifier)
    come(6)
    await flushed(notifier)
    for secret, connection, before in zip(("first", "second"), recent, heard, strict=True):
        welcome, *later = connection.messages()[before:]
        assert (welcome["type"], welcome["session"], welcome["revision"]) == ("welcome", secret, 6)
        others = {"100.64.0.1", "100.64.0.2", "100.64.0.3", "100.64.0.5"} - {welcome["virtual_ip"]}
        assert {peer["virtual_ip"] for peer in welcome["peers"]} == others
        assert [(told["type"], told["revision"]) for told in later] == [("joined", 7)]
    assert len(old.messages()) == 1 + 4
    assert notifier._channels[tenant.id].size() == 3


async def test_a_resumption_that_is_not_numbered_changes_no_picture_and_gives_none_anew() -> None:
    notifier, tenant, watcher = (
        WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS),
        a_tenant(),
        RecordingConnection(),
    )
    first, second = joined(a_peer(1)), joined(a_peer(2))
    notifier.announce(apply(tenant, first))
    notifier.welcome(tenant, first.stay, Subscriber(watcher, V2, "secret"))
    notifier.announce(apply(tenant, second))
    resumed = apply(tenant, PeerResumed(replace(second.stay, turn=3)))
    notifier.announce(replace(resumed, is_numbered=False))
    await flushed(notifier)
    assert [message["type"] for message in watcher.messages()] == ["welcome", "joined"]


async def test_a_v1_peer_whose_update_v1_can_not_say_misses_nothing_else() -> None:
    notifier, tenant, peer = (
        WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS),
        a_tenant(),
        RecordingConnection(),
    )
    event = joined(a_peer(1))
    notifier.announce(apply(tenant, event))
    notifier.welcome(tenant, event.stay, Subscriber(peer))
    await flushed(notifier)
    notifier.announce(apply(tenant, PeerUpdated(event.stay)))
    notifier.announce(apply(tenant, joined(a_peer(2))))
    await flushed(notifier)
    assert [message.get("virtual_ip") for message in peer.messages()[1:]] == ["100.64.0.2"]


async def test_a_tenant_that_nobody_is_connected_to_costs_nothing() -> None:
    notifier = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS)
    members = Members(notifier)
    members.come(a_peer(1), RecordingConnection())
    members.go(a_peer(1))
    assert notifier._channels == {}


class BrokenConnection(RecordingConnection):
    """A Recipient that does not keep its promise."""

    def send(self, notices: Notices) -> None:
        raise ZeroDivisionError


async def test_a_connection_that_fails_is_ended_and_harms_no_other() -> None:
    notifier = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS)
    members, connections = Members(notifier), [RecordingConnection(), BrokenConnection(), RecordingConnection()]
    for number, connection in enumerate(connections, 1):
        members.come(a_peer(number), connection)
    await flushed(notifier)
    members.come(a_peer(9))
    await flushed(notifier)
    assert connections[1].closed_with == INTERNAL_ERROR
    for connection in (connections[0], connections[2]):
        assert connection.closed_with is None
        assert connection.messages()[-1]["virtual_ip"] == "100.64.0.9"


def _fail(peer: Peer) -> Text:
    raise ZeroDivisionError


@pytest.mark.parametrize("place", ["peer_entry", "peer_removal"])
async def test_who_can_not_be_told_of_an_event_is_ended_and_who_comes_after_it_is_not(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS)
    members, old, new = Members(notifier), [RecordingConnection(), RecordingConnection()], RecordingConnection()
    for number, connection in enumerate(old, 1):
        members.come(a_peer(number), connection)
    members.come(a_peer(8))
    with monkeypatch.context() as patched:
        patched.setattr(v1, place, _fail)
        members.come(a_peer(9)) if place == "peer_entry" else members.go(a_peer(8))
    assert [connection.closed_with for connection in old] == [INTERNAL_ERROR] * 2
    assert notifier._channels == {}
    members.come(a_peer(10), new)
    members.go(a_peer(1))
    await flushed(notifier)
    assert [*map(_plain, new.messages())][1:] == [("left", "100.64.0.1")]
    assert len(new.messages()[0]["peers"]) == (2 if place == "peer_removal" else 4)
    assert new.closed_with is None


async def test_whose_welcome_fails_is_told_nothing_and_the_next_welcome_is_whole() -> None:
    class Unwelcome(RecordingConnection):
        def welcome(self, welcome: Text) -> None:
            raise ZeroDivisionError

    notifier = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS)
    members, unwelcome, newcomer = Members(notifier), Unwelcome(), RecordingConnection()
    with pytest.raises(ZeroDivisionError):
        members.come(a_peer(1), unwelcome)
    members.go(a_peer(1))
    assert notifier._channels == {}
    with pytest.raises(ZeroDivisionError):
        members.come(a_peer(1), unwelcome)
    members.come(a_peer(2), newcomer)
    await flushed(notifier)
    assert [*map(_plain, newcomer.messages())] == [("welcome", "100.64.0.2", {"100.64.0.1"})]
    assert unwelcome.sent == []


async def test_from_a_stop_on_nobody_is_told_anything_or_welcomed_and_who_is_put_out_is_ended() -> None:
    notifier = WebSocketPeerNotifier(PeerTelemetry(Telemetry(100)), TERMS)
    members, stays, goes, late = Members(notifier), RecordingConnection(), RecordingConnection(), RecordingConnection()
    members.come(a_peer(1), stays)
    members.come(a_peer(2), goes)
    members.come(a_peer(3))
    notifier.stop()
    members.go(a_peer(3))
    members.go(a_peer(2))
    members.come(a_peer(4), late)
    await flushed(notifier)
    # What was before the stop is told.
    assert [*map(_plain, stays.messages())][1:] == [("joined", "100.64.0.2"), ("joined", "100.64.0.3")]
    assert (stays.closed_with, goes.closed_with) == (None, TRY_AGAIN_LATER)
    assert (late.sent, late.closed_with) == ([], SERVICE_RESTART)
