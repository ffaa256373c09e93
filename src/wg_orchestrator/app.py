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
    """The ASGI application: the peers' endpoint answers WebSockets, FastAPI answers the rest.

    A WebSocket does not pass through FastAPI's middleware and router. They have nothing to do for it, and would make
    each join slower.
    """

    def __init__(self, peers: ASGIApp, nowhere: ASGIApp, **settings: Any) -> None:
        """`peers` answers WebSockets at `/tenants/{tenant_id}`, `nowhere` all requests for paths that don't exist."""
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
    """The service as an ASGI application. Without a container given, it makes one, and sets up logging as the settings
    say.

    The container's services run during its lifespan. When the lifespan ends, all peers are closed and leave, within the
    time of the container's grace.

    `uvicorn --factory wg_orchestrator.app:create_app` runs it, too. There each peer needs tasks, and it is uvicorn that
    pings peers and closes silent ones. `wg-orchestrator serve` has our own WebSocket protocol class instead.
    """
    if container is None:
        container = Container()
        configure_logging(container.settings().log_level, container.settings().log_format)
    peers, readiness, grace = container.peers(), container.readiness(), container.grace()
    container.view()  # It answers what other nodes ask.

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as services:
            for service in container.services():
                try:
                    await services.enter_async_context(service)
                except Exception as error:
                    app.state.fault = str(error)
                    raise
            readiness.start()
            yield
            readiness.stop()
            grace.begin()

    # FastAPI's telemetry would show only plain HTTP requests: a WebSocket does not pass through FastAPI.
    telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = Service(
        peers,
        Nowhere(container.peer_telemetry()),
        title="wg-orchestrator",
        version=__version__,
        lifespan=lifespan,
        telemetry=telemetry,
        # The peers' port serves only what peers and probes need, and does not redirect from similar paths.
        openapi_url=None,
        redirect_slashes=False,
    )
    app.include_router(health_router(readiness))
    app.state.container = container
    return app
