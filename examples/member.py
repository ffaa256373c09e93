"""A client of protocol v2 in Python: `python examples/member.py ws://localhost:8000/tenants/acme laptop KEY`."""

import asyncio
import sys
from contextlib import aclosing, suppress

from wg_orchestrator.client import Member
from wg_orchestrator.client.terminal import visible


async def main(url: str, name: str, public_key: str) -> None:
    member = Member(url, name, public_key)
    async with aclosing(member.follow()) as events:
        async for event in events:
            names = [visible(peer.display_name) for peer in member.picture.peers_now()]
            print(type(event).__name__, member.picture.revision, *names, flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
