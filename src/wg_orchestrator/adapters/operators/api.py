from datetime import datetime
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, HTTPException, Query, Response
from fastapi.responses import StreamingResponse

from wg_orchestrator import __version__
from wg_orchestrator.adapters.operators import models
from wg_orchestrator.adapters.operators.events import EventLog
from wg_orchestrator.adapters.operators.guard import Guard
from wg_orchestrator.adapters.operators.inviting import Inviting
from wg_orchestrator.adapters.operators.models import as_time
from wg_orchestrator.adapters.operators.pages import Pages
from wg_orchestrator.adapters.operators.parameters import After, Limit, RevocationName, Tenant
from wg_orchestrator.adapters.operators.problems import MEDIA_TYPE, Problem, handle_problems
from wg_orchestrator.adapters.operators.steering import Steering
from wg_orchestrator.adapters.operators.view import View, asked
from wg_orchestrator.domain.admission import Revocation, RevocationId
from wg_orchestrator.domain.errors import InvalidPublicKey
from wg_orchestrator.domain.nodes import Nodes
from wg_orchestrator.domain.receipt import Receipt
from wg_orchestrator.domain.tenant_id import TenantId


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


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
        self._inviting = Inviting(steering, nodes, signing_key)
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
        self.guarded = Guard(app, Pages(), hosts, token)

    def end_streams(self) -> None:
        """They would go on for ever: the service stops."""
        self._events.end()

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
        get("/invitations", responses=_problems(422, 503))(self._inviting.invitations)
        post("/invitations", status_code=201, responses=_problems(409, 422, 503))(self._inviting.invite)
        get("/tenants/{tenant}/paths", responses=_problems(404, 422))(self.paths)
        get("/tenants/{tenant}/history", responses=_problems(409, 422, 503))(self.history)
        post("/qr-code", responses=_problems(422))(qr_code)
        get("/nodes", responses=_problems())(self.nodes)
        stream: dict[int | str, dict[str, Any]] = {
            200: {"content": {"text/event-stream": {}}, "description": "server-sent events"}
        }
        get("/events", response_class=EventStream, responses=stream | _problems(422))(self.events)
        return router

    async def tenants(self, limit: Limit = 100, after: After = "") -> models.Tenants:
        """The tenants that have peers, in the order of their names."""
        return await self._view.tenants(limit, after)

    async def tenant(self, tenant: Tenant) -> models.OneTenant:
        """One of them."""
        found = await self._view.tenant(TenantId(tenant))
        if found is None:
            raise HTTPException(404, "nobody is in that tenant")
        return found

    async def peers(self, tenant: Tenant, limit: Limit = 100, after: After = "") -> models.Peers:
        """The peers of a tenant, in the order of their addresses."""
        found = await self._view.peers(TenantId(tenant), limit, int(_address(after, 422)) if after else -1)
        if found is None:
            raise HTTPException(404, "nobody is in that tenant")
        return found

    async def paths(self, tenant: Tenant, limit: Limit = 100, after: After = "") -> models.Paths:
        """How the peers of a tenant reach each other, in the order of their addresses."""
        found = await self._view.paths(TenantId(tenant), limit, int(_address(after, 422)) if after else -1)
        if found is None:
            raise HTTPException(404, "nobody is in that tenant")
        return found

    async def history(
        self,
        tenant: Tenant,
        virtual_ip: Annotated[str, Query(max_length=45, examples=["100.64.0.7"])],
        at: Annotated[
            datetime | None, Query(description="who held it then, in RFC 3339", examples=["2026-11-27T10:00:00Z"])
        ] = None,
        limit: Limit = 100,
        after: After = "",
    ) -> models.Holders:
        """Who held an address, the earliest first."""
        if at is not None and at.tzinfo is None:
            raise HTTPException(422, "query.at: a time without a time zone")
        moment = None if at is None else at.timestamp()
        found = await self._view.history(TenantId(tenant), _address(virtual_ip, 422), moment, limit, after)
        if found is None:
            raise HTTPException(409, "the service keeps no history: it has no --state and no --nats-url")
        return found

    async def put_out(self, tenant: Tenant, virtual_ip: str) -> Response:
        """Put out a peer. It may come back."""
        if not await self._steering.put_out(TenantId(tenant), _address(virtual_ip, 404)):
            raise HTTPException(404, "there is no such peer")
        return Response(status_code=204)

    async def revocations(self, limit: Limit = 100, after: After = "") -> models.Revocations:
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

    async def revocation(self, revocation: RevocationName) -> models.Receipt:
        """What has become of a revocation so far."""
        if not self._steering.is_known(RevocationId(revocation)):
            raise HTTPException(404, "there is no such revocation")
        return _receipt(await self._steering.receipt(RevocationId(revocation)))

    async def withdraw(self, revocation: RevocationName) -> Response:
        """Take a revocation back: from now on, they may come in again."""
        if not await self._steering.withdraw(RevocationId(revocation)):
            raise HTTPException(404, "there is no such revocation")
        return Response(status_code=204)

    async def events(
        self,
        tenant: Annotated[
            str | None, Query(pattern=r"^[A-Za-z0-9._~-]{1,64}$", description="of this one alone")
        ] = None,
        last_event_id: Annotated[str | None, Header(max_length=2000, description="go on after this one")] = None,
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


async def qr_code(wanted: models.NewQRCode) -> models.QRCode:
    """A text as a QR code, for the live page."""
    import segno  # Loaded only by who shows an invitation.

    code = segno.make_qr(wanted.text, error="l")
    return models.QRCode(rows=["".join("1" if dot else "0" for dot in row) for row in code.matrix])


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
