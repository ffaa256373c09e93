import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from weakref import WeakValueDictionary

import anyio

from wg_orchestrator.adapters.nats import admission_messages as messages
from wg_orchestrator.adapters.nats.admission_messages import Stored
from wg_orchestrator.adapters.nats.connection import NotHeard
from wg_orchestrator.adapters.nats.stream import Entry, Refused, Stream
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.domain.admission import Grant, InvitationUse
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.stay import InvitationId
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.domain.uses import Use

_FREE_TTL = 300
"""Seconds for which the stream remembers that a use is free again."""
_MOST_PENDING = 10_000


class UseCounts:
    """Changes the uses of invitations in the stream, by compare-and-set.

    Of each key there is a message that says what is known of its use; and of each invitation that has a number of uses
    there is one that says how many are taken. Both are replaced together, or none.
    """

    def __init__(self, stream: Stream, process: str, timings: Timings) -> None:
        self._stream = stream
        self._process = process
        self._timings = timings
        self._attempts = 0
        # One after the other here, so that only nodes have to try again because of each other.
        self._locks: WeakValueDictionary[InvitationId, asyncio.Lock] = WeakValueDictionary()
        # Uses that were stored here last, so that they need not be asked for to be changed again.
        self._pending: dict[str, Stored] = {}
        # Invitations that there is a message of.
        self._noted: set[InvitationId] = set()

    async def change(
        self,
        grant: Grant,
        tenant_id: TenantId,
        key: PublicKey,
        change: Callable[[Use | None, int], Use | None],
    ) -> Use | None:
        """Replace the use that the key has of the grant's invitation, by what `change` makes of it and of how many uses
        are taken. `change` may be called several times. Returns what is stored then.

        Raises what `change` does; NotHeard, StoreUnusable or Unreadable.
        """
        if grant.uses is None:
            return await self._change(grant, tenant_id, key, change)
        async with self._locks.setdefault(grant.invitation, asyncio.Lock()):
            return await self._change(grant, tenant_id, key, change)

    async def note(self, grant: Grant, tenant_id: TenantId) -> None:
        """Have a message of the invitation, if there is none."""
        subject = self._stream.subjects.of("use", grant.invitation)
        with suppress(Refused):
            await self._stream.publish([Entry(subject, messages.first_count(grant, tenant_id, used=0), 0)])
        if len(self._noted) >= _MOST_PENDING:
            self._noted.clear()
        self._noted.add(grant.invitation)

    async def invitations(self) -> list[InvitationUse]:
        """Those that there is a message of. Of one for any number of keys, the messages of its keys are counted."""
        subjects = self._stream.subjects
        found = []
        for subject in await self._stream.subjects_with_messages(subjects.of("use", "*")):
            _, payload = await self._stream.last(subject)
            invitation = InvitationId(subjects.split(subject)[1].replace("=", "."))
            use = messages.read_invitation(invitation, payload)
            if use.uses is None:
                keys = await self._stream.subjects_with_messages(subjects.of("key", invitation, "*"))
                use = replace(use, used=len(keys))
            found.append(use)
        return sorted(found, key=lambda use: use.id)

    async def _change(
        self,
        grant: Grant,
        tenant_id: TenantId,
        key: PublicKey,
        change: Callable[[Use | None, int], Use | None],
    ) -> Use | None:
        subjects = self._stream.subjects
        subject = subjects.of("key", grant.invitation, key.text)
        counting = None if grant.uses is None else subjects.of("use", grant.invitation)
        self._attempts += 1
        by = f"{self._process}-{self._attempts}"
        stored = self._pending.pop(subject, None) or await self._read(subject)
        while stored.by != by:  # Else it was stored, and only the answer was lost.
            count_after, counted = (0, b"") if counting is None else await self._stream.last(counting)
            use = change(stored.use, messages.read_count(counted))
            if use == stored.use:
                return use
            if counting is None and grant.invitation not in self._noted:
                await self.note(grant, tenant_id)
            entries = []
            if counting is not None and (use is None) != (stored.use is None):
                count = _changed(counted, grant, tenant_id, -1 if use is None else 1)
                entries.append(Entry(counting, count, count_after))
            payload = b"" if use is None else messages.encode_use(use, by)
            entries.append(Entry(subject, payload, stored.sequence, _FREE_TTL if use is None else 0))
            try:
                sequence = await self._stream.publish(entries)
            except Refused:
                stored = await self._read(subject)
            except NotHeard:
                await anyio.sleep(self._timings.retry)
                stored = await self._read(subject)
            else:
                if use is not None and use.pending and len(self._pending) < _MOST_PENDING:
                    self._pending[subject] = Stored(sequence, use, by)
                return use
        return stored.use

    async def _read(self, subject: str) -> Stored:
        return messages.read_use(*await self._stream.last(subject))


def _changed(counted: bytes, grant: Grant, tenant_id: TenantId, by: int) -> bytes:
    if not counted:
        return messages.first_count(grant, tenant_id)
    return messages.counted(counted, messages.read_count(counted) + by)
