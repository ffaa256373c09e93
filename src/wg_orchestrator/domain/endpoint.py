import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from wg_orchestrator.domain.errors import InvalidEndpoint

IPAddress: TypeAlias = IPv4Address | IPv6Address

HIGHEST_PORT = 65535

_TEXT = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]):(0|[1-9][0-9]*)")
# All of these digits are above any port, and so is a number of more digits: these tell enough of it.
_PORT_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer says that its WireGuard can be reached. Whether others may be told is for `passed_on` to say."""

    address: IPAddress
    port: int
    """0 or above 65535 if the peer says so: that is no port, and is never passed on."""

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read `10.0.0.7:51820` or `[fd00:1::7]:51820`, in any spelling of the IPv6 address.

        There are no names, no scopes (`%eth0`), no signs and no spaces; an IPv6 address has its brackets. The numbers
        of an IPv4 address, and the port, are in decimal digits without leading zeros, which some read as octal. The
        port may be any number.

        Raises InvalidEndpoint.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InvalidEndpoint("an endpoint is an IP address and a port")
        ipv4, ipv6, port = match.groups()
        try:
            address = IPv6Address(ipv6) if ipv4 is None else IPv4Address(ipv4)
        except AddressValueError as error:
            raise InvalidEndpoint("an endpoint's address is an IP address") from error
        return cls(address, int(port[:_PORT_DIGITS]))

    def unmapped(self) -> "Endpoint":
        """The same, with an IPv4-mapped address (RFC 4291, section 2.5.5.2) as the IPv4 address that it is."""
        address = _unmapped(self.address)
        return self if address is self.address else Endpoint(address, self.port)

    def __str__(self) -> str:
        """The canonical text: RFC 5952's, sections 4 and 6."""
        return f"{self.address}:{self.port}" if self.address.version == 4 else f"[{self.address}]:{self.port}"


def passed_on(
    endpoints: Iterable[Endpoint],
    source: IPAddress | None,
    network: IPv4Network | IPv6Network,
    trusts_strangers: bool,
) -> tuple[Endpoint, ...]:
    """Those of a peer's endpoints that others may be told, in order, each once, with IPv4-mapped addresses as IPv4.

    An endpoint can't be aimed: whoever is told of it sends packets there, so it must not be a stranger's. It may be an
    address of a private network, or `source`, from which the peer's own connection comes (None if that is not known).
    With `trusts_strangers` it may be any public address too. Never is it one at which no other peer can be reached, or
    one that stands for another address, or one of the tenant's `network`: those lead through the tunnels themselves.
    """
    own = None if source is None else _unmapped(source)
    unmapped = dict.fromkeys(endpoint.unmapped() for endpoint in endpoints)
    return tuple(
        endpoint
        for endpoint in unmapped
        if may_be_reached(endpoint, network)
        and (
            endpoint.address == own
            or is_private(endpoint.address)
            or (trusts_strangers and _is_public(endpoint.address))
        )
    )


def parse_address(text: str) -> IPAddress | None:
    """The address that a socket's name begins with, without its scope, and IPv4 if it is IPv4-mapped; None if it is
    none.
    """
    try:
        return _unmapped(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def may_be_reached(endpoint: Endpoint, network: IPv4Network | IPv6Network) -> bool:
    """Whether another peer of a tenant with this network could reach anybody there."""
    return 1 <= endpoint.port <= HIGHEST_PORT and endpoint.address not in network and is_reachable(endpoint.address)


def is_reachable(address: IPAddress) -> bool:
    """Whether another machine could have a way to this address: it is no loopback address, for example."""
    return not _is_one_of(_NEVER, address)


def is_private(address: IPAddress) -> bool:
    """Whether the address is of a private network (RFC 1918, RFC 4193): many machines have the same one."""
    return _is_one_of(_PRIVATE, address)


def is_shared(address: IPAddress) -> bool:
    """Whether the address is a provider's own, which it gives to machines behind its NAT (RFC 6598)."""
    return address in _SHARED


def is_for_private_use(network: IPv4Network | IPv6Network) -> bool:
    """Whether all addresses of it are private, or all are shared: nobody's own in public."""
    first, last = network.network_address, network.broadcast_address
    return (is_private(first) and is_private(last)) or (is_shared(first) and is_shared(last))


def _unmapped(address: IPAddress) -> IPAddress:
    return address if address.version == 4 else address.ipv4_mapped or address


def _is_one_of(networks: "_Networks", address: IPAddress) -> bool:
    return any(address in network for network in networks)


def _is_public(address: IPAddress) -> bool:
    return _is_one_of(_UNICAST, address) and not _is_one_of(_RESERVED, address)


_Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]

_SHARED = ip_network("100.64.0.0/10")
"""Providers' (RFC 6598), and where tenants' networks usually are."""

_NEVER: _Networks = (
    ip_network("0.0.0.0/32"),  # Unspecified.
    _SHARED,
    ip_network("127.0.0.0/8"),  # Loopback.
    ip_network("169.254.0.0/16"),  # Link-local.
    ip_network("192.88.99.0/24"),  # 6to4's relays (RFC 7526).
    ip_network("224.0.0.0/4"),  # Multicast.
    ip_network("255.255.255.255/32"),  # Broadcast.
    ip_network("::/128"),  # Unspecified.
    ip_network("::1/128"),  # Loopback.
    ip_network("64:ff9b::/96"),  # NAT64 (RFC 6052): an IPv4 address in disguise.
    ip_network("64:ff9b:1::/48"),  # NAT64 within a site (RFC 8215).
    ip_network("2002::/16"),  # 6to4 (RFC 3056): an IPv4 address in disguise.
    ip_network("fe80::/10"),  # Link-local.
    ip_network("ff00::/8"),  # Multicast.
)

_PRIVATE: _Networks = (
    ip_network("10.0.0.0/8"),  # RFC 1918.
    ip_network("172.16.0.0/12"),
    ip_network("192.168.0.0/16"),
    ip_network("fc00::/7"),  # RFC 4193.
)

_UNICAST: _Networks = (ip_network("0.0.0.0/0"), ip_network("2000::/3"))  # RFC 4291, section 2.4, and IANA's registry.

# What of it is nobody's public address, by IANA's special-purpose registries (RFC 6890); it is not for the Python that
# runs this to decide. What is in the tables above need not be here.
_RESERVED: _Networks = (
    ip_network("0.0.0.0/8"),  # "This network" (RFC 791).
    ip_network("192.0.0.0/24"),  # Protocol assignments (RFC 6890).
    ip_network("192.0.2.0/24"),  # Documentation (RFC 5737).
    ip_network("198.18.0.0/15"),  # Benchmarks (RFC 2544).
    ip_network("198.51.100.0/24"),  # Documentation.
    ip_network("203.0.113.0/24"),  # Documentation.
    ip_network("240.0.0.0/4"),  # Reserved (RFC 1112).
    ip_network("2001::/23"),  # Protocol assignments (RFC 2928), Teredo among them.
    ip_network("2001:db8::/32"),  # Documentation (RFC 3849).
    ip_network("3fff::/20"),  # Documentation (RFC 9637).
)
