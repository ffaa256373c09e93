"""docs/asyncapi.yaml agrees with the code: its schemas accept what the code writes, and reject what it refuses."""

import json
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from jsonschema import Draft7Validator, FormatChecker

from harness.keys import a_key_text
from tests.builders import a_peer
from tests.fuzzing import fuzzed
from tests.join_texts import JOIN_TEXTS
from tests.unit.wire.v2.cases import (
    APPLIED,
    KEY,
    LEAST,
    MESSAGES,
    MISSING,
    MOST,
    NOTICES,
    ULA,
    UPDATE,
    WRONG_IN_NOTICES,
    WRONG_IN_REQUESTS,
    Spoilt,
    spoilt,
)
from tests.unit.wire.v2.test_fuzz_messages import MESSAGE_TEXTS
from wg_orchestrator.domain.errors import InvalidDisplayName, InvalidPublicKey
from wg_orchestrator.domain.peer import PublicKey, parse_display_name
from wg_orchestrator.rfc6455.message import Text
from wg_orchestrator.wire import subprotocol, v1
from wg_orchestrator.wire.errors import BadMessage, MalformedJoin, MalformedMessage
from wg_orchestrator.wire.v2 import notices, requests

DOCUMENT = yaml.safe_load((Path(__file__).parents[3] / "docs" / "asyncapi.yaml").read_text())
COMPONENTS = DOCUMENT["components"]
MESSAGES_OF = {version: channel["messages"] for version, channel in DOCUMENT["channels"].items()}


def at(reference: str) -> Any:
    """The part of the document that a reference leads to."""
    found = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def schema(reference: str) -> Draft7Validator:
    """The schema of a message's payload, by JSON Schema's draft 7, as in AsyncAPI. Formats are checked, too."""
    payload = at(reference)["payload"]
    return Draft7Validator({**payload, "components": COMPONENTS}, format_checker=FormatChecker(["ipv4", "ipv6"]))


SCHEMAS = {
    version: {name: schema(message["$ref"]) for name, message in messages.items()}
    for version, messages in MESSAGES_OF.items()
}


def takers(version: str, message: object) -> set[str]:
    """The names of the messages whose schemas accept `message`."""
    return {name for name, one in SCHEMAS[version].items() if one.is_valid(message)}


# The document


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key == "$ref" else references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def messages_of(channels: dict[str, Iterable[str]]) -> set[str]:
    """References to the messages of these names, by channel."""
    return {f"#/channels/{version}/messages/{name}" for version, names in channels.items() for name in names}


def test_each_reference_leads_to_something_and_each_component_is_referred_to() -> None:
    named = set(references(DOCUMENT))
    assert all(at(reference) for reference in named)
    components = {f"#/components/{kind}/{name}" for kind, group in COMPONENTS.items() for name in group}
    assert components | messages_of(MESSAGES_OF) <= named


def test_each_schema_is_valid_json_schema() -> None:
    for one in COMPONENTS["schemas"].values():
        Draft7Validator.check_schema(one)


def test_the_channels_are_the_versions_of_the_protocol() -> None:
    headers = [channel["bindings"]["ws"]["headers"]["properties"] for channel in DOCUMENT["channels"].values()]
    assert [one["Sec-WebSocket-Protocol"]["const"] for one in headers] == [subprotocol.V1, subprotocol.V2]


def test_the_service_receives_the_messages_of_clients_and_sends_all_others() -> None:
    said: dict[str, set[str]] = {"receive": set(), "send": set()}
    for operation in DOCUMENT["operations"].values():
        said[operation["action"]] |= set(references(operation["messages"]))
        said["send"] |= set(references(operation.get("reply", {}).get("messages", [])))
    clients = messages_of({"v1": ["join"], "v2": ["join", "update", "applied"]})
    assert said == {"receive": clients, "send": messages_of(MESSAGES_OF) - clients}


# Schemas accept what the code writes


@pytest.mark.parametrize("sent", [sent for sent, _, _ in NOTICES])
def test_only_the_schema_of_its_type_accepts_a_message_of_the_service(sent: Text) -> None:
    message = json.loads(sent.payload)
    assert takers("v2", message) == {message["type"]}
    assert list(message) == list(COMPONENTS["schemas"][f"v2{message['type'].capitalize()}"]["properties"])


@pytest.mark.parametrize("text", [
    requests.join("x", KEY), requests.join("e\u0301" * 128, KEY, []),
    requests.join("x", KEY, [ULA] * 8, ip_address("fd00::1"), requests.Resume("", 0)),
    json.dumps(LEAST), json.dumps({**MOST, "more": None}),
    json.dumps({**MOST, "endpoints": ["10.0.0.7:0", "255.255.255.255:99999", "[::FFFF:10.0.0.7]:1"]}),
    requests.update(), requests.update("x"), requests.update(None, []), requests.update("x", [ULA]),
    requests.applied(0), requests.applied(2**53 - 1),
])  # fmt: skip
def test_only_the_schema_of_its_type_accepts_a_message_of_a_client(text: str) -> None:
    assert takers("v2", json.loads(text)) == {json.loads(text)["type"]}


def test_each_message_of_v1_is_accepted_by_its_schema() -> None:
    entry = v1.peer_entry(a_peer(2)).payload
    assert takers("v1", json.loads(v1.join("x", KEY))) == {"join"}
    assert takers("v1", json.loads(v1.welcome(a_peer(1), [entry]).payload)) == {"welcome"}
    assert takers("v1", json.loads(entry)) == {"joined", "join"}  # A join may have more fields than it needs.
    assert takers("v1", json.loads(v1.peer_removal(a_peer(1, "fd00::1")).payload)) == {"left"}


# Schemas reject what the code refuses


def takes(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except (MalformedJoin, MalformedMessage, BadMessage, InvalidDisplayName, InvalidPublicKey):
        return False
    return True


def check_join(text: str) -> None:
    """Check a join as the service does: first by the parser, then by the rules for names and keys."""
    _check(requests.JoinRequest.parse(text))


def check_v1_join(text: str) -> None:
    _check(v1.JoinRequest.parse(text))


def _check(request: requests.JoinRequest | v1.JoinRequest) -> None:
    parse_display_name(request.display_name)
    PublicKey.parse(request.public_key)


def check_later(text: str) -> None:
    message = requests.parse_message(text)
    if isinstance(message, requests.Update) and message.display_name is not None:
        parse_display_name(message.display_name)


BEYOND_SCHEMAS: dict[str, list[Any]] = {
    "revision": [1.0, 1000.0],  # To JSON Schema, both are integers.
    "resume": [{"session": "x", "revision": 1.0}, {"session": "x", "revision": 1000.0}],
    "virtual_ip": ["fd00:0::1"],
    "network": ["100.64.0.1/10", "100.64.0.0/33"],
    "public_key": ["A" * 43 + "="],  # A point of low order.
    "endpoint": ["[fd00:0::1]:1", "[::ffff:a00:7]:1"],
    "endpoints": [["[fd00:0::1]:1"], ["[::ffff:a00:7]:1"]],
}
"""Values that the parsers refuse and the schemas accept, by field. The schemas' descriptions state these rules."""

SPOILT = [
    *((check_join, "join", one) for one in spoilt(MOST, WRONG_IN_REQUESTS)),
    *((check_later, "update", one) for one in spoilt(UPDATE, WRONG_IN_REQUESTS)),
    *((check_later, "applied", one) for one in spoilt(APPLIED, WRONG_IN_REQUESTS)),
    *((notices.parse_message, name, one) for name in MESSAGES for one in spoilt(MESSAGES[name], WRONG_IN_NOTICES)),
]


@pytest.mark.parametrize(("parse", "name", "case"), SPOILT)
def test_a_schema_rejects_what_the_parser_refuses_and_nothing_else(
    parse: Callable[[str], object], name: str, case: Spoilt
) -> None:
    taken = takes(parse, json.dumps(case.message))
    assert not taken or case.value is MISSING
    beyond = repr(case.value) in map(repr, BEYOND_SCHEMAS.get(case.field, ()))
    assert SCHEMAS["v2"][name].is_valid(case.message) == (taken or beyond)


ENTRY = {"display_name": "x", "public_key": KEY, "virtual_ip": "100.64.0.1"}
WELCOME = {"virtual_ip": "100.64.0.2", "peers": [ENTRY]}


@pytest.mark.parametrize("message", [
    {}, [], None, {"virtual_ip": "100.64.0.1"}, {**WELCOME, "virtual_ip": "x"}, {**WELCOME, "virtual_ip": None},
    {**WELCOME, "peers": {}}, {**WELCOME, "peers": [{}]}, {**WELCOME, "more": 1}, {**ENTRY, "endpoints": []},
    {**ENTRY, "display_name": ""}, {**ENTRY, "display_name": "x" * 129}, {**ENTRY, "public_key": KEY[:-1]},
    {**ENTRY, "virtual_ip": "100.64.0"}, {"removed_peer": None}, {"removed_peer": "FD00::1"},
    {"removed_peer": "fe80::1%x"}, {"removed_peer": "100.64.0.1", "more": 1},
])  # fmt: skip
def test_v1s_schemas_reject_what_a_client_refuses(message: object) -> None:
    assert not takes(v1.parse_message, json.dumps(message))
    assert takers("v1", message) <= {"join"}


@fuzzed(300)
@given(MESSAGE_TEXTS)
def test_a_schema_accepts_whatever_the_parser_accepts(text: str) -> None:
    """So the parser refuses whatever a schema rejects."""
    for parse, kinds in (
        (check_join, {"join"}),
        (check_later, {"update", "applied"}),
        (notices.parse_message, set(MESSAGES)),
    ):
        if takes(parse, text) and (message := json.loads(text))["type"] in kinds:
            assert message["type"] in takers("v2", message)


@fuzzed(300)
@given(JOIN_TEXTS)
def test_v1s_schema_accepts_whatever_v1s_parser_accepts(text: str) -> None:
    if takes(check_v1_join, text):
        assert "join" in takers("v1", json.loads(text))


@pytest.mark.parametrize("number", range(50))
def test_every_key_matches_the_schemas_pattern(number: int) -> None:
    assert takers("v1", {"display_name": "x", "public_key": a_key_text(number)}) == {"join"}
