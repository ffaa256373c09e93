"""What the nodes send to NATS, and when. The witness hears it at the servers themselves, past all proxies."""

import json
import math
import time
from collections import defaultdict
from dataclasses import dataclass

import anyio
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from harness.cluster import ServiceProcess
from harness.nats_server import NatsServer
from tests.cluster.audit import STREAM, split

LEASE_TIME = 5.0
"""Seconds of silence after which a node's lease may be ended, as docs/nats.md says."""
TOLERANCE = 0.5
"""Seconds by which a silence may be longer than this process measures it."""
LEAST_CAUSE = 2.0
"""We are the cause of a silence if we kept the node, or a server that it may use, from talking for so many seconds of
it. Of the other seconds, one may be the time since the node's last renewal, and in two the node connects again.
"""
OURS = "Chaos"
"""A header of the messages that the test itself writes into the stream."""


@dataclass
class Disturbance:
    service: ServiceProcess | None
    """The service that can't talk to NATS. None: a server was struck, so any service may have to find another one."""
    start: float
    end: float = math.inf


class Witness:
    """Notes when each node was heard, and for how long it was silent.

    A node is heard when it sends a renewal of its lease, stored or not. While no server runs no node can be heard, so
    that time is not a silence.
    """

    def __init__(self) -> None:
        self._clients: list[Client] = []
        self._last_word: dict[str, float] = {}
        self._silences: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self._available_since = time.monotonic()
        self._available = True
        self._disturbances: list[Disturbance] = []
        self.nodes: dict[str, str] = {}
        """The process of each stay's node, by the stay's name."""
        self.claimed: dict[str, float] = {}
        """When the claim of a stay was last sent to the stream: with its join, or to put it back."""
        self.node_names: dict[str, str] = {}
        """The name of each process's node under its present lease."""

    async def listen(self, servers: list[NatsServer], nodes: int) -> None:
        """Return when `nodes` nodes were heard. The silence of a node that was never heard could not be noticed."""
        for server in servers:
            client = await nats.connect(
                server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, connect_timeout=1, ping_interval=1,
                max_outstanding_pings=2, error_cb=_expected,
            )  # fmt: skip
            await client.subscribe(f"{STREAM}.>", cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0)
            self._clients.append(client)
        while len(self._last_word) < nodes:
            await anyio.sleep(0.01)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    # What the run itself does

    def disturbed(self, service: ServiceProcess | None) -> Disturbance:
        """Note that a service can't talk to NATS from now on, until the `end` that is set later."""
        disturbance = Disturbance(service, time.monotonic())
        self._disturbances.append(disturbance)
        return disturbance

    def servers_run(self, any_runs: bool) -> None:
        """Note whether there is a server that anybody could talk to."""
        now = time.monotonic()
        if self._available and not any_runs:
            for process in self._last_word:
                self._note_silence(process, now)
        elif any_runs and not self._available:
            self._available_since = now
        self._available = any_runs

    def last_disturbed(self, service: ServiceProcess) -> float:
        """The end of the time in which the service last could not talk to NATS; now, if that goes on."""
        now = time.monotonic()
        return max((min(one.end, now) for one in self._disturbances if one.service in (service, None)), default=0.0)

    # What follows from that

    def silences(self, stay: str, service: ServiceProcess) -> list[tuple[float, float]]:
        """When the node of that stay was silent for so long that its lease may have ended, and we were the cause."""
        process = self.nodes.get(stay, "")
        found = list(self._silences.get(process, ()))
        if self._available and process in self._last_word:
            found.append((self._start(process), time.monotonic()))
        return [(start, end) for start, end in found if _counts(start, end) and self._caused(service, start, end)]

    def _caused(self, service: ServiceProcess, start: float, end: float) -> bool:
        shares = [
            min(end, one.end) - max(start, one.start) for one in self._disturbances if one.service in (service, None)
        ]
        return sum(share for share in shares if share > 0) >= LEAST_CAUSE

    def _start(self, process: str) -> float:
        return max(self._last_word[process], self._available_since)

    def _note_silence(self, process: str, now: float) -> None:
        if _counts(start := self._start(process), now):
            self._silences[process].append((start, now))

    async def _on_message(self, message: Msg) -> None:
        if message.headers and OURS in message.headers:
            return
        kind, *tokens = split(message.subject) or [""]
        now = time.monotonic()
        if kind == "node" and message.data:
            process = tokens[0].rpartition("-")[0]
            if process in self._last_word:
                self._note_silence(process, now)
            self._last_word[process] = now
            self.node_names[process] = tokens[0]
        elif kind == "peer":
            claim = json.loads(message.data)
            if "node" in claim:
                process = claim["node"].rpartition("-")[0]
                self.nodes[claim["name"]] = process
                self.node_names[process] = claim["node"]
                self.claimed[claim["name"]] = now


def _counts(start: float, end: float) -> bool:
    return end - start >= LEASE_TIME - TOLERANCE


async def _expected(error: Exception) -> None:
    """Ignore it: the servers are killed and started again."""
