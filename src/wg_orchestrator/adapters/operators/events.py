"""What happens in the tenants, as a stream that can be gone on with (server-sent events, WHATWG HTML, section 9.2)."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice

import anyio

from wg_orchestrator.adapters.operators.models import as_time
from wg_orchestrator.domain.events import Committed, PeerJoined, PeerLeft, PeerResumed, PeerUpdated, assert_never
from wg_orchestrator.domain.nodes import Nodes
from wg_orchestrator.domain.ports import TenantRepository

KEPT = 10_000
"""Events that somebody who has broken off can go on after."""
_AT_ONCE = 200
_ALIVE = 10.0
"""Seconds without an event after which a comment is sent, so that a connection that is gone is noticed."""


class EventLog:
    """The latest events of all tenants, in the order in which this node was told of them.

    Readers share it, so a slow one holds up nobody: if what it has not read yet is kept no more, it is told of a gap.
    An event has an id by which it is known on every node; of an event that was found out by this node alone, the id is
    known here alone.
    """

    def __init__(self, tenants: TenantRepository, nodes: Nodes, kept: int = KEPT) -> None:
        self._tenants = tenants
        self._nodes = nodes
        # Of each event: the era of its revision, when it was heard of, and what it is.
        self._events: deque[tuple[str, float, Committed]] = deque(maxlen=kept)
        self._count = 0
        """Of all events that there were."""
        self._news = asyncio.Event()
        self._is_over = False
        tenants.follow(self._see)

    def _see(self, committed: Committed) -> None:
        self._events.append((self._tenants.era, time.time(), committed))
        self._count += 1
        self._news.set()

    def end(self) -> None:
        """End all streams: the service stops."""
        self._is_over = True
        self._news.set()

    async def read(self, last_id: str | None, tenant: str | None) -> AsyncIterator[str]:
        """The stream, until `end`: from after the event with that id, or from now on; with a `tenant`, its own."""
        position = self._count
        yield "retry: 1000\n\n"
        if last_id is not None:
            found = self._after(last_id)
            if found is None:
                yield _gap()
            else:
                position = found
        while not self._is_over:
            oldest = self._count - len(self._events)
            if position < oldest:
                position = self._count
                yield _gap()
                continue
            batch = list(islice(self._events, position - oldest, position - oldest + _AT_ONCE))
            position += len(batch)
            text = "".join(self._texts(batch, tenant))
            if text:
                yield text
            elif not batch:
                self._news.clear()
                with anyio.move_on_after(_ALIVE) as waiting:
                    await self._news.wait()
                if waiting.cancelled_caught:
                    yield ": nothing new\n\n"

    def _after(self, last_id: str) -> int | None:
        """The position after the event with this id; None: it is not kept, or was never here."""
        oldest = self._count - len(self._events)
        for number, (era, _, committed) in enumerate(self._events):
            if _id(era, committed) == last_id:
                return oldest + number + 1
        return None

    def _texts(self, batch: list[tuple[str, float, Committed]], tenant: str | None) -> Iterator[str]:
        for era, at, committed in batch:
            stay = committed.event.stay
            if tenant is None or stay.tenant_id == tenant:
                kind, cause = _kind(committed)
                data = {
                    "at": as_time(int(at)),
                    "tenant": stay.tenant_id,
                    "revision": committed.revision,
                    "display_name": stay.peer.display_name,
                    "public_key": stay.peer.public_key.text,
                    "virtual_ip": str(stay.peer.virtual_ip),
                    "cause": cause,
                    "node": self._nodes.began(stay.id) if kind == "joined" else None,
                }
                # All on one line: a name has no line break in it, and JSON would escape it.
                yield f"id: {_id(era, committed)}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


def _id(era: str, committed: Committed) -> str:
    stay = committed.event.stay
    known = f"{era}:{committed.revision}:{stay.tenant_id}"
    # Others may have numbered it otherwise, or not have it.
    return known if committed.is_numbered else f"{known}:{stay.id}:{stay.turn}:{id(committed)}"


def _gap() -> str:
    return f"event: gap\ndata: {json.dumps({'at': as_time(int(time.time()))})}\n\n"


def _kind(committed: Committed) -> tuple[str, str | None]:
    """The name of the event, and of a leave its cause."""
    event, cause = committed.event, None
    match event:
        case PeerJoined():
            kind = "joined"
        case PeerLeft():
            kind, cause = "left", event.cause.value
        case PeerUpdated():
            kind = "updated"
        case PeerResumed():
            kind = "resumed"
        case _:
            assert_never(event)
    return kind, cause
