import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from wg_orchestrator.adapters.websocket.connected import Connected
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.admission import Revocation
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import Committed
from wg_orchestrator.domain.ports import AdmissionRecords
from wg_orchestrator.domain.receipt import Report
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId

_INTERVAL = 0.25
"""Seconds from one look at what peers have applied to the next."""
_LONGEST = 3600.0
"""Seconds after which a peer that has still not applied a revocation is not waited for any more."""


@dataclass(slots=True)
class _Open:
    revocation: Revocation
    waiting: set[StayId]
    """Stays that have to end, and have not yet."""
    before: int | None = None
    """How many peers this node had put out when it was started again; None: that was not asked yet."""
    revisions: dict[TenantId, int] = field(default_factory=dict)
    """The revision of each tenant from which on all are out."""
    put_out: int = 0
    trying: set[StayId] = field(default_factory=set)
    """Stays that this node is just ending: it has to be counted whether it did."""
    said: Report | None = None


class Receipts:
    """Reports what this node has done about each revocation, until all peers here have applied it."""

    def __init__(
        self,
        records: AdmissionRecords,
        connected: Connected,
        telemetry: PeerTelemetry,
        node: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`node` is this node's name. `clock` gives seconds since 1970."""
        self._records = records
        self._connected = connected
        self._telemetry = telemetry
        self._node = node
        self._clock = clock
        self._open: list[_Open] = []
        self._has_work = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Report meanwhile."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def begin(self, revocation: Revocation, stays: Sequence[Stay]) -> None:
        """These stays are to end because of this revocation. An old one is reported no more."""
        if self._clock() - revocation.at < _LONGEST:
            self._open.append(_Open(revocation, {stay.id for stay in stays}))
            self._has_work.set()

    def tries(self, stay: Stay) -> None:
        """Note that this node begins to put out the peer of this stay."""
        for one in self._open:
            if one.revocation.covers(stay):
                one.trying.add(stay.id)

    def has_tried(self, stay: Stay) -> None:
        """Note that this is over. If this node has put it out, that was counted before."""
        for one in self._open:
            one.trying.discard(stay.id)

    def count(self, stay: Stay) -> None:
        """Note that this node has put out the peer of this stay."""
        for one in self._open:
            one.put_out += one.revocation.covers(stay)

    def left(self, committed: Committed, is_revoked: bool) -> None:
        """A stay has ended. `is_revoked`: because of some revocation."""
        stay = committed.event.stay
        for one in self._open:
            if stay.id in one.waiting or (is_revoked and one.revocation.covers(stay)):
                one.waiting.discard(stay.id)
                one.revisions[stay.tenant_id] = committed.revision

    async def _keep(self) -> None:
        while True:
            await self._has_work.wait()
            for one in list(self._open):
                try:
                    await self._report(one)
                except Unavailable:
                    continue
                except Exception:
                    self._telemetry.failed("no receipt", one.revocation.tenant_id)
                    self._open.remove(one)
            if not self._open:
                self._has_work.clear()
            else:
                await asyncio.sleep(_INTERVAL)

    async def _report(self, one: _Open) -> None:
        if one.before is None:
            said = await self._records.reports(one.revocation.id)
            one.before = sum(report.put_out for report in said if report.node == self._node)
        now = self._clock()
        by, of = self._connected.applied(one.revisions)
        is_done = not one.waiting and not one.trying and by == of
        since = int(now) if is_done else None
        report = Report(self._node, one.before + one.put_out, of, by, since)
        if one.said is None or replace(one.said, since=since) != report or (one.said.since is None) != (since is None):
            await self._records.report(one.revocation.id, report)
            one.said = report
        if is_done or now - one.revocation.at > _LONGEST:
            self._open.remove(one)
