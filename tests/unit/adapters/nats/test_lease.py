from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Network

from wg_orchestrator.adapters.nats.claim import Subjects
from wg_orchestrator.adapters.nats.connection import NotHeard
from wg_orchestrator.adapters.nats.lease import NodeLease, read_lease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.stream import Entry, Refused
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
