import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, Protocol

from starlette.types import ASGIApp

from wg_orchestrator.adapters.websocket.connection import Gone
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.frames import Opcode, frame
from wg_orchestrator.wire.close_codes import INTERNAL_ERROR

logger = logging.getLogger("wg_orchestrator.websocket")

Event = MutableMapping[str, Any]

_OVERDUE = "wg_orchestrator.overdue"
"""An event type of our own, not of ASGI: the first message has not come in time."""


class Called(Protocol):
    """The connection that an ASGI call serves. If it is too late, `open`, `respond` and `write` raise Gone, and `close`
    does nothing.
    """

    @property
    def is_connecting(self) -> bool:
        """Whether the handshake has no answer yet."""
        ...

    def open(self, headers: Iterable[tuple[bytes, bytes]], subprotocol: str | None) -> None: ...
    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None: ...
    def write(self, frame: bytes) -> None: ...
    def close(self, close: Close) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def call_ended(self, ending: Close) -> None: ...


class AsgiCall:
    """The ASGI call that a connection begins with: its task, its queue and its scope.

    https://asgi.readthedocs.io/en/latest/specs/www.html#websocket. The call ends when the application returns. If the
    application has handed the connection over by then, the connection goes on without the call.
    """

    __slots__ = ("_connection", "_denial", "_drained", "_is_paused", "_loop", "_receiver", "_unread")

    def __init__(self, connection: Called, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._is_paused = False
        self._unread: deque[Event] = deque([{"type": "websocket.connect"}])
        self._receiver: asyncio.Future[None] | None = None
        self._drained: asyncio.Event | None = None
        self._denial: Event | None = None

    async def run(self, app: ASGIApp, scope: MutableMapping[str, Any]) -> None:
        ending = INTERNAL_ERROR
        try:
            await app(scope, self.receive, self.send)
            ending = Close(1000, "")
        except Gone:
            ending = Close(1000, "")  # The client went first. That is no error of the application.
        except Exception:
            logger.exception("exception in the ASGI application")
        finally:  # Also if the call was cancelled.
            self._connection.call_ended(ending)

    # What the connection says

    def hear(self, message: str | bytes) -> None:
        if self._unread and not self._is_paused:
            self._is_paused = True
            self._connection.pause_reading()
        self._deliver({"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message})

    def overdue(self) -> None:
        """The first message has not come in time."""
        self._deliver({"type": _OVERDUE})

    def end(self, cause: Close) -> None:
        self.resume_writing()
        self._deliver({"type": "websocket.disconnect", "code": cause.code, "reason": cause.reason})

    def pause_writing(self) -> None:
        self._drained = asyncio.Event()

    def resume_writing(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    # What the application asks for

    async def receive(self) -> Event:
        while not self._unread:
            self._receiver = self._loop.create_future()
            await self._receiver
        event = self._unread[0]
        if event["type"] != "websocket.disconnect":  # A disconnect stays: each later `receive` returns it.
            self._unread.popleft()
        if self._is_paused and not self._unread:
            self._is_paused = False
            self._connection.resume_reading()
        return event

    async def first_message(self) -> str | bytes:
        """The client's first message. Raises TimeoutError if it is overdue, Gone if the connection has ended."""
        event = await self.receive()
        if event["type"] == _OVERDUE:
            raise TimeoutError
        if event["type"] == "websocket.disconnect":
            raise Gone
        return _message(event)

    def messages(self) -> Iterator[str | bytes]:
        """The messages that have come and that the application has not received."""
        return (_message(event) for event in self._unread if event["type"] == "websocket.receive")

    async def send(self, event: Event) -> None:
        if self._drained is not None:
            await self._drained.wait()
        kind = event["type"]
        if kind == "websocket.accept":
            self._connection.open(event.get("headers", ()), event.get("subprotocol"))
        elif kind == "websocket.send":
            message = _message(event)
            if isinstance(message, bytes):
                self._connection.write(frame(Opcode.BINARY, message))
            else:
                self._connection.write(frame(Opcode.TEXT, message.encode()))
        elif kind == "websocket.close" and self._connection.is_connecting:
            self._connection.respond(403, (), b"")
        elif kind == "websocket.close":
            self._connection.close(Close(event.get("code", 1000), event.get("reason") or ""))
        elif kind == "websocket.http.response.start":
            self._denial = {**event, "body": b""}
        elif kind == "websocket.http.response.body" and self._denial is not None:
            self._denial["body"] += event.get("body", b"")
            if not event.get("more_body", False):
                self._connection.respond(self._denial["status"], self._denial.get("headers", ()), self._denial["body"])
        else:
            raise RuntimeError(f"unexpected ASGI event {kind!r}")

    def _deliver(self, event: Event) -> None:
        self._unread.append(event)
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)


def _message(event: Event) -> str | bytes:
    text: str | None = event.get("text")
    return event["bytes"] if text is None else text
