from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import Match, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from wg_orchestrator import __version__
from wg_orchestrator.adapters.http.health import health_router
from wg_orchestrator.adapters.websocket.endpoint import Nowhere
from wg_orchestrator.container import Container
from wg_orchestrator.telemetry.logs import configure_logging


class Service(FastAPI):
    """The peers' endpoint for what is a WebSocket, and FastAPI for the rest.

    FastAPI's middleware and its router have nothing to do for a peer, and would take some of the time of each join.
    """

    def __init__(self, peers: ASGIApp, nowhere: ASGIApp, **settings: Any) -> None:
        """`nowhere` answers at all paths where there is nothing."""
        super().__init__(**settings)
        self.router.default = self._nowhere = nowhere
        self._peers = WebSocketRoute("/tenants/{tenant_id}", peers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await super().__call__(scope, receive, send)
            return
        if self.root_path:
            scope["root_path"] = self.root_path
        match, found = self._peers.matches(scope)
        if match is Match.FULL:
            scope.update(found)
            await self._peers.app(scope, receive, send)
        else:
            await self._nowhere(scope, receive, send)


def create_app(container: Container | None = None) -> Service:
    """The service as an ASGI application. Without a container given, it has one of its own, and sets up logging as
    the settings say.

    Its lifespan is that of the container's services: at its end peers are let go, and have left, in the container's
    grace.

    `uvicorn --factory wg_orchestrator.app:create_app` runs it too, but keeps a task per peer and leaves silent peers
    to uvicorn; `wg-orchestrator serve` plugs in our own WebSocket protocol class.
    """
    if container is None:
        container = Container()
        configure_logging(container.settings().log_level, container.settings().log_format)
    peers, readiness, grace = container.peers(), container.readiness(), container.grace()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as services:
            for service in container.services():
                await services.enter_async_context(service)
            readiness.start()
            yield
            readiness.stop()
            grace.begin()

    # Spans would end where a connection is handed over, and say nothing of its life.
    telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = Service(
        peers,
        Nowhere(container.peer_telemetry()),
        title="wg-orchestrator",
        version=__version__,
        lifespan=lifespan,
        telemetry=telemetry,
        # On the peers' port there is what peers and probes need, at the very paths where it is.
        openapi_url=None,
        redirect_slashes=False,
    )
    app.include_router(health_router(readiness))
    app.state.container = container
    return app
