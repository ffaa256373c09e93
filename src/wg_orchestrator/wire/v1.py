"""Protocol v1 on the wire: the only place that knows the messages' shapes. See docs/protocol.md."""

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.rfc6455.message import Text


class MalformedJoin(Exception):
    """The join message is not a JSON object with the two strings it needs, or names a key twice."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is given twice")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_strict_json = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)


class JoinRequest(BaseModel):
    """What a client sends, once. Fields it doesn't know are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    display_name: str
    public_key: str

    @classmethod
    def parse(cls, text: str) -> "JoinRequest":
        """Raises MalformedJoin. JSON is read strictly: no NaN, no key twice, at any depth."""
        try:
            return cls.model_validate(_strict_json.decode(text))
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


class PeerRemoval(BaseModel):
    """The notice that a peer has left."""

    removed_peer: str


def peer_entry(peer: Peer) -> Text:
    """The notice that `peer` has joined, which is also its entry in a welcome."""
    return _text(PeerEntry.of(peer))


def peer_removal(peer: Peer) -> Text:
    """The notice that `peer` has left."""
    return _text(PeerRemoval(removed_peer=str(peer.virtual_ip)))


def welcome(newcomer: Peer, others: Iterable[Text]) -> Text:
    """The answer to a join, for the newcomer alone: its address, and the entries of everyone else.

    Put together from what is in JSON already: a roster of thousands is sent far more often than it changes.
    """
    entries = b",".join([entry.payload for entry in others])
    return Text(b'{"virtual_ip":"%s","peers":[%s]}' % (str(newcomer.virtual_ip).encode(), entries))


def _text(model: BaseModel) -> Text:
    return Text(model.model_dump_json().encode())
