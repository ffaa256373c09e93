import asyncio
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse

from wg_orchestrator.adapters.websocket import close as closes
from wg_orchestrator.adapters.websocket.asgi_connection import AsgiConnection
from wg_orchestrator.adapters.websocket.close import REFUSALS, Close
from wg_orchestrator.adapters.websocket.connection import EXTENSION, Connection
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
    """Where peers come in: `/tenants/{tenant_id}`, protocol v1."""

    def __init__(
        self, service: MembershipService[Connection], admission: AdmissionLimits, connection: ConnectionLimits
    ) -> None:
        self._service = service
        self._admission = admission
        self._limits = connection
        self._connections = 0
        self._leaving: set[asyncio.Task[None]] = set()
        self.router = APIRouter()
        self.router.add_api_websocket_route("/tenants/{tenant_id}", self.join)

    async def join(self, websocket: WebSocket, tenant_id: str) -> None:
        """Let a client in, or tell it why not: by an HTTP status until the WebSocket is open, by a close code then."""
        try:
            tenant = parse_tenant_id(tenant_id)
        except InvalidTenantId as error:
            await websocket.send_denial_response(PlainTextResponse(str(error), 400))
            return
        if not self._origin_allowed(websocket.headers):
            await websocket.send_denial_response(PlainTextResponse("origin not allowed", 403))
            return
        self._connections += 1
        joined = False
        try:
            connection, peer = await self._admit(websocket, tenant)
            joined = True
        except WebSocketDisconnect:
            return  # The client left before it had joined.
        except _Refused as refused:
            logger.info("refused", tenant=tenant, code=refused.close.code, reason=refused.close.reason)
            with suppress(WebSocketDisconnect):
                await websocket.close(refused.close.code, refused.close.reason)
            return
        except Exception:
            logger.exception("join failed", tenant=tenant)
            with suppress(WebSocketDisconnect):
                await websocket.close(closes.INTERNAL_ERROR.code, closes.INTERNAL_ERROR.reason)
            return
        finally:
            self._connections -= not joined
        logger.info("joined", tenant=tenant, virtual_ip=str(peer.virtual_ip), name=peer.display_name)
        await connection.run(partial(self._gone, tenant, peer))

    async def _admit(self, websocket: WebSocket, tenant_id: TenantId) -> tuple[Connection, Peer]:
        try:
            await websocket.accept()
        except OSError as error:
            raise WebSocketDisconnect from error
        if self._connections > self._admission.max_connections:
            raise _Refused(closes.AT_CAPACITY)
        request = await self._request(websocket)
        connection: Connection = (
            websocket.scope["extensions"][EXTENSION]["connection"]
            if EXTENSION in websocket.scope.get("extensions", {})
            else AsgiConnection(websocket, self._limits.max_outbox_size, self._limits.close_timeout)
        )
        try:
            display_name = parse_display_name(request.display_name)
            public_key = PublicKey.parse(request.public_key)
            return connection, await self._service.join(tenant_id, display_name, public_key, connection)
        except MembershipError as error:
            raise _Refused(REFUSALS[type(error)]) from error

    async def _request(self, websocket: WebSocket) -> JoinRequest:
        try:
            with anyio.fail_after(self._admission.join_timeout):
                event = await websocket.receive()
        except TimeoutError as error:
            raise _Refused(closes.JOIN_TIMEOUT) from error
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        text = event.get("text")
        if text is None:
            raise _Refused(closes.TEXT_ONLY)
        if len(text.encode(errors="surrogatepass")) > self._limits.max_message_size:
            raise _Refused(Close(1009, "too big"))
        try:
            return JoinRequest.parse(text)
        except MalformedJoin as error:
            raise _Refused(closes.MALFORMED_JOIN) from error

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

    def _origin_allowed(self, headers: Any) -> bool:
        # Browsers let any page open a WebSocket and say from where (RFC 6455, section 10.2); nobody else says it.
        origin = headers.get("origin")
        allowed = self._admission.allowed_origins
        return origin is None or "*" in allowed or origin in allowed or urlsplit(origin).netloc == headers.get("host")
