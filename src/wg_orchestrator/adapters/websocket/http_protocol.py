import asyncio
from functools import partial
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from wg_orchestrator.adapters.websocket.limits import ConnectionLimits
from wg_orchestrator.adapters.websocket.protocol import WebSocketProtocol


class UpgradingHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with our WebSocketProtocol to upgrade to: give it to `uvicorn.Config(http=…)`.

    uvicorn's own way writes the request anew for the WebSocket class to parse a second time, and leaves itself, its
    parser and the request in a reference cycle. Here the request is handed over as it is, and the cycle is cut.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits

    @classmethod
    def bound_by(cls, limits: ConnectionLimits) -> type[asyncio.Protocol]:
        """The class for `uvicorn.Config(http=…)`, with the limits of each connection."""
        return cast("type[asyncio.Protocol]", partial(cls, limits=limits))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_websocket: bool | None = None

    def _should_upgrade(self) -> bool:
        if self._is_websocket is None:  # uvicorn asks three times in a request.
            self._is_websocket = self._get_upgrade() == b"websocket"
        return self._is_websocket

    def handle_websocket_upgrade(self) -> None:
        self.connections.discard(self)
        protocol = WebSocketProtocol(self.app, self.server_state, self._limits)
        protocol.connection_made(self.transport)
        protocol.upgrade(cast("dict[str, Any]", self.scope), self.url)
        self.transport.set_protocol(protocol)
        self.parser = None  # type: ignore[assignment]
