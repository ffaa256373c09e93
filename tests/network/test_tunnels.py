"""Machines that ping each other, and what must not disturb them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path

import pytest

from harness.agents import Peer, Pings, Service, until
from harness.namespaces import Internet, address_of
from tests.network.conftest import NewPeer


@pytest.fixture
def pair(internet: Internet, new_peer: NewPeer) -> tuple[Peer, Peer]:
    """Two public machines that reach each other."""
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    two.ping(one)
    return one, two


def test_machines_in_public_and_behind_a_nat_all_ping_each_other(internet: Internet, new_peer: NewPeer) -> None:
    lan = internet.nat("router")
    public = new_peer(internet.public("public"), "public")
    left, right = new_peer(lan.machine("left", 2), "left"), new_peer(lan.machine("right", 3), "right")
    peers = (public, left, right)
    for one, other in permutations(peers, 2):
        one.ping(other)
    assert left.path_to(right) == ("lan", None)
    assert left.path_to(public) == ("direct", None)
    for peer in peers:
        answer = peer.ask("ping-all")
        assert answer.returncode == 0, answer.stdout
        assert peer.end() == 0
        assert not peer.has_interface()


@contextmanager
def _crowd(service: Service, peers: int) -> Iterator[None]:
    """So many peers without machines come, change and go meanwhile; at the end all of them have been there."""
    words = [sys.executable, "-m", "harness.network_crowd", service.url(), str(peers)]
    crowd = service.machine.start(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    yield
    output, _ = crowd.communicate(timeout=120)
    assert crowd.returncode == 0, output


def _while_500_peers_come_change_and_go(service: Service, one: Peer, two: Peer) -> None:
    with _crowd(service, 500):
        pass


def _while_the_service_is_killed_and_restarted(service: Service, one: Peer, two: Peer) -> None:
    service.kill()
    until(lambda: not one.is_connected() and not two.is_connected(), "the loss")
    service.start()
    until(lambda: one.is_connected() and two.is_connected(), "the return")


def _while_the_agents_are_killed_and_started_again(service: Service, one: Peer, two: Peer) -> None:
    for peer in (one, two):
        peer.kill()
        peer.start()
        until(peer.is_connected, "the return")


def _while_the_service_stands_still(service: Service, one: Peer, two: Peer) -> None:
    service.pause(3.0)


@pytest.mark.parametrize(
    "disturb",
    [
        _while_500_peers_come_change_and_go,
        _while_the_service_is_killed_and_restarted,
        _while_the_agents_are_killed_and_started_again,
        _while_the_service_stands_still,
    ],
)
def test_no_ping_is_lost(
    disturb: Callable[[Service, Peer, Peer], None], service: Service, pair: tuple[Peer, Peer]
) -> None:
    one, two = pair
    address = one.virtual_ip
    pinging = one.pinging(two)
    disturb(service, one, two)
    pings = pinging.end()
    assert pings.lost == 0, pings
    assert pings.sent > 20
    assert one.virtual_ip == address


def test_a_crowd_of_machines_that_are_off_starves_no_tunnel(
    service: Service, internet: Internet, new_peer: NewPeer
) -> None:
    # Each packet to one of them waits in the sender's socket until its hardware address is given up.
    lan = internet.nat("router")
    left, right = new_peer(lan.machine("left", 2), "left"), new_peer(lan.machine("right", 3), "right")
    left.ping(right)
    words = ["-m", "harness.network_crowd", service.url(), "600", "--stay", "--lan", lan.prefix]
    pinging = left.pinging(right)
    crowd = service.machine.start(sys.executable, *words, stdout=subprocess.PIPE)
    assert crowd.stdout is not None
    assert "all are there" in crowd.stdout.readline()
    until(lambda: len(left.status()["peers"]) == 601, "the crowd")
    until_sent(10)
    pings = pinging.end()
    crowd.kill()
    crowd.communicate()
    assert pings.lost == 0, pings


def test_when_a_machines_address_changes_at_most_two_pings_a_second_apart_are_lost(
    internet: Internet, new_peer: NewPeer
) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    two.ping(one)
    there, back = one.pinging(two, 1.0), two.pinging(one, 1.0)
    until_sent(3)
    one.machine.run("ip", "address", "flush", "dev", "eth0", "scope", "global")
    one.machine.set_address("eth0", "198.51.100.200/24")
    until(lambda: one.status()["connected"] and "198.51.100.200" in str(two.status()), "the new address")
    until_sent(5)
    lost: list[Pings] = [there.end(), back.end()]
    assert all(pings.lost <= 2 for pings in lost), lost


def until_sent(seconds: int) -> None:
    """Let `ping` go on for so long: it says nothing until its end."""
    subprocess.run(["sleep", str(seconds)], check=True)


def test_bytes_move_through_a_tunnel(pair: tuple[Peer, Peer]) -> None:
    one, two = pair
    before = _received(two)
    size = 4_000_000
    script = (
        "import socket,sys; s=socket.create_server(('', 7000)); c=s.accept()[0]; n=0\n"
        "while d := c.recv(65536): n += len(d)\n"
        "print(n)"
    )
    server = two.machine.start(sys.executable, "-c", script, stdout=subprocess.PIPE)
    client = f"import socket; c=socket.create_connection(('{two.virtual_ip}', 7000)); c.sendall(bytes({size}))"
    until(lambda: "7000" in two.machine.run("ss", "-Hltn"), "the listener")
    one.machine.run(sys.executable, "-c", client)
    output, _ = server.communicate(timeout=30)
    assert int(output) == size
    until(lambda: _received(two) - before > size, "the count")


def _received(peer: Peer) -> int:
    return int(sum(one["rx_bytes"] for one in peer.status()["peers"]))


def test_machines_behind_two_nats_reach_each_other_by_a_forwarded_port(internet: Internet, new_peer: NewPeer) -> None:
    near, far = internet.nat("near"), internet.nat("far")
    near.forward(51820, 2)
    outside = f"{address_of(near.router).ip}:51820"
    left = new_peer(near.machine("left", 2), "left", "--endpoint", outside)
    right = new_peer(far.machine("right", 2), "right")
    right.ping(left)
    left.ping(right)
    assert right.path_to(left) == ("direct", None)


def test_behind_two_nats_without_one_it_says_that_there_is_no_handshake(internet: Internet, new_peer: NewPeer) -> None:
    near, far = internet.nat("near"), internet.nat("far")
    left = new_peer(near.machine("left", 2), "left")
    right = new_peer(far.machine("right", 2), "right")
    until(lambda: left.path_to(right) == right.path_to(left) == ("none", "no-handshake"), "the reason")
    near.forward(51820, 2)
    left.end()
    left.start("--endpoint", f"{address_of(near.router).ip}:51820")
    right.ping(left)


def test_a_machine_behind_a_providers_nat_reaches_others(internet: Internet, new_peer: NewPeer, tmp_path: Path) -> None:
    # With an address of 100.64.0.0/10 (RFC 6598), the tenant's network has to be another one.
    service = Service(internet.public("elsewhere"), tmp_path, "--network", "10.64.0.0/16").start()
    provider = internet.nat("provider", network="100.99.0")
    try:
        inside = new_peer(provider.machine("inside", 2), "inside", url=service.url())
        public = new_peer(internet.public("public"), "public", url=service.url())
        inside.ping(public)
        public.ping(inside)
    finally:
        service.kill()
