from collections.abc import Iterable
from dataclasses import dataclass, field

from wg_orchestrator.adapters.nats.claim import Claim, Place
from wg_orchestrator.adapters.nats.epoch import Epoch
from wg_orchestrator.adapters.nats.leases import FORGOTTEN, End, Lease, Leases


@dataclass
class Snapshot:
    """Gathers the last message of each subject.

    A message that is replaced before it was sent is missing until its successor comes. So the snapshot is whole when
    the stream's last message has come, and only then: a peer whose claim is being replaced is in it all the time.
    """

    claims: dict[Place, Claim] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    ends: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Of nodes whose lease has ended: the sequence of the message that says so, and when, by the stream's clock."""
    epoch: Epoch | None = None
    time: float = 0.0
    """The time of the last message, in seconds by the stream's clock."""

    def missing_leases(self, known: Iterable[str]) -> set[str]:
        """The nodes that are known, or named by claims, and have no lease or end here."""
        named = {claim.node for claim in self.claims.values() if claim.node}
        return (named | set(known)) - self.leases.keys() - self.ends.keys()

    def see_epoch(self, epoch: Epoch) -> None:
        self.epoch = epoch

    def see_claim(self, claim: Claim) -> None:
        self.claims[claim.place] = claim

    def see_lease(self, node: str, lease: Lease | None, sequence: int) -> None:
        """None: it has ended. The sequence is 0 if the stream knows nothing of the lease any more."""
        if lease is not None:
            self.leases[node] = lease
        else:
            self.leases.pop(node, None)
            self.ends[node] = sequence, self.time

    def leases_at(self, now: float) -> Leases:
        """The leases; `now` is what the ledger's clock says at the time of the last message."""
        ends = {
            node: End(sequence, now - max(0.0, self.time - at)) if sequence else FORGOTTEN
            for node, (sequence, at) in self.ends.items()
        }
        return Leases(self.leases, ends)
