"""What the operators' API says and takes."""

from datetime import datetime, timezone
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from wg_orchestrator.wire.invitation import MAX_STAY, MAX_USES

Time = Annotated[str, Field(description="RFC 3339, in UTC", examples=["2026-11-27T10:00:00Z"])]
TenantName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{1,64}$")]
InvitationName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{1,128}$")]
Duration = Annotated[int, Field(ge=1, le=MAX_STAY, description="seconds")]


def as_time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")


def as_exact_time(seconds: float) -> str:
    """With milliseconds."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class NodesAsked(BaseModel):
    """Whose answers are in this one."""

    answered: list[str] = Field(examples=[["node-1", "node-2"]])
    silent: list[str] = Field(description="nodes that have not answered within a second", examples=[[]])


class Said(BaseModel):
    nodes: NodesAsked


class BehindPeer(BaseModel):
    display_name: str = Field(examples=["phone"])
    virtual_ip: str = Field(examples=["100.64.0.7"])
    revision: int = Field(description="that it has applied; 0: none that is known", examples=[790])
    since: Time


class Applied(BaseModel):
    """How many of the peers that speak protocol v2 have applied the tenant's revision."""

    by: int = Field(examples=[411])
    of: int = Field(examples=[412])
    behind: list[BehindPeer] = Field(description="some of the others, those that are behind longest first")


class Tenant(BaseModel):
    tenant: str = Field(examples=["acme"])
    revision: int = Field(examples=[812])
    peers: int = Field(examples=[412])
    applied: Applied


class OneTenant(Tenant, Said):
    pass


class Tenants(Said):
    tenants: list[Tenant]
    next: str | None = Field(description="what to ask for with `after`; null: there are no more")


class Peer(BaseModel):
    display_name: str = Field(examples=["laptop"])
    public_key: str = Field(examples=["zSZiFU5tdrKyuS5wwMrDzPU0+bdOtbiYGexQkIPQChA="])
    virtual_ip: str = Field(examples=["100.64.0.3"])
    endpoints: list[str] = Field(examples=[["203.0.113.9:51820"]])
    proven: bool
    protocol: str | None = Field(
        description="null: it is connected nowhere now, or its node is silent", examples=["v2"]
    )
    node: str | None = Field(examples=["node-1"])
    source: str | None = Field(examples=["203.0.113.9"])
    since: Time | None
    applied: int | None = Field(description="the revision that it has applied, if it has said so", examples=[812])
    invitation: str | None = Field(examples=["5f0c0f2a9b7d4e11"])


class Peers(Said):
    peers: list[Peer]
    next: str | None


class PeerPaths(BaseModel):
    """How one peer reaches others, as far as it says: of at most 64."""

    virtual_ip: str = Field(examples=["100.64.0.3"])
    paths: dict[str, str] = Field(
        description="by the others' virtual IPs: lan, direct, or none", examples=[{"100.64.0.7": "direct"}]
    )


class Paths(Said):
    paths: list[PeerPaths] = Field(description="of the peers of this page, those that say anything")
    next: str | None


class Holder(BaseModel):
    """Who held an address."""

    public_key: str = Field(examples=["zSZiFU5tdrKyuS5wwMrDzPU0+bdOtbiYGexQkIPQChA="])
    display_name: str = Field(description="with which it came in", examples=["laptop"])
    virtual_ip: str = Field(examples=["100.64.0.3"])
    since: Time = Field(alias="from")
    to: Time | None = Field(description="null: it holds it still")
    cause: str | None = Field(description="why it ended", examples=["left"])

    model_config = ConfigDict(populate_by_name=True)


class Holders(Said):
    holders: list[Holder]
    next: str | None


class NewRevocation(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    invitation: InvitationName | None = None
    public_key: str | None = Field(None, max_length=64)
    tenant: TenantName | None = None
    duration: Duration | None = Field(None, alias="for")


class ReceiptApplied(BaseModel):
    by: int = Field(examples=[412])
    of: int = Field(examples=[412])
    since: Time | None


class Receipt(BaseModel):
    """What has become of a revocation."""

    id: str = Field(examples=["8d1f0c2a9b7d4e11"])
    put_out: int = Field(examples=[2])
    nodes: int = Field(description="that know of it", examples=[3])
    applied: ReceiptApplied


class Revocation(BaseModel):
    id: str
    invitation: str | None
    public_key: str | None
    tenant: str | None
    at: Time
    until: Time | None


class Revocations(Said):
    revocations: list[Revocation]
    next: str | None


class Invitation(BaseModel):
    id: str = Field(examples=["5f0c0f2a9b7d4e11"])
    tenant: str = Field(examples=["acme"])
    name: str | None
    uses: int | None = Field(description="keys that may come by it; null is any number", examples=[1])
    used: int = Field(examples=[1])
    expires: Time
    revoked: bool


class Invitations(Said):
    invitations: list[Invitation]
    next: str | None


class NewInvitation(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    tenant: TenantName
    name: str | None = Field(None, max_length=512)
    uses: int | None = Field(None, ge=1, le=MAX_USES)
    expires: Duration = 86_400
    stay: Duration | None = None


class InvitationMade(BaseModel):
    id: str
    token: str = Field(description="is shown this once")


class NewQRCode(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(min_length=1, max_length=1500, pattern=r"^[ -~]+$", description="in ASCII")


class QRCode(BaseModel):
    rows: list[str] = Field(description="1 is dark, 0 is light; without the light border", examples=[["101", "010"]])


class OneNode(BaseModel):
    node: str = Field(examples=["node-1"])
    state: str = Field(examples=["up"], description="up, silent or down")
    since: Time
    peers: int


class AllNodes(BaseModel):
    nodes: list[OneNode]
