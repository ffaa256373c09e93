import asyncio
import math
import resource
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog
import uvicorn

from wg_orchestrator.app import create_app
from wg_orchestrator.container import Container
from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.server.certificate import Certificate, certificate_of
from wg_orchestrator.server.context import ServerContext
from wg_orchestrator.server.listener import BACKLOG, address_of, listening
from wg_orchestrator.server.memory import memory_gauge, memory_to_use
from wg_orchestrator.server.metrics import serving_metrics
from wg_orchestrator.server.operators import operators_token, serving_operators
from wg_orchestrator.server.request_protocol import RequestProtocol
from wg_orchestrator.server.signals import SignalledServer
from wg_orchestrator.server.tls import READ_SIZE, TlsConnection
from wg_orchestrator.settings.values import is_loopback

logger = structlog.get_logger("wg_orchestrator")

TICK = 0.1
"""Seconds between two calls of `on_tick`. uvicorn sets this pace."""


class Server(SignalledServer):
    """uvicorn with our protocol classes, on a socket that it opens itself.

    Like any ASGI server it starts and ends the application by its lifespan. When the lifespan has ended, all peers have
    been closed and have left. Server and application also share three objects of the container: `readiness`, `grace`
    (the time for the stop) and `telemetry`.
    """

    def __init__(
        self, container: Container, *, shares_port: bool = False, on_serving: Callable[[], None] = lambda: None
    ) -> None:
        """`shares_port`: other processes may listen on its port, too. `on_serving` is called as soon as it serves."""
        self._shares_port = shares_port
        self._on_serving = on_serving
        self._settings = settings = container.settings()
        self._readiness, self._grace, self._telemetry = container.readiness(), container.grace(), container.telemetry()
        self._app = create_app(container)
        # Only who is asked keeps a log of events.
        token = operators_token(settings.admin_token_file)
        self._operators = None if settings.admin_port is None else container.operators(token=token)
        super().__init__(
            uvicorn.Config(
                self._app,
                http="httptools",
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
        self.config.load()
        limits = settings
        if settings.max_memory is None:
            limits = settings.model_copy(update={"max_memory": memory_to_use(settings.workers)})
        max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._context = context = ServerContext(
            self.config,
            self.server_state,
            settings,
            limits,
            max_files,
            self._telemetry,
        )
        context.telemetry.watch("connections", "Connections, WebSockets or not yet", lambda: context.gate.open)
        context.telemetry.watch("tenants", "Tenants that have peers", container.tenants().count)
        self._measures_memory = bool(limits.max_memory)
        self._chores: list[tuple[int, Callable[[], object]]] = []
        self._listener: socket.socket | None = None
        self._certificate: Certificate | None = None
        self.metrics_address: str | None = None
        self.admin_address: str | None = None
        self.ready = asyncio.Event()
        """Set when it serves."""

    @property
    def address(self) -> str:
        """`host:port` that it listens on, the host in brackets if it is an IPv6 address. RuntimeError: not serving."""
        if self._listener is None:
            raise RuntimeError("not serving")
        return address_of(self._listener)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP, or until `should_exit` is set. Raises CannotStart."""
        settings, registry = self._settings, self._telemetry.registry
        async with AsyncExitStack() as parts:
            self._certificate = certificate_of(settings)
            self._listener = parts.enter_context(listening(settings, shares_port=self._shares_port))
            tls = self._certificate.context if self._certificate is not None else None
            operators = serving_operators(settings, self._operators, tls)
            self.admin_address = await parts.enter_async_context(operators)
            metrics = serving_metrics(settings.metrics_host, settings.metrics_port, registry)
            self.metrics_address = await parts.enter_async_context(metrics)
            self._every(1.0, self._telemetry.sum_up)
            if self._measures_memory:
                gauge, gate = parts.enter_context(memory_gauge()), self._context.gate
                gate.read_memory = gauge.read
                self._every(1.0, lambda: gate.measure_memory(gauge.read()))
            if self._certificate is not None:
                self._every(settings.tls_reload_interval, self._certificate.renew)
            await super().serve([self._listener])

    def _every(self, seconds: float, do: Callable[[], object]) -> None:
        self._chores.append((round(seconds / TICK), do))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise CannotStart(getattr(self._app.state, "fault", "the application has not started"))
        [listener] = sockets or []
        tls, loop = self._certificate, asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(self._over_tls(tls) if tls else self._plain, sock=listener, backlog=BACKLOG)
        ]
        self.started = True
        self._context.telemetry.watch("tasks", "asyncio tasks", lambda: len(asyncio.all_tasks(loop)))
        self._on_serving()
        logger.info(
            "serving",
            url=f"{'wss' if tls else 'ws'}://{self.address}/tenants/{{tenant_id}}",
            network=str(self._settings.network),
            **({"metrics": f"http://{self.metrics_address}/metrics"} if self.metrics_address else {}),
            **({"admin": f"{'https' if tls else 'http'}://{self.admin_address}"} if self.admin_address else {}),
        )
        if self._settings.admission == "open" and not is_loopback(self._settings.host):
            logger.warning("everybody who reaches this address may join", settings="--invitation-keys, --oidc-issuer")
        self.ready.set()

    def _plain(self) -> RequestProtocol:
        return RequestProtocol(self._context)

    def _over_tls(self, certificate: Certificate) -> Callable[[], TlsConnection]:
        # Not the event loop's own TLS: that reports a connection only when its TLS handshake is done.
        buffer = bytearray(READ_SIZE)
        return lambda: TlsConnection(self._plain(), certificate.context, buffer)

    async def on_tick(self, counter: int) -> bool:
        self._context.telemetry.lagged(self._context.clock.beat())
        for ticks, do in self._chores:
            if counter % ticks == 0:
                do()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Report that it is not ready, and go on for the shutdown delay. Then end the application, which closes its
        peers. At last cut the connections that are left.
        """
        self._readiness.stop()
        self._context.clock.stop()
        await self._pause(self._settings.shutdown_delay)
        for server in self.servers:
            server.close()
        self._grace.begin()
        ending = asyncio.create_task(self.lifespan.shutdown())
        while not ending.done():
            await asyncio.wait([ending], timeout=TICK)
            if self.force_exit:
                self._grace.cut()
        self.config.timeout_graceful_shutdown = max(1, math.floor(self._grace.left()))
        await super().shutdown(sockets)

    async def _pause(self, seconds: float) -> None:
        for _ in range(math.ceil(seconds / TICK)):
            if not self.force_exit:
                await asyncio.sleep(TICK)
