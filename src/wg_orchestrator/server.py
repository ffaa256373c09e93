import asyncio
import socket

import structlog
import uvicorn

from wg_orchestrator.adapters.websocket.http_protocol import UpgradingHttpProtocol
from wg_orchestrator.app import create_app
from wg_orchestrator.container import Container

logger = structlog.get_logger("wg_orchestrator")


class Server(uvicorn.Server):
    """uvicorn with our WebSocket protocol class, on a socket of its own."""

    def __init__(self, container: Container) -> None:
        """Bind the socket that the settings name. Raises OSError if it can't be had."""
        settings = container.settings()
        super().__init__(
            uvicorn.Config(
                create_app(container),
                http=UpgradingHttpProtocol.bound_by(container.connection_limits()),
                ws="none",
                interface="asgi3",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=settings.shutdown_timeout,
            )
        )
        self.listener = socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=self.config.backlog,
            dualstack_ipv6=settings.host == "::" and socket.has_dualstack_ipv6(),
        )
        self._network = settings.network
        self.ready = asyncio.Event()

    @property
    def address(self) -> str:
        """Where peers reach it: `host:port`, the host in brackets if it is an IPv6 address."""
        host, port = self.listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        logger.info("serving", url=f"ws://{self.address}/tenants/{{tenant_id}}", network=str(self._network))
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # A second Ctrl-C spares the waiting for peers, not the application's end in good order.
            await self.lifespan.shutdown()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGINT or SIGTERM, or until `should_exit` is set."""
        await super().serve(sockets or [self.listener])
