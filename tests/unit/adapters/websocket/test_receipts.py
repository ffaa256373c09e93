"""What a node reports of a revocation, and when it counts as done."""

import anyio

from tests.builders import ACME, a_peer
from tests.grants import NOW, REVOKED
from wg_orchestrator.adapters.memory.admission_records import InMemoryAdmissionRecords
from wg_orchestrator.adapters.websocket.connected import Connected
from wg_orchestrator.adapters.websocket.receipts import Receipts
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.events import Committed, LeaveCause, PeerLeft
from wg_orchestrator.domain.receipt import Report
from wg_orchestrator.domain.stay import InvitationId, Stay, StayId
from wg_orchestrator.telemetry.telemetry import Telemetry

STAY = Stay(StayId("1"), ACME, a_peer(1), invitation=InvitationId("once"))


async def reported(records: InMemoryAdmissionRecords, after: Report | None = None) -> Report:
    """The next report that is not this one."""
    with anyio.fail_after(30):
        while (found := await records.reports(REVOKED.id)) == ([] if after is None else [after]):
            await anyio.sleep(0.005)
    return found[0]


async def test_it_is_not_done_before_it_is_counted_who_has_put_out_the_peer() -> None:
    records = InMemoryAdmissionRecords()
    await records.revoke(REVOKED)
    connected = Connected(lambda _: 1)
    receipts = Receipts(records, connected, PeerTelemetry(Telemetry(100)), "node", lambda: float(NOW))
    async with receipts.running():
        receipts.begin(REVOKED, [STAY])
        receipts.tries(STAY)
        receipts.left(Committed(PeerLeft(STAY, LeaveCause.REVOKED), 1), is_revoked=True)
        first = await reported(records)
        assert (first.put_out, first.since) == (0, None)
        receipts.count(STAY)
        receipts.has_tried(STAY)
        second = await reported(records, first)
        assert (second.put_out, second.since) == (1, NOW)
