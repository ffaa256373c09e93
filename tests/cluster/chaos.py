"""The chaos run: a cluster under random joins, leaves and faults, and checks of what must hold."""

import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeAlias

import anyio

from harness.cluster import Cluster
from tests.cluster.audit import Stored, stored
from tests.cluster.churn import Churn, Shape
from tests.cluster.episodes import EPISODES
from tests.cluster.faults import Faults, Strike
from tests.cluster.rules import Rules
from tests.cluster.witness import Witness

QUIET = 45.0
"""Seconds in which everything has to settle after the last fault."""
PATIENCE = 60.0
"""Seconds without a join or leave after which the run has failed."""
VISITS = 8
"""Stays at a time in the calm: fewer than the smallest tenant has room for beside its witnesses."""

Fault: TypeAlias = "Sequence[Strike] | str"
"""Strikes, or the name of an episode."""


class Chaos:
    def __init__(
        self, cluster: Cluster, seed: int, shape: Shape, operations: int, faults: Sequence[Fault], calm: int
    ) -> None:
        """`operations` joins and leaves with `faults` among them; then `calm` stays without faults."""
        self.log: Counter[str] = Counter()
        self._cluster = cluster
        self._random = random.Random(seed)
        self._operations = operations
        self._faults = faults
        self._calm = calm
        self._witness = Witness()
        self._rules = Rules(self._witness)
        self._churn = Churn(cluster, self._random, shape, self._rules, self.log)
        self._started = time.monotonic()

    async def run(self) -> None:
        """Run it all, and check. Raises AssertionError, or a group with one in it."""
        await self._witness.listen(self._cluster.servers, len(self._cluster.services))
        try:
            async with anyio.create_task_group() as background:
                background.start_soon(self._report)
                background.start_soon(self._rules.watch)
                async with anyio.create_task_group() as peers:
                    async with anyio.create_task_group() as churning:
                        churning.start_soon(self._churn.run, peers)
                        await self._disturb()
                        self._churn.goes_on = False
                    await self._settle("after the faults")
                    await self._stay_calm()
                    for peer in self._churn.live:
                        await self._churn.leave(peer)
                await self._settle("when all have left")
                background.cancel_scope.cancel()
        except BaseException:
            self._say(f"ended after {self._churn.done} joins and leaves")
            raise
        finally:
            await self._witness.close()

    async def _disturb(self) -> None:
        faults = Faults(self._cluster, self._witness, self.log)
        for number, fault in enumerate(self._faults):
            await self._until_done(self._operations * (number + 1) // (len(self._faults) + 1))
            if isinstance(fault, str):
                self._say(f"fault {number + 1}: {fault}")
                self.log[f"fault: {fault}"] += 1
                await EPISODES[fault](self._cluster, self._churn, self._witness)
            else:
                self._say(f"fault {number + 1}: {', '.join(map(str, fault))}")
                await faults.strike(fault)
            await self._cluster.ready()
        await self._until_done(self._operations)

    async def _until_done(self, operations: int) -> None:
        seen, since = self._churn.done, time.monotonic()
        while self._churn.done < operations:
            await anyio.sleep(0.05)
            if self._churn.done != seen:
                seen, since = self._churn.done, time.monotonic()
            assert time.monotonic() - since < PATIENCE, f"nobody could join or leave for {PATIENCE} s"

    # What must hold

    async def _settle(self, when: str) -> None:
        """Wait until all is quiet. Check that pictures and stream hold the live stays, and nothing twice."""
        await self._cluster.ready()
        started = time.monotonic()
        truths = {peer.truth for peer in self._churn.live}
        said = await stored(self._cluster.servers)
        while not (self._all_agree() and _agrees(said, truths)) and time.monotonic() - started < QUIET:
            await anyio.sleep(0.2)
            truths = {peer.truth for peer in self._churn.live}
            said = await stored(self._cluster.servers)
        for held in (
            [peer.truth[:2] for peer in self._churn.live],
            [(peer.tenant, peer.key) for peer in self._churn.live],
        ):
            assert [one for one, times in Counter(held).items() if times > 1] == [], f"held twice {when}"
        for peer in self._churn.live:
            wrong = peer.picture() ^ {truth[1:] for truth in truths if truth[0] == peer.tenant}
            assert not wrong, f"the picture of {peer} {when} is wrong in {wrong}"
        assert said.claims == truths, f"leaked or lost {when}: {said.claims ^ truths}"
        assert not said.without_lease, f"claims without a lease {when}: {said.without_lease}"
        keys = {(tenant, key) for tenant, _, key in truths}
        assert said.keys == keys, f"keys leaked or lost {when}: {said.keys ^ keys}"
        self.log["left over of epochs that are over, at most"] = max(
            self.log["left over of epochs that are over, at most"], said.left_over
        )
        self._say(f"quiet {when}: {len(truths)} peers, after {time.monotonic() - started:.1f} s")

    def _all_agree(self) -> bool:
        truths = defaultdict[str, set[tuple[str, str]]](set)
        for peer in self._churn.live:
            truths[peer.tenant].add(peer.truth[1:])
        return all(peer.picture() == truths[peer.tenant] for peer in self._churn.live)

    async def _stay_calm(self) -> None:
        """Without faults, check that witnesses on each service are told of every stay once, and once of its end."""
        churn = self._churn
        for tenant in churn.tenants:
            for peer in [peer for peer in churn.live if peer.tenant == tenant][VISITS:]:
                await churn.leave(peer)
        await self._settle("when there is room for witnesses")
        witnesses = [
            witness
            for number, (tenant, service) in enumerate((a, b) for a in churn.tenants for b in churn.services)
            if (witness := await churn.join(service, tenant, 10_000 + number)) is not None
        ]
        assert len(witnesses) == len(churn.tenants) * len(churn.services), "nobody disturbs, and still a join fails"
        await self._settle("before the calm")
        owed: dict[str, Counter[tuple[str, str]]] = {tenant: Counter() for tenant in churn.tenants}
        for witness in witnesses:
            witness.told.clear()
        guests = [peer for peer in churn.live if peer not in witnesses]
        for peer in guests:
            owed[peer.tenant]["left", peer.name] += 1

        async def visit(number: int) -> None:
            if number % 10 == 0:
                came = await churn.duel()
            else:
                where = self._random.choice(churn.services), self._random.choice(churn.tenants)
                came = [peer for peer in [await churn.join(*where, 20_000 + number)] if peer]
            assert len(came) == 1, f"nobody disturbs, and {len(came)} come in"
            peer = came[0]
            owed[peer.tenant]["joined", peer.name] += 1
            owed[peer.tenant]["left", peer.name] += 1
            there = [witness for witness in witnesses if witness.tenant == peer.tenant]
            with anyio.fail_after(QUIET):  # If a peer leaves before that, some witnesses may never be told of it.
                while not all(peer.roster.virtual_ip in witness.roster.peers for witness in there):
                    await anyio.sleep(0.005)
            await churn.leave(peer)

        async with anyio.create_task_group() as leaves:
            for peer in guests:
                leaves.start_soon(churn.leave, peer)
        await self._settle("when there are but witnesses")
        for batch in range(0, self._calm, VISITS):
            async with anyio.create_task_group() as visits:
                for number in range(batch, min(batch + VISITS, self._calm)):
                    visits.start_soon(visit, number)
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
            self._say(f"{self._churn.done} of {self._operations}, {len(self._churn.live)} live")

    def _say(self, what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._started:7.1f} {what}\n")


def _agrees(said: Stored, truths: set[tuple[str, str, str]]) -> bool:
    keys = {(tenant, key) for tenant, _, key in truths}
    return said.claims == truths and said.keys == keys and not said.without_lease
