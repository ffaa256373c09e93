import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import checks
from bench.crowd import Crowd
from bench.errors import BrokenPromise
from bench.figure import percentiles
from bench.hostile.attacks import ATTACKED, Attack
from bench.hostile.flood import Flood, Stand
from bench.hostile.peak import Peak
from bench.hostile.scenario import MB, Outcome, Scenario
from bench.hostile.traffic import Traffic
from bench.stage import PATIENCE, SETTLE, Stage
from bench.tls import client_context
from harness.certificates import write_certificate

_AT_ONCE = 256
_TURN = 0.002


@dataclass
class Flooded(Scenario):
    """Clients join at a steady rate, without a flood and then under it. The service has members in many tenants.

    The time of a join is from the connection's first packet to its welcome. Joins do not wait for each other: if they
    did, a time in which none succeeds would count as one slow join instead of many.
    """

    attack: Attack
    tenants: int = 20
    size: int = 50
    rate: float = 100.0
    """Joins a second. As many leave."""
    seconds: float = 8.0
    """Seconds without the flood, and as many under it."""

    def __post_init__(self) -> None:
        self.name = self.attack.name
        self.title = f"{self.attack.connections:,} connections: {self.attack.title}"
        self.settings = {}
        self.targets = {"p99_with": 200.0, "growth": self.attack.growth}

    def more_settings(self, folder: Path) -> dict[str, object]:
        names = ("tls_certificate", "tls_key")
        return dict(zip(names, write_certificate(folder, "bench"), strict=True)) if self.attack.over_tls else {}

    def crowd(self, port: int) -> Crowd:
        return Crowd(port, tls=client_context() if self.attack.over_tls else None)

    def run(self, stage: Stage, outcome: Outcome) -> None:
        server = stage.server
        stage.fill(self.tenants, self.size, _AT_ONCE)
        without = self._joins(stage, "without", lambda: None)
        peak = Peak(server)
        with Flood(self.attack, server.port) as flood:
            if not stage.crowd.run(lambda: peak.look() and flood.up, PATIENCE):
                raise BrokenPromise(f"the flood does not rise: {flood.stand}")
            sent, cpu, began = flood.stand.sent, server.cpu_seconds, time.perf_counter()
            under = self._joins(stage, "under the flood", peak.look)
            took = time.perf_counter() - began
            outcome.figures = {
                "sent_per_second": (flood.stand.sent - sent) / took / MB,
                "core": 100 * (server.cpu_seconds - cpu) / took,
            }
            stage.note("until each was cut")
            enough = self.attack.connections
            stage.crowd.run(lambda: peak.look() and flood.stand.ended >= enough, PATIENCE)
            stand = flood.end()
        self._settle(stage)
        p50, p99 = percentiles(without)
        p50_with, p99_with = percentiles(under)
        outcome.answers = {**stand.answers}
        outcome.figures |= {
            "p50": 1000 * p50,
            "p99": 1000 * p99,
            "p50_with": 1000 * p50_with,
            "p99_with": 1000 * p99_with,
            "ratio_p50": p50_with / p50,
            "ratio": p99_with / p99,
            "worst": 1000 * max(under),
            "joins": len(without) + len(under),
            "growth": peak.growth / MB,
            "growth_after": (server.resident - peak.before) / MB,
            "left_open": stand.open,
            "refused": stage.crowd.refused,
        }
        self._check(stage, stand)

    def _joins(self, stage: Stage, when: str, look: Callable[[], object]) -> list[float]:
        """Let clients join for a while. Returns the seconds that each join took."""
        traffic = Traffic(stage, self.rate)

        def over() -> bool:
            traffic.tick()
            look()
            stage.note(f"{len(traffic.took):,} joins {when}")
            return False

        stage.crowd.run(over, self.seconds, _TURN)
        traffic.end()
        return traffic.took

    def _settle(self, stage: Stage) -> None:
        """Wait until no notices have come for a while, and all members have got as many as they should."""
        crowd, deadline = stage.crowd, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            notices = crowd.notices
            crowd.rest(SETTLE)
            if notices == crowd.notices and all(member.notices >= member.owed for member in stage.members):
                return

    def _check(self, stage: Stage, stand: Stand) -> None:
        attacked = [member for member in stage.members if member.tenant == ATTACKED]
        flooded_with = attacked[0].notices - attacked[0].owed
        # It is not known how many notices the flood caused, but all members must have got as many.
        for member in attacked:
            member.owed += flooded_with
        stage.check_counts()
        checks.tenant_in_full(attacked)
        stage.check_in_full(self.tenants)
        if wrong := stand.answers.keys() - self.attack.answers:
            raise BrokenPromise(f"the flood was answered with {', '.join(sorted(wrong))}")
        if stand.ended < self.attack.connections:
            raise BrokenPromise(f"only {stand.ended:,} of {self.attack.connections:,} attackers were cut off")
