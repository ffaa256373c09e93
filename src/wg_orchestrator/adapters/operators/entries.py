"""The entries of the event log, as they are told (server-sent events, WHATWG HTML, section 9.2)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wg_orchestrator.adapters.operators.models import as_time
from wg_orchestrator.domain.events import Committed, PeerJoined, PeerLeft, PeerResumed, PeerUpdated, assert_never
from wg_orchestrator.domain.nodes import Note

Heard = Mapping[str, int]
"""Of each process that has told notes, the number of the latest one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader is, whichever node it reads from: all nodes have the events of tenants in the same order, and the
    notes of one process, but not all of them among each other.
    """

    event: str
    """The id of the latest event of a tenant; empty if there was none."""
    heard: Heard

    def __str__(self) -> str:
        return "|".join([self.event, *(f"{by}.{number}" for by, number in self.heard.items())])

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Raises ValueError."""
        event, *notes = text.split("|")
        parts = (note.rpartition(".") for note in notes)
        return cls(event, {by: int(number) for by, _, number in parts})

    def has(self, note: Note) -> bool:
        """Whether a reader at this place was told of it."""
        return note.number <= self.heard.get(note.by, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """What has happened, and where a reader is that was told of it. What is None is a gap: some may be missing."""

    what: Committed | Note | None
    at: int
    place: Place
    node: str | None = None
    """On which the stay began, or what a note is about."""

    def concerns(self, tenant: str | None) -> bool:
        """Whether it is told to who reads of this tenant alone. None reads of all."""
        if tenant is None or self.what is None:
            return True
        if isinstance(self.what, Note):
            return self.what.tenant_id == tenant or self.what.kind != "refused"
        return self.what.event.stay.tenant_id == tenant

    def text(self) -> str:
        # All on one line: a name has no line break in it, and JSON would escape it.
        name, data = self._told()
        place = "" if self.what is None else f"id: {self.place}\n"
        return f"{place}event: {name}\ndata: {json.dumps({'at': as_time(self.at), **data})}\n\n"

    def _told(self) -> tuple[str, dict[str, Any]]:
        if self.what is None:
            return "gap", {}
        if isinstance(self.what, Note):
            nobody = dict.fromkeys(("revision", "display_name", "public_key", "virtual_ip"))
            return self.what.kind, {
                "tenant": self.what.tenant_id,
                **nobody,
                "cause": self.what.cause,
                "node": self.node,
            }
        name, cause = _kind(self.what)
        stay = self.what.event.stay
        return name, {
            "tenant": stay.tenant_id,
            "revision": self.what.revision,
            "display_name": stay.peer.display_name,
            "public_key": stay.peer.public_key.text,
            "virtual_ip": str(stay.peer.virtual_ip),
            "cause": cause,
            "node": self.node if name == "joined" else None,
        }


def event_id(era: str, committed: Committed) -> str:
    """By which an event is known on all nodes, if it is numbered."""
    stay = committed.event.stay
    known = f"{era}:{committed.revision}:{stay.tenant_id}"
    # Others may have numbered it otherwise, or not have it.
    return known if committed.is_numbered else f"{known}:{stay.id}:{stay.turn}:{id(committed)}"


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
