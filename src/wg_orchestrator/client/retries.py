from collections.abc import Callable
from contextlib import aclosing

import anyio

from wg_orchestrator.client.client import follow
from wg_orchestrator.client.connecting import Limits, TryAgainLater
from wg_orchestrator.client.delays import retry_delays
from wg_orchestrator.client.tokens import TokenSource, no_token
from wg_orchestrator.wire.v1 import Message, Welcome


async def keep_following(
    url: str,
    display_name: str,
    public_key: str,
    show: Callable[[Message], None],
    note: Callable[[str], None],
    limits: Limits,
    token: TokenSource = no_token,
) -> None:
    """Follow the tenant. Once the first connection has worked, make a new one whenever one is lost. `show` gets each
    message, and `note` gets a line about each lost connection. Raises what `follow` does.
    """
    joined = False
    delays = retry_delays()
    while True:
        try:
            async with aclosing(follow(url, display_name, public_key, token=token, limits=limits)) as messages:
                async for message in messages:
                    show(message)
                    if isinstance(message, Welcome):  # The next loss begins with a short delay again.
                        joined, delays = True, retry_delays()
        except TryAgainLater as error:
            if not joined:
                raise
            delay = error.wait + next(delays)
            note(f"{error}; trying again in {delay:.1f} s")
            await anyio.sleep(delay)
