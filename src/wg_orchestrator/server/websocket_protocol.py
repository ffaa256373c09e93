from collections.abc import Mapping

from wg_orchestrator.adapters.websocket.connection import EXTENSION, Gone, Listener
from wg_orchestrator.adapters.websocket.outbox import OutboxRoom
from wg_orchestrator.domain.endpoint import IPAddress, parse_address
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.conversation import OPEN, Ending, Step
from wg_orchestrator.rfc6455.handshake import Handshake, Request, websocket_scope
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.server.asgi_call import AsgiCall
from wg_orchestrator.server.context import ServerContext
from wg_orchestrator.server.conversation_protocol import ConversationProtocol
from wg_orchestrator.wire import close_codes as closes


class WebSocketProtocol(ConversationProtocol):
    """A peer's WebSocket: first with an ASGI call, then with a `Listener`.

    It begins an ASGI call like any other, and the scope's extensions offer this object as the `Connection`. If the
    application calls its `run`, the connection outlives the call: it goes on without task, queue or request.
    """

    __slots__ = ("_call", "_listener", "_room")

    def __init__(self, context: ServerContext, source: str, handshake: Handshake) -> None:
        """`source` is the client's address, as the gate has counted it."""
        super().__init__(context, source, handshake)
        self._call: AsgiCall | None = None
        self._listener: Listener | None = None
        self._room: OutboxRoom | None = None

    def begin(self, request: Request, scheme: str, early: bytes, refuse: Close | None) -> None:
        """Have the application answer `request`. `early` are bytes that came with it. With `refuse`, the handshake is
        accepted without the application, and the WebSocket is closed with `refuse` at once.
        """
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

    # Connection

    def local_address(self) -> IPAddress | None:
        name = self._transport.get_extra_info("sockname")
        return parse_address(name[0]) if name else None

    async def deny(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        fields = {"content-type": "text/plain; charset=utf-8", **(headers or {})}
        self.respond(status, [(name.encode(), value.encode()) for name, value in fields.items()], reason.encode())

    async def accept(self, subprotocol: str | None = None) -> None:
        if self._call is not None:
            await self._call.receive()  # Takes `websocket.connect` out of the queue.
        self.open((), subprotocol)

    async def first_message(self) -> str | bytes:
        if self._conversation.phase is not OPEN or self._call is None:
            raise Gone
        self._await(self._context.joins)
        message = await self._call.first_message()
        if self._conversation.phase is not OPEN:
            raise Gone
        self._await(None)
        if self._context.is_out_of_memory(self._source):  # Look again after the handshake: a welcome may be large.
            self.close(closes.AT_CAPACITY)
            raise Gone
        return message

    async def flush(self) -> None:
        """It is on its way."""

    async def refuse(self, close: Close) -> None:
        self.close(close)

    def welcome(self, welcome: Text) -> None:
        # The connection may have ended during the commit of its join.
        if self._conversation.phase is OPEN and not self._transport.is_closing():
            self._transport.set_write_buffer_limits(high=self._context.limits.max_outbox_size + len(welcome.frame))
            self._transport.write(welcome.frame)
            # The notices of this join go to all peers in the welcome: about as many bytes again.
            self._context.gate.take_memory(2 * len(welcome.frame))

    def send(self, notices: Notices) -> None:
        if self._conversation.phase is OPEN and not self._transport.is_closing():
            if self._room and not self._room.takes(self._transport.get_write_buffer_size(), len(notices.wire)):
                self.close(closes.TOO_SLOW)
            else:
                self._transport.write(notices.wire)

    async def run(self, listener: Listener) -> None:
        call, self._call = self._call, None
        if (cause := self._conversation.cause) is not None:
            listener.gone(cause)
            return
        self._listener = listener
        self._await(self._context.pings)
        self.resume_reading()
        for message in call.messages() if call is not None else ():  # Messages that came together with the first one.
            self._hear(message)

    # The call

    def join_overdue(self) -> None:
        if self._call is not None:
            self._call.overdue()

    def call_ended(self, ending: Close) -> None:
        if self._call is None:
            return  # The connection was handed over and goes on.
        if self.is_connecting:
            self.respond(500, (), b"internal error")
        self.close(ending)
        self._call = None

    # What the conversation and the transport report

    def pause_writing(self) -> None:
        self._room = OutboxRoom(self._context.limits.max_outbox_size, self._transport.get_write_buffer_size())
        if self._call is not None:
            self._call.pause_writing()

    def resume_writing(self) -> None:
        self._room = None
        if self._call is not None:
            self._call.resume_writing()

    def _alive(self) -> None:
        self._await(self._context.pings)
        # The peer has read all that came before the ping, so its welcome needs no room any more.
        self._transport.set_write_buffer_limits(high=self._context.limits.max_outbox_size)
        if self._room:  # What was sent after the ping still fills the outbox: begin anew with that.
            self.pause_writing()

    def _hear(self, message: str | bytes) -> None:
        if self._listener is not None:
            self._listener.heard(message)
        elif self._call is not None:
            self._call.hear(message)

    def _over(self, ending: Ending, cause: Close) -> None:
        call, listener, self._listener = self._call, self._listener, None
        if listener is not None:
            listener.gone(cause)
        elif call is not None:
            if ending.step is Step.BREAK:
                self._context.telemetry.refused(cause.reason, self._source)
            call.end(cause)
