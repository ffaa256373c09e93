import asyncio
import logging
from collections import deque
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp

from wg_orchestrator.adapters.websocket.connection import Gone
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.frames import Opcode, frame
from wg_orchestrator.wire.close_codes import INTERNAL_ERROR

if TYPE_CHECKING:
    from wg_orchestrator.server.websocket_protocol import WebSocketProtocol

logger = logging.getLogger("wg_orchestrator.websocket")

Event = MutableMapping[str, Any]

OVERDUE = "wg_orchestrator.overdue"
"""Among the types of a call's events, ours alone: the first message is overdue."""


class AsgiCall:
    """The first life of a connection: an ASGI call, with its task, its queue and its scope.

    https://asgi.readthedocs.io/en/latest/specs/www.html#websocket. It ends when the application returns; if the
    connection was handed over by then, that goes on without it.
    """

    __slots__ = ("_denial", "_drained", "_protocol", "_receiver", "unread")

    def __init__(self, protocol: "WebSocketProtocol") -> None:
        self._protocol = protocol
        self.unread: deque[Event] = deque([{"type": "websocket.connect"}])
        self._receiver: asyncio.Future[None] | None = None
        self._drained: asyncio.Event | None = None
        self._denial: Event | None = None

    async def run(self, app: ASGIApp, scope: MutableMapping[str, Any]) -> None:
        ending = INTERNAL_ERROR
        try:
            await app(scope, self.receive, self.send)
            ending = Close(1000, "")
        except Gone:
            ending = Close(1000, "")  # What the application still had to say, nobody is there to hear.
        except Exception:
            logger.exception("exception in the ASGI application")
        finally:  # Also when the call was cancelled.
            self._protocol.call_ended(ending)

    def deliver(self, event: Event) -> None:
        self.unread.append(event)
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    def pause_writing(self) -> None:
        self._drained = asyncio.Event()

    def resume_writing(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    async def receive(self) -> Event:
        while not self.unread:
            self._receiver = asyncio.get_running_loop().create_future()
            await self._receiver
        event = self.unread[0]
        if event["type"] != "websocket.disconnect":  # That one is the answer for ever after.
            self.unread.popleft()
        if not self.unread:
            self._protocol.resume_reading()
        return event

    async def first_message(self) -> str | bytes:
        """Raises TimeoutError when it is overdue, Gone when there will be none."""
        event = await self.receive()
        if event["type"] == OVERDUE:
            raise TimeoutError
        if event["type"] == "websocket.disconnect":
            raise Gone
        return _message(event)

    def unread_messages(self) -> Iterator[str | bytes]:
        """What the client has sent and the application has not received."""
        return (_message(event) for event in self.unread if event["type"] == "websocket.receive")

    async def send(self, event: Event) -> None:
        if self._drained is not None:
            await self._drained.wait()
        kind = event["type"]
        if kind == "websocket.accept":
            self._protocol.open(event.get("headers", ()), event.get("subprotocol"))
        elif kind == "websocket.send":
            text = event.get("text")
            encoded = frame(Opcode.BINARY, event["bytes"]) if text is None else frame(Opcode.TEXT, text.encode())
            self._protocol.write(encoded)
        elif kind == "websocket.close" and self._protocol.connecting:
            self._protocol.respond(403, (), b"")
        elif kind == "websocket.close":
            self._protocol.close(Close(event.get("code", 1000), event.get("reason") or ""))
        elif kind == "websocket.http.response.start":
            self._denial = {**event, "body": b""}
        elif kind == "websocket.http.response.body" and self._denial is not None:
            self._denial["body"] += event.get("body", b"")
            if not event.get("more_body", False):
                self._protocol.respond(self._denial["status"], self._denial.get("headers", ()), self._denial["body"])
        else:
            raise RuntimeError(f"unexpected ASGI event {kind!r}")


def _message(event: Event) -> str | bytes:
    text: str | None = event.get("text")
    return event["bytes"] if text is None else text
