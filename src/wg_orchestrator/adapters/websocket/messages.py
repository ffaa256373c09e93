"""Protocol v1 on the wire: the only place that knows the messages' shapes. See docs/protocol.md."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from wg_orchestrator.adapters.websocket.frames import Opcode, frame
from wg_orchestrator.domain.events import MembershipEvent, PeerJoined
from wg_orchestrator.domain.peer import Peer


class MalformedJoin(Exception):
    """The join message is not a JSON object with the two strings it needs, or names a key twice."""


class JoinRequest(BaseModel):
    """What a client sends, once. Fields it doesn't know are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    display_name: str
    public_key: str

    @classmethod
    def parse(cls, text: str) -> "JoinRequest":
        """Raises MalformedJoin. JSON is read strictly: no NaN, no key twice, at any depth."""
        try:
            fields = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
            return cls.model_validate(fields)
        except (ValueError, RecursionError, ValidationError) as error:
            raise MalformedJoin from error


class PeerEntry(BaseModel):
    """A peer as the others see it: an entry of the welcome, and the notice that it has joined."""

    display_name: str
    public_key: str
    virtual_ip: str

    @classmethod
    def of(cls, peer: Peer) -> "PeerEntry":
        return cls(display_name=peer.display_name, public_key=peer.public_key.text, virtual_ip=str(peer.virtual_ip))


class Welcome(BaseModel):
    """The answer to a join: the newcomer's address, and everyone but the newcomer."""

    virtual_ip: str
    peers: list[PeerEntry]


class PeerRemoval(BaseModel):
    """The notice that a peer has left."""

    removed_peer: str


class Message:
    """One text message, framed once for however many receivers."""

    __slots__ = ("frame", "text")

    def __init__(self, model: BaseModel) -> None:
        self.text = model.model_dump_json()
        self.frame = frame(Opcode.TEXT, self.text.encode())


def welcome(newcomer: Peer, others: Sequence[Peer]) -> Message:
    """The message for the newcomer alone."""
    return Message(Welcome(virtual_ip=str(newcomer.virtual_ip), peers=[PeerEntry.of(peer) for peer in others]))


def notice(event: MembershipEvent) -> Message:
    """The message for everyone else."""
    if isinstance(event, PeerJoined):
        return Message(PeerEntry.of(event.peer))
    return Message(PeerRemoval(removed_peer=str(event.peer.virtual_ip)))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is given twice")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
