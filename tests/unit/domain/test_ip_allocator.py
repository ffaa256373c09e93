import sys
import tracemalloc
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_key
from wg_orchestrator.domain.errors import Conflict, NoAddressLeft
from wg_orchestrator.domain.ip_allocator import IPAllocator
from wg_orchestrator.domain.peer import PublicKey


def allocator(network: str) -> IPAllocator:
    return IPAllocator(ip_network(network))


def allocate(addresses: IPAllocator, key: int) -> str:
    address = addresses.next_for(a_key(key))
    addresses.take(address)
    return str(address)


def release(addresses: IPAllocator, address: str, key: int) -> None:
    addresses.release(ip_address(address), a_key(key))


def test_the_lowest_address_never_used_comes_first() -> None:
    addresses = allocator("10.0.0.0/24")
    assert [allocate(addresses, key) for key in range(3)] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    release(addresses, "10.0.0.2", 1)
    assert allocate(addresses, 9) == "10.0.0.4"


def test_when_all_were_used_the_address_released_longest_ago_comes_first() -> None:
    addresses = allocator("10.0.0.0/29")
    for key in range(6):
        allocate(addresses, key)
    for key in (3, 0, 4):
        release(addresses, f"10.0.0.{key + 1}", key)
    assert [allocate(addresses, key) for key in (7, 8, 9)] == ["10.0.0.4", "10.0.0.1", "10.0.0.5"]


def test_a_key_that_returns_gets_its_address_back() -> None:
    addresses = allocator("10.0.0.0/24")
    for key in range(3):
        allocate(addresses, key)
    release(addresses, "10.0.0.2", 1)
    release(addresses, "10.0.0.1", 0)
    assert allocate(addresses, 1) == "10.0.0.2"


def test_a_key_whose_address_went_to_another_gets_the_next_one() -> None:
    addresses = allocator("10.0.0.0/30")
    allocate(addresses, 0)
    allocate(addresses, 1)
    release(addresses, "10.0.0.1", 0)
    assert allocate(addresses, 2) == "10.0.0.1"
    release(addresses, "10.0.0.2", 1)
    assert allocate(addresses, 0) == "10.0.0.2"


def test_a_key_that_returns_does_not_change_the_order_of_other_addresses() -> None:
    addresses = allocator("10.0.0.0/29")
    for key in range(6):
        allocate(addresses, key)
    for key in (0, 1, 2):
        release(addresses, f"10.0.0.{key + 1}", key)
    assert allocate(addresses, 1) == "10.0.0.2"
    release(addresses, "10.0.0.2", 1)
    assert [allocate(addresses, key) for key in (7, 8, 9)] == ["10.0.0.1", "10.0.0.3", "10.0.0.2"]


@pytest.mark.parametrize(
    ("network", "hosts"),
    [
        ("10.0.0.0/30", ["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.0/31", ["10.0.0.0", "10.0.0.1"]),
        ("10.0.0.7/32", ["10.0.0.7"]),
        ("fd00::/126", ["fd00::1", "fd00::2", "fd00::3"]),
        ("fd00::/127", ["fd00::", "fd00::1"]),
        ("fd00::7/128", ["fd00::7"]),
    ],
)
def test_all_hosts_of_a_network_and_nothing_else_are_handed_out(network: str, hosts: list[str]) -> None:
    assert hosts == [str(host) for host in ip_network(network).hosts()]
    addresses = allocator(network)
    assert [allocate(addresses, key) for key in range(len(hosts))] == hosts
    with pytest.raises(NoAddressLeft):
        addresses.next_for(a_key(99))


def test_addresses_are_of_the_networks_version() -> None:
    assert type(allocator("10.0.0.0/8").next_for(a_key(1))) is IPv4Address
    assert type(allocator("fd00::/64").next_for(a_key(1))) is IPv6Address


def test_an_allocator_for_a_large_network_takes_little_memory() -> None:
    for network in ("100.64.0.0/10", "fd00::/8"):
        addresses = allocator(network)
        parts = [getattr(addresses, name) for name in IPAllocator.__slots__]
        assert sum(sys.getsizeof(part) for part in parts) < 2000


def test_deciding_changes_nothing() -> None:
    addresses = allocator("10.0.0.0/24")
    assert addresses.next_for(a_key(1)) == addresses.next_for(a_key(2)) == ip_address("10.0.0.1")


def test_addresses_taken_in_any_order_are_not_handed_out_again() -> None:
    addresses = allocator("10.0.0.0/29")
    for address in ("10.0.0.2", "10.0.0.4", "10.0.0.1"):
        addresses.take(ip_address(address))
    assert [allocate(addresses, key) for key in range(3)] == ["10.0.0.3", "10.0.0.5", "10.0.0.6"]


def test_an_address_released_before_its_turn_counts_as_used() -> None:
    addresses = allocator("10.0.0.0/29")
    addresses.take(ip_address("10.0.0.2"))
    release(addresses, "10.0.0.2", 1)
    assert [allocate(addresses, key) for key in (5, 6)] == ["10.0.0.1", "10.0.0.3"]
    assert allocate(addresses, 1) == "10.0.0.2"


def test_a_key_that_held_two_addresses_gets_the_later_one() -> None:
    addresses = allocator("10.0.0.0/29")
    for address in ("10.0.0.1", "10.0.0.2"):
        addresses.take(ip_address(address))
        release(addresses, address, 1)
    assert str(addresses.next_for(a_key(1))) == "10.0.0.2"
    addresses.take(ip_address("10.0.0.1"))
    assert str(addresses.next_for(a_key(1))) == "10.0.0.2"


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.3", "10.0.0.0", "10.0.0.7", "10.0.1.1", "9.255.255.255"])
def test_taking_what_is_not_free_is_a_conflict(address: str) -> None:
    addresses = allocator("10.0.0.0/29")
    for held in ("10.0.0.1", "10.0.0.3"):
        addresses.take(ip_address(held))
    with pytest.raises(Conflict):
        addresses.take(ip_address(address))


def test_a_key_whose_two_addresses_are_held_again_gets_a_new_one() -> None:
    addresses = allocator("10.0.0.0/29")
    for address in ("10.0.0.1", "10.0.0.2"):
        addresses.take(ip_address(address))
        release(addresses, address, 1)
    addresses.take(ip_address("10.0.0.2"))
    addresses.take(ip_address("10.0.0.1"))
    assert str(addresses.next_for(a_key(1))) == "10.0.0.3"


class NaiveAllocator:
    """The same rules in their simplest form: a list of released addresses, with their keys while those are known."""

    def __init__(self, network: str) -> None:
        self.fresh = [str(host) for host in ip_network(network).hosts()]
        self.released: list[tuple[str, int | None]] = []
        self.held: dict[str, int] = {}
        self.last: dict[int, str] = {}

    def next_for(self, key: int) -> str | None:
        if (self.last.get(key), key) in self.released:
            return self.last[key]
        return next(iter(self.fresh + [address for address, _ in self.released]), None)

    def take(self, address: str, key: int) -> None:
        self.fresh = [free for free in self.fresh if free != address]
        self.released = [entry for entry in self.released if entry[0] != address]
        self.held[address] = key

    def release(self, address: str) -> None:
        key = self.held.pop(address)
        self.released.append((address, key))
        self.last[key] = address
        remembered = [entry for entry in self.released if entry[1] is not None]
        if len(remembered) > REMEMBERED:
            self.released[self.released.index(remembered[0])] = remembered[0][0], None


REMEMBERED = 3


@given(st.randoms(use_true_random=False))
def test_in_any_order_of_events_the_allocator_follows_the_rules(die: Random) -> None:
    addresses, naive = IPAllocator(ip_network("10.0.0.0/28"), REMEMBERED), NaiveAllocator("10.0.0.0/28")
    for _ in range(die.randrange(150)):
        free = naive.fresh + [ip for ip, _ in naive.released]
        if naive.held and die.random() < 0.5:
            address = die.choice(sorted(naive.held))
            addresses.release(ip_address(address), a_key(naive.held[address]))
            naive.release(address)
        elif free:
            key = die.randrange(8)
            # At times another address than the next one: another node may know other events.
            address = die.choice(free) if die.random() < 0.3 else naive.next_for(key) or ""
            addresses.take(ip_address(address))
            naive.take(address, key)
        for key in range(8):
            expected = naive.next_for(key)
            if expected is None:
                with pytest.raises(NoAddressLeft):
                    addresses.next_for(a_key(key))
            else:
                assert str(addresses.next_for(a_key(key))) == expected


def test_an_address_that_was_released_takes_a_few_bytes() -> None:
    addresses, cycles = allocator("100.64.0.0/10"), 50_000
    tracemalloc.start()
    for number in range(cycles):
        address = addresses.next_for(PublicKey(str(number)))
        addresses.take(address)
        addresses.release(address, PublicKey(str(number)))
        if number == 10_000:
            before, _ = tracemalloc.get_traced_memory()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / (cycles - 10_000) < 10
    assert addresses.next_for(a_key(1)) == ip_address("100.64.0.0") + cycles + 1
