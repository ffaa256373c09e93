from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from wg_orchestrator import __version__
from wg_orchestrator.adapters.http.health import health_router
from wg_orchestrator.container import Container


def create_app(container: Container | None = None) -> FastAPI:
    """The service as an ASGI application, with a container of its own unless one is given.

    `uvicorn --factory wg_orchestrator.app:create_app` runs it too, but keeps a task per peer and leaves silent peers
    to uvicorn; `wg-orchestrator serve` plugs in our own WebSocket protocol class.
    """
    container = container or Container()
    peers = container.peers()
    ready = False

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal ready
        ready = True
        yield
        ready = False
        await peers.drained()

    app = FastAPI(title="wg-orchestrator", version=__version__, lifespan=lifespan)
    app.include_router(peers.router)
    app.include_router(health_router(lambda: ready))
    app.state.container = container
    return app
