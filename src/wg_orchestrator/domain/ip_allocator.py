import random
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from wg_orchestrator.domain.errors import Conflict, NoAddressLeft
from wg_orchestrator.domain.peer import PublicKey, VirtualIP

Network: TypeAlias = IPv4Network | IPv6Network

REMEMBERED_KEYS = 4096
"""Of how many released addresses of a tenant it is known whose they were."""
_RANDOM_TRIES = 16


class IPAllocator:
    """Says which address of a network comes next; takes and releases addresses in O(1).

    The order: the address that is wished for, if it is free; the one that the key held last, if it is free and was
    released lately; the lowest one that was never used; the one released longest ago. WireGuard ties an address to a
    key, so an address that changes hands late is one that nobody still ties to its old owner.

    Which addresses are usable is what `ipaddress` calls hosts: never the network and broadcast address (IPv6: the
    subnet-router anycast address, RFC 4291 section 2.6.1); a /31, /127, /32 or /128 has none of these (RFC 3021,
    RFC 6164). Of a larger network the first 2^32 are used. Only addresses that were used take memory: a /10 costs
    nothing to create, and an address that was released costs four bytes, once its key is no longer remembered.
    """

    __slots__ = (
        "_beyond", "_first", "_held", "_last", "_last_held", "_network", "_next", "_recent", "_released",
        "_remembered_keys", "_scatters",
    )  # fmt: skip

    def __init__(
        self,
        network: Network,
        remembered_keys: int = REMEMBERED_KEYS,
        scatters: Callable[[], bool] = lambda: False,
    ) -> None:
        """`scatters`: whether whoever has no address to come back to gets one at a random place instead."""
        self._network = network
        self._scatters = scatters
        self._remembered_keys = remembered_keys
        self._first = int(network.network_address)
        self._last = int(network.broadcast_address)
        if network.max_prefixlen - network.prefixlen > 1:
            self._first += 1
            if network.version == 4:
                self._last -= 1
        self._last = min(self._last, self._first + 2**32 - 1)
        self._next = self._first
        # Addresses used above `_next`: another node may commit them in an order of its own.
        self._beyond: set[int] = set()
        self._held: set[int] = set()
        # The last to be released, with the keys that held them; those before them are in `_released`.
        self._recent: OrderedDict[int, PublicKey] = OrderedDict()
        self._last_held: dict[PublicKey, int] = {}
        self._released = _Queue()

    def next_for(self, key: PublicKey, wish: VirtualIP | None = None) -> VirtualIP:
        """The address that `key` should get now: its wish, if that is free. Changes nothing. Raises NoAddressLeft."""
        if wish is not None and self.is_free(wish):
            return wish
        if key not in self._last_held and self._scatters() and (scattered := self._anywhere()) is not None:
            return scattered
        for address in self.candidates(key):
            return address
        raise NoAddressLeft(f"every address of {self._network} is held")

    def candidates(self, key: PublicKey) -> Iterator[VirtualIP]:
        """Every free address, in the order in which `key` should get them; valid until something is taken or released.

        The one that it held last may come twice.
        """
        to_address = self._to_address
        last_held = self._last_held.get(key)
        if last_held is not None:
            yield to_address(last_held)
        for address in range(self._next, self._last + 1):
            if address not in self._beyond:
                yield to_address(address)
        for number in self._released:
            yield to_address(self._first + number)
        for address in self._recent:
            yield to_address(address)

    def has(self, virtual_ip: VirtualIP) -> bool:
        """Whether it is an address of the network that a peer may have."""
        return virtual_ip.version == self._network.version and self._first <= int(virtual_ip) <= self._last

    def is_free(self, virtual_ip: VirtualIP) -> bool:
        return self.has(virtual_ip) and int(virtual_ip) not in self._held

    def take(self, virtual_ip: VirtualIP) -> None:
        """Mark a free address as held, whether or not it was next. Raises Conflict if it is not a free one."""
        address = int(virtual_ip)
        if address in self._held or not self._first <= address <= self._last:
            raise Conflict(f"{virtual_ip} is not a free address of {self._network}")
        self._held.add(address)
        if address in self._recent:
            self._forget(address, self._recent.pop(address))
        elif address < self._next or address in self._beyond:
            self._released.remove(address - self._first)
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
        self._held.remove(address)
        self._recent[address] = key
        self._last_held[key] = address
        if len(self._recent) > self._remembered_keys:
            oldest, its_key = self._recent.popitem(last=False)
            self._forget(oldest, its_key)
            self._released.append(oldest - self._first)

    def _anywhere(self) -> VirtualIP | None:
        """A free address at a random place, or None if that is hard to find."""
        for _ in range(_RANDOM_TRIES):
            address = random.randint(self._first, self._last)
            if address not in self._held:
                return self._to_address(address)
        return None

    def _to_address(self, address: int) -> VirtualIP:
        return type(self._network.network_address)(address)

    def _forget(self, address: int, key: PublicKey) -> None:
        if self._last_held.get(key) == address:  # It may have held another one since.
            del self._last_held[key]


class _Queue:
    """Numbers below 2^32, first in, first out; any of them can be removed. Four bytes each."""

    __slots__ = ("_head", "_numbers", "_removed")

    def __init__(self) -> None:
        self._numbers = array("I")
        self._head = 0
        # How often a number is to be passed over: it may have been removed, have come again, and been removed again.
        self._removed: dict[int, int] = {}

    def __iter__(self) -> Iterator[int]:
        passed_over = dict(self._removed)
        for position in range(self._head, len(self._numbers)):
            number = self._numbers[position]
            if passed_over.get(number):
                passed_over[number] -= 1
            else:
                yield number

    def append(self, number: int) -> None:
        self._numbers.append(number)

    def remove(self, number: int) -> None:
        self._removed[number] = self._removed.get(number, 0) + 1
        while self._removed and (times := self._removed.pop(first := self._numbers[self._head], 0)):
            if times > 1:
                self._removed[first] = times - 1
            self._head += 1
        if self._head > len(self._numbers) // 2:
            del self._numbers[: self._head]
            self._head = 0
