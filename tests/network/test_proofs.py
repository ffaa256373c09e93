"""Agents, and plain `wg`, that prove their keys to a service in a namespace."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.agents import Peer, Service, until
from harness.namespaces import Internet
from tests.network.conftest import NewPeer
from wg_orchestrator.client.keys import KeyPair

PROVEN = "the key is proven"


@pytest.fixture
def service(internet: Internet, tmp_path: Path) -> Iterator[Service]:
    service = Service(internet.public("server"), tmp_path, "--rendezvous-port", "51820")
    yield service.start()
    service.kill()


def times_proven(peer: Peer) -> int:
    return peer.log().count(PROVEN)


def test_all_prove_their_keys_again_to_a_service_that_has_begun_anew_and_no_ping_is_lost(
    internet: Internet, service: Service, new_peer: NewPeer
) -> None:
    near, far = internet.nat("near"), internet.nat("far")
    one, two = new_peer(near.machine("one", 2), "one"), new_peer(far.machine("two", 2), "two")
    one.ping(two)
    until(lambda: times_proven(one) == times_proven(two) == 1, "the proofs")
    pinging = one.pinging(two)
    service.kill()
    service.start()
    until(lambda: times_proven(one) == times_proven(two) == 2, "the proofs")
    one.kill()
    one.start()
    until(lambda: times_proven(one) == 3, "the proof")
    pings = pinging.end()
    assert pings.lost == 0, pings


def test_a_machine_that_has_lost_its_session_takes_its_place_back_by_its_key(
    internet: Internet, service: Service, new_peer: NewPeer
) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    address = one.virtual_ip
    one.kill()
    (one.state / f"{one.interface}.session").unlink()
    one.start()
    assert one.virtual_ip == address
    assert "key in use" not in one.log()
    one.ping(two)


def test_where_a_proof_is_required_agents_give_it_and_one_whose_udp_is_blocked_waits(
    internet: Internet, new_peer: NewPeer, tmp_path: Path
) -> None:
    machine = internet.public("strict")
    options = ("--rendezvous-port", "51820", "--proof", "required", "--join-timeout", "2")
    strict = Service(machine, tmp_path, *options).start()
    try:
        near, far = internet.nat("near"), internet.nat("far")
        one = new_peer(near.machine("one", 2), "one", url=strict.url())
        two = new_peer(far.machine("two", 2), "two", url=strict.url())
        blocked = internet.nat("blocked", blocks="meta l4proto udp")
        three = new_peer(blocked.machine("three", 2), "three", url=strict.url())
        one.ping(two)
        two.ping(one)
        until(lambda: "not proven (4006); trying again" in three.log(), "the refusal")
        assert not three.is_connected()
        # What was blocked is let out.
        blocked.router.run("nft", "flush", "chain", "ip", "filter", "forward")
        blocked.router.run("nft", "add", "rule", "ip", "filter", "forward", "accept")
        one.ping(three)
    finally:
        strict.kill()


def test_a_machine_that_has_another_address_is_seen_there_at_once(internet: Internet, new_peer: NewPeer) -> None:
    one, two = new_peer(internet.public("one"), "one"), new_peer(internet.public("two"), "two")
    one.ping(two)
    until(lambda: times_proven(one) == 1, "the proof")
    one.machine.run("ip", "address", "flush", "dev", "eth0", "scope", "global")
    one.machine.set_address("eth0", "198.51.100.200/24")
    until(lambda: "packets come from 198.51.100.200:51820" in one.log(), "the new proof", 15)


CLIENT = """
import asyncio, json, sys
from websockets.asyncio.client import connect

async def main(url, key):
    async with connect(url, subprotocols=["wg-orchestrator.v2"]) as websocket:
        await websocket.send(json.dumps({"type": "join", "display_name": "router", "public_key": key, "endpoints": []}))
        async for message in websocket:
            print(message, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(shutil.which("wg") is None, reason="apt-get install wireguard-tools")
def test_a_plain_wg_set_proves_a_key_and_finds_an_agent_behind_a_nat(
    internet: Internet, service: Service, new_peer: NewPeer, tmp_path: Path
) -> None:
    agent = new_peer(internet.nat("near").machine("agent", 2), "agent")
    until(lambda: times_proven(agent) == 1, "the agent's proof")
    machine, keys, name = internet.nat("far").machine("router", 2), KeyPair.generate(), f"wgp{os.getpid() % 10**7}"
    (tmp_path / "key").write_text(keys.private)
    machine.run("wireguard-go", name)
    machine.run("wg", "set", name, "private-key", str(tmp_path / "key"), "listen-port", "51820")
    heard = tmp_path / "heard"
    with heard.open("w") as output:
        client = machine.start(sys.executable, "-c", CLIENT, service.url(), keys.public, stdout=output)

    def message(kind: str) -> dict[str, Any] | None:
        found = [json.loads(line) for line in heard.read_text().splitlines() if f'"type":"{kind}"' in line]
        return found[-1] if found else None

    try:
        until(lambda: message("welcome") and message("prove"), "the request")
        welcome, prove = message("welcome"), message("prove")
        assert welcome is not None
        assert prove is not None
        machine.run("ip", "address", "add", f"{welcome['virtual_ip']}/32", "dev", name)
        machine.run("ip", "link", "set", name, "up")
        machine.run("ip", "route", "add", str(welcome["network"]), "dev", name)
        (tmp_path / "psk").write_text(str(prove["preshared_key"]))
        key = str(prove["public_key"])
        rendezvous = ["preshared-key", str(tmp_path / "psk"), "endpoint", f"{service.host}:51820"]
        machine.run(
            "wg", "set", name, "peer", key, "remove", "peer", key, *rendezvous, "persistent-keepalive", "25"
        )  # fmt: skip
        until(lambda: message("proven"), "the proof")
        (peer,) = welcome["peers"]
        machine.run(
            "wg", "set", name, "peer", peer["public_key"], "endpoint", peer["endpoints"][0],
            "allowed-ips", f"{peer['virtual_ip']}/32", "persistent-keepalive", "25",
        )  # fmt: skip
        agent.ping(str(welcome["virtual_ip"]))
        assert machine.run("ping", "-n", "-c", "1", "-W", "5", str(peer["virtual_ip"]))
    finally:
        client.kill()
        client.wait()
        (Path("/var/run/wireguard") / f"{name}.sock").unlink(missing_ok=True)
