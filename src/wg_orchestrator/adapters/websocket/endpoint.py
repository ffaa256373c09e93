from contextlib import suppress
from typing import TypeAlias

from fastapi import WebSocket
from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from wg_orchestrator.adapters.websocket.aim import AimRule
from wg_orchestrator.adapters.websocket.arrival import Arrival
from wg_orchestrator.adapters.websocket.asgi_connection import AsgiConnection
from wg_orchestrator.adapters.websocket.connection import EXTENSION, Connection, Gone
from wg_orchestrator.adapters.websocket.credentials import Credentials
from wg_orchestrator.adapters.websocket.sessions import Sessions
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry, Refusals
from wg_orchestrator.domain.admission import Grant
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.errors import InvalidTenantId, MembershipError
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.tenant_id import TenantId, parse_tenant_id
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.handshake import Headers, host_name
from wg_orchestrator.settings import ConnectionLimits
from wg_orchestrator.wire import close_codes as closes
from wg_orchestrator.wire import v1
from wg_orchestrator.wire.close_codes import REFUSALS
from wg_orchestrator.wire.errors import MalformedJoin
from wg_orchestrator.wire.subprotocol import V1, V2, choose
from wg_orchestrator.wire.v2 import requests

_WEB = ("https", "http")

_Read: TypeAlias = tuple[Newcomer, tuple[Endpoint, ...] | None, tuple[str, int] | None]
"""Of an Arrival: who has come, all that it announces, and what it resumes."""


class _Refused(Exception):
    def __init__(self, close: Close) -> None:
        self.close = close


def _source(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


class Nowhere:
    """The ASGI application at all paths where there is nothing: a refusal like any other, counted and logged."""

    def __init__(self, telemetry: Refusals) -> None:
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._telemetry.refused("nothing at this path", _source(scope))
        if scope["type"] == "websocket":
            with suppress(Gone):
                await WebSocketClose()(scope, receive, send)
        else:
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)


class PeerEndpoint:
    """Where peers come in: the ASGI application for a WebSocket at `/tenants/{tenant_id}`, protocols v1 and v2."""

    def __init__(
        self,
        sessions: Sessions,
        aim: AimRule,
        credentials: Credentials,
        limits: ConnectionLimits,
        allowed_hosts: frozenset[str],
        allowed_origins: frozenset[str],
        telemetry: PeerTelemetry,
    ) -> None:
        """`allowed_hosts` are the names that the service goes by, as `host_name` gives them; if there are none, any.
        `allowed_origins` are web origins that may connect besides the service's own; `*` is any.
        """
        self._sessions = sessions
        self._aim = aim
        self._credentials = credentials
        self._limits = limits
        self._allowed_hosts = allowed_hosts
        self._allowed_origins = allowed_origins
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extension = scope.get("extensions", {}).get(EXTENSION)
        connection: Connection = (
            extension["connection"] if extension else AsgiConnection(WebSocket(scope, receive, send), self._limits)
        )
        source = _source(scope)
        with suppress(Gone):
            tenant_id, offered = scope["path_params"]["tenant_id"], scope["subprotocols"]
            await self._receive(connection, tenant_id, scope["headers"], offered, source)

    async def _receive(
        self, connection: Connection, tenant_id: str, headers: Headers, offered: list[str], source: str
    ) -> None:
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
        if not self._sessions.are_open:
            self._telemetry.refused(closes.SERVICE_RESTART.reason, source, tenant)
            await connection.deny(503, closes.SERVICE_RESTART.reason)
            return
        grant = await self._credentials.grant(connection, tenant, headers, source)
        if grant is None:
            return
        try:
            version = choose(offered)
            await connection.accept(version)
            message = await self._first_message(connection)
            if not self._sessions.are_open:
                raise _Refused(closes.SERVICE_RESTART)
            await self._join(connection, tenant, version or V1, source, message, grant)
        except _Refused as refused:
            self._telemetry.refused(refused.close.reason, source, tenant, grant.invitation)
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

    async def _join(
        self, connection: Connection, tenant: TenantId, version: str, source: str, message: str, grant: Grant
    ) -> None:
        try:
            read = self._read_v2 if version == V2 else self._read_v1
            newcomer, endpoints, resume = read(message, source)
            arrival = Arrival(tenant, newcomer, connection, source, version, endpoints, resume, grant)
            await self._sessions.join(arrival)
        except MalformedJoin as error:
            raise _Refused(closes.MALFORMED_JOIN) from error
        except MembershipError as error:
            close = REFUSALS[type(error)]
            raise _Refused(close if version == V2 else closes.in_v1(close)) from error

    def _read_v1(self, message: str, _: str) -> _Read:
        request = v1.JoinRequest.parse(message)
        return Newcomer.parse(request.display_name, request.public_key), None, None

    def _read_v2(self, message: str, source: str) -> _Read:
        request = requests.JoinRequest.parse(message)
        endpoints = self._aim(request.endpoints or (), source)
        newcomer = Newcomer.parse(request.display_name, request.public_key, endpoints, request.virtual_ip)
        resume = request.resume
        return newcomer, request.endpoints, None if resume is None else (resume.session, resume.revision)

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
