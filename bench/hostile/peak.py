import time

from bench.server import Server

_EVERY = 0.1


class Peak:
    """The most memory that a server has had since this object was made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._due = 0.0
        self.before = self._most = server.resident

    @property
    def growth(self) -> int:
        """Bytes more than the server had at first, at most."""
        return self._most - self.before

    def look(self) -> bool:
        """Measure, but at most ten times a second. Returns True, so that it can be part of a condition."""
        if (now := time.monotonic()) >= self._due:
            self._due = now + _EVERY
            self._most = max(self._most, self._server.resident)
        return True
