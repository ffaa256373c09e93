"""Two nodes of the service on NATS: one after the other is killed, and no tunnel notices."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.agents import Service, until
from harness.namespaces import Internet, Machine
from harness.nats_server import BINARY
from tests.network.conftest import NewPeer

_BALANCER = """
defaults
    mode http
    option forwardfor
    timeout tunnel 1h
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    option redispatch
frontend peers
    bind :8000
    default_backend nodes
backend nodes
    server one 127.0.0.1:8001 check inter 200ms on-marked-down shutdown-sessions
    server two 127.0.0.1:8002 check inter 200ms on-marked-down shutdown-sessions
"""


@contextmanager
def _nats(machine: Machine, folder: Path) -> Iterator[str]:
    config = folder / "nats.conf"
    config.write_text(f'listen: "127.0.0.1:4222"\njetstream {{ store_dir: "{folder / "store"}" }}\n')
    server = machine.start(str(BINARY), "-c", str(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: ":4222" in machine.run("ss", "-Hltn"), "NATS")
        yield "nats://127.0.0.1:4222"
    finally:
        server.kill()
        server.wait()


def _balancer(folder: Path) -> list[str]:
    config = folder / "haproxy.cfg"
    config.write_text(_BALANCER)
    return ["haproxy", "-db", "-f", str(config)]


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="apt-get install haproxy")
def test_when_one_node_fails_the_other_takes_over_and_no_ping_is_lost(
    internet: Internet, new_peer: NewPeer, tmp_path: Path
) -> None:
    machine = internet.public("nodes")
    with _nats(machine, tmp_path) as url:
        nodes = [
            Service(machine, tmp_path, "--nats", url, "--trusted-proxies", "127.0.0.1", port=port)
            for port in (8001, 8002)
        ]
        for node in nodes:
            node.start()
        balancer = machine.start(*_balancer(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = f"ws://{nodes[0].host}:8000/tenants/acme"
            one = new_peer(internet.public("one"), "one", url=address)
            two = new_peer(internet.public("two"), "two", url=address)
            one.ping(two)
            pinging, addresses = one.pinging(two), (one.virtual_ip, two.virtual_ip)
            for node in nodes:
                node.kill()
                until(lambda: not (one.is_connected() and two.is_connected()), "the loss")
                until(lambda: one.is_connected() and two.is_connected(), "the return")
                node.start()
            pings = pinging.end()
            assert pings.lost == 0, pings
            assert (one.virtual_ip, two.virtual_ip) == addresses
        finally:
            balancer.kill()
            balancer.wait()
            for node in nodes:
                node.kill()
