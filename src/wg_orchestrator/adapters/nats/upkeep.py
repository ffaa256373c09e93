import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import structlog

from wg_orchestrator.adapters.nats.claim import Claim
from wg_orchestrator.adapters.nats.claims import Claims
from wg_orchestrator.adapters.nats.connection import NotHeard
from wg_orchestrator.adapters.nats.lease import NodeLease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.states import State
from wg_orchestrator.adapters.nats.stream import Refused, StoreUnusable
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.domain.errors import Conflict
from wg_orchestrator.domain.events import LeaveCause

logger = structlog.get_logger("wg_orchestrator.nats")

AT_ONCE = 64
"""Claims that a node puts back or takes out at the same time."""
_LONGEST_STEP = 1.0
"""Seconds between two checks; if it is longer, the process stood still, or was busy with putting back."""


class Upkeep:
    """Brings the stream in line with what the ledger knows."""

    def __init__(self, ledger: Ledger, claims: Claims, lease: NodeLease, timings: Timings, grace: float) -> None:
        """`grace`: seconds for which a peer that is away may come back."""
        self._ledger = ledger
        self._claims = claims
        self._lease = lease
        self._timings = timings
        self._grace = grace

    async def keep(self) -> None:
        """Put back claims that the stream lacks, and take out claims that do not belong there, for ever."""
        limiter = anyio.CapacityLimiter(AT_ONCE)
        last = time.monotonic()
        while True:
            await anyio.sleep(self._timings.tidy)
            now = time.monotonic()
            passed, last = now - last, now
            if self._lease.node is None:
                continue
            # If this process stood still, nobody could come back to it meanwhile.
            self._ledger.now += min(passed, _LONGEST_STEP)
            if self._ledger.is_open():
                self._ledger.give_up_missing()
            async with anyio.create_task_group() as tasks:
                for work in [*self._work(), *await self._sweeping()]:
                    tasks.start_soon(self._try, limiter, work)

    def _work(self) -> list[Callable[[], Awaitable[None]]]:
        node = self._lease.node
        work: list[Callable[[], Awaitable[None]]] = [
            partial(self._claims.enrol, claim.backed_by(node), claim.stay)
            for claim in self._ledger.to_put_back()
            if node is not None
        ]
        work += [partial(self._claims.vacate, claim, claim.cause) for claim in self._ledger.claims_in(State.GHOST)]
        work += [partial(self._claims.vacate, claim, LeaveCause.GRACE) for claim in self._grace_is_over()]
        work += [partial(self._claims.vacate_key, claim) for claim in self._ledger.covered_keys()]
        return work

    def _grace_is_over(self) -> list[Claim]:
        """The claims of peers that have been away for too long. One node after the other gets to them, so that mostly
        one of them takes them out, and the others need not try.
        """
        node = self._lease.node
        turn = 0 if node is None else self._ledger.leases.rank(node)
        return self._ledger.away_for(self._grace + turn * self._timings.renewal)

    async def _sweeping(self) -> list[Callable[[], Awaitable[None]]]:
        """The work of clearing up after nodes that are gone. One node does it: the one whose name is the least."""
        stale = self._ledger.claims_in(State.STALE)
        if not stale or self._lease.node != min(self._ledger.leases):
            return []
        try:
            # A node of which nothing has been heard yet may be new, not gone: ask for its lease.
            nodes = {claim.node for claim in stale}
            gone = {node for node in nodes if await self._lease.find(node) is None}
        except NotHeard as error:
            logger.debug("not swept yet", error=str(error))
            return []
        return [partial(self._claims.vacate, claim) for claim in stale if claim.node in gone]

    async def _try(self, limiter: anyio.CapacityLimiter, work: Callable[[], Awaitable[None]]) -> None:
        """If this fails, it is tried again at the next check, unless it is no longer needed."""
        async with limiter:
            try:
                await work()
            except (Conflict, NotHeard, Refused, StoreUnusable, TimeoutError) as error:
                logger.debug("not put right yet", error=str(error))
