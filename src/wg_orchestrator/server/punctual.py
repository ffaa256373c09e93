import asyncio
import random
from abc import abstractmethod
from typing import Any

from wg_orchestrator.adapters.websocket.outbox import OutboxRoom
from wg_orchestrator.rfc6455.conversation import Conversation, Ending
from wg_orchestrator.server.asgi_call import AsgiCall
from wg_orchestrator.server.clock import Deadlines
from wg_orchestrator.server.context import ServerContext


class Punctual:
    """What a WebSocket owes, and what becomes of it when that is due: one thing at a time, at the most."""

    __slots__ = ("_deadline",)

    _call: AsgiCall | None
    _context: ServerContext
    _conversation: Conversation
    _room: OutboxRoom | None
    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._deadline: Deadlines[Any] | None = None

    @abstractmethod
    def _finish(self, ending: Ending | None) -> None: ...

    @abstractmethod
    def pause_writing(self) -> None: ...

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

    def _alive(self) -> None:
        self._await(self._context.pings)
        # It has read all that came before: its welcome needs no room any more.
        self._transport.set_write_buffer_limits(high=self._context.limits.max_outbox_size)
        if self._room:  # By what came after the ping.
            self.pause_writing()

    def _await(self, deadline: Deadlines[Any] | None) -> None:
        """Owe this now, and nothing else; None is nothing at all."""
        if self._deadline is not None:
            self._deadline.discard(self)
        self._deadline = deadline
        if deadline is not None:
            deadline.add(self)
