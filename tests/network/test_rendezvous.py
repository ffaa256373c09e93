"""The rendezvous against real WireGuard: what one `wg set` proves, directly and through a NAT."""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.agents import until
from harness.namespaces import Internet, Machine, address_of
from wg_orchestrator.client.keys import KeyPair

pytestmark = pytest.mark.skipif(shutil.which("wg") is None, reason="apt-get install wireguard-tools")

SERVER = """
import base64, socket, sys
from wg_orchestrator.adapters.rendezvous.rendezvous import Rendezvous
from wg_orchestrator.domain.endpoint import Endpoint
private, key, psk = (base64.b64decode(text) for text in sys.argv[1:4])
rendezvous = Rendezvous(private)
rendezvous.claim(key, psk, lambda endpoint: print(endpoint, flush=True))
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 51820))
while True:
    message, (host, port) = udp.recvfrom(2048)
    for answer in rendezvous.datagram(message, lambda: Endpoint.parse(f"{host}:{port}")):
        udp.sendto(answer, (host, port))
"""
PSK = base64.b64encode(os.urandom(32)).decode()


class Lab:
    """A rendezvous where one key is claimed, and machines with wireguard-go."""

    def __init__(self, internet: Internet, folder: Path) -> None:
        self.machine = internet.public("rendezvous")
        self.keys, self.owner = KeyPair.generate(), KeyPair.generate()
        self.log = folder / "told"
        with self.log.open("w") as log:
            words = [sys.executable, "-c", SERVER, self.keys.private, self.owner.public, PSK]
            self.process = self.machine.start(*words, stdout=log)
        until(lambda: ":51820" in self.machine.run("ss", "-Hlun"), "the rendezvous")
        self.interfaces: list[str] = []

    def told(self) -> list[str]:
        return self.log.read_text().split()

    def prove(self, machine: Machine, private_key: str, preshared_key: str, folder: Path) -> None:
        """Make the rendezvous a peer of a WireGuard with this key: with empty allowed IPs, by one command."""
        name = f"wgr{os.getpid() % 10**6}-{len(self.interfaces)}"
        self.interfaces.append(name)
        files = {"key": private_key, "psk": preshared_key}
        for what, text in files.items():
            (folder / f"{name}.{what}").write_text(text)
        machine.run("wireguard-go", name)
        machine.run("ip", "link", "set", name, "up")
        machine.run("wg", "set", name, "private-key", str(folder / f"{name}.key"), "listen-port", "51820")
        machine.run(
            "wg", "set", name, "peer", self.keys.public, "preshared-key", str(folder / f"{name}.psk"),
            "endpoint", f"{address_of(self.machine).ip}:51820", "persistent-keepalive", "1",
        )  # fmt: skip

    def received(self, machine: Machine) -> int:
        """Bytes that the last machine's WireGuard has got from the rendezvous."""
        return int(machine.run("wg", "show", self.interfaces[-1], "transfer").split()[1])


@pytest.fixture
def lab(internet: Internet, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(internet, tmp_path)
    yield lab
    lab.process.kill()
    lab.process.wait()
    for name in lab.interfaces:
        (Path("/var/run/wireguard") / f"{name}.sock").unlink(missing_ok=True)


def test_the_owner_of_a_key_is_seen_where_it_is(internet: Internet, lab: Lab, tmp_path: Path) -> None:
    machine = internet.public("owner")
    lab.prove(machine, lab.owner.private, PSK, tmp_path)
    until(lambda: lab.told() == [f"{address_of(machine).ip}:51820"], "the proof")


def test_through_a_nat_the_mapping_is_seen(internet: Internet, lab: Lab, tmp_path: Path) -> None:
    lan = internet.nat("router")
    lab.prove(lan.machine("owner", 2), lab.owner.private, PSK, tmp_path)
    until(lambda: len(lab.told()) == 1, "the proof")
    assert lab.told()[0].startswith(f"{address_of(lan.router).ip}:")


@pytest.mark.parametrize("has_key", [False, True])
def test_without_the_key_or_without_the_preshared_key_nothing_is_proven(
    has_key: bool, internet: Internet, lab: Lab, tmp_path: Path
) -> None:
    machine = internet.public("other")
    private_key = lab.owner.private if has_key else KeyPair.generate().private
    lab.prove(machine, private_key, base64.b64encode(os.urandom(32)).decode(), tmp_path)
    # The owner comes after it, and is proven. So what came before has been handled, and has proven nothing.
    sent = ["wg", "show", lab.interfaces[0], "transfer"]
    until(lambda: int(machine.run(*sent).split()[2]) >= 148, "the initiation")
    lab.prove(internet.public("owner"), lab.owner.private, PSK, tmp_path)
    until(lambda: lab.told(), "the proof")
    assert not any(told.startswith(f"{address_of(machine).ip}:") for told in lab.told())
    assert subprocess.run(machine.command("wg", "show", lab.interfaces[0]), check=False).returncode == 0
