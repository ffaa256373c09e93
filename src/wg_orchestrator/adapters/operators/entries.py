"""The entries of the event log, as they are told (server-sent events, WHATWG HTML, section 9.2)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

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
    """The id of the latest event of a tenant; or a name for the start of a node's log, if there was none."""
    heard: Heard

    def __str__(self) -> str:
        if not self.heard:
            return self.event
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


class Entry:
    """What has happened, and where a reader is that was told of it. What is None is a gap: some may be missing."""

    __slots__ = ("_at", "_node", "_text", "place", "what")

    def __init__(self, what: Committed | Note | None, at: float, place: Place, node: str | None = None) -> None:
        """`at` in seconds since 1970. `node` is the one on which the stay began, or what a note is about."""
        self.what = what
        self.place = place
        self._at = at
        self._node = node
        self._text: bytes | None = None

    def at_place(self, place: Place) -> "Entry":
        """The same, told to a reader that is there then."""
        return Entry(self.what, self._at, place, self._node)

    def concerns(self, tenant: str | None) -> bool:
        """Whether it is told to who reads of this tenant alone. None reads of all."""
        if tenant is None or self.what is None:
            return True
        if isinstance(self.what, Note):
            return self.what.tenant_id == tenant or self.what.kind != "refused"
        return self.what.event.stay.tenant_id == tenant

    def text(self) -> bytes:
        """The same for all readers, so it is made once."""
        if self._text is None:
            self._text = self._made().encode()
        return self._text

    def _made(self) -> str:
        # All on one line: a name has no line break in it, and JSON would escape it. Of all that is told, only the names
        # of peers and nodes, and causes, have to be escaped.
        at = _time(int(self._at))
        if self.what is None:
            return f'event: gap\ndata: {{"at":"{at}"}}\n\n'
        if isinstance(self.what, Note):
            note = self.what
            name: str = note.kind
            told = (
                f'"tenant":{_text(note.tenant_id)},"revision":null,"display_name":null,"public_key":null,'
                f'"virtual_ip":null,"cause":{_text(note.cause)},"node":{_text(self._node)}'
            )
        else:
            name, cause = _kind(self.what)
            stay, revision = self.what.event.stay, self.what.revision
            peer = stay.peer
            told = (
                f'"tenant":"{stay.tenant_id}","revision":{revision},"display_name":{_text(peer.display_name)},'
                f'"public_key":"{peer.public_key.text}","virtual_ip":"{peer.virtual_ip}","cause":{_text(cause)},'
                f'"node":{_text(self._node if name == "joined" else None)}'
            )
        return f'id: {self.place}\nevent: {name}\ndata: {{"at":"{at}",{told}}}\n\n'


_time = lru_cache(maxsize=4)(as_time)
_text = json.JSONEncoder().encode


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
