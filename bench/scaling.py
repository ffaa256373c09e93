"""Measures how much one stream, and one node that follows it, can take: the figures of docs/scaling.md.

    python -m bench.scaling [--claims 10000 --claims 100000] [--batches 20000]

It needs Linux. The node under test only follows the stream: no peers are connected to it.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import structlog
from nats.aio.client import Client

from bench.identity import Identity
from harness.cluster import Cluster
from harness.nats_server import NatsServer
from wg_orchestrator.adapters.nats.claim import Claim, encode
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard
from wg_orchestrator.adapters.nats.stream import Entry, StoreUnusable, Stream
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository
from wg_orchestrator.domain.peer import DisplayName, Peer, PublicKey
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry.telemetry import Telemetry

NETWORK = IPv4Network("100.64.0.0/10")
STREAM = "scaling"
NODE = "filler-1"
PEERS_PER_TENANT = 100
UNASKED = 2000
"""Messages that are sent before waiting until the server has stored them: it drops messages that come too fast."""
UNSEEN = 500
"""Messages that are sent before waiting until the node has seen them. If two were on one subject, and the node had seen
neither, the server would send it only the last one.
"""
CONCURRENT = 64
FEED_MESSAGES = 50_000


def a_claim(number: int) -> Claim:
    tenant, place = divmod(number, PEERS_PER_TENANT)
    key = PublicKey(Identity(number % 100_000, salt=b"%d" % (number // 100_000)).key)
    peer = Peer(DisplayName(f"peer-{number}"), key, IPv4Address(int(NETWORK[1]) + place))
    return Claim(Stay(StayId(f"filler-{number}"), TenantId(f"tenant-{tenant}"), peer), NODE, 0)


class Filler:
    """Takes the place of all nodes that have peers: it stores claims, and renews the lease of their node."""

    def __init__(self, urls: tuple[str, ...], replicas: int) -> None:
        self.connection = Connection(ConnectionOptions(urls))
        self.stream = Stream(self.connection, StreamOptions(STREAM, str(NETWORK), replicas))
        self.subjects = self.stream.subjects

    @property
    def client(self) -> Client:
        return self.connection.client

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Filler"]:
        while True:
            try:
                await self.connection.connect()
                self.subjects = self.stream.subjects_of(await self.stream.ensure())
                break
            except (NotHeard, StoreUnusable):  # A cluster that has just started elects a leader first.
                await asyncio.sleep(0.1)
        renewing = asyncio.create_task(self._renew())
        try:
            yield self
        finally:
            renewing.cancel()
            await self.connection.close()

    async def _renew(self) -> None:
        while True:
            await self.client.publish(self.subjects.node(NODE), b"settled")
            await asyncio.sleep(1)

    async def fill(self, claims: list[Claim]) -> None:
        """Have the claims stored. Each takes a message for the key and one for the address, as in a join, but they are
        no batch and have no conditions.
        """
        for number, claim in enumerate(claims, 1):
            key = self.subjects.key(claim.tenant_id, claim.peer.public_key)
            await self.client.publish(key, claim.stay.id.encode())
            await self.client.publish(self.subjects.peer(claim.place), encode(claim))
            if number % (UNASKED // 2) == 0 or number == len(claims):
                await self.stream.mark(self.subjects, NODE)

    async def state(self) -> dict[str, Any]:
        answer = await self.client.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=5)
        state: dict[str, Any] = json.loads(answer.data)["state"]
        return state

    async def batches(self, count: int) -> float:
        """Store claims, each by an atomic batch of two messages, many at a time. Returns how many a second."""
        numbers = iter(range(count))

        async def publish() -> None:
            for number in numbers:
                claim = a_claim(number)
                key = Entry(self.subjects.key(claim.tenant_id, claim.peer.public_key), claim.stay.id.encode(), 0)
                await self.stream.publish([key, Entry(self.subjects.peer(claim.place), encode(claim), 0)])

        started = time.perf_counter()
        await asyncio.gather(*(publish() for _ in range(CONCURRENT)))
        return count / (time.perf_counter() - started)


# The node that follows, in a process of its own


async def follow(url: str) -> None:
    """Catch up and report. Then read a sequence from each line of standard input, and report when it has been seen."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))  # The output is for reports.
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    before, started = memory(), time.perf_counter()
    cpu = time.process_time()
    options = StreamOptions(STREAM, str(NETWORK))
    node = NatsTenantRepository(NETWORK, 20_000, ConnectionOptions((url,)), options, Telemetry(100))
    async with node.running():
        while not node._feed:  # noqa: ASYNC110, SLF001 - it has caught up then; it takes a lease after that.
            await asyncio.sleep(0.002)
        report = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
        print(json.dumps({**report, "bytes": memory() - before}), flush=True)  # noqa: T201
        while line := await reader.readline():
            revision = int(line)
            while node._position.sequence < revision:  # noqa: ASYNC110, SLF001
                await asyncio.sleep(0.002)
            print(json.dumps({"cpu": time.process_time()}), flush=True)  # noqa: T201


@contextmanager
def follower(url: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.scaling", "--follow", url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def said(process: subprocess.Popen[bytes]) -> dict[str, float]:
    assert process.stdout is not None  # noqa: S101
    line = await asyncio.to_thread(process.stdout.readline)
    report: dict[str, float] = json.loads(line)
    return report


async def seen(process: subprocess.Popen[bytes], revision: int) -> float:
    """Wait until the node has seen this sequence. Returns the CPU-seconds that it has used so far."""
    assert process.stdin is not None  # noqa: S101
    process.stdin.write(b"%d\n" % revision)
    process.stdin.flush()
    return (await said(process))["cpu"]


def memory(pid: int | str = "self") -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def cpu_seconds(server: NatsServer) -> float:
    return time.clock_gettime(~pid_of(server) << 3 | 2)


def pid_of(server: NatsServer) -> int:
    assert server._process is not None  # noqa: S101, SLF001
    return server._process.pid  # noqa: SLF001


# What is measured


async def measure_claims(server: NatsServer, count: int) -> None:
    bare = memory(pid_of(server))
    async with Filler((server.url,), 1).running() as filler:
        await filler.fill([a_claim(number) for number in range(count)])
        stored = (await filler.state())["bytes"]
        resident = memory(pid_of(server)) - bare
        with follower(server.url) as process:
            start = await said(process)
            say(f"{count} claims: stream {stored / count:.0f} bytes a claim, nats-server {resident / count:.0f}")
            say(f"{count} claims: a node is ready after {start['seconds']:.2f} s, {start['cpu']:.2f} of CPU")
            say(f"{count} claims: {start['bytes'] / count:.0f} bytes a remote peer in the node")
            await measure_feed(filler, server, process, count)


async def measure_feed(filler: Filler, server: NatsServer, process: subprocess.Popen[bytes], after: int) -> None:
    """Measure a node that follows the joins and leaves of other nodes."""
    client, subjects = filler.client, filler.subjects
    before, served = await seen(process, await filler.stream.mark(filler.subjects, NODE)), cpu_seconds(server)
    for first in range(after, after + FEED_MESSAGES // 2, UNSEEN):
        claims = [a_claim(number) for number in range(first, first + UNSEEN)]
        joins = [encode(claim) for claim in claims]
        leaves = [encode(claim.vacated()) for claim in claims]
        for payloads in (joins, leaves):
            for claim, payload in zip(claims, payloads, strict=True):
                await client.publish(subjects.peer(claim.place), payload)
            await seen(process, await filler.stream.mark(filler.subjects, NODE))
    used = await seen(process, await filler.stream.mark(filler.subjects, NODE)) - before
    say(f"feed: {FEED_MESSAGES / used:.0f} messages per CPU-second of a node that follows")
    say(f"feed: {1e6 * (cpu_seconds(server) - served) / FEED_MESSAGES:.0f} us of nats-server for each")


async def measure_batches(servers: list[NatsServer], replicas: int, count: int) -> None:
    async with Filler(tuple(server.url for server in servers), replicas).running() as filler:
        await filler.batches(500)
        await filler.client.request(f"$JS.API.STREAM.PURGE.{STREAM}", b"", timeout=5)
        before = [cpu_seconds(server) for server in servers]
        rate = await filler.batches(count)
        used = [1e6 * (cpu_seconds(server) - one) / count for server, one in zip(servers, before, strict=True)]
        each = ", ".join(f"{one:.0f}" for one in sorted(used, reverse=True))
        say(f"{replicas} replicas: {rate:.0f} claims per second; {each} us of CPU a claim in each nats-server")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


async def measure(claims: list[int], batches: int, folder: Path) -> None:
    for count in claims:
        with running(NatsServer(folder / f"claims-{count}")) as server:
            await measure_claims(server, count)
    with running(NatsServer(folder / "one")) as server:
        await measure_batches([server], 1, batches)
    cluster = Cluster(folder / "three")
    try:
        for server in cluster.servers:
            server.start()
        await measure_batches(cluster.servers, 3, batches)
    finally:
        cluster.stop()


@contextmanager
def running(server: NatsServer) -> Iterator[NatsServer]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling")
    parser.add_argument("--claims", type=int, action="append", help="claims that a node starts with (10000, 100000)")
    parser.add_argument("--batches", type=int, default=20_000, help="claims stored for the rate (%(default)s)")
    parser.add_argument("--follow", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder, suppress(KeyboardInterrupt):
        if options.follow:
            asyncio.run(follow(options.follow))
        else:
            asyncio.run(measure(options.claims or [10_000, 100_000], options.batches, Path(folder)))


if __name__ == "__main__":
    main()
