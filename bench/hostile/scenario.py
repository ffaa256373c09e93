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
"""Seconds that filling the service may take."""


@dataclass
class Outcome:
    """What came of a scenario."""

    figures: dict[str, float] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    """How many connections were ended by the service, by how: an HTTP status, a close code, "closed", "reset"."""
    failure: str = ""
    """Which promise was broken. The figures count for nothing then."""


class Scenario(ABC):
    """One way to hurt the service, and what the others feel of it."""

    name: str
    title: str
    settings: dict[str, object]
    """Of the service, where they are not its defaults."""
    targets: dict[str, float]
    """What each figure is to be at the most, on a quiet machine. It does not decide whether a promise was broken."""

    def more_settings(self, folder: Path) -> dict[str, object]:
        """Those that name files, which are written to a folder that lives as long as the service does."""
        return {}

    def crowd(self, port: int) -> Crowd:
        return Crowd(port)

    @abstractmethod
    def run(self, stage: Stage, outcome: Outcome) -> None:
        """Fill in `outcome` as far as it comes. Raises BrokenPromise and NotReached."""

    def missed(self, outcome: Outcome) -> list[str]:
        """Which figures are beyond their targets."""
        return [key for key, most in self.targets.items() if outcome.figures.get(key, 0.0) > most]


def play(scenario: Scenario, note: Note) -> Outcome:
    """Run it against a service of its own."""
    outcome = Outcome()
    gc.disable()  # Collected between scenarios instead, when nobody waits for us.
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
