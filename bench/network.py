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


def first_pong(machine: Machine, address: Callable[[], str | None], since: float) -> float:
    """Seconds since then until a ping to the address, once that is known, is answered."""
    give_up = since + 30
    while (target := address()) is None:
        assert time.monotonic() < give_up, "no address in 30 s"
        time.sleep(_PACE)
    words = machine.command("ping", "-n", "-q", "-c", "1", "-i", "0.02", "-w", "30", target)
    subprocess.run(words, check=True, capture_output=True)
    return time.monotonic() - since


def ours(runs: int, folder: Path) -> tuple[list[float], float]:
    """Seconds of each run, and the service's CPU seconds for one host of one run."""
    times = []
    with Internet() as internet:
        service = Service(internet.public("server"), folder).start()
        machines = internet.public("one"), internet.public("two")
        before = cpu_seconds(service.pid)
        for run in range(runs):
            one, two = (Peer(machine, name, service.url(f"t{run}"), folder) for machine, name in zip(machines, ("one", "two"), strict=True))  # fmt: skip
            began = time.monotonic()
            one.start()
            two.start()
            times.append(first_pong(one.machine, lambda one=one: _address_of_other(one), began))  # type: ignore[misc]
            for peer in (one, two):
                peer.end()
        spent = (cpu_seconds(service.pid) - before) / (2 * runs)
        service.kill()
    return times, spent


def _address_of_other(peer: Peer) -> str | None:
    peers = peer.status()["peers"]
    return str(peers[0]["virtual_ip"]) if peers else None


_NEBULA = """
pki: {{ca: {folder}/ca.crt, cert: {folder}/{name}.crt, key: {folder}/{name}.key}}
static_host_map: {{"192.168.77.1": ["{lighthouse}:4242"]}}
lighthouse: {{am_lighthouse: {is_lighthouse}, interval: 60, hosts: [{hosts}]}}
listen: {{host: 0.0.0.0, port: 4242}}
punchy: {{punch: true}}
tun: {{dev: neb-{name}, disabled: {is_lighthouse}}}
logging: {{level: error}}
firewall:
  outbound: [{{port: any, proto: any, host: any}}]
  inbound: [{{port: any, proto: any, host: any}}]
"""


def nebula(runs: int, folder: Path) -> tuple[list[float], float]:
    """The same for Nebula, whose lighthouse is the control plane. Its certificates are made before."""
    subprocess.run(["nebula-cert", "ca", "-name", "bench"], cwd=folder, check=True)
    for number, name in enumerate(("lh", "one", "two"), 1):
        words = ["nebula-cert", "sign", "-name", name, "-ip", f"192.168.77.{number}/24"]
        subprocess.run(words, cwd=folder, check=True)
    times = []
    with Internet() as internet:
        lighthouse = internet.public("server")
        host = str(address_of(lighthouse).ip)

        def start(machine: Machine, name: str, hosts: str) -> "subprocess.Popen[str]":
            config = folder / f"{name}.yaml"
            is_lighthouse = "false" if hosts else "true"
            config.write_text(
                _NEBULA.format(folder=folder, name=name, lighthouse=host, is_lighthouse=is_lighthouse, hosts=hosts)
            )
            return machine.start("nebula", "-config", str(config), stdout=subprocess.DEVNULL)

        control = start(lighthouse, "lh", "")
        until(lambda: ":4242" in lighthouse.run("ss", "-Hlun"), "the lighthouse")
        before = cpu_seconds(control.pid)
        machines = internet.public("one"), internet.public("two")
        for _ in range(runs):
            began = time.monotonic()
            hosts = [start(machine, name, '"192.168.77.1"') for machine, name in zip(machines, ("one", "two"), strict=True)]  # fmt: skip
            up = machines[0].command("ip", "link", "show", "neb-one", "up")
            is_up = lambda up=up: bool(subprocess.run(up, capture_output=True, check=False).stdout)  # type: ignore[misc] # noqa: E731
            times.append(first_pong(machines[0], lambda is_up=is_up: "192.168.77.3" if is_up() else None, began))  # type: ignore[misc]
            for process in hosts:
                process.terminate()
                process.wait()
        spent = (cpu_seconds(control.pid) - before) / (2 * runs)
        control.kill()
        control.wait()
    return times, spent


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
    for name, measure in contenders.items():
        if name == "nebula" and shutil.which("nebula") is None:
            console.print("without nebula: apt-get install nebula")
            continue
        with tempfile.TemporaryDirectory() as folder:
            console.print(f"{name}: {options.runs} runs …")
            times, spent = measure(options.runs, Path(folder))
        figures = statistics.median(times), min(times), max(times), spent * 1000
        table.add_row(name, *(f"{figure:.3g}" for figure in figures))
    console.print(table)
    console.print(f"a tenant of {options.peers:,} peers …")
    with tempfile.TemporaryDirectory() as folder:
        for what, figure in large_tenant(options.peers, Path(folder)).items():
            console.print(f"{what}: {figure:.3g}")


if __name__ == "__main__":
    main()
