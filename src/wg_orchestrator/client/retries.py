import random
from collections.abc import Callable, Iterator
from contextlib import aclosing

import anyio

from wg_orchestrator.client.client import Limits, TryAgainLater, follow
from wg_orchestrator.wire.v1 import Message, Welcome

FIRST_RETRY_DELAY = 1.0
MAX_RETRY_DELAY = 30.0


def retry_delays() -> Iterator[float]:
    """Seconds to wait before each attempt after the first. They grow exponentially, with full jitter, so that not all
    clients of a service that has restarted come back at the same moment.
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
    """Follow the tenant. Once the first connection has worked, make a new one whenever one is lost. `show` gets each
    message, and `note` gets a line about each lost connection. Raises what `follow` does.
    """
    joined = False
    delays = retry_delays()
    while True:
        try:
            async with aclosing(follow(url, display_name, public_key, limits=limits)) as messages:
                async for message in messages:
                    show(message)
                    if isinstance(message, Welcome):  # The next loss begins with a short delay again.
                        joined, delays = True, retry_delays()
        except TryAgainLater as error:
            if not joined:
                raise
            delay = next(delays)
            note(f"{error}; trying again in {delay:.1f} s")
            await anyio.sleep(delay)
