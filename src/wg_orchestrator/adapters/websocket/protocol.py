import asyncio
import random
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from wg_orchestrator.adapters.websocket import close as closes
from wg_orchestrator.adapters.websocket.asgi_call import AsgiCall, Disconnected
from wg_orchestrator.adapters.websocket.close import Close
from wg_orchestrator.adapters.websocket.connection import EXTENSION
from wg_orchestrator.adapters.websocket.frames import (
    FrameReader,
    Opcode,
    Violation,
    close_frame,
    decode_text,
    frame,
    parse_close,
)
from wg_orchestrator.adapters.websocket.handshake import BadHandshake, Handshake, refusal
from wg_orchestrator.adapters.websocket.limits import ConnectionLimits
from wg_orchestrator.adapters.websocket.messages import Notices, Text

RATE_WINDOW = 10.0


class _Phase(Enum):
    CONNECTING = "the application has not answered the handshake yet"
    OPEN = "both sides may send"
    CLOSING = "our close frame or HTTP refusal is out; within the close timeout the connection is gone"
    CLOSED = "the transport is gone"


class WebSocketProtocol(asyncio.Protocol):
    """A peer's WebSocket as uvicorn's `ws` class: RFC 6455 without extensions, on asyncio's callbacks.

    It has two lives. First it is an ASGI call like any other. Then, if the application takes it as the `Connection`
    offered in the scope's extensions and lets it `run`, the call ends and the connection lives on without task,
    queue or request. What uvicorn's own classes leave to the peer is bounded here: a closing connection is aborted
    after a timeout instead of waiting for a flush that never comes, and so is one that leaves a ping unanswered.
    """

    __slots__ = (
        "_call", "_config", "_frames", "_handshake", "_limits", "_loop", "_on_gone", "_phase", "_ping", "_reader",
        "_reading", "_server", "_state", "_timer", "_transport", "_window",
    )  # fmt: skip

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], *, limits: ConnectionLimits
    ) -> None:
        self._config = config
        self._server = server_state
        self._state = app_state
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
        self._window = 0.0
        self._frames = 0

    @classmethod
    def bound_by(cls, limits: ConnectionLimits) -> type[asyncio.Protocol]:
        """What to give to `uvicorn.Config(ws=…)`."""
        return cast("type[asyncio.Protocol]", partial(cls, limits=limits))

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
        if self._phase is _Phase.CONNECTING and self._call is None:
            self._connect(data)
            return
        if self._reader is None:  # Refused, or closed on a violation: what still comes is only waited out.
            return
        try:
            for opcode, payload in self._reader.feed(data):
                self._on_frame(opcode, payload)
                if self._phase is _Phase.CLOSED or self._transport.is_closing():
                    return
        except Violation as violation:
            self._reader = None
            self._close(violation.code, violation.reason)
            if self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()

    # What uvicorn asks of a protocol

    def shutdown(self) -> None:
        if self._phase is _Phase.CONNECTING:
            self.deny(503, (), b"service restart")
        self.close(closes.SERVICE_RESTART)

    # Connection

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
            self._close(close.code, close.reason)

    async def run(self, on_gone: Callable[[], None]) -> None:
        if self._phase is not _Phase.OPEN:
            on_gone()
            return
        self._on_gone = on_gone
        self.resume_reading()
        self._set_timer(self._limits.ping_interval, self._send_ping)

    # What the ASGI call does

    def accept(self, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> None:
        if self._phase is not _Phase.CONNECTING or self._handshake is None:
            raise Disconnected
        self._transport.write(self._handshake.accept(headers, subprotocol))
        self._phase = _Phase.OPEN
        self._reader = FrameReader(self._limits.max_message_size)
        self.resume_reading()

    def deny(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        if self._phase is not _Phase.CONNECTING:
            raise Disconnected
        self._transport.write(refusal(status, headers, body))
        self._leave_open()
        self._transport.close()
        self._end(1006)

    def send_message(self, message: str | bytes) -> None:
        if self._phase is not _Phase.OPEN:
            raise Disconnected
        if isinstance(message, str):
            self._transport.write(frame(Opcode.TEXT, message.encode()))
        else:
            self._transport.write(frame(Opcode.BINARY, message))

    def close_from_app(self, code: int, reason: str) -> None:
        if self._phase is _Phase.CONNECTING:
            self.deny(403, (), b"")
        else:
            self.close(Close(code, reason))

    def call_ended(self, *, failed: bool) -> None:
        if self._call is None:
            return
        if self._phase is _Phase.CONNECTING:
            self.deny(500, (), b"internal error")
        self.close(closes.INTERNAL_ERROR if failed else Close(1000, ""))
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

    def _connect(self, head: bytes) -> None:
        try:
            self._handshake = Handshake(head)
        except BadHandshake as bad:
            self.deny(bad.status, bad.headers, str(bad).encode())
            return
        # A client that sends frames before it was accepted has them read after.
        self._pause_reading()
        scope = self._handshake.scope(self._transport, self._config.root_path)
        scope["state"] = self._state.copy()
        scope["extensions"] = {"websocket.http.response": {}, EXTENSION: {"connection": self}}
        self._call = AsgiCall(self)
        task = self._loop.create_task(self._call.run(self._config.loaded_app, scope))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    # Frames

    def _on_frame(self, opcode: Opcode, payload: bytes) -> None:
        if not self._within_rate():
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
                self._deliver(self._call, {"type": "websocket.receive", "text": text})
        elif opcode is Opcode.BINARY:
            if self._call is not None:
                self._deliver(self._call, {"type": "websocket.receive", "bytes": payload})
            else:
                self.close(closes.TEXT_ONLY)

    def _deliver(self, call: AsgiCall, event: dict[str, Any]) -> None:
        call.deliver(event)
        self._pause_reading()

    def _within_rate(self) -> bool:
        now = self._loop.time()
        if now - self._window > RATE_WINDOW:
            self._window = now
            self._frames = 0
        self._frames += 1
        return self._frames <= self._limits.max_frame_rate * RATE_WINDOW

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

    def _close(self, code: int, reason: str) -> None:
        if self._phase is not _Phase.OPEN:
            return
        self._transport.write(close_frame(code, reason))
        self._leave_open()
        self.resume_reading()
        self._end(code, reason)

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
