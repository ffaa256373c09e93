import json
from typing import Any

import pytest

from tests.builders import a_peer
from tests.unit.wire.v2.cases import (
    ENTRY_ONE,
    ENTRY_SIX,
    ENTRY_TWO,
    MESSAGES,
    NOTICES,
    ONE,
    PRESHARED,
    SIX,
    TWO,
    WRONG_IN_NOTICES,
    a_welcome,
    spoilt,
)
from wg_orchestrator.rfc6455.message import Text
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.v2 import notices
from wg_orchestrator.wire.v2.notices import Message, Welcome, parse_message, peer_entry


@pytest.mark.parametrize(("sent", "text", "message"), NOTICES)
def test_each_message_is_written_with_the_protocols_keys_in_order_and_is_read_back(
    sent: Text, text: str, message: Message
) -> None:
    assert sent.payload == text.encode()
    assert sent.frame == Text(text.encode()).frame
    assert parse_message(text) == message


def test_a_peers_entry_is_its_json() -> None:
    assert [peer_entry(peer).decode() for peer in (ONE, TWO, SIX)] == [ENTRY_ONE, ENTRY_TWO, ENTRY_SIX]


def test_a_welcome_of_any_size_is_json() -> None:
    peers = tuple(a_peer(number) for number in range(1, 200))
    read = parse_message(a_welcome(*map(peer_entry, peers)).payload.decode())
    assert isinstance(read, Welcome)
    assert read.peers == peers


@pytest.mark.parametrize("kind", ["hello", "", "Welcome", "join", "revoked"])
def test_a_message_of_an_unknown_type_is_read_as_none(kind: str) -> None:
    assert parse_message(json.dumps({**MESSAGES["left"], "type": kind})) is None
    assert parse_message(json.dumps({"type": kind, "revision": "any"})) is None


@pytest.mark.parametrize("kind", MESSAGES)
def test_the_order_of_fields_and_unknown_fields_do_not_matter(kind: str) -> None:
    fields = MESSAGES[kind]
    turned = dict(reversed([*fields.items(), ("more", {"a": [1, None]})]))
    if "peer" in fields:
        turned["peer"] = dict(reversed([*fields["peer"].items(), ("os", "plan9")]))
    assert parse_message(json.dumps(turned)) == parse_message(json.dumps(fields))


@pytest.mark.parametrize(
    "message", [one.message for message in MESSAGES.values() for one in spoilt(message, WRONG_IN_NOTICES)]
)
def test_a_message_that_does_not_have_the_protocols_shape_is_a_bad_message(message: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        parse_message(json.dumps(message))


@pytest.mark.parametrize("text", [
    "", " ", "{", "null", "[]", "1", '"welcome"', "[" * 100_000, "9" * 100_000, "NaN", '{"type":"other","more":NaN}',
    '{"type":"other","type":"other"}', '{"type":"other","more":{"a":1,"a":1}}', '{"type":"other"} {}',
])  # fmt: skip
def test_a_text_that_is_not_a_strict_json_object_is_a_bad_message(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_message(text)


def test_a_welcome_of_more_peers_than_a_client_takes_is_a_bad_message() -> None:
    with pytest.raises(BadMessage, match="100000"):
        parse_message(json.dumps({**MESSAGES["welcome"], "peers": [0] * (notices.MAX_PEERS + 1)}))


@pytest.mark.parametrize("kind", ["welcome", "resumed", "prove"])
def test_the_repr_of_a_message_does_not_show_its_secret(kind: str) -> None:
    shown = repr(parse_message(json.dumps(MESSAGES[kind])))
    assert "s3cret" not in shown
    assert PRESHARED not in shown
