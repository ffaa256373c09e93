"""Peers without machines, in one tenant: `python -m harness.network_crowd URL PEERS [--stay] [--lan 10.1.0]`."""

import argparse
import asyncio

from harness.keys import a_key_text
from wg_orchestrator.client import Endpoint, Member
from wg_orchestrator.wire.v2.notices import Welcome

AT_ONCE = 50
FIRST_KEY = 5_000_000
NOWHERE = [Endpoint.parse("10.200.0.1:51820")]


def _off(lan: str, number: int) -> list[Endpoint]:
    """Where a machine in the network LAN.0/24 would be that is not there."""
    return [Endpoint.parse(f"{lan}.{50 + number % 200}:{10_000 + number}")]


async def crowd(url: str, peers: int, first: int, stays: bool, lan: str | None) -> None:
    """Have so many peers come, change and go, 50 at a time; or come and stay, and say so when all are there."""
    places = asyncio.Semaphore(peers if stays else AT_ONCE)
    missing = peers

    async def take_part(number: int) -> None:
        nonlocal missing
        async with places:
            member = Member(
                url,
                f"passer-{number}",
                a_key_text(FIRST_KEY + number),
                endpoints=None if lan is None else _off(lan, number),
                proxy=None,
            )
            async for event in member.follow():
                if not isinstance(event, Welcome):
                    continue
                if not stays:
                    await member.update("changed", NOWHERE)
                    await asyncio.sleep(0.2)
                    await member.leave()
                    continue
                missing -= 1
                if not missing:
                    print("all are there", flush=True)  # noqa: T201 For whoever has started it.

    await asyncio.gather(*(take_part(number) for number in range(first, first + peers)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("peers", type=int)
    parser.add_argument("--first", type=int, default=0, help="number of the first peer")
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("--lan", help="say that they are in LAN.0/24, where they are not")
    options = parser.parse_args()
    asyncio.run(crowd(options.url, options.peers, options.first, options.stay, options.lan))
