"""Random joins and leaves on a cluster whose processes are killed and stopped at random, and what must hold."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.builders import a_key_text
from tests.cluster.cluster import Cluster, ServiceProcess
from tests.nats_server import NatsServer
from wg_orchestrator.client import Roster

QUIET = 45.0
"""Seconds in which everything has to settle after the last fault."""
TENANTS = ("acme", "globex", "initech")


@dataclass(eq=False)
class Peer:
    """A client that lives as long as its connection. Its roster fails on a notice that contradicts its picture."""

    tenant: str
    key: str
    websocket: ClientConnection
    roster: Roster = field(default_factory=Roster)

    @property
    def truth(self) -> tuple[str, str, str]:
        return self.tenant, self.roster.virtual_ip, self.key

    def picture(self) -> set[tuple[str, str]]:
        others = {(ip, peer["public_key"]) for ip, peer in self.roster.peers.items()}
        return others | {(self.roster.virtual_ip, self.key)}


class Chaos:
    def __init__(self, cluster: Cluster, seed: int, operations: int, faults: int, crowd: int = 40) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self._fault_random = random.Random(seed + 1)
        self._operations = operations
        self._faults = faults
        self._crowd = crowd
        self._live: set[Peer] = set()
        self._done = 0
        self.log: Counter[str] = Counter()

    async def run(self) -> None:
        """Let it happen, then check. Fails with AssertionError or what a roster raises."""
        async with anyio.create_task_group() as peers:
            async with anyio.create_task_group() as churn:
                for _ in range(self._crowd):
                    churn.start_soon(self._come_and_go, peers)
                await self._disturb()
            await self._settle()
            for peer in list(self._live):
                await peer.websocket.close()
        await self._is_empty()

    async def _come_and_go(self, peers: TaskGroup) -> None:
        while self._done < self._operations:
            peer = await self._join(peers)
            await anyio.sleep(self._random.uniform(0, 0.5))
            if peer is None or self._random.random() < 0.3:
                continue  # Some stay for good, as long as their service lets them.
            self._done += 1
            self.log["leave"] += 1
            if self._random.random() < 0.5:
                peer.websocket.transport.abort()
            else:
                with anyio.move_on_after(2):
                    await peer.websocket.close()

    async def _join(self, peers: TaskGroup) -> Peer | None:
        while len(self._live) > 3 * self._crowd:
            await self._random.choice(list(self._live)).websocket.close()
        # A key may be live elsewhere: so some joins are refused, and some race.
        tenant, key = self._random.choice(TENANTS), a_key_text(self._random.randrange(3 * self._crowd))
        service = self._random.choice(self._cluster.services)
        try:
            with anyio.fail_after(8):
                websocket = await connect(
                    f"ws://{service.address}/tenants/{tenant}", compression=None, max_queue=None, ping_interval=None
                )
                await websocket.send(json.dumps({"display_name": "x", "public_key": key}))
                peer = Peer(tenant, key, websocket)
                peer.roster.apply(json.loads(await websocket.recv()))
        except ConnectionClosed as closed:
            self.log[f"refused {closed.rcvd.code if closed.rcvd else 'abruptly'}"] += 1
        except (OSError, InvalidHandshake, TimeoutError) as error:
            self.log[type(error).__name__] += 1
        else:
            self._done += 1
            self.log["join"] += 1
            self._live.add(peer)
            peers.start_soon(self._listen, peer)
            return peer
        await anyio.sleep(self._random.uniform(0.05, 0.3))
        return None

    async def _listen(self, peer: Peer) -> None:
        try:
            async for message in peer.websocket:
                peer.roster.apply(json.loads(message))
        except ConnectionClosed:
            pass
        finally:
            self._live.discard(peer)
            self.log[f"ended {peer.websocket.close_code}"] += 1

    async def _disturb(self) -> None:
        pick = self._fault_random
        for number in range(self._faults):
            until = self._operations * number // self._faults
            while self._done < until:
                await anyio.sleep(0.05)
            servers, services = self._cluster.servers, self._cluster.services
            kind = pick.choices(["kill", "stop", "kill all NATS"], [5, 5, 1])[0]
            anyone: list[NatsServer | ServiceProcess] = [*servers, *services]
            victims = anyone[:3] if kind == "kill all NATS" else [pick.choice(anyone)]
            pause = pick.choice([0.5, 2.0, 7.0])
            self.log[f"{kind} {type(victims[0]).__name__}"] += 1
            for victim in victims:
                victim.pause() if kind == "stop" else victim.kill()
            await anyio.sleep(pause)
            for victim in victims:
                victim.resume() if kind == "stop" else victim.start()
            await self._cluster.ready()

    async def _settle(self) -> None:
        """When it is quiet, everybody's picture is the truth, and nothing in it is there twice."""
        await self._cluster.ready()
        with anyio.move_on_after(QUIET):
            while not self._all_agree():
                await anyio.sleep(0.1)
        truths = [peer.truth for peer in self._live]
        for held in ([truth[:2] for truth in truths], [(truth[0], truth[2]) for truth in truths]):
            assert [one for one, times in Counter(held).items() if times > 1] == [], "held twice"
        for tenant in TENANTS:
            truth = {truth[1:] for truth in truths if truth[0] == tenant}
            for peer in self._live:
                if peer.tenant == tenant:
                    assert peer.picture() == truth, f"{peer.websocket.remote_address}: {peer.picture() ^ truth}"

    def _all_agree(self) -> bool:
        pictures = {tenant: [peer.picture() for peer in self._live if peer.tenant == tenant] for tenant in TENANTS}
        return all(
            picture == {peer.truth[1:] for peer in self._live if peer.tenant == tenant}
            for tenant, seen in pictures.items()
            for picture in seen
        )

    async def _is_empty(self) -> None:
        """Nothing has leaked: whoever comes now is alone, everywhere."""
        for tenant in TENANTS:
            for number, service in enumerate(self._cluster.services):
                with anyio.fail_after(QUIET):
                    while await self._others(service, tenant, number):
                        await anyio.sleep(0.1)

    async def _others(self, service: ServiceProcess, tenant: str, number: int) -> int:
        async with connect(f"ws://{service.address}/tenants/{tenant}", compression=None) as websocket:
            await websocket.send(json.dumps({"display_name": "x", "public_key": a_key_text(10_000 + number)}))
            try:
                return len(json.loads(await websocket.recv())["peers"])
            except ConnectionClosed:
                return 1
