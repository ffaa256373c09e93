"""A reader of the operators' event stream that can break off and go on."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2

from tests.integration.service import PATIENCE

Event = tuple[str, dict[str, Any]]
"""The name of an event, and its data."""


class Reader:
    """Reads the stream of one API after the other, each from where it was before."""

    def __init__(self, **query: str) -> None:
        self.events: list[Event] = []
        self.last_id = ""
        self._query = query

    @asynccontextmanager
    async def reading(self, base: str, headers: dict[str, str] | None = None) -> AsyncIterator["Reader"]:
        """Read inside the block."""
        shown = {**(headers or {}), **({"Last-Event-ID": self.last_id} if self.last_id else {})}
        begun = anyio.Event()
        async with httpx2.AsyncClient(timeout=PATIENCE) as client, anyio.create_task_group() as tasks:

            async def read() -> None:
                url = f"{base}/v1/events"
                async with client.stream("GET", url, headers=shown, params=self._query) as response:
                    assert response.status_code == 200
                    assert response.headers["content-type"].startswith("text/event-stream")
                    await self._read(response, begun)

            tasks.start_soon(read)
            with anyio.fail_after(PATIENCE):
                await begun.wait()
            yield self
            tasks.cancel_scope.cancel()

    async def _read(self, response: httpx2.Response, begun: anyio.Event) -> None:
        event, data, event_id = "", "", ""
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            match name:
                case "id":
                    event_id = value
                case "event":
                    event = value
                case "data":
                    data = value
                case "":
                    begun.set()
                    self.last_id = event_id or self.last_id
                    if data:
                        self.events.append((event, json.loads(data)))
                    event, data = "", ""
                case _:
                    pass

    async def until(self, count: int) -> list[Event]:
        """The events, once there are so many."""
        with anyio.fail_after(PATIENCE):
            while len(self.events) < count:
                await anyio.sleep(0.005)
        return self.events
