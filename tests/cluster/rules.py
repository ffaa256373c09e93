"""What must never happen to a client of the cluster. It is checked at each client throughout the chaos run."""

import math
import time
from collections import defaultdict
from dataclasses import dataclass

import anyio

from harness.cluster import ServiceProcess
from harness.peer import Peer
from tests.cluster.witness import Witness

SOON = 5.0
"""Seconds within which a client hears what any node has done. They are many, as this process is busy."""
UNAVAILABLE = 1013


class Broken(AssertionError):
    """Something happened that must not."""


@dataclass
class Doubt:
    """Something wrong, unless a node turns out to have ended one of these stays. `Rules.ended` judges that end."""

    what: str
    stays: tuple[Peer, ...]
    seen_by: ServiceProcess
    since: float
    lasts: bool
    """Whether it is a state that goes on. Then `since` is when it was last excused."""


class Rules:
    """A stay is live from its welcome until its client begins to leave or sees that its connection has ended.

    A node is excused while its lease may have ended: it was silent for five seconds because of us, and has not put the
    stay back since, or has done so only just now.

    *A leave is false* if a client is told that a live stay has ended, unless the stay's node was told or made to end,
    or is excused.

    *An address is held twice* if two live stays of one tenant have it. That is allowed only while the node of one of
    them is excused.

    *A node ends a stay* only if the node was told or made to end; or with 1013, if it is excused.
    """

    def __init__(self, witness: Witness, soon: float = SOON) -> None:
        self._witness = witness
        self._soon = soon
        self.live: dict[str, Peer] = {}
        self._at: defaultdict[tuple[str, str], set[Peer]] = defaultdict(set)
        self._doubts: list[Doubt] = []

    def welcomed(self, peer: Peer) -> None:
        """A stay begins."""
        peer.on_left = self._told
        for other in self._at[peer.truth[:2]]:
            self._doubt(f"{peer} was given an address that {other} has", (peer, other), peer.service, lasts=True)
        self.live[peer.name] = peer
        self._at[peer.truth[:2]].add(peer)

    def leaves(self, peer: Peer) -> None:
        """The client of a stay begins to leave."""
        self._forget(peer)

    def ended(self, peer: Peer) -> None:
        """The connection of a stay has ended. Raises Broken if it should not have."""
        self._forget(peer)
        if peer.leaving or peer.was_orphaned or (peer.code == UNAVAILABLE and self._excused(peer, peer.service)):
            return
        raise Broken(f"{peer} was ended with {peer.code}, and nothing was done to its node")

    def refused(self, code: int) -> None:
        """A join was refused with this close code. Raises Broken if the code means a fault in the service."""
        if code == 1011:
            raise Broken("somebody was refused with 1011")

    async def watch(self) -> None:
        """Judge again and again, until cancelled. Raises Broken."""
        while True:
            await anyio.sleep(0.25)
            self.judge()

    def judge(self) -> bool:
        """Resolve doubts, and return whether none is left. Raises Broken if something was wrong."""
        now = time.monotonic()
        self._doubts = [doubt for doubt in self._doubts if not self._is_resolved(doubt, now)]
        return not self._doubts

    def _is_resolved(self, doubt: Doubt, now: float) -> bool:
        if any(stay.was_orphaned or (stay.code is not None and not stay.leaving) for stay in doubt.stays):
            return True
        if doubt.lasts and any(self._excused(stay, doubt.seen_by) for stay in doubt.stays):
            doubt.since = now
            return any(stay.leaving for stay in doubt.stays)
        # This process is busy: it may hear of a leave before it knows how long the node has been silent.
        if not doubt.lasts and any(self._excused(stay, doubt.seen_by, by=doubt.since) for stay in doubt.stays):
            return True
        if now - doubt.since > self._soon:
            raise Broken(doubt.what)
        return False

    def _told(self, observer: Peer, name: str) -> None:
        stay = self.live.get(name)
        if stay is not None and not stay.was_orphaned and not self._excused(stay, observer.service):
            self._doubt(f"{observer} was told that {stay} has left, who was there", (stay,), observer.service)

    def _doubt(self, what: str, stays: tuple[Peer, ...], seen_by: ServiceProcess, *, lasts: bool = False) -> None:
        self._doubts.append(Doubt(what, stays, seen_by, time.monotonic(), lasts))

    def _excused(self, stay: Peer, seen_by: ServiceProcess, by: float = math.inf) -> bool:
        """Whether the lease of the stay's node may have ended, as seen at `seen_by`, which may hear things late: by a
        silence that had begun by then.
        """
        put_back = self._witness.claimed.get(stay.name, 0.0)
        late = max(put_back, self._witness.last_disturbed(seen_by)) + self._soon
        return any(
            end >= stay.since and (put_back <= end or time.monotonic() <= late)
            for start, end in self._witness.silences(stay.name, stay.service)
            if start <= by
        )

    def _forget(self, peer: Peer) -> None:
        self.live.pop(peer.name, None)
        self._at[peer.truth[:2]].discard(peer)
