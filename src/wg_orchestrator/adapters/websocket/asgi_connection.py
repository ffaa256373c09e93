from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import anyio
from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse
from starlette.websockets import WebSocketState

from wg_orchestrator.adapters.websocket.connection import Gone, Listener
from wg_orchestrator.adapters.websocket.outbox import OutboxRoom
from wg_orchestrator.domain.endpoint import IPAddress, parse_address
from wg_orchestrator.rfc6455.close import CLOSED_BY_PEER, Close
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.settings import ConnectionLimits
from wg_orchestrator.wire import close_codes as closes

_LOST = Close(1006, "connection lost")
_CAUSES = {close.code: close for close in (_LOST, closes.SERVICE_RESTART)}
"""By the code of a `websocket.disconnect` event: these the server says, all others the peer."""


class AsgiConnection:
    """A Connection on what every ASGI server offers: two tasks and an outbox for as long as the peer lives.

    Serves where `WebSocketProtocol` is not plugged in: plain `uvicorn`, Starlette's TestClient. What only a server
    can do, noticing a silent peer and aborting its socket, is up to that server there.
    """

    def __init__(self, websocket: WebSocket, limits: ConnectionLimits) -> None:
        self._websocket = websocket
        self._limits = limits
        self._waiting = 0
        self._room = OutboxRoom(limits.max_outbox_size, waiting=0)
        self._outbox: deque[Text] = deque()
        self._arrived = anyio.Event()
        self._scope = anyio.CancelScope()
        self._close: Close | None = None
        self._gone = False
        self._ending = _LOST
        self._listener: Listener | None = None

    def local_address(self) -> IPAddress | None:
        server = self._websocket.scope.get("server")
        return parse_address(server[0]) if server else None

    async def deny(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        await self._websocket.send_denial_response(PlainTextResponse(reason, status, headers))

    async def accept(self, subprotocol: str | None = None) -> None:
        try:
            await self._websocket.accept(subprotocol)
        except OSError as error:
            raise Gone from error

    async def first_message(self) -> str | bytes:
        with anyio.fail_after(self._limits.join_timeout):
            event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            raise Gone
        return _message(event)

    async def flush(self) -> None:
        with suppress(WebSocketDisconnect):
            await self._send_queued()

    async def refuse(self, close: Close) -> None:
        if self._websocket.application_state is WebSocketState.DISCONNECTED:
            return
        with anyio.move_on_after(self._limits.close_timeout, shield=True), suppress(WebSocketDisconnect):
            await self._websocket.close(close.code, close.reason)

    def welcome(self, welcome: Text) -> None:
        size = len(welcome.frame)
        self._room = OutboxRoom(self._limits.max_outbox_size, waiting=size)
        self._enqueue((welcome,), size)

    def send(self, notices: Notices) -> None:
        if self._room.takes(self._waiting, len(notices.wire)):
            self._enqueue(notices.texts, len(notices.wire))
        else:
            self.close(closes.TOO_SLOW)

    def _enqueue(self, texts: Iterable[Text], size: int) -> None:
        if not self._gone:
            self._outbox.extend(texts)
            self._waiting += size
            self._arrived.set()

    def close(self, close: Close) -> None:
        if not self._gone:
            self._close = close
            self._end(close)

    async def run(self, listener: Listener) -> None:
        if self._gone:
            listener.gone(self._ending)
        else:
            self._listener = listener
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write)
                    code = await self._read(listener)
                    self._end(_CAUSES.get(code, Close(code, CLOSED_BY_PEER)))
        finally:
            self._end(_LOST)
            if self._close is not None:
                await self.refuse(self._close)

    async def _write(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                self._arrived = anyio.Event()
                await self._send_queued()
        except WebSocketDisconnect:
            self._end(_LOST)

    async def _send_queued(self) -> None:
        while self._outbox:
            text = self._outbox.popleft()
            await self._websocket.send_text(text.payload.decode())
            self._waiting -= len(text.frame)

    async def _read(self, listener: Listener) -> int:
        """The close code, when the client is gone."""
        while (event := await self._websocket.receive())["type"] != "websocket.disconnect":
            listener.heard(_message(event))
        # A server says 1005 of a close frame without a code, and uvicorn of a connection that was lost, too. It gives a
        # reason, if only an empty one, where there was a frame.
        code: int = event.get("code", 1005)
        return code if code != 1005 or "reason" in event else 1006

    def _end(self, cause: Close) -> None:
        if self._gone:
            return
        self._gone, self._ending = True, cause
        self._scope.cancel()
        if self._listener is not None:
            self._listener.gone(cause)


def _message(event: MutableMapping[str, Any]) -> str | bytes:
    text: str | None = event.get("text")
    return event["bytes"] if text is None else text
