import asyncio
import random
from abc import abstractmethod
from collections.abc import Iterable
from typing import cast

from wg_orchestrator.adapters.websocket.connection import Gone
from wg_orchestrator.adapters.websocket.rates import RateBudget
from wg_orchestrator.domain.events import assert_never
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.conversation import ALIVE, CONNECTING, ENDINGS, NOTHING, OPEN, Conversation, Ending, Reply
from wg_orchestrator.rfc6455.frames import Violation
from wg_orchestrator.rfc6455.handshake import Handshake
from wg_orchestrator.server.clock import OneDeadline
from wg_orchestrator.server.context import ServerContext
from wg_orchestrator.server.tcp import end_tcp
from wg_orchestrator.wire import close_codes as closes


class ConversationProtocol(OneDeadline, asyncio.Protocol):
    """A WebSocket on asyncio's callbacks: does what its `Conversation` says, and keeps its deadlines.

    A client that does not read can't keep its connection open: a connection is aborted if its closing takes longer than
    the close timeout, or if a ping is not answered within the ping timeout.
    """

    __slots__ = ("_budget", "_context", "_conversation", "_source", "_transport")

    def __init__(self, context: ServerContext, source: str, handshake: Handshake) -> None:
        """`source` is the client's address, as the gate has counted it."""
        super().__init__()
        limits = context.limits
        self._context = context
        self._source = source
        self._conversation = Conversation(handshake, limits.max_message_size, limits.max_fragments)
        self._budget = RateBudget(limits.max_frame_rate, context.clock.stalled)

    # What the subclass is told

    @abstractmethod
    def _hear(self, message: str | bytes) -> None:
        """A message has come."""

    @abstractmethod
    def _alive(self) -> None:
        """Our ping was answered."""

    @abstractmethod
    def _over(self, ending: Ending, cause: Close) -> None:
        """From now on nothing can be sent. Called once."""

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

    def data_received(self, data: bytes) -> None:
        conversation = self._conversation
        if conversation.phase is CONNECTING:  # Frames that come before the answer are read after it.
            conversation.hold(data)
            self._transport.pause_reading()
            return
        try:
            self._count()  # Count each read, too: a frame that comes byte by byte costs us as much as many frames.
            for number, (opcode, payload) in enumerate(conversation.read(data)):
                if number:
                    self._count()
                event = conversation.hear(opcode, payload)
                if event is ALIVE:
                    self._alive()
                elif event is not NOTHING:
                    self._act_on(event)
                    if self._transport.is_closing():
                        return
        except Violation as violation:
            self._finish(conversation.violate(violation))

    def _count(self) -> None:
        clock = self._context.clock
        if not self._budget.spend(clock.time(), clock.stalled):
            raise Violation(closes.POLICY.code, closes.POLICY.reason)

    def _act_on(self, event: str | bytes | Reply | Ending) -> None:
        match event:
            case str() | bytes():
                self._hear(event)
            case Reply(wire):
                self._transport.write(wire)
            case Ending():
                self._finish(event)
            case _:
                assert_never(event)

    # What we send. If it is too late, `open`, `respond` and `write` raise Gone, and `close` does nothing.

    @property
    def is_connecting(self) -> bool:
        return self._conversation.phase is CONNECTING

    def open(self, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> None:
        wire = self._conversation.accept(headers, subprotocol)
        if wire is None:
            raise Gone
        self._transport.write(wire)
        self.resume_reading()
        if self._conversation.is_holding:
            self.data_received(b"")

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        ending = self._conversation.refuse(status, headers, body)
        if ending is None:
            raise Gone
        self._finish(ending)

    def write(self, frame: bytes) -> None:
        if self._conversation.phase is not OPEN:
            raise Gone
        self._transport.write(frame)

    def close(self, close: Close) -> None:
        self._finish(self._conversation.close(close))

    def shutdown(self) -> None:
        if self.is_connecting:
            self.respond(503, (), b"service restart")
        self.close(closes.SERVICE_RESTART)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # What the deadlines call

    def ping(self) -> None:
        # The client can't guess the payload, so its pong proves that it has read all that we sent before the ping.
        wire = self._conversation.ping(random.getrandbits(32).to_bytes(4, "big"))
        if wire is not None:
            self._context.telemetry.outbox(self._transport.get_write_buffer_size())
            self._transport.write(wire)
            self._await(self._context.pongs)

    def pong_overdue(self) -> None:
        self._finish(self._conversation.give_up("ping timeout"))

    def close_overdue(self) -> None:
        self._finish(self._conversation.give_up("close timeout"))

    def _finish(self, ending: Ending | None) -> None:
        """Do what a step towards the end asks for."""
        if ending is None:
            return
        if ending.wire:
            self._transport.write(ending.wire)
        end_tcp(self._transport, ENDINGS[ending.step])
        if ending.cause is not None:
            self._await(self._context.closings)
            self._over(ending, ending.cause)
