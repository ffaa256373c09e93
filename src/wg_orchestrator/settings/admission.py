import os
import re
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wg_orchestrator.settings.values import as_provider_url


class AdmissionSettings(BaseModel):
    """Who may come in, and where it is remembered who has."""

    model_config = ConfigDict(frozen=True)

    invitation_keys: Path | None = Field(
        None,
        description="file with the public keys (JWK Set) that invitations are signed with, read anew when it changes; "
        "who has no invitation is not let in; unless this or an identity provider is set, everybody is",
    )
    oidc_issuer: Annotated[str, AfterValidator(as_provider_url)] | None = Field(
        None, description="URL of the OpenID provider whose tokens let in"
    )
    oidc_audience: str | None = Field(None, min_length=1, description="audience that its tokens have to be for")
    oidc_tenants: str | None = Field(
        None, min_length=1, description="claim of its tokens that names the tenants: a text or a list of texts"
    )
    state: Path | None = Field(
        None,
        description="SQLite file that remembers who has come in by which invitation, what is revoked, and who held "
        "which address; on many nodes NATS does; unless set, that ends with the process",
    )
    node_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._~-]{1,64}$",
        description="name of this node, for operators; each worker adds its number; unless set, the machine's name and "
        "the process' number",
    )

    @property
    def node(self) -> str:
        """The name of this node."""
        machine = re.sub(r"[^A-Za-z0-9._~-]", "-", socket.gethostname())
        return self.node_name or f"{machine[:50]}-{os.getpid()}"

    @property
    def admission(self) -> Literal["open", "invitations", "oidc", "either"]:
        """Who is let in."""
        if self.oidc_issuer is None:
            return "open" if self.invitation_keys is None else "invitations"
        return "oidc" if self.invitation_keys is None else "either"

    def faults(self) -> str | None:
        """What is not given together."""
        if len({one is None for one in (self.oidc_issuer, self.oidc_audience, self.oidc_tenants)}) > 1:
            return "oidc_issuer, oidc_audience and oidc_tenants are given together"
        return None
