"""Bad inputs for a service with certain settings, or after other handshakes from the same source."""

from dataclasses import dataclass
from typing import Any

from tests.integration.bad_inputs.case import HANDSHAKE, USUAL, Case, Closed, Dropped, Status, request
from tests.integration.bad_inputs.frames import CONTINUATION, TEXT, frame


@dataclass(frozen=True)
class Limited:
    """A case that needs these settings of the service, or this many handshakes from the same source before it."""

    case: Case
    settings: dict[str, Any]
    after: int = 0

    def __str__(self) -> str:
        return self.case.name


_LARGE = f"X: {'y' * 17_000}"
_IMPATIENT = {"request_timeout": 0.2}
_FRAGMENTED = {"max_fragments": 8}

LIMITED = [
    Limited(Case("a head of 17 KB in one field", Status(431), request(fields=USUAL.plus(_LARGE))), {}),
    Limited(Case("a head of 17 KB in many fields", Status(431), request(fields=USUAL.plus(*["X: y"] * 4000))), {}),
    Limited(Case("a head of 17 KB in its target", Status(431), request(target="/tenants/" + "x" * 17_000)), {}),
    Limited(Case("a head of 17 KB that never ends", Status(431), request(fields=USUAL.plus(_LARGE))[:-2]), {}),
    Limited(Case("a client that says nothing", Dropped(), b""), _IMPATIENT),
    Limited(Case("a head without its end", Dropped(), HANDSHAKE[:-2]), _IMPATIENT),
    Limited(Case("a request line without its end", Dropped(), HANDSHAKE[:8]), _IMPATIENT),
    Limited(
        Case("more fragments than allowed", Closed(1008, "policy"),
             frames=frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b" ", fin=False) * 8),
        _FRAGMENTED,
    ),
    Limited(
        Case("more empty fragments than allowed", Closed(1008, "policy"),
             frames=frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 8),
        _FRAGMENTED,
    ),
    Limited(Case("a handshake too many from one source", Status(429)), {"max_handshake_rate_per_source": 0.2}, after=2),
    Limited(Case("a connection too many from one source", Status(429)), {"max_connections_per_source": 2}, after=2),
]  # fmt: skip
