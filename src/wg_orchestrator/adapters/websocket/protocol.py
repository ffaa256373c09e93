import asyncio
import random
from collections.abc import Callable, Iterable
from typing import cast

from wg_orchestrator.adapters.websocket import close as closes
from wg_orchestrator.adapters.websocket import frames
from wg_orchestrator.adapters.websocket.asgi_call import OVERDUE, AsgiCall
from wg_orchestrator.adapters.websocket.clock import Deadlines
from wg_orchestrator.adapters.websocket.close import Close
from wg_orchestrator.adapters.websocket.connection import EXTENSION, Gone, Phase
from wg_orchestrator.adapters.websocket.context import ServerContext, Upgraded
from wg_orchestrator.adapters.websocket.frames import FrameReader, Opcode, Violation, close_frame, frame, parse_close
from wg_orchestrator.adapters.websocket.handshake import BadHandshake, Handshake, Request, refusal, websocket_scope
from wg_orchestrator.adapters.websocket.limits import RateBudget
from wg_orchestrator.adapters.websocket.messages import Notices, Text
from wg_orchestrator.adapters.websocket.outbox import OutboxRoom


class WebSocketProtocol(asyncio.Protocol):
    """A peer's WebSocket in uvicorn: RFC 6455 without extensions, on asyncio's callbacks.

    It has two lives. First it is an ASGI call like any other. Then, if the application takes it as the `Connection`
    offered in the scope's extensions and lets it `run`, the call ends and the connection lives on without task,
    queue or request. Nothing waits for a flush that the peer could withhold: a closing connection is aborted after a
    timeout, and so is one that leaves a ping unanswered.
    """

    __slots__ = (
        "_budget", "_call", "_context", "_deadline", "_ending", "_handshake", "_on_gone", "_phase", "_ping", "_reader",
        "_room", "_source", "_transport",
    )  # fmt: skip

    def __init__(self, context: ServerContext, source: str) -> None:
        """`source` is the client's address, as the gate has counted it."""
        self._context = context
        self._source = source
        self._phase = Phase.CONNECTING
        self._handshake: Handshake | None = None
        self._reader: FrameReader | None = None
        self._call: AsgiCall | None = None
        self._on_gone: Callable[[str], None] | None = None
        self._ending = ""
        self._deadline: Deadlines[Upgraded] | None = None
        self._ping = b""
        self._room: OutboxRoom | None = None
        self._budget = RateBudget(context.limits.max_frame_rate, context.clock.stalled)

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._context.state.connections.add(self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = Phase.CLOSED
        context = self._context
        context.state.connections.discard(self)
        context.gate.leave()
        context.gate.discount(self._source)
        self._await(None)
        self._end(1006, "connection lost")

    def eof_received(self) -> None:
        self._leave_open()
        self._end(1006, "end of stream")

    def pause_writing(self) -> None:
        self._room = OutboxRoom(self._context.limits.max_outbox_size, self._transport.get_write_buffer_size())
        if self._call is not None:
            self._call.pause_writing()

    def resume_writing(self) -> None:
        self._room = None
        if self._call is not None:
            self._call.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._reader is None:  # Refused, or closed on a violation: what still comes is only waited out.
            return
        try:
            self._spend()  # Each read: a frame that comes byte by byte costs us as much as as many frames.
            for number, (opcode, payload) in enumerate(self._reader.feed(data)):
                if number:
                    self._spend()
                self._on_frame(opcode, payload)
                if self._phase is Phase.CLOSED or self._transport.is_closing():
                    return
        except Violation as violation:
            self._reader = None
            if self._call is not None:
                self._context.telemetry.refused(violation.reason, self._source)
            self.close(Close(violation.code, violation.reason))
            if not self._transport.is_closing():  # TLS has no half-closed connections; it reads on until both are done.
                (self._transport.write_eof if self._transport.can_write_eof() else self._transport.close)()

    # What uvicorn asks of a protocol

    def shutdown(self) -> None:
        if self._phase is Phase.CONNECTING:
            self.respond(503, (), b"service restart")
        self.close(closes.SERVICE_RESTART)

    # Connection

    async def deny(self, status: int, reason: str) -> None:
        self.respond(status, [(b"content-type", b"text/plain; charset=utf-8")], reason.encode())

    async def accept(self) -> None:
        if self._call is not None:
            await self._call.receive()  # The event that there is a connection.
        self.open((), None)

    async def first_message(self) -> str | bytes:
        if self._phase is not Phase.OPEN or self._call is None:
            raise Gone
        self._await(self._context.joins)
        message = await self._call.first_message()
        if self._phase is not Phase.OPEN:
            raise Gone
        self._await(None)
        if self._context.gate.memory_is_full:  # Since the handshake: its welcome may be large.
            self._context.telemetry.refused(closes.AT_CAPACITY.reason, self._source)
            self.close(closes.AT_CAPACITY)
            raise Gone
        return message

    async def refuse(self, close: Close) -> None:
        self.close(close)

    def welcome(self, welcome: Text) -> None:
        unread = self._call.unread if self._call else ()
        self._call = self._handshake = None
        if self._phase is Phase.OPEN and not self._transport.is_closing():  # It may have ended during the commit.
            self._transport.set_write_buffer_limits(high=self._context.limits.max_outbox_size + len(welcome.frame))
            self._transport.write(welcome.frame)
            # Its join is told to all who are in the welcome: that has as many bytes again.
            self._context.gate.take_memory(2 * len(welcome.frame))
        if any("bytes" in event for event in unread):  # It came together with the join message.
            self.close(closes.TEXT_ONLY)

    def send(self, notices: Notices) -> None:
        if self._phase is Phase.OPEN and not self._transport.is_closing():
            if self._room and not self._room.takes(self._transport.get_write_buffer_size(), len(notices.wire)):
                self.close(closes.TOO_SLOW)
            else:
                self._transport.write(notices.wire)

    def close(self, close: Close) -> None:
        if self._phase is Phase.OPEN:
            self._transport.write(close_frame(close.code, close.reason))
            self._leave_open()
            self.resume_reading()
            self._end(close.code, close.reason)

    async def run(self, on_gone: Callable[[str], None]) -> None:
        if self._phase is not Phase.OPEN:
            on_gone(self._ending)
            return
        self._on_gone = on_gone
        self.resume_reading()
        self._await(self._context.pings)

    # What the ASGI call does

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def open(self, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> None:
        if self._phase is not Phase.CONNECTING or self._handshake is None:
            raise Gone
        self._transport.write(self._handshake.accept(headers, subprotocol))
        self._phase = Phase.OPEN
        self.resume_reading()
        self.data_received(b"")  # What came with the request.

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        if self._phase is not Phase.CONNECTING:
            raise Gone
        self._reader = None
        self._transport.write(refusal(status, headers, body))
        self._leave_open()
        self._transport.close()
        self._end(1006, "refused")

    def write(self, data: bytes) -> None:
        if self._phase is not Phase.OPEN:
            raise Gone
        self._transport.write(data)

    @property
    def connecting(self) -> bool:
        return self._phase is Phase.CONNECTING

    def call_ended(self, ending: Close) -> None:
        if self._on_gone is not None:
            return  # The connection was handed over and goes on.
        if self._phase is Phase.CONNECTING:
            self.respond(500, (), b"internal error")
        self.close(ending)
        self._call = None

    # The opening handshake

    def upgrade(self, request: Request, scheme: str, early: bytes, refuse: Close | None) -> None:
        """Take over a connection on which this was asked for, and `early` sent with it. `refuse`: only to be closed."""
        context = self._context
        try:
            self._handshake = Handshake(request)
        except BadHandshake as bad:
            context.telemetry.refused(str(bad), self._source)
            self.respond(bad.status, bad.headers, str(bad).encode())
            return
        self._reader = FrameReader(context.limits.max_message_size, context.limits.max_fragments, early)
        if refuse is not None:
            context.telemetry.refused(refuse.reason, self._source)
            self.open((), None)
            self.close(refuse)
            return
        # A client that sends frames before it was accepted has them read after.
        self._transport.pause_reading()
        scope = websocket_scope(request, scheme, self._source, context.config.root_path)
        scope["extensions"] = {"websocket.http.response": {}, EXTENSION: {"connection": self}}
        self._call = AsgiCall(self)
        context.start(self._call.run(context.app, scope))

    # Frames

    def _on_frame(self, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.CLOSE:
            code, _ = parse_close(payload)
            if self._phase is Phase.OPEN:
                self._transport.write(frame(Opcode.CLOSE, payload[:2]))
                self._leave_open()
            self._transport.close()
            self._end(code, "closed by the peer")
        elif self._phase is not Phase.OPEN:
            pass  # Our close frame is out: only the answer to it matters.
        elif opcode is Opcode.PING:
            self._transport.write(frame(Opcode.PONG, payload))
        elif opcode is Opcode.PONG:
            if self._ping and payload == self._ping:
                self._ping = b""
                self._await(self._context.pings)
                # It has read all that came before: its welcome needs no room any more.
                self._transport.set_write_buffer_limits(high=self._context.limits.max_outbox_size)
                if self._room:  # By what came after the ping.
                    self.pause_writing()
        elif opcode is not Opcode.CONTINUATION:
            field, content = ("bytes", payload) if opcode is Opcode.BINARY else ("text", frames.decode_text(payload))
            if self._call is not None:
                self._call.deliver({"type": "websocket.receive", field: content})
                self._transport.pause_reading()
            elif opcode is Opcode.BINARY:
                self.close(closes.TEXT_ONLY)

    def _spend(self) -> None:
        clock = self._context.clock
        if not self._budget.spend(clock.time(), clock.stalled):
            raise Violation(closes.POLICY.code, closes.POLICY.reason)

    # What is due

    def _await(self, deadline: Deadlines[Upgraded] | None) -> None:
        """At most one thing is due at a time."""
        if self._deadline is not None:
            self._deadline.discard(self)
        self._deadline = deadline
        if deadline is not None:
            deadline.add(self)

    def join_overdue(self) -> None:
        if self._call is not None:
            self._call.deliver({"type": OVERDUE})

    def ping(self) -> None:
        # A payload that can't be guessed: the pong proves that the peer has read all that came before it.
        self._ping = random.getrandbits(32).to_bytes(4, "big")
        self._context.telemetry.outbox(self._transport.get_write_buffer_size())
        self._transport.write(frame(Opcode.PING, self._ping))
        self._await(self._context.pongs)

    def pong_overdue(self) -> None:
        self._phase = Phase.CLOSING
        self._transport.abort()
        self._end(1006, "ping timeout")

    def close_overdue(self) -> None:
        self._transport.abort()

    # The end

    def _leave_open(self) -> None:
        if self._phase is not Phase.CLOSING:
            self._phase = Phase.CLOSING
            self._await(self._context.closings)

    def _end(self, code: int, reason: str) -> None:
        """Tell whoever lives on this connection that it has ended: the application or the new owner, once."""
        call, on_gone, self._on_gone, self._ending = self._call, self._on_gone, None, self._ending or reason
        if on_gone is not None:
            on_gone(reason)
        elif call is not None:
            call.resume_writing()
            call.deliver({"type": "websocket.disconnect", "code": code, "reason": reason})
