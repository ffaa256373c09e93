from collections import OrderedDict
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from wg_orchestrator.domain.errors import Conflict, NoAddressLeft
from wg_orchestrator.domain.peer import PublicKey, VirtualIP

Network: TypeAlias = IPv4Network | IPv6Network


class IPAllocator:
    """Says which address of a network comes next; takes and releases addresses in O(1).

    The order: the address that the key held last, if it is still free; else the lowest one that was never used;
    else the one released longest ago. WireGuard ties an address to a key, so an address that changes hands late
    is one that nobody still ties to its old owner.

    Which addresses are usable is what `ipaddress` calls hosts: never the network and broadcast address (IPv6: the
    subnet-router anycast address, RFC 4291 section 2.6.1); a /31, /127, /32 or /128 has none of these (RFC 3021,
    RFC 6164). Only addresses that were used take memory: a /10 costs nothing to create.
    """

    __slots__ = ("_beyond", "_first", "_last", "_last_held", "_network", "_next", "_released")

    def __init__(self, network: Network) -> None:
        self._network = network
        self._first = int(network.network_address)
        self._last = int(network.broadcast_address)
        if network.max_prefixlen - network.prefixlen > 1:
            self._first += 1
            if network.version == 4:
                self._last -= 1
        self._next = self._first
        # Addresses used above `_next`: another node may commit them in an order of its own.
        self._beyond: set[int] = set()
        self._released: OrderedDict[int, PublicKey] = OrderedDict()
        self._last_held: dict[PublicKey, int] = {}

    def next_for(self, key: PublicKey) -> VirtualIP:
        """The address that `key` should get now. Changes nothing. Raises NoAddressLeft."""
        address = self._last_held.get(key)
        if address is None:
            if self._next <= self._last:
                address = self._next
            elif self._released:
                address = next(iter(self._released))
            else:
                raise NoAddressLeft(f"every address of {self._network} is held")
        return type(self._network.network_address)(address)

    def take(self, virtual_ip: VirtualIP) -> None:
        """Mark a free address as held, whether or not it was next. Raises Conflict if it is not a free one."""
        address = int(virtual_ip)
        if address in self._released:
            key = self._released.pop(address)
            if self._last_held[key] == address:
                del self._last_held[key]
        elif address < self._next or address > self._last or address in self._beyond:
            raise Conflict(f"{virtual_ip} is not a free address of {self._network}")
        elif address > self._next:
            self._beyond.add(address)
        else:
            self._next += 1
            while self._next in self._beyond:
                self._beyond.remove(self._next)
                self._next += 1

    def release(self, virtual_ip: VirtualIP, key: PublicKey) -> None:
        """Free an address that `take` marked as held and that `key` has held until now."""
        address = int(virtual_ip)
        self._released[address] = key
        self._last_held[key] = address
