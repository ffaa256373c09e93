"""The two versions of the protocol, as far as the load generator has to know them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench import frames
from bench.identity import Identity

Picture = dict[str, tuple[str, str]]
"""Who is in a tenant, as a client knows it: virtual IP to name and key."""

_ENTRY = ["display_name", "public_key", "virtual_ip"]


class Change(NamedTuple):
    """One notice, parsed. `peer` is None if it is of a leave."""

    virtual_ip: str
    peer: tuple[str, str] | None


class Place(NamedTuple):
    """What a first message says of whoever it is for. `listed` is None if it was resumed and keeps its picture."""

    virtual_ip: str
    listed: int | None
    session: str = ""
    revision: int = 0


@dataclass(frozen=True)
class Dialect:
    """A version of the protocol. Texts are those of the protocol to the letter; what is not raises ValueError."""

    name: str
    subprotocol: str
    """Empty: none is asked for."""
    commas: tuple[int, int]
    """In a notice of a join, and in one of a leave."""
    join: Callable[[Identity, Place | None], bytes]
    """The join message's frame, of one that comes back if it had a place before."""
    place: Callable[[bytes], Place]
    """Reads the first message, without looking at each peer in it."""
    picture: Callable[[bytes], Picture]
    """Reads a welcome in full."""
    change: Callable[[bytes], Change]
    """Reads a notice."""

    def joins(self, commas: int, notices: int) -> int:
        """How many of so many notices were of a join, if they had so many commas."""
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
