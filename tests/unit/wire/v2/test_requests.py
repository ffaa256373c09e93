import json
from ipaddress import ip_address

import pytest

from tests.unit.wire.v2.cases import (
    APPLIED,
    KEY,
    LAN,
    LEAST,
    MISSING,
    MOST,
    ULA,
    UPDATE,
    WRONG_IN_REQUESTS,
    spoilt,
)
from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.wire.errors import MalformedJoin, MalformedMessage
from wg_orchestrator.wire.v2 import requests
from wg_orchestrator.wire.v2.requests import Applied, JoinRequest, Resume, Update, parse_message

WRONG_JOINS: list[object] = [
    None, True, 1, "join", [], [LEAST], {}, UPDATE, APPLIED, {**LEAST, "type": "update"},
    *(one.message for one in spoilt(MOST, WRONG_IN_REQUESTS) if one.value is not MISSING or one.field in LEAST),
]  # fmt: skip
WRONG_MESSAGES: list[object] = [
    None, True, 1, "update", [], {}, LEAST, MOST, {"display_name": "x"}, {"revision": 1}, {"type": "prove"},
    *(one.message for one in spoilt(UPDATE, WRONG_IN_REQUESTS) if one.value is not MISSING or one.field == "type"),
    *(one.message for one in spoilt(APPLIED, WRONG_IN_REQUESTS) if one.value is not MISSING or one.field != "paths"),
]  # fmt: skip
NOT_STRICT = [
    "", " ", "{", "not json", "\ufeff{}", "[" * 100_000, '{"a":' * 100_000, "9" * 100_000,
    '{"type":"%s"} {}', '{"type":"%s",}',
    '{"type":"%s","type":"%s"}', '{"type":"%s","more":{"a":[{"b":1,"b":2}]}}', '{"type":"%s","more":NaN}',
    '{"type":"%s","more":[-Infinity]}', '{"type":"%s","more":"a\nb"}',
]  # fmt: skip


def test_a_join_is_written_with_the_protocols_keys_in_its_order_and_is_read() -> None:
    address, resume = ip_address("100.64.0.3"), Resume("s3cret", 812)
    text = requests.join("laptop", KEY, [LAN, ULA], address, resume)
    assert text == json.dumps(MOST, separators=(",", ":"))
    assert JoinRequest.parse(text) == JoinRequest("laptop", KEY, (LAN, ULA), address, resume)


def test_a_join_is_written_without_the_fields_that_are_not_given() -> None:
    text = requests.join("laptop", KEY)
    assert text == json.dumps(LEAST, separators=(",", ":"))
    assert JoinRequest.parse(text) == JoinRequest("laptop", KEY, None, None, None)


@pytest.mark.parametrize(("text", "message"), [
    ('{"type":"update","endpoints":["10.0.0.7:51820"]}', Update(None, (LAN,))),
    ('{"type":"update","endpoints":[]}', Update(None, ())),
    ('{"type":"update","display_name":"phone"}', Update("phone", None)),
    ('{"type":"update","display_name":"","endpoints":["[fd00:1::7]:51820"]}', Update("", (ULA,))),
    ('{"type":"update"}', Update(None, None)),
])  # fmt: skip
def test_an_update_has_only_the_fields_that_are_given(text: str, message: Update) -> None:
    assert requests.update(message.display_name, message.endpoints) == text
    assert parse_message(text) == message


@pytest.mark.parametrize("revision", [0, 816, 2**53 - 1])
def test_applied_is_written_with_a_revision_and_is_read(revision: int) -> None:
    text = requests.applied(revision)
    assert text == f'{{"type":"applied","revision":{revision}}}'
    assert parse_message(text) == Applied(revision)


def test_applied_says_how_other_peers_are_reached_and_kinds_that_are_not_known_are_left_out() -> None:
    paths = {ip_address("100.64.0.7"): PathKind.DIRECT, ip_address("fd00::6"): PathKind.NONE}
    text = requests.applied(816, paths)
    assert text == json.dumps(APPLIED, separators=(",", ":"))
    assert parse_message(text) == Applied(816, paths)
    later = {**APPLIED, "paths": {"100.64.0.7": "carrier pigeon", "FD00:0::6": "lan"}}
    assert parse_message(json.dumps(later)) == Applied(816, {ip_address("fd00::6"): PathKind.LAN})
    assert requests.applied(816, {}) == requests.applied(816)


@pytest.mark.parametrize("name", ['B\u00fcro "3" \U0001f98a', "\ud800", "a\nb"])
def test_any_name_can_be_sent_and_is_read_unchanged(name: str) -> None:
    assert JoinRequest.parse(requests.join(name, "any key").encode().decode()).display_name == name
    assert parse_message(requests.update(name).encode().decode()) == Update(name)
    raw = json.dumps({**LEAST, "display_name": name}, ensure_ascii=False)
    assert "\n" in name or JoinRequest.parse(raw).display_name == name


def test_the_order_of_fields_and_unknown_fields_do_not_matter() -> None:
    turned = dict(reversed([*MOST.items(), ("version", {"a": [1, None]})]))
    turned["resume"] = {"more": 1, "revision": 812, "session": "s3cret"}
    assert JoinRequest.parse(json.dumps(turned)) == JoinRequest.parse(json.dumps(MOST))
    assert parse_message('{"more":null,"revision":5,"display_name":7,"type":"applied"}') == Applied(5)
    assert parse_message('{"revision":null,"display_name":"x","type":"update"}') == Update("x")


def test_values_at_their_bounds_are_read() -> None:
    joining = {**MOST, "endpoints": ["10.0.0.7:0", "1.1.1.1:65536"] * 4, "resume": {"session": "x" * 64, "revision": 0}}
    request = JoinRequest.parse(json.dumps(joining))
    assert request.endpoints is not None
    assert [endpoint.port for endpoint in request.endpoints] == [0, 65536] * 4
    assert request.resume == Resume("x" * 64, 0)
    last = {"session": "", "revision": 2**53 - 1}
    assert JoinRequest.parse(json.dumps({**MOST, "resume": last})).resume == Resume("", 2**53 - 1)


@pytest.mark.parametrize("text", ["100.64.0.3", "fd00::1", "FD00:0::0001", "8.8.8.8", "::ffff:100.64.0.3"])
def test_a_client_may_wish_for_any_address_in_any_spelling(text: str) -> None:
    assert JoinRequest.parse(json.dumps({**LEAST, "virtual_ip": text})).virtual_ip == ip_address(text)


def test_the_repr_of_a_join_does_not_show_its_sessions_secret() -> None:
    assert "s3cret" not in repr(JoinRequest.parse(json.dumps(MOST)))


@pytest.mark.parametrize("wrong", WRONG_JOINS)
def test_any_other_first_message_is_a_malformed_join(wrong: object) -> None:
    with pytest.raises(MalformedJoin):
        JoinRequest.parse(json.dumps(wrong))


@pytest.mark.parametrize("wrong", WRONG_MESSAGES)
def test_any_other_later_message_is_malformed(wrong: object) -> None:
    with pytest.raises(MalformedMessage):
        parse_message(json.dumps(wrong))


@pytest.mark.parametrize("text", NOT_STRICT)
def test_json_is_read_strictly(text: str) -> None:
    with pytest.raises(MalformedJoin):
        JoinRequest.parse(
            text.replace('"%s"', f'"join","display_name":"x","public_key":"{KEY}"', 1).replace("%s", "join")
        )
    with pytest.raises(MalformedMessage):
        parse_message(text.replace("%s", "update"))


@pytest.mark.parametrize("key", ["type", "display_name", "public_key", "endpoints", "virtual_ip", "resume", "other"])
def test_no_key_of_a_join_may_come_twice(key: str) -> None:
    value = json.dumps(MOST.get(key, 1))
    with pytest.raises(MalformedJoin):
        JoinRequest.parse(json.dumps({**MOST, "other": 1})[:-1] + f', "{key}": {value}}}')
