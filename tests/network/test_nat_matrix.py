"""Which machines find each other through which NATs: each row ends in pings, or in the reason why not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.agents import Peer, Service, until
from harness.namespaces import Internet, Machine, address_of
from tests.network.conftest import NewPeer

RANDOM = "masquerade random"


@pytest.fixture
def service(internet: Internet, tmp_path: Path) -> Iterator[Service]:
    """A service whose rendezvous has two addresses."""
    machine = internet.public("server")
    machine.set_address("eth0", "198.51.100.250/24")
    endpoints = f"{address_of(machine).ip}:51820,198.51.100.250:51820"
    service = Service(machine, tmp_path, "--rendezvous-port", "51820", "--rendezvous-endpoint", endpoints)
    yield service.start()
    service.kill()


def both_ping(one: Peer, two: Peer) -> None:
    one.ping(two)
    two.ping(one)


def find_no_way(one: Peer, two: Peer, reason: str) -> None:
    until(lambda: one.path_to(two) == ("none", reason) == two.path_to(one), "the reason", 60)


def proven(peer: Peer) -> bool:
    return "the key is proven" in peer.log()


def test_both_in_public(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    both_ping(one, two)
    until(lambda: proven(one) and proven(two), "the proofs")


def test_one_behind_a_nat(internet: Internet, new_peer: NewPeer) -> None:
    lan = internet.nat("router")
    both_ping(new_peer(lan.machine("one", 2), "one"), new_peer(internet.public("two"), "two"))


def test_behind_different_nats_that_drop_what_comes_in(internet: Internet, new_peer: NewPeer) -> None:
    near, far = internet.nat("near"), internet.nat("far")
    one, two = new_peer(near.machine("one", 2), "one"), new_peer(far.machine("two", 2), "two")
    both_ping(one, two)
    assert one.path_to(two) == two.path_to(one) == ("direct", None)


def test_behind_different_nats_long_after_each_other(internet: Internet, new_peer: NewPeer) -> None:
    near, far = internet.nat("near"), internet.nat("far")
    one = new_peer(near.machine("one", 2), "one")
    until(lambda: proven(one), "the proof")
    both_ping(one, new_peer(far.machine("two", 2), "two"))


def test_two_behind_one_nat_meet_in_their_own_network(internet: Internet, new_peer: NewPeer) -> None:
    lan = internet.nat("router")
    one, two = new_peer(lan.machine("one", 2), "one"), new_peer(lan.machine("two", 3), "two")
    both_ping(one, two)
    until(lambda: one.path_to(two) == two.path_to(one) == ("lan", None), "the path")


def test_a_nat_that_gives_another_port(internet: Internet, new_peer: NewPeer) -> None:
    # The second machine with the same port behind one NAT gets another one there.
    near, far = internet.nat("near"), internet.nat("far")
    first, second = new_peer(near.machine("one", 2), "first"), new_peer(near.machine("two", 3), "second")
    until(lambda: proven(first) and proven(second), "the proofs")
    third = new_peer(far.machine("three", 2), "third")
    both_ping(first, third)
    both_ping(second, third)


def test_a_nat_that_is_somewhere_else_while_the_tunnel_is_up(internet: Internet, new_peer: NewPeer) -> None:
    near, far = internet.nat("near"), internet.nat("far")
    one, two = new_peer(near.machine("one", 2), "one"), new_peer(far.machine("two", 2), "two")
    both_ping(one, two)
    _readdress(near.router, "198.51.100.222/24")
    until(lambda: "packets come from 198.51.100.222" in one.log(), "the move", 60)
    both_ping(one, two)


def _readdress(router: Machine, address: str) -> None:
    """With its address, the router loses the mappings that it had."""
    router.run("ip", "address", "flush", "dev", "eth0", "scope", "global")
    router.set_address("eth0", address)


def test_a_port_for_each_destination_on_one_side_and_the_other_in_public(internet: Internet, new_peer: NewPeer) -> None:
    lan = internet.nat("router", mapping=RANDOM)
    both_ping(new_peer(lan.machine("one", 2), "one"), new_peer(internet.public("two"), "two"))


def test_a_port_for_each_destination_on_one_side_and_a_nat_on_the_other(internet: Internet, new_peer: NewPeer) -> None:
    near, far = internet.nat("near", mapping=RANDOM), internet.nat("far")
    find_no_way(new_peer(near.machine("one", 2), "one"), new_peer(far.machine("two", 2), "two"), "symmetric-nat")


def test_a_port_for_each_destination_on_both_sides(internet: Internet, new_peer: NewPeer) -> None:
    near, far = internet.nat("near", mapping=RANDOM), internet.nat("far", mapping=RANDOM)
    find_no_way(new_peer(near.machine("one", 2), "one"), new_peer(far.machine("two", 2), "two"), "symmetric-nat")


def test_where_udp_is_blocked_a_machine_is_in_unproven(internet: Internet, new_peer: NewPeer) -> None:
    near = internet.nat("near", blocks="meta l4proto udp")
    one, two = new_peer(near.machine("one", 2), "one"), new_peer(internet.public("two"), "two")
    until(lambda: one.is_connected() and proven(two), "their places")
    find_no_way(one, two, "no-handshake")
    assert not proven(one)
