import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from fastapi import WebSocket
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from wg_orchestrator.adapters.websocket.asgi_connection import AsgiConnection
from wg_orchestrator.adapters.websocket.connection import EXTENSION, Connection, Gone
from wg_orchestrator.domain.errors import InvalidTenantId, MembershipError
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.peer import PublicKey, parse_display_name
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant_id import TenantId, parse_tenant_id
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.handshake import Headers, host_name
from wg_orchestrator.settings import ConnectionLimits
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire import close_codes as closes
from wg_orchestrator.wire.close_codes import REFUSALS
from wg_orchestrator.wire.v1 import JoinRequest, MalformedJoin

_WEB = ("https", "http")
RETRY_DELAY = 1.0
"""Seconds until a leave that failed is tried again."""


class _Refused(Exception):
    def __init__(self, close: Close) -> None:
        self.close = close


def _source(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


class Nowhere:
    """The ASGI application at all paths where there is nothing: a refusal like any other, counted and logged."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._telemetry.refused("nothing at this path", _source(scope))
        if scope["type"] == "websocket":
            with suppress(Gone):
                await WebSocketClose()(scope, receive, send)
        else:
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)


class _Session:
    """A stay and the connection that it lives on. Whatever ends it, ends it once."""

    __slots__ = ("_has_ended", "_leave", "connection", "source", "stay")

    def __init__(
        self, stay: Stay, connection: Connection, source: str, leave: Callable[["_Session", str], None]
    ) -> None:
        self.stay = stay
        self.connection = connection
        self.source = source
        self._leave = leave
        self._has_ended = False

    def heard(self, message: str | bytes) -> None:
        # Text is ignored: a client may send keep-alives.
        if isinstance(message, bytes):
            self.connection.close(closes.TEXT_ONLY)

    def gone(self, reason: str) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._leave(self, reason)


class PeerEndpoint:
    """Where peers come in: the ASGI application for a WebSocket at `/tenants/{tenant_id}`, protocol v1."""

    def __init__(
        self,
        service: MembershipService[Connection],
        limits: ConnectionLimits,
        allowed_hosts: frozenset[str],
        allowed_origins: frozenset[str],
        telemetry: Telemetry,
    ) -> None:
        """`allowed_hosts` are the names that the service goes by, as `host_name` gives them; if there are none, any.
        `allowed_origins` are web origins that may connect besides the service's own; `*` is any.
        """
        self._service = service
        self._limits = limits
        self._allowed_hosts = allowed_hosts
        self._allowed_origins = allowed_origins
        self._telemetry = telemetry
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extension = scope.get("extensions", {}).get(EXTENSION)
        connection: Connection = (
            extension["connection"] if extension else AsgiConnection(WebSocket(scope, receive, send), self._limits)
        )
        source = _source(scope)
        with suppress(Gone):
            await self._receive(connection, scope["path_params"]["tenant_id"], scope["headers"], source)

    async def _receive(self, connection: Connection, tenant_id: str, headers: Headers, source: str) -> None:
        """Let a client in, or tell it why not: by an HTTP status until the WebSocket is open, by a close code then."""
        try:
            tenant = parse_tenant_id(tenant_id)
        except InvalidTenantId as error:
            self._telemetry.refused("bad tenant id", source)
            await connection.deny(400, str(error))
            return
        if not self._host_allowed(headers):
            self._telemetry.refused("host not allowed", source, tenant)
            await connection.deny(421, "host not allowed")
            return
        if not self._origin_allowed(headers):
            self._telemetry.refused("origin not allowed", source, tenant)
            await connection.deny(403, "origin not allowed")
            return
        if self._stopping.is_set():
            self._telemetry.refused(closes.SERVICE_RESTART.reason, source, tenant)
            await connection.deny(503, closes.SERVICE_RESTART.reason)
            return
        try:
            await connection.accept()
            message = await self._first_message(connection)
            if self._stopping.is_set():
                raise _Refused(closes.SERVICE_RESTART)
            started = time.perf_counter()
            stay = await self._join(connection, tenant, message)
            await self._let_stay(connection, _Session(stay, connection, source, self._start_to_leave), started)
        except _Refused as refused:
            self._telemetry.refused(refused.close.reason, source, tenant)
            await connection.refuse(refused.close)
            return
        except Gone:
            raise
        except Exception:
            self._telemetry.failed("connection failed", tenant)
            await connection.refuse(closes.INTERNAL_ERROR)

    async def _first_message(self, connection: Connection) -> str:
        try:
            message = await connection.first_message()
        except TimeoutError as error:
            raise _Refused(closes.JOIN_TIMEOUT) from error
        if isinstance(message, bytes):
            raise _Refused(closes.TEXT_ONLY)
        if len(message.encode(errors="surrogatepass")) > self._limits.max_message_size:
            raise _Refused(closes.TOO_BIG)
        return message

    async def _join(self, connection: Connection, tenant_id: TenantId, message: str) -> Stay:
        try:
            request = JoinRequest.parse(message)
            display_name = parse_display_name(request.display_name)
            public_key = PublicKey.parse(request.public_key)
            return await self._service.join(tenant_id, display_name, public_key, connection)
        except MalformedJoin as error:
            raise _Refused(closes.MALFORMED_JOIN) from error
        except MembershipError as error:
            raise _Refused(REFUSALS[type(error)]) from error

    async def _let_stay(self, connection: Connection, session: _Session, started: float) -> None:
        """Raises only when the stay has ended."""
        try:
            stay = session.stay
            peers = self._service.size(stay.tenant_id)
            self._telemetry.joined(stay.tenant_id, stay.peer, session.source, peers, time.perf_counter() - started)
            await connection.run(session)
        except BaseException:
            session.gone(closes.INTERNAL_ERROR.reason)
            raise

    def _start_to_leave(self, session: _Session, reason: str) -> None:
        task = asyncio.get_running_loop().create_task(self._leave(session, reason))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, session: _Session, reason: str) -> None:
        stay = session.stay
        try:
            while not await self._has_left(stay):
                if self._stopping.is_set():
                    return
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RETRY_DELAY)
            peers = self._service.size(stay.tenant_id)
            self._telemetry.left(stay.tenant_id, stay.peer, session.source, peers, reason)
        except Exception:
            self._telemetry.failed("leave failed", stay.tenant_id)

    async def _has_left(self, stay: Stay) -> bool:
        try:
            await self._service.leave(stay)
        except Exception:
            self._telemetry.failed("leave failed", stay.tenant_id)
            return not self._service.is_in(stay)
        return True

    def stop(self) -> None:
        """Let nobody in any more."""
        self._stopping.set()

    async def drained(self) -> None:
        """Let nobody in any more, and return when every peer whose connection has ended has left its tenant."""
        self.stop()
        while self._leaving:
            await asyncio.wait(self._leaving)

    def _host_allowed(self, headers: Headers) -> bool:
        # A page may give its own name the service's address (DNS rebinding): its origin is then the Host, too.
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        return not self._allowed_hosts or (len(hosts) == 1 and host_name(hosts[0]) in self._allowed_hosts)

    def _origin_allowed(self, headers: Headers) -> bool:
        # Browsers let any page open a WebSocket and say from where (RFC 6455, section 10.2); nobody else says it.
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        own = {f"{scheme}://{host.decode('latin-1')}" for name, host in headers if name == b"host" for scheme in _WEB}
        allowed = self._allowed_origins
        return "*" in allowed or all(origin in allowed or origin in own for origin in origins)
