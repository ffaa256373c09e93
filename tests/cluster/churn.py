"""Clients that join and leave at random, on all services of a cluster."""

import random
from collections import Counter
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from harness.cluster import Cluster, ServiceProcess
from harness.keys import a_key_text
from harness.peer import Peer, give_up, join
from tests.cluster.rules import Rules

KEYS = 300
"""Keys of each tenant. They are so few that some joins come with a key that is live."""


@dataclass(frozen=True)
class Shape:
    """The network of a run, and how many tenants, clients and stays it has."""

    network: str
    tenants: int
    crowd: int
    """Clients that join and leave at the same time."""
    most: int
    """The most stays at a time. When there are so many, one ends before the next one begins."""


WIDE = Shape("100.64.0.0/10", 3, 60, 120)
FULL = Shape("100.64.0.0/28", 12, 60, 156)
"""Tenants of 14 addresses, most of which are held: a newcomer gets one that was released just before, or none."""


class Churn:
    def __init__(self, cluster: Cluster, pick: random.Random, shape: Shape, rules: Rules, log: Counter[str]) -> None:
        self.services = cluster.services
        self.tenants = [f"tenant-{number}" for number in range(shape.tenants)]
        self.rules = rules
        self.log = log
        self.done = 0
        self.goes_on = True
        """Whether the crowd goes on. After it has ended, clients join and leave only by calls from outside."""
        self._random = pick
        self._shape = shape
        self._stays = 0
        self._listening: TaskGroup | None = None

    async def run(self, listening: TaskGroup) -> None:
        """Have the crowd join and leave while `goes_on` is set. The peers' readers run in `listening`."""
        self._listening = listening
        async with anyio.create_task_group() as crowd:
            for _ in range(self._shape.crowd):
                crowd.start_soon(self._come_and_go)

    @property
    def live(self) -> list[Peer]:
        return list(self.rules.live.values())

    async def _come_and_go(self) -> None:
        pick = self._random
        while self.goes_on:
            while len(self.rules.live) >= self._shape.most:
                await self.leave(pick.choice([peer for peer in self.live if peer.tenant in self.tenants]))
            if pick.random() < 0.05:
                for winner in await self.duel():
                    await self.leave(winner)
                continue
            # The key may be live elsewhere, so some joins are refused.
            peer = await self.join(
                pick.choice(self.services),
                pick.choice(self.tenants),
                pick.randrange(KEYS),
                gives_up=pick.random() < 0.03,
            )
            await anyio.sleep(pick.uniform(0, 0.3))
            if peer is not None and pick.random() < 0.8:  # The others stay for a while.
                await self.leave(peer)

    async def join(self, service: ServiceProcess, tenant: str, key: int, *, gives_up: bool = False) -> Peer | None:
        """Try to join, once. Returns the peer; None if it is not let in or gives up."""
        assert self._listening is not None
        self._stays += 1
        stay = service, tenant, a_key_text(key), f"stay-{self._stays}"
        try:
            if gives_up:
                await give_up(*stay)
                self.log["gave up"] += 1
                return None
            peer = await join(*stay)
        except ConnectionClosed as closed:
            self.log[f"refused {closed.rcvd.code if closed.rcvd else 'abruptly'}"] += 1
            self.rules.refused(closed.rcvd.code if closed.rcvd else 1006)
        except (OSError, InvalidHandshake, TimeoutError) as error:
            self.log[f"not joined: {type(error).__name__}"] += 1
        else:
            self._count("join")
            self.rules.welcomed(peer)
            self._listening.start_soon(self._listen, peer)
            return peer
        return None

    async def duel(self) -> list[Peer]:
        """Have one key join at all services at the same moment. Returns the peers that were let in."""
        tenant, key = self._random.choice(self.tenants), 1_000_000 + self._stays
        winners = list[Peer]()

        async def come(service: ServiceProcess) -> None:
            if (peer := await self.join(service, tenant, key)) is not None:
                winners.append(peer)

        async with anyio.create_task_group() as duel:
            for service in self.services:
                duel.start_soon(come, service)
        self.log[f"duels with {len(winners)} winners"] += 1
        return winners

    async def leave(self, peer: Peer) -> None:
        """Have the peer leave. Does nothing if it is not live any more."""
        if peer.name in self.rules.live:
            self.rules.leaves(peer)
            self._count("leave")
            await peer.leave(abruptly=self._random.random() < 0.5)

    async def _listen(self, peer: Peer) -> None:
        await peer.listen()
        self.log[f"ended {peer.code}"] += 1
        leaves = [count for (what, _), count in peer.told.items() if what == "left"]
        self.log["told of a leave"] += sum(leaves)
        self.log["told of the same leave again, after a return"] += sum(count - 1 for count in leaves)
        self.rules.ended(peer)

    def _count(self, what: str) -> None:
        self.log[what] += 1
        self.done += 1
