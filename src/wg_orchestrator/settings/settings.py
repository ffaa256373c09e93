from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FilePath, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.settings.admission import AdmissionSettings
from wg_orchestrator.settings.operators import OperatorSettings
from wg_orchestrator.settings.values import (
    Count,
    CountOrAny,
    Host,
    Network,
    Rate,
    RateOrAny,
    Seconds,
    Size,
    as_endpoint,
    as_nats_url,
    as_network,
    as_own_name,
    split,
)


class GateLimits(BaseModel):
    """How many connections, requests and handshakes one process lets in."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    max_connections: Count = Field(
        100_000, description="connections, joined or not; fewer if the process may not have that many files open"
    )
    max_connections_per_source: CountOrAny = Field(
        0, description="connections from one address (IPv6: from one /64); 0 is any number"
    )
    max_handshake_rate: RateOrAny = Field(
        2000.0, description="handshakes per second, averaged over ten seconds; 0 is any number"
    )
    max_handshake_rate_per_source: RateOrAny = Field(
        0.0, description="handshakes per second from one address (IPv6: from one /64); 0 is any number"
    )
    max_memory: int | None = Field(
        None,
        ge=0,
        le=2**62,
        description="bytes of memory that a process may use; newcomers are refused while it uses more; 0 is no limit; "
        "unless set, four fifths of the memory of the container, unit or machine, shared by the workers",
    )
    trusted_proxies: Annotated[tuple[Annotated[Network, BeforeValidator(as_network)], ...], NoDecode] = Field(
        (), description="addresses or networks of proxies, comma-separated, whose X-Forwarded-For is believed"
    )
    request_timeout: Seconds = Field(5.0, description="seconds until a new connection must have sent its request")
    max_pending: Count = Field(
        2000, description="connections without a request, and as many without a join; beyond, the oldest is ended"
    )
    max_request_size: Size = Field(16 * 1024, ge=256, description="bytes that the head of an HTTP request may have")

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: object) -> object:
        return split(value)


class ConnectionLimits(BaseModel):
    """What one WebSocket may send, leave unread, and how long it may take."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    max_message_size: Size = Field(4096, ge=64, description="bytes that one message of a peer may have")
    max_fragments: Count = Field(16, description="frames that one message of a peer may consist of")
    max_frame_rate: Rate = Field(
        10.0, description="frames or parts of frames that a peer may send per second, averaged over ten seconds"
    )
    max_outbox_size: Size = Field(1024 * 1024, description="bytes that may wait for one peer, besides its welcome")
    join_timeout: Seconds = Field(10.0, description="seconds from the handshake until a client must have sent its join")
    ping_interval: Seconds = Field(10.0, description="seconds from a peer's join or last pong to the next ping")
    ping_timeout: Seconds = Field(8.0, description="seconds for the answer to a ping")
    close_timeout: Seconds = Field(5.0, description="seconds until a connection that is being closed must have ended")


class Settings(OperatorSettings, AdmissionSettings, GateLimits, ConnectionLimits, BaseSettings):
    """The configuration. Keyword arguments (the command line) override the environment, which overrides `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="WG_ORCHESTRATOR_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        allow_inf_nan=False,
    )

    host: Host = Field("0.0.0.0", description="address to listen on")
    port: int = Field(8000, ge=0, le=65_535, description="port to listen on; 0 picks a free one")
    network: Annotated[Network, BeforeValidator(as_network)] = Field(
        IPv4Network("100.64.0.0/10"), description="network that every tenant's virtual IPs come from"
    )
    max_peers_per_tenant: Count = Field(20_000, description="peers that one tenant may hold")
    max_tenants: Count = Field(10_000, description="tenants with peers that the service may hold")
    grace: int = Field(
        60, ge=0, le=86_400, description="seconds that a v2 peer has to come back after its connection ended; 0: none"
    )
    history_size: Count = Field(1024, description="notices of a tenant that are kept for v2 peers that come back")
    history_bytes: Size = Field(1024 * 1024, description="bytes that these notices of one tenant may have together")
    update_interval: Seconds = Field(
        5.0, description="seconds from one change of a v2 peer's name or endpoints to the next that others are told"
    )
    trust_endpoints: bool = Field(
        False, description="let v2 peers announce public addresses that they do not connect from"
    )
    rendezvous_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="UDP port at which v2 peers prove their keys by WireGuard; each further worker takes the next one; "
        "0 picks a free one; unless set, nobody is asked to",
    )
    rendezvous_endpoint: Annotated[tuple[Annotated[Endpoint, BeforeValidator(as_endpoint)], ...], NoDecode] = Field(
        (),
        description="where peers reach that port, ADDRESS:PORT, comma-separated; with two of them it is seen whether a "
        "peer's NAT has a port for each destination; unless set, the address that a peer connects to",
    )
    rendezvous_key: Path | None = Field(
        None, description="file with the rendezvous' WireGuard private key, made on first use; unless set, a fresh key"
    )
    proof: Literal["off", "wanted", "required"] = Field(
        "wanted",
        description="whether v2 peers have to prove their keys, if there is a rendezvous: off, wanted or required; "
        "with required, v1 peers are not let in",
    )
    send_buffer_size: Size = Field(
        128 * 1024, description="bytes that may wait for one peer in the kernel, which may use twice as much memory"
    )
    tcp_user_timeout: Seconds = Field(15.0, description="seconds for a peer's machine to acknowledge what it is sent")
    shutdown_delay: float = Field(
        0.0,
        ge=0,
        le=86_400,
        description="seconds for which a service that is told to stop goes on, while it says that it is not ready",
    )
    shutdown_timeout: int = Field(8, ge=1, le=86_400, description="seconds for all peers to leave when it stops")
    allowed_hosts: Annotated[frozenset[Annotated[str, BeforeValidator(as_own_name)]], NoDecode] = Field(
        frozenset(),
        description="host names of the service, comma-separated, without ports; a WebSocket for another host is "
        "refused; unless set, any host will do",
    )
    allowed_origins: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(),
        description="web origins that may connect, comma-separated; * is any; the service's own origin always may",
    )
    tls_certificate: Path | None = Field(
        None, description="file with the certificate and its chain (PEM), to speak TLS"
    )
    tls_key: Path | None = Field(None, description="file with the certificate's private key (PEM)")
    tls_reload_interval: Seconds = Field(
        5.0, ge=0.1, description="seconds from one check whether the certificate was renewed to the next"
    )
    metrics_host: Host = Field("127.0.0.1", description="address to serve Prometheus' /metrics on")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="port to serve /metrics on; each further worker takes the next port; 0 picks a free one; "
        "unless set, metrics are not served",
    )
    max_log_rate: Rate = Field(
        100.0, description="log lines of one kind per second, averaged over ten seconds; one line sums up the rest"
    )
    workers: int = Field(1, ge=1, le=256, description="processes that serve on the port; more than one need NATS")
    nats_url: str | None = Field(
        None,
        min_length=1,
        description="NATS servers that all nodes share, comma-separated; unless set, this is the only node",
    )
    nats_stream: str = Field(
        "wg-orchestrator", pattern=r"^[A-Za-z0-9_-]+$", description="JetStream stream that holds the membership"
    )
    nats_replicas: int = Field(1, ge=1, le=5, description="NATS servers that keep the stream, if it is created here")
    nats_storage: Literal["memory", "file"] = Field(
        "memory", description="where NATS keeps the stream, if it is created here; if it is lost, nodes put it back"
    )
    nats_credentials: FilePath | None = Field(None, description="file with the JWT and key of the NATS user")
    nats_tls_ca: FilePath | None = Field(None, description="file with the CA certificates to check NATS servers by")
    nats_tls_certificate: FilePath | None = Field(None, description="file with the certificate to show to NATS servers")
    nats_tls_key: FilePath | None = Field(None, description="file with the private key of that certificate")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level to log")
    log_format: Literal["console", "json"] = Field("console", description="log lines for people or for machines")

    @model_validator(mode="after")
    def _complete(self) -> "Settings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key are given together")
        if self.workers > 1 and self.nats_url is None:
            raise ValueError("more than one worker need nats_url")
        if self.metrics_port and self.metrics_port + self.workers - 1 > 65_535:
            raise ValueError("metrics_port and the next ones, one for each worker, end at 65535")
        if self.rendezvous_port and self.rendezvous_port + self.workers - 1 > 65_535:
            raise ValueError("rendezvous_port and the next ones, one for each worker, end at 65535")
        if self.proof == "required" and self.rendezvous_port is None:
            raise ValueError("proof=required needs rendezvous_port")
        if self.rendezvous_port is None and (self.rendezvous_endpoint or self.rendezvous_key):
            raise ValueError("rendezvous_endpoint and rendezvous_key need rendezvous_port")
        if self.workers > 1 and self.rendezvous_endpoint:
            raise ValueError("rendezvous_endpoint names one process: start nodes of one worker each")
        if (fault := self.faults() or self.operator_faults()) is not None:
            raise ValueError(fault)
        if self.admin_port and self.admin_port + self.workers - 1 > 65_535:
            raise ValueError("admin_port and the next ones, one for each worker, end at 65535")
        if self.state is not None and self.nats_url is not None:
            raise ValueError("state is for one node: with nats_url, NATS remembers")
        if self.nats_tls_key is not None and self.nats_tls_certificate is None:
            raise ValueError("nats_tls_key is given with nats_tls_certificate")
        return self

    @field_validator("nats_url")
    @classmethod
    def _nats_urls(cls, value: str | None) -> str | None:
        for url in [] if value is None else value.split(","):
            as_nats_url(url.strip())
        return value

    @property
    def store(self) -> Literal["memory", "nats"]:
        """Where the tenants are held."""
        return "memory" if self.nats_url is None else "nats"

    @property
    def records(self) -> Literal["memory", "sqlite", "nats"]:
        """Where it is remembered who has come in, and what is revoked."""
        return "nats" if self.nats_url is not None else "memory" if self.state is None else "sqlite"

    @property
    def rendezvous(self) -> Literal["off", "udp"]:
        """How keys are proven."""
        return "off" if self.rendezvous_port is None else "udp"

    @field_validator("allowed_hosts", "allowed_origins", "rendezvous_endpoint", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return split(value)
