from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import structlog

from wg_orchestrator.adapters.nats.claims import Claims
from wg_orchestrator.adapters.nats.connection import NotHeard
from wg_orchestrator.adapters.nats.lease import NodeLease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.states import State
from wg_orchestrator.adapters.nats.stream import Refused, StoreUnusable
from wg_orchestrator.domain.errors import Conflict

logger = structlog.get_logger("wg_orchestrator.nats")

AT_ONCE = 64
"""Claims that a node puts back or takes out at the same time."""


class Upkeep:
    """Brings the stream in line with what the ledger knows."""

    def __init__(self, ledger: Ledger, claims: Claims, lease: NodeLease, interval: float) -> None:
        """`interval` is the time between two checks, in seconds."""
        self._ledger = ledger
        self._claims = claims
        self._lease = lease
        self._interval = interval

    async def keep(self) -> None:
        """Put back claims that the stream lacks, and take out claims that do not belong there, for ever."""
        limiter = anyio.CapacityLimiter(AT_ONCE)
        while True:
            await anyio.sleep(self._interval)
            if self._lease.node is None:
                continue
            if self._ledger.is_open():
                self._ledger.give_up_missing()
            async with anyio.create_task_group() as tasks:
                for work in [*self._work(), *await self._sweeping()]:
                    tasks.start_soon(self._try, limiter, work)

    def _work(self) -> list[Callable[[], Awaitable[None]]]:
        node = self._lease.node
        work: list[Callable[[], Awaitable[None]]] = [
            partial(self._claims.enrol, claim.backed_by(node))
            for claim in self._ledger.to_put_back()
            if node is not None
        ]
        work += [partial(self._claims.vacate, claim) for claim in self._ledger.claims_in(State.GHOST)]
        work += [partial(self._claims.vacate_key, claim) for claim in self._ledger.vacancies.covered_keys()]
        return work

    async def _sweeping(self) -> list[Callable[[], Awaitable[None]]]:
        """The work of clearing up after nodes that are gone. One node does it: the one whose name is the least."""
        stale = self._ledger.claims_in(State.STALE)
        if not stale or self._lease.node != min(self._ledger.leases):
            return []
        try:
            # A node of which nothing has been heard yet may be new, not gone: ask for its lease.
            gone = {node for node in {claim.node for claim in stale} if await self._lease.find(node) is None}
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
