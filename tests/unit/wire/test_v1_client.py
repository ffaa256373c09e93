"""Protocol v1 as a client reads and writes it."""

import json
from ipaddress import ip_address
from typing import Any

import pytest

from harness.keys import a_key_text
from tests.builders import a_peer
from wg_orchestrator.domain.peer import DisplayName, Peer
from wg_orchestrator.wire import v1
from wg_orchestrator.wire.v1 import BadMessage, Joined, JoinRequest, Left, Message, Welcome, as_text, parse_message

NAMELESS = Peer(DisplayName("x\ud800\u202e\x1b"), a_peer(1).public_key, ip_address("fd00::1"))
"""A peer with a name that no service should send. A client accepts it."""


def entry(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "display_name": f"peer-{number}",
        "public_key": a_key_text(number),
        "virtual_ip": f"100.64.0.{number}",
        **changes,
    }


def welcome(*peers: object, **changes: Any) -> dict[str, Any]:
    return {"virtual_ip": "100.64.0.9", "peers": list(peers), **changes}


def test_a_client_reads_what_the_service_writes() -> None:
    one, two = a_peer(1), a_peer(2)
    others = [v1.peer_entry(two).payload]
    assert parse_message(v1.welcome(one, others).payload.decode()) == Welcome(one.virtual_ip, (two,))
    assert parse_message(v1.peer_entry(two).payload.decode()) == Joined(two)
    assert parse_message(v1.peer_removal(two).payload.decode()) == Left(two.virtual_ip)


def test_the_service_reads_what_a_client_writes() -> None:
    assert JoinRequest.parse(v1.join('B\u00fcro "3" \U0001f98a', "a key")) == JoinRequest(
        'B\u00fcro "3" \U0001f98a', "a key"
    )


@pytest.mark.parametrize("message", [
    Welcome(ip_address("100.64.0.9"), ()), Welcome(ip_address("fd00::9"), (a_peer(1), NAMELESS)), Joined(NAMELESS),
    Joined(a_peer(1)), Left(ip_address("100.64.0.1")),
])  # fmt: skip
def test_a_message_is_shown_as_compact_json_in_ascii_that_is_read_as_the_same_message(message: Message) -> None:
    text = as_text(message)
    assert text.isascii()
    assert parse_message(text) == message
    assert json.dumps(json.loads(text), separators=(",", ":")) == text


@pytest.mark.parametrize("message", [
    1, [welcome()], None, {}, welcome(more=1), welcome(peers="x"), welcome(peers={}), welcome(1), welcome([]),
    welcome({"public_key": a_key_text(1), "virtual_ip": "100.64.0.1"}), welcome(entry(more=1)),
    welcome(entry(display_name=5)), welcome(entry(display_name="")), welcome(entry(display_name="x" * 129)),
    welcome(entry(public_key=None)), welcome(entry(public_key="x")), welcome(entry(virtual_ip=1)),
    welcome(virtual_ip=1), welcome(virtual_ip="fe80::1%x"), welcome(virtual_ip="FD00::1"), welcome(virtual_ip=""),
    {"virtual_ip": "100.64.0.1"}, {"removed_peer": None}, {"removed_peer": "x"}, {"removed_peer": "100.64.0.1", "x": 1},
])  # fmt: skip
def test_a_message_that_does_not_have_the_protocols_shape_is_a_bad_message(message: object) -> None:
    with pytest.raises(BadMessage):
        parse_message(json.dumps(message))


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "9" * 100_000, "NaN", '{"removed_peer":"1","removed_peer":"1"}']
)
def test_a_text_that_is_not_strict_json_is_a_bad_message(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_message(text)


def test_a_welcome_of_more_peers_than_a_client_takes_is_a_bad_message() -> None:
    with pytest.raises(BadMessage, match="100000"):
        parse_message(json.dumps(welcome(*[0] * (v1.MAX_PEERS + 1))))
