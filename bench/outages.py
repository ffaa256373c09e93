"""Workloads in which the service, or one of its nodes, ends and is started again, with peers that speak protocol v2."""

import signal
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.client import Client
from bench.contenders import TWO_NODES_V2, V2
from bench.errors import BrokenPromise
from bench.figure import Figure, Sample
from bench.nodes import Nodes
from bench.returning import all_resumed, come_back
from bench.stage import PATIENCE, Stage
from bench.workloads import Workload

_AT_ONCE = 256
_LEASE = 7.0
"""Seconds after which the lease of a killed node has ended, and the other node has seen that."""


@dataclass
class Restart(Workload):
    """A service without NATS is killed and forgets everything. Its clients come back and ask for their addresses."""

    tenants: int = 20
    size: int = 100
    at_once: int = 500
    name = "restart"
    contenders = (V2,)

    def __post_init__(self) -> None:
        peers = f"{self.tenants * self.size:,} v2 peers in {self.tenants} tenants"
        self.title = f"restart: {peers}, the service killed and started again, all back at their addresses"
        self.figures = (
            Figure("seconds", "seconds from the first attempt to the last welcome", more_is_better=False),
            Figure("cpu", "CPU-seconds", more_is_better=False),
        )

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        crowd = stage.crowd
        stage.fill(self.tenants, self.size, _AT_ONCE)
        stage.server.signal(signal.SIGKILL)
        stage.server.await_end()
        for member in stage.members:
            crowd.cut(member)
        stage.server.begin()
        gone, stage.members = stage.members, []
        admitted, began, cpu = crowd.admitted + len(gone), time.perf_counter(), stage.server.cpu_seconds
        come_back(stage, gone, self.at_once)
        if not crowd.run(lambda: crowd.admitted >= admitted, stage.budget):
            raise BrokenPromise(f"{admitted - crowd.admitted} of {len(gone)} peers did not get back in")
        moved = [client for client in stage.members if client.before and client.virtual_ip != client.before.virtual_ip]
        if moved:
            raise BrokenPromise(f"{len(moved)} peers have another address than before")
        yield {"seconds": crowd.last_admitted - began, "cpu": stage.server.cpu_seconds - cpu}


@dataclass
class RollingRestart(Workload):
    """Each node in turn is killed, or told to stop, and started again. Its peers come back to the other one."""

    tenants: int = 50
    size: int = 100
    rounds: int = 10
    at_once: int = 500
    settle: float = _LEASE
    name = "rolling-restart"
    contenders = (TWO_NODES_V2,)

    def __post_init__(self) -> None:
        peers = f"{self.tenants * self.size:,} v2 peers in {self.tenants} tenants on two nodes"
        self.title = f"rolling restart: {peers}, one node after the other ended {self.rounds} times, no notice told"
        self.figures = (
            Figure("killed", "killed: seconds until all have resumed", more_is_better=False),
            Figure("stopped", "stopped (SIGTERM): the same", more_is_better=False),
        )

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        server = stage.server
        if not isinstance(server, Nodes):
            raise TypeError("this is for nodes that share NATS")
        stage.fill(self.tenants, self.size, _AT_ONCE)
        notices = stage.crowd.notices
        took: dict[str, list[float]] = {"killed": [], "stopped": []}
        for number in range(self.rounds):
            stage.note(f"{number} of {self.rounds} rounds")
            # The nodes take turns, and the kind changes every second round. So each node ends in both ways.
            kind, node = ("killed", "stopped")[number // 2 % 2], number % 2
            took[kind].append(self._round(stage, server, node, kind))
            stage.crowd.rest(self.settle)
            if stage.crowd.notices != notices:
                raise BrokenPromise(f"{stage.crowd.notices - notices} notices were told, and nobody had come or gone")
            server.begin_node(node)
        yield {kind: statistics.median(seconds) for kind, seconds in took.items()}

    def _round(self, stage: Stage, server: Nodes, node: int, kind: str) -> float:
        crowd = stage.crowd
        gone = [client for client in stage.members if client.node == node]
        stage.members = [client for client in stage.members if client.node != node]
        began = time.perf_counter()
        if kind == "killed":
            server.signal_node(node, signal.SIGKILL)
            server.await_node_end(node)
            for client in gone:
                crowd.cut(client)
        else:
            closed = list[Client]()
            for client in gone:
                client.on_gone = closed.append
                crowd.await_close(client)
            server.signal_node(node, signal.SIGTERM)
            if not crowd.run(lambda: len(closed) == len(gone), PATIENCE):
                raise BrokenPromise(f"{len(gone) - len(closed)} peers were not closed at a stop")
            server.await_node_end(node)
        admitted = crowd.admitted + len(gone)
        come_back(stage, gone, self.at_once, lambda _: 1 - node)
        return all_resumed(stage, admitted, may_be_anew=True) - began
