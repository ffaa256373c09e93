import json
from ipaddress import ip_address

import pytest

from harness.keys import a_key_text
from tests.builders import a_peer
from wg_orchestrator.domain.peer import Peer, PublicKey, parse_display_name
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.wire.v1 import JoinRequest, MalformedJoin, peer_entry, peer_removal, welcome

KEY = a_key_text(1)


def test_a_join_message_is_read() -> None:
    request = JoinRequest.parse(f'{{"display_name": "laptop", "public_key": "{KEY}"}}')
    assert (request.display_name, request.public_key) == ("laptop", KEY)


def test_unknown_fields_are_ignored() -> None:
    JoinRequest.parse(f'{{"version": {{"a": [1]}}, "public_key": "{KEY}", "display_name": "x"}}')


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "null", "[]", '"x"', "1", "{", "{}", "not json", "\ufeff{}",
        '{"display_name": "x"}', '{"public_key": "x"}',
        '{"display_name": 1, "public_key": "x"}', '{"display_name": "x", "public_key": null}',
        '{"display_name": ["x"], "public_key": "x"}', '{"display_name": "x", "public_key": {}}',
        '{"display_name": "x", "public_key": "x"} {}', '{"display_name": "x", "public_key": "x",}',
        '{"display_name": "x", "display_name": "x", "public_key": "x"}',
        '{"display_name": "x", "public_key": "x", "public_key": "x"}',
        '{"display_name": "x", "public_key": "x", "more": {"a": 1, "a": 2}}',
        '{"display_name": "x", "public_key": "x", "more": NaN}',
        '{"display_name": "x", "public_key": "x", "more": -Infinity}',
        '{"display_name": "a\nb", "public_key": "x"}',
        "[" * 4000, '{"a":' * 800,
    ],
)  # fmt: skip
def test_any_other_text_is_a_malformed_join(text: str) -> None:
    with pytest.raises(MalformedJoin):
        JoinRequest.parse(text)


def test_the_messages_have_the_protocols_keys_in_its_order() -> None:
    one, two = a_peer(1), a_peer(2)
    entry = f'{{"display_name":"peer-2","public_key":"{two.public_key}","virtual_ip":"100.64.0.2"}}'.encode()
    assert welcome(one, [entry]).payload == b'{"virtual_ip":"100.64.0.1","peers":[' + entry + b"]}"
    assert welcome(one, []).payload == b'{"virtual_ip":"100.64.0.1","peers":[]}'
    assert peer_entry(two).payload == entry
    assert peer_removal(two).payload == b'{"removed_peer":"100.64.0.2"}'


def test_a_welcome_of_any_size_is_json() -> None:
    peers = [a_peer(number) for number in range(1, 100)]
    read = json.loads(welcome(a_peer(200), (peer_entry(peer).payload for peer in peers)).payload)
    assert [peer["virtual_ip"] for peer in read["peers"]] == [str(peer.virtual_ip) for peer in peers]


def test_ipv6_addresses_are_in_their_canonical_form() -> None:
    peer = Peer(parse_display_name("x"), PublicKey.parse(KEY), ip_address("fd00:0::1"))
    assert peer_removal(peer).payload == b'{"removed_peer":"fd00::1"}'


def test_a_message_is_framed_as_utf8() -> None:
    name = 'Büro "3" 🦊'
    text = peer_entry(Peer(parse_display_name(name), PublicKey.parse(KEY), ip_address("100.64.0.1")))
    assert text.frame[0] == 0x81
    assert text.frame[-len(text.payload) :] == text.payload
    assert JoinRequest.parse(text.payload.decode()).display_name == name


def test_notices_are_written_in_order_and_from_any_one_on() -> None:
    texts = [Text(b"%d" % number) for number in range(3)]
    assert Notices(texts).wire == b"\x81\x010\x81\x011\x81\x012"
    assert Notices(texts).after(2).wire == texts[2].frame
    assert Notices(texts).after(3).wire == b""
