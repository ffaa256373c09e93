"""Sessions of protocol v2 on a cluster whose nodes are killed, stopped and told to end, and what must hold.

- Nobody is told that a peer has left that came back within its grace, or still may.
- No two peers that are in have one address.
- A peer that does not come back is out when its grace and the lease of its node are over.
- All pictures with one revision are equal, whichever node they are from.
- Once it is quiet, all pictures are the truth, and the stream is.
"""

import json
import random
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path

import anyio
from anyio.abc import TaskGroup
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from harness.cluster import Cluster, ServiceProcess
from tests.cluster.audit import stored
from tests.cluster.member import Member

LEASE = 5.0
SLACK = 8.0
"""Seconds by which the end of a grace may be late: for a node that stands still, for NATS that stands still."""
QUIET = 60.0
PATIENCE = 60.0
"""Seconds without any step after which the run has failed."""
RETRY = 0.05
LATEST = 1000
"""Pictures that are kept to say what is wrong with another one."""
FINAL = {4501, 4502, 4503, 4504}
"""Codes that nobody here may be closed with."""


class SessionChaos:
    def __init__(self, cluster: Cluster, seed: int, steps: int, faults: int, grace: float, members: int = 60) -> None:
        self.log: Counter[str] = Counter()
        self._cluster = cluster
        self._random = random.Random(seed)
        self._steps = steps
        self._faults = faults
        self._grace = grace
        self._count = members
        self._members: dict[str, Member] = {}
        """Everyone who is in or was, by public key."""
        self._vanished: dict[str, tuple[Member, float]] = {}
        """Those who have gone without a word, for good, and when."""
        self._latest: OrderedDict[tuple[str, int], set[tuple[str, str]]] = OrderedDict()
        """The last of these pictures themselves."""
        self._hashes: dict[tuple[str, int], tuple[int, str]] = {}
        self._numbers = iter(range(10**7))
        self._goes_on = True
        self._done = 0
        self._struck: dict[ServiceProcess, float] = {}
        self._started = time.monotonic()

    async def run(self) -> None:
        """Raises AssertionError, or a group with one in it."""
        try:
            async with anyio.create_task_group() as background:
                background.start_soon(self._watch)
                async with anyio.create_task_group() as listening:
                    async with anyio.create_task_group() as lives:
                        for _ in range(self._count):
                            lives.start_soon(self._live, listening)
                        await self._disturb()
                        self._goes_on = False
                    await self._settle()
                    for member in self._present():
                        if member.websocket is not None:
                            member.websocket.transport.abort()
                background.cancel_scope.cancel()
        finally:
            self._say(f"ended after {self._done} steps")

    # What peers do

    async def _live(self, listening: TaskGroup) -> None:
        """One peer after the other, each with all its connections."""
        pick = self._random
        while self._goes_on:
            member = Member(f"tenant-{pick.randrange(3)}", next(self._numbers), self._told_of_a_leave)
            self._members[member.key] = member
            await self._connect(member, listening)
            while self._goes_on:
                await anyio.sleep(pick.uniform(0, 0.2))
                step = pick.choices(("vanish", "take over", "update", "leave", "go for good"), (55, 12, 20, 10, 3))[0]
                self._step(step)
                if step == "vanish" or member.websocket is None:
                    member.vanish()
                    longest = 0.5 * self._grace if pick.random() < 0.05 else 1.0
                    await anyio.sleep(pick.uniform(0, longest))
                    await self._connect(member, listening)
                elif step == "take over":
                    member.lost()  # What its old connection is told from now on, it does not hear.
                    await self._connect(member, listening)
                elif step == "update":
                    await self._update(member)
                elif step == "leave":
                    await self._leave(member)
                    break
                else:
                    member.vanish()
                    self._vanished[member.key] = member, time.monotonic()
                    break
            else:
                if member.websocket is None:
                    await self._connect(member, listening)

    async def _connect(self, member: Member, listening: TaskGroup) -> None:
        """Join, or resume: wherever that is possible, as often as it takes."""
        attempts = 0
        while True:
            service, had = self._random.choice(self._cluster.services), member.session
            away = None if member.away_since is None else time.monotonic() - member.away_since
            attempts += 1
            try:
                websocket, same = await member.enter(service, f"peer-{member.number}")
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                assert code not in FINAL, f"{member} was refused with {code}"
                self.log[f"refused {code}"] += 1
            except (OSError, InvalidHandshake, TimeoutError) as error:
                self.log[f"not connected: {type(error).__name__}"] += 1
            else:
                assert same or not had or (away or 0.0) >= self._grace, f"{member} has lost its session after {away} s"
                self.log["resumed" if same else "joined"] += 1
                self._note(member)
                self._assert_alone(member)
                self._done += 1
                listening.start_soon(self._listen, member, websocket)
                return
            await anyio.sleep(RETRY * min(attempts, 10))

    async def _update(self, member: Member) -> None:
        if member.websocket is not None:
            try:
                update = {"type": "update", "endpoints": [f"10.0.0.7:{self._random.randrange(1, 9)}"]}
                await member.websocket.send(json.dumps(update))
            except ConnectionClosed:
                return

    async def _leave(self, member: Member) -> None:
        websocket = member.websocket
        member.forget()
        del self._members[member.key]
        if websocket is not None:
            with anyio.move_on_after(2):
                await websocket.close()
            # The close frame may not have got there: then it is as if it had vanished.
            self._vanished[member.key] = member, time.monotonic()

    async def _listen(self, member: Member, websocket: ClientConnection) -> None:
        try:
            async for text in websocket:
                if member.websocket is websocket:  # What comes after it was taken over is old.
                    member.apply(json.loads(text))
                    self._note(member)
        except ConnectionClosed:
            pass
        self.log[f"ended {websocket.close_code or 1006}"] += 1
        if member.websocket is websocket:
            assert websocket.close_code != 4505, f"{member} was superseded by nobody"
            member.lost()

    def _step(self, what: str) -> None:
        self.log[what] += 1
        self._done += 1

    # What must hold

    def _present(self) -> list[Member]:
        return [member for member in self._members.values() if member.is_in and member.key not in self._vanished]

    def _told_of_a_leave(self, by: Member, key: str, revision: int) -> None:
        gone = self._members.get(key)
        if gone is None or not gone.is_in or gone.tenant != by.tenant or revision <= gone.began:
            return
        away = 0.0 if gone.away_since is None else time.monotonic() - gone.away_since
        assert away >= self._grace, f"{by} was told that {gone} has left, who was away for {away:.1f} s"

    def _note(self, member: Member) -> None:
        where = member.tenant, member.revision
        known, first = self._hashes.setdefault(where, (member.picture_hash, str(member)))
        if known == member.picture_hash:
            if where not in self._latest:
                self._latest[where] = member.everybody()
                if len(self._latest) > LATEST:
                    self._latest.popitem(last=False)
            return
        wrong = member.everybody() ^ self._latest.get(where, member.everybody())
        raise AssertionError(
            f"at revision {member.revision} {member} has another picture than {first}; they differ in {sorted(wrong)}"
        )

    def _assert_alone(self, member: Member) -> None:
        for other in self._present():
            if other is not member and (other.tenant, other.virtual_ip) == (member.tenant, member.virtual_ip):
                away = 0.0 if other.away_since is None else time.monotonic() - other.away_since
                assert away >= self._grace, f"{member} has the address of {other}, who was away for {away:.1f} s"

    async def _watch(self) -> None:
        """Nobody who has gone for good is in a picture for longer than its grace and a lease."""
        while True:
            await anyio.sleep(1)
            now = time.monotonic()
            for key, (gone, went) in list(self._vanished.items()):
                # If its node has died since, its grace counts from the end of that node's lease.
                since = went if gone.service is None else max(went, self._struck.get(gone.service, 0.0))
                if now - since < self._grace + LEASE + SLACK:
                    continue
                for member in self._present():
                    # A node that stands still, or has just been started, hears of it later.
                    is_calm = member.service is not None and now - self._struck.get(member.service, 0.0) > SLACK
                    if is_calm and member.websocket is not None and member.tenant == gone.tenant:
                        assert key not in member.picture.peers, (
                            f"{gone} is there for {member}, {now - since:.1f} s after it went"
                        )
                if now - since > self._grace + LEASE + 4 * SLACK:
                    del self._vanished[key]
                    gone.forget()  # It is in no more, and would be counted as present.

    async def _settle(self) -> None:
        await self._cluster.ready()
        began, patience = time.monotonic(), self._grace + LEASE + QUIET
        while not (self._is_true() and await self._is_stored()) and time.monotonic() - began < patience:
            await anyio.sleep(0.5)
        for member in self._present():
            wrong = self._truth(member.tenant) ^ (member.peers.items() | {(member.key, member.virtual_ip)})
            assert not wrong, f"the picture of {member} is wrong in {len(wrong)} peers: {sorted(wrong)[:10]}"
        assert await self._is_stored(), "the stream is not as the peers are"
        self._say(f"quiet: {len(self._present())} peers, after {time.monotonic() - began:.1f} s")

    def _truth(self, tenant: str) -> set[tuple[str, str]]:
        return {(member.key, member.virtual_ip) for member in self._present() if member.tenant == tenant}

    def _is_true(self) -> bool:
        return all(
            self._truth(member.tenant) == member.peers.items() | {(member.key, member.virtual_ip)}
            for member in self._present()
        )

    async def _is_stored(self) -> bool:
        claims = (await stored(self._cluster.servers)).claims
        return claims == {(member.tenant, member.virtual_ip, member.key) for member in self._present()}

    # Faults

    async def _disturb(self) -> None:
        for number in range(self._faults):
            await self._until_done(self._steps * (number + 1) // (self._faults + 1))
            await self._strike()
        await self._until_done(self._steps)

    async def _until_done(self, steps: int) -> None:
        seen, since = self._done, time.monotonic()
        while self._done < steps:
            await anyio.sleep(0.05)
            if self._done != seen:
                seen, since = self._done, time.monotonic()
            assert time.monotonic() - since < PATIENCE, f"nothing happened for {PATIENCE} s"

    async def _strike(self) -> None:
        pick, services = self._random, self._cluster.services
        what = pick.choice(("kill", "stop", "end", "stop NATS", "kill two", "stop for long"))
        victims: Sequence[ServiceProcess] = pick.sample(services, 2 if what == "kill two" else 1)
        self.log[f"fault: {what}"] += 1
        self._say(f"{what}: {', '.join(str(services.index(victim)) for victim in victims)}")
        if what == "stop NATS":
            (server,) = self._cluster.servers
            server.pause()
            await anyio.sleep(pick.uniform(0.5, 3))
            server.resume()
            victims = services
        elif what.startswith("stop"):
            victims[0].pause()
            await anyio.sleep(pick.uniform(0.5, 4) if what == "stop" else pick.uniform(5.5, 8))
            victims[0].resume()
        elif what == "end":
            victims[0].terminate()
            await victims[0].ended()
            victims[0].start()
        else:
            for victim in victims:
                victim.kill()
            await anyio.sleep(pick.uniform(0, 3) if pick.random() < 0.7 else pick.uniform(5, 8))
            for victim in victims:
                victim.start()
        await self._cluster.ready()
        for victim in victims:
            self._struck[victim] = time.monotonic()

    def _say(self, what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._started:7.1f} {what}; {self._done} steps\n")


async def session_chaos(
    seed: int, steps: int, faults: int, folder: Path, *, grace: int = 20, members: int = 60, minutes: float = 5
) -> None:
    """Raises AssertionError, or a group with one in it; TimeoutError if it takes too long."""
    sys.stderr.write(f"sessions: seed {seed}, logs in {folder}\n")
    cluster = Cluster(folder, 1, ("--grace", str(grace), "--update-interval", "0.1"))
    run = SessionChaos(cluster, seed, steps, faults, grace, members)
    try:
        with anyio.fail_after(60 * minutes):
            await cluster.start()
            await run.run()
    finally:
        sys.stderr.write("".join(f"{count:8} {what}\n" for what, count in sorted(run.log.items())))
        cluster.stop()
