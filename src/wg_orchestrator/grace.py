"""How long the service may take to stop. Who has something to finish asks here how much of that is left."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Grace:
    """The time for a stop, which runs from its `begin` on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = math.inf
        self._bounded: set[anyio.CancelScope] = set()

    def begin(self) -> None:
        """If it has begun, go on."""
        self._ends_at = min(self._ends_at, time.monotonic() + self._seconds)

    def cut(self) -> None:
        """Wait for nothing any more."""
        self._ends_at = -math.inf
        for scope in self._bounded:
            scope.cancel()

    def left(self) -> float:
        """Seconds, 0 at the least; all of them before it has begun."""
        return max(0.0, min(self._seconds, self._ends_at - time.monotonic()))

    @contextmanager
    def bounding(self) -> Iterator[None]:
        """Cancel what is in here when the time is over, and go on after it."""
        with anyio.move_on_after(self.left()) as scope:
            self._bounded.add(scope)
            try:
                yield
            finally:
                self._bounded.discard(scope)
