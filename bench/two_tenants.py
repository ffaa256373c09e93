from collections.abc import Iterator
from dataclasses import dataclass

from bench.client import Client
from bench.contenders import BESIDE, OURS
from bench.errors import BrokenPromise
from bench.figure import Figure, Sample, percentiles
from bench.identity import identity
from bench.stage import CHURNERS_FROM, PATIENCE, SETTLE, Stage, tenant
from bench.workloads import Workload

_AT_ONCE = 256
_QUIET = "quiet"
_QUIET_FROM = 70_000
"""The number of the first identity in the quiet tenant."""


class _Storm:
    """Clients that join and leave the large tenant, again and again, while another tenant is measured."""

    def __init__(self, stage: Stage, clients: int) -> None:
        self._stage = stage
        self.inside = clients
        self.is_over = False
        for number in range(clients):
            self._come(Client(identity(CHURNERS_FROM + number), tenant(0)))

    def _come(self, last: Client) -> None:
        self._stage.crowd.connect(Client(last.identity, tenant(0), on_member=self._go, on_gone=self._gone))

    def _go(self, client: Client) -> None:
        self._stage.crowd.leave(client)

    def _gone(self, client: Client) -> None:
        if self.is_over:
            self.inside -= 1
        else:
            self._come(client)


@dataclass
class TwoTenants(Workload):
    members: int = 10_000
    few: int = 10
    clients: int = 16
    rounds: int = 200
    name = "two-tenants"
    contenders = (OURS, BESIDE)

    def __post_init__(self) -> None:
        self.title = (
            f"two tenants: a storm in one of {self.members:,} members, {self.clients} joining and leaving at a time, "
            f"and one join or leave at a time in one of {self.few}"
        )
        self.figures = (
            Figure("alone", "quiet tenant, join to last member, p99, ms", more_is_better=False),
            Figure("beside", "beside the storm, ms", more_is_better=False),
            Figure("times", "times", more_is_better=False),
        )

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        crowd = stage.crowd
        stage.fill(1, self.members, _AT_ONCE)
        quiet = self._gather(stage)
        alone = self._p99(stage, quiet, "without a storm")
        storm = _Storm(stage, self.clients)
        crowd.rest(1.0)
        beside = self._p99(stage, quiet, "beside a storm")
        storm.is_over = True
        if not crowd.run(lambda: storm.inside == 0, PATIENCE):
            raise BrokenPromise(f"{storm.inside} clients did not get in and out within {PATIENCE} s")
        crowd.rest(SETTLE)
        owed = [2 * 2 * self.rounds + self.few - 1 - number for number in range(self.few)]
        if [member.notices for member in quiet] != owed:
            raise BrokenPromise("the quiet tenant's members were not told of each join and leave once")
        yield {"alone": 1000 * alone, "beside": 1000 * beside, "times": beside / alone}

    def _gather(self, stage: Stage) -> list[Client]:
        crowd, members = stage.crowd, list[Client]()
        crowd.stamped = lambda client: client.tenant == _QUIET
        for number in range(self.few):
            members.append(Client(identity(_QUIET_FROM + number), _QUIET))
            admitted = crowd.admitted + 1
            crowd.connect(members[-1])
            if not crowd.run(lambda due=admitted: crowd.admitted >= due, PATIENCE):  # type: ignore[misc]
                raise BrokenPromise("a member did not get into the quiet tenant")
        crowd.rest(SETTLE)
        return members

    def _p99(self, stage: Stage, quiet: list[Client], where: str) -> float:
        latencies = []
        for number in range(self.rounds):
            stage.note(f"{where}, {number} of {self.rounds} rounds")
            latencies.append(self._round(stage, quiet, number))
        return percentiles(latencies)[1]

    def _round(self, stage: Stage, quiet: list[Client], number: int) -> float:
        """Seconds from a join message in the quiet tenant to the receipt of its notice by the last member."""
        crowd = stage.crowd
        due = [member.notices + 1 for member in quiet]
        left = [False]
        newcomer = Client(
            identity(_QUIET_FROM + self.few + number % 8), _QUIET, on_gone=lambda _: left.__setitem__(0, True)
        )
        in_or_out = [False]
        newcomer.on_member = lambda _: in_or_out.__setitem__(0, True)
        stamped, crowd.stamped = crowd.stamped, lambda _: False  # Only the members' receive times count.
        crowd.last_stamp = 0.0
        crowd.connect(newcomer)

        def all_know(more: int) -> bool:
            return all(member.notices >= due_now + more for member, due_now in zip(quiet, due, strict=True))

        if not crowd.run(lambda: in_or_out[0] and all_know(0), PATIENCE):
            raise BrokenPromise("members of the quiet tenant did not hear of a join")
        latency = crowd.last_stamp - newcomer.asked_at
        crowd.stamped = stamped
        crowd.rest(0.01)
        crowd.leave(newcomer)
        if not crowd.run(lambda: left[0] and all_know(1), PATIENCE):
            raise BrokenPromise("members of the quiet tenant did not hear of a leave")
        crowd.rest(0.01)
        return latency
