import platform
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.figure import Figure, Sample
from bench.limit import Feed
from bench.workloads import Workload

RESULTS = Path(__file__).parent / "results"
"""The folder for the figures, unless the command line names another file."""


@dataclass
class Outcome:
    """What was measured of one server in one workload."""

    samples: list[Sample] = field(default_factory=list)
    refused: int = 0
    """Joins that the server answered with "try again later", and that were tried again."""
    failure: str = ""
    """Which promise it broke, if it did. Then its samples do not count."""
    not_reached: str = ""
    """How far it came, if its time was not enough."""

    def values(self, figure: Figure) -> list[float]:
        return [] if self.failure else [sample[figure.key] for sample in self.samples if figure.key in sample]

    def median(self, figure: Figure) -> float | None:
        values = self.values(figure)
        return statistics.median(values) if values else None


@dataclass
class Results:
    """Everything one run has measured."""

    workloads: list[Workload]
    servers: list[str]
    repeats: int
    counting: Feed
    limits: dict[int, list[float]] = field(default_factory=dict)
    """By number of sockets: notices per CPU-second with one plain `send` per notice, one value per repeat."""
    outcomes: dict[str, dict[str, Outcome]] = field(default_factory=dict)
    """By workload and server."""
    stopped: bool = False
    """Whether the run was ended before it was complete."""

    @property
    def failures(self) -> Iterator[str]:
        for workload, outcomes in self.outcomes.items():
            for server, outcome in outcomes.items():
                if outcome.failure:
                    yield f"{workload}, {server}: {outcome.failure}"

    def first(self, workload: Workload) -> str:
        """The server that the others are compared with."""
        return next(iter(self.outcomes[workload.name]))

    def limit(self, sockets: int) -> float | None:
        return statistics.median(self.limits[sockets]) if sockets in self.limits else None

    def ratio(self, workload: Workload, figure: Figure, server: str) -> float | None:
        """How many times better the first server is than `server`: the median of the repeats' ratios. The two values of
        a repeat were measured soon after each other.
        """
        ours = self.outcomes[workload.name][self.first(workload)].values(figure)
        theirs = self.outcomes[workload.name][server].values(figure)
        ratios = [figure.ratio(*pair) for pair in zip(ours, theirs, strict=False)]
        return statistics.median(ratios) if ratios else None

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "repeats": self.repeats,
            "stopped": self.stopped,
            "load_generator_counts_per_second": self.counting.counted_per_cpu_second,
            "send_limit_notices_per_cpu_second": self.limits,
            "workloads": {
                workload.name: {
                    "ratios_are_to": self.first(workload),
                    "parameters": asdict(workload),  # type: ignore[call-overload]
                    "figures": {
                        figure.key: {
                            "title": figure.title,
                            "more_is_better": figure.more_is_better,
                            "medians": {name: outcome.median(figure) for name, outcome in outcomes.items()},
                            "ratios": {name: self.ratio(workload, figure, name) for name in outcomes},
                        }
                        for figure in workload.figures
                    },
                    "servers": {name: asdict(outcome) for name, outcome in outcomes.items()},
                }
                for workload in self.workloads
                if (outcomes := self.outcomes.get(workload.name))
            },
        }


def machine() -> dict[str, Any]:
    with Path("/proc/cpuinfo").open() as lines:
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(models),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
