import asyncio
import itertools
import random
from contextlib import aclosing

from wg_orchestrator.client.client import KeyPair, follow
from wg_orchestrator.client.screen import RosterScreen
from wg_orchestrator.server.server import Server

NAMES = ("laptop", "phone", "printer", "office-router", "build-server", "camera", "living-room", "backup", "tablet")


async def run_demo(server: Server, peers: int, seconds: float | None) -> None:
    """Serve, let `peers` clients come and go at random, and show what one more client sees of them."""
    serving = asyncio.create_task(server.serve())
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        ready.cancel()
        await serving
        return
    url = f"ws://{server.address}/tenants/demo"
    with RosterScreen(f"{url}   (Ctrl-C ends it)") as screen:
        tasks = [asyncio.create_task(_watch(url, screen))]
        names = itertools.cycle(NAMES)
        tasks += [asyncio.create_task(_come_and_go(url, next(names))) for _ in range(peers)]
        await asyncio.wait([serving, *tasks], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    stopped_by_hand = serving.done() or server.should_exit
    server.should_exit = True
    await serving
    if not stopped_by_hand:
        for error in results:
            if isinstance(error, Exception):
                raise error


async def _watch(url: str, screen: RosterScreen) -> None:
    async with aclosing(follow(url, "you", KeyPair.generate().public, proxy=None)) as messages:
        async for message in messages:
            screen.show(message)


async def _come_and_go(url: str, name: str) -> None:
    while True:
        await asyncio.sleep(random.uniform(0.2, 3))
        stay = asyncio.create_task(_stay(url, name))
        try:
            await asyncio.wait([stay], timeout=random.uniform(1, 6))
        finally:
            stay.cancel()
        await asyncio.wait([stay])
        if not stay.cancelled():
            stay.result()


async def _stay(url: str, name: str) -> None:
    async for _ in follow(url, name, KeyPair.generate().public, proxy=None):
        pass
