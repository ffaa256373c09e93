"""What the load generator has to know of the two versions of the protocol."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench import frames
from bench.identity import Identity

Picture = dict[str, tuple[str, str]]
"""The other peers of a tenant, as a client knows them: name and key by virtual IP."""

_ENTRY = ["display_name", "public_key", "virtual_ip"]


class Change(NamedTuple):
    """One notice, parsed. `peer` is the name and the key of who joined; None if the notice is of a leave."""

    virtual_ip: str
    peer: tuple[str, str] | None


class Place(NamedTuple):
    """What the server's first message gives a client. `listed` is how many peers a welcome lists; None if the client
    has resumed and keeps its picture.
    """

    virtual_ip: str
    listed: int | None
    session: str = ""
    revision: int = 0


@dataclass(frozen=True)
class Dialect:
    """A version of the protocol. Messages are read strictly: one that is not exactly as the protocol says raises
    ValueError.
    """

    name: str
    subprotocol: str
    """The subprotocol that the client asks for; empty: none."""
    commas: tuple[int, int]
    """How many commas a notice of a join has, and a notice of a leave."""
    join: Callable[[Identity, Place | None], bytes]
    """Makes the frame of the join message. If a place is given, the client asks to have it back."""
    place: Callable[[bytes], Place]
    """Reads the server's first message, without looking at each peer in it."""
    picture: Callable[[bytes], Picture]
    """Reads a welcome in full."""
    change: Callable[[bytes], Change]
    """Reads a notice."""

    def joins(self, commas: int, notices: int) -> int:
        """How many of these notices were of a join, if all of them together had so many commas."""
        join, leave = self.commas
        return (commas - leave * notices) // (join - leave)


def _join_v1(identity: Identity, _: Place | None) -> bytes:
    return identity.join


def _place_v1(payload: bytes) -> Place:
    _, key, _, virtual_ip, _ = payload.decode().split('"', 4)
    if key != "virtual_ip":
        raise ValueError(payload[:80])
    return Place(virtual_ip, payload.count(b'"virtual_ip"') - 1)


def _picture_v1(payload: bytes) -> Picture:
    welcome = json.loads(payload)
    if list(welcome) != ["virtual_ip", "peers"] or any(list(entry) != _ENTRY for entry in welcome["peers"]):
        raise ValueError("a welcome of a wrong shape")
    return _without_doubles(welcome)


def _change_v1(text: bytes) -> Change:
    notice = json.loads(text)
    if list(notice) == ["removed_peer"]:
        return Change(notice["removed_peer"], None)
    if list(notice) == _ENTRY:
        return Change(notice["virtual_ip"], (notice["display_name"], notice["public_key"]))
    raise ValueError(text)


def _join_v2(identity: Identity, before: Place | None) -> bytes:
    message: dict[str, Any] = {"type": "join", "display_name": identity.name, "public_key": identity.key}
    if before is not None:
        message |= {
            "virtual_ip": before.virtual_ip,
            "resume": {"session": before.session, "revision": before.revision},
        }
    return frames.masked(frames.TEXT, json.dumps(message, separators=(",", ":")).encode())


def _place_v2(payload: bytes) -> Place:
    head, separator, peers = payload.partition(b',"peers":[')
    message = json.loads(head + b"}" if separator else payload)
    if list(message) != ["type", "revision", "session", "grace", "virtual_ip", "network"] or message["type"] != (
        "welcome" if separator else "resumed"
    ):
        raise ValueError(payload[:80])
    listed = peers.count(b'"virtual_ip"') if separator else None
    return Place(message["virtual_ip"], listed, message["session"], message["revision"])


def _picture_v2(payload: bytes) -> Picture:
    welcome = json.loads(payload)
    for entry in welcome["peers"]:
        _check_v2(entry)
    return _without_doubles(welcome)


def _change_v2(text: bytes) -> Change:
    notice = json.loads(text)
    if list(notice) == ["type", "revision", "public_key", "virtual_ip"] and notice["type"] == "left":
        return Change(notice["virtual_ip"], None)
    if list(notice) == ["type", "revision", "peer"] and notice["type"] == "joined":
        peer = _check_v2(notice["peer"])
        return Change(peer["virtual_ip"], (peer["display_name"], peer["public_key"]))
    raise ValueError(text)


def _check_v2(entry: dict[str, Any]) -> dict[str, Any]:
    if list(entry) != [*_ENTRY, "endpoints", "proven"] or (entry["endpoints"], entry["proven"]) != ([], False):
        raise ValueError(f"a peer of a wrong shape: {entry}")
    return entry


def _without_doubles(welcome: dict[str, Any]) -> Picture:
    picture = {entry["virtual_ip"]: (entry["display_name"], entry["public_key"]) for entry in welcome["peers"]}
    if len(picture) != len(welcome["peers"]) or welcome["virtual_ip"] in picture:
        raise ValueError("a welcome that lists an address twice, or its own")
    return picture


V1 = Dialect("v1", "", (2, 0), _join_v1, _place_v1, _picture_v1, _change_v1)
V2 = Dialect("v2", "wg-orchestrator.v2", (6, 3), _join_v2, _place_v2, _picture_v2, _change_v2)
