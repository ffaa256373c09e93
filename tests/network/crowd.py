"""Peers without machines, that come, change and go: `python -m tests.network.crowd URL PEERS`."""

import asyncio
import sys

from harness.keys import a_key_text
from wg_orchestrator.client import Endpoint, Member
from wg_orchestrator.wire.v2.notices import Welcome

AT_ONCE = 50
FIRST_KEY = 5_000_000


async def crowd(url: str, peers: int) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def come_change_and_go(number: int) -> None:
        async with places:
            member = Member(url, f"passer-{number}", a_key_text(FIRST_KEY + number), proxy=None)
            async for event in member.follow():
                if isinstance(event, Welcome):
                    await member.update("changed", [Endpoint.parse("10.200.0.1:51820")])
                    await asyncio.sleep(0.2)
                    await member.leave()

    await asyncio.gather(*(come_change_and_go(number) for number in range(peers)))


if __name__ == "__main__":
    asyncio.run(crowd(sys.argv[1], int(sys.argv[2])))
