"""Random joins and leaves on a cluster whose processes are killed and stopped at random, and what must hold."""

import random
import sys
import time
from collections import Counter

import anyio
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.builders import a_key_text
from tests.cluster.audit import Stored, stored
from tests.cluster.client import Peer, give_up, join
from tests.cluster.cluster import Cluster, ServiceProcess
from tests.nats_server import NatsServer

QUIET = 45.0
"""Seconds in which everything has to settle after the last fault."""
PATIENCE = 60.0
"""Seconds without a join or leave after which the run has failed."""
TENANTS = ("acme", "globex", "initech")
KEYS = 300
FAULTS = {"kill": 5, "stop": 5, "both": 2, "kill all NATS": 1}
"""What may happen, by how often. Both: a service and a NATS server at once, one killed and the other stopped."""
OUTAGES = (0.2, 1.0, 3.0, 7.0, 11.0)
"""Seconds: less and more than a lease lasts."""


class Chaos:
    def __init__(self, cluster: Cluster, seed: int, operations: int, faults: int, crowd: int, calm: int) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self._fault_random = random.Random(seed + 1)
        self._operations = operations
        self._faults = faults
        self._crowd = crowd
        self._calm = calm
        self._live: set[Peer] = set()
        self._stays = 0
        self._done = 0
        self._disturbing = True
        self._started = time.monotonic()
        self.log: Counter[str] = Counter()

    async def run(self) -> None:
        """Let it happen, and check. Raises AssertionError, or a group with one in it."""
        async with anyio.create_task_group() as background:
            background.start_soon(self._report)
            async with anyio.create_task_group() as peers:
                async with anyio.create_task_group() as churn:
                    for _ in range(self._crowd):
                        churn.start_soon(self._come_and_go, peers)
                    await self._disturb()
                await self._settle("after the faults")
                await self._stay_calm(peers)
                for peer in list(self._live):
                    await peer.leave()
            await self._settle("when all have left")
            background.cancel_scope.cancel()

    # Joins and leaves

    async def _come_and_go(self, peers: TaskGroup) -> None:
        pick = self._random
        while self._disturbing:
            while len(self._live) > 2 * self._crowd:
                await self._leave(pick.choice(list(self._live)))
            if pick.random() < 0.05:
                for winner in await self._duel(peers):
                    await self._leave(winner)
                continue
            # A key may be live elsewhere: so some joins are refused.
            peer = await self._join(
                peers, pick.choice(self._cluster.services), pick.choice(TENANTS), pick.randrange(KEYS)
            )
            await anyio.sleep(pick.uniform(0, 0.3))
            if peer is not None and pick.random() < 0.8:  # The others stay, as long as their service lets them.
                await self._leave(peer)

    async def _join(self, peers: TaskGroup, service: ServiceProcess, tenant: str, key: int) -> Peer | None:
        self._stays += 1
        stay = service, tenant, a_key_text(key), f"stay-{self._stays}"
        try:
            if self._disturbing and self._random.random() < 0.03:
                await give_up(*stay)
                self.log["gave up"] += 1
                return None
            peer = await join(*stay)
        except ConnectionClosed as closed:
            self.log[f"refused {closed.rcvd.code if closed.rcvd else 'abruptly'}"] += 1
        except (OSError, InvalidHandshake, TimeoutError) as error:
            self.log[f"not joined: {type(error).__name__}"] += 1
        else:
            self._count("join")
            self._live.add(peer)
            peers.start_soon(self._listen, peer)
            return peer
        return None

    async def _duel(self, peers: TaskGroup) -> list[Peer]:
        """Have one key come to all services at the same moment: those who got in."""
        tenant, key = self._random.choice(TENANTS), 1_000_000 + self._stays
        winners = list[Peer]()

        async def come(service: ServiceProcess) -> None:
            if (peer := await self._join(peers, service, tenant, key)) is not None:
                winners.append(peer)

        async with anyio.create_task_group() as duel:
            for service in self._cluster.services:
                duel.start_soon(come, service)
        self.log[f"duels with {len(winners)} winners"] += 1
        return winners

    async def _leave(self, peer: Peer) -> None:
        if peer in self._live:
            self._live.remove(peer)
            self._count("leave")
            await peer.leave(abruptly=self._random.random() < 0.5)

    async def _listen(self, peer: Peer) -> None:
        await peer.listen()
        self._live.discard(peer)
        self.log[f"ended {peer.websocket.close_code}"] += 1
        self.log["told of a leave"] += sum(n for (what, _), n in peer.told.items() if what == "left")
        self.log["told of the same leave again, after a return"] += sum(
            n - 1 for (what, _), n in peer.told.items() if what == "left"
        )

    def _count(self, what: str) -> None:
        self.log[what] += 1
        self._done += 1

    # Faults

    async def _disturb(self) -> None:
        pick = self._fault_random
        for number in range(self._faults):
            await self._until_done(self._operations * (number + 1) // (self._faults + 1))
            kind = pick.choices(list(FAULTS), list(FAULTS.values()))[0]
            outage = pick.choice(OUTAGES)
            struck = self._victims(kind)
            for victim, how in struck:
                self.log[f"fault: {how} {type(victim).__name__}"] += 1
                self._say(f"fault {number + 1}: {how} {victim} for {outage} s")
                victim.pause() if how == "stop" else victim.kill()
            await anyio.sleep(outage)
            for victim, how in struck:
                victim.resume() if how == "stop" else await run_sync(victim.start)
            await self._cluster.ready()
        await self._until_done(self._operations)
        self._disturbing = False

    def _victims(self, kind: str) -> list[tuple[NatsServer | ServiceProcess, str]]:
        pick, servers, services = self._fault_random, self._cluster.servers, self._cluster.services
        if kind == "kill all NATS":
            return [(server, "kill") for server in servers]
        if kind == "both":
            hows = pick.sample(["kill", "stop"], 2)
            return [(pick.choice(servers), hows[0]), (pick.choice(services), hows[1])]
        anyone: list[NatsServer | ServiceProcess] = [*servers, *services]
        return [(pick.choice(anyone), kind)]

    async def _until_done(self, operations: int) -> None:
        seen, since = self._done, time.monotonic()
        while self._done < operations:
            await anyio.sleep(0.05)
            if self._done != seen:
                seen, since = self._done, time.monotonic()
            assert time.monotonic() - since < PATIENCE, f"nobody could join or leave for {PATIENCE} s"

    # What must hold

    async def _settle(self, when: str) -> None:
        """Wait until it is quiet. Then everybody's picture is the truth, the stream is, and nothing is there twice."""
        await self._cluster.ready()
        started = time.monotonic()
        truths = {peer.truth for peer in self._live}
        said = await stored(self._cluster.servers)
        while not (self._all_agree() and _agrees(said, truths)) and time.monotonic() - started < QUIET:
            await anyio.sleep(0.2)
            truths = {peer.truth for peer in self._live}
            said = await stored(self._cluster.servers)
        for held in ([peer.truth[:2] for peer in self._live], [(peer.tenant, peer.key) for peer in self._live]):
            assert [one for one, times in Counter(held).items() if times > 1] == [], f"held twice {when}"
        for peer in self._live:
            wrong = peer.picture() ^ {truth[1:] for truth in truths if truth[0] == peer.tenant}
            assert not wrong, f"the picture of {peer} {when} is wrong in {wrong}"
        assert said.claims == truths, f"leaked or lost {when}: {said.claims ^ truths}"
        assert not said.without_lease, f"claims without a lease {when}: {said.without_lease}"
        keys = {(tenant, key) for tenant, _, key in truths}
        assert said.keys == keys, f"keys leaked or lost {when}: {said.keys ^ keys}"
        self._say(f"quiet {when}: {len(truths)} peers, after {time.monotonic() - started:.1f} s")

    def _all_agree(self) -> bool:
        truths = {tenant: {peer.truth[1:] for peer in self._live if peer.tenant == tenant} for tenant in TENANTS}
        return all(peer.picture() == truths[peer.tenant] for peer in self._live)

    async def _stay_calm(self, peers: TaskGroup) -> None:
        """Without faults, witnesses on each service are told of every stay once, and once of its end."""
        witnesses = [
            witness
            for number, (tenant, service) in enumerate((a, b) for a in TENANTS for b in self._cluster.services)
            if (witness := await self._join(peers, service, tenant, 10_000 + number)) is not None
        ]
        assert len(witnesses) == len(TENANTS) * len(self._cluster.services), "nobody disturbs, and still a join fails"
        await self._settle("before the calm")
        owed: dict[str, Counter[tuple[str, str]]] = {tenant: Counter() for tenant in TENANTS}
        for witness in witnesses:
            witness.told.clear()
        guests = [peer for peer in self._live if peer not in witnesses]
        for peer in guests:
            owed[peer.tenant]["left", peer.name] += 1

        async def visit(number: int) -> None:
            if number % 10 == 0:
                came = await self._duel(peers)
            else:
                where = self._random.choice(self._cluster.services), self._random.choice(TENANTS)
                came = [peer for peer in [await self._join(peers, *where, 20_000 + number)] if peer]
            assert len(came) == 1, f"nobody disturbs, and {len(came)} come in"
            peer = came[0]
            owed[peer.tenant]["joined", peer.name] += 1
            owed[peer.tenant]["left", peer.name] += 1
            there = [witness for witness in witnesses if witness.tenant == peer.tenant]
            with anyio.fail_after(QUIET):  # Whoever goes before that may never have been there, for some.
                while not all(peer.roster.virtual_ip in witness.roster.peers for witness in there):
                    await anyio.sleep(0.005)
            await self._leave(peer)

        async with anyio.create_task_group() as visits:
            for peer in guests:
                visits.start_soon(self._leave, peer)
            for batch in range(0, self._calm, 20):
                async with anyio.create_task_group() as some:
                    for number in range(batch, min(batch + 20, self._calm)):
                        some.start_soon(visit, number)
        await self._settle("after the calm")
        for witness in witnesses:
            wrong = {
                what: (witness.told[what], owed[witness.tenant][what]) for what in witness.told | owed[witness.tenant]
            }
            wrong = {what: counts for what, counts in wrong.items() if counts[0] != counts[1]}
            assert not wrong, f"{witness} was told so often of what happened so often: {wrong}"
        self._say(f"calm: {len(witnesses)} witnesses heard of each of {self._calm} stays once, and once of its end")

    # Progress

    async def _report(self) -> None:
        while True:
            await anyio.sleep(10)
            self._say(f"{self._done} of {self._operations}, {len(self._live)} live")

    def _say(self, what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._started:7.1f} {what}\n")


def _agrees(said: Stored, truths: set[tuple[str, str, str]]) -> bool:
    keys = {(tenant, key) for tenant, _, key in truths}
    return said.claims == truths and said.keys == keys and not said.without_lease
