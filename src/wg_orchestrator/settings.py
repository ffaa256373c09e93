from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Network = IPv4Network | IPv6Network


def _network(value: object) -> Network:
    return value if isinstance(value, Network) else ip_network(str(value))


class Settings(BaseSettings):
    """The configuration: keyword arguments (the command line) go before the environment, that before `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="WG_ORCHESTRATOR_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    host: str = Field("0.0.0.0", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    network: Annotated[Network, BeforeValidator(_network)] = Field(
        IPv4Network("100.64.0.0/10"), description="network that every tenant's virtual IPs come from"
    )
    max_peers_per_tenant: PositiveInt = Field(20_000, description="peers that one tenant may hold")
    max_tenants: PositiveInt = Field(10_000, description="tenants with peers that the service may hold")
    max_connections: PositiveInt = Field(100_000, description="WebSocket connections, joined or not")
    max_message_size: PositiveInt = Field(4096, description="bytes that one message of a peer may have")
    max_frame_rate: PositiveFloat = Field(
        10.0, description="frames that a peer may send per second, averaged over ten seconds"
    )
    max_outbox_size: PositiveInt = Field(1024 * 1024, description="bytes that may wait for one peer, after its welcome")
    join_timeout: PositiveFloat = Field(10.0, description="seconds until a client must have asked to join")
    ping_interval: PositiveFloat = Field(10.0, description="seconds between a peer's sign of life and the next ping")
    ping_timeout: PositiveFloat = Field(8.0, description="seconds for the answer to a ping")
    close_timeout: PositiveFloat = Field(5.0, description="seconds for the answer to a close frame")
    shutdown_timeout: PositiveInt = Field(8, description="seconds for all peers to go when the service stops")
    allowed_origins: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(), description="web origins that may connect, comma-separated; * is any; the service's own always may"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level to log")
    log_format: Literal["console", "json"] = Field("console", description="log lines for people or for machines")

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [origin.strip() for origin in value.split(",") if origin.strip()]
