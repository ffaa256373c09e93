import json
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from harness.keys import a_key_text
from tests.builders import a_key, a_peer
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import Peer, PublicKey, parse_display_name
from wg_orchestrator.rfc6455.message import Text
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.v2 import notices
from wg_orchestrator.wire.v2.notices import (
    Joined,
    Left,
    Message,
    Prove,
    Proven,
    Resumed,
    Updated,
    Welcome,
    parse_message,
    peer_entry,
)

NETWORK = ip_network("100.64.0.0/10")
LAN, ULA, SEEN = (Endpoint.parse(text) for text in ("10.0.0.7:51820", "[fd00:1::7]:51820", "203.0.113.9:31337"))
ONE = a_peer(1)
TWO = replace(a_peer(2), endpoints=(SEEN, LAN, ULA), proven=True)
SIX = Peer(parse_display_name('B\u00fcro "3" \U0001f98a'), a_key(6), ip_address("fd00::6"), (ULA,))
KEY, PRESHARED = a_key_text(1), a_key_text(9)

ENTRY_ONE = f'{{"display_name":"peer-1","public_key":"{KEY}","virtual_ip":"100.64.0.1","endpoints":[],"proven":false}}'
ENTRY_TWO = (
    f'{{"display_name":"peer-2","public_key":"{TWO.public_key}","virtual_ip":"100.64.0.2",'
    '"endpoints":["203.0.113.9:31337","10.0.0.7:51820","[fd00:1::7]:51820"],"proven":true}'
)
ENTRY_SIX = (
    f'{{"display_name":"B\u00fcro \\"3\\" \U0001f98a","public_key":"{SIX.public_key}","virtual_ip":"fd00::6",'
    '"endpoints":["[fd00:1::7]:51820"],"proven":false}'
)
PLACE = '"revision":813,"session":"s3cret","grace":60,"virtual_ip":"100.64.0.1","network":"100.64.0.0/10"'


def a_welcome(*others: bytes) -> Text:
    return notices.welcome(813, "s3cret", 60, ONE, NETWORK, iter(others))


EXACT: list[tuple[Text, str, Message]] = [
    (
        a_welcome(),
        f'{{"type":"welcome",{PLACE},"peers":[]}}',
        Welcome(813, "s3cret", 60, ONE.virtual_ip, NETWORK, ()),
    ),
    (
        a_welcome(peer_entry(TWO), peer_entry(SIX)),
        f'{{"type":"welcome",{PLACE},"peers":[{ENTRY_TWO},{ENTRY_SIX}]}}',
        Welcome(813, "s3cret", 60, ONE.virtual_ip, NETWORK, (TWO, SIX)),
    ),
    (
        a_welcome(peer_entry(TWO) + b"," + peer_entry(SIX), peer_entry(TWO)),
        f'{{"type":"welcome",{PLACE},"peers":[{ENTRY_TWO},{ENTRY_SIX},{ENTRY_TWO}]}}',
        Welcome(813, "s3cret", 60, ONE.virtual_ip, NETWORK, (TWO, SIX, TWO)),
    ),
    (
        notices.welcome(7, "", 0, SIX, ip_network("fd00::/64"), []),
        '{"type":"welcome","revision":7,"session":"","grace":0,"virtual_ip":"fd00::6","network":"fd00::/64","peers":[]}',
        Welcome(7, "", 0, SIX.virtual_ip, ip_network("fd00::/64"), ()),
    ),
    (
        notices.joined(814, peer_entry(SIX)),
        f'{{"type":"joined","revision":814,"peer":{ENTRY_SIX}}}',
        Joined(814, SIX),
    ),
    (
        notices.updated(815, peer_entry(TWO)),
        f'{{"type":"updated","revision":815,"peer":{ENTRY_TWO}}}',
        Updated(815, TWO),
    ),
    (
        notices.left(2**53 - 1, TWO),
        f'{{"type":"left","revision":9007199254740991,"public_key":"{TWO.public_key}","virtual_ip":"100.64.0.2"}}',
        Left(2**53 - 1, TWO.public_key, TWO.virtual_ip),
    ),
    (
        notices.resumed(813, "s3cret", 60, ONE, NETWORK),
        f'{{"type":"resumed",{PLACE}}}',
        Resumed(813, "s3cret", 60, ONE.virtual_ip, NETWORK),
    ),
    (
        notices.prove(PublicKey.parse(KEY), PRESHARED, [SEEN]),
        f'{{"type":"prove","public_key":"{KEY}","preshared_key":"{PRESHARED}","endpoints":["203.0.113.9:31337"]}}',
        Prove(PublicKey.parse(KEY), PRESHARED, (SEEN,)),
    ),
    (
        notices.proven(SEEN),
        '{"type":"proven","endpoint":"203.0.113.9:31337"}',
        Proven(SEEN),
    ),
]  # fmt: skip
MESSAGES: dict[str, dict[str, Any]] = {json.loads(text)["type"]: json.loads(text) for _, text, _ in EXACT}
MESSAGES["welcome"] = json.loads(EXACT[1][1])


@pytest.mark.parametrize(("sent", "text", "message"), EXACT)
def test_each_message_has_the_protocols_keys_in_its_order_and_is_read_as_it_was(
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
def test_a_type_that_is_not_known_is_none(kind: str) -> None:
    assert parse_message(json.dumps({**MESSAGES["left"], "type": kind})) is None
    assert parse_message(json.dumps({"type": kind, "revision": "any"})) is None


@pytest.mark.parametrize("kind", MESSAGES)
def test_the_order_of_fields_and_fields_that_are_not_known_do_not_matter(kind: str) -> None:
    fields = MESSAGES[kind]
    turned = dict(reversed([*fields.items(), ("more", {"a": [1, None]})]))
    if "peer" in fields:
        turned["peer"] = dict(reversed([*fields["peer"].items(), ("os", "plan9")]))
    assert parse_message(json.dumps(turned)) == parse_message(json.dumps(fields))


NO_TEXTS: list[Any] = [None, True, 1, 1.5, [], {}]
WRONG: dict[str, list[Any]] = {
    "type": NO_TEXTS,
    "revision": [None, True, "1", -1, 2**53, 1.0, 1.5, [], {}],
    "session": [*NO_TEXTS, "x" * 65],
    "grace": [None, True, "60", -1, 0.5, 2**53, []],
    "network": [
        *NO_TEXTS, "", "x", "100.64.0.0", "100.64.0.1/10", "100.64.0.0/010", "100.64.0.0/33", "FD00::/64",
        "fe80::%x/64", "100.64.0.0/255.192.0.0",
    ],
    "virtual_ip": [*NO_TEXTS, "", "x", "100.64.0.03", "100.64.0.1/32", "FD00::1", "fd00:0::1", "fe80::1%eth0"],
    "public_key": [*NO_TEXTS, "", KEY[:-1], KEY + "=", KEY + "\n", "A" * 43 + "="],
    "preshared_key": [*NO_TEXTS, "", KEY[:-1], KEY + "=", " " + KEY, "\u00e9" * 44, "AAAA"],
    "display_name": [*NO_TEXTS, "", "x" * 129],
    "proven": [None, 0, 1, "true", [], {}],
    "endpoint": [
        *NO_TEXTS, "", "x", "10.0.0.7", "10.0.0.7:0", "10.0.0.7:65536", "10.0.0.7:01", "example.org:1", "[FD00::1]:1",
        "[fd00:0::1]:1", "[fe80::1%eth0]:1", "[::ffff:10.0.0.7]:1", "[::ffff:a00:7]:1", "fd00::1:1",
    ],
    "peers": [None, True, 1, "x", {}, [None], [1], ["x"], [[]], [{}]],
    "peer": [None, True, 1, "x", [], {}],
}  # fmt: skip
WRONG["endpoints"] = [
    None, True, 1, {}, "10.0.0.7:1", ["10.0.0.7:1"] * 65, *([endpoint] for endpoint in WRONG["endpoint"])
]  # fmt: skip


def spoilt() -> list[Any]:
    """Each message with each of its fields missing, and with each wrong value in its place; and so each entry in it."""
    cases = []
    for kind, fields in MESSAGES.items():
        cases += [pytest.param(one, id=f"{kind}-{why}") for why, one in _spoilt(fields)]
        if "peer" in fields:
            cases += [
                pytest.param({**fields, "peer": one}, id=f"{kind}-peer-{why}") for why, one in _spoilt(fields["peer"])
            ]
        if "peers" in fields:
            first, *others = fields["peers"]
            cases += [
                pytest.param({**fields, "peers": [first, one, *others]}, id=f"{kind}-peers-{why}")
                for why, one in _spoilt(first)
            ]
    return cases


def _spoilt(fields: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    missing = [(f"no-{key}", {name: value for name, value in fields.items() if name != key}) for key in fields]
    wrong = [(f"{key}-{number}", {**fields, key: value}) for key in fields for number, value in enumerate(WRONG[key])]
    return missing + wrong


@pytest.mark.parametrize("message", spoilt())
def test_what_has_not_the_protocols_shape_is_a_bad_message(message: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        parse_message(json.dumps(message))


@pytest.mark.parametrize("text", [
    "", " ", "{", "null", "[]", "1", '"welcome"', "[" * 100_000, "9" * 100_000, "NaN", '{"type":"other","more":NaN}',
    '{"type":"other","type":"other"}', '{"type":"other","more":{"a":1,"a":1}}', '{"type":"other"} {}',
])  # fmt: skip
def test_what_is_no_strict_json_object_is_a_bad_message(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_message(text)


def test_a_welcome_of_more_peers_than_a_client_takes_is_a_bad_message() -> None:
    with pytest.raises(BadMessage, match="100000"):
        parse_message(json.dumps({**MESSAGES["welcome"], "peers": [0] * (notices.MAX_PEERS + 1)}))


@pytest.mark.parametrize("kind", ["welcome", "resumed", "prove"])
def test_secrets_are_not_shown(kind: str) -> None:
    shown = repr(parse_message(json.dumps(MESSAGES[kind])))
    assert "s3cret" not in shown
    assert PRESHARED not in shown
