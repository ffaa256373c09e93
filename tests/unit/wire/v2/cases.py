"""Messages of protocol v2, valid and invalid, for the tests of the parsers and of docs/asyncapi.yaml."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

from harness.keys import a_key_text
from tests.builders import a_key, a_peer
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import Peer, PublicKey, parse_display_name
from wg_orchestrator.rfc6455.message import Text
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


# The messages of a client

LEAST = {"type": "join", "display_name": "laptop", "public_key": KEY}
MOST = {
    **LEAST,
    "endpoints": ["10.0.0.7:51820", "[fd00:1::7]:51820"],
    "virtual_ip": "100.64.0.3",
    "resume": {"session": "s3cret", "revision": 812},
}
UPDATE = {"type": "update", "display_name": "phone", "endpoints": ["10.0.0.9:51820"]}
APPLIED = {"type": "applied", "revision": 816, "paths": {"100.64.0.7": "direct", "fd00::6": "none"}}

WRONG_TEXTS: list[Any] = [None, True, 1, 1.5, [], ["x"], {}]
WRONG_REVISIONS: list[Any] = [None, True, False, "1", -1, 2**53, 10**30, 1.0, 1.5, 1e3, [], {}]
WRONG_IN_REQUESTS: dict[str, list[Any]] = {
    "type": [*WRONG_TEXTS, "Join", "leave", "welcome"],
    "display_name": WRONG_TEXTS,
    "public_key": WRONG_TEXTS,
    "revision": WRONG_REVISIONS,
    "endpoints": [
        None, True, 1, "10.0.0.7:51820", {}, {"0": "10.0.0.7:51820"}, [None], [1], [["10.0.0.7:1"]], [""], ["10.0.0.7"],
        ["10.0.0.7:51820", "example.org:51820"], ["[fe80::1%eth0]:1"], ["10.0.0.7:051820"], ["10.0.0.7:1"] * 9,
    ],
    "virtual_ip": [
        None, True, 5, [], {}, "", "x", "100.64.0", "100.64.0.3/32", "100.64.0.03", " 100.64.0.3", "fe80::1%eth0",
        "[fd00::1]", "100.64.0.3:1", "fd00::g", "\uff11.1.1.1",
    ],
    "paths": [
        None, True, 1, "x", [], ["100.64.0.7"], {"100.64.0.7": 1}, {"100.64.0.7": None}, {"100.64.0.7": {}},
        {"": "lan"}, {"x": "lan"}, {"100.64.0.7/32": "lan"}, {"fe80::1%eth0": "lan"}, {"100.64.0": "lan"},
        {f"100.64.0.{number}": "lan" for number in range(65)},
    ],
    "resume": [
        None, True, 1, "x", [], {}, {"session": "x"}, {"revision": 1}, {"session": "x" * 65, "revision": 1},
        *({"session": session, "revision": 1} for session in WRONG_TEXTS),
        *({"session": "x", "revision": revision} for revision in WRONG_REVISIONS),
    ],
}  # fmt: skip

# The messages of the service


def a_welcome(*others: bytes) -> Text:
    return notices.welcome(813, "s3cret", 60, ONE, NETWORK, iter(others))


NOTICES: list[tuple[Text, str, Message]] = [
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
MESSAGES: dict[str, dict[str, Any]] = {json.loads(text)["type"]: json.loads(text) for _, text, _ in NOTICES}
MESSAGES["welcome"] = json.loads(NOTICES[1][1])

WRONG_IN_NOTICES: dict[str, list[Any]] = {
    "type": WRONG_TEXTS,
    "revision": [None, True, "1", -1, 2**53, 1.0, 1.5, [], {}],
    "session": [*WRONG_TEXTS, "x" * 65],
    "grace": [None, True, "60", -1, 0.5, 2**53, []],
    "network": [
        *WRONG_TEXTS, "", "x", "100.64.0.0", "100.64.0.1/10", "100.64.0.0/010", "100.64.0.0/33", "FD00::/64",
        "fe80::%x/64", "100.64.0.0/255.192.0.0",
    ],
    "virtual_ip": [*WRONG_TEXTS, "", "x", "100.64.0.03", "100.64.0.1/32", "FD00::1", "fd00:0::1", "fe80::1%eth0"],
    "public_key": [*WRONG_TEXTS, "", KEY[:-1], KEY + "=", KEY + "\n", "A" * 43 + "="],
    "preshared_key": [*WRONG_TEXTS, "", KEY[:-1], KEY + "=", " " + KEY, "\u00e9" * 44, "AAAA"],
    "display_name": [*WRONG_TEXTS, "", "x" * 129],
    "proven": [None, 0, 1, "true", [], {}],
    "endpoint": [
        *WRONG_TEXTS, "", "x", "10.0.0.7", "10.0.0.7:0", "10.0.0.7:65536", "10.0.0.7:01", "example.org:1",
        "[FD00::1]:1",
        "[fd00:0::1]:1", "[fe80::1%eth0]:1", "[::ffff:10.0.0.7]:1", "[::ffff:a00:7]:1", "fd00::1:1",
    ],
    "peers": [None, True, 1, "x", {}, [None], [1], ["x"], [[]], [{}]],
    "peer": [None, True, 1, "x", [], {}],
}  # fmt: skip
WRONG_IN_NOTICES["endpoints"] = [
    None, True, 1, {}, "10.0.0.7:1", ["10.0.0.7:1"] * 65, *([endpoint] for endpoint in WRONG_IN_NOTICES["endpoint"])
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A message in which one field is wrong or missing. If it is missing, `value` is `MISSING`."""

    field: str
    value: Any
    message: dict[str, Any]


MISSING = object()


def spoilt(message: dict[str, Any], wrong: dict[str, list[Any]]) -> Iterator[Spoilt]:
    """For each field, also of a peer in the message: the message without it, and with each wrong value in its place."""
    for key in message:
        yield Spoilt(key, MISSING, {name: value for name, value in message.items() if name != key})
        for value in wrong[key]:
            yield Spoilt(key, value, {**message, key: value})
    if "peer" in message:
        for one in spoilt(message["peer"], wrong):
            yield replace(one, message={**message, "peer": one.message})
    if "peers" in message:
        first, *others = message["peers"]
        for one in spoilt(first, wrong):
            yield replace(one, message={**message, "peers": [*others, one.message]})
