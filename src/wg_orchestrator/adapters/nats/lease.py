import math
import time
from collections.abc import Callable

import anyio
import structlog

from wg_orchestrator.adapters.nats.connection import NotHeard
from wg_orchestrator.adapters.nats.leases import Lease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.names import Unreadable
from wg_orchestrator.adapters.nats.snapshot import Snapshot
from wg_orchestrator.adapters.nats.stream import Entry, Refused, StoreUnusable, Stream
from wg_orchestrator.adapters.nats.subjects import Subjects
from wg_orchestrator.adapters.nats.timings import Timings

logger = structlog.get_logger("wg_orchestrator.nats")

OPENING_ATTEMPTS = 5
ALIVE, SETTLED = b"alive", b"settled"


def read_lease(sequence: int, payload: bytes) -> Lease | None:
    """The lease in a message; None if the message ends it. A payload that is not known is a lease as well."""
    return Lease(sequence, time.monotonic(), settled=payload == SETTLED) if payload else None


def parse_lease(sequence: int, payload: bytes) -> Lease | None:
    """The same, of a message that somebody else may have written. Raises Unreadable."""
    if payload not in (ALIVE, SETTLED, b""):
        raise Unreadable("no state of a lease")
    return read_lease(sequence, payload)


class NodeLease:
    """Keeps the lease of this node, and ends those of nodes that are gone.

    A lease is the last message on its node's subject. Its node renews it; whoever has not heard of that for long enough
    ends it, with a message that the stream takes only if there was no renewal since. So it ends for all nodes at the
    same point of the stream, and its own node, however long it was stopped or cut off, is told by the feed as well:
    nothing that it says under the old lease counts after that point. It then takes a new one, under a new name.
    """

    def __init__(self, stream: Stream, ledger: Ledger, timings: Timings, grace: float = 0.0) -> None:
        """`grace`: seconds for which a peer may come back. The stream has to remember the end of a lease for longer."""
        self._stream = stream
        self._ledger = ledger
        self._timings = timings
        self._ended_ttl = timings.ended_ttl + math.ceil(grace)
        self._count = 0
        self._renewed = -math.inf
        self._node = ""
        self._sequence = 0
        self._is_missing = False
        self._wake = anyio.Event()

    @property
    def node(self) -> str | None:
        """The name of this node under its present lease, if it can rely on having one."""
        sure_until = self._renewed + self._timings.lease - self._timings.caution
        return self._node if self._node in self._ledger.leases and time.monotonic() < sure_until else None

    async def keep(self, has_caught_up: Callable[[], bool]) -> None:
        """Renew the lease, for ever, also while there is no feed. Take a new lease only while there is one."""
        while True:
            try:
                await self._renew(has_caught_up())
            except (NotHeard, StoreUnusable) as error:
                logger.debug("lease not renewed", node=self._node, error=str(error))
            except Exception:  # If this task ended, the node would have no lease until it is started again.
                logger.exception("lease not renewed", node=self._node)
            with anyio.move_on_after(self._timings.renewal if self._node else self._timings.retry):
                await self._wake.wait()

    def begin_anew(self) -> None:
        """The stream is in a new epoch. A lease of an earlier epoch does not count there."""
        self._node, self._sequence, self._is_missing = "", 0, False
        self._wake.set()
        self._wake = anyio.Event()

    async def _renew(self, has_caught_up: bool) -> None:
        asked = time.monotonic()
        if not self._node:
            if not has_caught_up:
                return
            self._count += 1
            self._node, self._sequence = f"{self._ledger.process}-{self._count}", 0
            logger.info("taking a lease", node=self._node)
        node = self._node
        # One step: what is said of the ledger is said in the epoch that the ledger is in.
        subject = self._stream.subjects.node(node)
        state = SETTLED if has_caught_up and self._ledger.is_settled() else ALIVE
        # Over a slow link a renewal may be stored, and its answer come too late: the feed has brought it all the same.
        seen = self._ledger.leases.get(node)
        after = self._sequence if seen is None else max(self._sequence, seen.sequence)
        try:
            sequence = await self._stream.publish([Entry(subject, state, after)])
        except Refused:
            sequence, payload = await self._stream.last(subject)
            if node != self._node:
                return  # The store was lost meanwhile: the message went to an epoch that is over.
            if sequence == 0 and self._sequence and self._is_fresh():
                self._is_missing = True
                return  # To be refused again: a lease in a stream that has lost the others is worth nothing.
            if not payload:
                logger.warning("lease lost", node=node)
                self._node = ""
            self._sequence = sequence
        else:
            if node == self._node:
                self._sequence, self._renewed, self._is_missing = sequence, asked, False

    def _is_fresh(self) -> bool:
        """Whether the stream, if it has lost nothing, still has this node's lease or its end."""
        return time.monotonic() - self._renewed < self._ended_ttl - self._timings.lease

    async def watch(self) -> None:
        """End the leases that others have let run out, and open an epoch that was closed for long enough, for ever.

        Raises StoreUnusable, also if the stream has lost this node's lease.
        """
        last = closed_since = time.monotonic()
        self._ledger.leases.hear_all(last)
        attempts = 0
        while True:
            await anyio.sleep(self._timings.watch)
            if self._is_missing:
                raise StoreUnusable("the stream has lost this node's lease")
            now = time.monotonic()
            # A lease runs out only while this node's own does not: it was not this process that stood still, with news
            # waiting for it, and not NATS that took nothing, as it does until a lost server's part is taken over.
            if (
                now - last > self._timings.lease / 2
                or now - self._renewed > 2 * self._timings.renewal + self._timings.watch
            ):
                closed_since = now
                self._ledger.leases.hear_all(now)
            last = now
            for node, sequence in self._ledger.leases.overdue(now, self._timings.lease):
                if node == self._node:
                    continue
                try:
                    await self._end(node, sequence)
                    logger.warning("node lost", node=node)
                except (NotHeard, Refused) as error:
                    logger.debug("lease not ended", node=node, error=str(error))
            if now - closed_since > self._timings.opening and not self._ledger.is_open():
                if attempts == OPENING_ATTEMPTS:
                    raise StoreUnusable("the epoch can't be opened")
                attempts += await self._open()

    async def _open(self) -> bool:
        """Open the epoch unless a node is still at putting back its claims. Returns whether it was tried."""
        epoch = self._ledger.epoch
        if epoch is None or self.node is None or not self._ledger.leases.are_all_settled():
            return False
        try:
            await self._stream.publish([Entry(self._stream.subjects.which_epoch, epoch.opened, epoch.sequence)])
        except (NotHeard, Refused) as error:  # Another node may have done so: then the feed will say it.
            logger.debug("epoch not opened", error=str(error))
        return True

    async def complete(self, subjects: Subjects, snapshot: Snapshot) -> bool:
        """Ask for the leases that a snapshot of the epoch with these subjects lacks. Returns whether nothing is left of
        this node's own in it, not even its end: then the stream has lost it. Raises NotHeard or StoreUnusable.
        """
        own_was_lost = False
        is_known = subjects.epoch == self._stream.subjects.epoch
        while missing := snapshot.missing_leases(self._ledger.leases if is_known else ()):
            for node in missing:
                sequence, payload = await self._stream.last(subjects.node(node))
                if node in snapshot.leases or node in snapshot.ends:
                    continue  # It has come by itself meanwhile.
                snapshot.see_lease(node, read_lease(sequence, payload), sequence)
                own_was_lost |= sequence == 0 and node == self._node and self._is_fresh()
        return own_was_lost

    async def find(self, node: str) -> Lease | None:
        """Ask the stream for a node's lease as it is now. Raises NotHeard or StoreUnusable."""
        sequence, payload = await self._stream.last(self._stream.subjects.node(node))
        return read_lease(sequence, payload)

    async def give_up(self) -> None:
        """End this node's own lease, and with it all claims that it still has. Raises NotHeard or StoreUnusable."""
        while self._node:
            try:
                await self._end(self._node, self._sequence)
                return
            except Refused:  # By a renewal whose answer was not waited for, or by its end.
                self._sequence, payload = await self._stream.last(self._stream.subjects.node(self._node))
                if not payload:
                    return

    async def _end(self, node: str, sequence: int) -> int:
        return await self._stream.publish([Entry(self._stream.subjects.node(node), b"", sequence, self._ended_ttl)])
