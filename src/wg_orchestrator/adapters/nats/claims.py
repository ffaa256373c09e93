from collections.abc import Sequence
from dataclasses import replace

import anyio

from wg_orchestrator.adapters.nats.claim import Claim, encode
from wg_orchestrator.adapters.nats.connection import NotHeard
from wg_orchestrator.adapters.nats.feed import Moment, Position
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.names import process_of
from wg_orchestrator.adapters.nats.stream import Entry, Refused, Stream
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.domain.errors import Conflict
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.stay import Stay


class Claims:
    """Puts claims into the stream and takes them out. Each time the messages for the address and the key go together.

    Each message names the last one on its subject that it knows of, so none can undo what its sender has not seen. If
    the answer does not come, the same is said again, which can't happen twice. Each method raises TimeoutError
    when the first attempt, and its insistence after that, are over.
    """

    def __init__(self, stream: Stream, ledger: Ledger, position: Position, timings: Timings) -> None:
        self._stream = stream
        self._ledger = ledger
        self._position = position
        self._timings = timings

    async def enrol(self, claim: Claim, before: Stay | None = None) -> None:
        """Make a claim, and wait until the feed has brought it back. `before` is the stay as it was until then; None if
        it begins with the claim.

        Raises Conflict if by now the address or the key is another's, or the stay is not as it was before, and the
        ledger shows that; or if the claim's node has lost its lease. Raises StoreUnusable.
        """
        subjects = self._stream.subjects
        key_after, address_after = self._ledger.sequences(claim)
        key = Entry(subjects.key(claim.tenant_id, claim.peer.public_key), claim.stay.id.encode(), key_after)
        address = Entry(subjects.peer(claim.place), encode(claim), address_after)
        began = self._position.now
        if not await self._goes_at_once([key, address]):
            with anyio.fail_after(self._timings.insistence):
                await self._enrol(claim, before, key, address, began)

    async def _enrol(self, claim: Claim, before: Stay | None, key: Entry, address: Entry, began: Moment) -> None:
        while True:
            if claim.node not in self._ledger.leases or self._position.is_over(began):
                raise Conflict("the lease that the claim stands on has ended")
            try:
                await self._store([key, address])
                return
            except NotHeard:
                await anyio.sleep(self._timings.retry)
            except Refused:
                try:
                    key_after, _ = await self._stream.last(key.subject)
                    address_after, _ = await self._stream.last(address.subject)
                    await self._catch_up()
                except NotHeard:
                    await anyio.sleep(self._timings.retry)
                    continue
                if self._is_settled(claim, before):
                    return
                key, address = replace(key, after=key_after), replace(address, after=address_after)

    async def vacate(self, claim: Claim, cause: LeaveCause = LeaveCause.LEFT) -> None:
        """Take this claim out, and wait until the feed has shown that. Does nothing if another one is the last on its
        address.

        Raises StoreUnusable.
        """
        subjects = self._stream.subjects
        left = encode(claim.vacated().ending(cause))
        address = Entry(subjects.peer(claim.place), left, claim.sequence, self._timings.vacancy_ttl)
        key = Entry(
            subjects.key(claim.tenant_id, claim.peer.public_key), b"", claim.sequence - 1, self._timings.vacancy_ttl
        )
        began = self._position.now
        if not await self._goes_at_once([key, address]):
            with anyio.fail_after(self._timings.insistence):
                await self._vacate(claim, key, address, began)

    async def _vacate(self, claim: Claim, key: Entry, address: Entry, began: Moment) -> None:
        entries = [key, address]
        while not self._position.is_over(began):  # A claim in a lost store need not be taken out.
            try:
                await self._store(entries)
                return
            except NotHeard:
                await anyio.sleep(self._timings.retry)
            except Refused:
                try:
                    address_after, _ = await self._stream.last(address.subject)
                    if address_after != claim.sequence:
                        await self._catch_up()
                        return
                    key_after, session = await self._stream.last(key.subject)
                except NotHeard:
                    await anyio.sleep(self._timings.retry)
                    continue
                owns_key = session == claim.stay.id.encode()
                entries = [replace(key, after=key_after), address] if owns_key else [address]

    async def vacate_key(self, claim: Claim) -> None:
        """Take out what a claim has left on its key, if nobody else's is there by now: its address was taken by others.

        Raises NotHeard, Refused or StoreUnusable.
        """
        subject = self._stream.subjects.key(claim.tenant_id, claim.peer.public_key)
        key_after, session = await self._stream.last(subject)
        if session == claim.stay.id.encode():
            await self._stream.publish([Entry(subject, b"", key_after, self._timings.vacancy_ttl)])
        self._ledger.forget_key(claim)

    async def _goes_at_once(self, entries: Sequence[Entry]) -> bool:
        """Whether the first attempt is all it takes. It nearly always is, and then nothing has to bound the time: that
        would cost as much as the request.
        """
        since = self._position.now
        try:
            sequence = await self._stream.publish(entries)
            if since[1] < sequence <= self._position.sequence and not self._position.is_over(since):
                return True
            with anyio.fail_after(self._timings.insistence):
                await self._position.wait(sequence, since)
        except (NotHeard, Refused):
            return False
        return True

    async def _store(self, entries: Sequence[Entry]) -> None:
        since = self._position.now
        await self._position.wait(await self._stream.publish(entries), since)

    async def _catch_up(self) -> None:
        since = self._position.now
        await self._position.wait(await self._stream.mark(self._stream.subjects, self._ledger.process), since)

    def _is_settled(self, claim: Claim, before: Stay | None) -> bool:
        """Whether the claim is in after all, when its answer was lost. Raises Conflict if another one is in its way."""
        holder = self._ledger.holder(claim.place)
        for rival in (holder, self._ledger.holder_of_key(claim.tenant_id, claim.peer.public_key)):
            if rival is not None and rival.stay.id != claim.stay.id:
                raise Conflict(f"{rival.peer.virtual_ip} is held by another")
        if holder is None:
            if before is not None:
                raise Conflict(f"the stay at {claim.peer.virtual_ip} has ended")
            return False
        if (holder.stay, holder.node) == (claim.stay, claim.node) and self._ledger.stands(claim.place):
            return True
        is_same_turn = holder.stay.turn == claim.stay.turn
        if is_same_turn and before is not None and process_of(holder.node) != process_of(claim.node):
            raise Conflict(f"the stay at {claim.peer.virtual_ip} goes on elsewhere")
        if holder.stay not in (before, claim.stay):
            raise Conflict(f"the stay at {claim.peer.virtual_ip} goes on in another way")
        return False
