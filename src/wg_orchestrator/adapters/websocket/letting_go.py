import math
import random
from collections.abc import Collection

import anyio

from wg_orchestrator.adapters.websocket.connection import Recipient
from wg_orchestrator.wire import close_codes as closes

_TICK = 0.1
"""Seconds between two groups of peers that are let go."""


async def let_go(connections: Collection[Recipient], max_rate: float, seconds: float) -> None:
    """Close connections because the service stops: at most `max_rate` a second, unless `seconds` are too few for that.

    They come in any order, so that no tenant is first.
    """
    waiting = list(connections)
    random.shuffle(waiting)
    # In half of the time, so that the other half is for what they do then.
    rate = max(max_rate, 2 * len(waiting) / max(seconds, _TICK))
    while waiting:
        count = min(len(waiting), math.ceil(min(rate * _TICK, len(waiting))))
        for connection in waiting[-count:]:
            connection.close(closes.SERVICE_RESTART)
        del waiting[-count:]
        if waiting:
            await anyio.sleep(_TICK)
