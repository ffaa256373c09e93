import itertools
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import NamedTuple

from bench import checks
from bench.client import Client
from bench.crowd import Crowd
from bench.dialect import Picture
from bench.errors import BrokenPromise
from bench.hostile.scenario import MB, Outcome, Scenario
from bench.hostile.trend import slope, steepest
from bench.identity import Identity
from bench.server import HOST
from bench.stage import CHURNERS_FROM, PATIENCE, SETTLE, Stage, tenant

PER = 100_000
"""The growth of memory is given for so many cycles."""
_SOURCES = 64
"""Loopback addresses to connect from: each has 28,000 ports, and a port whose client sent the first FIN can't be used
again for a minute.
"""
_MEMBERS = 4
_SHARED = 5


class Base(NamedTuple):
    """What the service's process has open when only the members that stay are connected."""

    files: int
    threads: int
    tasks: int


@dataclass
class Soak(Scenario):
    """Clients join and leave, again and again, each time with a new key. They leave by a close frame, a FIN and a reset
    in turn.

    A quarter of the clients join a tenant that is never empty, so it is never forgotten. A quarter share a few other
    tenants. Each of the others has a tenant of its own, which is made and forgotten in each cycle.

    After each leg all these clients are gone. Then the process must have as many open files, threads and asyncio tasks
    as at first, and the members that stay must know only each other.
    """

    cycles: int = 1_000_000
    clients: int = 200
    legs: int = 20
    name = "soak"

    def __post_init__(self) -> None:
        self.title = f"{self.cycles:,} joins and leaves, {self.clients} at a time"
        with socket.create_server((HOST, 0)) as free:
            self._metrics = free.getsockname()[1]
        self.settings = {"max_handshake_rate": 0, "metrics_port": self._metrics}  # As fast as it goes.
        self.targets = {"slope": 1.0, "grown": 1.0}

    def crowd(self, port: int) -> Crowd:
        return Crowd(port, sources=_SOURCES)

    def run(self, stage: Stage, outcome: Outcome) -> None:
        stage.fill(1, _MEMBERS, _MEMBERS)
        base = self._base(stage)
        watchers = [_Watcher(member) for member in stage.members]
        cycling = _Cycling(stage.crowd, self.clients)
        began, cpu = time.perf_counter(), stage.server.cpu_seconds
        memory: list[tuple[float, float]] = []
        for leg in range(self.legs):
            due = (leg + 1) * self.cycles // self.legs
            self._leg(stage, cycling, due, watchers)
            stage.crowd.run(lambda: self._base(stage) == base, PATIENCE)
            if (now := self._base(stage)) != base:
                raise BrokenPromise(f"{base} before and {now} after {due:,} cycles")
            memory.append((due, stage.server.memory / MB))
        took, cpu = time.perf_counter() - began, stage.server.cpu_seconds - cpu
        warm = memory[1:] if len(memory) > 2 else memory
        # Memory that shrinks and grows again to what it was, as for a table that is rebuilt, has not grown.
        highest = list(zip((at for at, _ in warm), itertools.accumulate((most for _, most in warm), max), strict=True))
        outcome.figures = {
            "cycles": cycling.started,
            "per_second": cycling.started / took,
            "cpu": 1e6 * cpu / cycling.started,
            "notices": watchers[0].member.notices,
            "first": memory[0][1],
            "last": memory[-1][1],
            "grown": PER * (memory[-1][1] - memory[0][1]) / max(1, memory[-1][0] - memory[0][0]),
            "slope": PER * slope(warm),
            "steepest": steepest(highest, PER),
            "open_files": base.files,
            "threads": base.threads,
            "tasks": base.tasks,
            **{f"memory_{int(at)}": megabytes for at, megabytes in memory},
        }

    def _base(self, stage: Stage) -> Base:
        # The request for the number of tasks takes a file and a thread for a moment. These must not be counted.
        stage.crowd.rest(SETTLE)
        files, threads = stage.server.open_files, stage.server.threads
        connection = HTTPConnection(HOST, self._metrics, timeout=PATIENCE)
        connection.request("GET", "/metrics")
        metrics = connection.getresponse().read().decode()
        connection.close()
        tasks = re.search(r"^wg_orchestrator_tasks ([0-9]+)", metrics, re.MULTILINE)
        if tasks is None:
            raise BrokenPromise("the service does not say how many tasks it has")
        return Base(files, threads, int(tasks[1]))

    def _leg(self, stage: Stage, cycling: "_Cycling", due: int, watchers: "list[_Watcher]") -> None:
        def over() -> bool:
            stage.note(f"{cycling.started:,} of {self.cycles:,} cycles")
            return cycling.inside == 0

        before = stage.crowd.admitted
        cycling.go_on_until(due)
        # There is no bound to how long a leg takes. It fails only if no client gets in for a while.
        while not stage.crowd.run(over, PATIENCE):
            if stage.crowd.admitted == before:
                raise BrokenPromise(f"{cycling.inside} clients did not get in or out in {PATIENCE} s")
            before = stage.crowd.admitted
        owed = 2 * cycling.into_kept
        stage.crowd.run(lambda: all(member.notices - member.owed >= owed for member in stage.members), PATIENCE)
        stage.crowd.rest(SETTLE)
        for watcher in watchers:
            watcher.member.owed += owed
        cycling.into_kept = 0
        stage.check_counts()
        truth = {member.virtual_ip: (member.identity.name, member.identity.key) for member in stage.members}
        for watcher in watchers:
            watcher.check(truth)


class _Cycling:
    """Clients that join, leave, and join again with a new key, until there were enough cycles."""

    def __init__(self, crowd: Crowd, clients: int) -> None:
        self._crowd = crowd
        self._clients = clients
        self._until = 0
        self._endings: itertools.cycle[Callable[[Client], None]] = itertools.cycle(
            (crowd.leave, crowd.hang_up, self._reset)
        )
        self.started = 0
        self.inside = 0
        self.into_kept = 0
        """Cycles in the tenant that is never empty, since the last leg."""

    def go_on_until(self, cycles: int) -> None:
        self._until = cycles
        for number in range(self._clients):
            self._come(number)

    def _come(self, number: int) -> None:
        if self.started >= self._until:
            return
        self.started += 1
        self.inside += 1
        self.into_kept += number % 4 == 0
        who = Identity(CHURNERS_FROM + number, self.started.to_bytes(8, "big"))
        self._crowd.connect(Client(who, _tenant_of(number), on_member=self._go, on_gone=self._gone))

    def _go(self, client: Client) -> None:
        next(self._endings)(client)

    def _reset(self, client: Client) -> None:
        self._crowd.cut(client)
        self._gone(client)

    def _gone(self, client: Client) -> None:
        self.inside -= 1
        self._come(client.identity.number - CHURNERS_FROM)


class _Watcher:
    """Keeps the picture of a sampled member up to date, without keeping all notices."""

    def __init__(self, member: Client) -> None:
        self.member = member
        self._picture: Picture = {}
        self._started = False

    def check(self, truth: Picture) -> None:
        """Apply the notices that came since the last time. None may be on its way. Raises BrokenPromise."""
        member = self.member
        first, changes = checks.told_in_full(member)
        if not self._started:
            self._picture, self._started = first, True
        for change in changes:
            checks.apply(self._picture, change, member.identity.name)
        if member.raw is not None:
            member.raw.clear()
            member.stamps.clear()
        if self._picture != {address: peer for address, peer in truth.items() if address != member.virtual_ip}:
            raise BrokenPromise(f"the picture of {member.identity.name} is not the truth")


def _tenant_of(number: int) -> str:
    if number % 4 == 0:
        return tenant(0)
    return f"shared-{number % _SHARED}" if number % 4 == 1 else f"alone-{number}"
