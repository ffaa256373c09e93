"""The versions of the protocol, as WebSocket subprotocols (RFC 6455, section 1.9)."""

from collections.abc import Iterable

V1 = "wg-orchestrator.v1"
V2 = "wg-orchestrator.v2"

HIGHEST_FIRST = (V2, V1)


def choose(offered: Iterable[str]) -> str | None:
    """Select the highest known version of those that a client offers in `Sec-WebSocket-Protocol`.

    None if it offers no known one. Then the service selects no subprotocol, and the connection speaks v1.
    """
    names = set(offered)
    return next((version for version in HIGHEST_FIRST if version in names), None)
