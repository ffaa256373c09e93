import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

BEAT = 0.1
"""Seconds between two calls of `LoopClock.beat`."""
STALL = 0.5
"""After more than this many seconds without a beat, the loop was held up: stopped, swapped out, or busy."""


def real_time() -> float:
    """Seconds of a clock that never stands still. It goes on while the process is stopped, and while the machine is
    suspended if there is CLOCK_BOOTTIME (clock_gettime(2)). It also goes on within a turn of the event loop; uvloop's
    own time is that of the turn's start.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _HAS_BOOT_TIME else time.monotonic()


_HAS_BOOT_TIME = hasattr(time, "CLOCK_BOOTTIME")


class LoopClock:
    """Real time, less the stalls: the time in which the process or its machine was stopped.

    In a stall the process can't read what peers send. By real time all of them would be overdue afterwards, although
    none was silent. By this clock no time passes in a stall.

    Time in which the loop is busy does count. Otherwise a client that keeps the loop busy could put off all deadlines.
    The clock tells busy time from a stall by the CPU time that the thread has used.
    """

    def __init__(self, stall: float = STALL) -> None:
        self.stall = stall
        self.stalled = 0.0
        """Seconds of all stalls up to the last call of `time`. What peers sent in a stall arrives all at once after it.
        """
        self._cpu_time = 0.0
        self._last_beat: float | None = None

    def beat(self) -> float:
        """Call this every BEAT seconds, or stalls go unnoticed. Returns how late the call is, in seconds."""
        now, last = real_time(), self._last_beat
        self.time()
        self._last_beat, self._cpu_time = now, time.thread_time()
        return 0.0 if last is None else max(0.0, now - last - BEAT)

    def stop(self) -> None:
        """Expect no more beats: from now on all time counts."""
        self._last_beat = None

    def time(self) -> float:
        now = real_time()
        if self._last_beat is not None and now - self._last_beat > self.stall:
            busy = time.thread_time() - self._cpu_time
            self.stalled += max(0.0, now - self._last_beat - busy)
            self._last_beat, self._cpu_time = now, self._cpu_time + busy
        return now - self.stalled


class Deadlines(Generic[Item]):
    """Items that all have the same timeout. One timer serves them all; the item that was added first is due first."""

    def __init__(
        self, clock: LoopClock, timeout: float, on_due: Callable[[Item], None], max_items: float = math.inf
    ) -> None:
        """An item that has been here for `timeout` seconds is removed, and then `on_due` is called with it. If there
        are more than `max_items`, the oldest is due at once.
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
        """Start the timeout of `item`, which must not be here yet."""
        self._due[item] = self._clock.time() + self._timeout
        if self._timer is None:
            self._arm(self._timeout)
        if len(self._due) > self._max_items:
            self.shrink(self._max_items)

    def shrink(self, most: float) -> None:
        """Have the oldest items be due at once, until at most `most` are left."""
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
            # The loop was held up, and runs its timers before it reads its sockets. So let it read first what has come
            # meanwhile. `math.inf`: only once, as a loop that is always late would put this off for ever. It takes two
            # turns, because the loop may begin the first one without polling its sockets.
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
    """A member of at most one of the `Deadlines` at a time."""

    __slots__ = ("_deadline",)

    def __init__(self) -> None:
        self._deadline: Deadlines[Any] | None = None

    def _await(self, deadline: Deadlines[Any] | None) -> None:
        """Leave the former `Deadlines`, and enter `deadline` unless it is None."""
        if self._deadline is not None:
            self._deadline.discard(self)
        self._deadline = deadline
        if deadline is not None:
            deadline.add(self)
