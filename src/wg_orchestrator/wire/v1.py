"""Protocol v1 on the wire, for both ends: the only place that knows the messages' shapes. See docs/protocol.md."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from wg_orchestrator.domain.events import assert_never
from wg_orchestrator.domain.peer import Peer, VirtualIP
from wg_orchestrator.rfc6455.message import Text
from wg_orchestrator.wire import strict_json
from wg_orchestrator.wire.entry import members, parse_address, parse_key, parse_name
from wg_orchestrator.wire.errors import BadMessage as BadMessage
from wg_orchestrator.wire.errors import MalformedJoin as MalformedJoin

MAX_PEERS = 100_000
"""Peers that a client takes from one welcome."""

_ENTRY_KEYS = {"display_name", "public_key", "virtual_ip"}


# The service's end


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a client sends, once. Fields it doesn't know are ignored."""

    display_name: str
    public_key: str

    @classmethod
    def parse(cls, text: str) -> "JoinRequest":
        """Raises MalformedJoin. JSON is read strictly: no NaN, no key twice, at any depth."""
        try:
            fields = strict_json.decode(text)
            display_name, public_key = fields["display_name"], fields["public_key"]
        except (ValueError, TypeError, KeyError) as error:
            raise MalformedJoin from error
        if not isinstance(display_name, str) or not isinstance(public_key, str):
            raise MalformedJoin
        return cls(display_name, public_key)


def peer_entry(peer: Peer) -> Text:
    """The notice that `peer` has joined, which is also its entry in a welcome."""
    return Text(_entry(peer).encode())


def peer_removal(peer: Peer) -> Text:
    """The notice that `peer` has left."""
    return Text(_removal(peer.virtual_ip).encode())


def welcome(newcomer: Peer, others: Iterable[bytes]) -> Text:
    """The answer to a join, for the newcomer alone: its address, and the entries of everyone else.

    `others` are payloads of `peer_entry`, each alone or several with commas between them.
    """
    parts = list(others) or [b""]
    parts[0] = b'{"virtual_ip":"%s","peers":[%s' % (str(newcomer.virtual_ip).encode(), parts[0])
    parts[-1] += b"]}"
    return Text.of_parts(parts, b",")


# The client's end


@dataclass(frozen=True, slots=True)
class Welcome:
    """The service's first message: the client is in, at this address, and these are the others."""

    virtual_ip: VirtualIP
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """The notice that a peer has joined."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Left:
    """The notice that the peer at this address has left."""

    virtual_ip: VirtualIP


Message: TypeAlias = Welcome | Joined | Left


def join(display_name: str, public_key: str) -> str:
    """What a client sends, once, to ask for its place. Whether the two are valid is the service's to say."""
    return json.dumps({"display_name": display_name, "public_key": public_key})


def parse_message(text: str) -> Message:
    """One message of the service, checked: its keys and no others, strings, addresses, keys. Raises BadMessage.

    Which characters a name has is not checked, and so it is no name to be shown as it is: a character that only a newer
    Unicode calls unprintable would end the client for what another peer is called.
    """
    try:
        fields = strict_json.decode(text)
    except ValueError as error:
        raise BadMessage("not JSON") from error
    keys = fields.keys() if isinstance(fields, dict) else None
    if keys == {"removed_peer"}:
        return Left(parse_address(fields["removed_peer"]))
    if keys == {"virtual_ip", "peers"}:
        virtual_ip, peers = parse_address(fields["virtual_ip"]), fields["peers"]
        if not isinstance(peers, list) or len(peers) > MAX_PEERS:
            raise BadMessage(f"peers are no list of at most {MAX_PEERS}")
        return Welcome(virtual_ip, tuple(map(_parse_entry, peers)))
    return Joined(_parse_entry(fields))


def as_text(message: Message) -> str:
    """The JSON text of a message that was parsed, as the service sends it; in ASCII, for a terminal or a pipe."""
    match message:
        case Welcome(virtual_ip, peers):
            text = f'{{"virtual_ip":"{virtual_ip}","peers":[{",".join(map(_entry, peers))}]}}'
        case Joined(peer):
            text = _entry(peer)
        case Left(virtual_ip):
            text = _removal(virtual_ip)
        case _:
            assert_never(message)
    return text if text.isascii() else json.dumps(json.loads(text), separators=(",", ":"))


def _parse_entry(fields: Any) -> Peer:
    if not isinstance(fields, dict) or fields.keys() != _ENTRY_KEYS:
        raise BadMessage("neither a welcome nor a notice")
    virtual_ip = parse_address(fields["virtual_ip"])
    return Peer(parse_name(fields["display_name"]), parse_key(fields["public_key"]), virtual_ip)


# What both ends write


def _entry(peer: Peer) -> str:
    return f"{{{members(peer)}}}"


def _removal(virtual_ip: VirtualIP) -> str:
    return f'{{"removed_peer":"{virtual_ip}"}}'
