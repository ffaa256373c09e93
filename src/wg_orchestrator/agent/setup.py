from dataclasses import dataclass

from wg_orchestrator.domain.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Setup:
    """What the owner of a machine says of its place in the tenant."""

    interface: str
    tenant: str
    listen_port: int = 51820
    mtu: int = 1420
    endpoints: tuple[Endpoint, ...] = ()
    """Where others can reach this machine, as its owner knows."""
    takes_public_network: bool = False
    """Whether the tenant's network may have public addresses: then the machine does not reach their owners any more."""
    keeps: bool = False
    """Whether the interface and the place in the tenant outlive the agent."""
