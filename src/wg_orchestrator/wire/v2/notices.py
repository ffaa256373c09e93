"""The messages of the service: the service writes them, a client reads them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.peer import Peer, PublicKey, VirtualIP
from wg_orchestrator.rfc6455.message import Text
from wg_orchestrator.wire.entry import members, parse_address, parse_key, parse_name
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.strict_json import quoted
from wg_orchestrator.wire.v2 import fields

MAX_PEERS = 100_000
"""A client accepts at most this many peers in one welcome."""

MAX_LISTED = 64
"""A client accepts at most this many endpoints in one list. A service lists the few that are announced or proven."""

# The service's side


def peer_entry(peer: Peer) -> bytes:
    """The JSON object of `peer` in a welcome or in a notice."""
    proven = "true" if peer.proven else "false"
    return f'{{{members(peer)},"endpoints":[{_quoted(peer.endpoints)}],"proven":{proven}}}'.encode()


def joined(revision: int, entry: bytes) -> Text:
    """The notice that the peer of this `peer_entry` has joined."""
    return Text(b'{"type":"joined","revision":%d,"peer":%s}' % (revision, entry))


def updated(revision: int, entry: bytes) -> Text:
    """The notice that a peer is now as this `peer_entry` says. Its key and its address have not changed."""
    return Text(b'{"type":"updated","revision":%d,"peer":%s}' % (revision, entry))


def left(revision: int, peer: Peer) -> Text:
    """The notice that `peer` has left."""
    key, virtual_ip = peer.public_key, peer.virtual_ip
    text = f'{{"type":"left","revision":{revision},"public_key":"{key}","virtual_ip":"{virtual_ip}"}}'
    return Text(text.encode())


def welcome(revision: int, session: str, grace: int, newcomer: Peer, network: Network, others: Iterable[bytes]) -> Text:
    """The whole picture, for `newcomer` alone: its own place, and the entries of all other peers.

    `grace` is in seconds. Each of `others` is one `peer_entry`, or several with commas between them.
    """
    parts = list(others) or [b""]
    parts[0] = f'{_place("welcome", revision, session, grace, newcomer, network)},"peers":['.encode() + parts[0]
    parts[-1] += b"]}"
    return Text.of_parts(parts, b",")


def resumed(revision: int, session: str, grace: int, peer: Peer, network: Network) -> Text:
    """The answer to a peer that resumes its session and keeps its picture of `revision`. `grace` is in seconds."""
    return Text(f"{_place('resumed', revision, session, grace, peer, network)}}}".encode())


def prove(public_key: PublicKey, preshared_key: str, endpoints: Iterable[Endpoint]) -> Text:
    """The request that a client prove its key to the rendezvous that has `public_key`, at one of `endpoints`."""
    rendezvous = f'"public_key":"{public_key}","preshared_key":{quoted(preshared_key)}'
    return Text(f'{{"type":"prove",{rendezvous},"endpoints":[{_quoted(endpoints)}]}}'.encode())


def proven(endpoint: Endpoint) -> Text:
    """The notice to a client that it has proven its key, and that its packets come from `endpoint`."""
    return Text(f'{{"type":"proven","endpoint":"{endpoint}"}}'.encode())


def _place(kind: str, revision: int, session: str, grace: int, peer: Peer, network: Network) -> str:
    number = f'"type":"{kind}","revision":{revision},"session":{quoted(session)},"grace":{grace}'
    return f'{{{number},"virtual_ip":"{peer.virtual_ip}","network":"{network}"'


def _quoted(endpoints: Iterable[Endpoint]) -> str:
    return ",".join([f'"{endpoint}"' for endpoint in endpoints])


# The client's side


@dataclass(frozen=True, slots=True)
class Welcome:
    """The client has joined, at this address, and these are the other peers: the whole picture as of `revision`."""

    revision: int
    session: str = field(repr=False)
    """A secret; empty if the service has no sessions."""
    grace: int
    """Seconds for which the session outlives its connection."""
    virtual_ip: VirtualIP
    network: Network
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """A peer has joined."""

    revision: int
    peer: Peer


@dataclass(frozen=True, slots=True)
class Updated:
    """A peer has another name, other endpoints, or has proven its key."""

    revision: int
    peer: Peer


@dataclass(frozen=True, slots=True)
class Left:
    """The peer with this key has left, and its address is free."""

    revision: int
    public_key: PublicKey
    virtual_ip: VirtualIP


@dataclass(frozen=True, slots=True)
class Resumed:
    """The client goes on with its session and its picture of `revision`. The notices that it missed follow."""

    revision: int
    session: str = field(repr=False)
    grace: int
    virtual_ip: VirtualIP
    network: Network


@dataclass(frozen=True, slots=True)
class Prove:
    """The client has to prove its key, by a handshake with the rendezvous of this key, at one of the endpoints."""

    public_key: PublicKey
    preshared_key: str = field(repr=False)
    """A secret, in WireGuard's text form."""
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Proven:
    """The client has proven its key, and its packets come from this endpoint."""

    endpoint: Endpoint


Message: TypeAlias = Welcome | Joined | Updated | Left | Resumed | Prove | Proven


def parse_message(text: str) -> Message | None:
    """Read one message of the service, and check types, ranges, public keys, and that addresses are canonical.

    None if the message is of an unknown type. Unknown fields are ignored. The characters of a name are not checked, so
    a terminal must not show it as it is. Raises BadMessage.
    """
    try:
        given = fields.decode(text)
        parse = _PARSERS.get(fields.text(given.get("type")))
        return parse(given) if parse is not None else None
    except BadMessage:
        raise
    except ValueError as error:
        raise BadMessage(str(error)) from error


_Fields: TypeAlias = dict[str, Any]


def _parse_welcome(given: _Fields) -> Welcome:
    peers = fields.items(given.get("peers"), MAX_PEERS)
    return Welcome(*_parse_place(given), tuple(map(_parse_peer, peers)))


def _parse_place(given: _Fields) -> tuple[int, str, int, VirtualIP, Network]:
    return (
        fields.count(given.get("revision")),
        fields.session(given.get("session")),
        fields.count(given.get("grace")),
        parse_address(given.get("virtual_ip")),
        fields.network(given.get("network")),
    )


def _parse_left(given: _Fields) -> Left:
    revision, key = fields.count(given.get("revision")), parse_key(given.get("public_key"))
    return Left(revision, key, parse_address(given.get("virtual_ip")))


def _parse_peer(given: Any) -> Peer:
    if not isinstance(given, dict) or not isinstance(given.get("proven"), bool):
        raise BadMessage("a peer that is none")
    return Peer(
        parse_name(given.get("display_name")),
        parse_key(given.get("public_key")),
        parse_address(given.get("virtual_ip")),
        _parse_listed(given.get("endpoints")),
        given["proven"],
    )


def _parse_listed(value: Any) -> tuple[Endpoint, ...]:
    return tuple(map(fields.canonical_endpoint, fields.items(value, MAX_LISTED)))


_PARSERS: dict[str, Callable[[_Fields], Message]] = {
    "welcome": _parse_welcome,
    "joined": lambda given: Joined(fields.count(given.get("revision")), _parse_peer(given.get("peer"))),
    "updated": lambda given: Updated(fields.count(given.get("revision")), _parse_peer(given.get("peer"))),
    "left": _parse_left,
    "resumed": lambda given: Resumed(*_parse_place(given)),
    "prove": lambda given: Prove(
        parse_key(given.get("public_key")),
        fields.preshared_key(given.get("preshared_key")),
        _parse_listed(given.get("endpoints")),
    ),
    "proven": lambda given: Proven(fields.canonical_endpoint(given.get("endpoint"))),
}
