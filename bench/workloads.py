import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import checks
from bench.client import Client
from bench.contenders import ALONE, BOTH
from bench.crowd import Crowd, nobody
from bench.dialect import V2
from bench.errors import BrokenPromise
from bench.figure import Figure, Sample, percentiles
from bench.identity import identity
from bench.returning import all_resumed, come_back
from bench.stage import CHURNERS_FROM, PATIENCE, SETTLE, Stage, tenant

_AT_ONCE = 256


class Workload(ABC):
    """One way to use the service, and the figures that are measured of it.

    `run` yields one sample. With `repeats_itself`, it yields as many samples as repeats are asked for, and is called
    once. It raises BrokenPromise and NotReached.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    sockets: int = 0
    """Members of the one tenant. The machine's own limit is measured with as many sockets. 0: it is not measured."""
    repeats_itself = False
    contenders = ALONE
    """The servers that can run it."""

    def crowd(self, ports: Sequence[int]) -> Crowd:
        return Crowd(*ports)

    @abstractmethod
    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]: ...


@dataclass
class Storm(Workload):
    members: int = 1000
    clients: int = 256
    seconds: float = 5.0
    name = "storm"

    def __post_init__(self) -> None:
        self.title = f"storm: {self.members:,} members in one tenant, {self.clients} more joining and leaving at a time"
        self.figures = (Figure("deliveries", "notices per CPU-second"), Figure("rounds", "joins and leaves per second"))
        self.sockets = self.members

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        stage.fill(1, self.members, _AT_ONCE)
        began = time.perf_counter()
        churn = stage.churn(self.clients, self.seconds)
        took = stage.crowd.last_notice - began
        stage.check_in_full()
        yield {"deliveries": churn.deliveries / churn.cpu_seconds, "rounds": 2 * churn.rounds / took}


@dataclass
class Quiet(Workload):
    members: int = 1000
    rounds: int = 200
    pause: float = 0.01
    name = "quiet"

    def __post_init__(self) -> None:
        self.title = f"quiet: {self.members:,} members in one tenant, one join or leave at a time"
        self.figures = (
            Figure("p50", "join to last member, p50, ms", more_is_better=False),
            Figure("p99", "p99, ms", more_is_better=False),
            Figure("deliveries", "notices per CPU-second"),
        )
        self.sockets = self.members

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        crowd = stage.crowd
        crowd.stamped = self.is_timed
        stage.fill(1, self.members, _AT_ONCE)
        crowd.stamped = nobody
        notices, cpu = crowd.notices, stage.server.cpu_seconds
        latencies = [self._round(stage, number) for number in range(self.rounds)]
        cpu = stage.server.cpu_seconds - cpu
        notices = crowd.notices - notices
        crowd.rest(SETTLE)
        stage.check_counts()
        stage.check_in_full()
        p50, p99 = percentiles(latencies)
        yield {"p50": 1000 * p50, "p99": 1000 * p99, "deliveries": notices / cpu}

    def is_timed(self, client: Client) -> bool:
        """Whether the time until this member has received the notice of a join counts."""
        return True

    def _round(self, stage: Stage, number: int) -> float:
        """Let a client join and leave. Returns the seconds from its join message to the receipt of its notice by the
        last timed member.
        """
        crowd = stage.crowd
        left = [False]
        client = Client(
            identity(CHURNERS_FROM + number % 8),
            tenant(0),
            dialect=stage.dialect(number),
            sampled=number % 50 == 0,
            on_gone=lambda _: left.__setitem__(0, True),
        )
        stage.note(f"{number} of {self.rounds} rounds")
        crowd.last_stamp = 0.0
        admitted, due = crowd.admitted + 1, crowd.notices + self.members
        crowd.connect(client)
        if not crowd.run(lambda: crowd.admitted >= admitted and crowd.notices >= due, PATIENCE):
            raise BrokenPromise(f"{due - crowd.notices} members did not hear of a join")
        latency = crowd.last_stamp - crowd.asked_at
        stage.passers_by.append(client)
        crowd.rest(self.pause)
        due += self.members
        crowd.leave(client)
        if not crowd.run(lambda: left[0] and crowd.notices >= due, PATIENCE):
            raise BrokenPromise(f"{due - crowd.notices} members did not hear of a leave")
        crowd.rest(self.pause)
        for member in stage.members:
            member.owed += 2
        return latency


@dataclass
class Admissions(Workload):
    tenants: int = 500
    size: int = 10
    name = "admissions"

    def __post_init__(self) -> None:
        self.title = f"admissions: {self.tenants * self.size:,} peers into {self.tenants} tenants"
        self.figures = (Figure("joins", "joins per CPU-second"), Figure("per_second", "joins per second"))

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        began, cpu = time.perf_counter(), stage.server.cpu_seconds
        stage.fill(self.tenants, self.size, _AT_ONCE)
        took, cpu = stage.crowd.last_notice - began, stage.server.cpu_seconds - cpu
        stage.check_in_full(self.tenants)
        joins = len(stage.members)
        yield {"joins": joins / cpu, "per_second": joins / took}


@dataclass
class Return(Workload):
    tenants: int = 50
    size: int = 100
    at_once: int = 1000
    """Handshakes under way at a time. They are fewer than a backlog holds: lost SYNs would spoil the measurement."""
    name = "return"
    contenders = tuple(name for name in ALONE if name != BOTH)

    def __post_init__(self) -> None:
        peers = f"{self.tenants * self.size:,} peers in {self.tenants} tenants"
        self.title = f"return: {peers} cut off at once, all back (v2: resumed)"
        self.figures = (
            Figure("seconds", "seconds until all know all", more_is_better=False),
            Figure("cpu", "CPU-seconds", more_is_better=False),
        )

    def crowd(self, ports: Sequence[int]) -> Crowd:
        return Crowd(*ports, count_joins=True)

    def run(self, stage: Stage, repeats: int) -> Iterator[Sample]:
        crowd = stage.crowd
        stage.fill(self.tenants, self.size, _AT_ONCE)
        cut, stage.members = stage.members, []
        cpu, began = stage.server.cpu_seconds, time.perf_counter()
        for member in cut:
            crowd.cut(member)
        admitted, resumes = crowd.admitted + len(cut), stage.server.speaks == (V2,)
        come_back(stage, cut, self.at_once)
        took = all_resumed(stage, admitted) if resumes else self._all_know_all(stage, admitted)
        cpu = stage.server.cpu_seconds - cpu
        checks.addresses(stage.members)
        if not resumes:
            stage.check_in_full(self.tenants)
        yield {"seconds": took - began, "cpu": cpu}

    def _all_know_all(self, stage: Stage, admitted: int) -> float:
        """Wait until all are in, all pictures are complete and no more notices come. Returns when the last one came."""
        crowd = stage.crowd
        if not crowd.run(lambda: crowd.admitted >= admitted, stage.budget):
            raise BrokenPromise(f"{admitted - crowd.admitted} of {len(stage.members)} peers did not get back in")
        deadline = time.perf_counter() + PATIENCE
        while time.perf_counter() < deadline:
            crowd.rest(0.02)
            quiet = time.perf_counter() - crowd.last_notice > SETTLE
            if quiet and all(member.size == self.size - 1 for member in stage.members):
                return crowd.last_notice
        lost = sum(member.size != self.size - 1 for member in stage.members)
        raise BrokenPromise(f"{lost} of {len(stage.members)} pictures are not complete")
