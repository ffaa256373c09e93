"""The event streams of three nodes tell the same, and a reader goes on at any of them."""

import random
from contextlib import AsyncExitStack
from typing import Any

from tests.integration.event_reader import Reader
from tests.integration.nats.test_operators import options, services
from tests.integration.service import Client, Service
from tests.integration.v2_client import V2Client

__all__ = ["options", "services"]


def base(service: Service) -> str:
    return f"http://{service.server.admin_address}"  # type: ignore[attr-defined]


def told(reader: Reader) -> list[tuple[Any, ...]]:
    """What is the same on all nodes; the time is each one's own."""
    return [
        (name, data["revision"], data["public_key"], data["virtual_ip"], data["cause"]) for name, data in reader.events
    ]


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
                    await wanderer.until(seen)
            for _ in range(chance.randint(0, 4)):
                happened += await something(chance, services, members, happened)
        async with wanderer.reading(base(services[1])):
            await wanderer.until(happened)
        for reader in steady:
            await reader.until(happened)
        assert told(steady[0]) == told(steady[1]) == told(steady[2]) == told(wanderer)
        assert {name for name, _ in wanderer.events} <= {"joined", "left"}
        while len(witness.told) <= happened:
            await witness.hear()
        as_peers_see = [(one["type"], one["revision"]) for one in witness.told[1:]]
        assert as_peers_see == [(name, data["revision"]) for name, data in wanderer.events]


async def something(chance: random.Random, services: list[Service], members: list[Client], number: int) -> int:
    """A peer joins on one of the nodes, or leaves. Returns how many events that are."""
    if members and chance.random() < 0.4:
        await members.pop(chance.randrange(len(members))).leave()
    else:
        members.append(await Client.join(chance.choice(services), 10 + number))
    return 1
