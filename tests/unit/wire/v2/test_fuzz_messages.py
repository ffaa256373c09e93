"""From any text, each side reads valid values or raises a typed refusal. What it has read, it can write again."""

import json
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.keys import a_key_text
from tests.fuzzing import fuzzed
from tests.join_texts import JOIN_TEXTS
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.errors import InvalidDisplayName, InvalidPublicKey
from wg_orchestrator.domain.peer import Peer, PublicKey, parse_display_name
from wg_orchestrator.wire.errors import BadMessage, MalformedJoin, MalformedMessage
from wg_orchestrator.wire.v2 import notices, requests
from wg_orchestrator.wire.v2.notices import Joined, Updated, Welcome
from wg_orchestrator.wire.v2.requests import Applied, JoinRequest, Update

ADDRESS, NETWORK = ip_address("100.64.0.1"), ip_network("100.64.0.0/10")

_ANY: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=70)),
    lambda inner: st.one_of(st.lists(inner, max_size=9), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=9,
)
_TYPES = st.sampled_from(
    ["join", "update", "applied", "welcome", "joined", "updated", "left", "resumed", "prove", "proven", "x"]
)
_ENDPOINTS = st.one_of(
    st.sampled_from(["10.0.0.7:51820", "[fd00:1::7]:1", "[::ffff:10.0.0.7]:1", "10.0.0.7:0", "10.0.0.7:70000", "x:1"]),
    st.builds(Endpoint, st.ip_addresses(), st.integers(0, 70000)).map(str),
    st.text("0123456789abcdef:.[]%-", max_size=30),
)
_ADDRESSES = st.one_of(st.ip_addresses().map(str), st.sampled_from(["fe80::1%x", "FD00::1", ""]))
_REVISIONS = st.one_of(st.integers(0, 2**53 - 1), st.sampled_from([-1, 2**53, 2.0, True]))
_KEYS = st.integers(0, 1000).map(a_key_text)
_NAMES = st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), min_size=1, max_size=130)
_PEERS = st.fixed_dictionaries(
    {
        "display_name": _NAMES,
        "public_key": _KEYS,
        "virtual_ip": _ADDRESSES,
        "endpoints": st.lists(_ENDPOINTS, max_size=3),
        "proven": st.booleans(),
    },
    optional={"more": _ANY},
)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "display_name": _NAMES,
    "public_key": _KEYS,
    "endpoints": st.lists(_ENDPOINTS, max_size=9),
    "virtual_ip": _ADDRESSES,
    "resume": st.fixed_dictionaries({"session": st.text(max_size=66), "revision": _REVISIONS}),
    "revision": _REVISIONS,
    "session": st.text(max_size=66),
    "grace": _REVISIONS,
    "network": st.sampled_from(["100.64.0.0/10", "fd00::/8", "100.64.0.1/10"]),
    "peers": st.lists(_PEERS, max_size=3),
    "peer": _PEERS,
    "preshared_key": _KEYS,
    "endpoint": _ENDPOINTS,
    "more": _ANY,
}
_OBJECTS = st.builds(
    lambda kind, fields: {"type": kind, **fields}, _TYPES, st.fixed_dictionaries({}, optional=_FIELDS)
).flatmap(lambda fields: st.sampled_from([fields, *({**fields, key: None} for key in fields)]))
_WHOLE = st.builds(lambda kind, fields: {"type": kind, **fields}, _TYPES, st.fixed_dictionaries(_FIELDS))
MESSAGE_TEXTS = st.one_of(
    st.builds(lambda fields, ascii_only: json.dumps(fields, ensure_ascii=ascii_only), _OBJECTS, st.booleans()),
    _WHOLE.map(json.dumps),
    st.builds(
        lambda text, at, more: text[:at] + more + text[at:],
        _WHOLE.map(json.dumps),
        st.integers(0, 900),
        st.text(max_size=2),
    ),
    _ANY.map(json.dumps),
    JOIN_TEXTS,
    JOIN_TEXTS.map(lambda text: '{"type":"join",' + text[1:]),
)


def read(parse: Callable[[str], Any], text: str) -> Any:
    """What `parse` reads from the text; None if it refuses the text. Any other error is raised."""
    try:
        return parse(text)
    except (MalformedJoin, MalformedMessage, BadMessage):
        return None


@fuzzed(500)
@given(MESSAGE_TEXTS)
def test_a_join_is_refused_or_can_be_written_and_is_read_as_the_same_join(text: str) -> None:
    request = read(JoinRequest.parse, text)
    if request is None:
        return
    assert json.loads(text)["type"] == "join"
    assert request.endpoints is None or len(request.endpoints) <= 8
    assert request.resume is None or (len(request.resume.session) <= 64 and 0 <= request.resume.revision < 2**53)
    written = requests.join(
        request.display_name, request.public_key, request.endpoints, request.virtual_ip, request.resume
    )
    assert JoinRequest.parse(written) == request


@fuzzed(500)
@given(MESSAGE_TEXTS)
def test_another_client_reads_a_peer_exactly_as_its_join_was_accepted(text: str) -> None:
    request = read(JoinRequest.parse, text)
    try:
        name, key = parse_display_name(request.display_name), PublicKey.parse(request.public_key)
    except (AttributeError, InvalidDisplayName, InvalidPublicKey):
        return
    peer = Peer(name, key, ADDRESS, tuple(one.unmapped() for one in request.endpoints or () if 0 < one.port < 65536))
    entry = notices.peer_entry(peer)
    sent = [
        notices.joined(1, entry), notices.updated(1, entry), notices.welcome(1, "s", 60, peer, NETWORK, [entry])
    ]  # fmt: skip
    texts = [message.payload.decode("utf-8", errors="strict") for message in sent]
    assert [len(one.splitlines()) for one in texts] == [1, 1, 1]
    place = (1, "s", 60, ADDRESS, NETWORK)
    assert list(map(notices.parse_message, texts)) == [Joined(1, peer), Updated(1, peer), Welcome(*place, (peer,))]


@fuzzed(500)
@given(MESSAGE_TEXTS)
def test_a_later_message_is_refused_or_can_be_written_and_is_read_as_the_same_message(text: str) -> None:
    match read(requests.parse_message, text):
        case Update(name, endpoints) as message:
            assert requests.parse_message(requests.update(name, endpoints)) == message
        case Applied(revision) as message:
            assert requests.parse_message(requests.applied(revision)) == message
        case _:
            pass


@fuzzed(500)
@given(MESSAGE_TEXTS)
def test_a_client_refuses_a_message_or_reads_it_as_the_type_that_it_names(text: str) -> None:
    message = read(notices.parse_message, text)
    if message is not None:
        assert json.loads(text)["type"] == type(message).__name__.lower()
