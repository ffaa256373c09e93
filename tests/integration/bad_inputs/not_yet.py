"""What the service is about to answer, and what it answers wrongly today."""

from dataclasses import dataclass
from typing import Any

from tests.integration.bad_inputs.case import HANDSHAKE, USUAL, Case, Closed, Dropped, Status, request
from tests.integration.bad_inputs.frames import CONTINUATION, TEXT, frame


@dataclass(frozen=True)
class NotYet:
    """A case that needs a service with these settings, or with this many handshakes of the same source before it."""

    case: Case
    settings: dict[str, Any]
    after: int = 0

    def __str__(self) -> str:
        return self.case.name


_LARGE = f"X: {'y' * 17_000}"
_IMPATIENT = {"request_timeout": 0.2}
_FRAGMENTED = {"max_fragments": 8}

NOT_YET = [
    NotYet(Case("a head of 17 KB in one field", Status(431), request(fields=USUAL.plus(_LARGE))), {}),
    NotYet(Case("a head of 17 KB in many fields", Status(431), request(fields=USUAL.plus(*["X: y"] * 4000))), {}),
    NotYet(Case("a head of 17 KB in its target", Status(431), request(target="/tenants/" + "x" * 17_000)), {}),
    NotYet(Case("a head of 17 KB that never ends", Status(431), request(fields=USUAL.plus(_LARGE))[:-2]), {}),
    NotYet(Case("a client that says nothing", Dropped(), b""), _IMPATIENT),
    NotYet(Case("a head without its end", Dropped(), HANDSHAKE[:-2]), _IMPATIENT),
    NotYet(Case("a request line without its end", Dropped(), HANDSHAKE[:8]), _IMPATIENT),
    NotYet(
        Case("a body that never comes", Dropped(), request("POST", fields=USUAL.plus("Content-Length: 9"))), _IMPATIENT
    ),
    NotYet(
        Case("more fragments than allowed", Closed(1008, "policy"),
             frames=frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b" ", fin=False) * 8),
        _FRAGMENTED,
    ),
    NotYet(
        Case("more empty fragments than allowed", Closed(1008, "policy"),
             frames=frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 8),
        _FRAGMENTED,
    ),
    NotYet(Case("a handshake too many from one source", Status(429)), {"max_handshake_rate_per_source": 0.2}, after=2),
    NotYet(Case("a connection too many from one source", Status(429)), {"max_connections_per_source": 2}, after=2),
]  # fmt: skip

FAULTS = [
    Case("an origin with half an IPv6 address", Status(403), request(fields=USUAL.plus("Origin: http://[::1"))),
    Case("an origin with no IPv6 address in brackets", Status(403), request(fields=USUAL.plus("Origin: http://[x]"))),
    Case("no origin's host and no host", Status(403), request(fields=USUAL.instead("Host:").plus("Origin: null"))),
    Case("the service's own origin before a foreign one", Status(403),
         request(fields=USUAL.plus("Origin: http://x", "Origin: http://evil"))),
    Case("no host", Status(400), request(fields=USUAL.without("Host"))),
    Case("two hosts", Status(400), request(fields=USUAL.plus("Host: y"))),
    Case("a WebSocket version twice", Status(426),
         request(fields=USUAL.instead("Sec-WebSocket-Version: 8").plus("Sec-WebSocket-Version: 13"))),
    Case("a handshake with a body in chunks", Status(400), request(fields=USUAL.plus("Transfer-Encoding: chunked"))),
    Case("a handshake with a body", Status(400), request(fields=USUAL.plus("Content-Length: 5")) + b"hello"),
    Case("a handshake in an encoding that there is not", Status(400),
         request(fields=USUAL.plus("Transfer-Encoding: xchunked"))),
    Case("a tenant id that is a dot", Status(400), request(target="/tenants/.")),
    Case("a tenant id that leads upwards", Status(400), request(target="/tenants/..")),
    Case("a tenant id that leads upwards, encoded", Status(400), request(target="/tenants/%2e%2e")),
]  # fmt: skip
"""Each gets another answer today, or none without a traceback. Move a case to its table when that has changed."""
