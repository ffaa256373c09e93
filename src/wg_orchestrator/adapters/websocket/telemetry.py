from functools import partial

from wg_orchestrator.domain.peer import Peer, PublicKey
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry.telemetry import Telemetry


class Refusals:
    """Says who was not let in, and why: whichever part of the service has refused it."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._refusals = telemetry.counter("refusals", "Connections refused, by reason", "reason")

    def refused(self, reason: str, source: str, tenant_id: str | None = None, invitation: str = "") -> None:
        """`reason` is one of a few fixed phrases, `source` where the connection came from. `invitation` is the id of
        the one that was shown, if it is known.
        """
        self._refusals.labels(reason).inc()
        known = {"tenant": tenant_id, "invitation": invitation or None}
        self._telemetry.info(
            "refused",
            reason,
            lambda: {name: value for name, value in known.items() if value is not None},
            source=source,
        )


class PeerTelemetry(Refusals):
    """Says what happens to peers: who comes and goes, and what all are told."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(telemetry)
        self._peers = telemetry.gauge("peers", "Peers that are in a tenant and connected here")
        self._sessions = telemetry.gauge("sessions_connected", "Peers with a session that are connected here")
        self._away = telemetry.gauge("sessions_away", "Peers that are in a tenant, whose connection here has ended")
        self._resumes = telemetry.counter(
            "resumes", "Peers that asked to resume a session, by what became of it", "outcome"
        )
        self._not_told = {
            "coalesced": telemetry.counter("updates_coalesced", "Updates of peers whose place a later one took"),
            "dropped": telemetry.counter("updates_dropped", "Updates of peers that changed nothing"),
        }
        self._joins = telemetry.counter("joins", "Peers let in")
        self._leaves = telemetry.counter("leaves", "Peers that were in, by why their connection ended", "reason")
        self._notices = telemetry.counter(
            "notices_sent", "Notices handed to a peer's connection: one for each receiver"
        )
        self._bytes = telemetry.counter("bytes_sent", "Bytes of welcomes and notices handed to connections")
        self._join_seconds = telemetry.histogram(
            "join_seconds",
            "From a join message to its welcome",
            *(0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5),
        )
        self._proof_seconds = telemetry.histogram(
            "proof_seconds",
            "From the request that a peer prove its key to the proof",
            *(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60),
        )
        self._admissions = telemetry.counter(
            "admissions", "Handshakes that were asked for credentials, by what became of it", "outcome"
        )
        self._put_out = telemetry.counter("put_out", "Peers that this node has put out, by why", "reason")
        self._takeovers = telemetry.counter("takeovers", "Keys that were live, and were given to who proved them")
        self._flush_seconds = telemetry.histogram(
            "flush_seconds",
            "To write a tenant's notices to all its peers",
            *(0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5),
        )

    def joined(self, stay: Stay, source: str, peers: int, seconds: float) -> None:
        """`source` is where the peer connects from, `peers` how many the tenant has now."""
        self._peers.inc()
        self._joins.inc()
        self._join_seconds.observe(seconds)
        more = partial(_names, stay.peer)
        fields = _invitation(stay)
        self._telemetry.info("joined", "", more, tenant=stay.tenant_id, source=source, peers=peers, **fields)

    def resumed(self, outcome: str) -> None:
        """Somebody asked to resume a session: it is `resumed`, `welcomed anew`, or there was none and it is `new`."""
        self._resumes.labels(outcome).inc()

    def back(self, tenant_id: TenantId, peer: Peer, source: str) -> None:
        """A peer has resumed its stay."""
        self._peers.inc()
        self._telemetry.info("resumed", "", partial(_names, peer), tenant=tenant_id, source=source)

    def away(self, tenant_id: TenantId, peer: Peer, source: str, reason: str) -> None:
        """A peer's connection has ended, and it may come back."""
        self._peers.dec()
        self._telemetry.info("away", reason, partial(_names, peer), tenant=tenant_id, source=source)

    def session_connected(self) -> None:
        """A peer with a session lives on a connection here."""
        self._sessions.inc()

    def session_disconnected(self) -> None:
        """That connection has ended."""
        self._sessions.dec()

    def are_away(self, peers: int) -> None:
        """So many peers are away now."""
        self._away.set(peers)

    def moved(self) -> None:
        """A peer lives on another connection now."""
        self._peers.dec()

    def not_told(self, why: str) -> None:
        """A peer's update was `coalesced` with a later one, or `dropped` as it changed nothing."""
        self._not_told[why].inc()

    def left(
        self, tenant_id: TenantId, peer: Peer, source: str, peers: int, reason: str, was_away: bool = False
    ) -> None:
        """`was_away`: its connection had ended some time before."""
        if not was_away:
            self._peers.dec()
        self._leaves.labels(reason).inc()
        self._telemetry.info("left", reason, partial(_names, peer), tenant=tenant_id, source=source, peers=peers)

    def proven(self, seconds: float) -> None:
        """A peer has proven its key, so long after it was asked to."""
        self._proof_seconds.observe(seconds)

    def taken_over(self, tenant_id: TenantId, key: PublicKey, source: str) -> None:
        """Somebody has proven a key that is live in the tenant; whoever holds it is closed."""
        self._takeovers.inc()
        self._telemetry.info("taken over", "", tenant=tenant_id, public_key=str(key), source=source)

    def admitted(self, outcome: str) -> None:
        """A handshake's credentials were looked at: `admitted`, or one of a few fixed phrases that say why not."""
        self._admissions.labels(outcome).inc()

    def put_out(self, stay: Stay, reason: str) -> None:
        """A peer may not be in any more, and is out."""
        self._put_out.labels(reason).inc()
        self._telemetry.info("put out", reason, partial(_names, stay.peer), tenant=stay.tenant_id, **_invitation(stay))

    def behind_something(self, source: str, seen: str) -> None:
        """A peer that connects from a public address is seen by the rendezvous at a private one."""
        self._telemetry.warning(
            "the rendezvous does not see where packets come from", "something stands in front of it",
            source=source, seen=seen,
        )  # fmt: skip

    def failed(self, what: str, tenant_id: TenantId | None = None) -> None:
        """An exception that is being handled is a fault of ours."""
        self._telemetry.failed(what, **({} if tenant_id is None else {"tenant": tenant_id}))

    def welcomed(self, size: int) -> None:
        self._bytes.inc(size)

    def flushed(self, notices: int, size: int, seconds: float) -> None:
        """A tenant's notices went out: so many, of `size` bytes together, each counted once for each receiver.

        `seconds` is what writing them took.
        """
        self._notices.inc(notices)
        self._bytes.inc(size)
        self._flush_seconds.observe(seconds)


def _invitation(stay: Stay) -> dict[str, str]:
    return {"invitation": stay.invitation} if stay.invitation else {}


def _names(peer: Peer) -> dict[str, str]:
    return {"virtual_ip": str(peer.virtual_ip), "name": peer.display_name}
