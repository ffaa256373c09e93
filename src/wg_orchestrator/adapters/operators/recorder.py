import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice

import anyio
import structlog

from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import Committed, PeerJoined, PeerLeft, PeerResumed, PeerUpdated, assert_never
from wg_orchestrator.domain.history import History, Record
from wg_orchestrator.domain.nodes import Nodes
from wg_orchestrator.domain.ports import TenantRepository

logger = structlog.get_logger("wg_orchestrator.history")

_INTERVAL = 0.5
"""Seconds from one batch to the next: what a process that is killed has not stored is not older."""
_PATIENCE = 0.5
"""Seconds that one batch may take when the service stops."""
_AT_ONCE = 1000
_MOST_WAITING = 200_000


class Recorder:
    """Has the joins and leaves put into the history, in batches, beside everything else.

    A node writes down what happens to the stays that began on it, and on nodes that are not up.
    """

    def __init__(
        self,
        history: History,
        tenants: TenantRepository,
        nodes: Nodes,
        clock: Callable[[], float] = time.time,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        """`clock` gives seconds since 1970. If more than `most_waiting` records wait because they can't be stored, the
        oldest ones are given up.
        """
        self._most_waiting = most_waiting
        self._history = history
        self._nodes = nodes
        self._clock = clock
        self._waiting: deque[Record] = deque()
        self._given_up = 0
        self._is_held_up = False
        self._stopping = asyncio.Event()
        tenants.follow(self._see)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store meanwhile, and what is left at the end."""
        async with self._history.running():
            work = asyncio.create_task(self._keep_storing())
            try:
                yield
            finally:
                self._stopping.set()
                await self._last(work)

    async def _last(self, work: "asyncio.Task[None]") -> None:
        """Wait for the end of the work, for as long as it gets on."""
        waiting = -1
        while not work.done() and len(self._waiting) != waiting:
            waiting = len(self._waiting)
            await asyncio.wait([work], timeout=_PATIENCE)
        work.cancel()
        if self._waiting:
            logger.error("history lost", records=len(self._waiting))

    def _see(self, committed: Committed) -> None:
        event = committed.event
        match event:
            case PeerJoined():
                self._add(Record(event.stay, self._clock()))
            case PeerLeft():
                self._add(Record(event.stay, self._clock(), event.cause))
            case PeerUpdated() | PeerResumed():
                pass
            case _:
                assert_never(event)

    def _add(self, record: Record) -> None:
        if self._nodes.is_recorded_here(record.stay.id):
            self._waiting.append(record)
            if len(self._waiting) > self._most_waiting:
                self._waiting.popleft()
                self._given_up += 1

    async def _keep_storing(self) -> None:
        is_last = False
        while not is_last:
            with anyio.move_on_after(_INTERVAL):
                await self._stopping.wait()
            is_last = self._stopping.is_set()
            await self.store()

    async def store(self) -> None:
        """Store what is waiting. What can't be stored now waits on."""
        if self._given_up:
            logger.error("history lost", records=self._given_up)
            self._given_up = 0
        due = len(self._waiting)  # What comes meanwhile is the next batch's: else a storm would be stored one by one.
        while due > 0:
            batch = list(islice(self._waiting, min(due, _AT_ONCE)))
            due -= len(batch)
            given_up = self._given_up
            try:
                await self._history.put(batch)
            except Unavailable as error:
                if not self._is_held_up:
                    logger.warning("history waits", records=len(self._waiting), error=str(error))
                self._is_held_up = True
                return
            except Exception:  # A fault of ours: what it can't take must not hold up what comes after it.
                logger.exception("history lost", records=len(batch))
            self._is_held_up = False
            # Of these, some may have been given up meanwhile.
            for _ in range(len(batch) - (self._given_up - given_up)):
                self._waiting.popleft()
