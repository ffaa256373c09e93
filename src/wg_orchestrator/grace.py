"""How long the service may take to stop. Each part that has to finish something asks here how much time is left."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Grace:
    """The time for a stop. It runs from `begin` on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = math.inf
        self._bounded: set[anyio.CancelScope] = set()

    def begin(self) -> None:
        """Start the time. If it runs already, nothing changes."""
        self._ends_at = min(self._ends_at, time.monotonic() + self._seconds)

    def cut(self) -> None:
        """End the time at once: nothing is waited for any more."""
        self._ends_at = -math.inf
        for scope in self._bounded:
            scope.cancel()

    def left(self) -> float:
        """Seconds that are left, never below 0. Before `begin` that is all of the time."""
        return max(0.0, min(self._seconds, self._ends_at - time.monotonic()))

    @contextmanager
    def bounding(self) -> Iterator[None]:
        """Cancel the block when the time is over. The code after the block then goes on."""
        with anyio.move_on_after(self.left()) as scope:
            self._bounded.add(scope)
            try:
                yield
            finally:
                self._bounded.discard(scope)
