import asyncio
from collections.abc import Awaitable, Callable

import anyio


class Background:
    """Work that runs beside everything else until it is ended.

    asyncio tells a task only once that it is cancelled, and that can get lost on its way: `wait_for` loses it before
    Python 3.12 if what it waits for comes at that moment, and the client of NATS waits so. A scope tells it until it is
    heard.
    """

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._scope = anyio.CancelScope()
        self._task = asyncio.create_task(self._run(work))

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        with self._scope:
            await work()

    async def end(self, patience: float | None = None) -> None:
        """Cancel it, and wait at most so many seconds for its end."""
        self._scope.cancel()
        await asyncio.wait([self._task], timeout=patience)
