import re
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate

from bench.client import Client
from bench.errors import BrokenPromise
from bench.identity import identity
from bench.stage import CHURNERS_FROM, PATIENCE, Stage, tenant

_CLIENTS = 1024
_SAMPLED_ONE_IN = 200
_JOIN = re.compile(rb'\{"display_name":"([^"]+)"[^}]*\}')


class Traffic:
    """Clients that join the first tenant and leave at once. They start at a steady rate, however slow the service is.

    `tick` has to be called often. If so many clients are under way that no identity is free, the next ones start later.
    """

    def __init__(self, stage: Stage, rate: float) -> None:
        self._stage = stage
        self._pause = 1 / rate
        self._due = time.monotonic()
        self._free = deque(identity(CHURNERS_FROM + number) for number in range(_CLIENTS))
        self.came: list[Client] = []
        """All clients that were welcomed, in that order."""
        self.took: list[float] = []
        """Seconds from each client's first packet to its welcome, with the time for refusals and further tries."""
        self._began: dict[Client, float] = {}

    def tick(self) -> None:
        now = time.monotonic()
        while self._due <= now and self._free:
            self._due += self._pause
            sample = len(self.came) % _SAMPLED_ONE_IN == 0
            client = Client(self._free.popleft(), tenant(0), sampled=sample, on_member=self._go, on_gone=self._gone)
            self._began[client] = time.perf_counter()
            self._stage.crowd.connect(client)

    def end(self) -> None:
        """Wait until the last client is gone and every member has got as many notices as it should."""
        crowd = self._stage.crowd
        members = [member for member in self._stage.members if member.tenant == tenant(0)]
        if not crowd.run(lambda: len(self._free) == _CLIENTS, PATIENCE):
            raise BrokenPromise(f"{_CLIENTS - len(self._free)} clients did not get in and out within {PATIENCE} s")
        for member in members:
            member.owed += 2 * len(self.came)
        self._stage.passers_by += self.came
        crowd.run(lambda: all(member.notices >= member.owed for member in members), PATIENCE)

    def _go(self, client: Client) -> None:
        self.came.append(client)
        self.took.append(time.perf_counter() - self._began.pop(client))
        self._stage.crowd.leave(client)

    def _gone(self, client: Client) -> None:
        self._free.append(client.identity)


def join_to_notice(watcher: Client, came: Sequence[Client]) -> Iterator[tuple[float, float]]:
    """Yield when each client of `came` asked to join, and how many seconds later `watcher`, a sampled member, was told.

    `came` must have all clients of these identities that came since `watcher` joined, those of one identity in order.
    """
    waiting: dict[bytes, deque[Client]] = {}
    for client in came:
        waiting.setdefault(client.identity.name.encode(), deque()).append(client)
    pieces = watcher.raw or []
    ends = list(accumulate(len(piece) for piece in pieces))
    for notice in _JOIN.finditer(b"".join(pieces)):
        if who := waiting.get(notice[1]):
            asked_at = who.popleft().asked_at
            yield asked_at, watcher.stamps[bisect_left(ends, notice.end())] - asked_at
