"""What an agent says of itself. The names and values are those of docs/agent.md."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One peer, as this machine reaches it."""

    display_name: str
    public_key: str
    virtual_ip: str
    endpoint: str | None
    path: str
    """`lan`, `direct` or `none`."""
    reason: str | None
    """Why there is no path: `no-endpoint`, `no-handshake` or `symmetric-nat`."""
    latest_handshake: int | None
    """Unix seconds."""
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class Status:
    """One interface, and the peers of its tenant."""

    interface: str
    public_key: str
    virtual_ip: str | None
    network: str | None
    connected: bool
    """Whether there is a connection to the service now; tunnels do not need it."""
    revision: int | None
    """The tenant's revision that the interface is as of."""
    peers: tuple[PeerStatus, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The same as values of JSON."""
        return asdict(self)
