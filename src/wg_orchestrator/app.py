import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Protocol, runtime_checkable

import anyio
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import WebSocketRoute

from wg_orchestrator import __version__
from wg_orchestrator.adapters.http.health import health_router
from wg_orchestrator.adapters.websocket.endpoint import Nowhere
from wg_orchestrator.container import Container
from wg_orchestrator.telemetry.logs import configure_logging


@runtime_checkable
class SharedStore(Protocol):
    """What a TenantRepository has besides its port if other nodes share its store."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Keep up with the others meanwhile."""
        ...

    def is_ready(self) -> bool:
        """Whether joins can be committed now."""
        ...

    def hurry(self, seconds: float) -> None:
        """Have the end of `running` take no longer than that, give or take a moment."""
        ...


def create_app(container: Container | None = None) -> FastAPI:
    """The service as an ASGI application. Without a container given, it has one of its own, and sets up logging as
    the settings say.

    `uvicorn --factory wg_orchestrator.app:create_app` runs it too, but keeps a task per peer and leaves silent peers
    to uvicorn; `wg-orchestrator serve` plugs in our own WebSocket protocol class.
    """
    if container is None:
        container = Container()
        configure_logging(container.settings().log_level, container.settings().log_format)
    peers, tenants, readiness = container.peers(), container.tenants(), container.readiness()
    shared = tenants if isinstance(tenants, SharedStore) else None
    if shared is not None:
        readiness.require(shared.is_ready)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with nullcontext() if shared is None else shared.running():
            readiness.start()
            yield
            readiness.stop()
            clock = asyncio.get_running_loop().time
            ends_at = app.state.ends_at or clock() + container.settings().shutdown_timeout
            # A store that does not answer holds up the leaves. They are told by the end of this node's lease then.
            with anyio.move_on_after(ends_at - clock()):
                await peers.drained()
            if shared is not None:
                shared.hurry(ends_at - clock())

    # Spans would end where a connection is handed over, and say nothing of its life.
    telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(
        title="wg-orchestrator",
        version=__version__,
        lifespan=lifespan,
        telemetry=telemetry,
        # On the peers' port there is what peers and probes need, at the very paths where it is.
        openapi_url=None,
        redirect_slashes=False,
    )
    # An ASGI application among the routes: FastAPI's dependencies have nothing to do for a peer.
    app.router.routes.append(WebSocketRoute("/tenants/{tenant_id}", peers))
    app.include_router(health_router(readiness))
    app.router.default = Nowhere(container.telemetry())
    app.state.container = container
    app.state.ends_at = None
    return app
