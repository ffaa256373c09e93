from dataclasses import dataclass

CLOSED_BY_PEER = "closed by the peer"
"""The reason that stands for that of a peer's close frame, which may be any text."""


@dataclass(frozen=True, slots=True)
class Close:
    """What a close frame says: a code and a reason of at most 123 bytes (RFC 6455, section 5.5.1)."""

    code: int
    reason: str
