import asyncio
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import structlog
from fastapi import WebSocket
from starlette.types import Receive, Scope, Send

from wg_orchestrator.adapters.websocket import close as closes
from wg_orchestrator.adapters.websocket.asgi_connection import AsgiConnection
from wg_orchestrator.adapters.websocket.close import REFUSALS, Close
from wg_orchestrator.adapters.websocket.connection import EXTENSION, Connection, Gone, header
from wg_orchestrator.adapters.websocket.handshake import Headers
from wg_orchestrator.adapters.websocket.limits import AdmissionLimits, ConnectionLimits
from wg_orchestrator.adapters.websocket.messages import JoinRequest, MalformedJoin
from wg_orchestrator.domain.errors import InvalidTenantId, MembershipError
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.peer import Peer, PublicKey, parse_display_name
from wg_orchestrator.domain.tenant_id import TenantId, parse_tenant_id

logger = structlog.get_logger("wg_orchestrator.peers")


class _Refused(Exception):
    def __init__(self, close: Close) -> None:
        self.close = close


class PeerEndpoint:
    """Where peers come in: the ASGI application for a WebSocket at `/tenants/{tenant_id}`, protocol v1."""

    def __init__(
        self, service: MembershipService[Connection], admission: AdmissionLimits, connection: ConnectionLimits
    ) -> None:
        self._service = service
        self._admission = admission
        self._limits = connection
        self._connections = 0
        self._leaving: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extension = scope.get("extensions", {}).get(EXTENSION)
        connection: Connection = (
            extension["connection"]
            if extension
            else AsgiConnection(
                WebSocket(scope, receive, send), self._limits.max_outbox_size, self._limits.close_timeout
            )
        )
        with suppress(Gone):
            await self._receive(connection, scope["path_params"]["tenant_id"], scope["headers"])

    async def _receive(self, connection: Connection, tenant_id: str, headers: Headers) -> None:
        """Let a client in, or tell it why not: by an HTTP status until the WebSocket is open, by a close code then."""
        try:
            tenant = parse_tenant_id(tenant_id)
        except InvalidTenantId as error:
            await connection.deny(400, str(error))
            return
        if not self._origin_allowed(headers):
            await connection.deny(403, "origin not allowed")
            return
        self._connections += 1
        joined = False
        try:
            peer = await self._admit(connection, tenant)
            joined = True
        except _Refused as refused:
            logger.info("refused", tenant=tenant, code=refused.close.code, reason=refused.close.reason)
            await connection.refuse(refused.close)
            return
        except Gone:
            raise
        except Exception:
            logger.exception("join failed", tenant=tenant)
            await connection.refuse(closes.INTERNAL_ERROR)
            return
        finally:
            self._connections -= not joined
        logger.info("joined", tenant=tenant, virtual_ip=str(peer.virtual_ip), name=peer.display_name)
        await connection.run(partial(self._gone, tenant, peer))

    async def _admit(self, connection: Connection, tenant_id: TenantId) -> Peer:
        await connection.accept()
        if self._connections > self._admission.max_connections:
            raise _Refused(closes.AT_CAPACITY)
        try:
            message = await connection.first_message(self._admission.join_timeout)
        except TimeoutError as error:
            raise _Refused(closes.JOIN_TIMEOUT) from error
        if isinstance(message, bytes):
            raise _Refused(closes.TEXT_ONLY)
        if len(message.encode(errors="surrogatepass")) > self._limits.max_message_size:
            raise _Refused(closes.TOO_BIG)
        try:
            request = JoinRequest.parse(message)
            display_name = parse_display_name(request.display_name)
            public_key = PublicKey.parse(request.public_key)
            return await self._service.join(tenant_id, display_name, public_key, connection)
        except MalformedJoin as error:
            raise _Refused(closes.MALFORMED_JOIN) from error
        except MembershipError as error:
            raise _Refused(REFUSALS[type(error)]) from error

    def _gone(self, tenant_id: TenantId, peer: Peer) -> None:
        self._connections -= 1
        task = asyncio.get_running_loop().create_task(self._leave(tenant_id, peer))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, tenant_id: TenantId, peer: Peer) -> None:
        try:
            await self._service.leave(tenant_id, peer)
        except Exception:
            logger.exception("leave failed", tenant=tenant_id, virtual_ip=str(peer.virtual_ip))
        else:
            logger.info("left", tenant=tenant_id, virtual_ip=str(peer.virtual_ip), name=peer.display_name)

    async def drained(self) -> None:
        """Return when every peer whose connection has ended has left its tenant."""
        while self._leaving:
            await asyncio.wait(self._leaving)

    def _origin_allowed(self, headers: Headers) -> bool:
        # Browsers let any page open a WebSocket and say from where (RFC 6455, section 10.2); nobody else says it.
        origin = header(headers, b"origin")
        allowed = self._admission.allowed_origins
        return (
            origin is None or "*" in allowed or origin in allowed or urlsplit(origin).netloc == header(headers, b"host")
        )
