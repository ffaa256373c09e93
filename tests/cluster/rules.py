"""What nobody may ever be told, and nobody may ever be done: watched at every client, at every moment."""

import time
from collections import defaultdict
from dataclasses import dataclass

import anyio

from harness.cluster import ServiceProcess
from harness.peer import Peer
from tests.cluster.witness import Witness

SOON = 5.0
"""Seconds in which a client hears what its node, or another one, has done: this process is a busy one."""
UNAVAILABLE = 1013


class Broken(AssertionError):
    """Something happened that must not."""


@dataclass
class Doubt:
    """Something that must not be, unless a node turns out to have ended one of these stays. Its close says why then."""

    what: str
    stays: tuple[Peer, ...]
    seen_by: ServiceProcess
    since: float
    lasts: bool
    """It goes on, and was excused up to `since`."""


class Rules:
    """A stay is live from its welcome until its client begins to leave or sees that its connection has ended.

    *A leave is false* if it is told of a live stay, unless the stay's node was told or made to end; or its lease may
    have ended: it was silent for five seconds, because of us, and has not put this stay back since, or only just.

    *An address is held twice* if two live stays of one tenant have it. That may be only while one of the two nodes
    is excused as above.

    *A node ends a stay* only if it was told or made to end, or with 1013 if it is excused as above.
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
        """Its client begins to leave."""
        self._forget(peer)

    def ended(self, peer: Peer) -> None:
        """Its connection has ended. Raises Broken if it should not have."""
        self._forget(peer)
        if peer.leaving or peer.was_orphaned or (peer.code == UNAVAILABLE and self._excused(peer, peer.service)):
            return
        raise Broken(f"{peer} was ended with {peer.code}, and nothing was done to its node")

    def refused(self, code: int) -> None:
        """Somebody was not let in. Raises Broken if that says of a fault in the service."""
        if code == 1011:
            raise Broken("somebody was refused with 1011")

    async def watch(self) -> None:
        """Judge, for ever. Raises Broken."""
        while True:
            await anyio.sleep(0.25)
            self.judge()

    def judge(self) -> bool:
        """Whether nothing is in doubt any more. Raises Broken."""
        now = time.monotonic()
        self._doubts = [doubt for doubt in self._doubts if not self._is_resolved(doubt, now)]
        return not self._doubts

    def _is_resolved(self, doubt: Doubt, now: float) -> bool:
        if any(stay.was_orphaned or (stay.code is not None and not stay.leaving) for stay in doubt.stays):
            return True
        if doubt.lasts and any(self._excused(stay, doubt.seen_by) for stay in doubt.stays):
            doubt.since = now
            return any(stay.leaving for stay in doubt.stays)
        if now - doubt.since > self._soon:
            raise Broken(doubt.what)
        return False

    def _told(self, observer: Peer, name: str) -> None:
        stay = self.live.get(name)
        if stay is not None and not stay.was_orphaned and not self._excused(stay, observer.service):
            self._doubt(f"{observer} was told that {stay} has left, who was there", (stay,), observer.service)

    def _doubt(self, what: str, stays: tuple[Peer, ...], seen_by: ServiceProcess, *, lasts: bool = False) -> None:
        self._doubts.append(Doubt(what, stays, seen_by, time.monotonic(), lasts))

    def _excused(self, stay: Peer, seen_by: ServiceProcess) -> bool:
        """Whether the lease of the stay's node may have ended, as somebody sees it who may be late himself."""
        put_back = self._witness.claimed.get(stay.name, 0.0)
        late = max(put_back, self._witness.last_disturbed(seen_by)) + self._soon
        return any(
            end >= stay.since and (put_back <= end or time.monotonic() <= late)
            for _, end in self._witness.silences(stay.name, stay.service)
        )

    def _forget(self, peer: Peer) -> None:
        self.live.pop(peer.name, None)
        self._at[peer.truth[:2]].discard(peer)
