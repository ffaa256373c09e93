"""What happens in the tenants and to the nodes, as a stream that can be gone on with."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import islice
from secrets import token_hex

import anyio

from wg_orchestrator.adapters.operators.entries import Entry, Heard, Place, event_id
from wg_orchestrator.domain.events import Committed
from wg_orchestrator.domain.nodes import Nodes, Note
from wg_orchestrator.domain.ports import TenantRepository
from wg_orchestrator.telemetry.telemetry import Telemetry

KEPT = 10_000
"""Events that somebody who has broken off can go on after."""
_AT_ONCE = 1000
_GATHERING = 0.05
"""Seconds for which a reader that was told of everything lets events gather, so that a storm costs it few writes."""
_ALIVE = 10.0
"""Seconds without an event after which a comment is sent, so that a connection that is gone is noticed."""


class EventLog:
    """The latest events of all tenants, in the order in which this node was told of them, and what nodes tell besides.

    Readers share it, so a slow one holds up nobody: if what it has not read yet is kept no more, it is told of a gap.
    An event has an id by which it is known on every node; of an event that was found out by this node alone, the id is
    known here alone.
    """

    def __init__(self, tenants: TenantRepository, nodes: Nodes, telemetry: Telemetry, kept: int = KEPT) -> None:
        """Of who is refused it tells what `telemetry` logs."""
        self._tenants = tenants
        self._nodes = nodes
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._count = 0
        """Of all entries that there were."""
        # Where a reader is that begins before anything has happened; no other node knows that place.
        self._event = f"start-{token_hex(8)}"
        self._start = self._event
        self._heard: Heard = {}
        self._down = frozenset[str]()
        self._news = asyncio.Event()
        self._is_over = False
        tenants.follow(self._see)
        nodes.hear(self._hear)
        telemetry.follow(self._refused)

    def _refused(self, event: str, reason: str, fields: Mapping[str, object]) -> None:
        if event == "refused":
            tenant = fields.get("tenant")
            self._nodes.refused(reason, tenant if isinstance(tenant, str) else None)

    def _see(self, committed: Committed) -> None:
        self._event = event_id(self._tenants.era, committed)
        self._add(committed, time.time(), self._nodes.began(committed.event.stay.id))

    def _hear(self, note: Note) -> None:
        before = self._heard.get(note.by)
        if before is not None and note.number > before + 1:
            self._add(None, note.at)
        self._heard = {**self._heard, note.by: note.number}
        # Two may tell it, if for a moment each of them does not know of the other.
        if note.kind != "node_down" or note.node not in self._down:
            self._add(note, note.at, note.node)
        if note.kind != "refused":
            self._down = self._down - {note.node} if note.kind == "node_up" else self._down | {note.node}

    def _add(self, what: Committed | Note | None, at: float, node: str | None = None) -> None:
        self._entries.append(Entry(what, at, Place(self._event, self._heard), node))
        self._count += 1
        self._news.set()

    def end(self) -> None:
        """End all streams: the service stops."""
        self._is_over = True
        self._news.set()

    async def read(self, last_id: str | None, tenant: str | None) -> AsyncIterator[bytes]:
        """The stream, until `end`. It begins after the event with that id; without one, now. With a `tenant`, it
        has the events of that tenant alone.
        """
        position = self._count
        # The id of the beginning, so that a reader that breaks off before the first event can go on from there.
        begins = "" if last_id else f"id: {Place(self._event, self._heard)}\n"
        yield f"retry: 1000\n{begins}\n".encode()
        ahead: dict[str, int] = {}
        missed = b""
        if last_id:
            position, before, ahead = self._resume(last_id)
            missed = b"".join(entry.text() for entry in before if entry.concerns(tenant))
        while not self._is_over:
            oldest = self._count - len(self._entries)
            if position < oldest:
                position = self._count
                yield _gap()
                continue
            batch = list(islice(self._entries, position - oldest, position - oldest + _AT_ONCE))
            position += len(batch)
            text, missed = missed + b"".join(_texts(batch, tenant, ahead)), b""
            if text:
                yield text
            elif not batch:
                self._news.clear()
                with anyio.move_on_after(_ALIVE) as waiting:
                    await self._news.wait()
                if waiting.cancelled_caught:
                    yield b": nothing new\n\n"
                else:
                    await anyio.sleep(_GATHERING)

    def _resume(self, last_id: str) -> tuple[int, list[Entry], dict[str, int]]:
        """Where a reader goes on that has this id. Returns the position; the notes from before it that the reader
        lacks; and what it has heard on another node that was not heard here by then: the number of the last note of
        each such process. If the id is not known here, the reader goes on from now, with a gap.
        """
        entries = list(self._entries)
        oldest = self._count - len(entries)
        try:
            place = Place.parse(last_id)
            known = [isinstance(one.what, Committed) and one.place.event == place.event for one in entries]
            first = 0 if place.event == self._start and oldest == 0 else known.index(True) + 1
        except ValueError:
            return self._count, [Entry(None, time.time(), Place(self._event, self._heard))], {}
        here = entries[first - 1].place.heard if first else {}
        ahead = {by: number for by, number in place.heard.items() if number > here.get(by, 0)}
        before, heard = list[Entry](), dict(place.heard)
        for entry in entries[:first]:
            note = entry.what
            if isinstance(note, Note) and not place.has(note):
                heard[note.by] = note.number
                before.append(entry.at_place(Place(place.event, dict(heard))))
        return oldest + first, before, ahead


def _texts(entries: Iterable[Entry], tenant: str | None, ahead: dict[str, int]) -> Iterator[bytes]:
    """What to send of these entries. `ahead`: the last note of each process of which the reader has heard more than
    this node. Those notes are left out until this node has heard as much.
    """
    for entry in entries:
        what = entry.what
        if ahead and isinstance(what, Note) and what.number <= ahead.get(what.by, 0):
            if what.number == ahead[what.by]:
                del ahead[what.by]
        elif entry.concerns(tenant):
            place = entry.place
            known = entry.at_place(Place(place.event, {**place.heard, **ahead})) if ahead else entry
            yield known.text()


def _gap() -> bytes:
    return Entry(None, int(time.time()), Place("", {})).text()
