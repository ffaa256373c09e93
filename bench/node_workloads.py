from collections.abc import Iterator
from dataclasses import dataclass

from bench.client import Client
from bench.contenders import OURS, TWO_NODES
from bench.figure import Figure, Sample
from bench.nodes import Nodes
from bench.stage import Stage
from bench.workloads import Admissions, Quiet

_CONTENDERS = (OURS, TWO_NODES)


@dataclass
class NodesAdmissions(Admissions):
    """Half of each tenant's members join on each node. The CPU time is that of both nodes, without NATS."""

    name = "nodes-admissions"
    contenders = _CONTENDERS

    def __post_init__(self) -> None:
        super().__post_init__()
        self.title = f"nodes, {self.title}, half on each node"
        joins, per_second = self.figures
        nats = Figure("nats", "µs of NATS per join", more_is_better=False)
        self.figures = (joins._replace(least=0.4), per_second, nats)

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        server = stage.server
        if not isinstance(server, Nodes):
            yield from super().run(stage, repeats)
            return
        nats = server.nats_cpu_seconds
        for sample in super().run(stage, repeats):
            yield {**sample, "nats": 1e6 * (server.nats_cpu_seconds - nats) / len(stage.members)}


@dataclass
class NodesQuiet(Quiet):
    """Clients join and leave on one node. Every second member is on the other node; only these are timed."""

    members: int = 200
    name = "nodes-quiet"
    contenders = _CONTENDERS

    def __post_init__(self) -> None:
        super().__post_init__()
        self.title = f"nodes, {self.title} on one node, told on the other"
        p50, *others = self.figures
        self.figures = (p50._replace(most_more=5.0), *others)
        self.sockets = 0

    def is_timed(self, client: Client) -> bool:
        return client.identity.number % 2 == 1
