import time
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, HTTPException, Path, Query, Response
from fastapi.responses import StreamingResponse

from wg_orchestrator import __version__
from wg_orchestrator.adapters.operators import models
from wg_orchestrator.adapters.operators.events import EventLog
from wg_orchestrator.adapters.operators.guard import Guard
from wg_orchestrator.adapters.operators.models import as_time
from wg_orchestrator.adapters.operators.problems import MEDIA_TYPE, Problem, handle_problems
from wg_orchestrator.adapters.operators.steering import Steering
from wg_orchestrator.adapters.operators.view import View, asked
from wg_orchestrator.domain.admission import Grant, Revocation, RevocationId
from wg_orchestrator.domain.errors import InvalidDisplayName, InvalidPublicKey
from wg_orchestrator.domain.nodes import Nodes
from wg_orchestrator.domain.peer import parse_display_name
from wg_orchestrator.domain.receipt import Receipt
from wg_orchestrator.domain.stay import InvitationId
from wg_orchestrator.domain.tenant_id import TenantId

_LATEST = 253_402_300_799
"""The last second that RFC 3339 has a name for."""


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


_Tenant = Annotated[str, Path(pattern=r"^[A-Za-z0-9._~-]{1,64}$", examples=["acme"])]
_Revocation = Annotated[str, Path(pattern=r"^[A-Za-z0-9._~-]{1,64}$", examples=["8d1f0c2a9b7d4e11"])]
_Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
_After = Annotated[str, Query(max_length=128, description="the `next` of the answer before")]


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: what may be answered instead."""
    return {
        status: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": "a problem"}
        for status in (401, 403, 421, *statuses)
    }


class OperatorsApi:
    """The operators' API as an ASGI application, behind its Guard."""

    def __init__(
        self,
        view: View,
        steering: Steering,
        nodes: Nodes,
        events: EventLog,
        hosts: frozenset[str],
        token: str | None,
        signing_key: FilePath | None,
    ) -> None:
        """`hosts` are the names that it goes by, and `token` what it asks for; see Guard. With a `signing_key`, it
        makes invitations.
        """
        self._view = view
        self._steering = steering
        self._nodes = nodes
        self._events = events
        self._signing_key = signing_key
        app = FastAPI(
            title="wg-orchestrator: operators",
            version=__version__,
            description="Who is in, since when, from where, and who is not up to date; and how to put somebody out.",
            openapi_url="/v1/openapi.json",
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            telemetry={"tracing": False, "metrics": False, "logs": False},
        )
        handle_problems(app)
        app.include_router(self._routes())

        self.app = app
        self.guarded = Guard(app, hosts, token)

    def _routes(self) -> APIRouter:
        router = APIRouter(prefix="/v1")
        get, post, delete = router.get, router.post, router.delete
        get("/tenants", responses=_problems(422))(self.tenants)
        get("/tenants/{tenant}", responses=_problems(404, 422))(self.tenant)
        get("/tenants/{tenant}/peers", responses=_problems(404, 422))(self.peers)
        delete("/tenants/{tenant}/peers/{virtual_ip}", status_code=204, responses=_problems(404, 422))(self.put_out)
        get("/revocations", responses=_problems(422))(self.revocations)
        post("/revocations", status_code=201, responses=_problems(422, 503))(self.revoke)
        get("/revocations/{revocation}", responses=_problems(404, 422, 503))(self.revocation)
        delete("/revocations/{revocation}", status_code=204, responses=_problems(404, 422, 503))(self.withdraw)
        get("/invitations", responses=_problems(422, 503))(self.invitations)
        post("/invitations", status_code=201, responses=_problems(409, 422, 503))(self.invite)
        get("/nodes", responses=_problems())(self.nodes)
        stream: dict[int | str, dict[str, Any]] = {
            200: {"content": {"text/event-stream": {}}, "description": "server-sent events"}
        }
        get("/events", response_class=EventStream, responses=stream | _problems(422))(self.events)
        return router

    async def tenants(self, limit: _Limit = 100, after: _After = "") -> models.Tenants:
        """The tenants that have peers, in the order of their names."""
        return await self._view.tenants(limit, after)

    async def tenant(self, tenant: _Tenant) -> models.OneTenant:
        """One of them."""
        found = await self._view.tenant(TenantId(tenant))
        if found is None:
            raise HTTPException(404, "nobody is in that tenant")
        return found

    async def peers(self, tenant: _Tenant, limit: _Limit = 100, after: _After = "") -> models.Peers:
        """The peers of a tenant, in the order of their addresses."""
        found = await self._view.peers(TenantId(tenant), limit, int(_address(after, 422)) if after else -1)
        if found is None:
            raise HTTPException(404, "nobody is in that tenant")
        return found

    async def put_out(self, tenant: _Tenant, virtual_ip: str) -> Response:
        """Put out a peer. It may come back."""
        if not await self._steering.put_out(TenantId(tenant), _address(virtual_ip, 404)):
            raise HTTPException(404, "there is no such peer")
        return Response(status_code=204)

    async def revocations(self, limit: _Limit = 100, after: _After = "") -> models.Revocations:
        """The revocations, in the order of their ids."""
        found = [one for one in self._steering.revocations() if one.id > after]
        page = found[:limit]
        following = page[-1].id if len(found) > limit else None
        nodes = asked(await self._nodes.ask({}))
        return models.Revocations(revocations=[_revocation(one) for one in page], next=following, nodes=nodes)

    async def revoke(self, wanted: models.NewRevocation) -> models.Receipt:
        """Put out whoever came in by an invitation, or has a public key, and keep them out."""
        try:
            return _receipt(await self._steering.revoke(wanted))
        except (ValueError, InvalidPublicKey) as error:
            raise HTTPException(422, str(error)) from error

    async def revocation(self, revocation: _Revocation) -> models.Receipt:
        """What has become of a revocation so far."""
        if not self._steering.is_known(RevocationId(revocation)):
            raise HTTPException(404, "there is no such revocation")
        return _receipt(await self._steering.receipt(RevocationId(revocation)))

    async def withdraw(self, revocation: _Revocation) -> Response:
        """Take a revocation back: from now on, they may come in again."""
        if not await self._steering.withdraw(RevocationId(revocation)):
            raise HTTPException(404, "there is no such revocation")
        return Response(status_code=204)

    async def invite(self, wanted: models.NewInvitation) -> models.InvitationMade:
        """Make an invitation. Its token is shown this once."""
        if self._signing_key is None:
            raise HTTPException(409, "the service makes no invitations: it has no --invitation-signing-key")
        from wg_orchestrator.wire.signing import BadKey, read_key, sign  # Loaded only by a service that signs.

        try:
            name = None if wanted.name is None else parse_display_name(wanted.name)
            key = read_key(self._signing_key)
        except InvalidDisplayName as error:
            raise HTTPException(422, str(error)) from error
        except (OSError, BadKey) as error:
            raise HTTPException(409, "the service's --invitation-signing-key can't be used") from error
        tenant_id = TenantId(wanted.tenant)
        invitation, token = sign(key, tenant_id, name, wanted.uses, wanted.expires, wanted.stay)
        expires = int(time.time()) + wanted.expires
        grant = Grant(InvitationId(invitation), name, wanted.uses, wanted.stay, expires)
        await self._steering.made(grant, tenant_id)
        return models.InvitationMade(id=invitation, token=token)

    async def invitations(self, limit: _Limit = 100, after: _After = "") -> models.Invitations:
        """The invitations that somebody has come by, or that were made here."""
        found = [one for one in await self._steering.invitations() if one[0].id > after]
        page = found[:limit]
        following = page[-1][0].id if len(found) > limit else None
        listed = [
            models.Invitation(
                id=use.id,
                tenant=use.tenant_id,
                name=use.display_name,
                uses=use.uses,
                used=use.used,
                expires=as_time(min(use.expires, _LATEST)),
                revoked=is_revoked,
            )
            for use, is_revoked in page
        ]
        return models.Invitations(invitations=listed, next=following, nodes=asked(await self._nodes.ask({})))

    async def events(
        self,
        tenant: Annotated[
            str | None, Query(pattern=r"^[A-Za-z0-9._~-]{1,64}$", description="of this one alone")
        ] = None,
        last_event_id: Annotated[str | None, Header(max_length=200, description="go on after this one")] = None,
    ) -> EventStream:
        """What happens, as server-sent events: joined, updated, left, resumed; and gap, where some may be missing."""
        return EventStream(self._events.read(last_event_id, tenant))

    async def nodes(self) -> models.AllNodes:
        """The nodes of the service, as far as they are known."""
        return models.AllNodes(
            nodes=[
                models.OneNode(node=one.name, state=one.state.value, since=as_time(one.since), peers=one.peers)
                for one in self._nodes.nodes()
            ]
        )


def _address(text: str, status: int) -> Any:
    try:
        return ip_address(text)
    except ValueError as error:
        raise HTTPException(status, "there is no such address") from error


def _revocation(one: Revocation) -> models.Revocation:
    return models.Revocation(
        id=one.id,
        invitation=one.invitation or None,
        public_key=None if one.public_key is None else one.public_key.text,
        tenant=one.tenant_id,
        at=as_time(one.at),
        until=None if one.until is None else as_time(one.until),
    )


def _receipt(receipt: Receipt) -> models.Receipt:
    since = None if receipt.since is None else as_time(receipt.since)
    applied = models.ReceiptApplied(by=receipt.by, of=receipt.of, since=since)
    return models.Receipt(id=receipt.id, put_out=receipt.put_out, nodes=receipt.nodes, applied=applied)
