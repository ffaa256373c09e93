"""What the agent asks of its machine and of the service."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from wg_orchestrator.agent.paths import Here
from wg_orchestrator.agent.plan import Change
from wg_orchestrator.agent.tunnel import Actual
from wg_orchestrator.client.member import Event
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.domain.peer import VirtualIP


class Interface(Protocol):
    """A WireGuard interface of this machine."""

    async def open(self, private_key: str, listen_port: int, mtu: int) -> None:
        """Have the interface up with this key and this UDP port. One that is there and is ours is taken over as it is:
        no tunnel of it is touched.

        Raises EnvironmentFault if that can't be; then nothing is left behind. An interface of this name that is not
        ours is such a fault, and stays as it is.
        """

    async def read(self) -> Actual:
        """What the interface is like. Raises InterfaceLost, or EnvironmentFault."""

    async def apply(self, changes: Sequence[Change]) -> None:
        """Make these changes, in order, and touch nothing else. Raises InterfaceLost, or EnvironmentFault if one of
        them can't be made; those before it are made then, and may be those after it.
        """

    async def close(self) -> None:
        """Remove the interface, if it is there and is ours."""


class Machine(Protocol):
    """The rest of this machine's network."""

    async def here(self) -> Here:
        """The addresses by which this machine reaches others: those of its other interfaces."""

    async def overlap(self, network: Network) -> str | None:
        """A local address, or a route or gateway of another interface, that is inside `network`, in words; None without
        one.
        """

    def changes(self) -> AsyncIterator[None]:
        """Yield whenever addresses, routes or interfaces have changed."""


class Link(Protocol):
    """The machine's membership of its tenant: what `Member` is."""

    picture: Picture

    @property
    def local_address(self) -> IPv4Address | IPv6Address | None:
        """The address that the connection comes from; None if there is no connection."""

    @property
    def remote_address(self) -> IPv4Address | IPv6Address | None:
        """The address that the connection goes to; None if there is no connection."""

    def follow(self) -> AsyncGenerator[Event, None]:
        """See `Member.follow`."""

    async def update(self, display_name: str | None = None, endpoints: Iterable[Endpoint] | None = None) -> None:
        """See `Member.update`."""

    async def applied(self, revision: int, paths: Mapping[VirtualIP, PathKind] | None = None) -> None:
        """See `Member.applied`."""

    async def leave(self) -> None:
        """See `Member.leave`."""

    def reconnect(self) -> None:
        """See `Member.reconnect`."""

    def vanish(self) -> None:
        """See `Member.vanish`."""
