"""The event streams of three nodes tell the same, and a reader goes on at any of them."""

import random
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx2

from harness.nats_server import NatsServer
from tests.integration.event_reader import Reader
from tests.integration.nats.nodes import a_stream
from tests.integration.nats.test_operators import options, services
from tests.integration.process import ServiceProcess, serving
from tests.integration.service import PATIENCE, Client, Service
from tests.integration.v2_client import V2Client

__all__ = ["options", "services"]


def base(service: Service) -> str:
    return f"http://{service.server.admin_address}"  # type: ignore[attr-defined]


def told(reader: Reader) -> list[tuple[Any, ...]]:
    """What is the same on all nodes of the tenants' events; the time is each one's own. A gap stands for itself."""
    return [
        (name, data.get("revision"), data.get("public_key"), data.get("virtual_ip"), data.get("cause"))
        for name, data in reader.events
        if name not in NOTES
    ]


NOTES = {"node_up", "node_down", "refused"}


async def until_told(reader: Reader, count: int) -> None:
    with anyio.fail_after(PATIENCE):
        while len(told(reader)) < count:
            await anyio.sleep(0.005)


async def test_a_reader_that_breaks_off_and_goes_on_elsewhere_misses_nothing_and_gets_nothing_twice(
    services: list[Service],
) -> None:
    chance = random.Random(7)
    wanderer, witness = Reader(), await V2Client.join(services[0], 1)
    async with AsyncExitStack() as stack:
        steady = [Reader() for _ in services]
        for reader, service in zip(steady, services, strict=True):
            await stack.enter_async_context(reader.reading(base(service)))
        members: list[Client] = []
        happened, seen = 0, 0
        for _ in range(12):
            async with wanderer.reading(base(chance.choice(services))):
                for _ in range(chance.randint(1, 6)):
                    happened += await something(chance, services, members, happened)
                if chance.random() < 0.7:
                    seen = happened
                    await until_told(wanderer, seen)
            for _ in range(chance.randint(0, 4)):
                happened += await something(chance, services, members, happened)
        async with wanderer.reading(base(services[1])):
            await until_told(wanderer, happened)
        for reader in steady:
            await until_told(reader, happened)
        assert told(steady[0]) == told(steady[1]) == told(steady[2]) == told(wanderer)
        assert {name for name, *_ in told(wanderer)} <= {"joined", "left"}
        while len(witness.told) <= happened:
            await witness.hear()
        as_peers_see = [(one["type"], one["revision"]) for one in witness.told[1:]]
        assert as_peers_see == [(name, revision) for name, revision, *_ in told(wanderer)]


async def test_the_same_while_nodes_are_killed(server: NatsServer, tmp_path: Path) -> None:
    """One node lives on, and what its peers and its readers are told is the truth."""
    chance = random.Random(11)
    options: dict[str, Any] = {"nats_url": server.url, "nats_stream": a_stream(), "admin_port": 0}

    def start(number: int) -> Any:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return serving(folder, node_name=f"node-{number}", **options)

    with ExitStack() as stack:
        nodes: list[ServiceProcess] = [stack.enter_context(start(number)) for number in range(3)]
        for node in nodes:
            await until_ready(node)
        witness, wanderer, steady = await V2Client.join(nodes[0], 1), Reader(), Reader()
        async with steady.reading(nodes[0].admin_url()):
            number = 10
            async with wanderer.reading(nodes[1].admin_url()):
                await Client.join(nodes[0], number)
                await until_told(wanderer, 1)  # It goes on from an event.
            for round_number in range(4):
                for _ in range(6):
                    node = chance.choice(nodes)
                    async with wanderer.reading(node.admin_url()):
                        for _ in range(chance.randint(1, 5)):
                            number += 1
                            member = await Client.join(node, number)
                            if chance.random() < 0.5:
                                await member.leave()
                        if chance.random() < 0.5:
                            await until_as_far(wanderer, steady)
                    number += 1
                    await Client.join(chance.choice(nodes), number)
                victim = 1 + round_number % 2
                nodes[victim].kill()
                nodes[victim] = stack.enter_context(start(victim))
                await until_ready(nodes[victim])
            await there_alone(nodes, steady, number)
            async with wanderer.reading(nodes[2].admin_url()):
                await Client.join(nodes[0], number + 1)
                await until_as_far(wanderer, steady)
            truth = told(steady)
            assert "gap" not in {name for name, *_ in truth}
            assert len(set(truth)) == len(truth)
            # A node that was just started can't know what was before, and says so. Between two gaps nothing is missing.
            parts = parted(told(wanderer))
            assert 1 <= len(parts) <= 20
            places = [truth.index(event) for part in parts for event in part]
            assert places == sorted(set(places))
            for part in parts:
                first = truth.index(part[0])
                assert part == truth[first : first + len(part)]
            while len(witness.told) <= len(told(steady)):
                await witness.hear()
            assert [(one["type"], one["revision"]) for one in witness.told[1:]] == [
                (name, revision) for name, revision, *_ in told(steady)
            ]
            assert {"node_up", "node_down"} & {name for name, _ in steady.events}


async def until_as_far(reader: Reader, other: Reader) -> None:
    """Return when both were told of the same event last."""
    with anyio.fail_after(PATIENCE):
        while told(reader)[-1:] != told(other)[-1:]:
            await anyio.sleep(0.005)


def parted(events: list[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """What is between the gaps."""
    parts: list[list[tuple[Any, ...]]] = [[]]
    for event in events:
        if event[0] == "gap":
            parts.append([])
        else:
            parts[-1].append(event)
    return [part for part in parts if part]


async def there_alone(nodes: list[ServiceProcess], reader: Reader, number: int) -> None:
    """Return when the reader was told of the end of all whose node was killed."""
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        with anyio.fail_after(PATIENCE):
            while True:
                answer = await client.get(f"{nodes[0].admin_url()}/v1/tenants/acme/peers?limit=1000")
                listed = {peer["public_key"] for peer in answer.json()["peers"] if peer["node"] is not None}
                everybody = {peer["public_key"] for peer in answer.json()["peers"]}
                present = dict[str, bool]()
                for name, data in reader.events:
                    if name in ("joined", "left"):
                        present[data["public_key"]] = name == "joined"
                if listed == everybody and {key for key, is_in in present.items() if is_in} <= everybody:
                    return
                await anyio.sleep(0.1)


async def until_ready(service: ServiceProcess) -> None:
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        with anyio.fail_after(PATIENCE):
            while (await client.get(f"http://{service.address}/readyz")).status_code != 200:
                await anyio.sleep(0.05)


async def something(chance: random.Random, services: list[Service], members: list[Client], number: int) -> int:
    """A peer joins on one of the nodes, or leaves. Returns how many events that are."""
    if members and chance.random() < 0.4:
        await members.pop(chance.randrange(len(members))).leave()
    else:
        members.append(await Client.join(chance.choice(services), 10 + number))
    return 1
