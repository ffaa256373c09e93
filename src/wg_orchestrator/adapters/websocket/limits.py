from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Who may come in, and how long it may take. Times in seconds."""

    max_connections: int = 100_000
    join_timeout: float = 10.0
    allowed_origins: frozenset[str] = frozenset()
    """Web origins that may connect besides the service's own; `*` is any. Clients that are no browser name none."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may take. Times in seconds, sizes in bytes."""

    max_message_size: int = 4096
    max_frame_rate: float = 10.0
    """Frames of any kind a second, averaged over ten seconds."""
    max_outbox_size: int = 1024 * 1024
    """What may wait to be sent to a peer, beyond its welcome."""
    ping_interval: float = 10.0
    ping_timeout: float = 8.0
    close_timeout: float = 5.0
