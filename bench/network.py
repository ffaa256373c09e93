"""The agent, measured in network namespaces: `python -m bench.network` (Linux, root; a few minutes).

How long from nothing to the first answered ping between two machines, beside Nebula doing the same; what that costs
the control plane; and what a tenant of 1,000 peers costs one machine.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.agents import Peer, Service, until
from harness.namespaces import Internet, Machine, address_of, missing

_PACE = 0.005
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, in user mode and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mb(pid: int) -> float:
    """Its resident memory, in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True)
class Result:
    """What was measured of one contender."""

    times: list[float]
    """Of each run: seconds from the start of both machines' programs to the first answered ping."""
    cpu_seconds: float
    """Of the control plane, for one host in one run."""


def first_pong(machine: Machine, address: Callable[[], str | None], since: float) -> float:
    """Seconds since then until a ping to the address, once that is known, is answered."""
    give_up = since + 30
    while (target := address()) is None:
        assert time.monotonic() < give_up, "no address in 30 s"
        time.sleep(_PACE)
    words = machine.command("ping", "-n", "-q", "-c", "1", "-i", "0.02", "-w", "30", target)
    subprocess.run(words, check=True, capture_output=True)
    return time.monotonic() - since


def ours(runs: int, folder: Path) -> Result:
    """Agents and a service. Each run is in a tenant of its own, with new keys."""
    times = []
    with Internet() as internet:
        service = Service(internet.public("server"), folder).start()
        machines = internet.public("one"), internet.public("two")
        before = cpu_seconds(service.pid)
        for run in range(runs):
            url = service.url(f"run-{run}")
            one, two = Peer(machines[0], "one", url, folder), Peer(machines[1], "two", url, folder)
            began = time.monotonic()
            one.start()
            two.start()
            times.append(first_pong(one.machine, partial(_address_of_other, one), began))
            one.end()
            two.end()
        spent = cpu_seconds(service.pid) - before
        service.kill()
    return Result(times, spent / (2 * runs))


def _address_of_other(peer: Peer) -> str | None:
    peers = peer.status()["peers"]
    return str(peers[0]["virtual_ip"]) if peers else None


_NEBULA = """
pki: {{ca: {folder}/ca.crt, cert: {folder}/{name}.crt, key: {folder}/{name}.key}}
static_host_map: {{"192.168.77.1": ["{host}:4242"]}}
lighthouse: {{am_lighthouse: {is_lighthouse}, interval: 60, hosts: [{hosts}]}}
listen: {{host: 0.0.0.0, port: 4242}}
punchy: {{punch: true}}
tun: {{dev: neb-{name}, disabled: {is_lighthouse}}}
logging: {{level: error}}
firewall:
  outbound: [{{port: any, proto: any, host: any}}]
  inbound: [{{port: any, proto: any, host: any}}]
"""


def nebula(runs: int, folder: Path) -> Result:
    """Nebula, whose lighthouse is the control plane. Its certificates are made before."""
    subprocess.run(["nebula-cert", "ca", "-name", "bench"], cwd=folder, check=True)
    for number, name in enumerate(("lighthouse", "one", "two"), 1):
        words = ["nebula-cert", "sign", "-name", name, "-ip", f"192.168.77.{number}/24"]
        subprocess.run(words, cwd=folder, check=True)
    times = []
    with Internet() as internet:
        server = internet.public("server")
        host = str(address_of(server).ip)
        lighthouse = _nebula(server, "lighthouse", host, folder)
        until(lambda: ":4242" in server.run("ss", "-Hlun"), "the lighthouse")
        machines = {name: internet.public(name) for name in ("one", "two")}
        before = cpu_seconds(lighthouse.pid)
        for _ in range(runs):
            began = time.monotonic()
            processes = [_nebula(machine, name, host, folder) for name, machine in machines.items()]
            times.append(first_pong(machines["one"], partial(_address_of_two, machines["one"]), began))
            for process in processes:
                process.terminate()
                process.wait()
        spent = cpu_seconds(lighthouse.pid) - before
        lighthouse.kill()
        lighthouse.wait()
    return Result(times, spent / (2 * runs))


def _nebula(machine: Machine, name: str, host: str, folder: Path) -> "subprocess.Popen[str]":
    is_lighthouse = name == "lighthouse"
    hosts = "" if is_lighthouse else '"192.168.77.1"'
    config = folder / f"{name}.yaml"
    config.write_text(
        _NEBULA.format(folder=folder, name=name, host=host, is_lighthouse=str(is_lighthouse).lower(), hosts=hosts)
    )
    return machine.start("nebula", "-config", str(config), stdout=subprocess.DEVNULL)


def _address_of_two(one: Machine) -> str | None:
    """Nebula's addresses are known before. They can be asked for once the interface is there."""
    words = one.command("ip", "link", "show", "neb-one", "up")
    is_up = subprocess.run(words, capture_output=True, check=False).stdout
    return "192.168.77.3" if is_up else None


def large_tenant(peers: int, folder: Path) -> dict[str, float]:
    """What a tenant of so many peers costs the agent of one machine."""
    passers = 200
    with Internet() as internet, ExitStack() as stack:
        service = Service(internet.public("server"), folder).start()
        stack.callback(service.kill)
        words = [sys.executable, "-m", "harness.network_crowd", service.url()]
        crowd = service.machine.start(*words, str(peers), "--first", "10000", "--stay", stdout=subprocess.PIPE)
        stack.callback(crowd.wait)
        stack.callback(crowd.kill)
        assert crowd.stdout is not None
        assert crowd.stdout.readline().strip() == "all are there"
        peer = Peer(internet.public("one"), "one", service.url(), folder).start()
        stack.callback(peer.end)
        until(lambda: len(peer.status()["peers"]) == peers, "the welcome", 120)
        welcome = cpu_seconds(peer.pid)
        time.sleep(1)
        before = cpu_seconds(peer.pid)
        time.sleep(20)
        idle = (cpu_seconds(peer.pid) - before) / 20
        before, began = cpu_seconds(peer.pid), time.monotonic()
        passing = service.machine.start(*words, str(passers))
        assert passing.wait(120) == 0
        until(lambda: len(peer.status()["peers"]) == peers, "the leaves", 120)
        spent = cpu_seconds(peer.pid) - before - idle * (time.monotonic() - began)
        return {
            "CPU-seconds from the start to a full interface": welcome,
            "CPU-milliseconds for one peer that joins, changes and leaves": max(0.0, spent) / passers * 1000,
            "percent of a core when nothing happens": idle * 100,
            "MB of memory": resident_mb(peer.pid),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--peers", type=int, default=1000)
    options = parser.parse_args()
    lacking = missing()
    if lacking is not None:
        sys.exit(lacking)
    console = Console()
    table = Table("", "to the first pong, median, s", "from", "to", "CPU of the control plane, ms a host")
    contenders = {"wg-orchestrator": ours, "nebula": nebula}
    if shutil.which("nebula") is None:
        console.print("without nebula: apt-get install nebula")
        del contenders["nebula"]
    for name, measure in contenders.items():
        console.print(f"{name}: {options.runs} runs …")
        with tempfile.TemporaryDirectory() as folder:
            result = measure(options.runs, Path(folder))
        times = statistics.median(result.times), min(result.times), max(result.times)
        table.add_row(name, *(f"{figure:.3g}" for figure in (*times, result.cpu_seconds * 1000)))
    console.print(table)
    console.print(f"a tenant of {options.peers:,} peers …")
    with tempfile.TemporaryDirectory() as folder:
        for what, figure in large_tenant(options.peers, Path(folder)).items():
            console.print(f"{what}: {figure:.3g}")


if __name__ == "__main__":
    main()
