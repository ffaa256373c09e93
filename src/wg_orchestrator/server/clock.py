import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

BEAT = 0.1
"""Seconds between two beats of the event loop's heart."""
STALL = 0.5
"""Seconds without a beat from which on the loop was held up: stopped, swapped out, or busy."""


def real_time() -> float:
    """Seconds of a clock that never stands still: not in a stopped process, not in a suspended machine (where there is
    CLOCK_BOOTTIME, clock_gettime(2)), and not within a turn of the event loop, whose own time is that of its start.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _HAS_BOOT_TIME else time.monotonic()


_HAS_BOOT_TIME = hasattr(time, "CLOCK_BOOTTIME")


class LoopClock:
    """Real time, less the time in which the process was stopped.

    While a process is stopped, or its machine is, peers can't be heard: each would be out for a silence that was ours.
    By this clock no time has passed. Time in which the loop was busy does count, or whoever keeps it busy would keep
    all deadlines from coming; it is told apart by the CPU time that it took.
    """

    def __init__(self, stall: float = STALL) -> None:
        self.stall = stall
        self.stalled = 0.0
        """Seconds of all stops so far, as of the last call of `time`. What peers sent meanwhile came all at once."""
        self._cpu_time = 0.0
        self._last_beat: float | None = None

    def beat(self) -> float:
        """To be called every BEAT seconds, for as long as stalls are to be noticed. How late it is, in seconds."""
        now, last = real_time(), self._last_beat
        self.time()
        self._last_beat, self._cpu_time = now, time.thread_time()
        return 0.0 if last is None else max(0.0, now - last - BEAT)

    def stop(self) -> None:
        """There will be no more beats: from now on all time counts."""
        self._last_beat = None

    def time(self) -> float:
        now = real_time()
        if self._last_beat is not None and now - self._last_beat > self.stall:
            busy = time.thread_time() - self._cpu_time
            self.stalled += max(0.0, now - self._last_beat - busy)
            self._last_beat, self._cpu_time = now, self._cpu_time + busy
        return now - self.stalled


class Deadlines(Generic[Item]):
    """Items that all have the same time for something: one timer serves them all, whoever came first is first due."""

    def __init__(
        self, clock: LoopClock, timeout: float, on_due: Callable[[Item], None], max_items: float = math.inf
    ) -> None:
        """`on_due` is called with each item that has been here for `timeout` seconds, and is out by then. Of more than
        `max_items` the first is due at once.
        """
        self._max_items = max_items
        self._clock = clock
        self._timeout = timeout
        self._on_due = on_due
        self._due: dict[Item, float] = {}
        self._timer: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def add(self, item: Item) -> None:
        """Give `item`, which is not here, its time."""
        self._due[item] = self._clock.time() + self._timeout
        if self._timer is None:
            self._arm(self._timeout)
        if len(self._due) > self._max_items:
            self.shrink(self._max_items)

    def shrink(self, most: float) -> None:
        """Of more than `most` items the first ones are due at once."""
        while len(self._due) > most:
            first = next(iter(self._due))
            del self._due[first]
            self._on_due(first)

    def discard(self, item: Item) -> None:
        self._due.pop(item, None)

    def _arm(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay, self._look, loop.time() + delay)

    def _look(self, expected: float) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - expected > self._clock.stall:
            # A loop looks at its timers first. What has come meanwhile is read before anybody is judged: once, as a
            # loop that is always late would put it off for ever. The first of two turns may not have polled yet.
            self._timer = loop.call_soon(loop.call_soon, self._look, math.inf)
            return
        self._timer = None
        now = self._clock.time()
        while self._due:
            item, due = next(iter(self._due.items()))
            if due > now:
                if self._timer is None:  # `on_due` may have added one.
                    self._arm(due - now)
                return
            del self._due[item]
            self._on_due(item)


class OneDeadline:
    """Who owes one thing at the most at a time."""

    __slots__ = ("_deadline",)

    def __init__(self) -> None:
        self._deadline: Deadlines[Any] | None = None

    def _await(self, deadline: Deadlines[Any] | None) -> None:
        """Owe this now, and nothing else; None is nothing at all."""
        if self._deadline is not None:
            self._deadline.discard(self)
        self._deadline = deadline
        if deadline is not None:
            deadline.add(self)
