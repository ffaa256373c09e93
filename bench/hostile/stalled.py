import re
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from bench.client import Client
from bench.counting import NOTICE
from bench.crowd import everybody, nobody
from bench.errors import BrokenPromise
from bench.figure import percentiles
from bench.hostile.peak import Peak
from bench.hostile.scenario import MB, Outcome, Scenario
from bench.hostile.traffic import Traffic, join_to_notice
from bench.stage import SETTLE, Stage

_AT_ONCE = 256
_WATCHERS = 40
_RECEIVE_BUFFER = 8192
"""Bytes. The kernel doubles it."""
_GONE_WITHIN = 20.0
"""Seconds after which all stalled peers must be gone, from when they stop reading."""
_LOOK_EVERY = 0.1
_TURN = 0.002
_REMOVAL = re.compile(rb'\{"removed_peer":"([^"]+)"\}')

Habit = Callable[[socket.socket], object]


def reads_nothing(_: socket.socket) -> None:
    pass


def reads_a_byte(sock: socket.socket) -> None:
    sock.recv(1)


def answers_no_ping(sock: socket.socket) -> None:
    while sock.recv(1 << 16):
        pass


@dataclass
class Stalled(Scenario):
    """Some members of a tenant stop reading. Measured is how the other members are affected until these are cut off.

    All members are in one tenant, so each flush has to write to all stalled peers, and the next flush waits for that.
    (A flush writes to the members that joined last first.) The stalled peers join first, so that their welcome, for
    which the service allows extra room in the outbox, is small. In the first half of the measurement they read like all
    others. So the only difference between the halves is that they do not read.
    """

    name: str
    habit: Habit
    every: float = _LOOK_EVERY
    """Seconds between two calls of `habit` for a stalled peer."""
    members: int = 5000
    stalled: int = 500
    rate: float = 250.0
    """Joins a second. As many leave."""
    seconds: float = 20.0
    """Seconds of each half."""
    max_outbox: int = 32_768
    pings: tuple[float, float] = (10.0, 8.0)
    """Seconds between two pings, and for the answer to one."""

    def __post_init__(self) -> None:
        self.title = f"{self.stalled:,} of {self.members:,}: {self.habit.__name__.replace('_', ' ')}"
        self.targets = {"ratio": 1.2, "last_gone": _GONE_WITHIN}
        self.settings = {
            "max_outbox_size": self.max_outbox,
            "ping_interval": self.pings[0],
            "ping_timeout": self.pings[1],
        }

    def run(self, stage: Stage, outcome: Outcome) -> None:
        crowd, server = stage.crowd, stage.server
        stalled = self._fill(stage)
        traffic = Traffic(stage, self.rate)
        stage.note("nobody has stalled yet")
        crowd.run(_ticking(traffic), self.seconds, _TURN)
        traffic.end()
        stage.check_counts()
        stage.members = stage.members[self.stalled :]
        traffic = Traffic(stage, self.rate)
        stopped = time.time()
        peak, cpu = Peak(server), server.cpu_seconds
        gone = self._stall(stage, stalled, traffic, peak)
        cpu = server.cpu_seconds - cpu
        took = time.time() - stopped
        for member in stage.members:
            member.owed += self.stalled
        traffic.end()
        crowd.rest(SETTLE)
        stage.check_counts()
        watchers = [member for member in stage.members if member.raw is not None]
        heard = [pair for watcher in watchers for pair in join_to_notice(watcher, stage.passers_by)]
        stage.check_in_full()
        p50, p99 = percentiles([latency for asked_at, latency in heard if asked_at < stopped])
        p50_with, p99_with = percentiles([latency for asked_at, latency in heard if asked_at >= stopped])
        outcome.figures = {
            "p50": 1000 * p50,
            "p99": 1000 * p99,
            "p50_with": 1000 * p50_with,
            "p99_with": 1000 * p99_with,
            "ratio_p50": p50_with / p50,
            "ratio": p99_with / p99,
            "samples": len(heard),
            "first_gone": min(gone),
            "last_gone": max(gone),
            "growth": peak.growth / MB,
            "core": 100 * cpu / took,
        }

    def _fill(self, stage: Stage) -> list[Client]:
        crowd = stage.crowd
        crowd.receive_buffer = _RECEIVE_BUFFER
        stage.fill(1, self.stalled, _AT_ONCE)
        crowd.receive_buffer, crowd.stamped = 0, everybody
        stage.fill(1, self.members, _AT_ONCE, sampled=_WATCHERS)
        crowd.stamped = nobody
        return stage.members[: self.stalled]

    def _stall(self, stage: Stage, stalled: Sequence[Client], traffic: Traffic, peak: Peak) -> list[float]:
        """Let them stop reading. Returns the seconds until each of them was gone."""
        began = time.monotonic()
        sockets = [stage.crowd.let_go(client) for client in stalled]
        removals = _Removals(
            next(member for member in stage.members if member.raw is not None),
            {client.virtual_ip.encode() for client in stalled},
        )
        do_as_is_their_habit, look = began, began

        def over() -> bool:
            nonlocal do_as_is_their_habit, look
            traffic.tick()
            now = time.monotonic()
            if now >= do_as_is_their_habit:
                do_as_is_their_habit = now + self.every
                for sock in sockets:
                    with suppress(OSError):
                        self.habit(sock)
            if now >= look:
                look = now + _LOOK_EVERY
                peak.look()
                removals.look(now - began)
                stage.note(f"{len(removals.after)} of {self.stalled} are gone after {now - began:.0f} s")
            return len(removals.after) == self.stalled and now - began >= self.seconds

        stage.crowd.run(over, max(self.seconds, _GONE_WITHIN), _TURN)
        for sock in sockets:
            sock.close()
        if len(removals.after) < self.stalled:
            raise BrokenPromise(f"{self.stalled - len(removals.after)} stalled peers were not gone in {_GONE_WITHIN} s")
        return list(removals.after.values())


class _Removals:
    """Finds out, from the notices of a sampled member, when the peers at some addresses were gone."""

    def __init__(self, watcher: Client, addresses: set[bytes]) -> None:
        self._watcher = watcher
        self._addresses = addresses
        self._seen = len(watcher.raw or ())
        self._rest = b""
        self.after: dict[bytes, float] = {}
        """By address: the time at which the leave was first seen."""

    def look(self, now: float) -> None:
        pieces = (self._watcher.raw or [])[self._seen :]
        self._seen += len(pieces)
        told = self._rest + b"".join(pieces)
        whole = max(0, told.rfind(NOTICE))  # The rest may be an incomplete notice.
        self._rest = told[whole:]
        for removal in _REMOVAL.findall(told[:whole]):
            if removal in self._addresses:
                self.after.setdefault(removal, now)


def _ticking(traffic: Traffic) -> Callable[[], bool]:
    def never() -> bool:
        traffic.tick()
        return False

    return never
