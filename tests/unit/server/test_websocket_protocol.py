"""The protocol class on a transport in memory. No sockets; the tests wait only for the event loop's next turns."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

import pytest
import uvicorn
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode

from wg_orchestrator.adapters.websocket.connection import EXTENSION, Connection, Gone
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.frames import Opcode, close_frame, frame
from wg_orchestrator.rfc6455.handshake import Handshake, Headers, Request
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.server.context import ServerContext
from wg_orchestrator.server.gate import Gate
from wg_orchestrator.server.websocket_protocol import WebSocketProtocol
from wg_orchestrator.settings import ConnectionLimits, GateLimits
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire.close_codes import TEXT_ONLY

Application = Callable[[Any, Any, Any], Awaitable[None]]

HEADERS: Headers = [
    (b"host", b"server.example.com"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]
REQUEST = Request("GET", b"/tenants/acme", "1.1", HEADERS)


class MemoryTransport(asyncio.Transport):
    """Keeps what is written; flushes nothing, as if the peer had stopped reading."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.state = "open"
        self.reading = True
        self.high_water = 0
        self.protocol: asyncio.BaseProtocol | None = None
        self.buffered = 0
        self.extra: dict[str, Any] = {}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.extra.get(name, default)

    def write(self, data: Any) -> None:
        self.written += data

    def taken(self) -> bytes:
        taken, self.written = self.written, b""
        return taken

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.state = "half-closed"

    def close(self) -> None:
        self.state = "closing"

    def abort(self) -> None:
        self.state = "aborted"

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self.state in ("closing", "aborted")

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high_water = high or 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


def client_frame(opcode: int, payload: bytes) -> bytes:
    return Frame(TheirOpcode(opcode), payload).serialize(mask=True)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def a_context(application: Application, state: ServerState, **limits: Any) -> ServerContext:
    config = uvicorn.Config(application, ws="none", lifespan="off", log_config=None, proxy_headers=False)
    config.load()
    return ServerContext(config, state, ConnectionLimits.model_construct(**limits), GateLimits(), 1024, Telemetry(100))


async def upgraded(application: Application, **limits: Any) -> tuple[WebSocketProtocol, MemoryTransport, Any]:
    state, transport = ServerState(), MemoryTransport()
    protocol = WebSocketProtocol(a_context(application, state, **limits), "127.0.0.1", Handshake(REQUEST))
    protocol.connection_made(transport)
    protocol.begin(REQUEST, "ws", b"", None)
    await turns()
    return protocol, transport, state


class Joined:
    """An application that takes the connection over, as the peers' endpoint does."""

    def __init__(self) -> None:
        self.gone = 0
        self.reason = ""
        self.heard: list[str | bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connection = scope["extensions"][EXTENSION]["connection"]
        await connection.accept()
        await connection.first_message()
        connection.welcome(Text(b"welcome"))
        await connection.run(Counting(self, connection))


class Counting:
    """A Listener that keeps what it hears, closes on anything but text, and counts its ends."""

    def __init__(self, application: Joined, connection: Connection) -> None:
        self.application = application
        self.connection = connection

    def heard(self, message: str | bytes) -> None:
        self.application.heard.append(message)
        if isinstance(message, bytes):
            self.connection.close(TEXT_ONLY)

    def gone(self, cause: Close) -> None:
        self.application.gone += 1
        self.application.reason = cause.reason


async def joined(**limits: Any) -> tuple[WebSocketProtocol, MemoryTransport, Joined]:
    application = Joined()
    protocol, transport, _ = await upgraded(application, **limits)
    protocol.data_received(client_frame(Opcode.TEXT, b"join"))
    await turns()
    _, welcome, transport.written = transport.written.partition(frame(Opcode.TEXT, b"welcome"))
    assert welcome
    return protocol, transport, application


async def test_nothing_of_the_call_lives_on_with_a_joined_peer() -> None:
    application = Joined()
    protocol, transport, state = await upgraded(application)
    assert len(state.tasks) == 1
    protocol.data_received(client_frame(Opcode.TEXT, b"join"))
    await turns()
    assert state.tasks == set()
    assert list(state.connections) == [protocol]
    assert (protocol._call, protocol._conversation._handshake) == (None, None)
    assert transport.reading
    assert transport.state == "open"


async def test_a_joined_peer_is_heard_by_its_listener() -> None:
    protocol, _, application = await joined()
    protocol.data_received(client_frame(Opcode.TEXT, b"one") + client_frame(Opcode.BINARY, b"two"))
    protocol.data_received(client_frame(Opcode.TEXT, b"three"))
    assert application.heard == ["one", b"two"]
    assert application.reason == "text only"


async def test_what_came_together_with_the_join_message_is_heard_in_order_until_the_end() -> None:
    application = Joined()
    protocol, transport, _ = await upgraded(application)
    messages = [(Opcode.TEXT, b"join"), (Opcode.TEXT, b"one"), (Opcode.BINARY, b"two"), (Opcode.TEXT, b"three")]
    protocol.data_received(b"".join(client_frame(*message) for message in messages))
    await turns()
    assert application.heard == ["one", b"two"]
    assert transport.written.endswith(frame(Opcode.TEXT, b"welcome") + close_frame(1003, "text only"))


async def test_the_application_chooses_the_subprotocol() -> None:
    async def chooses(scope: Any, receive: Any, send: Any) -> None:
        await scope["extensions"][EXTENSION]["connection"].accept("v2")

    _, transport, _ = await upgraded(chooses)
    assert b"\r\nsec-websocket-protocol: v2\r\n" in transport.written


async def test_notices_are_written_as_they_are_until_the_end() -> None:
    protocol, transport, application = await joined()
    protocol.send(Notices([Text(b"one"), Text(b"two")]))
    assert transport.taken() == frame(Opcode.TEXT, b"one") + frame(Opcode.TEXT, b"two")
    protocol.connection_lost(None)
    protocol.send(Notices([Text(b"three")]))
    assert transport.taken() == b""
    assert application.gone == 1


async def test_a_full_outbox_ends_the_peer_at_once_and_the_connection_within_the_close_timeout() -> None:
    protocol, transport, application = await joined(max_outbox_size=1000, close_timeout=0.0)
    assert transport.high_water == 1000 + len(frame(Opcode.TEXT, b"welcome"))
    protocol.pause_writing()
    transport.buffered = 1001
    protocol.send(Notices([Text(b"more")]))
    assert application.gone == 1
    assert transport.taken() == close_frame(4003, "too slow")
    await asyncio.sleep(0.001)
    assert transport.state == "aborted"
    assert application.gone == 1


async def test_notices_of_any_size_go_out_and_an_outbox_more() -> None:
    protocol, transport, application = await joined(max_outbox_size=1000)
    protocol.send(Notices([Text(b"x" * 5000)]))
    transport.buffered = 5000
    protocol.pause_writing()
    for _ in range(10):
        protocol.send(Notices([Text(b"x" * 98)]))
        transport.buffered += 100
    assert application.gone == 0
    transport.buffered += 1
    transport.taken()
    protocol.send(Notices([Text(b"x")]))
    assert application.reason == "too slow"
    assert transport.taken() == close_frame(4003, "too slow")


async def test_who_takes_what_it_is_sent_may_be_sent_the_same_again_and_again() -> None:
    protocol, transport, application = await joined(max_outbox_size=1000)
    for _ in range(10):
        protocol.send(Notices([Text(b"x" * 5000)]))
        transport.buffered = 5000
        protocol.pause_writing()
        protocol.send(Notices([Text(b"x")]))
        transport.buffered = 0
        protocol.resume_writing()
    assert application.gone == 0


async def test_an_outbox_that_has_room_again_may_be_filled_again() -> None:
    protocol, transport, application = await joined(max_outbox_size=1000)
    protocol.send(Notices([Text(b"x" * 2000)]))
    transport.buffered = 2000
    protocol.pause_writing()
    transport.buffered = 1000  # The peer has taken enough, but the transport reports it only when it has little left.
    protocol.send(Notices([Text(b"x" * 5000)]))
    transport.buffered = 6000
    protocol.send(Notices([Text(b"x")]))
    assert application.gone == 0


async def test_a_pong_does_not_end_the_room_for_what_was_said_after_its_ping() -> None:
    protocol, transport, application = await joined(max_outbox_size=1000, ping_interval=0.0, ping_timeout=60)
    while not transport.written:
        await asyncio.sleep(0)
    ping = transport.taken()
    protocol.send(Notices([Text(b"x" * 5000)]))
    transport.buffered = 5000
    protocol.pause_writing()
    protocol.data_received(client_frame(Opcode.PONG, ping[2:]))
    protocol.send(Notices([Text(b"x")]))
    assert application.gone == 0


async def test_an_outbox_that_was_emptied_is_not_full_any_more() -> None:
    protocol, transport, application = await joined(max_outbox_size=1000)
    protocol.pause_writing()
    protocol.resume_writing()
    transport.buffered = 10**6  # Not asked for: for a peer that keeps up, that saves a call.
    protocol.send(Notices([Text(b"more")]))
    assert application.gone == 0


async def test_a_call_that_is_cancelled_ends_its_connection() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await scope["extensions"][EXTENSION]["connection"].accept()
        await asyncio.Event().wait()

    _, transport, state = await upgraded(slow)
    for task in state.tasks:
        task.cancel()
    await turns()
    assert transport.taken().endswith(close_frame(1011, "internal error"))


async def test_a_call_that_fails_between_the_welcome_and_the_handover_ends_its_connection() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        connection = scope["extensions"][EXTENSION]["connection"]
        await connection.accept()
        connection.welcome(Text(b"welcome"))
        raise ZeroDivisionError

    _, transport, _ = await upgraded(fails)
    assert transport.taken().endswith(close_frame(1011, "internal error"))


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda protocol: protocol.data_received(client_frame(Opcode.CLOSE, b"")), "closed by the peer"),
        (lambda protocol: protocol.eof_received(), "end of stream"),
        (lambda protocol: protocol.connection_lost(None), "connection lost"),
        (lambda protocol: protocol.shutdown(), "service restart"),
    ],
)
async def test_what_ended_a_connection_before_it_was_handed_over_is_told_then(
    end: Callable[[WebSocketProtocol], None], reason: str
) -> None:
    commit = asyncio.Event()
    reasons: list[str] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        connection = scope["extensions"][EXTENSION]["connection"]
        await connection.accept()
        await commit.wait()
        connection.welcome(Text(b"welcome"))
        await connection.run(mock.Mock(gone=lambda cause: reasons.append(cause.reason)))

    protocol, transport, _ = await upgraded(slow)
    end(protocol)
    commit.set()
    await turns()
    assert reasons == [reason]
    assert frame(Opcode.TEXT, b"welcome") not in transport.written


async def test_a_ping_that_is_answered_is_followed_by_another() -> None:
    protocol, transport, application = await joined(ping_interval=0.0, ping_timeout=60)
    for _ in range(3):
        while not transport.written:
            await asyncio.sleep(0)
        ping = transport.taken()
        assert ping[:2] == bytes((0x80 | Opcode.PING, 4))
        protocol.data_received(client_frame(Opcode.PONG, ping[2:]))
    assert application.gone == 0


async def test_the_room_for_a_welcome_goes_when_it_was_read() -> None:
    protocol, transport, _ = await joined(max_outbox_size=1000, ping_interval=0.0, ping_timeout=60)
    while not transport.written:
        await asyncio.sleep(0)
    assert transport.high_water > 1000
    protocol.data_received(client_frame(Opcode.PONG, transport.taken()[2:]))
    assert transport.high_water == 1000


async def test_a_pong_that_answers_no_ping_is_no_sign_of_life() -> None:
    protocol, transport, _ = await joined(ping_interval=0.0, ping_timeout=60)
    while not transport.written:
        await asyncio.sleep(0)
    ping = transport.taken()
    protocol.data_received(client_frame(Opcode.PONG, bytes(byte ^ 1 for byte in ping[2:])))
    await asyncio.sleep(0.001)
    assert transport.taken() == b""


async def test_what_came_with_the_join_message_does_not_keep_a_peer_from_being_read() -> None:
    protocol, transport, _ = await upgraded(Joined())
    protocol.data_received(client_frame(Opcode.TEXT, b"join") + client_frame(Opcode.TEXT, b"keep-alive"))
    assert not transport.reading
    await turns()
    assert transport.reading


@pytest.mark.parametrize(
    "answer",
    [b"", client_frame(Opcode.PONG, b"\0\0\0\0"), client_frame(Opcode.TEXT, b"alive")],
    ids=["nothing", "another pong", "a message"],
)
async def test_a_ping_that_is_not_answered_ends_the_connection(answer: bytes) -> None:
    protocol, transport, application = await joined(ping_interval=0.0, ping_timeout=0.0)
    protocol.data_received(answer)
    await asyncio.sleep(0.005)
    assert transport.state == "aborted"
    assert application.gone == 1


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (client_frame(Opcode.CLOSE, b""), frame(Opcode.CLOSE, b"")),
        (client_frame(Opcode.CLOSE, b"\x03\xe8bye"), close_frame(1000)),
        (client_frame(Opcode.BINARY, b"x"), close_frame(1003, "text only")),
        (client_frame(Opcode.TEXT, b"\xff"), close_frame(1007, "invalid utf-8")),
        (client_frame(Opcode.TEXT, b"x" * 4097), close_frame(1009, "too big")),
        (b"\xff\xff", close_frame(1002, "unknown frame type")),
        (client_frame(Opcode.TEXT, b"x") * 101, close_frame(1008, "policy")),
    ],
    ids=["close", "close with a reason", "binary", "no text", "too big", "no frame", "too many"],
)
async def test_what_ends_a_connection_is_answered_and_told_once(data: bytes, answer: bytes) -> None:
    protocol, transport, application = await joined()
    protocol.data_received(data)
    protocol.data_received(client_frame(Opcode.TEXT, b"more"))
    protocol.eof_received()
    protocol.connection_lost(None)
    assert transport.taken() == answer
    assert application.gone == 1


async def test_a_stopping_server_closes_a_peer_with_1012() -> None:
    protocol, transport, application = await joined()
    protocol.shutdown()
    assert transport.taken() == close_frame(1012, "service restart")
    assert application.gone == 1


async def test_a_request_that_is_still_open_when_the_server_stops_is_answered() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    protocol, transport, state = await upgraded(slow)
    protocol.shutdown()
    assert transport.taken().startswith(b"HTTP/1.1 503")
    for task in state.tasks:
        task.cancel()
    await turns()


async def test_a_client_that_leaves_before_its_first_message_is_gone() -> None:
    seen: list[BaseException] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        connection = scope["extensions"][EXTENSION]["connection"]
        await connection.accept()
        try:
            await connection.first_message()
        except Gone as error:
            seen.append(error)

    protocol, _, _ = await upgraded(application)
    protocol.eof_received()
    await turns()
    assert len(seen) == 1


async def test_an_application_that_fails_is_answered_by_500_or_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def fails_at_once(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def fails_later(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    _, transport, _ = await upgraded(fails_at_once)
    assert transport.taken().startswith(b"HTTP/1.1 500")
    _, transport, _ = await upgraded(fails_later)
    assert transport.taken().endswith(close_frame(1011, "internal error"))
    assert len(caplog.records) == 2


async def test_reading_pauses_while_an_application_does_not_receive() -> None:
    proceed = asyncio.Event()
    received: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await proceed.wait()
        received.extend([(await receive())["text"] for _ in range(2)])

    protocol, transport, _ = await upgraded(application)
    protocol.data_received(client_frame(Opcode.TEXT, b"one") + client_frame(Opcode.TEXT, b"two"))
    assert not transport.reading
    proceed.set()
    await turns()
    assert received == ["one", "two"]
    assert transport.reading


async def test_sending_waits_while_the_client_does_not_read() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        protocol.pause_writing()
        await send({"type": "websocket.send", "bytes": b"x"})

    transport = MemoryTransport()
    protocol = WebSocketProtocol(a_context(application, ServerState()), "127.0.0.1", Handshake(REQUEST))
    protocol.connection_made(transport)
    protocol.begin(REQUEST, "ws", b"", None)
    await turns()
    assert frame(Opcode.BINARY, b"x") not in transport.taken()
    protocol.resume_writing()
    await turns()
    assert frame(Opcode.BINARY, b"x") in transport.taken()


async def test_who_asks_to_join_after_welcomes_have_filled_the_memory_is_closed_with_4005() -> None:
    messages: list[str | bytes] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        connection = scope["extensions"][EXTENSION]["connection"]
        await connection.accept()
        messages.append(await connection.first_message())
        connection.welcome(Text(b"x" * 1000))

    context = a_context(application, ServerState())
    context.gate = Gate(GateLimits(max_memory=1000), 1024)
    context.gate.read_memory = lambda: 1001
    transports = [MemoryTransport(), MemoryTransport()]
    protocols = [WebSocketProtocol(context, "127.0.0.1", Handshake(REQUEST)) for _ in transports]
    for protocol, transport in zip(protocols, transports, strict=True):
        protocol.connection_made(transport)
        protocol.begin(REQUEST, "ws", b"", None)
        await turns()
        transport.taken()
    for protocol in protocols:
        protocol.data_received(client_frame(Opcode.TEXT, b"join"))
        await turns()
    assert messages == ["join"]
    assert Text(b"x" * 1000).frame in transports[0].written
    assert transports[1].written == close_frame(4005, "at capacity")
