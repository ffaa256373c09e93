from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from wg_orchestrator.agent.plan import RemoveTunnel, SetTunnel
from wg_orchestrator.agent.tunnel import Observed
from wg_orchestrator.domain.peer import PublicKey


@dataclass(frozen=True, slots=True)
class DeviceState:
    """The WireGuard part of an interface."""

    private_key: str = field(repr=False)
    """A secret; "" if there is none."""
    listen_port: int
    """0 until there is a socket."""
    tunnels: Mapping[PublicKey, Observed]


class Device(Protocol):
    """WireGuard's own configuration of an interface, wherever it runs."""

    async def read(self) -> DeviceState:
        """Raises InterfaceLost if WireGuard does not run the interface any more, or EnvironmentFault."""

    async def set_device(self, private_key: str | None, listen_port: int | None) -> None:
        """None stays as it is. Raises InterfaceLost, or EnvironmentFault if the port is taken."""

    async def set_tunnels(self, changes: Iterable[SetTunnel | RemoveTunnel]) -> None:
        """Make these changes, in order, and no others. Raises InterfaceLost or EnvironmentFault."""
