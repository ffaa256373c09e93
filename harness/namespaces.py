"""Networks of machines on one machine: network namespaces, joined by veth pairs, bridges and NATs (ip-netns(8))."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, ip_interface
from pathlib import Path

_NUMBERS = itertools.count(1)
PUBLIC = "198.51.100.0/24"
"""The network that stands for the internet: documentation addresses (RFC 5737), in namespaces only."""


def missing() -> str | None:
    """What this machine lacks, in words, with the Debian packages to install; None if it lacks nothing."""
    if os.geteuid() != 0:
        return "needs root"
    packages = {"ip": "iproute2", "nft": "nftables", "ping": "iputils-ping"}
    lacking = [package for program, package in packages.items() if shutil.which(program) is None]
    if lacking:
        return f"apt-get install {' '.join(lacking)}"
    probe = f"wgp{os.getpid()}"
    if not _goes("ip", "netns", "add", probe):
        return "network namespaces are not allowed here"
    _goes("ip", "netns", "delete", probe)
    if _goes("ip", "link", "add", probe, "type", "wireguard"):
        _goes("ip", "link", "delete", probe)
    elif shutil.which("wireguard-go") is None:
        return "apt-get install wireguard-go"
    elif not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    return None


def _goes(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Machine:
    """A network namespace."""

    name: str

    def command(self, *words: str) -> list[str]:
        """The command that runs these words in it."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words: str) -> str:
        """What it prints. Raises CalledProcessError."""
        return _run(self.command(*words))

    def start(self, *words: str, **options: object) -> "subprocess.Popen[str]":
        """Run it in the background."""
        return subprocess.Popen(self.command(*words), text=True, **options)  # type: ignore[call-overload, no-any-return]

    def set_address(self, link: str, address: str) -> None:
        self.run("ip", "address", "add", address, "dev", link)


class Internet:
    """A public network, and private ones behind NATs. It is gone, with all that runs in it, at the end of the block."""

    def __init__(self) -> None:
        self._prefix = f"wgo{os.getpid()}-{next(_NUMBERS)}"
        self._machines: list[Machine] = []
        self._links = itertools.count(1)
        self._hosts = itertools.count(10)
        self._lans = itertools.count(1)

    def __enter__(self) -> "Internet":
        try:
            self.exchange = self._machine("wan")
            self._bridge(self.exchange)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for machine in reversed(self._machines):
            pids = subprocess.run(["ip", "netns", "pids", machine.name], capture_output=True, text=True, check=False)
            for pid in pids.stdout.split():
                _kill(int(pid))
            # Interfaces of programs that are gone are removed with the namespace.
            subprocess.run(["ip", "netns", "delete", machine.name], capture_output=True, check=False)

    def public(self, name: str) -> Machine:
        """A machine with a public address, on the link `eth0`."""
        machine = self._machine(name)
        self._join(machine, self.exchange, "eth0", f"198.51.100.{next(self._hosts)}/24")
        return machine

    def nat(
        self,
        name: str,
        *,
        drops_inbound: bool = True,
        network: str | None = None,
        mapping: str = "masquerade",
        blocks: str = "",
    ) -> "Lan":
        """A router with a public address and a private network behind it, which masquerades.

        `drops_inbound`: whether only answers get in, as with most. `network`: the first three numbers of its addresses,
        10.N.0 unless given. `mapping`: how (nft(8)): with `masquerade random` each destination has a port of its own.
        `blocks`: what does not get out, as nft has it.
        """
        router, prefix = self.public(name), network or f"10.{next(self._lans)}.0"
        self._bridge(router)
        network = f"{prefix}.0/24"
        router.set_address("br0", f"{prefix}.1/24")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        policy = "drop" if drops_inbound else "accept"
        rules = f"""
            table ip nat {{
                chain post {{ type nat hook postrouting priority 100; ip saddr {network} oifname "eth0" {mapping}; }}
            }}
            table ip filter {{
                chain forward {{ type filter hook forward priority 0; policy {policy};
                    {f'iifname "br0" {blocks} drop;' if blocks else ""}
                    ct state established,related accept; iifname "br0" accept; }}
                chain input {{ type filter hook input priority 0; policy {policy};
                    ct state established,related accept; iifname != "eth0" accept; }}
            }}
        """
        subprocess.run(router.command("nft", "-f", "-"), input=rules, text=True, check=True, capture_output=True)
        return Lan(self, router, prefix)

    def _machine(self, name: str) -> Machine:
        machine = Machine(f"{self._prefix}-{name}")
        _run(["ip", "netns", "add", machine.name])
        self._machines.append(machine)
        machine.run("ip", "link", "set", "lo", "up")
        return machine

    def _bridge(self, machine: Machine) -> None:
        machine.run("ip", "link", "add", "br0", "type", "bridge")
        machine.run("ip", "link", "set", "br0", "up")

    def _join(self, machine: Machine, to: Machine, link: str, address: str) -> None:
        port = f"port{next(self._links)}"
        _run(["ip", "link", "add", port, "netns", to.name, "type", "veth", "peer", link, "netns", machine.name])
        to.run("ip", "link", "set", port, "master", "br0", "up")
        machine.run("ip", "link", "set", link, "up")
        machine.set_address(link, address)


@dataclass(frozen=True)
class Lan:
    """A private network behind a router."""

    internet: Internet
    router: Machine
    prefix: str
    """The first three numbers of its addresses."""

    def forward(self, port: int, host: int) -> None:
        """Have the router pass on what comes to this UDP port of its own, to the machine with this number."""
        rules = f"""
            add chain ip nat pre {{ type nat hook prerouting priority -100; }}
            add rule ip nat pre iifname "eth0" udp dport {port} dnat to {self.prefix}.{host}
            insert rule ip filter forward iifname "eth0" udp dport {port} accept
        """
        subprocess.run(self.router.command("nft", "-f", "-"), input=rules, text=True, check=True, capture_output=True)

    def machine(self, name: str, host: int) -> Machine:
        """A machine whose address on the link `eth0` ends with this number, and with a route to everywhere."""
        machine = self.internet._machine(name)
        self.internet._join(machine, self.router, "eth0", f"{self.prefix}.{host}/24")
        machine.run("ip", "route", "add", "default", "via", f"{self.prefix}.1")
        return machine


def address_of(machine: Machine, link: str = "eth0") -> IPv4Interface:
    """The first IPv4 address of a link."""
    text = machine.run("ip", "-4", "-o", "address", "show", "dev", link).split()[3]
    address = ip_interface(text)
    assert isinstance(address, IPv4Interface)
    return address


def _run(words: Sequence[str]) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return
