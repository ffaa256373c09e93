import asyncio
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Network

import anyio
from anyio.lowlevel import checkpoint

from harness.nats_server import PATIENCE
from wg_orchestrator.adapters.nats.connection import NotHeard
from wg_orchestrator.adapters.nats.lease import NodeLease, read_lease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.stream import Entry, Refused
from wg_orchestrator.adapters.nats.subjects import Subjects
from wg_orchestrator.adapters.nats.tenants import Tenants
from wg_orchestrator.adapters.nats.timings import Timings


class SlowStream:
    """A stream over a link so slow that no answer comes in time, although all that is said is stored and fed back."""

    def __init__(self, ledger: Ledger) -> None:
        self.subjects = Subjects("test", "0")
        self.stored = 0
        self._ledger = ledger

    async def publish(self, entries: Sequence[Entry]) -> int:
        (entry,) = entries
        if entry.after != self.stored:
            raise Refused("wrong last sequence")
        self.stored += 1
        self._ledger.see_lease(entry.subject.rpartition(".")[2], read_lease(self.stored, entry.payload), self.stored)
        raise NotHeard("no answer")

    async def last(self, subject: str) -> tuple[int, bytes]:
        raise NotHeard("no answer")


async def test_a_lease_is_renewed_also_if_no_answer_comes_in_time() -> None:
    ledger = Ledger(Tenants(IPv4Network("100.64.0.0/10"), 100), "me")
    stream = SlowStream(ledger)
    lease = NodeLease(stream, ledger, Timings())  # type: ignore[arg-type]
    for renewals in range(1, 6):
        with suppress(NotHeard):
            await lease._renew(has_caught_up=True)
        assert stream.stored == renewals


class FaultyStream(SlowStream):
    """A stream that can't be asked once, by a fault of ours."""

    async def publish(self, entries: Sequence[Entry]) -> int:
        try:
            return await super().publish(entries)
        except NotHeard as error:
            if self.stored == 1:
                raise ZeroDivisionError from error
            raise


async def test_a_fault_of_ours_does_not_keep_a_lease_from_being_renewed() -> None:
    ledger = Ledger(Tenants(IPv4Network("100.64.0.0/10"), 100), "me")
    stream = FaultyStream(ledger)
    keeping = asyncio.create_task(NodeLease(stream, ledger, Timings(renewal=0.0)).keep(lambda: True))  # type: ignore[arg-type]
    with anyio.fail_after(PATIENCE):
        while stream.stored < 3 and not keeping.done():
            await checkpoint()
    assert not keeping.done()
    keeping.cancel()
