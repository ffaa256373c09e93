"""Which version of the protocol a connection speaks, by the names of RFC 6455, section 1.9."""

from collections.abc import Iterable

V1 = "wg-orchestrator.v1"
V2 = "wg-orchestrator.v2"

HIGHEST_FIRST = (V2, V1)


def choose(offered: Iterable[str]) -> str | None:
    """The highest version of those that a client offers in `Sec-WebSocket-Protocol`, which is to be selected.

    None if none of them is known: then nothing is selected, and the connection speaks v1.
    """
    names = set(offered)
    return next((version for version in HIGHEST_FIRST if version in names), None)
