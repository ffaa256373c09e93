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


RATE_WINDOW = 10.0


class FrameBudget:
    """How many more frames a client may send: `rate` a second, averaged over ten seconds."""

    __slots__ = ("_left", "_rate", "_window_end")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = 0.0
        self._window_end = 0.0

    def spend(self, now: float) -> bool:
        """Count one frame, at `now` in seconds of a monotonic clock; False if it is one too many."""
        if now >= self._window_end:
            self._window_end = now + RATE_WINDOW
            self._left = self._rate * RATE_WINDOW
        self._left -= 1
        return self._left >= 0
