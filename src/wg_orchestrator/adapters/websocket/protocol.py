import asyncio
import random
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import Any, cast

from starlette.types import ASGIApp
from uvicorn.server import ServerState

from wg_orchestrator.adapters.websocket import close as closes
from wg_orchestrator.adapters.websocket.asgi_call import AsgiCall
from wg_orchestrator.adapters.websocket.close import Close
from wg_orchestrator.adapters.websocket.connection import EXTENSION, Gone
from wg_orchestrator.adapters.websocket.frames import (
    FrameReader,
    Opcode,
    Violation,
    close_frame,
    decode_text,
    frame,
    parse_close,
)
from wg_orchestrator.adapters.websocket.handshake import BadHandshake, Handshake, refusal, websocket_scope
from wg_orchestrator.adapters.websocket.limits import ConnectionLimits, FrameBudget
from wg_orchestrator.adapters.websocket.messages import Notices, Text

# Among the events of an ASGI call, ours alone: the first message is overdue.
_TIMEOUT = "wg_orchestrator.timeout"


class _Phase(Enum):
    CONNECTING = "the application has not answered the handshake yet"
    OPEN = "both sides may send"
    CLOSING = "our close frame or HTTP refusal is out; within the close timeout the connection is gone"
    CLOSED = "the transport is gone"


class WebSocketProtocol(asyncio.Protocol):
    """A peer's WebSocket in uvicorn: RFC 6455 without extensions, on asyncio's callbacks.

    It has two lives. First it is an ASGI call like any other. Then, if the application takes it as the `Connection`
    offered in the scope's extensions and lets it `run`, the call ends and the connection lives on without task,
    queue or request. A join so takes a fifth of the CPU that it takes with uvicorn's own classes, and an idle peer a
    tenth of the memory (docs/benchmarks.md). And what those leave to the peer is bounded here: a closing connection
    is aborted after a timeout instead of waiting for a flush that never comes, and so is one that leaves a ping
    unanswered.
    """

    __slots__ = (
        "_app", "_budget", "_call", "_handshake", "_limits", "_loop", "_on_gone", "_phase", "_ping", "_reader",
        "_reading", "_server", "_timer", "_transport",
    )  # fmt: skip

    def __init__(self, app: ASGIApp, server_state: ServerState, limits: ConnectionLimits) -> None:
        self._app = app
        self._server = server_state
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._phase = _Phase.CONNECTING
        self._handshake: Handshake | None = None
        self._reader: FrameReader | None = None
        self._reading = True
        self._call: AsgiCall | None = None
        self._on_gone: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ping = b""
        self._budget = FrameBudget(limits.max_frame_rate)

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = _Phase.CLOSED
        self._server.connections.discard(self)
        self._set_timer(None)
        self._end(1006)

    def eof_received(self) -> None:
        self._leave_open()
        self._end(1006)

    def pause_writing(self) -> None:
        if self._call is not None:
            self._call.pause_writing()
        else:
            self.close(closes.TOO_SLOW)

    def resume_writing(self) -> None:
        if self._call is not None:
            self._call.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._reader is None:  # Refused, or closed on a violation: what still comes is only waited out.
            return
        try:
            for opcode, payload in self._reader.feed(data):
                self._on_frame(opcode, payload)
                if self._phase is _Phase.CLOSED or self._transport.is_closing():
                    return
        except Violation as violation:
            self._reader = None
            self.close(Close(violation.code, violation.reason))
            if self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()

    # What uvicorn asks of a protocol

    def shutdown(self) -> None:
        if self._phase is _Phase.CONNECTING:
            self.respond(503, (), b"service restart")
        self.close(closes.SERVICE_RESTART)

    # Connection

    async def deny(self, status: int, reason: str) -> None:
        self.respond(status, [(b"content-type", b"text/plain; charset=utf-8")], reason.encode())

    async def accept(self) -> None:
        if self._call is not None:
            await self._call.receive()  # The event that there is a connection.
        self.open((), None)

    async def first_message(self, within: float) -> str | bytes:
        if self._phase is not _Phase.OPEN or self._call is None:
            raise Gone
        self._set_timer(within, partial(self._call.deliver, {"type": _TIMEOUT}))
        event = await self._call.receive()
        if event["type"] == _TIMEOUT:
            raise TimeoutError
        if self._phase is not _Phase.OPEN:
            raise Gone
        self._set_timer(None)
        text: str | None = event.get("text")
        return event["bytes"] if text is None else text

    async def refuse(self, close: Close) -> None:
        self.close(close)

    def welcome(self, welcome: Text) -> None:
        self._call = self._handshake = None
        self._transport.set_write_buffer_limits(high=self._limits.max_outbox_size + len(welcome.frame))
        if self._phase is _Phase.OPEN:
            self._transport.write(welcome.frame)

    def send(self, notices: Notices) -> None:
        if self._phase is _Phase.OPEN and not self._transport.is_closing():
            self._transport.write(notices.wire)

    def close(self, close: Close) -> None:
        if self._phase is _Phase.OPEN:
            self._transport.write(close_frame(close.code, close.reason))
            self._leave_open()
            self.resume_reading()
            self._end(close.code, close.reason)

    async def run(self, on_gone: Callable[[], None]) -> None:
        if self._phase is not _Phase.OPEN:
            on_gone()
            return
        self._on_gone = on_gone
        self.resume_reading()
        self._set_timer(self._limits.ping_interval, self._send_ping)

    # What the ASGI call does

    def open(self, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> None:
        if self._phase is not _Phase.CONNECTING or self._handshake is None:
            raise Gone
        self._transport.write(self._handshake.accept(headers, subprotocol))
        self._phase = _Phase.OPEN
        self._reader = FrameReader(self._limits.max_message_size)
        self.resume_reading()

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        if self._phase is not _Phase.CONNECTING:
            raise Gone
        self._transport.write(refusal(status, headers, body))
        self._leave_open()
        self._transport.close()
        self._end(1006)

    def write(self, data: bytes) -> None:
        if self._phase is not _Phase.OPEN:
            raise Gone
        self._transport.write(data)

    @property
    def connecting(self) -> bool:
        return self._phase is _Phase.CONNECTING

    def call_ended(self, ending: Close) -> None:
        if self._call is None:
            return  # The connection was handed over and goes on.
        if self._phase is _Phase.CONNECTING:
            self.respond(500, (), b"internal error")
        self.close(ending)
        self._call = None

    def resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    # The opening handshake

    def upgrade(self, http_scope: dict[str, Any], target: bytes) -> None:
        """Take over a connection on which this was asked for, by a request that wants to upgrade to a WebSocket."""
        try:
            self._handshake = Handshake(http_scope["method"], http_scope["http_version"], http_scope["headers"])
        except BadHandshake as bad:
            self.respond(bad.status, bad.headers, str(bad).encode())
            return
        # A client that sends frames before it was accepted has them read after.
        self._pause_reading()
        scope = websocket_scope(http_scope, target)
        scope["extensions"] = {"websocket.http.response": {}, EXTENSION: {"connection": self}}
        self._call = AsgiCall(self)
        task = self._loop.create_task(self._call.run(self._app, scope))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    # Frames

    def _on_frame(self, opcode: Opcode, payload: bytes) -> None:
        if not self._budget.spend(self._loop.time()):
            raise Violation(closes.POLICY.code, closes.POLICY.reason)
        if opcode is Opcode.CLOSE:
            code, reason = parse_close(payload)
            if self._phase is _Phase.OPEN:
                self._transport.write(frame(Opcode.CLOSE, payload[:2]))
                self._leave_open()
            self._transport.close()
            self._end(code, reason)
        elif self._phase is not _Phase.OPEN:
            pass  # Our close frame is out: only the answer to it matters.
        elif opcode is Opcode.PING:
            self._transport.write(frame(Opcode.PONG, payload))
        elif opcode is Opcode.PONG:
            if self._ping and payload == self._ping:
                self._ping = b""
                self._set_timer(self._limits.ping_interval, self._send_ping)
        elif opcode is Opcode.TEXT:
            text = decode_text(payload)
            if self._call is not None:
                self._call.deliver({"type": "websocket.receive", "text": text})
                self._pause_reading()
        elif opcode is Opcode.BINARY:
            if self._call is not None:
                self._call.deliver({"type": "websocket.receive", "bytes": payload})
                self._pause_reading()
            else:
                self.close(closes.TEXT_ONLY)

    # Keep-alive

    def _send_ping(self) -> None:
        # A payload that can't be guessed: the pong proves that the peer has read all that came before it.
        self._ping = random.getrandbits(32).to_bytes(4, "big")
        self._transport.write(frame(Opcode.PING, self._ping))
        self._set_timer(self._limits.ping_timeout, self._abort)

    def _abort(self) -> None:
        self._phase = _Phase.CLOSING
        self._transport.abort()
        self._end(1006)

    # The end

    def _leave_open(self) -> None:
        if self._phase is not _Phase.CLOSING:
            self._phase = _Phase.CLOSING
            self._set_timer(self._limits.close_timeout, self._abort)

    def _end(self, code: int, reason: str = "") -> None:
        """Tell whoever lives on this connection that it has ended: the application or the new owner, once."""
        call, on_gone, self._on_gone = self._call, self._on_gone, None
        if on_gone is not None:
            on_gone()
        elif call is not None:
            call.resume_writing()
            call.deliver({"type": "websocket.disconnect", "code": code, "reason": reason})

    def _set_timer(self, delay: float | None, callback: Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if delay is None or callback is None else self._loop.call_later(delay, callback)
