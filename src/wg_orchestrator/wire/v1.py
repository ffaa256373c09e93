"""Protocol v1's messages, for service and client: only this module knows their shapes. See docs/protocol.md."""

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
"""A client accepts at most this many peers in one welcome."""

_ENTRY_KEYS = {"display_name", "public_key", "virtual_ip"}


# The service's side


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A client's join, which it sends once. Unknown fields are ignored."""

    display_name: str
    public_key: str

    @classmethod
    def parse(cls, text: str) -> "JoinRequest":
        """Read JSON strictly: no NaN, no key twice, at any depth. Raises MalformedJoin."""
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
    """The answer to a join, for the newcomer alone: its address, and the entries of all other peers.

    Each of `others` is one payload of `peer_entry`, or several with commas between them.
    """
    parts = list(others) or [b""]
    parts[0] = b'{"virtual_ip":"%s","peers":[%s' % (str(newcomer.virtual_ip).encode(), parts[0])
    parts[-1] += b"]}"
    return Text.of_parts(parts, b",")


# The client's side


@dataclass(frozen=True, slots=True)
class Welcome:
    """The service's first message: the client has joined, at this address, and these are the other peers."""

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
    """The message by which a client asks to join. The service checks whether name and key are valid."""
    return json.dumps({"display_name": display_name, "public_key": public_key})


def parse_message(text: str) -> Message:
    """Read one message of the service. It has exactly the protocol's fields, with valid public keys, and addresses in
    their canonical form. Raises BadMessage.

    The characters of a name are not checked, so a terminal must not show it as it is. The client's Unicode may be newer
    than the service's, and call a character unprintable that the service has let through. If the client checked names,
    it would then end because of another peer's name.
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
    """A parsed message as JSON, with the service's keys in their order, but in ASCII, for a terminal or a pipe."""
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


# For both sides


def _entry(peer: Peer) -> str:
    return f"{{{members(peer)}}}"


def _removal(virtual_ip: VirtualIP) -> str:
    return f'{{"removed_peer":"{virtual_ip}"}}'
