import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Work that nobody waits for while it runs, and that has to be done before the end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __bool__(self) -> bool:
        """Whether any work is not done yet."""
        return bool(self._running)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)  # The event loop alone would forget it.
        task.add_done_callback(self._running.discard)

    def cancel(self) -> None:
        """Give up all work that runs now."""
        for task in self._running:
            task.cancel()

    async def wait(self) -> None:
        """Wait until all work that runs now is done."""
        if self._running:
            await asyncio.wait(self._running)
