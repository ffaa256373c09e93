import random
from collections.abc import Callable, Iterator
from contextlib import aclosing

import anyio

from wg_orchestrator.client.client import Limits, TryAgainLater, follow
from wg_orchestrator.wire.v1 import Message, Welcome

FIRST_RETRY_DELAY = 1.0
MAX_RETRY_DELAY = 30.0


def retry_delays() -> Iterator[float]:
    """Seconds to wait before each attempt after the first: exponential, with full jitter, so that the clients of a
    service that comes back do not all knock at the same moment.
    """
    ceiling = FIRST_RETRY_DELAY
    while True:
        yield random.uniform(0, ceiling)
        ceiling = min(2 * ceiling, MAX_RETRY_DELAY)


async def keep_following(
    url: str,
    display_name: str,
    public_key: str,
    show: Callable[[Message], None],
    note: Callable[[str], None],
    limits: Limits,
) -> None:
    """Follow the tenant, over as many connections as it takes once the first one has worked: `show` gets each message,
    `note` a line about each connection that was lost. Raises what `follow` does.
    """
    joined = False
    delays = retry_delays()
    while True:
        try:
            async with aclosing(follow(url, display_name, public_key, limits=limits)) as messages:
                async for message in messages:
                    show(message)
                    if isinstance(message, Welcome):  # What failed before is over.
                        joined, delays = True, retry_delays()
        except TryAgainLater as error:
            if not joined:
                raise
            delay = next(delays)
            note(f"{error}; trying again in {delay:.1f} s")
            await anyio.sleep(delay)
