from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from wg_orchestrator.settings.values import Host, as_own_name, is_loopback, split


class OperatorSettings(BaseModel):
    """Where those who run the service see and steer it."""

    model_config = ConfigDict(frozen=True)

    admin_host: Host = Field("127.0.0.1", description="address to serve the operators' API on")
    admin_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="port to serve the operators' API on; each further worker takes the next port; 0 picks a free one; "
        "unless set, it is not served",
    )
    admin_token_file: Path | None = Field(
        None, description="file whose first line is the token that operators show; needed unless the host is loopback"
    )
    admin_allowed_hosts: Annotated[frozenset[Annotated[str, BeforeValidator(as_own_name)]], NoDecode] = Field(
        frozenset(),
        description="host names that operators reach it by, comma-separated, without ports, besides this machine's own",
    )
    audit_days: int = Field(
        30, ge=1, le=3650, description="days for which it is remembered who held an address, with state or nats_url"
    )
    invitation_signing_key: Path | None = Field(
        None,
        description="file with the private key that operators' invitations are signed with; unless set, it makes none",
    )

    @field_validator("admin_allowed_hosts", mode="before")
    @classmethod
    def _split_admin_hosts(cls, value: object) -> object:
        return split(value)

    def operator_faults(self) -> str | None:
        """What is missing."""
        if self.admin_port is not None and self.admin_token_file is None and not is_loopback(self.admin_host):
            return "admin_host is no loopback address: admin_token_file is needed"
        return None
