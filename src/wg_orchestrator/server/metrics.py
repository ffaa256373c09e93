import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, start_http_server

from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.server.listener import address_of


@asynccontextmanager
async def serving_metrics(host: str, port: int | None, registry: CollectorRegistry) -> AsyncIterator[str | None]:
    """Serve Prometheus' /metrics in a thread, and yield its `host:port`. If `port` is None, serve nothing and yield
    None. Raises CannotStart.
    """
    if port is None:
        yield None
        return
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise CannotStart(f"can't listen on {host} port {port}: {error.strerror}") from error
    try:
        yield address_of(server.socket)
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
