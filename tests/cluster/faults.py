"""The faults of a chaos run: strikes on the processes, the links and the stream of a cluster, several at a time."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
import nats
from anyio.to_thread import run_sync

from harness.cluster import Cluster, ServiceProcess
from tests.cluster.audit import STREAM
from tests.cluster.witness import Witness

OUTAGES = (0.2, 1.0, 2.6, 7.0, 11.0)
"""Seconds that a strike may last: some are shorter than a lease, some are longer."""
SLOW = (0.02, 0.1, 0.25)
"""Seconds for which a slow link holds each piece."""
FAULTS = {"one": 5, "two": 3, "link": 6, "store": 8}
"""How often each kind of fault happens, in proportion. `one`: a process is killed or stopped. `two`: of a service and a
NATS server, one is killed and one is stopped. `link`: the links of some services are cut, stalled or slowed. `store`:
the stream is deleted or all NATS servers are killed. Around that moment some services are killed or stopped, or their
links are struck.
"""


@dataclass(frozen=True)
class Strike:
    how: str
    """kill, stop: a service. cut, stall, slow: its link. kill NATS, stop NATS: a server. delete: the stream."""
    whom: int = 0
    after: float = 0.0
    lasts: float = 0.0

    def __str__(self) -> str:
        return f"{self.how} {self.whom} after {self.after:.1f} s for {self.lasts:.1f} s"


def drawn(pick: random.Random, services: int, servers: int) -> list[Strike]:
    """A random fault: strikes that may overlap."""
    kind = pick.choices(list(FAULTS), list(FAULTS.values()))[0]
    lasts = pick.choice(OUTAGES)
    if kind == "one":
        how, victim = pick.choice(["kill", "stop"]), pick.randrange(services + servers)
        return [
            Strike(how, victim, 0, lasts) if victim < services else Strike(f"{how} NATS", victim - services, 0, lasts)
        ]
    if kind == "two":
        hows = pick.sample(["kill", "stop"], 2)
        return [
            Strike(hows[0], pick.randrange(services), 0, lasts),
            Strike(f"{hows[1]} NATS", pick.randrange(servers), 0, lasts),
        ]
    if kind == "link":
        return _struck(pick, services, ["cut", "stall", "slow"], pick.randint(1, services))
    loss = pick.uniform(0, 1.5)
    victims = _struck(
        pick, services, ["kill", "stop", "stop", "stop", "cut", "stall", "slow"], pick.randint(0, services)
    )
    if pick.random() < 0.5:
        return [*victims, Strike("delete", 0, loss)]
    lasts = pick.choice([0.0, 0.2, 1.0, 2.6, 7.0])
    return [*victims, *(Strike("kill NATS", server, loss, lasts) for server in range(servers))]


def _struck(pick: random.Random, services: int, hows: Sequence[str], count: int) -> list[Strike]:
    return [
        Strike(pick.choice(hows), victim, pick.uniform(0, 1), pick.choice(OUTAGES))
        for victim in pick.sample(range(services), count)
    ]


class Faults:
    """Carries out strikes, and tells the witness which services they keep from talking to NATS."""

    def __init__(self, cluster: Cluster, witness: Witness, log: Counter[str]) -> None:
        self._cluster = cluster
        self._witness = witness
        self._log = log
        self._down: set[int] = set()

    async def strike(self, strikes: Sequence[Strike]) -> None:
        """Carry out all strikes at once. Return when all are undone."""
        async with anyio.create_task_group() as tasks:
            for strike in strikes:
                tasks.start_soon(self._strike, strike)

    async def _strike(self, strike: Strike) -> None:
        await anyio.sleep(strike.after)
        self._log[f"fault: {strike.how}"] += 1
        if strike.how == "delete":
            await self._delete_stream()
        elif strike.how.endswith("NATS"):
            await self._strike_server(strike)
        else:
            await self._strike_service(strike, self._cluster.services[strike.whom])

    async def _strike_server(self, strike: Strike) -> None:
        server = self._cluster.servers[strike.whom]
        server.kill() if strike.how == "kill NATS" else server.pause()
        # The services that used this server have to find another one, if there is one.
        disturbance = self._witness.disturbed(None)
        self._note_server(strike.whom, is_down=True)
        await anyio.sleep(strike.lasts)
        if strike.how == "kill NATS":
            await run_sync(server.start)
        else:
            server.resume()
        self._note_server(strike.whom, is_down=False)
        disturbance.end = time.monotonic()

    def _note_server(self, number: int, *, is_down: bool) -> None:
        (self._down.add if is_down else self._down.discard)(number)
        self._witness.servers_run(len(self._down) < len(self._cluster.servers))

    async def _strike_service(self, strike: Strike, service: ServiceProcess) -> None:
        disturbance = self._witness.disturbed(service) if strike.how != "slow" else None
        if strike.how == "kill":
            service.kill()
            await anyio.sleep(strike.lasts)
            service.start()
        elif strike.how == "stop":
            service.pause()
            await anyio.sleep(strike.lasts)
            service.resume()
        else:
            link = service.link
            actions: dict[str, Callable[[], None]] = {
                "cut": link.cut, "stall": link.stall, "slow": lambda: link.slow(SLOW[strike.whom % len(SLOW)])
            }  # fmt: skip
            actions[strike.how]()
            await anyio.sleep(strike.lasts)
            await link.restore()
        if disturbance is not None:
            disturbance.end = time.monotonic()

    async def _delete_stream(self) -> None:
        """Delete the stream, as somebody may by hand. If NATS does not do it, only note that."""
        running = [server for number, server in enumerate(self._cluster.servers) if number not in self._down]
        try:
            client = await nats.connect(
                [server.url for server in running] or self._cluster.servers[0].url,
                connect_timeout=1,
                allow_reconnect=False,
            )
            try:
                await client.jetstream().delete_stream(STREAM)
            finally:
                await client.close()
        except (nats.errors.Error, nats.js.errors.Error, OSError):
            self._log["stream not deleted"] += 1
