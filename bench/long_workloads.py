from collections.abc import Iterator
from dataclasses import dataclass

from bench.errors import NotReached
from bench.figure import Figure, Sample
from bench.stage import Stage
from bench.workloads import Workload

_AT_ONCE = 256


@dataclass
class Growth(Workload):
    """It takes a number of notices that grows as the square of the size to fill a tenant. So a server is filled once,
    and clients join and leave at each size.
    """

    sizes: tuple[int, ...] = (100, 1000, 5000, 10_000)
    clients: int = 16
    seconds: float = 1.0
    name = "growth"
    repeats_itself = True

    def __post_init__(self) -> None:
        self.title = f"growth: µs of CPU per notice by size of tenant, {self.clients} joining and leaving at a time"
        self.figures = tuple(Figure(str(size), f"{size:,}", more_is_better=False) for size in self.sizes)

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        samples: list[Sample] = [{} for _ in range(repeats)]
        short: NotReached | None = None
        for size in self.sizes:
            try:
                stage.fill(1, size, _AT_ONCE)
            except NotReached as error:
                short = error
                break
            for sample in samples:
                stage.note(f"{size:,} members")
                churn = stage.churn(self.clients, self.seconds)
                sample[str(size)] = 1e6 * churn.cpu_seconds / churn.deliveries
            stage.check_in_full()
        yield from samples
        if short is not None:
            raise short


@dataclass
class Idle(Workload):
    tenants: int = 150
    size: int = 100
    hold: float = 60.0
    name = "idle"

    def __post_init__(self) -> None:
        self.title = f"idle: {self.tenants * self.size:,} peers held for {self.hold:g} s"
        self.figures = (
            Figure("memory", "KiB of memory per peer", more_is_better=False),
            Figure("cpu", "% of a core", more_is_better=False),
        )

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        empty = stage.server.memory
        stage.fill(self.tenants, self.size, _AT_ONCE)
        cpu = stage.server.cpu_seconds
        stage.note(f"holding for {self.hold:g} s")
        stage.crowd.rest(self.hold)
        cpu = stage.server.cpu_seconds - cpu
        memory = stage.server.memory - empty
        stage.check_counts()
        stage.check_in_full(self.tenants)
        yield {"memory": memory / len(stage.members) / 1024, "cpu": 100 * cpu / self.hold}
