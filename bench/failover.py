"""Measures how long the others need when one process of a cluster is killed: the figures of docs/nats.md.

    python -m bench.failover [--trials 10] [--kind node --kind "stream leader"]

There are three nodes on three NATS servers, with peers on each node. One process is killed at a time, and is started
again before the next one.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import nats
from nats.errors import Error
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from harness.cluster import Cluster, ServiceProcess
from harness.keys import a_key_text
from harness.nats_server import NatsServer
from harness.peer import Peer, join

STREAM = "wg-orchestrator"
TENANT = "acme"
RESIDENTS = 5
PATIENCE = 60.0
KINDS = ("node", "no leader", "stream leader", "meta leader", "stream leader stopping")
"""What is killed: a node, a NATS server that leads nothing, the one that leads the stream, the one that leads the
cluster; and the one that leads the stream, stopped by SIGTERM.
"""


class Trials:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._keys = 0

    async def run(self, kind: str) -> list[float]:
        """Seconds until it is over, for each node that is affected."""
        await self._cluster.ready()
        leaders = await self._leaders_apart()
        async with anyio.create_task_group() as listening:
            residents = [await self._joined(one) for one in self._cluster.services for _ in range(RESIDENTS)]
            for peer in residents:
                listening.start_soon(peer.listen)
            await self._until(lambda: all(len(peer.roster.peers) == len(residents) - 1 for peer in residents))
            seconds = await (
                self._kill_node(residents) if kind == "node" else self._kill_server(kind, leaders, residents)
            )
            listening.cancel_scope.cancel()
        for peer in residents:
            peer.websocket.transport.abort()
        return seconds

    async def _kill_node(self, residents: list[Peer]) -> list[float]:
        victim, *others = self._cluster.services
        watching = [peer for peer in residents if peer.service is not victim][::RESIDENTS]
        victim.kill()
        killed, seconds = time.monotonic(), []

        async def watch(peer: Peer) -> None:
            await self._until(lambda: len(peer.roster.peers) == len(others) * RESIDENTS - 1)
            seconds.append(time.monotonic() - killed)

        async with anyio.create_task_group() as tasks:
            for peer in watching:
                tasks.start_soon(watch, peer)
        victim.start()
        return seconds

    async def _kill_server(self, kind: str, leaders: tuple[str, str], residents: list[Peer]) -> list[float]:
        """Seconds until a join succeeds on each node."""
        wanted = {"no leader": None, "meta leader": leaders[1]}.get(kind, leaders[0])
        victim = next(
            one for one in self._cluster.servers if (one.name == wanted if wanted else one.name not in leaders)
        )
        for peer in residents:
            peer.told.clear()
        victim.stop() if kind.endswith("stopping") else victim.kill()
        killed, seconds, newcomers = time.monotonic(), [], list[Peer]()

        async def come(service: ServiceProcess) -> None:
            newcomers.append(await self._joined(service))
            seconds.append(time.monotonic() - killed)

        async with anyio.create_task_group() as tasks:
            for service in self._cluster.services:
                tasks.start_soon(come, service)
        await self._until(lambda: all(len(peer.roster.peers) == len(residents) + 2 for peer in residents))
        lost = [peer for peer in residents if peer.websocket.close_code is not None]
        left = [one.name for one in residents for peer in residents if ("left", one.name) in peer.told]
        assert not lost, f"connections lost: {lost}"  # noqa: S101
        assert not left, f"told of leaves that were none: {left}"  # noqa: S101
        for peer in newcomers:
            peer.websocket.transport.abort()
        victim.start()
        return seconds

    async def _joined(self, service: ServiceProcess) -> Peer:
        """Join as soon as the service lets a newcomer in."""
        with anyio.fail_after(PATIENCE):
            while True:
                self._keys += 1
                try:
                    return await join(service, TENANT, a_key_text(self._keys), f"peer-{self._keys}")
                except (ConnectionClosed, OSError, InvalidHandshake, TimeoutError):
                    await anyio.sleep(0.02)

    async def _leaders_apart(self) -> tuple[str, str]:
        """The names of the servers that lead the stream and the cluster, once all replicas are current and these are
        two servers.
        """
        with anyio.fail_after(PATIENCE):
            while True:
                await anyio.sleep(0.5)
                try:
                    cluster = (await self._ask(f"STREAM.INFO.{STREAM}"))["cluster"]
                    if not all(one.get("current") and not one.get("offline") for one in cluster["replicas"]):
                        continue
                    meta = await _meta_leader(self._cluster.servers[0])
                    if meta and meta != cluster["leader"]:
                        return cluster["leader"], meta
                    await self._ask(f"STREAM.LEADER.STEPDOWN.{STREAM}")
                except (Error, KeyError, httpx2.TransportError):
                    continue

    async def _ask(self, what: str) -> dict[str, Any]:
        client = await nats.connect([one.url for one in self._cluster.servers])
        try:
            answer: dict[str, Any] = json.loads((await client.request(f"$JS.API.{what}", b"", timeout=2)).data)
        finally:
            await client.close()
        return answer

    async def _until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 - other processes change it.
                await anyio.sleep(0.005)


async def _meta_leader(server: NatsServer) -> str:
    async with httpx2.AsyncClient(timeout=2) as client:
        found = (await client.get(f"{server.monitor}/jsz")).json()
    return str(found.get("meta_cluster", {}).get("leader", ""))


async def measure(kinds: list[str], trials: int, folder: Path) -> None:
    cluster = Cluster(folder)
    try:
        await cluster.start()
        run = Trials(cluster)
        for kind in kinds:
            worst = []
            for _ in range(trials):
                seconds = await run.run(kind)
                worst.append(max(seconds))
                say(f"  {kind}: " + ", ".join(f"{one:.2f}" for one in sorted(seconds)))
            within = sum(one <= 3 for one in worst)
            say(
                f"{kind}: the last node after {min(worst):.2f} to {max(worst):.2f} s, median "
                f"{statistics.median(worst):.2f}, {within} of {trials} within 3 s"
            )
    finally:
        cluster.stop()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.failover")
    parser.add_argument("--trials", type=int, default=10, help="of each kind (%(default)s)")
    parser.add_argument("--kind", choices=KINDS, action="append", help="what is killed (all)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="failover-") as folder:
        anyio.run(measure, options.kind or list(KINDS), options.trials, Path(folder))


if __name__ == "__main__":
    main()
