"""Bad inputs that only protocol v2 has: in fields of the join, and in messages after it."""

import json
from typing import Any

from harness.keys import a_key_text
from tests.integration.bad_inputs.case import USUAL, WELCOMED, Case, Closed, request
from tests.integration.bad_inputs.frames import NUMBER, text

_HANDSHAKE = request(fields=USUAL.plus("Sec-WebSocket-Protocol: wg-orchestrator.v2"))
_KEY = a_key_text(NUMBER)
_FIELDS = f'"type": "join", "display_name": "x", "public_key": "{_KEY}"'
_LONGEST = "x" * 3000


def _join(**changes: Any) -> str:
    return json.dumps({"type": "join", "display_name": "x", "public_key": _KEY, **changes})


def _malformed(name: str, message: str) -> Case:
    return Case(f"v2: {name}", Closed(4501, "malformed join"), _HANDSHAKE, text(message))


def _welcomed(name: str, message: str) -> Case:
    return Case(f"v2: {name}", WELCOMED, _HANDSHAKE, text(message))


def _after(name: str, message: str, answer: Closed = Closed(4504, "malformed message")) -> Case:  # noqa: B008
    return Case(f"v2: {name}", answer, _HANDSHAKE, text(_join()), then=text(message))


def _harmless(name: str, message: str) -> Case:
    return _after(name, message, WELCOMED)


_NO_PATHS: dict[str, Any] = {
    "a list": [], "null": None, "a name for an address": {"x": "lan"}, "a number": {"100.64.0.1": 1},
    "too many": {f"100.64.0.{number}": "lan" for number in range(65)},
}  # fmt: skip
_NO_ENDPOINTS: dict[str, Any] = {
    "a text": "10.0.0.1:1", "null": None, "a number": 1, "an object": {}, "a number in a list": [1],
    "null in a list": [None], "a name": ["host:51820"], "a scope": ["[fe80::1%eth0]:51820"], "no port": ["10.0.0.1"],
    "an empty port": ["10.0.0.1:"], "a negative port": ["10.0.0.1:-1"], "a port in hexadecimal": ["10.0.0.1:0x10"],
    "an IPv6 address without brackets": ["fd00::1:51820"], "an IPv4 address in brackets": ["[10.0.0.1]:1"],
    "three numbers": ["10.0.1:1"], "a space": [" 10.0.0.1:1"], "an empty text": [""], "a long text": [_LONGEST],
    "a URL": ["udp://10.0.0.1:1"], "nine": [f"10.0.0.{number}:1" for number in range(9)],
}  # fmt: skip

_DROPPED = {
    "port 0": "10.0.0.1:0", "port 65536": "10.0.0.1:65536", "a port of 100 digits": f"10.0.0.1:{'9' * 100}",
    "no address": "0.0.0.0:1", "multicast": "224.0.0.1:1", "loopback": "127.0.0.1:1", "broadcast": "255.255.255.255:1",
    "link-local": "169.254.0.1:1", "the tenant's own network": "100.64.0.1:1", "a stranger": "8.8.8.8:53",
    "a stranger in IPv6": "[2606:4700::1]:53", "a mapped stranger": "[::ffff:8.8.8.8]:53",
    "a mapped loopback": "[::ffff:127.0.0.1]:1", "6to4": "[2002:0808:0808::1]:1", "NAT64": "[64:ff9b::808:808]:1",
    "IPv6 loopback": "[::1]:1", "IPv6 multicast": "[ff02::1]:1", "IPv6 link-local": "[fe80::1]:1",
}  # fmt: skip

_NO_REVISIONS: dict[str, Any] = {
    "none": None, "text": "1", "true": True, "negative": -1, "2^53": 2**53, "a fraction": 1.5, "a list": [1],
}  # fmt: skip

_NO_ADDRESSES: dict[str, Any] = {"null": None, "a name": "x", "empty": "", "a number": 1, "a scope": "fe80::1%1"}
_NO_RESUMES: dict[str, Any] = {"null": None, "a text": "x", "a list": [], "empty": {}}

V2 = [
    _malformed("no type", json.dumps({"display_name": "x", "public_key": _KEY})),
    _malformed("an unknown type", _join(type="hello")),
    _malformed("a type that is null", _join(type=None)),
    _malformed("an update before the join", '{"type": "update", "display_name": "y"}'),
    _malformed("applied before the join", '{"type": "applied", "revision": 1}'),
    _malformed("the type twice", f'{{{_FIELDS}, "type": "join"}}'),
    _malformed("the name twice", f'{{{_FIELDS}, "display_name": "y"}}'),
    _malformed("the endpoints twice", f'{{{_FIELDS}, "endpoints": [], "endpoints": []}}'),
    _malformed("a name that is null", _join(display_name=None)),
    _malformed("a key that is a number", _join(public_key=1)),
    Case("v2: an empty name", Closed(4502, "bad display name"), _HANDSHAKE, text(_join(display_name=""))),
    Case("v2: a bad key", Closed(4503, "bad public key"), _HANDSHAKE, text(_join(public_key="x"))),
    *(_malformed(f"endpoints: {name}", _join(endpoints=value)) for name, value in _NO_ENDPOINTS.items()),
    *(_welcomed(f"an endpoint that is dropped: {name}", _join(endpoints=[text])) for name, text in _DROPPED.items()),
    _welcomed("eight endpoints", _join(endpoints=[f"10.0.0.{number}:1" for number in range(8)])),
    *(_malformed(f"a wish that is {name}", _join(virtual_ip=value)) for name, value in _NO_ADDRESSES.items()),
    _welcomed("a wish outside of the network", _join(virtual_ip="10.0.0.1")),
    _welcomed("a wish of the other version", _join(virtual_ip="fd00::1")),
    *(_malformed(f"a resume that is {name}", _join(resume=value)) for name, value in _NO_RESUMES.items()),
    *(
        _malformed(f"a resumed revision that is {name}", _join(resume={"session": "x", "revision": value}))
        for name, value in _NO_REVISIONS.items()
    ),
    _malformed("a resume without a revision", _join(resume={"session": "x"})),
    _malformed("a session of 65 characters", _join(resume={"session": "x" * 65, "revision": 1})),
    _malformed("a session that is a number", _join(resume={"session": 1, "revision": 1})),
    _welcomed("a guessed session", _join(resume={"session": "x" * 32, "revision": 1})),
    _welcomed("a revision from the future", _join(resume={"session": "x", "revision": 2**53 - 1})),
    _welcomed("fields that nobody knows", _join(proven=True, revision=1, x={"y": [1]})),
    _after("a second join", _join()),
    _after("no JSON after the join", "x"),
    _after("an unknown type after the join", '{"type": "leave"}'),
    _after("no type after the join", '{"display_name": "y"}'),
    _after("an update with a name that is null", '{"type": "update", "display_name": null}'),
    _after("an update with a number for a name", '{"type": "update", "display_name": 1}'),
    _after("an update with a field twice", '{"type": "update", "display_name": "y", "display_name": "z"}'),
    _after(
        "an update with a bad name", '{"type": "update", "display_name": "\\u0000"}', Closed(4502, "bad display name")
    ),
    *(
        _after(f"an update with endpoints: {name}", json.dumps({"type": "update", "endpoints": value}))
        for name, value in _NO_ENDPOINTS.items()
    ),
    *(
        _after(f"an applied revision that is {name}", json.dumps({"type": "applied", "revision": value}))
        for name, value in _NO_REVISIONS.items()
    ),
    _after("applied without a revision", '{"type": "applied"}'),
    *(
        _after(f"applied with paths: {name}", json.dumps({"type": "applied", "revision": 1, "paths": value}))
        for name, value in _NO_PATHS.items()
    ),
    _harmless("applied with paths to nobody", '{"type": "applied", "revision": 1, "paths": {"9.9.9.9": "lan"}}'),
    _harmless("applied with an unknown path", '{"type": "applied", "revision": 1, "paths": {"100.64.0.1": "moon"}}'),
    _after("a long update", json.dumps({"type": "update", "display_name": "x" * 5000}), Closed(1009, "too big")),
    _harmless("an update that says nothing", '{"type": "update"}'),
    _harmless("an update of what is so already", '{"type": "update", "display_name": "x", "endpoints": ["8.8.8.8:1"]}'),
    _harmless("applied of the future", '{"type": "applied", "revision": 9007199254740991}'),
]
