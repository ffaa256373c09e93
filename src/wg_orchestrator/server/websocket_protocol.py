import asyncio
import random
from collections.abc import Iterable
from typing import cast

from wg_orchestrator.adapters.websocket.connection import EXTENSION, Gone, Listener
from wg_orchestrator.adapters.websocket.outbox import OutboxRoom
from wg_orchestrator.domain.events import assert_never
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.conversation import ENDINGS, Conversation, Ending, Event, Phase, Reply, Sign, Step
from wg_orchestrator.rfc6455.frames import Violation
from wg_orchestrator.rfc6455.handshake import Handshake, Request, websocket_scope
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.server.asgi_call import AsgiCall
from wg_orchestrator.server.clock import OneDeadline
from wg_orchestrator.server.context import ServerContext
from wg_orchestrator.server.rates import RateBudget
from wg_orchestrator.server.tcp import end_tcp
from wg_orchestrator.wire import close_codes as closes


class WebSocketProtocol(OneDeadline, asyncio.Protocol):
    """A peer's WebSocket on asyncio's callbacks: does what its `Conversation` says, and keeps the time.

    First it is an ASGI call like any other. If the application takes it as the `Connection` that the scope's extensions
    offer, and lets it `run`, it lives on without task, queue or request. Nothing waits for a flush that the peer could
    withhold: a closing connection is aborted after a timeout, and so is one that leaves a ping unanswered.
    """

    __slots__ = ("_budget", "_call", "_context", "_conversation", "_listener", "_room", "_source", "_transport")

    def __init__(self, context: ServerContext, source: str, handshake: Handshake) -> None:
        """`source` is the client's address, as the gate has counted it."""
        super().__init__()
        limits = context.limits
        self._context = context
        self._source = source
        self._conversation = Conversation(handshake, limits.max_message_size, limits.max_fragments)
        self._call: AsgiCall | None = None
        self._listener: Listener | None = None
        self._room: OutboxRoom | None = None
        self._budget = RateBudget(limits.max_frame_rate, context.clock.stalled)

    def begin(self, request: Request, scheme: str, early: bytes, refuse: Close | None) -> None:
        """Have the application answer `request`; `early` was sent with it. `refuse`: it is only to be closed."""
        context = self._context
        if early:
            self._conversation.hold(early)
        if refuse is not None:
            context.telemetry.refused(refuse.reason, self._source)
            self.open((), None)
            self.close(refuse)
            return
        scope = websocket_scope(request, scheme, self._source, context.config.root_path)
        scope["extensions"] = {"websocket.http.response": {}, EXTENSION: {"connection": self}}
        self._call = AsgiCall(self, context.loop)
        context.start(self._call.run(context.app, scope))

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._context.state.connections.add(self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._context.forget(self, self._source)
        self._finish(self._conversation.lose())
        self._await(None)

    def eof_received(self) -> None:
        self._finish(self._conversation.hear_end())

    def pause_writing(self) -> None:
        self._room = OutboxRoom(self._context.limits.max_outbox_size, self._transport.get_write_buffer_size())
        if self._call is not None:
            self._call.pause_writing()

    def resume_writing(self) -> None:
        self._room = None
        if self._call is not None:
            self._call.resume_writing()

    def data_received(self, data: bytes) -> None:
        conversation = self._conversation
        try:
            self._count()  # Each read: a frame that comes byte by byte costs us as much as as many frames.
            if conversation.phase is Phase.CONNECTING:  # Frames that come before the answer are read after it.
                conversation.hold(data)
                self._transport.pause_reading()
                return
            for number, (opcode, payload) in enumerate(conversation.read(data)):
                if number:
                    self._count()
                event = conversation.hear(opcode, payload)
                if event is not Sign.NOTHING:
                    self._act_on(event)
                    if self._transport.is_closing():
                        return
        except Violation as violation:
            self._finish(conversation.violate(violation))

    def _act_on(self, event: Event) -> None:
        match event:
            case Sign.NOTHING:
                pass
            case Sign.ALIVE:
                self._alive()
            case str() | bytes():
                self._hear(event)
            case Reply(wire):
                self._transport.write(wire)
            case Ending():
                self._finish(event)
            case _:
                assert_never(event)

    # Connection

    async def deny(self, status: int, reason: str) -> None:
        self.respond(status, [(b"content-type", b"text/plain; charset=utf-8")], reason.encode())

    async def accept(self, subprotocol: str | None = None) -> None:
        if self._call is not None:
            await self._call.receive()  # The event that there is a connection.
        self.open((), subprotocol)

    async def first_message(self) -> str | bytes:
        if self._conversation.phase is not Phase.OPEN or self._call is None:
            raise Gone
        self._await(self._context.joins)
        message = await self._call.first_message()
        if self._conversation.phase is not Phase.OPEN:
            raise Gone
        self._await(None)
        if self._context.is_out_of_memory(self._source):  # Since the handshake: its welcome may be large.
            self.close(closes.AT_CAPACITY)
            raise Gone
        return message

    async def refuse(self, close: Close) -> None:
        self.close(close)

    def welcome(self, welcome: Text) -> None:
        if self._conversation.phase is Phase.OPEN and not self._transport.is_closing():  # Not so after a long commit.
            self._transport.set_write_buffer_limits(high=self._context.limits.max_outbox_size + len(welcome.frame))
            self._transport.write(welcome.frame)
            # Its join is told to all who are in the welcome: that has as many bytes again.
            self._context.gate.take_memory(2 * len(welcome.frame))

    def send(self, notices: Notices) -> None:
        if self._conversation.phase is Phase.OPEN and not self._transport.is_closing():
            if self._room and not self._room.takes(self._transport.get_write_buffer_size(), len(notices.wire)):
                self.close(closes.TOO_SLOW)
            else:
                self._transport.write(notices.wire)

    def close(self, close: Close) -> None:
        self._finish(self._conversation.close(close))

    async def run(self, listener: Listener) -> None:
        call, self._call = self._call, None
        if (cause := self._conversation.cause) is not None:
            listener.gone(cause.reason)
            return
        self._listener = listener
        self._await(self._context.pings)
        self.resume_reading()
        for message in call.messages() if call is not None else ():  # They came together with the first one.
            self._hear(message)

    # What the ASGI call, and uvicorn, ask for

    @property
    def is_connecting(self) -> bool:
        return self._conversation.phase is Phase.CONNECTING

    def open(self, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> None:
        wire = self._conversation.accept(headers, subprotocol)
        if wire is None:
            raise Gone
        self._transport.write(wire)
        self.resume_reading()
        self.data_received(b"")  # What came with the request.

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        ending = self._conversation.refuse(status, headers, body)
        if ending is None:
            raise Gone
        self._finish(ending)

    def write(self, frame: bytes) -> None:
        if self._conversation.phase is not Phase.OPEN:
            raise Gone
        self._transport.write(frame)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def call_ended(self, ending: Close) -> None:
        if self._call is None:
            return  # The connection was handed over and goes on.
        if self.is_connecting:
            self.respond(500, (), b"internal error")
        self.close(ending)
        self._call = None

    def shutdown(self) -> None:
        if self.is_connecting:
            self.respond(503, (), b"service restart")
        self.close(closes.SERVICE_RESTART)

    def join_overdue(self) -> None:
        if self._call is not None:
            self._call.overdue()

    def ping(self) -> None:
        # A payload that can't be guessed: the pong proves that the peer has read all that came before it.
        wire = self._conversation.ping(random.getrandbits(32).to_bytes(4, "big"))
        if wire is not None:
            self._context.telemetry.outbox(self._transport.get_write_buffer_size())
            self._transport.write(wire)
            self._await(self._context.pongs)

    def pong_overdue(self) -> None:
        self._finish(self._conversation.give_up("ping timeout"))

    def close_overdue(self) -> None:
        self._finish(self._conversation.give_up("close timeout"))

    def _count(self) -> None:
        clock = self._context.clock
        if not self._budget.spend(clock.time(), clock.stalled):
            raise Violation(closes.POLICY.code, closes.POLICY.reason)

    def _alive(self) -> None:
        self._await(self._context.pings)
        # It has read all that came before: its welcome needs no room any more.
        self._transport.set_write_buffer_limits(high=self._context.limits.max_outbox_size)
        if self._room:  # By what came after the ping.
            self.pause_writing()

    def _hear(self, message: str | bytes) -> None:
        if self._listener is not None:
            self._listener.heard(message)
        elif self._call is not None:
            self._call.hear(message)

    def _finish(self, ending: Ending | None) -> None:
        """Take this step towards the end. The first one is told to whoever lives on this connection."""
        if ending is None:
            return
        if ending.wire:
            self._transport.write(ending.wire)
        if ending.step is Step.BREAK and self._call is not None and ending.cause is not None:
            self._context.telemetry.refused(ending.cause.reason, self._source)
        end_tcp(self._transport, ENDINGS[ending.step])
        if ending.cause is None:
            return
        self._await(self._context.closings)
        call, listener, self._listener = self._call, self._listener, None
        if listener is not None:
            listener.gone(ending.cause.reason)
        elif call is not None:
            call.end(ending.cause)
