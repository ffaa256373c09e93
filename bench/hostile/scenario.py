import gc
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.contenders import SERVICE
from bench.crowd import Crowd
from bench.errors import BrokenPromise, NotReached
from bench.server import Server
from bench.stage import Note, Stage

MB = 1e6
_BUDGET = 180.0
"""Seconds that it may take to fill the service."""


@dataclass
class Outcome:
    """The result of a scenario."""

    figures: dict[str, float] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    """How many connections the service has ended in each way: an HTTP status, a close code, "closed", "reset"."""
    failure: str = ""
    """Which promise was broken, if one was. Then the figures do not count."""


class Scenario(ABC):
    """One attack on the service, and how the other peers are affected."""

    name: str
    title: str
    settings: dict[str, object]
    """Settings of the service that are not its defaults."""
    targets: dict[str, float]
    """The most that each figure should be, on a quiet machine. If it is more, no promise is broken."""

    def more_settings(self, folder: Path) -> dict[str, object]:
        """Settings that name files. The files are written to `folder`, which exists as long as the service runs."""
        return {}

    def crowd(self, port: int) -> Crowd:
        return Crowd(port)

    @abstractmethod
    def run(self, stage: Stage, outcome: Outcome) -> None:
        """Run the scenario, and fill in `outcome`. Raises BrokenPromise and NotReached."""

    def missed(self, outcome: Outcome) -> list[str]:
        """Which figures are beyond their targets."""
        return [key for key, most in self.targets.items() if outcome.figures.get(key, 0.0) > most]


def play(scenario: Scenario, note: Note) -> Outcome:
    """Run it against a service of its own."""
    outcome = Outcome()
    gc.disable()  # It collects between scenarios instead, when no server waits for this process.
    note("starting")
    try:
        with (
            TemporaryDirectory(prefix="bench-") as folder,
            Server(SERVICE, {**scenario.settings, **scenario.more_settings(Path(folder))}) as server,
        ):
            crowd = scenario.crowd(server.port)
            try:
                scenario.run(Stage(server, crowd, _BUDGET, note), outcome)
                if traced := [line.strip() for line in server.said.splitlines() if line.startswith("  File ")]:
                    raise BrokenPromise(f"the service has logged a traceback, {traced[-1]}")
            except (BrokenPromise, NotReached, OSError) as error:
                outcome.failure = server.explain(str(error))
            finally:
                crowd.close()
    except BrokenPromise as error:
        outcome.failure = str(error)
    gc.collect()
    return outcome
