import asyncio
import itertools
import random
from contextlib import aclosing

from wg_orchestrator.client.client import follow
from wg_orchestrator.client.keys import KeyPair
from wg_orchestrator.client.screen import RosterScreen

NAMES = ("laptop", "phone", "printer", "office-router", "build-server", "camera", "living-room", "backup", "tablet")


async def crowd(url: str, peers: int, screen: RosterScreen) -> None:
    """Let `peers` clients come and go at random, and show what one more client sees of them. Runs until one of them
    fails, and then raises its error: one of those that `follow` raises.
    """
    names = itertools.cycle(NAMES)
    tasks = [asyncio.create_task(_watch(url, screen))]
    tasks += [asyncio.create_task(_come_and_go(url, next(names))) for _ in range(peers)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
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
