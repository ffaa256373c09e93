import asyncio
import math
import random
import resource
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Thread
from types import FrameType
from wsgiref.simple_server import WSGIServer

import structlog
import uvicorn
from prometheus_client import start_http_server

from wg_orchestrator.adapters.websocket.context import ServerContext
from wg_orchestrator.adapters.websocket.protocol import WebSocketProtocol
from wg_orchestrator.adapters.websocket.request_protocol import RequestProtocol
from wg_orchestrator.adapters.websocket.tls import READ_SIZE, TlsConnection
from wg_orchestrator.app import create_app
from wg_orchestrator.certificate import BadCertificate, Certificate
from wg_orchestrator.container import Container
from wg_orchestrator.memory import MemoryGauge, memory_limit
from wg_orchestrator.settings import Settings

logger = structlog.get_logger("wg_orchestrator")

_TICK = 0.1
"""Seconds between two calls of `on_tick`, by uvicorn."""

_SHARE_OF_MEMORY = 0.8
"""Of what a container may use, the kernel's buffers for its connections take a part."""


class CannotStart(Exception):
    """What the settings ask for can't be had."""


class Server(uvicorn.Server):
    """uvicorn with our protocol classes, on a socket of its own."""

    def __init__(
        self, container: Container, *, shares_port: bool = False, on_serving: Callable[[], None] = lambda: None
    ) -> None:
        """Bind what the settings name, the port so that others may too if it `shares_port`. Raises CannotStart."""
        self._shares_port = shares_port
        self._on_serving = on_serving
        self._settings = settings = container.settings()
        self._container = container
        super().__init__(
            uvicorn.Config(
                app := create_app(container),
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
        self._app = app
        self.config.load()
        self._certificate = _certificate(settings)
        limits, telemetry = container.gate_limits(), container.telemetry()
        if settings.max_memory is None:
            share = _SHARE_OF_MEMORY / settings.workers  # Each of them sees only what it uses itself.
            limits = replace(limits, max_memory=round(share * (memory_limit() or 0)))
        max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._context = ServerContext(
            self.config, self.server_state, container.connection_limits(), limits, max_files, telemetry
        )
        telemetry.gauge("connections", "Connections, WebSockets or not yet", lambda: self._context.gate.open)
        telemetry.gauge("tenants", "Tenants that have peers", container.tenants().count)
        self._memory = MemoryGauge() if limits.max_memory else None
        if self._memory:
            self._context.gate.read_memory = self._memory.read
        self.listener = self._listen()
        self._metrics = self._serve_metrics()
        self.ready = asyncio.Event()
        self._told: list[int] = []

    @property
    def address(self) -> str:
        """Where peers reach it: `host:port`, the host in brackets if it is an IPv6 address."""
        return _address(self.listener)

    @property
    def metrics_address(self) -> str | None:
        return _address(self._metrics[0].socket) if self._metrics else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise CannotStart("the application has not started")
        tls, loop = self._certificate, asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                self._over_tls(tls) if tls else self._plain, sock=self.listener, backlog=self.config.backlog
            )
        ]
        self.started = True
        self._context.telemetry.gauge("tasks", "asyncio tasks", lambda: len(asyncio.all_tasks(loop)))
        self._on_serving()
        logger.info(
            "serving",
            url=f"{'wss' if tls else 'ws'}://{self.address}/tenants/{{tenant_id}}",
            network=str(self._settings.network),
            **({"metrics": f"http://{self.metrics_address}/metrics"} if self._metrics else {}),
        )
        self.ready.set()

    def _plain(self) -> RequestProtocol:
        return RequestProtocol(self._context)

    def _over_tls(self, certificate: Certificate) -> Callable[[], TlsConnection]:
        # The event loop's own TLS tells nobody of a connection before its handshake is done.
        buffer = bytearray(READ_SIZE)
        return lambda: TlsConnection(self._plain(), certificate.context, buffer)

    async def on_tick(self, counter: int) -> bool:
        self._context.telemetry.lagged(self._context.clock.beat())
        if counter % round(1 / _TICK) == 0:
            self._context.telemetry.sum_up()
            if self._memory:
                self._context.gate.measure_memory(self._memory.read())
        if self._certificate and counter % round(self._settings.tls_reload_interval / _TICK) == 0:
            self._renew(self._certificate)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that it is not ready; then let the peers go, at the pace at which another node takes them; then end."""
        self._container.readiness().stop()
        self._context.clock.stop()
        await self._pause(self._settings.shutdown_delay)
        for server in self.servers:
            server.close()
        self._container.peers().stop()
        self._container.notifier().stop()
        grace = self._settings.shutdown_timeout
        started = asyncio.get_running_loop().time()
        self._app.state.ends_at = started + grace
        await self._release(grace / 2)
        left = grace - (asyncio.get_running_loop().time() - started)
        self.config.timeout_graceful_shutdown = max(1, math.floor(left))
        await super().shutdown(sockets)
        if self.force_exit:  # A second Ctrl-C spares the waiting for peers, not the application's end in good order.
            await self.lifespan.shutdown()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP, or until `should_exit` is set."""
        try:
            await super().serve(sockets or [self.listener])
        finally:
            if self._metrics:
                server, thread = self._metrics
                await asyncio.to_thread(server.shutdown)
                server.server_close()
                thread.join()
            if self._memory:
                self._memory.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Those that come at once are told in the order of their numbers, whichever was first.
        self._told.append(sig)
        self.force_exit = self.force_exit or (len(self._told) > 1 and signal.SIGINT in self._told)
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Besides uvicorn's, SIGHUP: whose terminal is closed says goodbye to its peers. With nohup it is ignored."""
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
            with super().capture_signals():
                yield
            return
        signal.signal(signal.SIGHUP, self.handle_exit)
        try:
            with super().capture_signals():
                yield
        finally:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)

    async def _release(self, longest: float) -> None:
        """Close all peers, no faster than they may come to another node, but within `longest` seconds."""
        peers = [one for one in self.server_state.connections if isinstance(one, WebSocketProtocol)]
        random.shuffle(peers)
        rate = max(self._settings.max_handshake_rate or math.inf, len(peers) / longest)
        while peers:
            for _ in range(min(len(peers), math.ceil(min(rate * _TICK, len(peers))))):
                peers.pop().shutdown()
            if peers:
                await self._pause(_TICK)

    async def _pause(self, seconds: float) -> None:
        for _ in range(math.ceil(seconds / _TICK)):
            if not self.force_exit:
                await asyncio.sleep(_TICK)

    def _renew(self, certificate: Certificate) -> None:
        try:
            if certificate.refresh():
                logger.info("certificate renewed")
        except BadCertificate as error:
            logger.error("certificate not renewed", error=str(error))

    def _listen(self) -> socket.socket:
        settings = self._settings
        try:
            listener = socket.create_server(
                (settings.host, settings.port),
                family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
                backlog=self.config.backlog,
                reuse_port=self._shares_port,
                dualstack_ipv6=settings.host == "::" and socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            raise CannotStart(f"can't listen on {settings.host} port {settings.port}: {error.strerror}") from error
        # Connections inherit these. The kernel takes megabytes for a peer that does not read, unless it is told how
        # much; and it waits for a quarter of an hour for a peer that is gone, unless it is told how long.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_size)
        with suppress(AttributeError):  # Linux has it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.tcp_user_timeout * 1000))
        return listener

    def _serve_metrics(self) -> tuple[WSGIServer, Thread] | None:
        host, port = self._settings.metrics_host, self._settings.metrics_port
        if port is None:
            return None
        try:
            return start_http_server(port, host, self._context.telemetry.registry)
        except OSError as error:
            self.listener.close()
            raise CannotStart(f"can't listen on {host} port {port}: {error.strerror}") from error


def _certificate(settings: Settings) -> Certificate | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        return Certificate(settings.tls_certificate, settings.tls_key)
    except BadCertificate as error:
        raise CannotStart(str(error)) from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
