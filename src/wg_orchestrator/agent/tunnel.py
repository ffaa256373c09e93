"""What WireGuard has, or should have, for each peer (`wg(8)`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_network
from typing import TypeAlias

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.peer import PublicKey, VirtualIP

IPNetwork: TypeAlias = IPv4Network | IPv6Network
IPInterface: TypeAlias = IPv4Interface | IPv6Interface

KEEPALIVE = 25
"""Seconds between packets that keep a NAT's mapping open (`wg(8)`, PersistentKeepalive)."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """How one peer should be configured."""

    public_key: PublicKey
    allowed_ips: frozenset[IPNetwork]
    endpoint: Endpoint | None = None
    """Where to send packets. None: whatever the interface has; WireGuard learns it from the peer's own packets."""
    keepalive: int = 0
    """Seconds; 0 is off."""


@dataclass(frozen=True, slots=True)
class Observed(Tunnel):
    """How one peer is configured, and what has gone through its tunnel."""

    latest_handshake: float | None = None
    """Unix seconds; None if there was none."""
    rx_bytes: int = 0
    tx_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Wished:
    """What the interface should be like."""

    address: VirtualIP
    network: Network
    tunnels: Mapping[PublicKey, Tunnel]


@dataclass(frozen=True, slots=True)
class Actual:
    """What the interface is like."""

    addresses: frozenset[VirtualIP] = frozenset()
    routes: frozenset[IPNetwork] = frozenset()
    tunnels: Mapping[PublicKey, Observed] = field(default_factory=dict)


def alone(address: VirtualIP) -> frozenset[IPNetwork]:
    """The allowed IPs of a peer that has this one address."""
    return frozenset({ip_network(address)})
