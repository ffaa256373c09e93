from collections.abc import AsyncIterator

from wg_orchestrator.agent.linux.interface import MARK
from wg_orchestrator.agent.linux.links import Links, events
from wg_orchestrator.agent.paths import Here
from wg_orchestrator.domain.endpoint import IPAddress, is_reachable, is_shared
from wg_orchestrator.domain.ip_allocator import Network

_NOT_USABLE = 0x20 | 0x40 | 0x08
"""Deprecated, tentative, or found to be another machine's too (`IFA_F_DEPRECATED`, `_TENTATIVE`, `_DADFAILED`)."""


class LinuxMachine:
    """The port `Machine`, by netlink: all interfaces but the agent's own."""

    def __init__(self, interface: str, links: Links) -> None:
        """`interface` is the agent's own."""
        self._interface = interface
        self._links = links

    async def here(self) -> Here:
        """See the port."""
        ours = {link.index for link in await self._links.all() if self._is_ours(link.name, link.alias)}
        return Here(
            tuple(
                address
                for index, address, flags in await self._links.addresses()
                if index not in ours and not flags & _NOT_USABLE and _leads_out(address.ip)
            )
        )

    async def overlap(self, network: Network) -> str | None:
        """See the port."""
        names = {link.index: link.name for link in await self._links.all() if link.name != self._interface}
        for index, address, _ in await self._links.addresses():
            if index in names and address.ip.version == network.version and address.ip in network:
                return f"{names[index]} has the address {address}, which is in the tenant's network {network}"
        for route in await self._links.routes():
            if route.index not in names:
                continue
            if _is_inside(route.network, network):
                return f"the route to {route.network} by {names[route.index]} is in the tenant's network {network}"
            if route.gateway is not None and route.gateway in network:
                return f"the gateway {route.gateway} of {names[route.index]} is in the tenant's network {network}"
        return None

    async def changes(self) -> AsyncIterator[None]:
        """See the port."""
        async for _ in events():
            yield

    def _is_ours(self, name: str, alias: str) -> bool:
        return name == self._interface or alias.startswith(f"{MARK} ")


def _leads_out(address: IPAddress) -> bool:
    """Whether a machine with this address may reach others, or be reached by them."""
    return is_reachable(address) or is_shared(address)


def _is_inside(route: Network, network: Network) -> bool:
    return (
        route.version == network.version and route.prefixlen >= network.prefixlen and route.network_address in network
    )
