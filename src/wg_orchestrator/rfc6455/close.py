from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Close:
    """What a close frame says: a code and a reason of at most 123 bytes (RFC 6455, section 5.5.1)."""

    code: int
    reason: str
